"""`liveact model`, end to end against the loopback Hub."""

import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hub_server import COMMIT, Hub, Repository, start

from liveact_cli.cli.context import Environment
from liveact_cli.cli.main import main
from liveact_cli.core.errors import ExitCode, WeightsError
from liveact_cli.weights import hub
from liveact_cli.weights.hub import AUDIO_SOURCE, MODEL_REPOSITORY
from liveact_cli.weights.resolve import example_file
from liveact_cli.weights.store import VAE

GOLDEN = Path(__file__).parents[1] / "golden"


class Outcome(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Shell(NamedTuple):
    directory: Path
    variables: dict[str, str]

    def __call__(self, *arguments: str) -> Outcome:
        out, err = io.StringIO(), io.StringIO()
        environment = Environment(out, err, self.variables, self.directory)
        return Outcome(int(main(list(arguments), environment)), out.getvalue(), err.getvalue())

    @property
    def folder(self) -> Path:
        return self.directory / "models" / "liveact-18b"


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    server = Hub(
        {
            MODEL_REPOSITORY: Repository.of_folder(GOLDEN / "tiny-liveact"),
            AUDIO_SOURCE.repository: Repository.of_folder(GOLDEN / "tiny-wav2vec2", licence=None),
        }
    )
    running = start(server)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf-home"))
    variables = {"HF_ENDPOINT": server.url, "LIVEACT_MODELS": str(tmp_path / "models")}
    yield Shell(tmp_path, variables)
    running.shutdown()
    running.server_close()


def test_from_nothing_to_checked_weights_and_back(shell: Shell) -> None:
    before = {row["name"]: row for row in shell("model", "list", "--json").json["models"]}
    assert before["liveact-18b"]["state"] == "missing"
    assert before["liveact-mini"]["state"] == "built in"

    fetched = shell("model", "download")
    assert (fetched.code, fetched.out) == (ExitCode.OK, f"{shell.folder}\n")
    assert f"licence of {MODEL_REPOSITORY}: apache-2.0" in fetched.err
    assert f"licence of {AUDIO_SOURCE.repository}: not stated on its card" in fetched.err
    assert "to go)" in fetched.err

    after = {row["name"]: row for row in shell("model", "list", "--json").json["models"]}
    assert after["liveact-18b"]["state"] == "here"
    assert shell("model", "path").out == f"{shell.folder}\n"
    assert "as they were downloaded" in shell("model", "verify").out

    (shell.folder / VAE).write_bytes(b"other")
    damaged = shell("model", "verify", "--json")
    assert damaged.code == ExitCode.FAILURE
    assert [problem["path"] for problem in damaged.json["problems"]] == [VAE]
    assert shell("model", "path").code == ExitCode.MISSING_WEIGHTS
    assert shell("model", "list").out.count("partial") == 1
    assert shell("model", "download", "--json").json["repositories"][0]["commit"] == COMMIT
    assert shell("model", "verify").code == ExitCode.OK

    assert shell("model", "rm", "liveact-18b").code == ExitCode.USAGE
    assert shell.folder.is_dir()
    assert shell("model", "rm", "liveact-18b", "--yes").code == ExitCode.OK
    assert not shell.folder.exists()


@pytest.mark.parametrize("command", ["verify", "path", "rm"])
def test_what_was_not_downloaded_is_told(shell: Shell, command: str) -> None:
    outcome = shell("model", command, "liveact-18b")
    assert outcome.code == ExitCode.MISSING_WEIGHTS
    assert "was not downloaded" in outcome.err
    assert "liveact model download liveact-18b" in outcome.err


def test_rm_touches_nothing_that_was_not_downloaded(shell: Shell) -> None:
    shutil.copytree(GOLDEN / "tiny-liveact", shell.folder)
    assert shell("model", "rm", "liveact-18b", "--yes").code == ExitCode.MISSING_WEIGHTS
    assert shell.folder.is_dir()


def test_a_name_that_is_no_model_is_refused(shell: Shell) -> None:
    assert shell("model", "download", "liveact-mini").code == ExitCode.USAGE
    assert shell("model", "rm", "../elsewhere", "--yes").code == ExitCode.USAGE


def test_render_downloads_only_when_it_is_told_to(shell: Shell) -> None:
    render = (
        "render", str(example_file("audio.wav")), "--ref", str(example_file("face.png")),
        "--model", "liveact-18b", "--size", "64x64", "--duration", "0.2", "-o", "x.mp4",
    )  # fmt: skip
    refused = shell(*render)
    assert refused.code == ExitCode.MISSING_WEIGHTS
    assert "55 GB" in refused.err
    assert "--model liveact-mini" in refused.err
    assert not shell.folder.exists()
    assert shell(*render, "--yes", "--dry-run").code == ExitCode.MISSING_WEIGHTS
    assert not shell.folder.exists(), "a dry run writes nothing"
    done = shell(*render, "--yes")
    assert done.code == 0, done.err
    assert (shell.folder / VAE).is_file()
    assert (shell.directory / "x.mp4").is_file()


def test_a_repository_with_a_stray_path_is_refused(shell: Shell) -> None:
    names = ["config.json", "../diffusion_pytorch_model.safetensors"]
    with pytest.raises(WeightsError, match="which leads elsewhere"):
        hub._chosen(AUDIO_SOURCE, names)
