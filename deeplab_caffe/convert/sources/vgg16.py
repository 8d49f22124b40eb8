"""Common parts of the sources of VGG-16 (Simonyan and Zisserman 2014)."""

from __future__ import annotations

import re

from torch import Tensor

from deeplab_caffe.convert.first_layer import Pixels

# Caffe's names, in order.
CONVS = tuple(f"conv{block}_{i}" for block, count in enumerate((2, 2, 3, 3, 3), 1) for i in range(1, count + 1))
WIDTHS = (64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512)
# The fully connected layers that DeepLab makes convolutions of; fc8 has ImageNet's classes.
FULL = ("fc6", "fc7")
FIRST = CONVS[0]
# From its authors' page, and also used by Keras.
PIXELS = Pixels(mean=(103.939, 116.779, 123.68))
# fc6 reads this, (C, H, W).
LAST_POOLING = (512, 7, 7)


def copied(name: str) -> str:
    """Return ``fc6`` for a net's fc6_1, fc6_2, ... of atrous spatial pyramid pooling; the same for fc7."""
    return re.sub(r"^(fc[67])_\d+$", r"\1", name)


def fc6(weight: Tensor) -> Tensor:
    """Return weights (4096, 512 * 7 * 7) of Caffe or torch as a convolution's."""
    return weight.reshape(-1, *LAST_POOLING)


def fc7(weight: Tensor) -> Tensor:
    """Return weights (4096, 4096) of Caffe or torch as a convolution's."""
    return weight.reshape(*weight.shape[-2:], 1, 1)
