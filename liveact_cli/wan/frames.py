"""Latents of one chunk after another -> frames: the Wan VAE behind the FrameDecoder protocol."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from liveact_cli.core.errors import UsageError
from liveact_cli.core.protocols import FrameDecoder
from liveact_cli.wan.tiny_decoder import TinyDecoder
from liveact_cli.wan.vae import to_frames
from liveact_cli.wan.vae_decoder import WanDecoder
from liveact_cli.wan.vae_stream import State

Frames = Iterator[NDArray[np.uint8]]

# The released code decodes each chunk afresh behind this many latent frames of the chunk before.
RELEASED_OVERLAP = 3

_TILE = "tile "
_COLOURS = 3
_HOST = torch.device("cpu")


class LatentDecoder(FrameDecoder, Protocol):
    """A FrameDecoder that also gives what it draws before it is rounded to bytes."""

    def video(self, latent: Tensor) -> Tensor:
        """Decode a stream's next latents `[C, F, h, w]` -> `[3, T, H, W]` in [-1, 1]."""
        ...


@dataclass(frozen=True)
class Piece:
    """A stretch of one axis in latent pixels: what is kept of it, and what is decoded for that."""

    start: int
    stop: int
    seen_start: int
    seen_stop: int


def pieces(length: int, side: int, halo: int) -> list[Piece]:
    """Cut `length` latent pixels evenly in pieces of at most `side`, each seen with `halo` more."""
    count = -(-length // side)
    edges = [round(i * length / count) for i in range(count + 1)]
    return [Piece(a, b, max(0, a - halo), min(length, b + halo)) for a, b in pairwise(edges)]


class WanFrameDecoder:
    """FrameDecoder over the Wan VAE: one causal stream, its state kept from chunk to chunk.

    `tile` (latent pixels a side) bounds memory: the decoder's local part, nearly all of its
    memory, runs piece by piece, each with its own state and `halo` latent pixels around it (13
    cover its whole field of view; 6 stay within two grey levels). A piece runs through all of a
    chunk before the next one; meanwhile the states of the others wait in the host's memory.
    `latents_per_call` bounds memory in time, exactly. `overlap` decodes as the released code does
    instead.
    """

    def __init__(
        self,
        decoder: WanDecoder,
        *,
        overlap: bool = False,
        tile: int | None = None,
        halo: int = 6,
        latents_per_call: int = 8,
    ) -> None:
        if (tile is not None and tile < 1) or halo < 0 or latents_per_call < 1:
            raise UsageError(
                f"tile {tile}, halo {halo}, latents per call {latents_per_call}: must be positive",
                "a tile of 32 latent pixels is 256 pixels a side",
            )
        self._vae = decoder
        self._overlap, self._tile, self._halo = overlap, tile, halo
        self._per_call = latents_per_call
        self._states: dict[str, State] = {}
        self._tail: Tensor | None = None

    def decode(self, latent: Tensor) -> Frames:
        """Decode the next chunk `[C, F, h, w]` -> RGB frames `[H, W, 3]`, in order."""
        if not self._overlap:
            yield from self._continue(latent)
            return
        behind = self._tail
        self._tail = latent[:, -RELEASED_OVERLAP:].clone()
        self._states = {}
        if behind is None:
            yield from self._continue(latent)
            return
        stride = self._vae.sizes.temporal_stride
        skip = 1 + (behind.shape[1] - 1) * stride
        both = torch.cat([behind, latent.to(behind)], dim=1)
        yield from islice(self._continue(both), skip, None)

    def video(self, latent: Tensor) -> Tensor:
        """Decode a stream's next latents as `decode` does, before rounding: `[3, T, H, W]`."""
        return torch.cat(list(self._videos(latent)), dim=1)

    def flush(self) -> Frames:
        """Nothing: a causal decoder holds no frame back."""
        return iter(())

    def state(self) -> dict[str, Tensor]:
        """What the next chunk needs, by name."""
        if self._overlap:
            return {} if self._tail is None else {"tail": self._tail}
        return {
            f"{part}/{name}": value
            for part, state in self._states.items()
            for name, value in state.items()
        }

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Go on where `state` was taken."""
        self._states, self._tail = {}, state.get("tail")
        for key, value in state.items():
            part, _, name = key.partition("/")
            if name:
                where = _HOST if part.startswith(_TILE) else self._vae.device
                placed = value.to(where, self._vae.dtype)
                self._states.setdefault(part, {})[name] = placed

    def _continue(self, latent: Tensor) -> Frames:
        for video in self._videos(latent):
            yield from to_frames(video)

    def _videos(self, latent: Tensor) -> Iterator[Tensor]:
        """Go on with the stream, or begin it where there is no state; video `[3, T, H, W]`."""
        while latent.shape[1]:
            first = not self._states
            most = self._per_call if self._tile is None else latent.shape[1]
            take = 1 if first else most
            part, latent = latent[:, :take], latent[:, take:]
            yield self._step(part, first)

    @torch.inference_mode()
    def _step(self, latent: Tensor, first: bool) -> Tensor:
        """Decode `[C, F, h, w]` -> video `[3, T, H, W]` in [-1, 1]; F = 1 where `first`."""
        if self._tile is not None:
            return self._by_tiles(latent, first, self._tile)
        return self._part("body", self._stem(latent), first).clamp(-1.0, 1.0)

    def _stem(self, latent: Tensor) -> Tensor:
        features, self._states["stem"] = self._vae.stem(latent, self._states.get("stem", {}))
        return features

    def _part(self, name: str, features: Tensor, first: bool) -> Tensor:
        """Go on with one part of the picture, which has a state of its own."""
        video, self._states[name] = self._vae.body(features, self._states.get(name, {}), first)
        return video[0]

    def _by_tiles(self, latent: Tensor, first: bool, tile: int) -> Tensor:
        """Decode a chunk tile after tile; each is the whole stream of its part of the picture."""
        scale, device = self._vae.sizes.spatial_stride, self._vae.device
        features = torch.cat(
            [self._stem(part) for part in torch.split(latent, self._per_call, 1)], 2
        )
        frames, height, width = features.shape[2:]
        frames = 1 if first else frames * self._vae.sizes.temporal_stride
        video = torch.empty(_COLOURS, frames, height * scale, width * scale, device=device)
        for row in pieces(height, tile, self._halo):
            for column in pieces(width, tile, self._halo):
                name = f"{_TILE}{row.start} {column.start}"
                self._move(name, device)
                begun = 0
                for part in torch.split(features, self._per_call, 2):
                    drawn = self._part(name, _seen(part, row, column), first)
                    kept = drawn[..., _kept(row, scale), :][..., _kept(column, scale)]
                    area = video[:, begun : begun + kept.shape[1]]
                    area[..., _whole(row, scale), _whole(column, scale)] = kept
                    begun += kept.shape[1]
                self._move(name, _HOST)
        return video.clamp_(-1.0, 1.0)

    def _move(self, part: str, device: torch.device) -> None:
        if part in self._states:
            state = self._states[part]
            self._states[part] = {name: value.to(device) for name, value in state.items()}


def _seen(features: Tensor, row: Piece, column: Piece) -> Tensor:
    """Cut out of `[1, C, F, h, w]` what is decoded for a piece."""
    rows = features[..., row.seen_start : row.seen_stop, :]
    return rows[..., column.seen_start : column.seen_stop].contiguous()


def _kept(piece: Piece, scale: int) -> slice:
    """Where what is kept of a piece lies in what is decoded for it."""
    start = (piece.start - piece.seen_start) * scale
    return slice(start, start + (piece.stop - piece.start) * scale)


def _whole(piece: Piece, scale: int) -> slice:
    """Where a piece lies in the picture."""
    return slice(piece.start * scale, piece.stop * scale)


class TinyFrameDecoder:
    """LatentDecoder over a TinyDecoder: one causal stream, `latents_per_call` at a time."""

    def __init__(self, decoder: TinyDecoder, *, latents_per_call: int = 8) -> None:
        self._decoder, self._per_call = decoder, latents_per_call
        self._state: State = {}

    def decode(self, latent: Tensor) -> Frames:
        """Decode the next chunk `[C, F, h, w]` -> RGB frames `[H, W, 3]`, in order."""
        yield from to_frames(self.video(latent))

    @torch.inference_mode()
    def video(self, latent: Tensor) -> Tensor:
        """Decode a stream's next latents as `decode` does, before rounding: `[3, T, H, W]`."""
        videos = []
        for part in torch.split(latent, self._per_call, 1):
            video, self._state = self._decoder.step(part, self._state)
            videos.append(video)
        return torch.cat(videos, 1)

    def flush(self) -> Frames:
        """Nothing: a causal decoder holds no frame back."""
        return iter(())

    def state(self) -> dict[str, Tensor]:
        """What the next chunk needs, by name."""
        return dict(self._state)

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Go on where `state` was taken."""
        to, dtype = self._decoder.device, self._decoder.dtype
        self._state = {name: value.to(to, dtype) for name, value in state.items()}
