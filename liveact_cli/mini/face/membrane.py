"""Move some vertices of the mesh; all others follow so that it bends least."""

from collections.abc import Mapping

import numpy as np
from scipy.sparse import csc_array, eye_array
from scipy.sparse.linalg import splu

from liveact_cli.mini.face.canonical import NUM_MESH, CanonicalMesh
from liveact_cli.mini.face.geometry import Array


class Membrane:
    """The canonical mesh as a thin plate under tension."""

    def __init__(self, mesh: CanonicalMesh) -> None:
        """Take the mesh's edges; where its vertices lie does not matter."""
        self._stiffness = _stiffness(mesh)

    def fill(self, fixed: Mapping[int, tuple[float, float, float]]) -> Array:
        """Return offsets `[468, 3]` that keep `fixed` and bend least in between."""
        index = np.array(sorted(fixed))
        values = np.array([fixed[i] for i in index.tolist()], np.float64)
        free = np.setdiff1d(np.arange(NUM_MESH), index)
        offsets = np.zeros((NUM_MESH, 3))
        offsets[index] = values
        rows = self._stiffness[free]
        # A sparse factorisation is the same on every machine; dense solvers depend on threads.
        offsets[free] = splu(rows[:, free]).solve(-(rows[:, index] @ values))
        return offsets


def _stiffness(mesh: CanonicalMesh) -> "csc_array":
    """Membrane plus thin-plate energy on the uniform graph Laplacian of the mesh."""
    adjacency = np.zeros((NUM_MESH, NUM_MESH))
    for a, b in ((0, 1), (1, 2), (2, 0)):
        i, j = mesh.triangles[:, a], mesh.triangles[:, b]
        adjacency[i, j] = adjacency[j, i] = 1
    degree = np.maximum(adjacency.sum(1), 1)
    laplacian = csc_array(np.eye(NUM_MESH) - adjacency / degree[:, None])
    plate = laplacian @ laplacian
    energy = laplacian.T @ laplacian + 0.15 * plate.T @ plate
    return csc_array(energy + 1e-9 * eye_array(NUM_MESH))
