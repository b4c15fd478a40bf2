"""MediaPipe's canonical face: the mesh that all landmarks belong to."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from liveact_cli.mini.face.geometry import Array
from liveact_cli.mini.face.protobuf import floats, ints, wire_fields

NUM_MESH = 468
"""Vertices of the canonical mesh; landmarks 468..477 are the irises."""


@dataclass(frozen=True, slots=True)
class CanonicalMesh:
    """The metric face: vertices in cm, x to image right, y down, z away from the viewer."""

    vertices: Array  # [468, 3]
    triangles: NDArray[np.int32]  # [898, 3]
    weights: Array  # [468], how much each vertex tells about the head's pose


def read_canonical(blob: bytes) -> CanonicalMesh:
    """Return the mesh of a serialised `GeometryPipelineMetadata` (field 1) with its weights (2)."""
    vertices: list[float] = []
    triangles: list[int] = []
    weights = np.zeros(NUM_MESH)
    for number, value in wire_fields(blob):
        if number == 1:
            for inner, data in wire_fields(value):
                if inner == 3:
                    vertices += floats(data)
                elif inner == 4:
                    triangles += ints(data)
        elif number == 2:
            entry = dict(wire_fields(value))
            weights[int(entry.get(1, 0))] = float(entry[2])
    table = np.array(vertices).reshape(
        NUM_MESH, 5
    )  # x, y, z, u, v with y up and z toward the viewer
    return CanonicalMesh(
        table[:, :3] * (1.0, -1.0, -1.0), np.array(triangles, np.int32).reshape(-1, 3), weights
    )
