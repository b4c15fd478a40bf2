"""What the flags of models like liveact-18b change, on the small checkpoint of that layout."""

import shutil
from pathlib import Path

import pytest

from liveact_cli.core.errors import ExitCode
from liveact_cli.weights.resolve import example_file

GOLDEN = Path(__file__).parents[1] / "golden"
CHECKPOINT = GOLDEN / "tiny-liveact"
FACE, SPEECH = example_file("face.png"), example_file("audio.wav")


def rendered(shell, name: str, *options: object) -> bytes:
    """Return the frames' bytes of a render of three chunks."""
    outcome = shell(
        "render", SPEECH, "--ref", FACE, "--duration", "2.3", "--size", "64x64", "--seed", "5",
        "--prompt", "A man talks.", "-q", "-o", f"{name}.mp4", *options,
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    return (shell.directory / f"{name}.mp4").read_bytes()


@pytest.fixture
def released(shell):
    shell.variables["LIVEACT_MODEL"] = str(CHECKPOINT)
    shell.variables["XDG_CACHE_HOME"] = str(shell.directory / "cache")
    return shell
