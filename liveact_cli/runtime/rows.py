"""A picture whose rows are shared among the ranks of a team: what lies beyond a part's edges.

Shapes: B batch, C channels, T frames, H rows, W columns; every rank holds some of the rows.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from liveact_cli.runtime.ulysses import Team


class RowEdges:
    """The rows next to this rank's, which its neighbours hold; beyond the picture lie zeros."""

    def __init__(self, team: Team) -> None:
        self._team = team

    def extended(self, x_BCTHW: Tensor) -> Tensor:
        """Add one row above and one below: `[B, C, T, H + 2, W]`. All ranks do it at once."""
        rank, ranks = self._team.rank, self._team.ranks
        edges = {rank - 1: x_BCTHW[:, :, :, :1], rank + 1: x_BCTHW[:, :, :, -1:]}
        shared = {other: row for other, row in edges.items() if 0 <= other < ranks}
        # Channels last, as the convolutions read them.
        sent = torch.cat([row.permute(0, 2, 3, 4, 1).flatten() for row in shared.values()])
        size = edges[rank - 1].numel()
        sizes = [size if other in shared else 0 for other in range(ranks)]
        received, _ = self._team.exchange(sent, sizes, sizes, wait=True)
        batch, channels, frames, _, across = x_BCTHW.shape

        def beyond(other: int) -> Tensor:
            if other not in shared:
                return torch.zeros_like(edges[other])
            row = received[other].view(batch, frames, 1, across, channels)
            return row.permute(0, 4, 1, 2, 3)

        return torch.cat([beyond(rank - 1), x_BCTHW, beyond(rank + 1)], 3)


def to_first(team: Team, x: Tensor, axis: int, parts: Sequence[int]) -> Tensor:
    """Put together on rank 0 what the ranks hold of `axis`; the others get their own part back."""
    shapes = [(*x.shape[:axis], part, *x.shape[axis + 1 :]) for part in parts]
    first = team.rank == 0
    sizes = [x.numel() if other == 0 else 0 for other in range(team.ranks)]
    expected = [torch.Size(shape).numel() if first else 0 for shape in shapes]
    received, _ = team.exchange(x.flatten(), sizes, expected, wait=True)
    if not first:
        return x
    pieces = [piece.view(shape) for piece, shape in zip(received, shapes, strict=True)]
    return torch.cat(pieces, axis)
