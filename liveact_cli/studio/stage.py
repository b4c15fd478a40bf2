"""Composing: people's videos, stills and the cutting plan become one stream of frames.

The pixels are ffmpeg's work: one process for each shot decodes who is seen, cuts, scales and
overlays, and hands planar frames to us. It cannot outlive us, since we read its output.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import ffmpeg
import numpy as np

from liveact_cli.core.errors import LiveActError
from liveact_cli.core.units import Size
from liveact_cli.media.ffmpeg import FfmpegProcess
from liveact_cli.media.inputs import READ_OPTIONS, input_url
from liveact_cli.studio.cast import Card, Episode
from liveact_cli.studio.layout import Cell, cells, cut_for
from liveact_cli.studio.plates import (
    background_picture,
    card_picture,
    corners,
    front_plate,
    with_shadows,
)
from liveact_cli.studio.shots import Shot, View

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image

CARD_FADE: Final = 0.6
"""Seconds in which a card comes or goes."""
_THREADS: Final = 2


@dataclass(frozen=True, slots=True)
class Clip:
    """A person's own video: where it is, its size, and where in it the face is (shares).

    `shape` is the widest panel that suits it.
    """

    path: Path
    size: Size
    shape: float
    face: tuple[float, float]


@dataclass(frozen=True, slots=True)
class _Stills:
    """The pictures of one view: behind the people, over them, and the shapes of their panels."""

    cells: tuple[Cell, ...]
    background: Path
    plate: tuple[Path, int, int] | None
    masks: tuple[Path, ...]


class Stage:
    """Yields the frames of an episode; stills are drawn into `folder` when they are first needed.

    `cards` are drawn over the beginning and the end.
    """

    def __init__(
        self,
        episode: Episode,
        clips: Sequence[Clip],
        shots: Sequence[Shot],
        fps: Fraction,
        folder: Path,
        *,
        label: bool = False,
    ) -> None:
        self.frames = shots[-1].stop
        self._episode, self._clips, self._shots = episode, clips, shots
        self._fps, self._folder, self._label = fps, folder, label
        self._names = episode.names if episode.captions else None
        self._behind: Image.Image | None = None
        self._stills: dict[View, _Stills] = {}
        self._cards: dict[Card, Path] = {}

    def frames_from(self, first: int) -> "Iterator[NDArray[np.uint8]]":
        """Yield frames from number `first` on, planar 4:2:0 and flat; LiveActError if one lacks."""
        width, height = self._episode.size
        for shot in self._shots:
            start = max(first, shot.start)
            if start >= shot.stop:
                continue
            count = shot.stop - start
            pipeline = self._pipeline(shot, start)
            there = 0
            with FfmpegProcess(pipeline, "compose the video", collect=True) as process:
                for block in process.read_blocks(width * height * 3 // 2):
                    there += 1
                    yield np.frombuffer(block, np.uint8)
            if there != count:
                raise LiveActError(
                    f"ffmpeg composed {there} of {count} frames from frame {start} on",
                    "liveact doctor checks ffmpeg; --force renders everybody again",
                )

    def _pipeline(self, shot: Shot, start: int) -> Any:
        """Return the ffmpeg-python pipeline of a shot from frame `start` on."""
        count = shot.stop - start
        stills = self._stills_of(shot.view)
        picture = self._still(stills.background, "yuv420p", count)
        shapes = self._shapes(stills.masks, count)
        for cell, shape in zip(stills.cells, shapes, strict=True):
            person = ffmpeg.filter([self._person(cell, start, count), shape], "alphamerge")
            picture = self._over(picture, person, cell.x, cell.y)
        if stills.plate is not None:
            path, x, y = stills.plate
            picture = self._over(picture, self._still(path, "yuva420p", count), x, y)
        for card, kind, begin in self._cards_in(start, shot.stop):
            veil = self._still(self._card(card), "yuva420p", count, start)
            veil = veil.filter("fade", type=kind, start_time=begin, duration=CARD_FADE, alpha=1)
            picture = self._over(picture, veil.filter("setpts", "N"), 0, 0)
        return picture.filter("format", "yuv420p").output(
            "pipe:1", format="rawvideo", pix_fmt="yuv420p", vcodec="rawvideo", r=str(self._fps)
        )

    def _person(self, cell: Cell, start: int, count: int) -> Any:
        """Return a person's frames as they fill a cell."""
        clip = self._clips[cell.person]
        # Half a frame before the one that is wanted: seeking rounds, and never to a neighbour.
        seek = {"ss": f"{float((start - Fraction(1, 2)) / self._fps):.6f}"} if start else {}
        own = ffmpeg.input(input_url(clip.path), an=None, threads=_THREADS, **seek, **READ_OPTIONS)
        own = self._counted(own.video, count)
        cut = cut_for(cell, clip.size, clip.face)
        if (cut.width, cut.height) != clip.size:
            own = own.filter("crop", cut.width, cut.height, cut.x, cut.y)
        if (cut.width, cut.height) != (cell.width, cell.height):
            own = own.filter("scale", cell.width, cell.height, flags="bicubic+accurate_rnd")
        return own.filter("format", "yuva420p")

    def _still(self, path: Path, form: str, count: int, first: int = 0) -> Any:
        """Return a picture of ours as `count` frames, converted once."""
        rate = str(self._fps)
        one = ffmpeg.input(
            input_url(path), format="png_pipe", framerate=rate, protocol_whitelist="file"
        )
        if form != "gray":
            one = one.filter("scale", out_color_matrix="bt709", out_range="tv")
        one = one.filter("format", form).filter("loop", loop=-1, size=1)
        return self._counted(one, count, first)

    def _counted(self, stream: Any, count: int, first: int = 0) -> Any:
        """Return the first `count` frames with their numbers as time stamps, from `first` on."""
        stream = stream.filter("trim", end_frame=count).filter("settb", f"1/({self._fps})")
        stream = stream.filter("setpts", f"N+{first}" if first else "N")
        return stream.filter("setparams", range="tv", colorspace="bt709")

    def _shapes(self, masks: Sequence[Path], count: int) -> list[Any]:
        """Return a stream for each mask; those of one file are copies of one stream."""
        copies: dict[Path, Iterator[Any]] = {}
        for mask in dict.fromkeys(masks):
            number = masks.count(mask)
            split = self._still(mask, "gray", count).filter_multi_output("split", number)
            copies[mask] = iter([split.stream(i) for i in range(number)])
        return [next(copies[mask]) for mask in masks]

    def _over(self, below: Any, above: Any, x: int, y: int) -> Any:
        return ffmpeg.filter([below, above], "overlay", x=x, y=y, format="yuv420", shortest=1)

    def _stills_of(self, view: View) -> _Stills:
        if view not in self._stills:
            self._stills[view] = self._draw(view, len(self._stills))
        return self._stills[view]

    def _draw(self, view: View, number: int) -> _Stills:
        """Draw the pictures of a view."""
        episode = self._episode
        shapes = [clip.shape for clip in self._clips]
        panels = cells(view, episode.size, episode.layout, shapes)
        if self._behind is None:
            self._behind = background_picture(episode.background, episode.size)
        background = self._folder / f"behind-{number}.png"
        with_shadows(self._behind, panels).save(background, compress_level=1)
        masks = []
        for cell in panels:
            kind = "small" if cell.small else "large"
            mask = self._folder / f"shape-{kind}-{cell.width}x{cell.height}.png"
            if not mask.exists():
                corners(cell).save(mask)
            masks.append(mask)
        plate = front_plate(
            panels,
            self._names,
            episode.size,
            episode.font,
            label=self._label,
            speaking=view.speaking,
        )
        if plate is None:
            return _Stills(panels, background, None, tuple(masks))
        box = plate.getbbox() or (0, 0, 2, 2)
        left, top = box[0] // 2 * 2, box[1] // 2 * 2
        path = self._folder / f"plate-{number}.png"
        plate.crop((left, top, box[2] + box[2] % 2, box[3] + box[3] % 2)).save(path)
        return _Stills(panels, background, (path, left, top), tuple(masks))

    def _cards_in(self, start: int, stop: int) -> Iterator[tuple[Card, str, float]]:
        """Yield the cards over frames `start..stop`, how they fade, and when in seconds."""
        intro, outro = self._episode.intro, self._episode.outro
        if intro is not None and start < intro.seconds * self._fps:
            yield intro, "out", max(0.0, intro.seconds - CARD_FADE)
        if outro is not None:
            begin = float(self.frames / self._fps) - outro.seconds
            if stop > begin * self._fps:
                yield outro, "in", max(0.0, begin)

    def _card(self, card: Card) -> Path:
        if card not in self._cards:
            path = self._folder / f"card-{len(self._cards)}.png"
            card_picture(card, self._episode.size, self._episode.font).save(path)
            self._cards[card] = path
        return self._cards[card]
