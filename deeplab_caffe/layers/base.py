"""What every layer is made of, and the registry that finds a class for a layer type."""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from deeplab_caffe.errors import NetError
from deeplab_caffe.layers.fillers import fill
from deeplab_caffe.proto import V1, Dialect, caffe_pb2

if TYPE_CHECKING:
    from deeplab_caffe.data.sources.rng import CaffeRNG

Shape = tuple[int, ...]


@dataclass
class NetContext:
    """What a layer may know of the net around it.

    Attributes:
        phase: ``caffe_pb2.TRAIN`` or ``caffe_pb2.TEST``.
        dialect: whose behaviour the layers have; they read its flags.
        engine: ``"CAFFE"`` or ``"CUDNN"`` overrides every convolution's own ``engine``; None leaves it to them.
        rng: the net's random numbers, Caffe's generator; None where no layer draws any.
        seeded: the generator's seed was asked for: whatever can be drawn from it is, even where torch's own random
            numbers are faster.
        label_reading: ``"index"`` or ``"luminance"``: how palette label PNGs are read (see ``docs/differences.md``).
        crf_image_of_first: DENSE_CRF uses the image of batch item 0 for all items, as the original does.
        channels_last: images are kept in channels-last order.
        packed: inference on the CPU may keep a packed copy of the weights; not where somebody writes to them behind
            torch's back, as pycaffe's users do.
        keep_ignored_diff: SOFTMAX_LOSS gives ignored pixels what is left of their last gradient, as the original does
            when it trains, instead of 0.
        workers: how many threads of each data layer decode ahead; 0 decodes where the batch is asked for.
        shard: (rank, world): this process's part of each global batch of ``world`` times the prototxt's ``batch_size``;
            see :class:`deeplab_caffe.data.Shard`.
    """

    phase: int = caffe_pb2.TEST
    dialect: Dialect = V1
    engine: str | None = None
    rng: CaffeRNG | None = field(default=None, repr=False)
    seeded: bool = False
    label_reading: str = "index"
    crf_image_of_first: bool = False
    channels_last: bool = False
    packed: bool = True
    keep_ignored_diff: bool = False
    workers: int = 0
    shard: tuple[int, int] = (0, 1)

    @property
    def training(self) -> bool:
        """Whether the phase is TRAIN."""
        return self.phase == caffe_pb2.TRAIN


class Window(NamedTuple):
    """How a layer's output pixel looks at its input: the numbers that receptive fields are computed from."""

    kernel: tuple[float, float] = (1, 1)
    stride: tuple[float, float] = (1, 1)
    pad: tuple[float, float] = (0, 0)


