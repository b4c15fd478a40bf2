"""The Wan VAE's decoder shared by several devices: each draws some rows of every frame.

What runs at latent resolution (a fiftieth of the work) runs on every device; the rest is local, so
that a convolution needs one row from either neighbour and nothing is approximated.

Shape letters: C latent channels, F latent frames, h, w latent pixels, T video frames, H, W pixels.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from liveact_cli.core.sharing import shares
from liveact_cli.runtime.rows import RowEdges, to_first
from liveact_cli.runtime.ulysses import Team
from liveact_cli.wan.keymaps import VaeSizes
from liveact_cli.wan.vae import to_frames
from liveact_cli.wan.vae_decoder import WanDecoder
from liveact_cli.wan.vae_stream import State

_ROWS = 3
"""The axis of rows in the decoder's tensors `[B, C, T, H, W]`."""
LEAST_ROWS = 2
"""Latent rows that a rank has at least."""


class PictureShare:
    """One rank's rows of one causal stream; all ranks call the same at the same time."""

    def __init__(self, decoder: WanDecoder, team: Team, latents_per_call: int = 8) -> None:
        self._decoder, self._team, self._per_call = decoder, team, latents_per_call
        self._edges = RowEdges(team)
        self._states: dict[str, State] = {}
        self._height = 0

    @classmethod
    def from_file(
        cls,
        path: Path,
        dtype: torch.dtype,
        latents_per_call: int,
        *,
        team: Team,
        device: torch.device,
    ) -> Self:
        """Read the decoder of a VAE in the released layout."""
        return cls(WanDecoder.from_file(path, device, dtype), team, latents_per_call)

    @classmethod
    def random(
        cls,
        sizes: VaeSizes,
        dtype: torch.dtype,
        latents_per_call: int,
        *,
        team: Team,
        device: torch.device,
    ) -> Self:
        """Make weights, the same on all ranks, for measuring."""
        torch.manual_seed(0)
        return cls(WanDecoder.random(sizes, device, dtype), team, latents_per_call)

    def begin(self, state: dict[str, Tensor]) -> None:
        """Begin a stream, or go on where a `state` was taken, however many ranks took it."""
        self._states = {}
        for key, value in state.items():
            if key.startswith("stem/"):
                self._height = value.shape[_ROWS]
        for key, value in state.items():
            part, _, name = key.partition("/")
            own = value if part == "stem" else self._own(value)
            placed = own.to(self._decoder.device, self._decoder.dtype)
            self._states.setdefault(part, {})[name] = placed

    @torch.inference_mode()
    def video(self, latent: Tensor) -> Tensor:
        """Decode a stream's next latents `[C, F, h, w]` -> `[3, T, H, W]` in [-1, 1] on rank 0."""
        videos = []
        while latent.shape[1]:
            first = not self._states
            take = 1 if first else self._per_call
            part, latent = latent[:, :take], latent[:, take:]
            videos.append(self._step(part, first))
        return torch.cat(videos, 1)

    def state(self) -> dict[str, Tensor]:
        """What the next chunk needs, of all rows, on every rank."""
        whole = {f"stem/{name}": value for name, value in self._states.get("stem", {}).items()}
        for name, value in self._states.get("body", {}).items():
            parts = self._parts(self._scale(value.shape[_ROWS]))
            whole[f"body/{name}"] = self._team.all_of(value, _ROWS, parts)
        return whole

    def _step(self, latent: Tensor, first: bool) -> Tensor:
        features, self._states["stem"] = self._decoder.stem(latent, self._states.get("stem", {}))
        self._height = features.shape[_ROWS]
        last = torch.channels_last_3d if features.is_cuda else torch.contiguous_format
        rows = self._own(features).contiguous(memory_format=last)
        before = self._states.get("body", {})
        video, self._states["body"] = self._decoder.body(rows, before, first, self._edges)
        own = video[0].clamp(-1.0, 1.0)
        parts = self._parts(self._scale(own.shape[_ROWS - 1]))
        return to_first(self._team, own, _ROWS - 1, parts)

    def _own(self, x: Tensor) -> Tensor:
        """Cut this rank's rows out of all."""
        parts = self._parts(x.shape[_ROWS] // self._height)
        return torch.split(x, parts, _ROWS)[self._team.rank]

    def _parts(self, scale: int) -> list[int]:
        """Return how many rows each rank has where a latent row is `scale` rows."""
        return [part * scale for part in shares(self._height, self._team.ranks)]

    def _scale(self, rows: int) -> int:
        """Return the scale of something of which this rank has `rows`."""
        return rows // shares(self._height, self._team.ranks)[self._team.rank]


class Shared(Protocol):
    """A `PictureShare` on every rank of a crew (a `runtime.crew.Attached`)."""

    def perform(self, method: str, *arguments: Any) -> Any:
        """Call a method on every rank; return what it gives here."""
        ...


class SharedFrameDecoder:
    """LatentDecoder whose frames several devices draw; `share` gives their shares when it is time:
    they are loaded after the picture is encoded."""

    def __init__(self, share: Callable[[], Shared]) -> None:
        self._share = share
        self._shared: Shared | None = None
        self._start: dict[str, Tensor] = {}

    def decode(self, latent: Tensor) -> Iterator[NDArray[np.uint8]]:
        """Decode the next chunk `[C, F, h, w]` -> RGB frames `[H, W, 3]`, in order."""
        yield from to_frames(self.video(latent))

    def video(self, latent: Tensor) -> Tensor:
        """Decode a stream's next latents as `decode` does, before rounding: `[3, T, H, W]`."""
        if self._shared is None:
            shared = self._share()
            shared.perform("begin", self._start)
            self._shared, self._start = shared, {}
        video: Tensor = self._shared.perform("video", latent)
        return video

    def flush(self) -> Iterator[NDArray[np.uint8]]:
        """Nothing: a causal decoder holds no frame back."""
        return iter(())

    def state(self) -> dict[str, Tensor]:
        """What the next chunk needs, by name, as one device alone would say it."""
        if self._shared is None:
            return dict(self._start)
        state: dict[str, Tensor] = self._shared.perform("state")
        return state

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Go on where `state` was taken."""
        self._shared, self._start = None, dict(state)
