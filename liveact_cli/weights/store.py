"""Where the parts of a released checkpoint lie in its folder."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from liveact_cli.core.errors import WeightsError

CONFIG: Final = "config.json"
TRANSFORMER: Final = "diffusion_pytorch_model*.safetensors"
VAE: Final = "Wan2.1_VAE.pth"
TEXT_ENCODER: Final = "models_t5_umt5-xxl-enc-bf16.pth"
TOKENIZER: Final = "google/umt5-xxl"
IMAGE_ENCODER: Final = "models_clip_open-clip-xlm-roberta-large-vit-huge-14.pth"
AUDIO_FOLDER: Final = "chinese-wav2vec2-base"
AUDIO_WEIGHTS: Final = ("model.safetensors", "pytorch_model.bin")

DECODERS: Final = {"taew2_1": "taew2_1", "lightvae": "lightvaew2_1"}
"""Decoders beside the VAE's own, for the same latents, and the stems of their published files."""

UNSUPPORTED_STEM: Final = "lighttae"
"""How the names of decoders begin that have taew2_1's tensors and want latents of another scale.
Nothing but the name tells them apart."""

DOWNLOAD_HINT: Final = "get them with `liveact model download liveact-18b` (55 GB)"


@dataclass(frozen=True, slots=True)
class WanFiles:
    """The parts around the transformer; `text_len` is what `config.json` says."""

    folder: Path
    text_len: int
    vae: Path
    text_encoder: Path
    tokenizer: Path
    image_encoder: Path


def wan_files(folder: Path) -> WanFiles:
    """Return the parts of the checkpoint in `folder`; WeightsError names what is missing."""
    parts = {name: folder / name for name in (VAE, TEXT_ENCODER, TOKENIZER, IMAGE_ENCODER)}
    missing = [name for name, path in parts.items() if not path.exists()]
    if missing:
        raise WeightsError(f"{folder} lacks {', '.join(missing)}", DOWNLOAD_HINT)
    settings = read_settings(folder / CONFIG)
    try:
        text_len = int(str(settings["text_len"]))
    except (KeyError, ValueError) as error:
        raise WeightsError(f"{folder / CONFIG} has no text_len", DOWNLOAD_HINT) from error
    return WanFiles(folder, text_len, *parts.values())


def find_audio_encoder(folder: Path, given: Path | None = None) -> Path:
    """Return the folder of the wav2vec2 that belongs to the checkpoint in `folder`.

    That is `given`, else the first folder with a wav2vec2 `config.json` and weights inside
    `folder` or beside it. Raises WeightsError when there is none.
    """
    if given is not None:
        if not _is_audio_encoder(given):
            raise WeightsError(
                f"{given} is not a wav2vec2 model: {CONFIG} and {' or '.join(AUDIO_WEIGHTS)} are"
                " wanted",
                "--audio-encoder takes the folder of chinese-wav2vec2-base",
            )
        return given
    for place in (folder, folder.resolve().parent):
        for candidate in sorted(place.iterdir()):
            if _is_audio_encoder(candidate):
                return candidate
    raise WeightsError(
        f"there is no wav2vec2 model in {folder} or beside it",
        "--audio-encoder names its folder; `liveact model download` fetches it",
    )


def find_decoder(folder: Path, decoder: str, given: Path | None = None) -> Path:
    """Return the file of a decoder by its name in `DECODERS`: `given`, or the published file's name
    in `folder`. Raises WeightsError when there is none, or when its name is that of another one.
    """
    stem = DECODERS[decoder]
    if given is not None:
        if not given.is_file():
            raise WeightsError(
                f"{given} is no file with the decoder {decoder}", f"it is published as {stem}.pth"
            )
        if decoder == "taew2_1" and given.name.lower().startswith(UNSUPPORTED_STEM):
            raise WeightsError(
                f"{given.name} has the layers of {decoder} but draws from latents of another scale,"
                " which is not supported",
                "use taew2_1.pth (published with TAEHV) or --decoder lightvae",
            )
        return given
    for suffix in (".safetensors", ".pth"):
        if (path := folder / f"{stem}{suffix}").is_file():
            return path
    raise WeightsError(
        f"{folder} lacks {stem}.safetensors or {stem}.pth, which --decoder {decoder} needs",
        "--decoder-weights FILE names it elsewhere; --decoder wan needs no more than is here",
    )


def heads_of(folder: Path) -> int:
    """Return how many attention heads the transformer in `folder` has."""
    try:
        return int(str(read_settings(folder / CONFIG)["num_heads"]))
    except (KeyError, ValueError) as error:
        raise WeightsError(f"{folder / CONFIG} has no num_heads", DOWNLOAD_HINT) from error


def read_settings(path: Path) -> dict[str, object]:
    """Return what a JSON file of settings holds; raises WeightsError when it cannot be read."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror}", DOWNLOAD_HINT) from error
    except ValueError as error:
        raise WeightsError(f"{path} is not JSON: {error}", DOWNLOAD_HINT) from error
    if not isinstance(content, dict):
        raise WeightsError(f"{path} holds no settings", DOWNLOAD_HINT)
    return content


def _is_audio_encoder(folder: Path) -> bool:
    config = folder / CONFIG
    if not config.is_file() or not any((folder / name).is_file() for name in AUDIO_WEIGHTS):
        return False
    try:
        return read_settings(config).get("model_type") == "wav2vec2"
    except WeightsError:
        return False
