"""Weights from the Hub, against a server on this machine that serves the toy checkpoint."""

import errno
import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from hub_server import COMMIT, Hub, Repository, start

from liveact_cli.core.errors import ExitCode, UsageError, WeightsError
from liveact_cli.weights import hub
from liveact_cli.weights.hub import AUDIO_SOURCE, MODEL_REPOSITORY, Access, download, folder_of
from liveact_cli.weights.lock import check_files, is_complete, read_lock, sha256_of
from liveact_cli.weights.store import AUDIO_FOLDER, IMAGE_ENCODER, TEXT_ENCODER, VAE

GOLDEN = Path(__file__).parents[1] / "golden"
MODEL = "liveact-18b"
SECRET = "hf_never_to_be_shown"


class Place(NamedTuple):
    server: Hub
    variables: dict[str, str]
    folder: Path

    def download(self, **variables: str) -> Path:
        return download(MODEL, self.variables | variables)[0]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    files = Repository.of_folder(GOLDEN / "tiny-liveact")
    files.files |= {"README.md": b"# card", "assets/big_video.mp4": b"x" * 1000}
    server = Hub(
        {
            MODEL_REPOSITORY: files,
            AUDIO_SOURCE.repository: Repository.of_folder(GOLDEN / "tiny-wav2vec2", licence=None),
        }
    )
    running = start(server)
    # huggingface-hub waits longer and longer between attempts; here nothing is gained by that.
    pause = time.sleep
    monkeypatch.setattr(time, "sleep", lambda seconds: pause(min(seconds, 0.01)))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf-home"))
    variables = {"HF_ENDPOINT": server.url, "LIVEACT_MODELS": str(tmp_path / "models")}
    yield Place(server, variables, folder_of(MODEL, variables))
    running.shutdown()
    running.server_close()


def test_only_what_is_needed_is_fetched(place: Place) -> None:
    folder = place.download()
    assert folder == place.folder
    for source in (GOLDEN / "tiny-liveact", GOLDEN / "tiny-wav2vec2"):
        base = folder / AUDIO_FOLDER if source.name == "tiny-wav2vec2" else folder
        for path in source.rglob("*"):
            if path.is_file():
                assert (base / path.relative_to(source)).read_bytes() == path.read_bytes()
    assert not (folder / "README.md").exists()
    assert not (folder / "assets").exists()


def test_the_lock_records_commit_licence_and_every_sha256(place: Place) -> None:
    folder, lock = download(MODEL, place.variables)
    assert read_lock(folder) == lock
    assert is_complete(folder, lock)
    assert lock.repositories[MODEL_REPOSITORY].commit == COMMIT
    assert dict(hub.licences(lock)) == {
        MODEL_REPOSITORY: "apache-2.0",
        AUDIO_SOURCE.repository: "not stated on its card",
    }
    for path, file in lock.paths():
        assert file.sha256 == sha256_of(folder / path)
        assert file.size == (folder / path).stat().st_size
    assert list(check_files(folder, lock)) == []


def test_a_second_download_asks_for_nothing(place: Place) -> None:
    place.download()
    place.server.requests.clear()
    place.download()
    assert place.server.requests == []


def test_what_was_locked_counts_when_the_hub_moves_on(place: Place) -> None:
    folder = place.download()
    (folder / VAE).unlink()
    place.server.requests.clear()
    place.server.commit = "f" * 40
    # This server serves one commit only, as it is; what matters is which one is asked for.
    place.server.repositories[MODEL_REPOSITORY].files[VAE] += b"newer"
    with pytest.raises(WeightsError):
        place.download()
    asked = [path for how, path, _ in place.server.requests if path.endswith(VAE)]
    assert asked
    assert all(f"/resolve/{COMMIT}/" in path or path.startswith("/cdn/") for path in asked)
    assert not any(path.startswith("/api/") for _, path, _ in place.server.requests)


def test_a_connection_cut_half_way_is_taken_up_again(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Whole blocks count as received; the toy files are smaller than one block of 10 MB.
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1 << 14)
    place.server.cut[VAE] = 2
    folder = place.download()
    assert (folder / VAE).read_bytes() == (GOLDEN / "tiny-liveact" / VAE).read_bytes()
    ranges = [asked for asked in place.server.served(f"/{VAE}") if asked]
    assert ranges
    assert ranges[-1] != "bytes=0-"


def test_a_download_that_gave_up_goes_on_later(place: Place) -> None:
    place.server.status[IMAGE_ENCODER] = (500, 100)
    with pytest.raises(WeightsError, match=r"HTTP 500") as caught:
        place.download()
    assert "goes on where it stopped" in caught.value.hint
    place.server.status.clear()
    place.server.requests.clear()
    folder = place.download()
    lock = read_lock(folder)
    assert lock
    assert is_complete(folder, lock)
    assert place.server.served(f"/{VAE}") == []


def test_too_many_requests_is_waited_for_then_told(place: Place) -> None:
    place.server.status[VAE] = (429, 2)
    place.download()
    shutil.rmtree(place.folder)
    place.server.status[VAE] = (429, 1000)
    with pytest.raises(WeightsError, match="429"):
        place.download()


