"""The file of liveact-mini's weights: one safetensors with every part; settings in its metadata.

Keys: `transformer.*` (bf16), `audio_encoder.*` (bf16), `codec.*` (float32). The metadata's entry
`liveact` is JSON: sizes, step schedule, memory policy, fold, vocabulary and provenance.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Self

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from liveact_cli.core.errors import WeightsError
from liveact_cli.core.geometry import MemoryPolicy
from liveact_cli.mini.vocabulary import VOCABULARY
from liveact_cli.model.config import TransformerConfig
from liveact_cli.model.memory import Fold
from liveact_cli.model.schedule import StepSchedule

FORMAT: Final = 1
METADATA_KEY: Final = "liveact"
FULL_PRECISION: Final = ("codec",)
PARTS: Final = ("transformer", "audio_encoder", "codec")


@dataclass(frozen=True)
class MiniSettings:
    """Everything about liveact-mini that is not a tensor."""

    transformer: TransformerConfig
    audio_encoder: dict[str, Any]
    schedule: StepSchedule
    policy: MemoryPolicy = field(default_factory=MemoryPolicy)
    fold: Fold = "shared"
    vocabulary: tuple[str, ...] = VOCABULARY
    provenance: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """Return the metadata entry."""
        values = {
            "format": FORMAT,
            "model": "liveact-mini",
            "transformer": self.transformer.to_dict(),
            "audio_encoder": self.audio_encoder,
            "schedule": asdict(self.schedule),
            "policy": asdict(self.policy),
            "fold": self.fold,
            "vocabulary": self.vocabulary,
            "provenance": self.provenance,
        }
        return json.dumps(values, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote; raises `WeightsError` for a file of another kind."""
        values = json.loads(text)
        if values.get("format") != FORMAT or values.get("model") != "liveact-mini":
            raise WeightsError(
                f"the weights have format {values.get('format')} of {values.get('model')}, "
                f"this version reads format {FORMAT} of liveact-mini",
                "reinstall liveact-cli: it carries the weights that fit",
            )
        schedule = values["schedule"]
        return cls(
            TransformerConfig.from_dict(values["transformer"]),
            values["audio_encoder"],
            StepSchedule(tuple(schedule["sigmas"]), tuple(schedule["audio"]), schedule["sampler"]),
            MemoryPolicy(**values["policy"]),
            values["fold"],
            tuple(values["vocabulary"]),
            values["provenance"],
        )


@dataclass(frozen=True)
class MiniWeights:
    """Settings and tensors of every part, without their prefixes."""

    settings: MiniSettings
    transformer: dict[str, Tensor]
    audio_encoder: dict[str, Tensor]
    codec: dict[str, Tensor]


def save_mini(path: Path, weights: MiniWeights) -> None:
    """Write the file: bf16 but for the codec, to a temporary name first."""
    tensors: dict[str, Tensor] = {}
    for part in PARTS:
        state: Mapping[str, Tensor] = getattr(weights, part)
        kind = torch.float32 if part in FULL_PRECISION else torch.bfloat16
        tensors |= {f"{part}.{name}": value.to(kind).contiguous() for name, value in state.items()}
    partial = path.with_suffix(".partial")
    save_file(tensors, partial, {METADATA_KEY: weights.settings.to_json()})
    partial.chmod(0o644)
    partial.rename(path)


def read_mini(path: Path) -> MiniWeights:
    """Read a weights file.

    Raises `WeightsError` where it is missing, no safetensors file, or of another kind.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError as error:
        raise WeightsError(f"no weights at {path}", "reinstall liveact-cli") from error
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path} cannot be read as weights ({error})") from error
    if METADATA_KEY not in metadata:
        raise WeightsError(
            f"{path} holds no liveact-mini: its metadata lacks {METADATA_KEY!r}",
            "give the file liveact-mini.safetensors or a model folder",
        )
    parts = {
        part: {
            name.removeprefix(f"{part}."): value
            for name, value in tensors.items()
            if name.startswith(f"{part}.")
        }
        for part in PARTS
    }
    return MiniWeights(MiniSettings.from_json(metadata[METADATA_KEY]), **parts)
