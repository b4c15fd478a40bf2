"""Just enough of the protocol-buffer wire format to read a mesh without a schema compiler."""

import struct
from collections.abc import Iterator
from typing import Any

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def wire_fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """Yield (field number, value): int for varints, float for 32-bit, bytes for the rest."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, kind = key >> 3, key & 7
        if kind == _VARINT:
            value, at = _varint(data, at)
            yield number, value
        elif kind == _FIXED32:
            yield number, struct.unpack_from("<f", data, at)[0]
            at += 4
        elif kind == _FIXED64:
            yield number, data[at : at + 8]
            at += 8
        elif kind == _BYTES:
            length, at = _varint(data, at)
            yield number, data[at : at + length]
            at += length
        else:
            raise ValueError(f"wire type {kind} at byte {at} is not known")


def floats(value: bytes | float) -> list[float]:
    """Return a repeated float field, packed or single."""
    if isinstance(value, bytes):
        return list(struct.unpack(f"<{len(value) // 4}f", value))
    return [value]


def ints(value: bytes | int) -> list[int]:
    """Return a repeated varint field, packed or single."""
    if isinstance(value, int):
        return [value]
    numbers, at = [], 0
    while at < len(value):
        number, at = _varint(value, at)
        numbers.append(number)
    return numbers


def _varint(data: bytes, at: int) -> tuple[int, int]:
    result = shift = 0
    while True:
        byte = data[at]
        at += 1
        result |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return result, at
