"""Data layers over the sources of ``deeplab_caffe.data``."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from torch import Tensor

from deeplab_caffe.data.sources.base import ItemSource, SourceOptions
from deeplab_caffe.data.sources.database import DatabaseSource
from deeplab_caffe.data.sources.hdf5 import HDF5Source
from deeplab_caffe.data.sources.image import ImageSource
from deeplab_caffe.data.sources.image_seg import ImageSegSource
from deeplab_caffe.data.sources.mat import MatReader
from deeplab_caffe.data.sources.memory import MemorySource
from deeplab_caffe.data.sources.sharding import Shard
from deeplab_caffe.data.sources.window import WindowSource
from deeplab_caffe.errors import NetError, warn
from deeplab_caffe.layers.base import Layer, NetContext, Shape, register
from deeplab_caffe.layers.fillers import fill
from deeplab_caffe.layers.lock import ForkSafeLock
from deeplab_caffe.layers.onnx import OnnxGraph
from deeplab_caffe.proto import caffe_pb2


class Source(Protocol):
    """A source of batches, which are numpy blobs, with a position that can be saved and restored."""

    def shapes(self) -> Sequence[Shape]:
        """Return the shapes of the blobs of a batch."""

    def next_batch(self) -> Sequence[np.ndarray]:
        """Return the blobs of the next batch."""

    def state_dict(self) -> dict[str, Any]:
        """Return the position of the next batch, in plain numbers and arrays."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Move to a position that :meth:`state_dict` returned."""


class SourceLayer(Layer):
    """A layer whose tops are batches of a :class:`Source`; each thread that shares the net gets a different batch.

    Attributes:
        source: the source of the batches; its ``state_dict`` says where the next batch begins.
    """

    BOTTOMS = (0, 0)
    is_source = True
    differentiable = False
    capturable = per_item = False
    kind = "data"
    onnx_advice = "it reads its data by itself: export the deploy.prototxt, whose inputs are blobs"
    source: Source
    # Index of the top with one label per item: (N, 1, 1, 1), or (N,) where blobs do not have four axes.
    LABEL_TOP: ClassVar[int | None] = None

    def __init__(self, param: caffe_pb2.LayerParameter, context: NetContext) -> None:
        super().__init__(param, context)
        self._lock = ForkSafeLock()
        try:
            self.source = self.make_source(param, context)
        except NetError as error:
            raise error if error.layer else self.error(str(error)) from None

    def make_source(self, param: caffe_pb2.LayerParameter, context: NetContext) -> Source:
        """Make the source that the parameters ask for."""
        raise NotImplementedError

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        shapes = [self._top_shape(i, tuple(shape)) for i, shape in enumerate(self.source.shapes())]
        return shapes[: len(self.param.top)]

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        with self._lock:
            batch = self.source.next_batch()
        tops = [_tensor(blob) for blob in batch][: len(self.param.top)]
        return tuple(top.reshape(self._top_shape(i, tuple(top.shape))) for i, top in enumerate(tops))

    def _top_shape(self, number: int, shape: Shape) -> Shape:
        if number == self.LABEL_TOP and not self.context.dialect.four_axes and math.prod(shape[1:]) == 1:
            return shape[:1]
        return shape

    def training_state(self) -> dict[str, Any]:
        return {"source": self.source.state_dict()}

    def load_training_state(self, state: dict[str, Any]) -> None:
        if "source" in state:
            self.source.load_state_dict(state["source"])


class ItemSourceLayer(SourceLayer):
    """A layer whose source reads item by item, with workers, into page-locked memory if a GPU is in use."""

    SOURCE: ClassVar[Callable[..., ItemSource[Any, Any]]]
    source: ItemSource[Any, Any]

    def make_source(self, param: caffe_pb2.LayerParameter, context: NetContext) -> Source:
        phase = "TRAIN" if self.in_training else "TEST"
        common: SourceOptions = {
            "rng": context.rng,
            "shard": Shard(*context.shard),
            "workers": context.workers,
            "reseeds": context.dialect.data_reseeds_per_batch,
        }
        return self.SOURCE(param, phase, **common, **self.options(context))

    def options(self, context: NetContext) -> dict[str, Any]:
        """Return further arguments of the source."""
        return {}

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        if torch.cuda.is_initialized():
            self.source.allocate = _page_locked
        return super().forward(*bottoms)


