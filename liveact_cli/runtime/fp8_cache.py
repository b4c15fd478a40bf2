"""Rounded weights on disk: `.fp8/` in a checkpoint's folder, made on the first load.

It holds one safetensors file, written tensor by tensor (the rounded model is never whole in the
host's memory), and the plan as it was decided by measuring. Both name the source they came from.
One process writes at a time, whether it is a rank of the same render or another render: the others
wait for the file and read it.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final, Self

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from liveact_cli.runtime.fp8 import FP8Plan
from liveact_cli.runtime.fp8_numbers import Quantised, quantise_rows

FOLDER: Final = ".fp8"
WEIGHTS: Final = "weights.safetensors"
PLANS: Final = {"own": "plan.json", "te": "plan-te.json"}
"""Each backend rounds in its own way, and has its own plan."""
LOCK: Final = "weights.lock"
PATIENCE: Final = 120.0
"""Seconds without a new byte after which a process that writes is no longer waited for."""
_GLANCE: Final = 0.1
_FORMAT: Final = 1
_ALIGNMENT: Final = 8


def source_hash(files: Sequence[Path]) -> str:
    """Return the identity of weights files: names, sizes, times of writing, tables of contents.

    Reading 37 GB to hash it would take longer than rounding it again.
    """
    digest = hashlib.sha256(f"fp8 format {_FORMAT}".encode())
    for file in files:
        stat = file.stat()
        digest.update(f"{file.name} {stat.st_size} {stat.st_mtime_ns}".encode())
        with file.open("rb") as source:
            digest.update(source.read(int.from_bytes(source.read(8), "little")))
    return digest.hexdigest()


class FP8Cache:
    """Rounded layers: read where they are stored for this source and plan, else made and stored.

    `shapes` maps the planned layers to `(N, K)`. Ask for them in that order, inside a with block.
    A folder that cannot be written to is no error: the layers are then made every time. Where
    another process is storing them they are read when it has, unless it stands still for
    `patience` seconds.
    """

    def __init__(
        self,
        checkpoint: Path,
        files: Sequence[Path],
        shapes: Mapping[str, tuple[int, ...]],
        patience: float = PATIENCE,
    ) -> None:
        self.shapes = dict(shapes)
        self.hit = False
        self._path = checkpoint / FOLDER / WEIGHTS
        names = hashlib.sha256("\n".join(sorted(shapes)).encode()).hexdigest()
        self._metadata = {"source": source_hash(files), "layers": names}
        self._patience = patience
        self._turn: BinaryIO | None = None
        self._reader: Any = None
        self._writer: _Writer | None = None

    def __enter__(self) -> Self:
        """Open what is stored, or begin to store."""
        self._reader = _open(self._path, self._metadata)
        if self._reader is None and self.shapes:
            with contextlib.suppress(OSError):
                self._begin()
        self.hit = self._reader is not None
        return self

    def __exit__(self, kind: object, *exc: object) -> None:
        """Keep what was stored only when all of it came."""
        if self._writer is not None:
            self._writer.close(commit=kind is None)
        if self._turn is not None:
            self._turn.close()

    def _begin(self) -> None:
        """Store as the only one, or read what another process has stored meanwhile."""
        self._path.parent.mkdir(exist_ok=True)
        self._turn = self._path.with_name(LOCK).open("wb")
        mine = _wait_for(self._turn, self._path.parent, self._patience)
        self._reader = _open(self._path, self._metadata)
        if mine and self._reader is None:
            self._writer = _Writer(self._path, self._metadata, _layout(self.shapes))

    def get(self, layer: str, read: Callable[[], Tensor]) -> Quantised:
        """Return a layer's rounded weight; `read` gives the weight where it must be made."""
        if self._reader is not None:
            values = self._reader.get_tensor(f"{layer}.weight")
            return Quantised(values, self._reader.get_tensor(f"{layer}.scale"))
        made = quantise_rows(read())
        if self._writer is not None:
            try:
                self._writer.add(f"{layer}.weight", made.values)
                self._writer.add(f"{layer}.scale", made.scale)
            except OSError:  # the disk is full: go on without
                self._writer.close(commit=False)
                self._writer = None
        return made


