"""Draw one person in motion: motion channels in, RGB frames out, the same bytes every time."""

from dataclasses import dataclass
from math import ceil, floor

import cv2
import numpy as np
from numpy.typing import NDArray

from liveact_cli.mini.face.background import lay_over, separate
from liveact_cli.mini.face.calibrate import HeadGain, lids_close, measure_gain
from liveact_cli.mini.face.canonical import NUM_MESH
from liveact_cli.mini.face.controls import Controls, Gesture
from liveact_cli.mini.face.creases import Creases
from liveact_cli.mini.face.drawings import drawn
from liveact_cli.mini.face.eyes import Eyeball, complete_eyes, eyes_hidden
from liveact_cli.mini.face.fit import Box, FaceFit, frame_crop
from liveact_cli.mini.face.geometry import Array, smoothstep
from liveact_cli.mini.face.lids import paint_closed_lid
from liveact_cli.mini.face.mesh import HeadModel
from liveact_cli.mini.face.mouth import Mouth
from liveact_cli.mini.face.nets import RGB
from liveact_cli.mini.face.raster import FAR, draw_triangles
from liveact_cli.mini.face.topology import EYES
from liveact_cli.mini.motion import motion_vector

Float = NDArray[np.float32]

RENDER_THREADS = 1
"""Threads of OpenCV while rendering; one, so that frames do not depend on the machine."""
_PATCH_REACH_CM = 2.5
"""Triangles farther from eyes or lips than this never come into their patches."""
_LEAST_GAP = 3.0
"""Pixels between the lips from which the picture's own teeth can be made out."""
_MARGIN_CM = 2.0
"""How far a person whom the picture's border cuts off is continued beyond it."""
TEXTURE_ZOOM = 2
"""The texture is this much finer than the frame; even texels are the frame's own pixels."""


_BAND = 32
"""Rows of the frame that are filled at a time, from the first to the last pixel that may change."""


@dataclass(frozen=True, slots=True)
class _Maps:
    """What drawing one frame writes into: where colours come from, and the depth."""

    x: Float
    y: Float
    nearest: Float


@dataclass(frozen=True, slots=True)
class _Patch:
    """A finer piece of the frame: left and top in frame pixels, magnification, size in pixels."""

    left: int
    top: int
    k: int
    width: int
    height: int

    @property
    def window(self) -> tuple[slice, slice]:
        return slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)

    @property
    def to_patch(self) -> tuple[float, float, float]:
        return float(self.left), float(self.top), float(self.k)


