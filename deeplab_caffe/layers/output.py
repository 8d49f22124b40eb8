"""Layers that write files: MAT_WRITE and HDF5_OUTPUT."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from torch import Tensor

from deeplab_caffe.data.sources.hdf5 import HDF5Writer
from deeplab_caffe.data.sources.mat import MatWriter
from deeplab_caffe.errors import NetError
from deeplab_caffe.layers.base import Layer, NetContext, ReceptiveWindow, Shape, register
from deeplab_caffe.layers.lock import ForkSafeLock
from deeplab_caffe.proto import caffe_pb2


class WriterLayer(Layer):
    """A layer without tops that writes its bottoms to files.

    Attributes:
        writer: the writer of the files; its ``state_dict`` says where the next forward pass continues.
    """

    TOPS = (0, 0)
    differentiable = False
    writes_files = True
    onnx_advice = "it writes files: export a prototxt without it, and write the model's outputs"
    capturable = per_item = False
    kind = "data"
    writer: MatWriter | HDF5Writer

    def __init__(self, param: caffe_pb2.LayerParameter, context: NetContext) -> None:
        super().__init__(param, context)
        self._lock = ForkSafeLock()

    def receptive_window(self) -> ReceptiveWindow | None:
        return None

    def training_state(self) -> dict[str, Any]:
        return {"writer": self.writer.state_dict()}

    def load_training_state(self, state: dict[str, Any]) -> None:
        if "writer" in state:
            self.writer.load_state_dict(state["writer"])


@register
class MatWrite(WriterLayer):
    """Writes each bottom into a MAT file per forward pass, with four axes (layers/mat_write_layer.cpp)."""

    TYPE = "MatWrite"
    BOTTOMS = (1, math.inf)
    writes_mat = True

    writer: MatWriter

    def __init__(self, param: caffe_pb2.LayerParameter, context: NetContext) -> None:
        super().__init__(param, context)
        self.writer = MatWriter.from_param(param)

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        self.images(bottom_shapes)
        return []

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        with self._lock:
            self.writer.write([_array(blob) for blob in self.as_images(*bottoms)])
        return ()


@register
class HDF5Output(WriterLayer):
    """Writes its two bottoms as the datasets ``data`` and ``label``, of four axes (layers/hdf5_output_layer.cpp).

    The original fails at the second batch; this layer appends each batch's items.
    """

    TYPE = "HDF5Output"
    BOTTOMS = (2, 2)

    writer: HDF5Writer

    def __init__(self, param: caffe_pb2.LayerParameter, context: NetContext) -> None:
        super().__init__(param, context)
        try:
            self.writer = HDF5Writer(param.hdf5_output_param.file_name)
        except NetError as error:
            raise self.error(str(error)) from None

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        data, label = self.images(bottom_shapes)
        if data[0] != label[0]:
            raise self.error(f"both bottoms need as many items, got {data[0]} and {label[0]}")
        return []

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        data, label = (_array(blob) for blob in self.as_images(*bottoms))
        with self._lock:
            self.writer.write(data, label)
        return ()


def _array(blob: Tensor) -> np.ndarray:
    return blob.detach().float().cpu().numpy()
