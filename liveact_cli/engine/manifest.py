"""What a render will do, decided before anything heavy is loaded, and its identity."""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import liveact_cli
from liveact_cli.config.settings import NOT_IN_THE_RESULT, RenderSettings
from liveact_cli.core.errors import MediaError
from liveact_cli.core.geometry import ChunkPlan, frames_of
from liveact_cli.core.units import Size
from liveact_cli.weights.registry import ModelRow
from liveact_cli.weights.resolve import ResolvedModel

if TYPE_CHECKING:
    from liveact_cli.engine.placement import Placement

FORMAT: Final = 1
_FILES: Final = ("audio_encoder", "decoder_weights")
"""Settings that name files: what is in them counts, not where they are."""
_ELSEWHERE: Final = ("model", "seed", *_FILES, *NOT_IN_THE_RESULT)
_BLOCK: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class RenderPlan:
    """One render, completely decided: inputs, settings, seed, and all that follows from them.

    `seconds` is the length of the sound that is used, `size` the video's (width, height), `frames`
    its number of frames, `chunks` what the model generates (at its own frame rate).
    """

    model: ResolvedModel
    audio: Path
    reference: Path
    output: Path
    settings: RenderSettings
    seed: int
    seconds: float
    size: Size
    frames: int
    chunks: ChunkPlan
    direction: str = ""
    """Identity of the script that is played, if there is one."""
    placement: "Placement | None" = None
    """Where and how exactly the model computes; liveact-mini needs none."""
    crop: tuple[int, int, int, int] | None = None
    """The part of the picture that is used, where it is not all of it: left, top, width, height."""
    cache: Path | None = None
    """Where results are kept that other renders need too."""

    @property
    def model_fps(self) -> Fraction:
        """Frames per second of what the model generates."""
        return model_fps(self.model.row, self.settings.fps)

    @property
    def segment_frames(self) -> int:
        """Frames of a segment of the video, but for the last one."""
        return round(self.settings.segment_seconds * self.settings.fps)

    @property
    def estimated_seconds(self) -> float:
        """The wall time that the model's row in the registry promises for this plan."""
        width, height = self.size
        return self.model.row.estimate.seconds(self.frames, width * height)

    def record(self) -> dict[str, Any]:
        """Return what goes into the file: all that makes it again, no paths, no clock time."""
        settings = {
            name: _plain(value)
            for name, value in asdict(self.settings).items()
            if name not in _ELSEWHERE and value not in (None, "")
        }
        files = {name: getattr(self.settings, name) for name in _FILES}
        return {
            "format": FORMAT,
            "liveact": liveact_cli.__version__,
            "model": self.model.row.name,
            "weights": fingerprint_of(self.model.path),
            "seed": self.seed,
            "audio": fingerprint_of(self.audio),
            "reference": fingerprint_of(self.reference),
            "seconds": round(self.seconds, 6),
            "size": list(self.size),
            "frames": self.frames,
            "settings": settings,
            **({"direction": self.direction} if self.direction else {}),
            **({"arithmetic": self.placement.record()} if self.placement else {}),
            **({"crop": list(self.crop)} if self.crop else {}),
            **{name: fingerprint_of(path) for name, path in files.items() if path},
        }


def plan_render(
    model: ResolvedModel,
    audio: Path,
    reference: Path,
    output: Path,
    settings: RenderSettings,
    seed: int,
    seconds: float,
    size: Size,
) -> RenderPlan:
    """Return the plan for `seconds` of sound; raises MediaError when they do not fill one frame."""
    fps = settings.fps
    frames = frames_of(seconds, float(fps))
    if frames < 1:
        raise MediaError(
            f"{seconds * 1000:.0f} ms of sound are less than one video frame",
            f"give at least {float(1000 / fps):.0f} ms (--start, --duration)",
        )
    model_frames = math.ceil(frames * model_fps(model.row, fps) / fps)
    chunks = ChunkPlan(model.row.policy, model_frames)
    return RenderPlan(
        model, audio, reference, output, settings, seed, seconds, size, frames, chunks
    )


def model_fps(row: ModelRow, fps: Fraction) -> Fraction:
    """Return the rate at which a model generates for a video of `fps` frames per second."""
    return fps if row.native_fps is None else Fraction(row.native_fps)


def fingerprint_of(path: Path) -> str:
    """Return the SHA-256 of a file's content, or of a folder's names and sizes.

    Hidden names do not count: what is kept beside weights (`.fp8`) does not change them.
    """
    digest = hashlib.sha256()
    if path.is_dir():
        seen = (file for file in path.iterdir() if not file.name.startswith("."))
        listing = sorted((file.name, file.stat().st_size) for file in seen)
        digest.update(json.dumps(listing).encode())
        return digest.hexdigest()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def fingerprint(record: Mapping[str, Any]) -> str:
    """Return the identity of a render: equal exactly when every input and setting is equal."""
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


def _plain(value: object) -> object:
    if isinstance(value, Fraction):
        return int(value) if value.denominator == 1 else str(value)
    return list(value) if isinstance(value, tuple) else value
