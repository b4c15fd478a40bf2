"""The cutting plan is calm whatever is said; panels lie inside the frame; listeners are alive."""

from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveact_cli.core.units import Size
from liveact_cli.studio.cast import Cuts, Layout
from liveact_cli.studio.layout import cells, cut_for, own_size
from liveact_cli.studio.listening import APART, reactions
from liveact_cli.studio.shots import Span, View, plan_shots
from liveact_cli.studio.turns import Turn, tidy

FPS = Fraction(25)
TALK = st.lists(
    st.builds(
        lambda start, length, person: Turn(start, start + length, person),
        st.floats(0, 120),
        st.floats(0.1, 25),
        st.integers(0, 2),
    ),
    max_size=60,
).map(lambda turns: tidy(turns, 120.0))
CUTTING = st.sampled_from([Layout.SPEAKER, Layout.PICTURE_IN_PICTURE])


def planned(turns, layout=Layout.SPEAKER, seconds=120.0, people=3, cuts=None, start=0.0):
    cuts = cuts or Cuts()
    part = Span(start, start + seconds)
    return plan_shots(turns, people, part, round(seconds * FPS), FPS, layout, cuts, 1)


@given(TALK, CUTTING, st.floats(0.2, 100), st.floats(0.5, 6))
def test_shots_are_never_frantic(turns, layout, seconds, shortest) -> None:
    shots = planned(turns, layout, seconds, cuts=Cuts(shortest))
    frames = round(seconds * FPS)
    assert shots[0].start == 0
    assert shots[-1].stop == frames
    assert all(a.stop == b.start and a.view != b.view for a, b in pairwise(shots))
    if len(shots) > 1:
        assert min(shot.stop - shot.start for shot in shots) >= round(shortest * FPS)
    for shot in shots:
        assert shot.view.front
        if layout is Layout.PICTURE_IN_PICTURE:
            assert sorted(shot.view.front + shot.view.small) == [0, 1, 2]


@given(TALK, st.floats(0.5, 120))
def test_still_layouts_never_cut(turns, seconds) -> None:
    for layout in (Layout.GRID, Layout.SIDE_BY_SIDE):
        shots = planned(turns, layout, seconds)
        assert {shot.view.front for shot in shots} == {(0, 1, 2)}
        assert (shots[0].start, shots[-1].stop) == (0, round(seconds * FPS))
        assert all(a.stop == b.start and a.stop - a.start >= 25 for a, b in pairwise(shots))


def test_the_line_follows_who_speaks() -> None:
    turns = [Turn(0, 10, 0), Turn(4, 4.5, 2), Turn(10, 30, 1)]
    shots = planned(turns, Layout.GRID, 30.0)
    assert [(shot.start / 25, shot.view.speaking) for shot in shots] == [(0, 0), (10, 1)]


PLAIN = Cuts(reactions=False)


def fronts(turns, **options) -> list[tuple[int, tuple[int, ...]]]:
    shots = planned(turns, seconds=30.0, cuts=PLAIN, **options)
    return [(round(shot.start / 25), shot.view.front) for shot in shots]


def test_the_picture_follows_who_speaks() -> None:
    turns = [Turn(0, 10, 0), Turn(10, 20, 1), Turn(20, 30, 2)]
    everybody = (0, 1, 2)
    assert fronts(turns) == [(0, everybody), (3, (0,)), (10, (1,)), (20, (2,)), (27, everybody)]
    assert fronts(turns, layout=Layout.PICTURE_IN_PICTURE) == [(0, (0,)), (10, (1,)), (20, (2,))]


def test_interjections_do_not_take_the_picture_and_overlaps_show_both() -> None:
    mm = [Turn(t, t + 0.6, 1) for t in (5, 9, 13)]
    assert fronts(sorted([Turn(0, 30, 0), *mm]))[1:-1] == [(3, (0,))]
    both = [Turn(0, 20, 0), Turn(12, 30, 1)]
    assert fronts(both)[1:-1] == [(3, (0,)), (12, (0, 1)), (20, (1,))]


def test_quick_exchanges_wait_for_the_shortest_shot() -> None:
    turns = [Turn(t, t + 1.5, i % 2) for i, t in enumerate(range(0, 30, 2))]
    starts = [start for start, _ in fronts(turns)]
    assert all(b - a >= 2 for a, b in pairwise(starts))


def test_long_speeches_get_a_look_at_a_listener() -> None:
    shots = planned([Turn(0, 120, 0)])
    looks = [shot for shot in shots if shot.view.front in ((1,), (2,))]
    assert 4 <= len(looks) <= 12
    assert all(2.5 <= (shot.stop - shot.start) / 25 <= 3 for shot in looks)


@pytest.mark.parametrize("size", [Size(1280, 720), Size(720, 1280), Size(640, 640), Size(192, 108)])
@pytest.mark.parametrize("layout", Layout)
@pytest.mark.parametrize("people", [1, 2, 3, 5, 6])
def test_panels_lie_in_the_frame_and_apart(size: Size, layout: Layout, people: int) -> None:
    everybody = tuple(range(people))
    corner = layout is Layout.PICTURE_IN_PICTURE
    views = [View((0,), everybody[1:]) if corner else View(everybody), View((people - 1,))]
    for view in views:
        found = cells(view, size, layout)
        assert [cell.person for cell in found] == [*view.front, *view.small]
        for cell in found:
            assert all(value % 2 == 0 for value in (cell.x, cell.y, cell.width, cell.height))
            assert 0 <= cell.x < cell.x + cell.width <= size.width
            assert 0 <= cell.y < cell.y + cell.height <= size.height
            everywhere = [c for v in views for c in cells(v, size, layout)]
            own = own_size(c for c in everywhere if c.person == cell.person)
            cut = cut_for(cell, own)
            assert cut.width >= min(cell.width, own.width) or cut.height >= cell.height
            assert cut.x + cut.width <= own.width
            assert cut.y + cut.height <= own.height
            assert cut.width / cut.height == pytest.approx(cell.width / cell.height, rel=0.12)
        for kind in (False, True):
            same = [cell for cell in found if cell.small is kind]
            for i, a in enumerate(same):
                for b in same[:i]:
                    apart = (
                        a.x >= b.x + b.width
                        or b.x >= a.x + a.width
                        or a.y >= b.y + b.height
                        or b.y >= a.y + a.height
                    )
                    assert apart


@given(TALK, st.integers(0, 9))
def test_listeners_react_sparsely_and_never_in_step(turns, seed) -> None:
    found = reactions(turns, 3, 120.0, seed)
    assert found == reactions(turns, 3, 120.0, seed)
    for reaction in found:
        own = (turn for turn in turns if turn.person == reaction.person)
        assert not any(t.start < reaction.stop and reaction.start < t.stop for t in own)
    nods = [reaction for reaction in found if reaction.action == "nod"]
    for a, b in pairwise(nods):
        assert a.person == b.person or b.start - a.stop >= APART
    for person in range(3):
        own = [reaction for reaction in found if reaction.person == person]
        assert all(b.start - a.stop >= 0.8 for a, b in pairwise(own))


def test_everybody_who_listens_is_alive() -> None:
    turns = [Turn(0, 60, 0), Turn(61, 119, 1)]
    found = reactions(turns, 3, 120.0, 5, laughs=[(30.0, 32.0)])
    counts = [sum(reaction.person == person for reaction in found) for person in range(3)]
    assert counts[2] > 8
    assert min(counts) >= 4
    glances = [r.action for r in found if r.person == 1 and r.action.startswith("look")]
    assert set(glances) <= {"look left"}
    assert found != reactions(turns, 3, 120.0, 6)
