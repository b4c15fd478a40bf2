"""Pictures of every kind arrive upright, in sRGB, and the harmful ones not at all."""

import io
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from liveact_cli.core.errors import MediaError
from liveact_cli.media.image import BACKGROUND, LONGEST_SIDE, load_image


def scene(width: int = 96, height: int = 80) -> np.ndarray:
    """A smooth picture that is different in every corner."""
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    return np.stack([220 * x + 20, 200 * y + 30, 120 + 100 * (x - y)], axis=-1).astype(np.uint8)


def off(image: np.ndarray, expected: np.ndarray) -> float:
    assert image.dtype == np.uint8
    assert image.shape == expected.shape
    assert image.flags.writeable
    return float(np.abs(image.astype(int) - expected.astype(int)).mean())


@pytest.mark.parametrize(
    ("suffix", "options"),
    [("png", {}), ("bmp", {}), ("tiff", {}), ("ppm", {}), ("tga", {}), ("webp", {"lossless": True}),
     ("jpg", {"quality": 95}), ("webp", {"quality": 90}), ("avif", {}), ("jp2", {}), ("gif", {})],
)  # fmt: skip
def test_formats(suffix, options, tmp_path):
    path = tmp_path / f"x.{suffix}"
    Image.fromarray(scene()).save(path, **options)
    limit = {"gif": 8, "jpg": 3, "webp": 3, "avif": 5}.get(suffix, 0)
    assert off(load_image(path), scene()) <= limit


@pytest.mark.parametrize("mode", ["L", "LA", "1", "P", "PA", "RGBA", "CMYK", "YCbCr", "I;16", "F"])
def test_modes(mode, tmp_path):
    grey = np.asarray(Image.fromarray(scene()).convert("L"))
    grey3 = np.repeat(grey[..., None], 3, axis=2)
    path = tmp_path / ("x.tiff" if mode in ("CMYK", "YCbCr", "F", "PA") else "x.png")
    if mode == "I;16":
        Image.fromarray(grey.astype(np.uint16) * 257).save(path)
    elif mode == "F":
        Image.fromarray(grey.astype(np.float32) / 255).save(path)
    elif mode == "PA":
        Image.fromarray(scene()).convert("P").convert("PA").save(tmp_path / "x.tiff")
    else:
        Image.fromarray(scene()).convert(mode).save(path)
    expected = grey3 if mode in ("L", "LA", "I;16", "F") else scene()
    limit = {"1": 128, "P": 20, "PA": 20, "YCbCr": 2, "CMYK": 2}.get(mode, 1)
    assert off(load_image(path), expected) <= limit


def test_dark_sixteen_bit_pictures_stay_dark(tmp_path):
    Image.fromarray(np.full((80, 80), 2570, np.uint16)).save(tmp_path / "x.png")
    assert (load_image(tmp_path / "x.png") == 10).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(orientation, tmp_path):
    turns = {
        1: lambda a: a, 2: np.fliplr, 3: lambda a: np.rot90(a, 2), 4: np.flipud,
        5: lambda a: a.transpose(1, 0, 2), 6: np.rot90,
        7: lambda a: np.rot90(a.transpose(1, 0, 2), 2), 8: lambda a: np.rot90(a, -1),
    }  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = np.ascontiguousarray(turns[orientation](scene()))
    Image.fromarray(stored).save(tmp_path / "x.png", exif=exif)
    np.testing.assert_array_equal(load_image(tmp_path / "x.png"), scene())


def test_broken_exif_is_ignored(tmp_path):
    Image.fromarray(scene()).save(
        tmp_path / "x.jpg", exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff" * 3
    )
    assert off(load_image(tmp_path / "x.jpg"), scene()) < 5


def test_transparency_is_laid_over_grey(tmp_path):
    rgba = np.dstack([scene(), np.zeros((80, 96), np.uint8)])
    rgba[:, 48:, 3] = 255
    Image.fromarray(rgba).save(tmp_path / "x.png")
    image = load_image(tmp_path / "x.png")
    assert (image[:, :48] == BACKGROUND).all()
    np.testing.assert_array_equal(image[:, 48:], scene()[:, 48:])


def test_a_transparent_palette_entry(tmp_path):
    Image.new("P", (80, 80), 0).save(tmp_path / "x.png", transparency=0)
    assert (load_image(tmp_path / "x.png") == BACKGROUND).all()


@pytest.mark.parametrize("suffix", ["gif", "png", "webp"])
def test_the_first_frame_of_an_animation(suffix, tmp_path):
    frames = [Image.new("RGB", (80, 80), color) for color in ("red", "blue", "green")]
    path = tmp_path / f"x.{suffix}"
    frames[0].save(path, save_all=True, append_images=frames[1:], lossless=True)
    red = load_image(path)[40, 40]
    assert red[0] > 250
    assert red[1] < 5
    assert red[2] < 5


