"""The moving head: the person's mesh, its expressions and the skin, hair and neck around it."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import Delaunay

from liveact_cli.mini.face.basis import BasisBuilder
from liveact_cli.mini.face.canonical import NUM_MESH
from liveact_cli.mini.face.fit import FaceFit
from liveact_cli.mini.face.geometry import Array, head_rotation, smoothstep
from liveact_cli.mini.face.lashes import lash_strips
from liveact_cli.mini.face.subdivide import subdivision
from liveact_cli.mini.face.topology import (
    CHIN,
    EYES,
    LOWER_INNER,
    LOWER_ROWS,
    OVAL,
    UPPER_INNER,
    UPPER_ROWS,
    face_triangles,
    smooth_curves,
)
from liveact_cli.mini.face.unfold import around, unfolded

Points = NDArray[np.float32]

_STEEPEST, _STEEPEST_LINES = 3.2, 2.4
"""Largest depth per width of the turning relief, of people and of drawings with lines: it folds
over beyond 18 degrees, and a line keeps some two thirds of its width at 8."""
_LARGEST_MOVE_CM = 2.5
"""How far the head's outline may move before its edge would be cut off."""


_OUTLINE_CM = 2.5
"""Skin this near to the outline may be moved where a turned head folds it over."""
_INSIDE_CM, _INSIDE_LINES_CM = 0.4, 1.2
"""How far inside the outline eyes and lips lie, of people and of drawings with lines."""
_FEATURES = (
    *(v for eye in EYES for v in (*eye.loop, *eye.crease, *eye.under)),
    *(v for row in (*UPPER_ROWS, *LOWER_ROWS) for v in row),
)
_SHOULDERS = 0.10
"""Share of the head's motion that the shoulders follow."""
_BODY_REACH = 2.2
"""Face heights below the chin at which that has faded out."""


@dataclass(frozen=True, slots=True)
class HeadPose:
    """Where the head is: degrees, centimetres in the picture plane, relative scale."""

    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    tx: float = 0.0
    ty: float = 0.0
    scale: float = 0.0


