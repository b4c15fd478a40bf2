"""Which files may be opened, and how: local, regular, and real media containers only.

ffmpeg reads playlists, concat lists and URLs as readily as recordings; a file from a stranger
could make it fetch from the network or read other files. So every input is named as a `file:`
URL and opened with both whitelists.
"""

import stat
from pathlib import Path
from typing import Any, Final

import av

from liveact_cli.core.errors import MediaError

CONTAINERS: Final = (
    "aac", "ac3", "aiff", "amr", "ape", "asf", "au", "avi", "caf", "dsf", "dts", "dv", "eac3",
    "flac", "flv", "g722", "gsm", "matroska", "mov", "mp3", "mp4", "mpc", "mpc8", "mpeg", "mpegts",
    "mxf", "nut", "ogg", "tak", "tta", "voc", "w64", "wav", "webm", "wv",
)  # fmt: skip
"""Demuxers that read one local file and nothing beyond it."""

READ_OPTIONS: Final = {
    "protocol_whitelist": "file,pipe",
    "format_whitelist": ",".join(CONTAINERS),
}
"""Options of every ffmpeg input."""

_PLAYLIST_SIGNS: Final = (
    b"#extm3u",
    b"ffconcat",
    b"[playlist]",
    b"<smil",
    b"<asx",
    b"<?xml",
    b"file ",
)
_CONVERT: Final = "ffmpeg -i IN -vn OUT.wav makes a recording that works"


def check_input(path: Path, what: str) -> None:
    """Raise MediaError unless `path` is a regular file with something in it; `what` names it."""
    try:
        status = path.stat()
    except FileNotFoundError as error:
        raise MediaError(
            f"{what} {path} does not exist", "check the name and the folder"
        ) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise MediaError(f"{what} {path} cannot be read: {reason}") from error
    if stat.S_ISDIR(status.st_mode):
        raise MediaError(f"{what} {path} is a folder", "give one file")
    if not stat.S_ISREG(status.st_mode):
        raise MediaError(f"{what} {path} is not a regular file", "save it to a file first")
    if status.st_size == 0:
        raise MediaError(f"{what} {path} is empty (0 bytes)", "export or copy it again")
    try:
        path.open("rb").close()
    except OSError as error:
        raise MediaError(f"{what} {path} cannot be read: {error.strerror}") from error


def input_url(path: Path) -> str:
    """Return how ffmpeg is told of a local file, whatever signs its name has."""
    return f"file:{path}"


def open_media(path: Path, what: str = "the recording") -> Any:
    """Return an open PyAV container; MediaError when it is not one that we read."""
    check_input(path, what)
    try:
        return av.open(input_url(path), options=dict(READ_OPTIONS), metadata_errors="replace")
    except (av.FFmpegError, OSError, ValueError) as error:
        with path.open("rb") as file:
            head = file.read(64).lstrip(b"\xef\xbb\xbf \t\r\n").lower()
        if head.startswith(_PLAYLIST_SIGNS):
            raise MediaError(
                f"{what} {path} is a playlist or another text file, not sound",
                "give the recording that it names",
            ) from error
        hint = _CONVERT
        if path.suffix.lower() in (".mp4", ".m4a", ".mov"):
            hint = "its index may be missing because it was cut off; export or copy it again"
        raise MediaError(
            f"{what} {path} is not a sound or video file that can be read", hint
        ) from error
