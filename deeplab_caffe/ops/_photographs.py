"""What preprocess takes, whichever library's arrays they are. Does without torch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

Size = tuple[int, int]


def check_photograph(shape: Sequence[int], dtype: str, *, batch: bool) -> None:
    """Whether an array holds photographs: uint8 (H, W, 3), or with ``batch`` also (N, H, W, 3).

    Raises:
        ValueError: it does not.
    """
    if dtype != "uint8" or len(shape) not in ((3, 4) if batch else (3,)) or shape[-1] != 3:
        shapes = "(H, W, 3) or (N, H, W, 3)" if batch else "(H, W, 3) each"
        raise ValueError(f"preprocess: expected uint8 RGB images {shapes}, got {dtype} {tuple(shape)}")


def blob_size(batches: Iterable[Sequence[int]], size: Size | None) -> Size:
    """(height, width) of the blob for batches of these shapes (n, H, W, 3): ``size``, or the largest image's.

    Raises:
        ValueError: there are no images, or ``size`` does not hold them.
    """
    shapes = list(batches)
    if not shapes:
        raise ValueError("preprocess: there are no images")
    height, width = (max(shape[axis] for shape in shapes) for axis in (1, 2))
    if size is None:
        return height, width
    if size[0] < height or size[1] < width:
        raise ValueError(f"preprocess: an image of {height} x {width} does not fit into {size[0]} x {size[1]}")
    return size


def three_means(mean: float | Sequence[float]) -> list[float]:
    """The means of B, G and R.

    Raises:
        ValueError: neither one nor three.
    """
    means = [float(mean)] * 3 if isinstance(mean, (int, float)) else [float(value) for value in mean]
    if len(means) == 1:
        means *= 3
    if len(means) != 3:
        raise ValueError(f"preprocess: expected one mean or three, got {len(means)}")
    return means
