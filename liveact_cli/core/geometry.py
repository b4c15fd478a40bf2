"""The one place that knows time: seconds -> video frames -> latent frames -> chunks.

A latent frame covers one video frame when it is the very first, `temporal_stride` (4) video
frames otherwise. Chunks are counted in latent frames; their sizes follow from the memory policy.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from liveact_cli.core.errors import UsageError

TEMPORAL_STRIDE = 4
"""Video frames per latent frame, after the first."""


@dataclass(frozen=True)
class MemoryPolicy:
    """What a chunk remembers, in latent frames: `sink` anchors, `folded` compressed, `recent` raw.

    `ratio` frames fold into one. Every size follows (paper section 3, ConvKV memory): a chunk is
    exactly what must be folded away so that the window stays the same size.
    """

    sink: int = 2
    folded: int = 2
    recent: int = 2
    ratio: int = 5

    def __post_init__(self) -> None:
        """Refuse sizes that give no chunk or no fold."""
        if self.sink < 0 or self.recent < 0 or self.folded < 1 or self.ratio < 2:
            raise UsageError(
                f"memory policy sink={self.sink} folded={self.folded} recent={self.recent} "
                f"ratio={self.ratio} is not possible",
                "sink and recent are at least 0, folded at least 1, ratio at least 2",
            )

    @property
    def first_chunk(self) -> int:
        """Latent frames of chunk 0: it fills every slot that later chunks remember."""
        return self.sink + self.folded + self.recent

    @property
    def chunk(self) -> int:
        """Latent frames of every later chunk."""
        return (self.ratio - 1) * self.folded

    @property
    def window(self) -> int:
        """Latent frames that a chunk attends to, itself included."""
        return self.first_chunk + self.chunk

    @property
    def anchor_slots(self) -> slice:
        """Slots of the frames that are never forgotten."""
        return slice(0, self.sink)

    @property
    def folded_slots(self) -> slice:
        """Slots of the compressed past."""
        return slice(self.sink, self.sink + self.folded)

    @property
    def recent_slots(self) -> slice:
        """Slots of the last frames before the current chunk."""
        return slice(self.sink + self.folded, self.first_chunk)

    @property
    def fold_source(self) -> slice:
        """Slots of the full window that fold into `folded_slots` (the old fold included)."""
        return slice(self.sink, self.sink + self.folded * self.ratio)

    @property
    def recent_source(self) -> slice:
        """Slots of the full window that move to `recent_slots`."""
        return slice(self.window - self.recent, self.window)

    def chunk_size(self, chunk: int) -> int:
        """Latent frames of chunk number `chunk`."""
        return self.first_chunk if chunk == 0 else self.chunk

    def current(self, chunk: int) -> slice:
        """Slots (and RoPE positions) of chunk number `chunk` itself inside the window."""
        return slice(0, self.first_chunk) if chunk == 0 else slice(self.first_chunk, self.window)


def frames_of(seconds: float, fps: float) -> int:
    """Return the number of video frames that `seconds` of sound need at `fps`."""
    return round(seconds * fps)


@dataclass(frozen=True)
class ChunkSpan:
    """One chunk: latent frames and the video frames that they cover, both half open.

    `frame_stop` is what the chunk *makes*; the last chunk may make more than is wanted
    (`ChunkPlan.wanted` says how many of a span's frames to keep).
    """

    index: int
    latent_start: int
    latent_stop: int
    frame_start: int
    frame_stop: int

    @property
    def latents(self) -> int:
        """Latent frames of this chunk."""
        return self.latent_stop - self.latent_start

    @property
    def frames(self) -> int:
        """Video frames that this chunk makes."""
        return self.frame_stop - self.frame_start


@dataclass(frozen=True)
class ChunkPlan:
    """The chunks that make `frames` video frames: the fewest that cover them all."""

    policy: MemoryPolicy
    frames: int
    temporal_stride: int = TEMPORAL_STRIDE

    def __post_init__(self) -> None:
        """Refuse a plan without frames."""
        if self.frames < 1 or self.temporal_stride < 1:
            raise UsageError(
                f"a video of {self.frames} frames cannot be planned",
                "the sound must last at least one video frame",
            )

    @classmethod
    def of_chunks(cls, policy: MemoryPolicy, chunks: int) -> "ChunkPlan":
        """Return the plan that uses `chunks` whole chunks."""
        return cls(policy, cls(policy, 1).span(chunks - 1).frame_stop)

    @property
    def chunks(self) -> int:
        """Number of chunks: one, and as many more as the frames after it need."""
        rest = self.frames - self.first_frame_of(self.policy.first_chunk)
        per_chunk = self.temporal_stride * self.policy.chunk
        return 1 + max(0, -(-rest // per_chunk))

    @property
    def latents(self) -> int:
        """Latent frames of all chunks together."""
        return self.span(self.chunks - 1).latent_stop

    def span(self, chunk: int) -> ChunkSpan:
        """Return where chunk number `chunk` lies (it may lie past the end of the plan)."""
        policy = self.policy
        start = 0 if chunk == 0 else policy.first_chunk + (chunk - 1) * policy.chunk
        stop = start + policy.chunk_size(chunk)
        return ChunkSpan(chunk, start, stop, self.first_frame_of(start), self.first_frame_of(stop))

    def spans(self, start: int = 0) -> Iterator[ChunkSpan]:
        """Yield every chunk from number `start` on."""
        return (self.span(chunk) for chunk in range(start, self.chunks))

    def wanted(self, span: ChunkSpan) -> int:
        """Return how many of a chunk's frames belong to the video; the rest is cut."""
        return max(0, min(span.frame_stop, self.frames) - span.frame_start)

    def first_frame_of(self, latent: int) -> int:
        """Return the first video frame that latent frame `latent` covers."""
        return 0 if latent == 0 else 1 + (latent - 1) * self.temporal_stride

    def latent_of(self, frame: int) -> int:
        """Return the latent frame that covers video frame `frame`."""
        return -(-frame // self.temporal_stride)

    def chunk_of(self, frame: int) -> int:
        """Return the chunk that makes video frame `frame`."""
        return max(
            0, -(-(self.latent_of(frame) + 1 - self.policy.first_chunk) // self.policy.chunk)
        )
