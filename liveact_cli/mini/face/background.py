"""Separate the person from the background, so that the head moves and nothing behind it bends.

The person is a premultiplied layer over a background that is filled in behind it. The matte is
MediaPipe's selfie segmentation (Apache-2.0, 249 KB), sharpened along the picture's edges.
"""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import cv2
import numba
import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from liveact_cli.mini.face.extend import extended
from liveact_cli.mini.face.geometry import Array, smoothstep
from liveact_cli.mini.face.nets import RGB

Float = NDArray[np.float32]

_NET_SIDE = 256
# The net sees a square of this many face heights: the head with hair and hat, and the shoulders.
_REACH = 3.2
_EDGE_CM = 0.12
"""A seam this wide around the person moves along, so that no outline of the hair stays behind."""
_STRANDS_CM = 0.8
"""Hair reaches this far from what is surely the person."""
_LEAST_SURE = 0.2
_CONTINUED_CM = (0.7, 0.8)
"""How far behind the person the background goes on as it is, and on which way that fades out."""
_SOURCES_CM = 1.5
"""How far from the outline its continuation is looked for."""
_WIDEST_MARGIN = 0.12
"""Share of the picture's size; a wider margin is a background."""
_ONE_COLOUR = 10
"""Grey levels within which a background is one colour."""


@dataclass(frozen=True, slots=True)
class Layers:
    """The person as premultiplied RGBA `[H, W, 4]` and the background RGB `[H, W, 3]` behind."""

    person: NDArray[np.uint8]
    background: RGB


@numba.njit(cache=True, nogil=True, boundscheck=False)
def lay_over(
    person: NDArray[np.uint8], background: NDArray[np.uint8], out: NDArray[np.uint8]
) -> None:
    """Write premultiplied `person` `[h, w, 4]` over `background` `[h, w, 3]` to `out`."""
    height, width = out.shape[:2]
    for y in range(height):
        for x in range(width):
            clear = 255 - np.int32(person[y, x, 3])
            if clear == 0:
                for c in range(3):
                    out[y, x, c] = person[y, x, c]
            elif clear == 255:
                for c in range(3):
                    out[y, x, c] = background[y, x, c]
            else:
                for c in range(3):
                    behind = (clear * np.int32(background[y, x, c]) + 127) // 255
                    value = np.int32(person[y, x, c]) + behind
                    out[y, x, c] = value if value < 255 else 255


def separate(picture: RGB, oval: Array, scale: float) -> Layers:
    """Split a frame-sized picture; `oval` `[N, 2]` outlines the face, `scale` is px per cm.

    The layers put together give the picture again.
    """
    margin = _passepartout(picture)
    matte = np.where(margin, np.float32(0), _matte(picture, oval, scale))
    background = _fill(picture, matte, margin, scale)
    # What is darker than the background must be opaque; the layers then give the picture again.
    ratio = picture.astype(np.float32) / np.maximum(background, 1).astype(np.float32)
    opaque = np.where(matte > 0, np.maximum(matte, 1.0 - ratio.min(2)), 0.0)
    alpha = np.ceil(opaque * 255 - 1e-3).astype(np.int32)[..., None]
    behind = ((255 - alpha) * background.astype(np.int32) + 127) // 255
    colour = np.clip(picture.astype(np.int32) - behind, 0, 255)
    return Layers(np.concatenate([colour, alpha], axis=2).astype(np.uint8), background)


@cache
def _segmenter() -> Any:
    data = files("liveact_cli").joinpath("data", "selfie_segmentation.tflite").read_bytes()
    interpreter = Interpreter(model_content=data, num_threads=1)
    interpreter.allocate_tensors()
    return interpreter


