"""Where everybody stands in the frame: panels with one shape, a gap around them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from liveact_cli.core.units import Size
from liveact_cli.studio.cast import Layout
from liveact_cli.studio.shots import View

GAP: Final = 0.03
"""Of the frame's shorter side, around and between panels."""
NARROWEST, WIDEST = 3 / 4, 4 / 3
"""Shapes (width / height) that a panel may have: beyond these a portrait is cut too much."""
SMALLEST: Final = 64
"""Pixels of the sides of a person's video at least, also of one who is never seen."""
CENTRE: Final = (0.5, 0.45)
FACE_HEIGHT: Final = 0.45
"""Where the middle of a face lies in a panel, from the top."""
CORNER: Final = 0.3
"""Height of the small pictures, of the frame's height."""


@dataclass(frozen=True, slots=True)
class Cell:
    """Where a person is shown: left, top, width, height in pixels, all even."""

    person: int
    x: int
    y: int
    width: int
    height: int
    small: bool = False


@dataclass(frozen=True, slots=True)
class Cut:
    """The part of a person's own video that a cell shows: left, top, width, height."""

    x: int
    y: int
    width: int
    height: int


def cells(view: View, size: Size, layout: Layout, shapes: Sequence[float] = ()) -> tuple[Cell, ...]:
    """Return the panels of a view, those in front first.

    `shapes` are the widest panels (width / height) that suit each of the cast.
    """
    widest = min((shapes[person] for person in view.front if shapes), default=WIDEST)
    gap = max(2, _even(GAP * min(size)))
    count = len(view.front)
    columns = range(1, count + 1)
    if layout is not Layout.GRID:
        columns = range(count, count + 1) if size.width >= size.height else range(1, 2)
    best = max(columns, key=lambda n: _area(_panel(count, n, size, gap, widest)))
    panel = _panel(count, best, size, gap, widest)
    front = _arranged(view.front, best, panel, size, gap)
    return (*front, *_in_corner(view.small, size, gap))


def own_size(panels: Iterable[Cell], step: int = 2) -> Size:
    """Return the size at which a person is rendered, so that none of his panels enlarges him.

    Its sides are multiples of `step`.
    """
    own = list(panels)
    sides = [max((cell.width for cell in own), default=0), max((c.height for c in own), default=0)]
    return Size(*(-(-max(side, SMALLEST) // step) * step for side in sides))


def cut_for(cell: Cell, own: Size, face: tuple[float, float] = CENTRE) -> Cut:
    """Return the largest part of a person's video with the cell's shape, around the face.

    `face` is where its middle lies, as shares of the video's width and height.
    """
    zoom = max(cell.width / own.width, cell.height / own.height)
    width = min(own.width, _even(cell.width / zoom))
    height = min(own.height, _even(cell.height / zoom))
    left = _even(min(max(face[0] * own.width - width / 2, 0), own.width - width))
    top = _even(min(max(face[1] * own.height - FACE_HEIGHT * height, 0), own.height - height))
    return Cut(left, top, width, height)


def _panel(count: int, columns: int, size: Size, gap: int, widest: float) -> Size:
    rows = -(-count // columns)
    width = (size.width - gap * (columns + 1)) / columns
    height = (size.height - gap * (rows + 1)) / rows
    width = min(width, height * widest)
    return Size(_even(width), _even(min(height, width / NARROWEST)))


def _area(panel: Size) -> int:
    return panel.width * panel.height


def _arranged(
    people: tuple[int, ...], columns: int, panel: Size, size: Size, gap: int
) -> list[Cell]:
    """Return panels row by row, every row centred."""
    rows = [people[i : i + columns] for i in range(0, len(people), columns)]
    top = (size.height - len(rows) * panel.height - (len(rows) - 1) * gap) / 2
    found = []
    for i, row in enumerate(rows):
        left = (size.width - len(row) * panel.width - (len(row) - 1) * gap) / 2
        for j, person in enumerate(row):
            x, y = left + j * (panel.width + gap), top + i * (panel.height + gap)
            found.append(Cell(person, _even(x), _even(y), *panel))
    return found


def _in_corner(people: tuple[int, ...], size: Size, gap: int) -> list[Cell]:
    """Return small panels from the lower right corner to the left."""
    side = min(CORNER * size.height, (size.width - gap) / max(1, len(people)) - gap)
    width = height = _even(side)
    y = size.height - gap - height
    found = []
    for i, person in enumerate(reversed(people)):
        found.append(
            Cell(person, size.width - (i + 1) * (gap + width), y, width, height, small=True)
        )
    return found[::-1]


def _even(value: float) -> int:
    return int(value) // 2 * 2