@register
class ImageSegData(ItemSourceLayer):
    """Batches of images, label maps and image sizes from a list file (layers/image_seg_data_layer.cpp).

    Tops: data (N, C, H, W) BGR minus mean, label (N, 1, H, W), and optionally data_dim (N, 1, 1, 2): height and width
    of the part that is image, not padding.
    """

    TYPE = "ImageSegData"
    TOPS = (1, 3)
    SOURCE = ImageSegSource.from_param

    def options(self, context: NetContext) -> dict[str, Any]:
        return {"label_reading": context.label_reading}


@register
class ImageData(ItemSourceLayer):
    """Batches of images and labels from a list file (layers/image_data_layer.cpp).

    Tops: data (N, C, H, W) BGR minus mean, and optionally label (N, max_labels, 1, 1), -1 where a line has fewer. Here
    the original returns no pixels, but the bytes of floating-point numbers.
    """

    TYPE = "ImageData"
    TOPS = (1, 2)
    LABEL_TOP = 1
    SOURCE = ImageSource


@register
class Data(ItemSourceLayer):
    """Batches of Datum messages from an LMDB or a LevelDB (layers/data_layer.cpp).

    Tops: data (N, C, H, W), and optionally label (N, 1, 1, 1).
    """

    TYPE = "Data"
    TOPS = (1, 2)
    LABEL_TOP = 1
    SOURCE = DatabaseSource

    def options(self, context: NetContext) -> dict[str, Any]:
        return {"decoding": "colour" if context.dialect.data_decodes_in_colour else "native"}


@register
class WindowData(ItemSourceLayer):
    """Warped image windows, a fixed fraction foreground (layers/window_data_layer.cpp).

    Tops: data (N, 3, crop_size, crop_size) BGR minus mean, label (N, 1, 1, 1), 0 for background.
    """

    TYPE = "WindowData"
    TOPS = (2, 2)
    LABEL_TOP = 1
    SOURCE = WindowSource


@register
class HDF5Data(SourceLayer):
    """Rows of HDF5 datasets that have the tops' names (layers/hdf5_data_layer.cpp).

    Tops: (N, C, H, W) each, where missing dimensions are 1; in v2 the datasets' own dimensions. ``shuffle`` orders the
    files, and the rows within a file, at random, anew in each epoch; the net's seed decides the order.
    """

    TYPE = "HDF5Data"
    TOPS = (1, math.inf)

    def make_source(self, param: caffe_pb2.LayerParameter, context: NetContext) -> Source:
        if param.HasField("transform_param"):
            raise NetError("HDF5_DATA takes the numbers as they are: transform_param has no meaning here")
        # Drawn from a copy of the generator: the original draws nothing for its shuffle, so later layers must find the
        # generator unchanged.
        shuffles = param.hdf5_data_param.shuffle
        seed = copy.deepcopy(context.rng).word() if shuffles and context.rng is not None else 0
        return HDF5Source.from_param(param, Shard(*context.shard), four_axes=context.dialect.four_axes, seed=seed)


@register
class MemoryData(SourceLayer):
    """Batches from the arrays given to ``source.reset`` (pycaffe: ``set_input_arrays``; layers/memory_data_layer.cpp).

    Tops: data (N, C, H, W), label (N, 1, 1, 1) and, as in the fork of train-DeepLab, optionally data_dim (N, 1, 1, 2).
    """

    TYPE = "MemoryData"
    TOPS = (2, 3)
    LABEL_TOP = 1
    takes_arrays = True
    source: MemorySource

    def make_source(self, param: caffe_pb2.LayerParameter, context: NetContext) -> Source:
        if param.HasField("transform_param"):
            warn(f"layer '{param.name}': MEMORY_DATA takes arrays as they are, transform_param does nothing")
        return MemorySource.from_param(param, Shard(*context.shard))

    def set_arrays(self, data: np.ndarray, labels: np.ndarray, data_dim: np.ndarray | None = None) -> None:
        self.source.reset(data, labels, data_dim)


@register
class MatRead(SourceLayer):
    """Blobs from the MAT files that MAT_WRITE writes, one file per top and forward pass (layers/mat_read_layer.cpp).

    The original returns zeros and starts again at the first file each time; this one returns what the files hold.
    """

    TYPE = "MatRead"
    TOPS = (1, math.inf)

    def make_source(self, param: caffe_pb2.LayerParameter, context: NetContext) -> Source:
        return MatReader.from_param(param, Shard(*context.shard))


