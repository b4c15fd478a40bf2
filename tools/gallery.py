"""Draw every test portrait in motion onto small sheets: `python tools/gallery.py [--fetch]`.

The first row of a sheet shows the picture and moments of the same speech, the other rows single
expressions. The speech is the example recording with a fixed seed, so a sheet changes only when
the renderer or the weights do. Sheets and an index go to `docs/gallery`; `--large FOLDER` writes
enlarged eyes and mouths as well, to look for faults.
"""

import argparse
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from contact_sheet import POSES
from numpy.typing import NDArray
from PIL import Image
from portraits import PORTRAITS, RGB, SOURCES, available, fetch

from liveact_cli.config.settings import RenderSettings
from liveact_cli.engine.models import load_speaker
from liveact_cli.engine.prepare import prepare
from liveact_cli.engine.render import generate, prompts_of
from liveact_cli.mini.decoder import MotionFrameDecoder
from liveact_cli.mini.face.fit import FaceFit, default_size
from liveact_cli.mini.face.renderer import FaceRenderer
from liveact_cli.mini.motion import motion_vector
from liveact_cli.weights.resolve import example_file

GALLERY: Final = Path(__file__).parents[1] / "docs" / "gallery"
TILE: Final = 176
COLUMNS: Final = 6
SECONDS: Final = 3.0
MOMENTS: Final = (0.6, 1.0, 1.5, 2.0, 2.6)
"""Of the speech, in seconds."""
SHOWN: Final = (
    *("closed", "aa", "ee", "oo", "smile", "blink"),
    *("sad", "angry", "surprised", "gaze L", "yaw-8", "yaw+8"),
)
LOOKED_AT: Final = (
    *("neutral", "mm", "aa", "ee", "oo", "oh", "ff", "smile"),
    *("happy aa", "sad", "angry", "surprised", "half blink", "blink", "gaze R", "yaw-8", "yaw+8"),
)
LARGEST_SHEET: Final = 68_000
"""Bytes of a JPEG; its quality gives way."""


def speech_motion(seconds: float = SECONDS, sound: Path | None = None) -> NDArray[np.float32]:
    """Return the motion `[n, NUM_CHANNELS]` of a recording, or of the example one; seed 1."""
    settings = RenderSettings(seed=1, duration=seconds)
    picture = example_file("face.png")
    heard = sound or example_file("audio.wav")
    job = prepare(heard, picture, Path("gallery.mp4"), settings, {}, force=True)
    speaker = load_speaker(job.plan)
    view = speaker.look(job.picture, job.plan.size, float(job.plan.settings.fps), None)
    assert isinstance(view.decoder, MotionFrameDecoder)
    motion = view.decoder.motion
    chunks = generate(speaker, view, job, prompts_of(speaker, view, job))
    frames = [motion.decode(timed.chunk.latent) for timed in chunks]
    return np.concatenate(frames)[: job.plan.frames]


def drawn(picture: RGB, fit: FaceFit) -> FaceRenderer:
    """Return a renderer at the picture's own size."""
    return FaceRenderer(fit, *default_size((picture.shape[1], picture.shape[0])))


def sheet(picture: RGB, fit: FaceFit, motion: NDArray[np.float32]) -> RGB:
    """Return the sheet of one portrait."""
    renderer = drawn(picture, fit)
    window = _around(renderer, renderer.head.oval, 1.0)
    rest = cv2.resize(picture, (renderer.width, renderer.height), interpolation=cv2.INTER_AREA)
    frames = {"picture": rest}
    for second in MOMENTS:
        frames[f"{second:.1f} s"] = renderer.render(motion[round(25 * second)])
    frames |= {name: renderer.render(motion_vector(POSES[name])) for name in SHOWN}
    tiles = [labelled(frame[window], name, TILE, TILE) for name, frame in frames.items()]
    return stacked(tiles, COLUMNS)


def large_sheet(picture: RGB, fit: FaceFit) -> RGB:
    """Return eyes and mouth of one portrait, enlarged."""
    renderer = drawn(picture, fit)
    oval = renderer.head.source[renderer.head.oval]
    left, right = oval[:, 0].min(), oval[:, 0].max()
    eye, chin = renderer.head.source[[33, 263], 1].mean(), oval[:, 1].max()
    reach = 0.12 * (right - left)
    high, middle = eye - 0.30 * (chin - eye), eye + 0.45 * (chin - eye)
    bounds = ((high, middle), (middle, chin + reach))
    tiles = []
    for name in LOOKED_AT:
        frame = renderer.render(motion_vector(POSES[name]))
        for top, bottom in bounds:
            part = frame[
                max(0, round(top)) : round(bottom),
                max(0, round(left - reach)) : round(right + reach),
            ]
            tiles.append(labelled(part, name, 420, 260))
    return stacked(tiles, 4)


