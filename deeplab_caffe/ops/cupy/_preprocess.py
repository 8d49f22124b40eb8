"""From photographs on the GPU to the input blob of a net: bytes in, B, G, R minus the mean out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from deeplab_caffe import _C
from deeplab_caffe.ops._photographs import blob_size, check_photograph, three_means
from deeplab_caffe.ops.cupy._arrays import library, stream_of, take, view

if TYPE_CHECKING:
    import cupy


def preprocess(
    images: Any,
    *,
    mean: float | Sequence[float],
    size: tuple[int, int] | None = None,
    dtype: str = "float32",
) -> cupy.ndarray:
    """A net's input from photographs: :func:`deeplab_caffe.ops.preprocess.preprocess` on CuPy arrays.

    Args:
        images: uint8 RGB, (H, W, 3), a batch (N, H, W, 3) of any strides, or a list of (H, W, 3) of any sizes.
        mean: one value, or one per channel in B, G, R order.
        size: (height, width) of the blob, at least the largest image's; None takes the largest image's.
        dtype: "float32" or "float16".

    Returns:
        (N, 3, *size), channels B, G, R, contiguous; 0 below and to the right of an image.

    Raises:
        ValueError: not such images, images on two devices, a size that does not hold them, or another dtype.
    """
    if dtype not in ("float32", "float16"):
        raise ValueError(f"preprocess: dtype must be float32 or float16, got {dtype}")
    whole = not isinstance(images, (list, tuple))
    batches = [take("preprocess", "images", image) for image in ([images] if whole else images)]
    for image in batches:
        check_photograph(image.shape, image.dtype.name, batch=whole)
        if image.device.id != batches[0].device.id:
            raise ValueError(f"preprocess: images on two devices, {batches[0].device.id} and {image.device.id}")
    batches = [image if image.ndim == 4 else image[None] for image in batches]
    height, width = blob_size([batch.shape for batch in batches], size)
    means = three_means(mean)
    with stream_of(batches[0]) as stream:
        blob = library().empty((sum(batch.shape[0] for batch in batches), 3, height, width), dtype)
        first = 0
        for batch in batches:
            items = blob[first : first + batch.shape[0]]
            _C.preprocess(view(batch), view(items), means, stream)
            first += batch.shape[0]
    return blob
