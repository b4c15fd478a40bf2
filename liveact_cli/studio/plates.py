"""What Pillow draws for an episode: backgrounds, rounded panels, names, cards. Still pictures."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from PIL import Image, ImageChops, ImageColor, ImageDraw, ImageFilter, ImageFont, ImageOps

from liveact_cli.core.errors import MediaError, UsageError
from liveact_cli.core.units import Size
from liveact_cli.media.image import load_image
from liveact_cli.media.label import label_margin, label_patch
from liveact_cli.studio.cast import Card
from liveact_cli.studio.layout import Cell

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
SUPERSAMPLING: Final = 4
RADIUS: Final = 0.035
"""Of a panel's shorter side: how round its corners are."""
NAME, SMALL_NAME = 0.05, 0.085
"""Of a panel's height: the letters of a name (in small panels), within `NAME_PIXELS`."""
NAME_PIXELS: Final = (11, 40)
_PLATE: Final = (14, 17, 23, 200)
_ACCENT: Final = (240, 178, 62, 255)
_WHITE: Final = (255, 255, 255, 255)
_SOFT: Final = (214, 219, 228, 255)
_SCRIM: Final = (10, 12, 17, 208)
_LIFT: Final = 0.22
_SHADOW: Final = 0.45


def background_picture(background: str | Path, size: Size) -> Image.Image:
    """Return the frame behind the panels: a picture that fills it, or a colour, lit from above."""
    if isinstance(background, Path):
        return ImageOps.fit(Image.fromarray(load_image(background)), size, Image.Resampling.LANCZOS)
    color = ImageColor.getrgb(background)[:3]
    light = tuple(round(value + (255 - value) * _LIFT * 0.5) for value in color)
    dark = tuple(round(value * (1 - _LIFT)) for value in color)
    slope = Image.linear_gradient("L").resize(size, Image.Resampling.BICUBIC)
    return Image.composite(Image.new("RGB", size, dark), Image.new("RGB", size, light), slope)