class FaceRenderer:
    """Renders frames `[height, width, 3]` of the person in `fit`.

    `crop` is the part of the picture (left, top, width, height) that fills the frame; by default
    it is chosen around the face. Sizes are even numbers of pixels. Several threads may draw.
    `matte` `[height, width]` is the person's opacity in the picture.
    """

    def __init__(self, fit: FaceFit, width: int, height: int, crop: Box | None = None) -> None:
        cv2.setNumThreads(RENDER_THREADS)
        self.width, self.height = width, height
        picture_size = (fit.image.shape[1], fit.image.shape[0])
        left, top, crop_width, _ = crop or frame_crop(picture_size, fit.box, (width, height))
        zoom = width / crop_width
        self._still = _resample(fit.image, width, height, zoom, left, top)
        self.head = HeadModel(fit, width, height, zoom, left, top)
        self._lined_eyes = fit.lined_eyes
        self._eyes = range(0 if eyes_hidden(self.head, self._still) else len(EYES))
        flat = drawn(self._still, self.head.landmarks)
        self._controls = Controls(self.head.names, fit.blendshapes, fit.angles[0], flat)
        layers = separate(self._still, self.head.source[self.head.oval], self.head.scale)
        self.head.limit_to(layers.person[..., 3])
        self._background = layers.background
        self.matte = layers.person[..., 3]
        self._margin = round(_MARGIN_CM * self.head.scale)
        self._person = _finer(_continued(layers.person, self._margin))
        self._texture = _finer(self._still)
        self._eye_texture = _finer(complete_eyes(self.head, self._still, fit.lined_eyes))
        shown = fit.mouth_open and fit.mouth_gap * self.head.scale > _LEAST_GAP
        self._mouth = Mouth(self.head, self._still, shown, flat)
        self._creases = Creases(self.head, self._still, self._mouth.softness, fit.glasses, flat)
        self._eyeballs = [Eyeball(self.head, i) for i in range(len(EYES))]
        self._source = (self.head.source * TEXTURE_ZOOM).astype(np.float32)
        self._person_source = self._source + np.float32(TEXTURE_ZOOM * self._margin)
        self._triangles = np.ascontiguousarray(self.head.triangles)
        self._make_maps()
        self._lips = self.head.lip_edges()
        self._mouth_triangles = self._triangles_near([*self._lips[0], *self._lips[1]])
        self._make_lids()
        self._controls.blinks = bool(self._eyes) and (
            fit.lined_eyes or lids_close(self.render, self.head.landmarks)
        )
        self._controls.gain = measure_gain(
            self.render, self._placed_mesh, self.head.landmarks, fit.canonical, fit.lined_eyes
        )

    @property
    def gain(self) -> HeadGain:
        """Degrees that the mesh turns per commanded one."""
        return self._controls.gain

    @property
    def mirrored(self) -> bool:
        """Whether what motion asks of one side is drawn on the other, which is seen better."""
        return self._controls.mirrored

    def render(self, motion: NDArray[np.float32]) -> RGB:
        """Return the RGB frame `[height, width, 3]` for motion `[NUM_CHANNELS]`."""
        gesture = self._controls.gesture(motion)
        placed = self.head.place(gesture.coefficients, gesture.pose)
        frame = self._still.copy()
        maps = self._draw_head(frame, placed)
        for i in self._eyes:
            self._draw_eye(frame, placed, i, gesture)
        self._draw_mouth(frame, placed, gesture)
        self._shade(frame, placed, maps, gesture)
        self._spare.append(maps)
        return frame

    def sources(self, motion: NDArray[np.float32]) -> Float:
        """Return where in the picture each pixel of a frame lies, `[height, width, 2]` (x, y).

        What appears between lips and lids lies nowhere: NaN.
        """
        gesture = self._controls.gesture(motion)
        placed = self.head.place(gesture.coefficients, gesture.pose)
        maps = self._fill_maps(placed)
        y, x = np.mgrid[: self.height, : self.width].astype(np.float32)
        places = np.stack([x, y], axis=-1)
        there = np.stack([maps.x, maps.y], axis=-1) / np.float32(TEXTURE_ZOOM)
        places[self._roi] = there - np.float32(self._margin)
        face = np.zeros(x.shape, np.uint8)
        cv2.fillPoly(face, [np.round(placed[self.head.oval, :2]).astype(np.int32)], 1)
        places[self._roi][(maps.nearest == FAR) & (face[self._roi] > 0)] = np.nan
        self._spare.append(maps)
        return places

    # --- set-up

    def _placed_mesh(self, motion: NDArray[np.float32]) -> Array:
        gesture = self._controls.gesture(motion)
        return self.head.place(gesture.coefficients, gesture.pose)[:NUM_MESH]

    def _make_lids(self) -> None:
        """Paint the face with closed eyes, from which blinks take their lids."""
        eyes = range(len(EYES))
        self._lid_triangles = [self.head.lid_triangles(i) for i in eyes]
        self._lid_outlines = [self.head.lid_outline(i) for i in eyes]
        self._eye_triangles = [self._triangles_near([*a, *b]) for a, b in self._lid_outlines]
        gesture = self._controls.gesture(motion_vector(eyeBlink=1.0))
        coefficients = np.zeros_like(gesture.coefficients)
        for name in ("eyeBlinkRight", "eyeBlinkLeft"):
            coefficients[self.head.names.index(name)] = 1.0
        placed = self.head.place(coefficients, gesture.pose)
        closed = self._still.copy()
        self._spare.append(self._draw_head(closed, placed))
        for i, (crease, edge) in enumerate(self._lid_outlines):
            paint_closed_lid(
                closed,
                self._still,
                self.head.landmarks[list(EYES[i].loop), :2],
                placed[crease, :2],
                placed[edge, :2],
                self.head.scale,
            )
        self._lid_texture = _finer(closed)
        self._lid_source = (placed[:, :2] * TEXTURE_ZOOM).astype(np.float32)

    def _make_maps(self) -> None:
        """Prepare the maps of the part of the frame that can move."""
        corners = self.head.source[np.unique(self._triangles)]
        largest = np.array([self.width, self.height])
        low = np.clip(np.floor(corners.min(0)), 0, largest - 1).astype(int)
        high = np.clip(np.ceil(corners.max(0)) + 1, 1, largest).astype(int)
        self._roi = (slice(int(low[1]), int(high[1])), slice(int(low[0]), int(high[0])))
        self._origin = low.astype(np.float32)
        y, x = (np.mgrid[self._roi].astype(np.float32) + self._margin) * TEXTURE_ZOOM
        self._rest = _Maps(np.ascontiguousarray(x), np.ascontiguousarray(y), np.full_like(x, FAR))
        self._spare: list[_Maps] = []
        self._bands = self._changing_bands()

    def _changing_bands(self) -> list[tuple[slice, slice]]:
        """Return the parts of the region of interest in which a pixel can ever change."""
        near = self.head.reach_of(self.matte)[self._roi]
        covered = np.zeros(near.shape, np.uint8)
        places = self.head.source - self._origin
        cv2.fillPoly(covered, list(np.round(places[self._triangles]).astype(np.int32)), 1)
        side = 2 * _BAND + 1
        changing = cv2.dilate(covered, np.ones((side, side), np.uint8)) & near
        bands = []
        for top in range(0, near.shape[0], _BAND):
            rows = slice(top, min(top + _BAND, near.shape[0]))
            columns = np.flatnonzero(changing[rows].any(0))
            if len(columns):
                bands.append((rows, slice(int(columns[0]), int(columns[-1]) + 1)))
        return bands

    def _triangles_near(self, outline: list[int]) -> NDArray[np.int32]:
        """Return the face's triangles that can come near an outline: those within 2.5 cm."""
        places = self.head.source
        low, high = places[outline].min(0), places[outline].max(0)
        reach = _PATCH_REACH_CM * self.head.scale
        corners = places[self.head.face_triangles]
        there = (corners.max(1) > low - reach) & (corners.min(1) < high + reach)
        return np.ascontiguousarray(self.head.face_triangles[there.all(1)])

    # --- drawing

    def _fill_maps(self, placed: Array) -> _Maps:
        maps = self._take_maps()
        draw_triangles(
            placed[:, :2].astype(np.float32) - self._origin,
            placed[:, 2].astype(np.float32),
            self._person_source,
            self._triangles,
            maps.x,
            maps.y,
            maps.nearest,
        )
        return maps

    def _draw_head(self, frame: RGB, placed: Array) -> _Maps:
        maps = self._fill_maps(placed)
        roi, background = frame[self._roi], self._background[self._roi]
        for band in self._bands:
            person = cv2.remap(
                self._person,
                maps.x[band],
                maps.y[band],
                cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_REPLICATE,
            )
            lay_over(person, background[band], roi[band])
        return maps

    def _shade(self, frame: RGB, placed: Array, maps: _Maps, gesture: Gesture) -> None:
        """Lay the folds of the expression on the skin."""
        light = self._creases.light(gesture.coefficients)
        if light is None:
            return
        moved = placed[: self.head.face_count, :2] - self.head.source[: self.head.face_count]
        low = np.floor(light.low + moved.min(0) - self._origin).astype(int)
        high = np.ceil(light.high + moved.max(0) - self._origin).astype(int) + 1
        x0, y0 = np.maximum(low, 0).tolist()
        x1, y1 = np.maximum(high, 0).tolist()
        part = (slice(y0, y1), slice(x0, x1))
        self._creases.shade(
            frame[self._roi][part],
            (maps.x[part], maps.y[part], maps.nearest[part]),
            light,
            TEXTURE_ZOOM,
            self._margin,
        )

    def _take_maps(self) -> _Maps:
        """Return maps of the frame at rest; every thread that draws has its own."""
        try:
            maps = self._spare.pop()
        except IndexError:
            maps = _Maps(*(np.empty_like(self._rest.x) for _ in range(3)))
        for ours, rest in ((maps.x, self._rest.x), (maps.y, self._rest.y)):
            np.copyto(ours, rest)
        maps.nearest.fill(FAR)
        return maps

    def _patch(self, outline: Array, margin: float, detail: float) -> _Patch | None:
        (left, top), (right, bottom) = outline.min(0).tolist(), outline.max(0).tolist()
        x0, x1 = (_within(v, self.width) for v in (floor(left - margin), ceil(right + margin) + 1))
        y0, y1 = (_within(v, self.height) for v in (floor(top - margin), ceil(bottom + margin) + 1))
        width, height = x1 - x0, y1 - y0
        if width < 3 or height < 2:
            return None
        return _Patch(x0, y0, min(max(round(detail / width), 2), 3), width, height)

    def _draw_patch(
        self,
        patch: _Patch,
        placed: Array,
        triangles: NDArray[np.int32],
        texture: RGB,
        source: Float,
    ) -> tuple[RGB, NDArray[np.bool_]]:
        shape = (patch.height * patch.k, patch.width * patch.k)
        map_x, map_y = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        nearest = np.full(shape, FAR, np.float32)
        place = (placed[:, :2] - (patch.left, patch.top) + 0.5) * patch.k - 0.5
        draw_triangles(
            place.astype(np.float32),
            placed[:, 2].astype(np.float32),
            source,
            triangles,
            map_x,
            map_y,
            nearest,
        )
        colour = cv2.remap(
            texture, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
        )
        return colour, nearest == FAR

    def _merge(self, frame: RGB, patch: _Patch, fine: RGB, outline: Array, reach: float) -> None:
        """Put a fine patch into the frame around `outline`, fading out over a pixel."""
        coarse = cv2.resize(fine, (patch.width, patch.height), interpolation=cv2.INTER_AREA)
        mask = np.zeros((patch.height, patch.width), np.uint8)
        points = [np.round((outline - (patch.left, patch.top)) * 16).astype(np.int32)]
        cv2.fillPoly(mask, points, 255, cv2.LINE_AA, 4)
        cv2.polylines(mask, points, True, 255, max(1, round(2 * reach)), cv2.LINE_AA, 4)
        share = cv2.GaussianBlur(mask, (3, 3), 0.8).astype(np.float32)[..., None] / np.float32(255)
        under = frame[patch.window]
        under[:] = (under + (coarse.astype(np.float32) - under) * share + 0.5).astype(np.uint8)

    def _draw_eye(self, frame: RGB, placed: Array, index: int, gesture: Gesture) -> None:
        crease, lower = self._lid_outlines[index]
        outline = placed[[*crease, *lower[-2:0:-1]], :2]
        reach = max(1.0, 0.06 * self.head.scale)
        patch = self._patch(outline, reach + 2, 120)
        if patch is None:
            return
        fine, hole = self._draw_patch(
            patch, placed, self._eye_triangles[index], self._texture, self._source
        )
        self._eyeballs[index].paint(
            fine, hole, patch.to_patch, gesture.pose, gesture.gaze, self._eye_texture
        )
        share = float(smoothstep((gesture.blink[index] - 0.08) / 0.42))
        if share > 0.0 and not self._lined_eyes:
            lid, bare = self._draw_patch(
                patch, placed, self._lid_triangles[index], self._lid_texture, self._lid_source
            )
            mixed = cv2.addWeighted(fine, 1.0 - share, lid, share, 0.0)
            np.copyto(fine, mixed, where=~bare[..., None])
        self._merge(frame, patch, fine, outline, reach)

    def _draw_mouth(self, frame: RGB, placed: Array, gesture: Gesture) -> None:
        upper, lower = self._lips
        outline = placed[[*upper, *lower[-2:0:-1]], :2]
        reach = max(1.5, 0.10 * self.head.scale)
        patch = self._patch(outline, reach + 2, 240)
        if patch is None:
            return
        fine, hole = self._draw_patch(
            patch, placed, self._mouth_triangles, self._texture, self._source
        )
        inside = hole.astype(np.uint8)
        self._mouth.paint(
            fine,
            inside,
            patch.to_patch,
            gesture.pose,
            gesture.jaw,
            gesture.rounding,
            gesture.tongue,
        )
        _soften(fine, inside, self._mouth.softness * patch.k)
        self._merge(frame, patch, fine, outline, reach + self._mouth.softness)


