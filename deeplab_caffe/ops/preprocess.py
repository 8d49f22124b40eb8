"""From photographs to the input blob of a net: bytes in, B, G, R minus the mean out (data_transformer.cpp:309-464)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from deeplab_caffe import _C
from deeplab_caffe.ops._direct import call
from deeplab_caffe.ops._photographs import blob_size, check_photograph, three_means
from deeplab_caffe.ops._view import check_device, stream, view

Image = Tensor | np.ndarray


def _empty(images: Sequence[Tensor], height: int, width: int, dtype: torch.dtype, channels_last: bool) -> Tensor:
    return torch.empty(
        (sum(batch.shape[0] for batch in images), 3, height, width),
        dtype=dtype,
        device=images[0].device,
        memory_format=torch.channels_last if channels_last else torch.contiguous_format,
    )


@torch.library.custom_op("deeplab_caffe::preprocess", mutates_args=())
def _preprocess(
    images: Sequence[Tensor], mean: Sequence[float], height: int, width: int, dtype: torch.dtype, channels_last: bool
) -> Tensor:
    """Batches (n, H, W, 3), each of one size, one after the other into a blob."""
    blob = _empty(images, height, width, dtype, channels_last)
    first = 0
    for batch in images:
        check_device("preprocess", batch)
        items = blob[first : first + batch.shape[0]]
        _C.preprocess(view(batch), view(items), list(mean), stream(batch))
        first += batch.shape[0]
    return blob


@_preprocess.register_fake
def _(
    images: Sequence[Tensor], mean: Sequence[float], height: int, width: int, dtype: torch.dtype, channels_last: bool
) -> Tensor:
    return _empty(images, height, width, dtype, channels_last)


def as_tensor(image: Image) -> Tensor:
    """The image as a tensor, on its own memory where torch can take that.

    Raises:
        ValueError: neither a tensor nor a numpy array.
    """
    if isinstance(image, Tensor):
        return image
    if not isinstance(image, np.ndarray):
        raise ValueError(f"preprocess: expected a tensor or a numpy array, got {type(image).__name__}")
    # torch takes neither arrays that must not be written nor ones that run backwards.
    fits = image.flags.writeable and min(image.strides, default=0) >= 0
    return torch.from_numpy(image if fits else image.copy())


def _batches(images: Image | Sequence[Image]) -> list[Tensor]:
    whole = isinstance(images, (Tensor, np.ndarray))
    found = [as_tensor(image) for image in ([images] if whole else images)]
    for image in found:
        check_photograph(image.shape, str(image.dtype).removeprefix("torch."), batch=whole)
        if image.device != found[0].device:
            raise ValueError(f"preprocess: images on two devices, {found[0].device} and {image.device}")
    return [image if image.dim() == 4 else image[None] for image in found]


def preprocess(
    images: Image | Sequence[Image],
    *,
    mean: float | Sequence[float],
    size: tuple[int, int] | None = None,
    dtype: torch.dtype = torch.float32,
    channels_last: bool = False,
) -> Tensor:
    """Photographs as a net's input, padded at the bottom and at the right.

    The numbers of :func:`deeplab_caffe.data.image_to_blob` (byte minus mean in float32, 0 in the padding), rounded to
    ``dtype``, in one pass over bytes and blob.

    Args:
        images: uint8 RGB, (H, W, 3), a batch (N, H, W, 3) of any strides, or a list of (H, W, 3) of any sizes; tensors
            on the CPU or a CUDA device, or numpy arrays.
        mean: one value, or one per channel in B, G, R order.
        size: (height, width) of the blob, at least the largest image's; None takes the largest image's.
        dtype: torch.float32, torch.float16 or torch.bfloat16.
        channels_last: have the channels of a pixel lie together in memory.

    Returns:
        (N, 3, *size), channels B, G, R, on the images' device. The same bits on the CPU and on CUDA.

    Raises:
        ValueError: not such images, images on two devices, a size that does not hold them, or another dtype.
    """
    batches = _batches(images)
    height, width = blob_size([batch.shape for batch in batches], size)
    means = three_means(mean)
    if dtype not in (torch.float32, torch.float16, torch.bfloat16):
        raise ValueError(f"preprocess: dtype must be float32, float16 or bfloat16, got {dtype}")
    return call(_preprocess, batches, means, height, width, dtype, channels_last)
