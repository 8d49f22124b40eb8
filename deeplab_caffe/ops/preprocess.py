"""Convert images to a net's input blob: bytes to B, G, R minus the mean (data_transformer.cpp:309-464)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from deeplab_caffe import _C
from deeplab_caffe.arrays import Arrays, arrays_of, is_torch, offers_gpu_memory
from deeplab_caffe.errors import needed_for
from deeplab_caffe.ops.operator import operator
from deeplab_caffe.ops.sizes import INFERENCE, blob_size, check_image, three_means


def _blob(
    xp: Arrays, images: Sequence[Any], mean: Sequence[float], height: int, width: int, dtype: Any, channels_last: bool
) -> Any:
    count = sum(batch.shape[0] for batch in images)
    return xp.empty((count, 3, height, width), dtype, channels_last=channels_last)


@operator(
    "preprocess(Tensor[] images, float[] mean, SymInt height, SymInt width, ScalarType dtype, bool channels_last)"
    " -> Tensor",
    result=_blob,
)
def _preprocess(xp: Arrays, blob: Any, images: Sequence[Any], mean: Sequence[float], *_: Any) -> None:
    """Write batches (n, H, W, 3), each with images of one size, into a blob one after the other."""
    first = 0
    for batch in images:
        items = blob[first : first + batch.shape[0]]
        _C.preprocess(xp.view(batch), xp.view(items), list(mean), xp.stream)
        first += batch.shape[0]


def as_tensor(image: Any) -> Any:
    """Return an image as a tensor, which shares the image's memory if torch supports it.

    Raises:
        ValueError: the image is neither a tensor nor a NumPy array.
    """
    if is_torch(image):
        return image
    if not isinstance(image, np.ndarray):
        raise ValueError(f"preprocess: expected a tensor or a numpy array, got {type(image).__name__}")
    with needed_for("images in numpy arrays"):
        import torch

    # torch supports neither read-only arrays nor negative strides.
    fits = image.flags.writeable and min(image.strides, default=0) >= 0
    return torch.from_numpy(image if fits else image.copy())


def _batches(images: Any) -> list[Any]:
    whole = not isinstance(images, (list, tuple))
    found = [images] if whole else list(images)
    if not any(not is_torch(image) and offers_gpu_memory(image) for image in found):
        found = [as_tensor(image) for image in found]
    devices = [arrays_of(image) for image in found]
    for image, xp in zip(found, devices, strict=True):
        check_image(image.shape, xp.dtype(image), batch=whole)
        if xp.device != devices[0].device:
            raise ValueError(f"preprocess: images on two devices, {devices[0].device} and {xp.device}")
    return [image if image.ndim == 4 else image[None] for image in found]


def preprocess(
    images: Any,
    *,
    mean: float | Sequence[float],
    size: tuple[int, int] | None = None,
    dtype: Any = "float32",
    channels_last: bool = False,
) -> Any:
    """Return a net's input from images, padded at the bottom and at the right.

    The numbers are those of :func:`deeplab_caffe.data.image_to_blob` (byte minus mean in float32, 0 in the padding),
    rounded to ``dtype``; images and blob are each passed over once.

    Args:
        images: uint8 RGB, (H, W, 3), a batch (N, H, W, 3) of any strides, or a list of (H, W, 3) of any sizes: torch's,
            NumPy's or CuPy's.
        mean: one value, or one per channel in B, G, R order.
        size: (height, width) of the blob, at least the largest image's; None takes the largest image's.
        dtype: "float32", "float16" or "bfloat16" (torch only), or the library's own dtype of that name.
        channels_last: return the blob in channels-last order.

    Returns:
        (N, 3, *size), channels B, G, R, on the images' device: a CuPy array for CuPy images, else a tensor. The bits
        are the same on the CPU and on CUDA.

    Raises:
        ValueError: the images have another shape or dtype or are on two devices, the size is too small for them, or
            ``dtype`` is another one.
    """
    batches = _batches(images)
    height, width = blob_size([batch.shape for batch in batches], size)
    means = three_means(mean)
    xp = arrays_of(batches[0])
    known = INFERENCE if xp.library == "torch" else INFERENCE[:2]
    name = str(dtype).removeprefix("torch.") if not isinstance(dtype, type) else np.dtype(dtype).name
    if name not in known:
        raise ValueError(f"preprocess: dtype must be {', '.join(known[:-1])} or {known[-1]}, got {name}")
    return _preprocess(batches, means, height, width, xp.as_dtype(name), channels_last)
