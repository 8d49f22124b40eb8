from __future__ import annotations

import pytest

from deeplab_caffe.net.draw import Layout, quoted

# a leads to b and c; c writes to b again.
EDGES = [("a", "b", ""), ("a", "c", ""), ("c", "b", "")]


@pytest.mark.parametrize(
    ("rankdir", "corners", "size", "arrow"),
    [
        ("TB", {"a": (10, 10), "b": (10, 126), "c": (10, 68)}, (150, 194), (60, 46, 60, 68)),
        ("BT", {"a": (10, 126), "b": (10, 10), "c": (10, 68)}, (150, 194), (60, 126, 60, 104)),
        ("LR", {"a": (10, 10), "b": (270, 10), "c": (140, 10)}, (410, 78), (110, 28, 140, 28)),
        ("RL", {"a": (270, 10), "b": (10, 10), "c": (140, 10)}, (410, 78), (270, 28, 240, 28)),
    ],
)
def test_layout(
    rankdir: str, corners: dict[str, tuple[int, int]], size: tuple[int, int], arrow: tuple[int, ...]
) -> None:
    layout = Layout(["a", "b", "c"], EDGES, rankdir, 100)
    assert layout.corners == corners
    assert layout.size == size
    assert layout.ends("a", "c") == arrow


def test_boxes_of_one_level_stand_beside_each_other() -> None:
    assert Layout(["a", "b", "c"], EDGES[:2], "TB", 100).corners == {"a": (10, 10), "b": (10, 68), "c": (140, 68)}


def test_quoted() -> None:
    assert quoted('a"b\\') == '"a\\"b\\\\"'
