"""The world a command runs in, as one value: tests hand in their own, nothing is patched."""

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO


@dataclass(frozen=True, slots=True)
class Environment:
    """Streams, variables and the folder that relative paths start from."""

    stdout: TextIO = field(default_factory=lambda: sys.stdout)
    stderr: TextIO = field(default_factory=lambda: sys.stderr)
    variables: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    directory: Path = field(default_factory=Path.cwd)

    @property
    def interactive(self) -> bool:
        """Whether a person watches stderr, so that a progress bar makes sense."""
        return self.stderr.isatty() and self.variables.get("TERM") != "dumb"

    @property
    def color(self) -> bool:
        """Whether colours are welcome (https://no-color.org)."""
        return self.interactive and not self.variables.get("NO_COLOR")

    @property
    def debug(self) -> bool:
        """Whether failures show their traceback."""
        return self.variables.get("LIVEACT_DEBUG", "") not in ("", "0")

    def path(self, text: str | Path) -> Path:
        """Return the path a user means: `~` is his home, relative paths start at `directory`."""
        return self.directory / Path(text).expanduser()

    def result(self, text: str) -> None:
        """Write one line of the result to stdout."""
        self.stdout.write(text + "\n")
        self.stdout.flush()

    def result_json(self, value: object) -> None:
        """Write the result as one JSON document to stdout."""
        self.result(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))

    def say(self, text: str) -> None:
        """Write one line for people to stderr."""
        self.stderr.write(text + "\n")
        self.stderr.flush()