def test_another_colour_space_becomes_srgb(tmp_path):
    """A profile whose red and blue are swapped: a picture under it must come back swapped."""
    plain = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    data = bytearray(plain)
    table = range(132, 132 + 12 * int.from_bytes(data[128:132], "big"), 12)
    tags = {bytes(data[i : i + 4]): i for i in table}
    red, blue = tags[b"rXYZ"], tags[b"bXYZ"]
    data[red + 4 : red + 12], data[blue + 4 : blue + 12] = (
        data[blue + 4 : blue + 12],
        data[red + 4 : red + 12],
    )
    for mode in ("RGB", "RGBA"):
        image = Image.fromarray(scene()).convert(mode)
        image.save(tmp_path / "x.png", icc_profile=bytes(data))
        assert off(load_image(tmp_path / "x.png"), scene()[..., ::-1]) < 1.5


def test_a_profile_that_does_not_fit_is_ignored(tmp_path):
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for profile, mode in ((b"nonsense" * 40, "RGB"), (srgb, "L"), (srgb, "CMYK")):
        path = tmp_path / f"{mode}.tiff"
        Image.fromarray(scene()).convert(mode).save(path, icc_profile=profile)
        assert load_image(path).shape == (80, 96, 3)


def test_large_pictures_are_reduced(tmp_path):
    Image.fromarray(scene()).resize((5000, 160)).save(tmp_path / "x.png")
    image = load_image(tmp_path / "x.png")
    assert image.shape == (131, LONGEST_SIDE, 3)
    expected = Image.fromarray(scene()).resize((LONGEST_SIDE, 131))
    assert off(image, np.asarray(expected)) < 2


def test_sizes_that_pillow_warns_of_pass_without_a_word(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 5000)  # it warns from there to twice that
    Image.fromarray(scene()).save(tmp_path / "x.png")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(load_image(tmp_path / "x.png"), scene())


# What cannot be used.


def saved(path: Path, width: int, height: int, mode: str = "RGB", **options: object) -> Path:
    Image.new(mode, (width, height)).save(path, **options)
    return path


def cut(path: Path, suffix_options: dict[str, object] | None = None) -> Path:
    buffer = np.random.default_rng(0).integers(0, 256, (100, 100, 3), dtype=np.uint8)
    Image.fromarray(buffer).save(path, **(suffix_options or {}))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def png_with(width: int, height: int) -> bytes:
    """A PNG whose header promises a size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + checksum

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(b"\0" * 100))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + pixels + chunk(b"IEND", b"")


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n%%EndComments\nshowpage\n"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="99" height="99"/>'
BAD = {
    "missing": (lambda d: d / "x.png", "does not exist"),
    "a folder": (lambda d: d, "is a folder"),
    "empty": (lambda d: written(d / "x.png", b""), "is empty"),
    "text": (lambda d: written(d / "x.png", b"hello\n" * 9), "not a picture"),
    "one pixel": (lambda d: saved(d / "x.png", 1, 1), "too small (1x1"),
    "a strip": (lambda d: saved(d / "x.png", 1000, 63), "too small (1000x63"),
    "thirty thousand": (lambda d: written(d / "x.png", png_with(30_000, 30_000)), "too large"),
    "a bomb": (lambda d: written(d / "x.png", png_with(12_000, 12_000)), "too large (12000x12000"),
    "no pixels": (lambda d: written(d / "x.png", png_with(0, 0)), "x.png"),
    "png cut off": (lambda d: cut(d / "x.png"), "cut off"),
    "jpeg cut off": (lambda d: cut(d / "x.jpg"), "cut off"),
    "webp cut off": (lambda d: cut(d / "x.webp"), "x.webp"),
    "gif cut off": (lambda d: cut(d / "x.gif"), "cut off"),
    "tiff cut off": (lambda d: cut(d / "x.tiff"), "x.tiff"),
    "few bytes": (lambda d: written(d / "x.png", png_with(99, 99)[:40]), "x.png"),
    "postscript": (lambda d: written(d / "x.eps", EPS), "not a picture"),
    "postscript as png": (lambda d: written(d / "x.png", EPS), "not a picture"),
    "svg": (lambda d: written(d / "x.svg", SVG), "PNG first"),
    "heic": (lambda d: written(d / "x.heic", b"\0\0\0\x18ftypheic"), "HEIC"),
    "not numbers": (
        lambda d: written(d / "x.tiff", tiff_of(np.full((80, 80), np.nan, np.float32))),
        "not numbers",
    ),
}


def tiff_of(values: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "TIFF")
    return buffer.getvalue()


@pytest.mark.parametrize("case", BAD)
def test_bad_pictures_are_refused_with_a_sentence(case, tmp_path):
    make, words = BAD[case]
    with pytest.raises(MediaError) as caught:
        load_image(make(tmp_path))
    assert words in f"{caught.value.message} {caught.value.hint}"
    assert "\n" not in caught.value.message
    assert caught.value.hint


def test_spoilt_files_never_raise_anything_else(tmp_path):
    noise = np.random.default_rng(3)
    for suffix in ("png", "jpg", "gif", "webp", "tiff", "bmp", "tga", "jp2"):
        path = tmp_path / f"x.{suffix}"
        Image.fromarray(scene()).save(path)
        sound = path.read_bytes()
        for _ in range(25):
            data = bytearray(sound)
            for at in noise.integers(0, min(len(data), 400), 4):
                data[at] = noise.integers(256)
            path.write_bytes(data)
            try:
                image = load_image(path)
            except MediaError:
                continue
            assert image.ndim == 3
