from __future__ import annotations

from io import BytesIO

import pytest
from PIL import Image

from deeplab_caffe.errors import NetError
from deeplab_caffe.net.draw import Layout
from deeplab_caffe.pycaffe.picture import graph_picture

ROWS = [("a", "first", "", "#ff0000"), ("b", "second\n\x1b", "more", "#00ff00")]
EDGES = [("a", "b", "7")]


def test_boxes_stand_where_the_layout_says() -> None:
    layout = Layout(["a", "b"], EDGES, "LR", 100)
    image = Image.open(BytesIO(graph_picture(ROWS, EDGES, layout, "png")))
    assert image.size == layout.size == (280, 78)
    assert layout.corners == {"a": (10, 10), "b": (140, 10)}
    assert image.getpixel((105, 40)) == (255, 0, 0)
    assert image.getpixel((235, 40)) == (0, 255, 0)
    # The arrow between them; nothing beside it.
    assert image.getpixel((120, 28)) == (0x66, 0x66, 0x66)
    assert image.getpixel((120, 60)) == (255, 255, 255)


def test_refuses() -> None:
    layout = Layout(["a", "b"], EDGES)
    with pytest.raises(NetError, match="no format 'docx' without Graphviz's program dot"):
        graph_picture(ROWS, EDGES, layout, "docx")
    layout.size = (100_000, 100_000)
    with pytest.raises(NetError, match="100000 x 100000 pixels is too large"):
        graph_picture(ROWS, EDGES, layout, "png")
    layout.size = (70_000, 50)
    with pytest.raises(NetError, match="Pillow cannot write the picture as 'jpg'"):
        graph_picture(ROWS, EDGES, layout, "jpg")
