"""One file of named blobs whose every byte is checked: how the state of a render is stored.

Layout: magic (8 bytes), length of the header (8, little endian), SHA-256 of magic, length and
header (32), header (JSON), the blobs one after another, SHA-256 of everything before it (32).
The header is believed only when its own checksum fits, the blobs only when the last one does, so a
damaged file is never half read. Nothing here needs torch: headers are read before it is loaded.
"""

import contextlib
import hashlib
import json
import os
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

from liveact_cli.media.ffmpeg import sync_file

MAGIC: Final = b"LIVEACT\x01"
_START: Final = struct.Struct("<8sQ")
_DIGEST: Final = hashlib.sha256().digest_size
_LONGEST_HEADER: Final = 1 << 28
_BLOCK: Final = 1 << 22


class DamagedError(Exception):
    """The file is not what was written; the message says in what way."""


@dataclass(frozen=True, slots=True)
class Blob:
    """A tensor's bytes with the name of their type and their shape."""

    dtype: str
    shape: tuple[int, ...]
    data: memoryview | bytearray

    @property
    def nbytes(self) -> int:
        """Number of bytes."""
        return len(self.data)


@dataclass(frozen=True, slots=True)
class Container:
    """What a file holds: free facts (JSON) and blobs by name."""

    facts: dict[str, Any]
    blobs: dict[str, Blob]


def write_container(
    path: Path,
    facts: Mapping[str, Any],
    blobs: Mapping[str, Blob],
    stop: Callable[[], bool] = lambda: False,
) -> int:
    """Write a file that appears complete or not at all; return its size.

    It goes to a temporary name beside it, onto the disk, then to its name. When `stop` says yes
    meanwhile, nothing is left and InterruptedError is raised; OSError when it cannot be written.
    """
    part = path.with_name(f"{path.name}.part")
    try:
        with part.open("wb") as file:
            size = _write(file, facts, blobs, stop)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
        sync_file(path.parent)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise
    return size


def _write(
    file: BinaryIO,
    facts: Mapping[str, Any],
    blobs: Mapping[str, Blob],
    stop: Callable[[], bool],
) -> int:
    entries = [[name, blob.dtype, list(blob.shape), blob.nbytes] for name, blob in blobs.items()]
    header = json.dumps({"facts": facts, "blobs": entries}, sort_keys=True).encode()
    start = _START.pack(MAGIC, len(header))
    whole = hashlib.sha256()
    for piece in (start, hashlib.sha256(start + header).digest(), header):
        whole.update(piece)
        file.write(piece)
    for blob in blobs.values():
        data = memoryview(blob.data)
        for at in range(0, len(data), _BLOCK):
            if stop():
                raise InterruptedError("writing was stopped")
            whole.update(data[at : at + _BLOCK])
            file.write(data[at : at + _BLOCK])
    file.write(whole.digest())
    return file.tell()


def read_facts(path: Path) -> dict[str, Any]:
    """Return the facts alone, without looking at the blobs; DamagedError where they are not whole.

    Raises OSError when the file cannot be read.
    """
    with path.open("rb") as file:
        return _read_header(file)[0]


def read_container(path: Path) -> Container:
    """Return everything, after every byte was checked; DamagedError or OSError otherwise."""
    with path.open("rb") as file:
        facts, entries, whole = _read_header(file)
        blobs: dict[str, Blob] = {}
        for name, dtype, shape, size in entries:
            data = bytearray(size)
            view = memoryview(data)
            for at in range(0, size, _BLOCK):
                if file.readinto(view[at : at + _BLOCK]) != len(view[at : at + _BLOCK]):
                    raise DamagedError("the file became shorter")
                whole.update(view[at : at + _BLOCK])
            blobs[name] = Blob(dtype, tuple(shape), data)
        if file.read(_DIGEST) != whole.digest():
            raise DamagedError("the contents do not fit their checksum")
        return Container(facts, blobs)


def _read_header(file: BinaryIO) -> tuple[dict[str, Any], list[Any], "hashlib._Hash"]:
    size = os.fstat(file.fileno()).st_size
    start = file.read(_START.size)
    digest = file.read(_DIGEST)
    if len(start) + len(digest) < _START.size + _DIGEST:
        raise DamagedError("the file is shorter than its header")
    magic, length = _START.unpack(start)
    if magic != MAGIC:
        raise DamagedError("it does not begin as a state does")
    if length > min(size, _LONGEST_HEADER):
        raise DamagedError("the header is longer than the file")
    header = file.read(length)
    if hashlib.sha256(start + header).digest() != digest:
        raise DamagedError("the header does not fit its checksum")
    content = json.loads(header)
    entries = content["blobs"]
    expected = file.tell() + sum(entry[3] for entry in entries) + _DIGEST
    if size != expected:
        raise DamagedError(f"the file has {size} bytes instead of {expected}")
    return content["facts"], entries, hashlib.sha256(start + digest + header)