class HeadModel:
    """Places every vertex for an expression and a pose; all positions are in output pixels.

    `source` `[N, 2]` is where each vertex lies in the picture at output size, `triangles` `[T, 3]`;
    the first `face_count` vertices are the face, the rest surrounds it.
    """

    def __init__(self, fit: FaceFit, width: int, height: int, zoom: float, left: float, top: float):
        self.width, self.height = width, height
        self.scale = fit.scale * zoom
        self.rotation = fit.rotation
        # Pixel centres: output x shows picture (x + 0.5) / zoom - 0.5 + left.
        self.translation = fit.translation * zoom
        self.translation[:2] += 0.5 * zoom - 0.5 - zoom * np.array([left, top])
        landmarks = fit.landmarks * zoom
        landmarks[:, :2] += 0.5 * zoom - 0.5 - zoom * np.array([left, top])
        self.landmarks = landmarks
        self.shape = fit.shape
        self.rest_shape = fit.canonical.vertices
        basis = BasisBuilder(fit.canonical, fit.shape, fit.glasses, fit.lined_eyes)
        built = basis.build()
        self.names = built.names
        self.mouth_half_width = basis.half_width
        self.closed_shape = fit.shape + built.closed
        self.jaw_drop = built.offsets[built.names.index("jawOpen"), 17]
        self._steepest = _STEEPEST_LINES if fit.lined_eyes else _STEEPEST
        self._axis()
        self._make_face(fit, built.offsets, built.closed)
        self._make_surroundings()
        self._finish()

    # --- set-up

    def _axis(self) -> None:
        """The head turns about a point between the ears, below the chin's upper part."""
        ears = (self.shape[234, 2] + self.shape[454, 2]) / 2
        self.pivot = np.array([0.0, 0.6 * self.shape[CHIN, 1], float(ears)])

    def _make_face(self, fit: FaceFit, offsets: Array, closed: Array) -> None:
        lashes, triangles = lash_strips(face_triangles(fit.canonical.triangles), fit.shape)
        count = NUM_MESH + len(lashes.edge)
        matrix, fine, middle = subdivision(count, triangles, smooth_curves(), OVAL)
        self._middle = middle
        self.face_triangles = fine
        self._coarse_triangles, self._lashes = triangles, lashes
        self.face_count = matrix.shape[0]
        self._face = matrix @ lashes.between(self.shape)
        self._closed = matrix @ lashes.rigid(closed)
        self._offsets = np.stack([matrix @ lashes.rigid(offset) for offset in offsets])
        self._face_source = matrix @ lashes.between(self.landmarks[:NUM_MESH])
        self.oval = self._refined_row(OVAL, closed_row=True)
        flat = self._face_source[:, :2]
        inside = self.scale * (_INSIDE_LINES_CM if fit.lined_eyes else _INSIDE_CM)
        flat[self.oval] = around(flat[self.oval], flat[list(_FEATURES)], inside)
        self._face_source[:, :2] = unfolded(flat, fine, self._cheek_of(flat))

    def _cheek_of(self, flat: Array) -> NDArray[np.bool_]:
        """Return which vertices `[N]` of the face are skin near its outline."""
        outline = flat[self.oval]
        away = np.linalg.norm(flat[:, None] - outline[None], axis=2).min(1)
        skin = away < _OUTLINE_CM * self.scale
        skin[self.oval] = False
        skin[list(_FEATURES)] = False
        return np.asarray(skin)

    def _refined_row(self, row: tuple[int, ...], closed_row: bool = False) -> list[int]:
        """Return the fine vertices along a row of old ones."""
        following = (*row[1:], row[0]) if closed_row else row[1:]
        fine: list[int] = []
        for a, b in zip(row, following, strict=False):
            fine += [a, self._middle[min(a, b), max(a, b)]]
        return fine if closed_row else [*fine, row[-1]]

    def lip_edges(self) -> tuple[list[int], list[int]]:
        """Fine vertices of the upper and the lower inner lip edge, right corner to left corner."""
        return self._refined_row(UPPER_INNER), self._refined_row(LOWER_INNER)

    def lid_edges(self, eye: int) -> tuple[list[int], list[int]]:
        """Fine vertices of the upper and the lower lid edge of eye 0 (right) or 1 (left)."""
        first, last = EYES[eye].corners
        upper, lower = (first, *EYES[eye].upper, last), (first, *EYES[eye].lower, last)
        return self._refined_row(upper), self._refined_row(lower)

    def lid_triangles(self, eye: int) -> NDArray[np.int32]:
        """Fine triangles between the upper lid's edge and its crease."""
        rows = EYES[eye]
        lashes = NUM_MESH + np.flatnonzero(np.isin(self._lashes.edge, rows.upper))
        lid = np.isin(self._coarse_triangles, [*rows.upper, *rows.crease, *rows.corners, *lashes])
        # Subdivision puts the four children of a triangle one after the other.
        chosen = np.repeat(lid.all(1), 4)
        return np.ascontiguousarray(self.face_triangles[chosen])

    def lid_outline(self, eye: int) -> tuple[list[int], list[int]]:
        """Fine vertices of a lid's upper border (corner, crease, corner) and of its lower lid."""
        first, last = EYES[eye].corners
        crease = self._refined_row(EYES[eye].crease)
        return [first, *crease, last], self.lid_edges(eye)[1]

    def _make_surroundings(self) -> None:
        oval = self._face_source[self.oval, :2]
        self.face_height = float(np.ptp(oval[:, 1]))
        ring = oval.astype(np.float32).reshape(-1, 1, 2)
        points = self._grid(oval)
        simplices = Delaunay(np.concatenate([oval, points])).simplices
        middles = np.concatenate([oval, points])[simplices].mean(1)
        inside = np.array(
            [cv2.pointPolygonTest(ring, (float(x), float(y)), False) > 0 for x, y in middles]
        )
        simplices = simplices[~(inside & (simplices < len(oval)).all(1))]
        vertex = np.concatenate([np.array(self.oval), self.face_count + np.arange(len(points))])
        self._outer_triangles = vertex[simplices].astype(np.int32)
        self._outer_source = points
        self._weigh(oval, points)

    def _grid(self, oval: Array) -> Array:
        step, pad = max(8.0, self.face_height / 11), 0.35 * self.face_height
        xs = np.linspace(-pad, self.width - 1 + pad, int((self.width + 2 * pad) / step) + 2)
        ys = np.linspace(-pad, self.height - 1 + pad, int((self.height + 2 * pad) / step) + 2)
        grid = np.stack(np.meshgrid(xs, ys), -1).reshape(-1, 2)
        centre = oval.mean(0)
        rings = np.concatenate(
            [centre + (oval[::2] - centre) * k for k in (1.10, 1.24, 1.42, 1.65)]
        )
        border = (centre + (oval - centre) * 1.75).astype(np.float32).reshape(-1, 1, 2)
        far = [
            cv2.pointPolygonTest(border, (float(x), float(y)), True) < -0.3 * step for x, y in grid
        ]
        within = ((rings > -pad) & (rings < (self.width - 1 + pad, self.height - 1 + pad))).all(1)
        return np.concatenate([grid[np.array(far)], rings[within]])

    def _weigh(self, oval: Array, points: Array) -> None:
        """Say how much each outer point shares of expression and head motion."""
        height, width = self.face_height, float(np.ptp(oval[:, 0]))
        distance = np.linalg.norm(points[:, None] - oval[None], axis=2)
        near = distance.min(1, keepdims=True)
        share = np.exp(-(distance - near) / (0.10 * height))
        share /= share.sum(1, keepdims=True)
        self._follow = share * np.exp(-((near / (0.19 * height)) ** 2))
        up = -self.rotation[:2, 1] / np.linalg.norm(self.rotation[:2, 1])
        right = np.array([-up[1], up[0]])
        rel = points - (oval.mean(0) + up * 0.12 * height)
        above = rel @ up
        # Hair and hat move with the skull; below the chin the neck takes up the motion.
        reach = np.where(above > 0, above / (1.4 * height), above / (0.66 * height))
        neck = smoothstep(-above / (0.6 * height))
        radius = np.hypot(rel @ right / ((1.1 - 0.5 * neck) * width), reach)
        head = 1.0 - smoothstep((radius - 1.0) / (1.5 - 0.3 * neck))
        below = np.maximum(-above / height - 0.6, 0.0)
        body = _SHOULDERS * neck * (1.0 - smoothstep(below / _BODY_REACH))
        self._rigid = np.maximum(head, body)
        depth_oval = self._face[self.oval, 2]
        back = self.pivot[2]
        nearby = np.exp(-(distance - near) / (0.12 * height))
        nearby /= nearby.sum(1, keepdims=True)
        depth = back + (nearby @ depth_oval - back) * np.exp(-near[:, 0] / (0.35 * height))
        plane = self.scale * self.rotation[:2]
        target = points - self.translation[:2] - depth[:, None] * plane[:, 2]
        self._outer = np.column_stack([np.linalg.solve(plane[:, :2], target.T).T, depth])

    def _finish(self) -> None:
        outer_depth = (self.scale * self._outer @ self.rotation.T + self.translation)[:, 2]
        self.source = np.concatenate([self._face_source[:, :2], self._outer_source])
        moves = (self._rigid > 0) | (self._follow.sum(1) > 1e-3)
        moving = np.concatenate([np.ones(self.face_count, bool), moves])
        self._outer_triangles = self._outer_triangles[moving[self._outer_triangles].any(1)]
        self.triangles = np.concatenate([self.face_triangles, self._outer_triangles])
        self._rest = np.concatenate(
            [self._face_source, np.column_stack([self._outer_source, outer_depth])]
        )
        self._all = np.concatenate([self._face, self._outer])
        self._arm = self._relief_of(self._all) - self.pivot
        self._arm[:, 2] = -_gentle(-self._arm[:, 2], self.source / self.scale, self._steepest)
        self._share = np.concatenate([np.ones(self.face_count), self._rigid])
        self._oval_row = np.array(self.oval)

    def limit_to(self, matte: NDArray[np.uint8]) -> None:
        """Drop surroundings where no person is near; `matte` `[H, W]` is above 0 on the person."""
        near = self.reach_of(matte) > 0
        x = np.clip(np.round(self.source[:, 0]), 0, self.width - 1).astype(int)
        y = np.clip(np.round(self.source[:, 1]), 0, self.height - 1).astype(int)
        keep = near[y, x][self._outer_triangles].any(1)
        self.triangles = np.concatenate([self.face_triangles, self._outer_triangles[keep]])

    def reach_of(self, matte: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return 1 `[H, W]` wherever the person of `matte` may come by moving, else 0."""
        reach = 2 * round(_LARGEST_MOVE_CM * self.scale) + 1
        person = np.ascontiguousarray(matte > 0).astype(np.uint8)
        return np.asarray(cv2.dilate(person, np.ones((reach, reach), np.uint8)), np.uint8)

    # --- per frame

    def _relief_of(self, points: Array) -> Array:
        """Points with the depth that takes part in turning: the back of the head stays flat."""
        ahead = self.pivot[2] - points[:, 2]
        soft = np.logaddexp(0.0, (ahead - 0.5) * 2.0) / 2.0
        return np.column_stack([points[:, :2], self.pivot[2] - soft])

    def offset(self, points: Array, pose: HeadPose) -> Array:
        """Return how far `[N, 3]` head-frame points move for a pose, in pixels (depth too)."""
        return self._moved(points, self._relief_of(points) - self.pivot, pose)

    def project(self, points: Array, pose: HeadPose) -> Array:
        """Return the output position `[N, 2]` of head-frame points `[N, 3]`."""
        still = self.scale * points @ self.rotation.T + self.translation
        return np.asarray((still + self.offset(points, pose))[:, :2])

    def place(self, coefficients: Array, pose: HeadPose) -> Array:
        """Return every vertex `[N, 3]` in output pixels for an expression `[names]` and a pose."""
        expression = self._closed.copy()
        for k in np.flatnonzero(coefficients):
            expression += coefficients[k] * self._offsets[k]
        moved, arm = self._all.copy(), self._arm.copy()
        moved[: self.face_count] += expression
        arm[: self.face_count] += expression
        flex = self.scale * expression @ self.rotation.T
        placed = self._rest + self._moved(moved, arm, pose) * self._share[:, None]
        placed[: self.face_count] += flex
        placed[self.face_count :] += self._follow @ flex[self._oval_row]
        return placed

    def _moved(self, points: Array, arm: Array, pose: HeadPose) -> Array:
        """Return the motion of points whose lever `arm` `[N, 3]` turns about the pivot.

        Yaw and pitch turn the head about its own axes; roll turns what is seen, in the picture.
        """
        turn = head_rotation(pose.yaw, pose.pitch, 0.0)
        full = points - self.pivot
        turned = (full + (arm @ turn.T - arm)) * (1.0 + pose.scale)
        seen = self.scale * turned @ self.rotation.T
        rolled = seen @ head_rotation(0.0, 0.0, pose.roll).T
        shift = np.array([pose.tx, pose.ty, 0.0]) * self.scale
        return np.asarray(rolled - self.scale * full @ self.rotation.T + shift)


def _gentle(relief: Array, places: Array, steepest: float) -> Array:
    """Return the largest relief `[N]` below the given one that is nowhere steeper than `steepest`.

    `places` `[N, 2]` are positions in the picture in cm. A surface of slope K folds over when it
    turns by asin(1 / K); steep cheeks and the far side of a turned head would tear.
    """
    x, y = places.astype(np.float32).T
    gentle = relief.astype(np.float32)
    for start in range(0, len(relief), 256):
        part = slice(start, start + 256)
        distance = np.hypot(x[part, None] - x, y[part, None] - y)
        gentle[part] = (relief + steepest * distance).min(1)
    return gentle.astype(np.float64)