def test_a_hub_that_is_not_there_is_told(place: Place) -> None:
    with pytest.raises(WeightsError, match="Soul-AILab/LiveAct cannot be fetched"):
        place.download(HF_ENDPOINT="http://127.0.0.1:9")


def test_altered_bytes_are_refused_and_deleted(place: Place) -> None:
    place.server.altered.add(TEXT_ENCODER)
    with pytest.raises(WeightsError, match="SHA-256"):
        place.download()
    assert not (place.folder / TEXT_ENCODER).exists()
    place.server.altered.clear()
    folder = place.download()
    assert list(check_files(folder, read_lock(folder) or hub.Lock())) == []


def test_a_file_that_was_finished_but_not_locked_is_not_fetched_again(place: Place) -> None:
    folder = place.download()
    lock = read_lock(folder)
    assert lock
    lock.repositories[MODEL_REPOSITORY].files[VAE].sha256 = None
    hub.write_lock(folder, lock)
    place.server.requests.clear()
    place.download()
    assert place.server.requests == []


def test_an_unknown_repository_is_told(place: Place) -> None:
    del place.server.repositories[MODEL_REPOSITORY]
    with pytest.raises(WeightsError, match="has no Soul-AILab/LiveAct") as caught:
        place.download()
    assert caught.value.exit_code == ExitCode.MISSING_WEIGHTS


def test_a_gated_repository_wants_a_token_that_nobody_sees(
    place: Place, capfd: pytest.CaptureFixture[str]
) -> None:
    place.server.repositories[MODEL_REPOSITORY].token = SECRET
    with pytest.raises(WeightsError, match="accepted its terms"):
        place.download(HF_TOKEN="hf_wrong_one")
    folder = place.download(HF_TOKEN=SECRET)
    assert f"Bearer {SECRET}" in place.server.tokens
    for path in folder.rglob("*.json"):
        assert SECRET not in path.read_text(encoding="utf-8")
    assert SECRET not in repr(Access.of({"HF_TOKEN": SECRET}))
    written = capfd.readouterr()
    assert "hf_" not in (written.out + written.err).replace("hf_hub", "").replace("hf_xet", "")


def test_a_repository_of_another_layout_is_told(place: Place) -> None:
    del place.server.repositories[MODEL_REPOSITORY].files[VAE]
    with pytest.raises(WeightsError, match=r"has no Wan2\.1_VAE\.pth"):
        place.download()
    assert not place.folder.exists()


def test_any_repository_of_the_layout_will_do(place: Place) -> None:
    repositories = place.server.repositories
    repositories["someone/FineTuned"] = repositories[MODEL_REPOSITORY]
    folder, lock = download("someone/FineTuned", place.variables)
    assert folder.name == "someone--FineTuned"
    assert is_complete(folder, lock)


@pytest.mark.parametrize("name", ["liveact-mini", "nonsense", "../up", "a/b/c"])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="cannot be downloaded"):
        hub.sources_of(name)


def test_the_pickled_audio_encoder_is_taken_where_there_is_no_other(place: Place) -> None:
    files = place.server.repositories[AUDIO_SOURCE.repository].files
    files["pytorch_model.bin"] = files.pop("model.safetensors")
    folder = place.download()
    assert (folder / AUDIO_FOLDER / "pytorch_model.bin").is_file()


def test_a_small_disk_is_told_before_anything_is_fetched(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(place.folder.parent.parent)._replace(free=1_200_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    place.server.repositories[MODEL_REPOSITORY].files["diffusion_pytorch_model-x.safetensors"] = (
        b"x" * 300_000_000
    )
    with pytest.raises(WeightsError, match=r"303 MB are to be downloaded and 1\.2 GB are free"):
        place.download()
    assert not place.folder.exists()


def test_a_disk_that_fills_up_is_told(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", full)
    with pytest.raises(WeightsError, match="are free in"):
        place.download()


def test_offline_nothing_is_asked(place: Place) -> None:
    with pytest.raises(WeightsError, match="HF_HUB_OFFLINE"):
        place.download(HF_HUB_OFFLINE="1")
    assert place.server.requests == []
    place.download()
    place.server.requests.clear()
    assert place.download(HF_HUB_OFFLINE="1") == place.folder
    assert place.server.requests == []


def test_what_changed_is_found(place: Place) -> None:
    folder, lock = download(MODEL, place.variables)
    (folder / VAE).write_bytes(bytes((folder / VAE).stat().st_size))
    (folder / TEXT_ENCODER).write_bytes(b"short")
    (folder / IMAGE_ENCODER).unlink()
    problems = {problem.path: problem.what for problem in check_files(folder, lock)}
    assert "SHA-256" in problems[VAE]
    assert "5 bytes" in problems[TEXT_ENCODER]
    assert problems[IMAGE_ENCODER] == "is missing"
    assert len(problems) == 3


def test_a_damaged_lock_is_told(place: Place) -> None:
    folder = place.download()
    (folder / "liveact.lock.json").write_text(json.dumps({"format": 99}))
    with pytest.raises(WeightsError, match="format 99"):
        place.download()