def _matte(picture: RGB, oval: Array, scale: float) -> Float:
    """Return the person's opacity `[H, W]`, 0..1."""
    centre = (oval.min(0) + oval.max(0)) / 2
    face = np.zeros(picture.shape[:2], np.uint8)
    inner = centre + (oval - centre) * 0.96
    cv2.fillPoly(face, [np.round(inner * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
    seen = _seen(picture, oval, face)
    solid = _before_one_colour(picture, face, seen)
    if solid is None:
        solid = np.maximum(_without_strays(seen, face, scale), face / np.float32(255))
    size = 2 * max(1, round(_EDGE_CM * scale)) + 1
    grown = cv2.dilate(solid, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)))
    soft = cv2.GaussianBlur(grown, (0, 0), max(0.8, 0.4 * _EDGE_CM * scale))
    return np.asarray(np.clip(np.maximum(soft, solid) * 1.02 - 0.01, 0.0, 1.0), np.float32)


def _seen(picture: RGB, oval: Array, face: NDArray[np.uint8]) -> Float:
    """Return what the net takes for a person `[H, W]`, about 0..1, along the picture's edges."""
    height, width = picture.shape[:2]
    centre = (oval.min(0) + oval.max(0)) / 2
    zoom = _NET_SIDE / (_REACH * float(np.ptp(oval[:, 1])))
    half = _NET_SIDE / 2
    to_net = np.array([[zoom, 0, half - zoom * centre[0]], [0, zoom, half - zoom * centre[1]]])
    source = picture
    if zoom < 0.7:
        source = cv2.GaussianBlur(picture, (0, 0), 0.4 / zoom)
    crop = cv2.warpAffine(
        source,
        to_net,
        (_NET_SIDE, _NET_SIDE),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    net = _segmenter()
    net.set_tensor(net.get_input_details()[0]["index"], crop[None].astype(np.float32) / 255.0)
    net.invoke()
    rough = net.get_tensor(net.get_output_details()[0]["index"])[0, ..., 0]
    matte = cv2.warpAffine(
        rough,
        to_net,
        (width, height),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32) / np.float32(255)
    sharp = _guided(grey, matte, max(2, round(2.0 / zoom)))
    # The net is less sure of drawings: what it says about the face tells how sure.
    sure = float(np.clip(np.percentile(sharp[face > 128], 20), _LEAST_SURE, 1.0))
    return sharp / np.float32(sure)


def _before_one_colour(picture: RGB, face: NDArray[np.uint8], seen: Float) -> Float | None:
    """Return the matte, 0 or 1, of a person before one single colour, or None if it is not so.

    Drawings and cut-out portraits are like that, and the net knows photographs better. Still it
    must agree: what it takes for background near the head is of that colour, and the person is not.
    """
    half = picture.shape[0] // 2
    border = (picture[:2].reshape(-1, 3), picture[:half, [0, 1, -2, -1]].reshape(-1, 3))
    colour = np.median(np.concatenate(border), axis=0)
    alike = np.abs(picture.astype(np.int16) - colour).max(2) <= _ONE_COLOUR
    # What is connected to the border is background; a white collar is not.
    framed = np.pad(alike.astype(np.uint8), 1, constant_values=1)
    _, labels = cv2.connectedComponents(framed, connectivity=4)
    behind = (labels == labels[0, 0])[1:-1, 1:-1]
    x, y, width, height = cv2.boundingRect(face)
    reach = round(0.7 * height)
    near = np.zeros(face.shape, bool)
    near[max(0, y - reach) : y + height, max(0, x - reach) : x + width + reach] = True
    free, person = near & (seen < 0.1) & (face == 0), (seen > 0.9) | (face > 128)
    agreed = free.any() and behind[free].mean() > 0.8 and behind[person].mean() < 0.1
    flat = behind.any() and float(picture[behind].std(axis=0).max()) < 2.0
    return np.asarray(1.0 - behind, np.float32) if agreed and flat else None


def _without_strays(seen: Float, face: NDArray[np.uint8], scale: float) -> Float:
    """Return the matte of one person in one piece, with strands of hair around it."""
    core = ((seen > 0.7) | (face > 128)).astype(np.uint8)
    _, labels = cv2.connectedComponents(core, connectivity=4)
    core = (labels == np.median(labels[face > 128])).astype(np.uint8)
    outlines, _ = cv2.findContours(core, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    whole = cv2.fillPoly(core, outlines, 1)
    reach = 2 * max(1, round(_STRANDS_CM * scale)) + 1
    near = cv2.dilate(whole, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach)))
    return np.asarray(np.maximum(smoothstep((seen - 0.45) / 0.45), whole) * near, np.float32)


def _guided(guide: Float, target: Float, radius: int, eps: float = 2e-3) -> Float:
    """Return `target` smoothed so that it follows the edges of `guide` (He et al. 2013)."""

    def mean(x: NDArray[Any]) -> Float:
        return np.asarray(cv2.blur(x, (2 * radius + 1, 2 * radius + 1)), np.float32)

    guide_mean, target_mean = mean(guide), mean(target)
    covariance = mean(guide * target) - guide_mean * target_mean
    variance = mean(guide * guide) - guide_mean * guide_mean
    a = covariance / (variance + eps)
    b = target_mean - a * guide_mean
    return np.asarray(mean(a) * guide + mean(b), np.float32)


def _passepartout(picture: RGB) -> NDArray[np.bool_]:
    """Return where a margin of one colour frames the picture `[H, W]`: it is not the background."""
    framed = np.zeros(picture.shape[:2], bool)
    for turn in range(4):
        lines, rim = np.rot90(picture, turn).astype(np.int16), np.rot90(framed, turn)
        alike = (np.abs(lines - picture[0, 0]) <= _ONE_COLOUR).all(2).mean(1)
        depth = int((alike < 1.0).argmax())
        # A picture begins all along the margin; a head before one colour begins at a point.
        begins = depth + 2 < len(alike) and alike[depth + 2] < 0.5
        if not (0 < depth <= _WIDEST_MARGIN * len(alike) and begins):
            return np.zeros_like(framed)
        rim[: depth + 2] = True  # two lines more: its edge is soft
    return framed


def _fill(picture: RGB, matte: Float, margin: NDArray[np.bool_], scale: float) -> RGB:
    """Return the picture with what the person covers filled in from around.

    Near the outline the background goes on, lines and texture; farther in it is smooth.
    A `margin` is not what lies behind.
    """
    bare = matte <= 0.0
    known = bare & ~margin
    known = known if known.any() else bare
    if not known.any():
        return picture.copy()
    smooth = _fill_smoothly(picture, known.astype(np.float32))
    whole = np.where(known[..., None], picture, np.clip(smooth + 0.5, 0, 255)).astype(np.uint8)
    near = extended(whole, known, sum(_CONTINUED_CM) * scale, _SOURCES_CM * scale)
    distance = cv2.distanceTransform((~known).astype(np.uint8), cv2.DIST_L2, 5) / scale
    share = 1.0 - smoothstep((distance - _CONTINUED_CM[0]) / _CONTINUED_CM[1])[..., None]
    filled = smooth * (1 - share) + near * share
    return np.where(bare[..., None], picture, np.clip(filled + 0.5, 0, 255)).astype(np.uint8)


def _fill_smoothly(picture: RGB, known: Float) -> Float:
    """Return the picture with unknown pixels filled from coarser and coarser averages."""
    levels = [(picture.astype(np.float32) * known[..., None], known)]
    while min(levels[-1][1].shape) > 2:
        colour, weight = levels[-1]
        size = ((weight.shape[1] + 1) // 2, (weight.shape[0] + 1) // 2)
        levels.append(
            (
                cv2.resize(colour, size, interpolation=cv2.INTER_AREA),
                cv2.resize(weight, size, interpolation=cv2.INTER_AREA),
            )
        )
    colour, weight = levels.pop()
    filled = colour / np.maximum(weight, 1e-6)[..., None]
    while levels:
        colour, weight = levels.pop()
        coarse = cv2.resize(filled, weight.shape[::-1], interpolation=cv2.INTER_LINEAR)
        share = np.minimum(weight, 1.0)[..., None]
        filled = colour + coarse * (1.0 - share)
    return np.asarray(filled, np.float32)
