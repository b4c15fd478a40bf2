"""The spans of a script arranged for drawing: in lanes by kind, none over another."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from liveact_cli.script.resolved import ResolvedScript, Span
from liveact_cli.script.words import Kind

MAX_LANES: Final = 4
"""Lanes of one kind; what does not fit shares the last."""


@dataclass(frozen=True)
class Lane:
    """One row of a picture: spans of one kind, in order of their beginning."""

    kind: Kind
    spans: tuple[Span, ...]


def arrange(script: ResolvedScript, start: int, stop: int) -> list[Lane]:
    """Return the lanes of what is seen on frames `start..stop`; emotions first, prompts last."""
    lanes = []
    for kind in Kind:
        spans = [s for s in script.spans if s.kind is kind and s.start < stop and s.stop > start]
        lanes += [Lane(kind, tuple(row)) for row in _rows(spans)]
    return lanes


def _rows(spans: Iterable[Span]) -> list[list[Span]]:
    """Put each span into the first row that is free: bases and presets above, orders below."""
    rows: list[list[Span]] = []
    for span in sorted(spans, key=lambda s: (s.layer if s.layer < 2 else 2, s.start, s.order)):
        for row in rows:
            if row[-1].stop <= span.start:
                row.append(span)
                break
        else:
            if len(rows) < MAX_LANES:
                rows.append([span])
            else:
                rows[-1].append(span)
    return rows


def tick_seconds(seconds: float, most: int) -> float:
    """Return the distance of time marks so that at most `most` of them fit into `seconds`."""
    steps = (0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600)
    return next((step for step in steps if seconds / step <= most), seconds / most)
