from __future__ import annotations

import pytest

from deeplab_caffe.crf_search.grid import Grid, Point
from deeplab_caffe.crf_search.plot import draw_search
from deeplab_caffe.crf_search.search import PointResult, SearchOutcome, SearchSettings
from deeplab_caffe.evaluation import ConfusionMatrix

pytest.importorskip("matplotlib")


def result(point: Point | None, right: int, number: int = 1) -> PointResult:
    matrix = ConfusionMatrix(1 + 1)
    matrix.add([[right, 100 - right], [0, 100]])
    return PointResult(matrix, point, number)


def outcome(*grids: Grid) -> SearchOutcome:
    tried = dict.fromkeys(point for grid in grids for point in grid)
    points = {point: result(point, 50 + (index == 5) * 9 + index % 4) for index, point in enumerate(tried)}
    best = max(points.values(), key=lambda found: found.mean_iou)
    return SearchOutcome(result(None, 40, 0), tuple(points.values()), grids, best, SearchSettings())


def test_a_row_for_each_round_and_a_panel_for_each_weight() -> None:
    found = outcome(Grid((1, 2), (10, 20, 30), (3,)), Grid((2,), (25, 30), (3, 4)))
    figure = draw_search(found)
    titles = [axes.get_title() for axes in figure.axes]
    assert titles[:4] == ["bi_w = 1", "bi_w = 2", "bi_w = 2", ""]
    values = figure.axes[1].images[0].get_array()
    assert values.shape == (3, 1)
    assert values[0, 0] == pytest.approx(100 * found.results[3].mean_iou)
    # The ring, in every panel that holds the best point.
    assert [len(axes.lines) for axes in figure.axes[:3]] == [0, 1, 1]
    assert [axes.lines[0].get_xydata().tolist() for axes in figure.axes[1:3]] == [[[0, 2]], [[0, 1]]]


def test_many_weights_share_a_panel() -> None:
    found = outcome(Grid(tuple(range(1, 20)), (10, 20), (3, 4)))
    figure = draw_search(found)
    assert figure.axes[0].get_title() == "best of all bi_w"
    assert figure.axes[0].images[0].get_array().max() == pytest.approx(100 * found.best.mean_iou)
    assert len(figure.axes[0].lines) == 1
