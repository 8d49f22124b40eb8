"""Draw a parameter search as heat maps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from deeplab_caffe.viz.figure import new_figure

if TYPE_CHECKING:
    from deeplab_caffe.crf_search.grid import Grid, Point
    from deeplab_caffe.crf_search.search import SearchOutcome

_ALPHA, _BETA = r"$\sigma_\alpha$", r"$\sigma_\beta$"
# With more values of bi_w than this, there is one panel, whose cells show the best of them.
_MOST_PANELS = 12


def draw_search(outcome: SearchOutcome) -> Any:
    """Return a matplotlib figure with a row per round and a panel per bi_w; a ring marks the best point.

    Raises:
        DeepLabCaffeError: matplotlib is not installed.
    """
    mean_iou = {result.point: 100 * result.mean_iou for result in outcome.results}
    rows = [_panels(grid, mean_iou) for grid in outcome.rounds]
    columns = max(len(row) for row in rows)
    grid = outcome.rounds[0]
    cell = 0.42
    size = (
        2.5 + columns * (0.7 + cell * max(3, max(len(grid.bi_rgb_std) for grid in outcome.rounds))),
        0.8 + sum(1.2 + cell * max(3, len(grid.bi_xy_std)) for grid in outcome.rounds),
    )
    figure = new_figure(size)
    axes = figure.subplots(len(rows), columns, squeeze=False)
    low, high = min(mean_iou.values()), max(mean_iou.values())
    best = outcome.best.point
    for number, (grid, row) in enumerate(zip(outcome.rounds, rows, strict=True)):
        for panel, (title, values, weights) in zip(axes[number], row, strict=False):
            drawn = panel.imshow(values, vmin=low, vmax=high, cmap="viridis", origin="lower", aspect="auto")
            panel.set_title(title, fontsize="small")
            for set_ticks, ticks in ((panel.set_xticks, grid.bi_rgb_std), (panel.set_yticks, grid.bi_xy_std)):
                set_ticks(range(len(ticks)), [f"{value:g}" for value in ticks], fontsize="x-small")
            if best.bi_w in weights and best in set(grid):
                place = (grid.bi_rgb_std.index(best.bi_rgb_std), grid.bi_xy_std.index(best.bi_xy_std))
                panel.plot(*place, marker="o", markersize=12, fillstyle="none", color="red", markeredgewidth=2)
        axes[number][0].set_ylabel(f"round {number + 1}\n{_ALPHA}, pixels")
        for panel in axes[number][len(row) :]:
            panel.axis("off")
    for panel in axes[-1][: len(rows[-1])]:
        panel.set_xlabel(f"{_BETA}, grey levels", fontsize="small")
    figure.colorbar(drawn, ax=axes, label="mean IoU, %", shrink=0.8)
    figure.suptitle(
        f"{100 * outcome.baseline.mean_iou:.2f} % without CRF, {100 * outcome.best.mean_iou:.2f} % with "
        f"bi_w {best.bi_w:g}, {_ALPHA} {best.bi_xy_std:g}, {_BETA} {best.bi_rgb_std:g}"
    )
    return figure


def _panels(grid: Grid, mean_iou: dict[Point, float]) -> list[tuple[str, np.ndarray, tuple[float, ...]]]:
    """Return of each panel the title, the mean IoU (bi_xy_std, bi_rgb_std), and its values of bi_w."""
    shape = (len(grid.bi_w), len(grid.bi_xy_std), len(grid.bi_rgb_std))
    values = np.array([mean_iou[point] for point in grid]).reshape(shape)
    if len(grid.bi_w) > _MOST_PANELS:
        return [("best of all bi_w", values.max(axis=0), grid.bi_w)]
    return [(f"bi_w = {bi_w:g}", part, (bi_w,)) for bi_w, part in zip(grid.bi_w, values, strict=True)]