@register
class DummyData(Layer):
    """Blobs that fillers fill (layers/dummy_data_layer.cpp).

    The tops' shapes are given by ``shape``, or by ``num``, ``channels``, ``height`` and ``width``: one value for all
    tops, or one per top. The same holds for ``data_filler``; without one the blobs are 0. Random fillers draw new
    numbers for each batch; their seeds come from the net's generator.
    """

    TYPE = "DummyData"
    capturable = per_item = False
    kind = "data"
    BOTTOMS = (0, 0)
    TOPS = (1, math.inf)
    is_source = True
    differentiable = False
    DIMENSIONS: ClassVar[tuple[str, ...]] = ("num", "channels", "height", "width")

    def __init__(self, param: caffe_pb2.LayerParameter, context: NetContext) -> None:
        super().__init__(param, context)
        dummy = param.dummy_data_param
        tops = len(param.top)
        self.shapes: list[Shape] = self._given_shapes(dummy, tops)
        fillers = list(dummy.data_filler) or [caffe_pb2.FillerParameter(type="constant")]
        if len(fillers) not in (1, tops):
            raise self.error(f"dummy_data_param takes no data_filler, one, or {tops} for the tops, got {len(fillers)}")
        self.fillers = fillers * tops if len(fillers) == 1 else fillers
        self.generator = torch.Generator()
        self._lock = ForkSafeLock()
        # Fail on an unknown filler now, and not at the first batch.
        for filler in self.fillers:
            self.new_blob((1, 1, 1, 1), filler)

    def _given_shapes(self, dummy: caffe_pb2.DummyDataParameter, tops: int) -> list[Shape]:
        old = [name for name in self.DIMENSIONS if getattr(dummy, name)]
        if dummy.shape and old:
            raise self.error(f"dummy_data_param has shape and {', '.join(old)}: give one kind or the other")
        if dummy.shape:
            shapes = [tuple(shape.dim) for shape in dummy.shape]
            if self.context.dialect.four_axes:
                shapes = [shape + (1,) * (4 - len(shape)) for shape in shapes]
            if len(shapes) not in (1, tops) or any(size < 1 for shape in shapes for size in shape):
                raise self.error(f"dummy_data_param needs one shape of positive sizes, or {tops}, got {shapes}")
            return shapes * tops if len(shapes) == 1 else shapes
        sizes = []
        for name in self.DIMENSIONS:
            values = list(getattr(dummy, name))
            if len(values) not in (1, tops) or min(values) < 1:
                raise self.error(f"dummy_data_param needs one positive {name}, or {tops} for the tops, got {values}")
            sizes.append(values * tops if len(values) == 1 else values)
        return list(zip(*sizes, strict=True))

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        return self.shapes

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        with self._lock:
            return self._filled()

    def _filled(self) -> tuple[Tensor, ...]:
        tops = []
        for shape, filler in zip(self.shapes, self.fillers, strict=True):
            if filler.type != "constant" and self.context.rng is not None:
                self.generator.manual_seed(self.context.rng.word())
            # Fill the global batch and take a part, so that several processes together have the numbers of one.
            rank, world = self.context.shard
            top = torch.empty((*(world * n for n in shape[:1]), *shape[1:]))
            fill(top, filler, generator=self.generator)
            tops.append(top.chunk(world)[rank] if shape else top)
        return tuple(tops)

    def to_onnx(self, graph: OnnxGraph, bottoms: list[str], tops: tuple[str, ...]) -> list[str]:
        if any(filler.type != "constant" for filler in self.fillers):
            advice = "give it fillers of type constant, or make its tops inputs of the net"
            raise graph.unsupported("DummyData with random numbers", advice)
        graph.fixed_size = graph.fixed_batch = self.name
        blobs = [
            np.full(shape, filler.value, np.float32) for shape, filler in zip(self.shapes, self.fillers, strict=True)
        ]
        return [graph.constant("filler", blob) for blob in blobs]


def _page_locked(shape: Shape) -> np.ndarray:
    """Allocate page-locked memory, from which a GPU copies by itself; the array's ``base`` is the tensor."""
    return torch.empty(shape, pin_memory=True).numpy()


def _tensor(blob: np.ndarray) -> Tensor:
    # Return the page-locked tensor itself if there is one: torch frees its memory only after the GPU has copied it.
    # numpy's stub says that a base is an array, but it can be any object that holds the memory.
    base: object = blob.base
    return base if isinstance(base, Tensor) and base.shape == blob.shape else torch.from_numpy(blob)
