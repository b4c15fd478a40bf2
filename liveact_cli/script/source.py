"""Reading a script file: bytes to text, with a reason for everything that is refused."""

import codecs
import re
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from liveact_cli.script.problems import Place, Problem, ScriptError, Severity

MAX_BYTES: Final = 1_000_000
"""Largest script that is read: two hours with an event every second need about 500 kB."""
STDIN: Final = "-"
BINARY: Final = "this is a binary file, or UTF-16 without its mark"
BINARY_LOOK: Final = 4096
"""Bytes in which a zero tells a binary file."""

_BOMS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
"""Longest first: the mark of UTF-32 begins with the one of UTF-16."""


@dataclass(frozen=True)
class Source:
    """The text of a file and the name it is reported under; `folder` is where its paths start."""

    text: str
    name: str = "script"
    folder: Path = Path()

    @cached_property
    def lines(self) -> list[str]:
        """The lines without their ends, as PyYAML counts them."""
        return re.split("\r\n|[\r\n\x85\u2028\u2029]", self.text)

    def line(self, number: int) -> str:
        """Return line `number` (from 1), or nothing outside the file."""
        return self.lines[number - 1] if 1 <= number <= len(self.lines) else ""


def read_source(path: str | Path) -> Source:
    """Read a script from `path`, or from standard input for `-`.

    Raises `ScriptError` for a file that is missing, not a file, too large or not text.
    """
    if str(path) == STDIN:
        return decode_source(sys.stdin.buffer.read(MAX_BYTES + 1), "<stdin>", Path())
    file = Path(path)
    name = shown_path(file)
    try:
        if file.is_dir():
            raise _refused(name, f"{name} is a folder, not a script", "name the .yaml file in it")
        with file.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        hint = "liveact script new --audio RECORDING -o FILE writes one to start from"
        raise _refused(name, f"{name} does not exist", hint) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise _refused(name, f"{name} cannot be read: {reason}", "check its name") from None
    return decode_source(data, name, file.parent)


def decode_source(data: bytes, name: str, folder: Path) -> Source:
    """Turn the bytes of a script into text: UTF-8, or UTF-16 and UTF-32 with a byte order mark.

    Raises `ScriptError` for more than `MAX_BYTES`, for other encodings and for binary files.
    """
    if len(data) > MAX_BYTES:
        raise _refused(
            name,
            f"the script is larger than {MAX_BYTES:,} bytes",
            "a script holds directions only; is this the right file?",
        )
    return decode_text(data, name, folder)


def decode_text(data: bytes, name: str, folder: Path) -> Source:
    """Turn bytes of any number into text as `decode_source` does."""
    encoding = "utf-8"
    for bom, candidate in _BOMS:
        if data.startswith(bom):
            data, encoding = data[len(bom) :], candidate
            break
    if encoding == "utf-8" and b"\0" in data[:BINARY_LOOK]:
        raise _refused(name, BINARY, "save it as UTF-8, or name another file")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        column = error.start - (data.rfind(b"\n", 0, error.start) + 1) + 1
        problem = Problem(
            Severity.ERROR,
            f"this is not {encoding.upper()} text (byte 0x{data[error.start]:02x})",
            Place(name, line, column),
            data.split(b"\n")[line - 1].decode(encoding, "replace"),
            "save the file as UTF-8",
        )
        raise ScriptError([problem]) from None
    if "\0" in text:
        raise _refused(name, BINARY, "save it as UTF-8")
    return Source(text, name, folder)


def shown_path(file: Path) -> str:
    """Return the name for messages: from the working folder on, where it lies in there."""
    try:
        return str(file.relative_to(Path.cwd()))
    except (ValueError, OSError):
        return str(file)


def _refused(name: str, message: str, hint: str) -> ScriptError:
    return ScriptError([Problem(Severity.ERROR, message, Place(name), hint=hint)])
