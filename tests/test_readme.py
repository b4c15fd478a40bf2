"""The README's commands are run as they stand there, in a folder with such files in it."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from liveact_cli.cli.context import Environment
from liveact_cli.cli.main import main
from liveact_cli.weights.resolve import example_file

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
LINES = [
    line.split("  #")[0].strip()
    for block in re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)
    for line in block.splitlines()
    if line.strip()
]
LIVEACT = [line for line in LINES if line.startswith("liveact ")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The reader's folder: short recordings and pictures under the names that the README uses."""
    path = tmp_path_factory.mktemp("reader")
    (path / "examples").mkdir()
    for name in ("face.png", "audio.wav"):
        shutil.copy(example_file(name), path / "examples" / name)
    for file in ("roundtable.yaml", "roundtable.flac", "roundtable.vtt", "lisa.jpg", "sam.png"):
        shutil.copy(ROOT / "examples" / file, path / "examples" / file)
    turns = "".join(
        f"SPEAKER talk 1 {2 * i} 1.9 <NA> <NA> {who} <NA> <NA>\n" for i, who in enumerate("AB")
    )
    (path / "talk.rttm").write_text(turns, encoding="utf-8")
    portrait = Image.open(example_file("face.png")).convert("RGB")
    portrait.save(path / "me.jpg")
    both = Image.new("RGB", (900, 600), (90, 110, 130))
    both.paste(portrait, (0, 0))
    both.paste(portrait.resize((384, 450)), (516, 100))
    both.save(path / "us.jpg")
    cut_sound(path / "talk.mp3", 4.2)
    (path / "takes").mkdir()
    cut_sound(path / "takes" / "monday.wav", 1.0)
    script = next(iter(re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)))
    (path / "show.yaml").write_text(script, encoding="utf-8")
    return path


def cut_sound(target: Path, seconds: float) -> None:
    from liveact_cli.media.ffmpeg import find_ffmpeg

    command = [find_ffmpeg(), "-v", "error", "-i", str(example_file("audio.wav"))]
    subprocess.run([*command, "-t", str(seconds), str(target)], check=True)


def test_every_command_runs(folder: Path) -> None:
    assert len(LIVEACT) >= 8
    variables = {"XDG_CONFIG_HOME": str(folder), "XDG_DATA_HOME": str(folder)}
    for line in LIVEACT:
        words = shlex.split(line)[1:]
        if words[0] == "render":
            words += ["--force", "--size", "160x160"] if "--size" not in words else ["--force"]
        if words[0] == "podcast":
            words += ["--size", "160x90", "--start", "4", "--duration", "3s", "--jobs", "1"]
        environment = Environment(variables=variables, directory=folder)
        assert main(words, environment) == 0, line


def test_make_targets_exist() -> None:
    for line in LINES:
        if line.startswith("make "):
            done = subprocess.run(
                [*shlex.split(line), "--dry-run"], cwd=ROOT, capture_output=True, text=True
            )
            assert done.returncode == 0, done.stderr


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", TEXT):
        assert (ROOT / target).exists(), target
