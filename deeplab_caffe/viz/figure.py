"""Figures drawn with matplotlib, which is an optional dependency."""

from __future__ import annotations

from typing import Any

from deeplab_caffe.errors import DeepLabCaffeError, how_to_install


def new_figure(size: tuple[float, float]) -> Any:
    """Return an empty matplotlib figure.

    Args:
        size: width and height in inches.

    Raises:
        DeepLabCaffeError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise DeepLabCaffeError(f"the plot needs matplotlib: {how_to_install('matplotlib')}") from error
    return Figure(figsize=size, layout="constrained")
