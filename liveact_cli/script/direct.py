"""The direction of one render: a script placed on its recording, as a renderer asks for it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from liveact_cli.core.geometry import ChunkPlan
from liveact_cli.script import lint
from liveact_cli.script.performance import (
    NO_ORDERS,
    Orders,
    Performance,
    PresetFinder,
    load_performance,
)
from liveact_cli.script.problems import Place, Problem, ScriptError, Severity
from liveact_cli.script.resolve import Recording, Resolver
from liveact_cli.script.resolved import Idle, ResolvedScript
from liveact_cli.script.sound import listen

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Granularity = Literal["chunk", "frame"]


@dataclass(frozen=True)
class Direction:
    """What the renderer needs: the script in frames, and what to tell the user."""

    script: ResolvedScript
    problems: tuple[Problem, ...] = ()

    def texts(self, plan: ChunkPlan, granularity: Granularity = "chunk") -> list[str]:
        """Return the prompt of every chunk or latent frame, for a model that reads text."""
        return self.script.texts(grid(plan, granularity))

    def model_notes(
        self, plan: ChunkPlan, *, reads_text: bool, granularity: Granularity = "chunk"
    ) -> list[Problem]:
        """Return what a model cannot do as written: words it cannot show, events it must move."""
        if not reads_text:
            return list(lint.shown_problems(self.script))
        unit = "chunk" if granularity == "chunk" else "latent frame"
        return list(lint.moved_problems(self.script, grid(plan, granularity), unit))


def grid(plan: ChunkPlan, granularity: Granularity) -> list[int]:
    """Return the video frames at which chunks or latent frames begin, and the end of the video."""
    if granularity == "chunk":
        starts = [span.frame_start for span in plan.spans()]
    else:
        starts = [plan.first_frame_of(latent) for latent in range(plan.latents)]
    return [start for start in starts if start < plan.frames] + [plan.frames]


def load_direction(
    recording: Recording,
    find_preset: PresetFinder,
    *,
    script: str | Path | None = None,
    orders: Orders = NO_ORDERS,
    blocks: "Callable[[], Iterable[NDArray[np.float32]]] | None" = None,
    reads_text: bool = False,
) -> Direction:
    """Read the script and the command line's orders, and place them on the recording.

    `find_preset` turns a preset's name into its file. `blocks` opens the sound once more as 16 kHz
    mono blocks and is called only when an event waits for the sound. `reads_text`: the model reads
    text, so words outside the vocabulary are allowed. Raises `ScriptError` with everything that is
    wrong, `UsageError` for the orders.
    """
    performance = load_performance(script, find_preset, orders=orders, reads_text=reads_text)
    if performance.needs_sound and recording.sound is None and blocks is not None:
        recording = replace(recording, sound=listen(blocks()))
    return direct(performance, recording)


def direct(performance: Performance, recording: Recording) -> Direction:
    """Place a performance on a recording; raises `ScriptError` when that cannot be."""
    recording = replace(recording, transcript=performance.transcript)
    resolver = Resolver(recording, performance.vocabulary)
    base = performance.base_emotion()
    if base is not None:
        emotion, place, _ = base
        resolver.base(emotion, place)
    fades: dict[Place, float] = {}
    for number, placed in enumerate(performance.placed()):
        resolver.place(number, placed)
        if placed.event.fade is not None:
            fades[placed.place] = placed.event.fade.seconds
    errors = [p for p in resolver.problems if p.severity is Severity.ERROR]
    if errors:
        raise ScriptError(errors)
    preset = performance.preset.script if performance.preset is not None else None
    script = ResolvedScript(
        fps=recording.fps,
        frames=recording.frames,
        prompt=performance.base_prompt(),
        spans=tuple(resolver.finish()),
        idle=Idle() if preset is None else Idle(preset.energy.head, preset.energy.blink),
    )
    doubts = [*lint.overlap_problems(script), *lint.fade_problems(script, fades)]
    lined = (p if p.text else replace(p, text=performance.line(p.place)) for p in doubts)
    return Direction(script, (*performance.problems, *resolver.problems, *lined))
