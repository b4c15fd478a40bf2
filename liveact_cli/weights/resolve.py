"""Where weights, presets and other files that belong to the program lie: one place decides.

Installed from a wheel they are inside the package; in a clone the presets lie in the repository's
`presets/`.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import liveact_cli
from liveact_cli.core.errors import UsageError, WeightsError
from liveact_cli.weights.lock import is_complete, read_lock
from liveact_cli.weights.registry import FULL, MINI, ModelRow, find_model

PACKAGE: Final = Path(liveact_cli.__file__).resolve().parent
MINI_FILE: Final = "liveact-mini.safetensors"
FACE_FILE: Final = "face_landmarker.task"
MASK_FILE: Final = "selfie_segmentation.tflite"
_HUB_ID: Final = re.compile(r"\w[\w.-]*/\w[\w.-]*")
_MAX_HEADER: Final = 100_000_000


def data_file(name: str) -> Path:
    """Return the path of a data file of the package; raises WeightsError when it is missing."""
    path = PACKAGE / "data" / name
    if not path.is_file():
        raise WeightsError(
            f"{name} is missing from the installed package",
            "install it again: pip install --force-reinstall liveact-cli",
        )
    return path


def presets_folder() -> Path:
    """Return the folder of the built-in presets."""
    return _beside("presets")


def example_file(name: str) -> Path:
    """Return the path of `face.png` or `audio.wav`, the demo pair."""
    return _beside(f"examples/{name}")


def _beside(name: str) -> Path:
    for folder in (PACKAGE, PACKAGE.parent):
        if (folder / name).exists():
            return folder / name
    raise WeightsError(
        f"{name} is missing from the installed package",
        "install it again: pip install --force-reinstall liveact-cli",
    )


def models_folder(variables: Mapping[str, str]) -> Path:
    """Return where downloaded models are kept: $LIVEACT_MODELS, else the XDG data folder."""
    if chosen := variables.get("LIVEACT_MODELS"):
        return Path(chosen).expanduser()
    home = variables.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(home).expanduser() / "liveact" / "models"


def cache_folder(variables: Mapping[str, str]) -> Path:
    """Return where results are kept that can be made again: the XDG cache folder."""
    home = variables.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(home).expanduser() / "liveact"


@dataclass(frozen=True, slots=True)
class ResolvedModel:
    """A model and where its weights are: a file for liveact-mini, a folder for liveact-18b."""

    row: ModelRow
    path: Path


def resolve_model(
    model: str, variables: Mapping[str, str], directory: Path = Path()
) -> ResolvedModel:
    """Return the model that a user means by a name or by the path of a checkpoint.

    Relative paths start at `directory`. Raises UsageError for a name that does not exist and
    WeightsError for weights that are not there. Nothing but headers is read, without torch.
    """
    path = directory / Path(model).expanduser()
    from_hub = is_hub_id(model) and not path.exists()
    if not from_hub and (looks_like_path(model) or path.is_dir()):
        return _at(path, model)
    row = FULL if from_hub else find_model(model)
    if row is MINI:
        return ResolvedModel(row, data_file(MINI_FILE))
    folder = models_folder(variables) / model.replace("/", "--")
    if not any(folder.glob("*.safetensors")):
        raise WeightsError(
            f"the weights of {model} are not in {folder}; it needs {row.needs}",
            f"get them with `liveact model download {model}` (or --yes here), or use --model"
            f" {MINI.name}, which is built in and runs on a laptop",
        )
    lock = read_lock(folder)
    if lock is not None and not is_complete(folder, lock):
        raise WeightsError(
            f"the weights of {model} in {folder} are not complete",
            f"`liveact model download {model}` (or --yes here) goes on where it stopped",
        )
    return ResolvedModel(row, folder)


def is_hub_id(model: str) -> bool:
    """Whether this can name a repository on the Hub: OWNER/NAME."""
    return _HUB_ID.fullmatch(model) is not None and Path(model).suffix != ".safetensors"


def looks_like_path(model: str) -> bool:
    """Whether `--model` was given a path and not a name."""
    return "/" in model or "\\" in model or model.startswith((".", "~")) or Path(model).suffix != ""


def _at(path: Path, given: str) -> ResolvedModel:
    if path.is_dir():
        mini = path / MINI_FILE
        if mini.is_file():
            return ResolvedModel(MINI, mini)
        if any(path.glob("*.safetensors")):
            return ResolvedModel(FULL, path)
        raise WeightsError(
            f"{given} holds no .safetensors files",
            "--model takes a name (liveact-mini, liveact-18b) or the folder of a checkpoint",
        )
    if not path.is_file():
        raise UsageError(
            f"there is no checkpoint at {given}",
            "--model takes a name (liveact-mini, liveact-18b) or the folder of a checkpoint",
        )
    if not _is_mini(path):
        raise WeightsError(
            f"{given} is not a checkpoint of liveact-mini",
            "for a checkpoint of several files give the folder that holds them",
        )
    return ResolvedModel(MINI, path)


def _is_mini(path: Path) -> bool:
    # The header of a safetensors file: 8 bytes of length, then JSON naming every tensor.
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 0 < length <= min(_MAX_HEADER, path.stat().st_size):
            return False
        try:
            header = json.loads(file.read(length))
        except ValueError:
            return False
    return isinstance(header, dict) and any(name.startswith("audio_encoder.") for name in header)
