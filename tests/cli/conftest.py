"""A command line in a world of its own: nothing of the developer's machine leaks in."""

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from liveact_cli.cli.context import Environment
from liveact_cli.cli.main import main


@dataclass(frozen=True)
class Outcome:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Shell:
    """Runs command lines in a folder, with variables that the test chooses."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.variables = {
            "XDG_CONFIG_HOME": str(directory / "config"),
            "XDG_DATA_HOME": str(directory / "data"),
            "XDG_CACHE_HOME": str(directory / "cache"),
        }

    def __call__(self, *arguments: object, **variables: str) -> Outcome:
        out, err = io.StringIO(), io.StringIO()
        environment = Environment(out, err, self.variables | variables, self.directory)
        code = main([str(argument) for argument in arguments], environment)
        return Outcome(int(code), out.getvalue(), err.getvalue())


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


@pytest.fixture
def studio(shell: Shell, toy_mini: Path) -> Shell:
    """A shell whose model is a tiny one with random weights: quick, and complete."""
    shell.variables["LIVEACT_MODEL"] = str(toy_mini)
    return shell
