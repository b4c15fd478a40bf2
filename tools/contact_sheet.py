"""Draw portraits in many poses: `python tools/contact_sheet.py IMAGE... -o sheet.png`.

Several pictures give one sheet each (the name's stem gets `-NAME`); `--zoom` cuts closer.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from portraits import read_picture

from liveact_cli.mini.face.fit import default_size, fit_face
from liveact_cli.mini.face.renderer import FaceRenderer
from liveact_cli.mini.motion import motion_vector

POSES: dict[str, dict[str, float]] = {
    "neutral": {},
    "closed": {"mouthPress": 0.5, "mouthClose": 1.0},
    "mm": {
        "mouthPress": 0.6,
        "mouthRollUpper": 0.3,
        "mouthRollLower": 0.3,
        "mouthClose": 1.0,
        "jawOpen": 0.05,
    },
    "aa": {"jawOpen": 0.7, "mouthLowerDown": 0.15, "mouthUpperUp": 0.1},
    "eh": {"jawOpen": 0.35, "mouthStretch": 0.25},
    "ee": {"jawOpen": 0.15, "mouthStretch": 0.6, "mouthUpperUp": 0.25, "mouthLowerDown": 0.35},
    "oo": {"jawOpen": 0.2, "mouthPucker": 0.8, "mouthFunnel": 0.3},
    "oh": {"jawOpen": 0.45, "mouthPucker": 0.4, "mouthFunnel": 0.4},
    "ff": {"jawOpen": 0.08, "mouthRollLower": 0.6, "mouthUpperUp": 0.15},
    "ss": {"jawOpen": 0.08, "mouthStretch": 0.3, "mouthUpperUp": 0.15, "mouthLowerDown": 0.25},
    "smile": {"mouthSmile": 0.8, "cheekSquint": 0.5},
    "happy aa": {"mouthSmile": 0.7, "cheekSquint": 0.5, "jawOpen": 0.45, "mouthUpperUp": 0.2},
    "sad": {"mouthFrown": 0.7, "browInnerUp": 0.7},
    "angry": {"browDown": 0.9, "mouthPress": 0.6, "eyeWide": 0.3, "noseSneer": 0.5},
    "surprised": {"browInnerUp": 0.8, "browOuterUp": 0.8, "eyeWide": 0.8, "jawOpen": 0.4},
    "brows up": {"browInnerUp": 0.7, "browOuterUp": 0.8},
    "blink": {"eyeBlink": 1.0},
    "half blink": {"eyeBlink": 0.5},
    "wink L": {"eyeBlinkLeft": 1.0, "cheekSquintLeft": 0.6, "mouthSmileLeft": 0.3},
    "gaze R": {"gazeX": 0.7},
    "gaze L": {"gazeX": -0.7},
    "gaze up": {"gazeY": -0.7},
    "gaze down": {"gazeY": 0.7},
    "tongue": {"jawOpen": 0.45, "tongueOut": 0.7},
    "yaw+8": {"yaw": 8.0},
    "yaw-8": {"yaw": -8.0},
    "pitch+6": {"pitch": 6.0},
    "pitch-6": {"pitch": -6.0},
    "roll+10": {"roll": 10.0},
    "roll-10": {"roll": -10.0},
    "yaw aa": {"yaw": 6.0, "pitch": 3.0, "jawOpen": 0.6},
    "near right": {"scale": 0.06, "tx": 1.0, "ty": 0.5},
}


def contact_sheet(
    path: Path, tile: int, columns: int, zoom: float, names: list[str]
) -> NDArray[np.uint8]:
    """Return a sheet RGB of `names` poses, each `tile` pixels wide and cut around the face."""
    picture = read_picture(path)
    fit = fit_face(picture)
    width, height = default_size((picture.shape[1], picture.shape[0]))
    renderer = FaceRenderer(fit, width, height)
    oval = renderer.head.source[renderer.head.oval]
    centre, reach = oval.mean(0), zoom * float(np.ptp(oval[:, 1]))
    low = np.maximum(np.round(centre - reach), 0).astype(int)
    high = np.minimum(np.round(centre + reach), [width, height]).astype(int)
    tiles = []
    for name in names:
        frame = renderer.render(motion_vector(POSES[name]))[low[1] : high[1], low[0] : high[0]]
        scale = min(tile / frame.shape[1], tile / frame.shape[0])
        shape = (round(frame.shape[1] * scale), round(frame.shape[0] * scale))
        small = cv2.resize(
            frame, shape, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        )
        canvas = np.zeros((tile, tile, 3), np.uint8)
        canvas[: shape[1], : shape[0]] = small
        cv2.putText(canvas, name, (6, 18), 0, 0.55, (0, 0, 0), 4, cv2.LINE_AA)
        cv2.putText(canvas, name, (6, 18), 0, 0.55, (255, 255, 0), 1, cv2.LINE_AA)
        tiles.append(canvas)
    tiles += [np.zeros((tile, tile, 3), np.uint8)] * (-len(tiles) % columns)
    rows = [np.hstack(tiles[i : i + columns]) for i in range(0, len(tiles), columns)]
    return np.vstack(rows)


def main() -> None:
    """Write the sheets."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("images", nargs="+", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--tile", type=int, default=300, help="pixels per pose")
    parser.add_argument("--columns", type=int, default=6)
    parser.add_argument("--zoom", type=float, default=1.0, help="half width in face heights")
    parser.add_argument("--poses", nargs="+", choices=POSES, default=list(POSES))
    options = parser.parse_args()
    for path in options.images:
        sheet = contact_sheet(path, options.tile, options.columns, options.zoom, options.poses)
        output: Path = options.output
        if len(options.images) > 1:
            output = output.with_stem(f"{output.stem}-{path.stem}")
        Image.fromarray(sheet).save(output)
        print(output)


if __name__ == "__main__":
    main()