def _within(value: int, size: int) -> int:
    return min(max(value, 0), size)


def _soften(fine: RGB, inside: NDArray[np.uint8], sigma: float) -> None:
    """Blur what was painted `inside`, and its edge, to the picture's own sharpness."""
    size = 2 * round(1.5 * sigma) + 1
    around = cv2.dilate(inside, np.ones((size, size), np.uint8)).astype(np.float32)
    share = cv2.GaussianBlur(around, (0, 0), sigma)[..., None]
    blurred = cv2.GaussianBlur(fine, (0, 0), sigma)
    fine[:] = (fine + (blurred.astype(np.float32) - fine) * share + 0.5).astype(np.uint8)


def _resample(image: RGB, width: int, height: int, zoom: float, left: float, top: float) -> RGB:
    """Return the crop at output size; shrinking averages areas, growing interpolates."""
    if zoom == 1.0 and left == int(left) and top == int(top):
        x, y = int(left), int(top)
        return np.ascontiguousarray(image[y : y + height, x : x + width])
    if zoom < 1.0:
        x0, y0 = round(left), round(top)
        x1, y1 = round(left + width / zoom), round(top + height / zoom)
        part = np.ascontiguousarray(image[y0:y1, x0:x1])
        return np.asarray(cv2.resize(part, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    to_picture = np.array(
        [[1 / zoom, 0, left + 0.5 / zoom - 0.5], [0, 1 / zoom, top + 0.5 / zoom - 0.5]]
    )
    return np.asarray(
        cv2.warpAffine(
            image,
            to_picture,
            (width, height),
            flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        ),
        np.uint8,
    )


def _continued(person: NDArray[np.uint8], margin: int) -> NDArray[np.uint8]:
    """Return the premultiplied layer `[H, W, 4]` with a margin, for what moves into the frame.

    Beyond the border it is mirrored where the border cuts the person off, else it stays clear.
    """
    sides = (margin, margin, margin, margin)
    mirrored = cv2.copyMakeBorder(person, *sides, cv2.BORDER_REFLECT_101)
    opacity = cv2.copyMakeBorder(person[..., 3], *sides, cv2.BORDER_REPLICATE)[..., None]
    cut_off = (mirrored.astype(np.uint16) * opacity + 127) // 255
    inside = (slice(margin, -margin), slice(margin, -margin))
    cut_off[inside] = person
    return cut_off.astype(np.uint8)


def _finer(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return `image` at twice the size; texel 2x is pixel x exactly, those between are Lanczos."""
    height, width, channels = image.shape
    offset = np.arange(-3, 5) - 0.5
    kernel = np.sinc(offset) * np.sinc(offset / 4)
    kernel /= kernel.sum()
    one, border = np.ones(1), cv2.BORDER_REFLECT_101
    finer = np.empty((2 * height, 2 * width, channels), np.uint8)
    finer[::2, ::2] = image
    # Anchor 3 of 8 taps puts the result half a pixel to the right and below.
    finer[::2, 1::2] = cv2.sepFilter2D(image, -1, kernel, one, anchor=(3, 0), borderType=border)
    finer[1::2, ::2] = cv2.sepFilter2D(image, -1, one, kernel, anchor=(0, 3), borderType=border)
    finer[1::2, 1::2] = cv2.sepFilter2D(image, -1, kernel, kernel, anchor=(3, 3), borderType=border)
    return finer
