"""Timelines: in the terminal and as a picture."""

import numpy as np
import pytest

from liveact_cli.core.geometry import ChunkPlan, MemoryPolicy
from liveact_cli.script.lanes import arrange, tick_seconds
from liveact_cli.script.picture import FILLS, WIDTH, draw_picture
from liveact_cli.script.sound import Sound
from liveact_cli.script.timeline import draw_timeline, event_lines
from liveact_cli.script.words import Kind

SCRIPT = """
emotion: warm
timeline:
  - {at: 5, for: 5, action: nod}
  - {at: 7, for: 5, action: smile}
  - {at: 12, prompt: He sings.}
  - {at: 18, for: 0.1s, action: 眨眼}
"""
SOUND = Sound(np.concatenate([np.full(500, -20), np.full(500, -80)]).astype(np.float32), 20.0)


def test_overlapping_events_are_drawn_in_lanes_of_their_own(place) -> None:
    script = place(SCRIPT).script
    lanes = [(lane.kind, [s.name for s in lane.spans]) for lane in arrange(script, 0, 500)]
    assert lanes == [
        (Kind.EMOTION, ["warm"]),
        (Kind.ACTION, ["nod", "wink"]),
        (Kind.ACTION, ["smile"]),
        (Kind.PROMPT, ["He sings."]),
    ]


@pytest.mark.parametrize("width", [20, 80, 200])
def test_lines_fit_the_terminal(place, width: int) -> None:
    plan = ChunkPlan(MemoryPolicy(), 500)
    lines = list(draw_timeline(place(SCRIPT).script, plan, SOUND, width))
    assert all(line.cell_len <= max(40, width) for line in lines)
    plain = [line.plain for line in lines]
    assert plain[0].lstrip().startswith("|0:00")
    assert any("warm" in line for line in plain)
    assert plain[1].count("█") == pytest.approx((max(40, width) - 10) / 2, abs=1)


def test_every_event_has_a_line(place) -> None:
    lines = list(event_lines(place(SCRIPT).script))
    assert len(lines) == 5
    assert lines[1].split()[:5] == ["0:05", "-", "0:10", "action", "nod"]


def test_the_picture_shows_events_where_they_are(place) -> None:
    plan = ChunkPlan(MemoryPolicy(), 500)
    picture = draw_picture(place(SCRIPT).script, plan, SOUND)
    assert picture.width == WIDTH
    pixels = np.asarray(picture)
    for kind, share in ((Kind.EMOTION, 0.5), (Kind.ACTION, 7.5 / 20), (Kind.PROMPT, 19 / 20)):
        colour = [int(FILLS[kind][0][i : i + 2], 16) for i in (1, 3, 5)]
        column = pixels[:, 90 + int(share * (WIDTH - 104))]
        assert (column == colour).all(axis=1).any(), kind


def test_ticks_are_round() -> None:
    assert [tick_seconds(s, 10) for s in (1, 14, 100, 7200, 1e6)] == [0.2, 2, 10, 1200, 1e5]
