"""What this machine has, and whether a picture can be made to speak on it."""

import importlib.metadata
import importlib.util
import platform
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import liveact_cli
from liveact_cli.core.errors import LiveActError
from liveact_cli.core.machine import available_memory, usable_cores
from liveact_cli.core.units import format_bytes
from liveact_cli.weights.registry import FULL, MINI
from liveact_cli.weights.resolve import (
    FACE_FILE,
    MASK_FILE,
    MINI_FILE,
    data_file,
    presets_folder,
    resolve_model,
)

Status = Literal["ok", "note", "bad"]

PACKAGES: Final = (
    "torch", "numpy", "numba", "opencv-python-headless", "ai-edge-litert", "pillow", "av",
    "librosa", "safetensors", "pydantic", "ffmpeg-python", "imageio-ffmpeg", "transformers",
    "diffusers",
)  # fmt: skip
NEEDED_MEMORY: Final = MINI.estimate.memory_bytes
NEEDED_DISK: Final = 500_000_000


@dataclass(frozen=True, slots=True)
class Check:
    """One finding; `note` is worth knowing, `bad` stops the main job and `hint` says what helps."""

    name: str
    status: Status
    detail: str
    hint: str = ""


def examine(variables: Mapping[str, str], directory: Path) -> Iterator[Check]:
    """Yield every check; none of them raises, none needs the network."""
    yield Check("liveact", "ok", f"{liveact_cli.__version__}, Python {platform.python_version()}")
    yield _packages()
    yield _ffmpeg(variables)
    yield _weights(MINI_FILE, "the embedded model")
    yield _weights(FACE_FILE, "the face finder")
    yield _weights(MASK_FILE, "the person finder")
    yield _presets()
    yield _full_model(variables, directory)
    yield _processor()
    yield _memory()
    yield _disk(directory)
    yield _gpu()


def _packages() -> Check:
    missing = [name for name in PACKAGES if _version(name) is None]
    if missing:
        hint = f"pip install {' '.join(missing)}"
        return Check("packages", "bad", f"missing: {', '.join(missing)}", hint)
    return Check("packages", "ok", f"all there; torch {_version('torch')}")


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _ffmpeg(variables: Mapping[str, str]) -> Check:
    from liveact_cli.media.ffmpeg import ffmpeg_version, find_ffmpeg, missing_encoders

    try:
        program = find_ffmpeg(variables)
        version = ffmpeg_version(program)
    except LiveActError as error:
        return Check("ffmpeg", "bad", error.message, error.hint)
    if missing := missing_encoders(program):
        detail = f"{program} has no encoder {' and '.join(missing)}"
        return Check("ffmpeg", "bad", detail, "pip install imageio-ffmpeg, which brings one")
    return Check("ffmpeg", "ok", f"{version}, {program}")


def _weights(name: str, what: str) -> Check:
    try:
        path = data_file(name)
    except LiveActError as error:
        return Check(what, "bad", error.message, error.hint)
    return Check(what, "ok", f"{name}, {format_bytes(path.stat().st_size)}")


def _presets() -> Check:
    try:
        count = len(list(presets_folder().glob("*.yaml")))
    except LiveActError as error:
        return Check("presets", "note", error.message, error.hint)
    return Check("presets", "ok", f"{count} of them")


def _full_model(variables: Mapping[str, str], directory: Path) -> Check:
    try:
        path = resolve_model(FULL.name, variables, directory).path
    except LiveActError as error:
        return Check(FULL.name, "note", f"not installed; it needs {FULL.needs}", error.hint)
    return Check(FULL.name, "ok", str(path))


def _processor() -> Check:
    return Check("processor", "ok", f"{platform.machine()}, {usable_cores()} cores")


def _memory() -> Check:
    available = available_memory()
    if available is None:
        return Check("memory", "note", "cannot tell how much is free")
    detail = f"{format_bytes(available)} free; {MINI.name} takes {format_bytes(NEEDED_MEMORY)}"
    if available < NEEDED_MEMORY:
        return Check("memory", "bad", detail, "close other programs")
    return Check("memory", "ok", detail)


def _disk(directory: Path) -> Check:
    free = shutil.disk_usage(directory).free
    detail = f"{format_bytes(free)} free here"
    if free < NEEDED_DISK:
        return Check("disk", "note", detail, "a minute of video takes about 15 MB")
    return Check("disk", "ok", detail)


def _gpu() -> Check:
    if importlib.util.find_spec("torch") is None:
        return Check("GPU", "note", "cannot tell without torch")
    import torch

    if not torch.cuda.is_available():
        return Check("GPU", "ok", f"none; {MINI.name} needs none")
    names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return Check("GPU", "ok", ", ".join(names))


def healthy(checks: list[Check]) -> bool:
    """Whether the main job can run here."""
    return all(check.status != "bad" for check in checks)