def with_shadows(picture: Image.Image, cells: Sequence[Cell]) -> Image.Image:
    """Return the background with a soft shadow where panels will stand."""
    depth = max(2, min(picture.size) // 60)
    shade = Image.new("L", picture.size, 0)
    for cell in cells:
        if not cell.small:
            shade.paste(corners(cell), (cell.x, cell.y + depth // 2))
    shade = shade.filter(ImageFilter.GaussianBlur(depth)).point(lambda v: round(v * _SHADOW))
    return Image.composite(Image.new("RGB", picture.size, (0, 0, 0)), picture, shade)


def corners(cell: Cell) -> Image.Image:
    """Return a panel's shape, `L`: white inside, with round corners."""
    size = (cell.width * SUPERSAMPLING, cell.height * SUPERSAMPLING)
    mask = Image.new("L", size, 0)
    radius = RADIUS * min(size) * (1.6 if cell.small else 1.0)
    ImageDraw.Draw(mask).rounded_rectangle((0, 0, size[0] - 1, size[1] - 1), radius, fill=255)
    return mask.resize((cell.width, cell.height), Image.Resampling.LANCZOS)


def front_plate(
    cells: Sequence[Cell],
    names: Sequence[str] | None,
    size: Size,
    font: Path | None,
    *,
    label: bool,
    speaking: int | None = None,
) -> Image.Image | None:
    """Return what lies over the people, `RGBA`: names, rims, the label; None for nothing.

    `names` are those of the whole cast. Where `speaking` names a person, a line runs around him.
    """
    plate = Image.new("RGBA", size, (0, 0, 0, 0))
    for cell in cells:
        if cell.small or cell.person == speaking:
            _rim(plate, cell, _ACCENT if cell.person == speaking else _WHITE)
    if names is not None:
        for cell in cells:
            _name(plate, cell, names[cell.person], font)
    if label:
        patch = Image.fromarray(label_patch(*size))
        margin = label_margin(*size)
        place = (size.width - margin - patch.width, size.height - margin - patch.height)
        plate.alpha_composite(patch, place)
    return plate if plate.getbbox() else None


def card_picture(card: Card, size: Size, font: Path | None) -> Image.Image:
    """Return a title over a dark veil, `RGBA`."""
    picture = Image.new("RGBA", size, _SCRIM)
    draw = ImageDraw.Draw(picture)
    width = 0.82 * size.width
    title, title_font = _fitted(card.title, font, round(0.1 * min(size)), width, 3)
    text, text_font = _fitted(card.text, font, round(0.048 * min(size)), width, 4)
    gap = round(0.04 * min(size))
    boxes = [draw.multiline_textbbox((0, 0), part, font=with_font, align="center", spacing=gap // 2)
             for part, with_font in ((title, title_font), (text, text_font))]  # fmt: skip
    heights = [bottom - top for _, top, _, bottom in boxes]
    whole = heights[0] + (2 * gap + heights[1] if text else 0)
    y = (size.height - whole) / 2
    for part, with_font, box, color in (
        (title, title_font, boxes[0], _WHITE),
        (text, text_font, boxes[1], _SOFT),
    ):
        if not part:
            continue
        x = (size.width - (box[2] - box[0])) / 2 - box[0]
        place = (x, y - box[1])
        draw.multiline_text(
            place, part, fill=color, font=with_font, align="center", spacing=gap // 2
        )
        y += box[3] - box[1] + gap
        if part is title and text:
            middle, reach = size.width / 2, 0.06 * size.width
            thick = max(1, size.height // 240)
            draw.rectangle((middle - reach, y - thick, middle + reach, y), fill=_ACCENT)
            y += gap
    return picture


def check_signs(texts: Sequence[str], font: Path | None) -> None:
    """Raise where the font lacks a sign of the texts, or is not one."""
    loaded = _font(font, 32)
    if not isinstance(loaded, ImageFont.FreeTypeFont):
        return
    nothing = loaded.getmask("\U0010ffff").getbbox(), bytes(loaded.getmask("\U0010ffff"))
    for text in texts:
        for sign in text:
            mask = loaded.getmask(sign)
            if not sign.isspace() and (mask.getbbox(), bytes(mask)) == nothing:
                name = "the font of the captions" if font is None else font.name
                raise UsageError(
                    f"{name} has no sign for {sign!r} (in {text!r})",
                    "--font FILE.ttf (or font: in the episode) names one that has",
                )


def _font(path: Path | None, pixels: int) -> Font:
    if path is None:
        return ImageFont.load_default(pixels)
    try:
        return ImageFont.truetype(path, pixels)
    except OSError as error:
        raise MediaError(f"{path} is not a font ({error})", "give a .ttf or .otf file") from error


def _name(plate: Image.Image, cell: Cell, name: str, font: Path | None) -> None:
    """Write a name in a panel's lower left corner, on a plate of its own."""
    share = SMALL_NAME if cell.small else NAME
    pixels = round(min(max(share * cell.height, NAME_PIXELS[0]), NAME_PIXELS[1]))
    margin = max(4, round(0.035 * min(cell.width, cell.height)))
    letters = _font(font, pixels)
    pad = max(3, round(0.5 * pixels))
    bar = max(2, round(0.16 * pixels))
    room = cell.width - 2 * margin - 2 * pad - bar
    while letters.getlength(name) > room and len(name) > 1:
        name = name.removesuffix("…")[:-1].rstrip() + "…"
    width = round(letters.getlength(name)) + 2 * pad + bar
    height = round(pixels * 1.75)
    box = Image.new("RGBA", (width, height), (0, 0, 0, 0))
    draw = ImageDraw.Draw(box)
    draw.rectangle((0, 0, width, height), fill=_PLATE)
    draw.rectangle((0, 0, bar - 1, height), fill=_ACCENT)
    # On the line that letters stand on, so that names with and without tails stand alike.
    draw.text((bar + pad, 0.5 * height + 0.36 * pixels), name, _WHITE, letters, anchor="ls")
    plate.alpha_composite(box, (cell.x + margin, cell.y + cell.height - margin - height))


def _rim(plate: Image.Image, cell: Cell, color: tuple[int, int, int, int]) -> None:
    """Draw a line along the inside of a panel's edge."""
    thick = max(2, round(min(plate.size) / 200))
    outer = corners(cell)
    inner = Image.new("L", outer.size, 0)
    small = outer.resize((cell.width - 2 * thick, cell.height - 2 * thick))
    inner.paste(small, (thick, thick))
    line = ImageChops.subtract(outer, inner)
    plate.paste(Image.new("RGBA", outer.size, color), (cell.x, cell.y), line)


def _fitted(
    text: str, font: Path | None, pixels: int, width: float, lines: int
) -> tuple[str, Font]:
    """Return text broken into lines of at most `width`, with the largest font that allows it."""
    while True:
        letters = _font(font, pixels)
        rows: list[str] = []
        for word in text.split():
            if rows and letters.getlength(f"{rows[-1]} {word}") <= width:
                rows[-1] += f" {word}"
            else:
                rows.append(word)
        fits = len(rows) <= lines and all(letters.getlength(row) <= width for row in rows)
        if fits or pixels <= 9:
            return "\n".join(rows), letters
        pixels -= 1