def save_plan(checkpoint: Path, files: Sequence[Path], plan: FP8Plan, backend: str = "own") -> None:
    """Keep a measured plan for the next load; a folder that cannot be written to is no error."""
    values = {"source": source_hash(files), "limit": plan.limit, "names": plan.names}
    path = checkpoint / FOLDER / PLANS[backend]
    with contextlib.suppress(OSError):
        path.parent.mkdir(exist_ok=True)
        part = path.with_name(f"{path.name}.{os.getpid()}.part")
        part.write_text(json.dumps(values | {"kept": dict(plan.kept)}), encoding="utf-8")
        part.replace(path)


def stored_plan(
    checkpoint: Path, files: Sequence[Path], limit: float, backend: str = "own"
) -> FP8Plan | None:
    """Return the plan that was measured for these files at this limit, if there is one."""
    try:
        path = checkpoint / FOLDER / PLANS[backend]
        values = json.loads(path.read_text(encoding="utf-8"))
        if values["source"] != source_hash(files) or values["limit"] != limit:
            return None
        return FP8Plan(tuple(values["names"]), dict(values["kept"]), limit)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _layout(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[str, list[int], int]]:
    """Name -> (type's name in the file, shape, bytes)."""
    layout = {}
    for name, (rows, columns) in shapes.items():
        layout[f"{name}.weight"] = ("F8_E4M3", [rows, columns], rows * columns)
        layout[f"{name}.scale"] = ("F32", [rows, 1], rows * 4)
    return layout


def _wait_for(turn: BinaryIO, folder: Path, patience: float) -> bool:
    """Wait for the right to write; False where who has it stands still. The system takes it away
    from a process that ends."""
    written, since = -1, time.monotonic()
    while True:
        try:
            fcntl.flock(turn, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            now = sum(part.stat().st_size for part in folder.glob("*.part") if part.is_file())
            if now != written:
                written, since = now, time.monotonic()
            if time.monotonic() - since >= patience:
                return False
            time.sleep(_GLANCE)
        except OSError:  # a file system without locks: whoever is the last to finish is kept
            return True
        else:
            return True


def _open(path: Path, metadata: Mapping[str, str]) -> Any:
    try:
        handle: Any = safe_open(path, framework="pt")
    except (OSError, SafetensorError):
        return None
    return handle if handle.metadata() == metadata else None


class _Writer:
    """A safetensors file whose tensors come one by one, in the order of the layout."""

    def __init__(
        self,
        path: Path,
        metadata: Mapping[str, str],
        layout: Mapping[str, tuple[str, list[int], int]],
    ) -> None:
        self._path, self._waiting = path, list(layout)
        header: dict[str, Any] = {"__metadata__": dict(metadata)}
        start = 0
        for name, (kind, shape, nbytes) in layout.items():
            header[name] = {"dtype": kind, "shape": shape, "data_offsets": [start, start + nbytes]}
            start += nbytes
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % _ALIGNMENT)
        self._part = path.with_name(f"{path.name}.{os.getpid()}.part")
        self._file: BinaryIO = self._part.open("wb")
        self._file.write(len(text).to_bytes(8, "little") + text)

    def add(self, name: str, value: Tensor) -> None:
        """Write the next tensor."""
        if name != self._waiting[0]:
            raise ValueError(f"{name} came before {self._waiting[0]}")
        del self._waiting[0]
        value.cpu().contiguous().view(torch.uint8).numpy().tofile(self._file)

    def close(self, commit: bool) -> None:
        """End the file; give it its name when it is complete."""
        self._file.close()
        if commit and not self._waiting:
            self._part.replace(self._path)
        else:
            self._part.unlink(missing_ok=True)
