"""The worked examples and the tutorial: each passes, each can be rendered, each command runs."""

import re
import shlex
import shutil
from pathlib import Path

import pytest

from liveact_cli.cli.context import Environment
from liveact_cli.cli.main import main

ROOT = Path(__file__).resolve().parent.parent.parent
EXAMPLES = ("podcast", "talkshow", "song")
TEXT = (ROOT / "docs" / "directing.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)
COMMANDS = [line for block in BLOCKS for line in block.splitlines() if line.startswith("liveact")]
HEAVY = ("render", "preview")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, toy_mini: Path) -> Path:
    path = tmp_path_factory.mktemp("reader")
    shutil.copytree(ROOT / "examples", path / "examples")
    (path / "edits.json").write_text('{"[0, 4]": "He smiles."}')
    return path


def run(folder: Path, toy: Path, *words: str, errors: list[str] | None = None) -> int:
    import io

    err = io.StringIO()
    variables = {"XDG_CONFIG_HOME": str(folder), "LIVEACT_MODEL": str(toy)}
    code = main(words, Environment(io.StringIO(), err, variables, folder))
    if errors is not None:
        errors.append(err.getvalue())
    return code


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_passes_without_a_doubt(folder: Path, toy_mini: Path, name: str) -> None:
    said: list[str] = []
    words = ("script", "check", f"examples/{name}.yaml", "--audio", f"examples/{name}.wav")
    assert run(folder, toy_mini, *words, errors=said) == 0
    assert "warning" not in said[0]


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_renders(folder: Path, toy_mini: Path, name: str) -> None:
    words = ("render", f"examples/{name}.wav", "--ref", "examples/face.png", "--size", "96x112")
    script = ("--script", f"examples/{name}.yaml", "--fps", "12", "-q")
    assert run(folder, toy_mini, *words, *script) == 0
    assert (folder / f"{name}.mp4").stat().st_size > 10_000


def test_every_command_of_the_tutorial_runs(folder: Path, toy_mini: Path) -> None:
    assert len(COMMANDS) >= 18
    for line in COMMANDS:
        words = shlex.split(line)[1:]
        if words[0] == "render":
            continue  # the examples above
        if words[0] == "preview":
            words += ["--size", "96x112"]
        said: list[str] = []
        assert run(folder, toy_mini, *words, errors=said) == 0, f"{line}\n{said[0]}"
    assert (folder / "sheet.png").is_file()
    assert (folder / "clip.mp4").is_file()


def test_renders_of_the_tutorial_are_those_of_the_examples() -> None:
    renders = [shlex.split(line) for line in COMMANDS if " render " in line]
    assert {Path(words[2]).stem for words in renders} == set(EXAMPLES)
    assert all(f"examples/{Path(words[2]).stem}.yaml" in words for words in renders)


def test_scripts_of_the_tutorial_parse() -> None:
    from liveact_cli.script.parse import parse_script
    from liveact_cli.script.source import Source

    for block in re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL):
        head = "" if block.startswith("liveact") else "liveact: 1\n"
        parse_script(Source(head + block))


def test_pictures_of_the_tutorial_are_there() -> None:
    names = re.findall(r"!\[[^]]+\]\(([^)]+)\)", TEXT)
    assert names
    for name in names:
        assert (ROOT / "docs" / name).stat().st_size < 400_000, name
