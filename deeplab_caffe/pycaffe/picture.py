"""Drawing of boxes and arrows as PNG, JPEG, PDF and other formats of Pillow."""

from __future__ import annotations

import math
from collections.abc import Iterable
from io import BytesIO

from PIL import Image, ImageDraw, ImageFont

from deeplab_caffe.data import MAX_PIXELS
from deeplab_caffe.errors import NetError, printable
from deeplab_caffe.net.draw import Edge, Layout, Row

_ARROW = 8


def graph_picture(rows: Iterable[Row], edges: Iterable[Edge], layout: Layout, ext: str) -> bytes:
    """Return a picture of boxes and arrows, in the format of a file extension.

    Raises:
        NetError: Pillow cannot write the format, or the picture would be too large.
    """
    Image.init()
    kind = Image.registered_extensions().get(f".{ext.lower()}")
    if kind not in Image.SAVE:
        raise NetError(f"no format '{ext}' without Graphviz's program dot: take svg, png, pdf or dot")
    if math.prod(layout.size) > MAX_PIXELS:
        raise NetError(f"a picture of {layout.size[0]} x {layout.size[1]} pixels is too large: take svg or dot")
    image = Image.new("RGB", layout.size, "white")
    draw = ImageDraw.Draw(image)
    bold, plain = ImageFont.load_default(12), ImageFont.load_default(10)
    width, height = layout.box
    for source, target, label in edges:
        x1, y1, x2, y2 = layout.ends(source, target)
        draw.line((x1, y1, x2, y2), "#666666")
        angle = math.atan2(y2 - y1, x2 - x1)
        sides = [(x2 - _ARROW * math.cos(angle + turn), y2 - _ARROW * math.sin(angle + turn)) for turn in (-0.4, 0.4)]
        draw.polygon([(x2, y2), *sides], "#666666")
        draw.text(((x1 + x2) / 2, (y1 + y2) / 2), printable(label), "#444444", plain)
    for key, name, second, colour in rows:
        x, y = layout.corners[key]
        draw.rounded_rectangle((x, y, x + width, y + height), 5, colour, "#999999")
        draw.text((x + 8, y + (3 if second else 10)), printable(name), "black", bold)
        draw.text((x + 8, y + 20), printable(second), "#222222", plain)
    file = BytesIO()
    try:
        image.save(file, kind)
    except (OSError, ValueError) as error:
        raise NetError(f"Pillow cannot write the picture as '{ext}': {error}: take svg, png or dot") from error
    return file.getvalue()
