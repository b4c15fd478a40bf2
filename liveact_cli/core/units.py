"""Times and sizes as people write and read them."""

import math
import re
from typing import NamedTuple

_NUMBER = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*(ms|s|m|min|h)?", re.ASCII)
_CLOCK = re.compile(r"(?:(\d+):)?(\d+):(\d{1,2}(?:\.\d*)?)", re.ASCII)
_SIZE = re.compile(r"(\d+)\s*[x×]\s*(\d+)", re.ASCII | re.IGNORECASE)
_SECONDS = {None: 1.0, "s": 1.0, "ms": 1e-3, "m": 60.0, "min": 60.0, "h": 3600.0}


def parse_time(text: str) -> float:
    """Return the seconds in `2`, `2.5`, `2s`, `1500ms`, `3m`, `0:02` or `1:02:03.250`.

    Raises ValueError with a sentence for anything else.
    """
    stripped = text.strip()
    if match := _NUMBER.fullmatch(stripped):
        seconds = float(match[1]) * _SECONDS[match[2]]
        if math.isfinite(seconds):
            return seconds
    if match := _CLOCK.fullmatch(stripped):
        hours, minutes, rest = int(match[1] or 0), int(match[2]), float(match[3])
        if rest < 60 and (match[1] is None or minutes < 60):
            return hours * 3600 + minutes * 60 + rest
    raise ValueError(f"{text!r} is not a time; write it like 2.5, 1500ms, 0:02 or 1:02:03.250")


def format_time(seconds: float) -> str:
    """Return a duration for people: `8.3 s` below a minute, else `2:05` or `1:02:05`."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    hours, minutes = whole // 3600, whole // 60 % 60
    tail = f"{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"
    return f"{hours}:{tail}" if hours else tail


def counted(count: int, one: str, many: str) -> str:
    """Return a number with the word that fits it: `1 person`, `2 people`."""
    return f"{count} {one if count == 1 else many}"


def format_bytes(count: float) -> str:
    """Return a size for people in decimal units with three digits: `850 MB`, `40.3 GB`."""
    power = 0
    while power < 4 and count / 1000**power >= 999.5:
        power += 1
    return f"{count / 1000**power:.3g} {('bytes', 'kB', 'MB', 'GB', 'TB')[power]}"


class Size(NamedTuple):
    """Width and height of a picture in pixels."""

    width: int
    height: int

    def __str__(self) -> str:
        """Write it as it is typed: `512x512`."""
        return f"{self.width}x{self.height}"


def parse_size(text: str) -> Size:
    """Return the picture size in `512x768` (width first); ValueError with a sentence otherwise."""
    match = _SIZE.fullmatch(text.strip())
    if match is None or 0 in (size := Size(int(match[1]), int(match[2]))):
        raise ValueError(f"{text!r} is not a picture size; write WIDTHxHEIGHT, as in 512x512")
    return size
