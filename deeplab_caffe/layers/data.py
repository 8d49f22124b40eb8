"""Layers that read or write files: IMAGE_SEG_DATA, MAT_READ, MAT_WRITE."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from deeplab_caffe.data.image_seg_data import ImageSegData as ImageSegSource
from deeplab_caffe.data.mat_io import MatReader, MatWriter
from deeplab_caffe.layers.base import Layer, NetContext, Shape, Window, register
from deeplab_caffe.proto import caffe_pb2


@register
class ImageSegData(Layer):
    """Batches of images, label maps and image sizes from a list file (layers/image_seg_data_layer.cpp).

    Tops: data (N, C, H, W) BGR minus mean, label (N, 1, H, W), and optionally data_dim (N, 1, 1, 2): height and width
    of the part that is image, not padding.
    """

    TYPE = "IMAGE_SEG_DATA"
    BOTTOMS = (0, 0)
    TOPS = (1, 3)
    IS_SOURCE = True
    DIFFERENTIABLE = False

    def __init__(self, param: caffe_pb2.LayerParameter, context: NetContext) -> None:
        super().__init__(param, context)
        phase = "TRAIN" if context.training else "TEST"
        self.source = ImageSegSource.from_param(param, phase, context.rng, label_reading=context.label_reading)

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        return list(self.source.shapes())[: len(self.param.top)]

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        return tuple(torch.from_numpy(blob) for blob in self.source.next_batch())[: len(self.param.top)]


@register
class MatRead(Layer):
    """Blobs from the MAT files that MAT_WRITE writes, one file per top and forward pass (layers/mat_read_layer.cpp).

    The original returns zeros and starts again at the first file each time; this one returns what the files hold.
    """

    TYPE = "MAT_READ"
    BOTTOMS = (0, 0)
    TOPS = (1, math.inf)
    IS_SOURCE = True
    DIFFERENTIABLE = False

    def __init__(self, param: caffe_pb2.LayerParameter, context: NetContext) -> None:
        super().__init__(param, context)
        self.reader = MatReader.from_param(param)

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        return list(self.reader.shapes())

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        return tuple(torch.from_numpy(blob) for blob in self.reader.read())


@register
class MatWrite(Layer):
    """Writes each bottom into a MAT file per forward pass (layers/mat_write_layer.cpp)."""

    TYPE = "MAT_WRITE"
    BOTTOMS = (1, math.inf)
    TOPS = (0, 0)
    DIFFERENTIABLE = False

    def __init__(self, param: caffe_pb2.LayerParameter, context: NetContext) -> None:
        super().__init__(param, context)
        self.writer = MatWriter.from_param(param)

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        return []

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        self.writer.write([blob.detach().float().cpu().numpy() for blob in bottoms])
        return ()

    def window(self) -> Window | None:
        return None