def _around(renderer: FaceRenderer, points: list[int], zoom: float) -> tuple[slice, slice]:
    oval = renderer.head.source[points]
    centre, reach = oval.mean(0), zoom * float(np.ptp(oval[:, 1]))
    low = np.maximum(np.round(centre - reach), 0).astype(int)
    high = np.minimum(np.round(centre + reach), [renderer.width, renderer.height]).astype(int)
    return slice(low[1], high[1]), slice(low[0], high[0])


def labelled(frame: RGB, name: str, width: int, height: int) -> RGB:
    """Return a tile of `width` x `height` with the frame fitted in and its name on it."""
    scale = min(width / frame.shape[1], height / frame.shape[0])
    shape = (round(frame.shape[1] * scale), round(frame.shape[0] * scale))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    small = cv2.resize(frame, shape, interpolation=method)
    tile = np.zeros((height, width, 3), np.uint8)
    tile[: shape[1], : shape[0]] = small[:height, :width]
    cv2.putText(tile, name, (5, height - 6), 0, 0.42, (0, 0, 0), 3, cv2.LINE_AA)
    cv2.putText(tile, name, (5, height - 6), 0, 0.42, (255, 255, 0), 1, cv2.LINE_AA)
    return tile


def stacked(tiles: list[RGB], columns: int) -> RGB:
    """Return the tiles in rows."""
    tiles = tiles + [np.zeros_like(tiles[0])] * (-len(tiles) % columns)
    return np.vstack([np.hstack(tiles[i : i + columns]) for i in range(0, len(tiles), columns)])


def save_jpeg(image: RGB, path: Path) -> int:
    """Write a JPEG of at most `LARGEST_SHEET` bytes; return its size."""
    for quality in range(88, 30, -4):
        Image.fromarray(image).save(path, quality=quality, optimize=True)
        if path.stat().st_size <= LARGEST_SHEET:
            break
    return path.stat().st_size


def write_index(names: list[str]) -> None:
    """Write `docs/gallery/README.md`."""
    lines = [
        "# Gallery",
        "",
        "Test portraits as liveact-mini draws them: the picture, five moments of the same speech",
        "(`examples/audio.wav`, seed 1), then single expressions. All are free pictures out of",
        "packages, or variants of them that `tools/portraits.py` makes; nobody shown lives today.",
        "",
        "`python tools/gallery.py --fetch` draws them anew. What is measured on them stands in",
        "[docs/picture.md](../picture.md).",
        "",
    ]
    for portrait in PORTRAITS:
        if portrait.name in names:
            source = SOURCES[portrait.source]
            variant = "" if portrait.change is None else ", changed"
            lines += [
                f"## {portrait.name}",
                f"{portrait.tests[0].upper()}{portrait.tests[1:]}. Source: {source.shows} "
                f"({source.package}{variant}; {source.licence}).",
                "",
                f"![{portrait.tests}]({portrait.name}.jpg)",
                "",
            ]
    (GALLERY / "README.md").write_text("\n".join(lines))


def main() -> None:
    """Write the gallery."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--fetch", action="store_true", help="download missing packages")
    parser.add_argument("--only", nargs="+", help="names of portraits; the index stays as it is")
    parser.add_argument("--large", type=Path, help="folder for enlarged eyes and mouths")
    options = parser.parse_args()
    if options.fetch:
        fetch()
    GALLERY.mkdir(parents=True, exist_ok=True)
    motion, total = speech_motion(), 0
    portraits = available(options.only)
    for portrait, picture, fit in portraits:
        size = save_jpeg(sheet(picture, fit, motion), GALLERY / f"{portrait.name}.jpg")
        total += size
        print(f"{portrait.name}.jpg {size / 1000:.0f} kB")
        if options.large:
            options.large.mkdir(parents=True, exist_ok=True)
            Image.fromarray(large_sheet(picture, fit)).save(options.large / f"{portrait.name}.png")
    if not options.only:
        write_index([portrait.name for portrait, _, _ in portraits])
    print(f"{len(portraits)} sheets, {total / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