class Layer(nn.Module):
    """One Caffe layer.

    A subclass sets ``TYPE`` and the numbers of bottoms and tops, creates its parameters in :meth:`setup`, computes top
    shapes in :meth:`top_shapes` and tops in :meth:`forward`. Blobs are tensors; labels are float blobs too, as in
    Caffe.

    Attributes:
        name: the layer's name in the prototxt.
        param: its LayerParameter.
        inplace: set by the net where the top may overwrite the bottom's memory.
        stopped_bottoms: numbers of the bottoms that ``propagate_down: false`` keeps gradients from.
        bottom_is_spare: set by the net where no gradient needs what the bottom holds: a convolution's top.
    """

    TYPE: ClassVar[str]
    BOTTOMS: ClassVar[tuple[int, float]] = (1, 1)
    TOPS: ClassVar[tuple[int, float]] = (1, 1)
    # True where bfloat16 and float16 bottoms are fine; the net hands float32 to all others.
    HALF: ClassVar[bool] = False
    # True where the tops do not depend on the bottoms alone: data sources.
    IS_SOURCE: ClassVar[bool] = False
    # True where a top may share memory with the bottom, so that later layers must not work in place on it.
    ALIASES: ClassVar[bool] = False
    # True where a layer without a top gets one, named "(automatic)", as Caffe's losses do.
    AUTO_TOP: ClassVar[bool] = False
    # False where no gradient flows from the tops to the bottoms; such a layer is never run for a gradient's sake.
    DIFFERENTIABLE: ClassVar[bool] = True
    # Bottoms that never get a gradient, not even by force_backward: labels.
    LABEL_BOTTOMS: ClassVar[tuple[int, ...]] = ()
    # 1 for losses: the weight of a top that names none.
    DEFAULT_LOSS_WEIGHT: ClassVar[float] = 0.0

    def __init__(self, param: caffe_pb2.LayerParameter, context: NetContext) -> None:
        super().__init__()
        self.name = param.name
        self.param = param
        self.context = context
        self.inplace = False
        self.bottom_is_spare = False
        self.stopped_bottoms = tuple(i for i, down in enumerate(param.propagate_down) if not down)
        self.training = context.training
        for role, names, (low, high) in (("bottom", param.bottom, self.BOTTOMS), ("top", param.top, self.TOPS)):
            if not low <= len(names) <= high:
                wanted = str(low) if low == high else f"at least {low}" if high == math.inf else f"{low} to {high}"
                raise self.error(f"{self.TYPE} takes {wanted} {role} blobs, got {len(names)}")
        if len(param.propagate_down) not in (0, len(param.bottom)):
            raise self.error(f"{len(param.bottom)} bottoms need as many propagate_down, or none")

    def error(self, message: str) -> NetError:
        """An error that names this layer."""
        return NetError(message, layer=self.name)

    def overwrites(self, bottom: Tensor) -> bool:
        """Whether to compute in the bottom's own memory: never while a gradient may need what it holds."""
        return self.inplace and (self.bottom_is_spare or not (bottom.requires_grad and torch.is_grad_enabled()))

    def axis(self, axis: int, shape: Shape, name: str = "axis") -> int:
        """Return an axis of a shape counted from 0; negative ones count from the end.

        Raises:
            NetError: the shape has no such axis.
        """
        if not -len(shape) <= axis < len(shape):
            raise self.error(
                f"{name} must lie between {-len(shape)} and {len(shape) - 1} for {tuple(shape)}, got {axis}"
            )
        return axis % len(shape)

    @property
    def scalar_shape(self) -> Shape:
        """Return the shape of a single number: of a loss, an accuracy."""
        return self.context.dialect.scalar()

    def blob_shape(self, shape: Shape) -> Shape:
        """Return the shape that a parameter of this shape has in files and in pycaffe."""
        return self.context.dialect.blob_shape(tuple(shape))

    def new_blob(self, shape: Shape, filler: caffe_pb2.FillerParameter) -> nn.Parameter:
        """Return a parameter blob with its initial values; see :func:`deeplab_caffe.layers.fillers.fill`.

        Raises:
            NetError: the filler is unknown or has senseless numbers.
        """
        try:
            blob = nn.Parameter(torch.empty(shape))
            fill(blob.data, filler, self.blob_shape(shape))
        except (ValueError, RuntimeError) as error:
            raise self.error(str(error).partition("\n")[0]) from None
        return blob

    def setup(self, bottom_shapes: list[Shape]) -> None:
        """Creates the parameters; called once, before :meth:`top_shapes`."""

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        """Shapes of the tops for these bottoms.

        Raises:
            NetError: the bottoms do not fit the layer or each other.
        """
        return [bottom_shapes[0]] * len(self.param.top)

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        """The tops."""
        raise NotImplementedError

    def allows_gradient(self, bottom: int) -> bool:
        """Whether ``force_backward`` may ask for the gradient of this bottom (Caffe's AllowForceBackward)."""
        return bottom not in self.LABEL_BOTTOMS

    def loss_divisor(self, *bottoms: Tensor) -> Tensor | None:
        """What a loss of these bottoms is divided by, a scalar, where that hangs on their values; else None.

        Processes that share a batch need it: their losses add up to the whole batch's in proportion to it.
        """
        return None

    @property
    def blobs(self) -> list[nn.Parameter]:
        """Parameter blobs in Caffe's order (weight, bias, ...)."""
        return list(self.parameters(recurse=False))

    def multiply_adds(self, bottom_shapes: list[Shape], top_shapes: list[Shape]) -> int:
        """Multiply-adds of one forward pass; 0 for layers that only move, compare or add."""
        return 0

    def window(self) -> Window | None:
        """How an output pixel looks at the input; None where it may see all of it."""
        return Window()

    def extra_repr(self) -> str:
        return f"{', '.join(self.param.bottom)} -> {', '.join(self.param.top)}"


class Loss(Layer):
    """A layer whose top, a single number, is to be minimised; it weighs 1 unless ``loss_weight`` says otherwise."""

    BOTTOMS = (2, 2)
    LABEL_BOTTOMS = (1,)
    AUTO_TOP = True
    DEFAULT_LOSS_WEIGHT = 1.0

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        return [self.scalar_shape]

    def window(self) -> Window | None:
        return None


LAYERS: dict[str, type[Layer]] = {}


def register(cls: type[Layer]) -> type[Layer]:
    """Class decorator: makes ``cls`` the class of its ``TYPE``."""
    LAYERS[cls.TYPE] = cls
    return cls


def layer_class(param: caffe_pb2.LayerParameter) -> type[Layer]:
    """The class of a LayerParameter's type.

    Raises:
        NetError: there is no such layer type.
    """
    name = param.type
    if name not in LAYERS:
        close = difflib.get_close_matches(name, LAYERS, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise NetError(f"layer type {name or 'NONE'} is not implemented{hint}", layer=param.name)
    return LAYERS[name]


def create_layer(param: caffe_pb2.LayerParameter, context: NetContext) -> Layer:
    """The layer that a LayerParameter describes.

    Raises:
        NetError: there is no such layer type, or the layer refuses its parameters.
    """
    return layer_class(param)(param, context)
