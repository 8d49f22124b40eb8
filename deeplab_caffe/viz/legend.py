"""Legends (names beside patches of colour), separate or attached to a picture."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from deeplab_caffe.data.areas import class_areas, percent
from deeplab_caffe.data.classes import class_name
from deeplab_caffe.errors import shortened

# Number of rows of text in the height of a square with the picture's area, unless letters would be below 12 pixels.
_ROWS = 26
_SMALLEST_FONT = 12
# The least width, in letters, of a legend below a narrow picture.
_LETTERS = 14
_LONGEST_NAME = 120


@dataclass(frozen=True)
class _Entry:
    """A patch's colour, the name beside it, and a suffix that is never shortened."""

    colour: tuple[int, ...]
    name: str
    share: str = ""


def legend(
    names: Sequence[str],
    colormap: np.ndarray,
    *,
    width: int | None = None,
    font_size: int = 16,
    present: np.ndarray | None = None,
    shares: bool = False,
    ignore_label: int | None = 255,
    column: bool = False,
) -> np.ndarray:
    """Draw names beside patches of their colours, in rows or one below the other.

    Pillow's font has only ASCII letters: other letters lose their accents, or become ``?``; a name without any letter
    or digit that can be drawn becomes, for example, ``class 7``.

    Args:
        names: of labels 0, 1, 2, ...
        colormap: uint8 RGB ``(K, 3)``, at least as long as ``names``.
        width: width of the picture in pixels; entries continue in a new row if a row is full, and long names are
            shortened in the middle. None: one row, as wide as needed.
        font_size: height of the letters in pixels.
        present: a label map; only the labels that occur in it are drawn. None draws them all.
        shares: write after each name the class's share of the pixels of ``present``, the largest class first; labels
            without a name are drawn too.
        ignore_label: the label whose pixels are left out of the shares; None for no such label.
        column: start a new row for each name.

    Returns:
        uint8 RGB ``(height, width, 3)``, white behind black letters.

    Raises:
        ValueError: there are fewer colours than names, or ``shares`` without ``present``.
    """
    if len(names) > len(colormap):
        raise ValueError(f"{len(names)} names, but {len(colormap)} colours")
    if shares:
        if present is None:
            raise ValueError("shares are those of a label map: give it as present")
        entries = _with_shares(present, names, colormap, ignore_label)
    else:
        found = range(len(names)) if present is None else np.unique(present).tolist()
        entries = [_entry(names, colormap, label) for label in found if 0 <= label < len(names)]
    return _drawn(entries, width, font_size, column)


def annotated(
    picture: np.ndarray,
    labels: np.ndarray,
    names: Sequence[str],
    colormap: np.ndarray,
    *,
    ignore_label: int | None = 255,
) -> np.ndarray:
    """Add a legend with the classes' shares below a picture, or beside it if it is taller than wide.

    Args:
        picture: uint8 RGB ``(H, W, 3)``, for example an overlay.
        labels: integers ``(H, W)`` from 0 to 255: the legend lists their classes, the largest first.
        names: names of labels 0, 1, 2, ...; other labels are called, for example, ``class 7``.
        colormap: uint8 RGB ``(K, 3)``; labels from K on are black.
        ignore_label: the label whose pixels are left out; None for no such label.

    Returns:
        uint8 RGB ``(H or more, W or more, 3)``: the picture in the top left corner, white around it.
    """
    height, width = picture.shape[:2]
    size = max(_SMALLEST_FONT, round((height * width) ** 0.5 / _ROWS))
    entries = _with_shares(labels, names, colormap, ignore_label)
    if not entries:
        return picture.copy()
    if height > width:
        beside = _drawn(entries, None, size, column=True)
        if len(beside) <= height and beside.shape[1] <= height:
            canvas = np.full((height, width + beside.shape[1], 3), 255, np.uint8)
            canvas[:, :width] = picture
            canvas[: len(beside), width:] = beside
            return canvas
    below = _drawn(entries, max(width, _LETTERS * size), size, column=False)
    canvas = np.full((height + len(below), below.shape[1], 3), 255, np.uint8)
    canvas[:height, :width] = picture
    canvas[height:] = below
    return canvas


def _with_shares(
    labels: np.ndarray, names: Sequence[str], colormap: np.ndarray, ignore_label: int | None
) -> list[_Entry]:
    """Return an entry for each class of a label map, the largest first."""
    areas = class_areas(labels, names, ignore_label=ignore_label)
    return [_entry(names, colormap, area.label, percent(area.share)) for area in areas]


def _entry(names: Sequence[str], colormap: np.ndarray, label: int, share: str = "") -> _Entry:
    colour = tuple(colormap[label].tolist()) if label < len(colormap) else (0, 0, 0)
    name = _ascii(class_name(names, label)) or class_name((), label)
    return _Entry(colour, shortened(name, _LONGEST_NAME), share)


def _ascii(text: str) -> str:
    """Return a text in the letters of Pillow's font, or an empty text if no letter or digit is left."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    drawn = "".join(c if c.isascii() and c.isprintable() else "?" for c in plain)
    return drawn if any(c.isalnum() for c in drawn) else ""


def _drawn(entries: Sequence[_Entry], width: int | None, font_size: int, column: bool) -> np.ndarray:
    font = ImageFont.load_default(font_size)
    gap, patch = font_size // 2, font_size
    room = None if width is None else width - patch - 3 * gap
    placed, x, y, right = [], gap, gap, 0
    for entry in entries:
        text = _fitting(entry, font, room)
        extent = patch + gap + round(font.getlength(text))
        if x > gap and (column or (width is not None and x + extent + gap > width)):
            x, y = gap, y + patch + gap
        placed.append((entry.colour, text, x, y))
        x += extent + 2 * gap
        right = max(right, x - gap)
    picture = Image.new("RGB", (width or max(right, 1), y + patch + gap), "white")
    draw = ImageDraw.Draw(picture)
    for colour, text, x, y in placed:
        draw.rectangle((x, y, x + patch - 1, y + patch - 1), fill=colour, outline="black")
        draw.text((x + patch + gap, y + patch // 2), text, fill="black", font=font, anchor="lm")
    return np.array(picture)


def _fitting(entry: _Entry, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, room: int | None) -> str:
    """Return an entry's text; if wider than ``room`` pixels, its name is shortened, to at least four characters."""
    for most in range(len(entry.name), 3, -1):
        text = f"{shortened(entry.name, most)} {entry.share}".rstrip()
        if room is None or font.getlength(text) <= room:
            return text
    return f"{shortened(entry.name, 4)} {entry.share}".rstrip()
