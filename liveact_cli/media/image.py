"""Pictures of every kind to upright 8-bit sRGB, and nothing that could hurt on the way."""

import contextlib
import struct
import warnings
from io import BytesIO
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms

from liveact_cli.core.errors import MediaError
from liveact_cli.media.inputs import check_input

MOST_PIXELS: Final = 100_000_000
SHORTEST_SIDE: Final = 64

LONGEST_SIDE: Final = 4096
"""Larger pictures are reduced while they are read: no video is that large."""

BACKGROUND: Final = (128, 128, 128)
"""What is behind transparent pixels: neither a bright nor a dark rim around the person."""

_UNSAFE: Final = {"EPS", "WMF", "MPEG", "BUFR", "GRIB", "HDF5", "FITS", "IPTC", "PCD"}
"""Formats that start another program or that Pillow only recognises."""

# What Pillow's decoders raise on broken files, beside their own errors.
_BROKEN: Final = (
    OSError, SyntaxError, ValueError, EOFError, struct.error, IndexError, KeyError, TypeError,
    OverflowError, AttributeError, ZeroDivisionError, MemoryError, Image.DecompressionBombError,
)  # fmt: skip
_TURNS: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_HINTS: Final = {
    ".heic": "save it as JPEG or PNG first: Pillow does not read HEIC",
    ".heif": "save it as JPEG or PNG first: Pillow does not read HEIF",
    ".svg": "save it as PNG first: drawings in SVG are not read",
    ".pdf": "save the page as PNG first",
}


def load_image(path: Path | str) -> NDArray[np.uint8]:
    """Return a picture as upright sRGB, `[height, width, 3]`; its first frame if it is animated.

    Transparency is laid over neutral grey; sides over 4096 pixels are reduced to that. Raises
    MediaError for anything unreadable, under 64 or over 100 million pixels (before decoding).
    """
    path = Path(path)
    check_input(path, "the picture")
    with warnings.catch_warnings():
        # Pillow warns of sizes that we measure ourselves, and of odd metadata that we do not use.
        warnings.simplefilter("ignore")
        try:
            with _opened(path) as image:
                _check_size(path, *image.size)
                return _upright_rgb(image)
        except _BROKEN as error:
            raise MediaError(
                f"the picture {path} is cut off or damaged ({error})", "export or copy it again"
            ) from error


def _opened(path: Path) -> Image.Image:
    Image.init()
    formats = [name for name in Image.OPEN if name not in _UNSAFE]
    try:
        return Image.open(path, formats=formats)
    except Image.DecompressionBombError as error:
        raise MediaError(f"the picture {path} is too large ({error})", _size_hint()) from error
    except _BROKEN as error:
        hint = _HINTS.get(path.suffix.lower(), "give a PNG, JPEG, WebP or any photo format")
        raise MediaError(f"{path} is not a picture that can be read", hint) from error


def _check_size(path: Path, width: int, height: int) -> None:
    if width * height > MOST_PIXELS:
        raise MediaError(f"the picture {path} is too large ({width}x{height} pixels)", _size_hint())
    if min(width, height) < SHORTEST_SIDE:
        raise MediaError(
            f"the picture {path} is too small ({width}x{height} pixels)",
            f"a face needs at least {SHORTEST_SIDE} pixels each way, 512 look good",
        )


def _size_hint() -> str:
    return f"at most {MOST_PIXELS // 1_000_000} million pixels; 2048x2048 are plenty"


def _upright_rgb(image: Image.Image) -> NDArray[np.uint8]:
    """Decode, reduce, bring to 8-bit sRGB and turn, in this order: early steps save the most."""
    if image.mode in ("RGB", "L", "CMYK"):
        image.draft(None, (LONGEST_SIDE, LONGEST_SIDE))  # JPEG decodes to a half or less at once
    profile, turn = image.info.get("icc_profile"), _TURNS.get(_orientation(image))
    image.load()
    transparent = image.has_transparency_data
    picture: Image.Image = image
    if picture.mode.startswith("I") or picture.mode == "F":
        picture = _to_eight_bits(picture)
    elif transparent or picture.mode not in ("RGB", "L", "CMYK"):
        picture = picture.convert("RGBA" if transparent else "RGB")
    if max(picture.size) > LONGEST_SIDE:
        picture.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.LANCZOS)
    picture = _to_srgb(picture, profile)
    if picture.mode == "RGBA":
        behind = Image.new("RGBA", picture.size, (*BACKGROUND, 255))
        picture = Image.alpha_composite(behind, picture).convert("RGB")
    return np.array(picture if turn is None else picture.transpose(turn))


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 (upright) where there is none that can be read."""
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except _BROKEN:
        return 1


def _to_eight_bits(image: Image.Image) -> Image.Image:
    """Bring 16-bit, 32-bit and floating-point grey to 8 bits by the range that the numbers use."""
    values = np.asarray(image).astype(np.float32)
    if not np.isfinite(values).all():
        raise ValueError("it has pixels that are not numbers")
    highest = float(values.max())
    full = next((top for top in (1.0, 255.0, 65535.0) if highest <= top), highest)
    if image.mode != "F":
        full = max(full, 65535.0)
    return Image.fromarray(np.rint(values.clip(0) * (255 / full)).astype(np.uint8))


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Convert from the picture's own colour space; a profile that does not fit it is ignored."""
    if not profile:
        return image if image.mode in ("RGB", "RGBA") else image.convert("RGB")
    alpha = image.getchannel("A") if image.mode == "RGBA" else None
    base = image.convert("RGB") if alpha is not None else image
    with contextlib.suppress(ImageCms.PyCMSError, OSError, ValueError):
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        target = ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(base, source, target, outputMode="RGB")
        if converted is not None:
            base = converted
    base = base.convert("RGB")
    if alpha is not None:
        base.putalpha(alpha)
    return base
