from __future__ import annotations

import pytest

from deeplab_caffe.crf_search.grid import Grid, Point, parse_range
from deeplab_caffe.errors import CRFError


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("5:1:10", (5, 6, 7, 8, 9, 10)),
        ("50:10:100", (50, 60, 70, 80, 90, 100)),
        ("3:10", (3, 4, 5, 6, 7, 8, 9, 10)),
        ("5:0.1:5.3", (5, 5.1, 5.2, 5.3)),
        ("0:0.1:0.3", (0, 0.1, 0.2, 0.3)),
        ("1:3:9", (1, 4, 7)),
        ("4:1:4", (4,)),
        ("121", (121,)),
        ("67,49,50,49", (49, 50, 67)),
        (" 3 : 1 : 4 ", (3, 4)),
    ],
)
def test_ranges(text: str, values: tuple) -> None:
    assert parse_range(text, "--bi-w") == values


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected start:step:stop"),
        ("5:", "expected start:step:stop"),
        ("5:1:10:2", "expected start:step:stop"),
        ("five", "'five'"),
        ("1,nan", "expected start:step:stop"),
        ("inf:2:3", "expected start:step:stop"),
        ("5:0:10", "step must be positive"),
        ("5:-1:1", "step must be positive"),
        ("10:1:5", "range is empty"),
        ("0:1e-9:1", "at most 10,000"),
    ],
)
def test_bad_ranges(text: str, message: str) -> None:
    with pytest.raises(CRFError, match=message) as caught:
        parse_range(text, "--bi-w")
    assert str(caught.value).startswith("--bi-w: ")


def test_the_default_is_the_papers_first_round() -> None:
    grid = Grid()
    assert len(grid) == 6 * 6 * 8 == len(list(grid))
    assert next(iter(grid)) == Point(5, 50, 3)
    assert list(grid)[-1] == Point(10, 100, 10)


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ({"bi_w": ()}, "no value"),
        ({"bi_w": (2, 1)}, "increasing"),
        ({"bi_w": (1, 1)}, "increasing"),
        ({"bi_w": (-1, 1)}, "not be negative"),
        ({"bi_xy_std": (0, 1)}, "be positive"),
        ({"bi_rgb_std": (float("nan"),)}, "finite"),
    ],
)
def test_bad_grids(axes: dict, message: str) -> None:
    with pytest.raises(CRFError, match=message):
        Grid(**axes)


def test_refined() -> None:
    grid = Grid((5, 6, 7), (50, 60, 80), (4,))
    assert grid.refined(Point(6, 60, 4)) == Grid((5, 5.5, 6, 6.5, 7), (50, 55, 60, 70, 80), (4,))
    # One step beyond the last value, but no further down than half of the first.
    assert grid.refined(Point(7, 50, 4)) == Grid((6, 6.5, 7, 7.5, 8), (40, 45, 50, 55, 60), (4,))
    assert Grid((0, 8), (10, 50), (1,)).refined(Point(0, 10, 1), 4) == Grid(
        (0, 2, 4, 6, 8), (5, 6.25, 7.5, 8.75, 10, 20, 30, 40, 50), (1,)
    )


def test_every_point_of_interest_is_in_the_refined_grid() -> None:
    for best in Grid((1, 2), (3, 9), (2, 5)):
        assert best in set(Grid((1, 2), (3, 9), (2, 5)).refined(best, 3))


def test_edges() -> None:
    grid = Grid((5, 6, 7), (50, 60, 70), (4,))
    assert grid.edges(Point(6, 60, 4)) == []
    assert grid.edges(Point(5, 70, 4)) == ["bi_w", "bi_xy_std"]
