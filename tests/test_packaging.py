"""What is installed is complete: the wheel in a clean folder, and the editable clone."""

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import liveact_cli
from liveact_cli.weights.resolve import presets_folder

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
GPL = {"piper-tts", "espeakng", "phonemizer", "py-espeak-ng"}


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "-o", str(folder)]
    done = subprocess.run([*command, str(ROOT)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds the wheel's content and nothing of the repository."""
    folder = tmp_path_factory.mktemp("installed")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target"]
    subprocess.run([*command, str(folder), str(wheel)], check=True)
    return folder


def run_installed(installed: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=installed.parent,
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_wheel_holds_the_program_and_nothing_else(wheel: Path) -> None:
    assert wheel.stat().st_size < 40_000_000
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert tops == {"liveact_cli", f"liveact_cli-{liveact_cli.__version__}.dist-info"}
    assert "liveact_cli/data/face_landmarker.task" in names
    assert any(name.startswith("liveact_cli/presets/") for name in names)
    assert not [name for name in names if name.endswith((".pyc", ".partial.mp4", ".partial"))]


def test_wheel_finds_its_data(installed: Path) -> None:
    code = (
        "import liveact_cli; from liveact_cli.weights.resolve import *;"
        "print(liveact_cli.__file__, data_file(FACE_FILE), presets_folder(),"
        "example_file('face.png'), example_file('audio.wav'), sep='\\n')"
    )
    for line in run_installed(installed, "-c", code).splitlines():
        assert Path(line).is_relative_to(installed), line


def test_installed_command_runs(installed: Path) -> None:
    assert "liveact 0." in run_installed(installed, "-m", "liveact_cli", "--version")
    assert "render" in run_installed(installed, "-m", "liveact_cli", "--help")


def test_editable_install_uses_the_repository() -> None:
    assert Path(liveact_cli.__file__).is_relative_to(ROOT)
    assert presets_folder() == ROOT / "presets"


def test_constraints_pin_what_is_required() -> None:
    pins = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            name, version = line.split("==")
            pins[canonical(name)] = version
    for text in PROJECT["dependencies"] + PROJECT["optional-dependencies"]["dev"]:
        requirement = Requirement(text)
        assert requirement.specifier.contains(pins[canonical(requirement.name)]), text
    assert not GPL & set(pins)


def test_gpl_tools_are_for_training_only() -> None:
    extras = PROJECT["optional-dependencies"]
    lists = [PROJECT["dependencies"], *(extras[name] for name in extras if name != "train")]
    names = {canonical(Requirement(text).name) for texts in lists for text in texts}
    assert not GPL & names
