"""Layers that read or write files or make up data: the face that the sources of ``deeplab_caffe.data`` have in a net."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from torch import Tensor

from deeplab_caffe.data.hdf5 import HDF5Source, HDF5Writer
from deeplab_caffe.data.image_seg_data import ImageSegData as ImageSegSource
from deeplab_caffe.data.mat_io import MatReader, MatWriter
from deeplab_caffe.data.sharding import Shard
from deeplab_caffe.errors import NetError
from deeplab_caffe.layers.base import Layer, NetContext, Shape, Window, register
from deeplab_caffe.layers.fillers import fill
from deeplab_caffe.proto import caffe_pb2


class Source(Protocol):
    """What makes batches: numpy blobs, and a position to come back to."""

    def shapes(self) -> Sequence[Shape]:
        """Shapes of the blobs of a batch."""

    def next_batch(self) -> Sequence[np.ndarray]:
        """The blobs of the next batch."""

    def state_dict(self) -> dict[str, Any]:
        """The position of the next batch, in plain numbers and arrays."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes back, or on, to a position."""


class SourceLayer(Layer):
    """A layer whose tops are batches of a :class:`Source`.

    Attributes:
        source: where they come from; its ``state_dict`` says where the next batch begins.
    """

    BOTTOMS = (0, 0)
    IS_SOURCE = True
    DIFFERENTIABLE = False

    def __init__(self, param: caffe_pb2.LayerParameter, context: NetContext) -> None:
        super().__init__(param, context)
        try:
            self.source = self.make_source(param, context)
        except NetError as error:
            raise error if error.layer else self.error(str(error)) from None

    def make_source(self, param: caffe_pb2.LayerParameter, context: NetContext) -> Source:
        """The source that the parameters ask for."""
        raise NotImplementedError

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        return list(self.source.shapes())[: len(self.param.top)]

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        return tuple(torch.from_numpy(blob) for blob in self.source.next_batch())[: len(self.param.top)]


@register
class ImageSegData(SourceLayer):
    """Batches of images, label maps and image sizes from a list file (layers/image_seg_data_layer.cpp).

    Tops: data (N, C, H, W) BGR minus mean, label (N, 1, H, W), and optionally data_dim (N, 1, 1, 2): height and width
    of the part that is image, not padding.
    """

    TYPE = "IMAGE_SEG_DATA"
    TOPS = (1, 3)

    def make_source(self, param: caffe_pb2.LayerParameter, context: NetContext) -> Source:
        phase = "TRAIN" if context.training else "TEST"
        return ImageSegSource.from_param(param, phase, context.rng, label_reading=context.label_reading)


@register
class HDF5Data(SourceLayer):
    """Rows of HDF5 datasets that have the tops' names (layers/hdf5_data_layer.cpp).

    Tops: (N, C, H, W) each; dimensions that a dataset does not have are 1.
    """

    TYPE = "HDF5_DATA"
    TOPS = (1, math.inf)

    def make_source(self, param: caffe_pb2.LayerParameter, context: NetContext) -> Source:
        if param.HasField("transform_param"):
            raise NetError("HDF5_DATA takes the numbers as they are: transform_param has no meaning here")
        return HDF5Source.from_param(param, Shard(*context.shard))


@register
class MatRead(SourceLayer):
    """Blobs from the MAT files that MAT_WRITE writes, one file per top and forward pass (layers/mat_read_layer.cpp).

    The original returns zeros and starts again at the first file each time; this one returns what the files hold.
    """

    TYPE = "MAT_READ"
    TOPS = (1, math.inf)

    def make_source(self, param: caffe_pb2.LayerParameter, context: NetContext) -> Source:
        return MatReader.from_param(param)


@register
class DummyData(Layer):
    """Blobs of made-up numbers (layers/dummy_data_layer.cpp).

    Tops: (N, C, H, W) each, as ``num``, ``channels``, ``height`` and ``width`` say: one value of each for all tops, or
    as many as tops. Likewise ``data_filler``; without one the blobs are 0. Fillers that draw random numbers draw new
    ones for each batch; their seeds come from the net's generator.
    """

    TYPE = "DUMMY_DATA"
    BOTTOMS = (0, 0)
    TOPS = (1, math.inf)
    IS_SOURCE = True
    DIFFERENTIABLE = False
    DIMENSIONS: ClassVar[tuple[str, ...]] = ("num", "channels", "height", "width")

    def __init__(self, param: caffe_pb2.LayerParameter, context: NetContext) -> None:
        super().__init__(param, context)
        dummy = param.dummy_data_param
        tops = len(param.top)
        sizes = []
        for name in self.DIMENSIONS:
            values = list(getattr(dummy, name))
            if len(values) not in (1, tops) or min(values) < 1:
                raise self.error(f"dummy_data_param needs one positive {name}, or {tops} for the tops, got {values}")
            sizes.append(values * tops if len(values) == 1 else values)
        self.shapes: list[Shape] = list(zip(*sizes, strict=True))
        fillers = list(dummy.data_filler) or [caffe_pb2.FillerParameter(type="constant")]
        if len(fillers) not in (1, tops):
            raise self.error(f"dummy_data_param takes no data_filler, one, or {tops} for the tops, got {len(fillers)}")
        self.fillers = fillers * tops if len(fillers) == 1 else fillers
        self.generator = torch.Generator()
        # An unknown filler is better found now than at the first batch.
        for filler in self.fillers:
            self.new_blob((1, 1, 1, 1), filler, 1)

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        return self.shapes

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        tops = []
        for shape, filler in zip(self.shapes, self.fillers, strict=True):
            if filler.type != "constant" and self.context.rng is not None:
                self.generator.manual_seed(self.context.rng.word())
            top = torch.empty(shape)
            fill(top, filler, math.prod(shape[1:]), self.generator)
            tops.append(top)
        return tuple(tops)


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
        self.writer.write([_array(blob) for blob in bottoms])
        return ()

    def window(self) -> Window | None:
        return None


@register
class HDF5Output(Layer):
    """Writes its two bottoms as the datasets ``data`` and ``label`` (layers/hdf5_output_layer.cpp).

    The original fails at the second batch; here each batch's items follow the last one's.
    """

    TYPE = "HDF5_OUTPUT"
    BOTTOMS = (2, 2)
    TOPS = (0, 0)
    DIFFERENTIABLE = False

    def __init__(self, param: caffe_pb2.LayerParameter, context: NetContext) -> None:
        super().__init__(param, context)
        try:
            self.writer = HDF5Writer(param.hdf5_output_param.file_name)
        except NetError as error:
            raise self.error(str(error)) from None

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        data, label = bottom_shapes
        if data[0] != label[0]:
            raise self.error(f"both bottoms need as many items, got {data[0]} and {label[0]}")
        return []

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        data, label = (_array(blob) for blob in bottoms)
        self.writer.write(data, label)
        return ()

    def window(self) -> Window | None:
        return None


def _array(blob: Tensor) -> np.ndarray:
    return blob.detach().float().cpu().numpy()
