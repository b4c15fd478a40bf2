"""What is wrong with a script: where, what, and the fix; all of it at once."""

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from liveact_cli.core.errors import MediaError

MAX_SHOWN: Final = 50
"""Problems printed in one message; the rest is counted."""
MAX_EXCERPT: Final = 100
"""Characters of a source line that are quoted."""


class Severity(StrEnum):
    """How bad it is: an error stops the render, a warning and a note do not."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Place:
    """A position in a file: `line` and `column` count from 1, 0 where there is none."""

    file: str = ""
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        """Return `file:line:column` as editors and compilers write it."""
        if not self.line:
            return self.file or "script"
        return f"{self.file or 'script'}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to fix: `text` is what stands there, `hint` is what to write instead."""

    severity: Severity
    message: str
    place: Place
    text: str = ""
    hint: str = ""

    def __str__(self) -> str:
        """Return the problem as lines for people: place, message, the source line, the fix."""
        lines = [f"{self.place}: {self.severity}: {self.message}"]
        if self.text.strip():
            excerpt, caret = _excerpt(self.text, self.place.column)
            lines += [f"    {excerpt}", f"    {caret}"]
        if self.hint:
            lines.append(f"    fix: {self.hint}")
        return "\n".join(lines)

    def as_json(self) -> dict[str, Any]:
        """Return the problem as plain values for `--json`."""
        return {
            "severity": str(self.severity),
            "message": self.message,
            "file": self.place.file,
            "line": self.place.line,
            "column": self.place.column,
            "text": self.text,
            "hint": self.hint,
        }


class ScriptError(MediaError):
    """A script cannot be used; `problems` lists everything that is wrong with it."""

    advice = "liveact script vocabulary lists the words; docs/directing.md explains the keys"

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda p: (p.place.line, p.place.column)))
        errors = [p for p in self.problems if p.severity is Severity.ERROR]
        count = "1 error" if len(errors) == 1 else f"{len(errors)} errors"
        file = next((p.place.file for p in errors if p.place.file), "script")
        shown = "\n".join(str(p) for p in errors[:MAX_SHOWN])
        rest = f"\n... and {len(errors) - MAX_SHOWN} more" if len(errors) > MAX_SHOWN else ""
        super().__init__(
            f"{count} in {file}\n{shown}{rest}",
            hint=self.advice,
        )


def did_you_mean(word: str, choices: Sequence[str], *, cutoff: float = 0.6) -> str:
    """Return `did you mean 'x'?` for the nearest of `choices`, or nothing when none is near."""
    near = nearest(word, choices, cutoff=cutoff)
    return f"did you mean {near!r}?" if near is not None else ""


def nearest(word: str, choices: Sequence[str], *, cutoff: float = 0.6) -> str | None:
    """Return the one of `choices` that is most like `word`, or None when none is."""
    near = difflib.get_close_matches(word[:60].casefold(), choices, n=1, cutoff=cutoff)
    return near[0] if near else None


def quoted(text: str, limit: int = 40) -> str:
    """Return `text` in quotes on one line, cut to `limit` characters."""
    flat = " ".join(text.split())
    return repr(flat if len(flat) <= limit else flat[: limit - 1] + "…")


def _excerpt(text: str, column: int) -> tuple[str, str]:
    """Return a source line without control characters, and a caret below the column."""
    clean = "".join(c if c.isprintable() else " " for c in text.rstrip())
    offset = max(0, column - 1)
    if len(clean) > MAX_EXCERPT:
        left = max(0, min(offset - MAX_EXCERPT // 2, len(clean) - MAX_EXCERPT))
        clean, offset = clean[left : left + MAX_EXCERPT], offset - left
    stripped = clean.lstrip()
    offset = max(0, min(offset - (len(clean) - len(stripped)), len(stripped)))
    wide = sum(1 for c in stripped[:offset] if ord(c) >= 0x1100)
    return stripped, " " * (offset + wide) + "^"
