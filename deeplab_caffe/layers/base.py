"""What every layer is made of, and the registry that finds a class for a layer type."""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize, prune
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from deeplab_caffe.arrays.memory import available_memory
from deeplab_caffe.errors import NetError
from deeplab_caffe.layers.facts import Fact
from deeplab_caffe.layers.fillers import fill
from deeplab_caffe.layers.user_code import UserCode
from deeplab_caffe.proto import V1, Dialect, caffe_pb2
from deeplab_caffe.proto.schema.names import all_names, did_you_mean, type_elsewhere

if TYPE_CHECKING:
    import numpy as np

    from deeplab_caffe.data.sources.rng import CaffeRNG
    from deeplab_caffe.layers.onnx import OnnxGraph

Shape = tuple[int, ...]
# What a blob is to those who evaluate a net: scores of classes, labels, or what a dense CRF made of scores.
ResultKind = Literal["scores", "labels", "crf"]

# Hooks by which torch computes a blob from its parts before each forward pass.
_COMPUTE_BLOBS = (prune.BasePruningMethod, WeightNorm, SpectralNorm)
# Smaller parameter blobs are allocated without asking how much memory there is.
_LEAST_CHECKED_BYTES = 64 << 20


@dataclass
class NetContext:
    """What a layer may know of the net around it.

    Attributes:
        phase: ``caffe_pb2.TRAIN`` or ``caffe_pb2.TEST``.
        dialect: whose behaviour the layers have; they read its flags.
        engine: ``"CAFFE"`` or ``"CUDNN"`` overrides every convolution's own ``engine``; None leaves it to them.
        rng: the net's random numbers, Caffe's generator; None where no layer draws any.
        initial: what initial values are drawn from while a net with a seed is built; None: torch's own generator, which
            all threads share.
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
        python_layers: whether layers of type Python may run; ``"unchanged"``: yes, and exceptions of their code come
            out as they are.
    """

    phase: int = caffe_pb2.TEST
    dialect: Dialect = V1
    engine: str | None = None
    rng: CaffeRNG | None = field(default=None, repr=False)
    initial: torch.Generator | None = field(default=None, repr=False)
    seeded: bool = False
    label_reading: str = "index"
    crf_image_of_first: bool = False
    channels_last: bool = False
    packed: bool = True
    keep_ignored_diff: bool = False
    workers: int = 0
    shard: tuple[int, int] = (0, 1)
    python_layers: bool | str = False

    @property
    def training(self) -> bool:
        """Return whether the phase is TRAIN."""
        return self.phase == caffe_pb2.TRAIN


class ReceptiveWindow(NamedTuple):
    """Kernel, stride and pad of one output pixel, as (height, width): what receptive fields are computed from."""

    kernel: tuple[float, float] = (1, 1)
    stride: tuple[float, float] = (1, 1)
    pad: tuple[float, float] = (0, 0)


class Layer(nn.Module):
    """One Caffe layer. All that others must know of it is said here, by traits and methods; nobody asks for its class.

    A subclass sets ``TYPE`` and the numbers of bottoms and tops, creates its parameters in :meth:`setup`, computes top
    shapes in :meth:`top_shapes` and tops in :meth:`forward`. Blobs are tensors; labels are float blobs too, as in
    Caffe.

    ``capturable`` and ``per_item`` are False unless a class says otherwise: a CUDA graph that holds a layer which
    waits for the device cannot be captured, and one that holds a layer with a state, or a batch that is cut where items
    meet, computes wrong numbers without a word. That is no silent loss: ``OptimizedNet.graph_break_reason`` names the
    layer, and a test has every class of this package say both for itself.

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
    # Attributes that hold the parameter blobs, in Caffe's order: weight, bias, ... One that is None does not count.
    roles: tuple[str, ...] = ()
    # bfloat16 and float16 bottoms are fine; the net hands float32 to all others.
    supports_half: bool = False
    # The tops do not depend on the bottoms alone: data sources.
    is_source: bool = False
    # The user's code that it runs, on blobs of its own: a Python layer's.
    code: UserCode | None = None
    # A top may share memory with the bottom, so that later layers must not work in place on it.
    may_alias: ClassVar[bool] = False
    # A layer without a top gets one, named "(automatic)", as Caffe's losses do.
    auto_top: ClassVar[bool] = False
    # False: no gradient flows from the tops to the bottoms; such a layer is never run for a gradient's sake.
    differentiable: ClassVar[bool] = True
    # Bottoms that never get a gradient, not even by force_backward: labels.
    label_bottoms: tuple[int, ...] = ()
    # 1 for losses: the weight of a top that names none.
    default_loss_weight: ClassVar[float] = 0.0
    # In phase TEST it asks the device nothing, waits for nothing and keeps no state: a CUDA graph can hold it.
    capturable: bool = False
    # Each batch item is worked on by itself, so that a batch may be taken in pieces.
    per_item: bool = False
    # What autograd keeps of it for the backward pass: "bottoms", "tops", or neither; see saved_bytes for what else.
    saves: tuple[str, ...] = ("bottoms",)
    # The gradient follows from the tops alone, as in Caffe, which a script may have changed since.
    gradient_from_tops: bool = False
    # The tops are accuracies of all forward passes so far: the last ones count, their mean says nothing.
    counts_on: bool = False
    # Its forward_fused takes a layer of a RectifierFact along.
    fuses_rectifier: ClassVar[bool] = False
    # Processes that share a batch must not all run it: it writes files.
    writes_files: ClassVar[bool] = False
    # It writes a MAT file for each bottom, named as its mat_write_param says.
    writes_mat: ClassVar[bool] = False
    # In a test net its first bottom is the net's answer: accuracies, the dense CRF.
    takes_answer: ClassVar[bool] = False
    # Its batches come from arrays given to set_arrays.
    takes_arrays: ClassVar[bool] = False
    # The colour of its box in a drawing: "plain", "weights", "spatial", "data", "compare" or "crf".
    kind: ClassVar[str] = "plain"

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
        """Return an error that names this layer."""
        return NetError(message, layer=self.name)

    def axis(self, axis: int, shape: Shape, name: str = "axis") -> int:
        """Return an axis of a shape counted from 0; negative ones count from the end.

        Raises:
            NetError: the shape has no such axis.
        """
        if not shape:
            raise self.error(f"{name} is {axis}, and the bottom, a single number, has no axes")
        if not -len(shape) <= axis < len(shape):
            raise self.error(
                f"{name} must lie between {-len(shape)} and {len(shape) - 1} for {tuple(shape)}, got {axis}"
            )
        return axis % len(shape)

    def images(self, bottom_shapes: list[Shape]) -> list[Shape]:
        """Return the bottoms' shapes as (N, C, H, W), with 1 for axes that are not there (blob.hpp, LegacyShape).

        Raises:
            NetError: one has more than four axes.
        """
        for blob, shape in zip(self.param.bottom, bottom_shapes, strict=True):
            if len(shape) > 4:
                raise self.error(f"bottom '{blob}' must be (N, C, H, W), got {tuple(shape)}")
        return [(*shape, *(1,) * (4 - len(shape))) for shape in bottom_shapes]

    def as_images(self, *blobs: Tensor) -> list[Tensor]:
        """Return blobs as :meth:`images` has their shapes."""
        return [blob if blob.dim() == 4 else blob[(...,) + (None,) * (4 - blob.dim())] for blob in blobs]

    def filled_up(self, shape: Shape) -> Shape:
        """Return a shape with axes of length 1 behind it, up to four, where blobs have four axes."""
        return shape + (1,) * (4 - len(shape)) if self.context.dialect.four_axes else shape

    @property
    def scalar_shape(self) -> Shape:
        """Return the shape of a single number: of a loss, an accuracy."""
        return self.context.dialect.scalar()

    # What it computes.

    def setup(self, bottom_shapes: list[Shape]) -> None:
        """Create the parameters; called once, before :meth:`top_shapes`."""

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        """Return the shapes of the tops for these bottoms.

        Raises:
            NetError: the bottoms do not fit the layer or each other.
        """
        return [bottom_shapes[0]] * len(self.param.top)

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        """Return the tops."""
        raise NotImplementedError

    def forward_fused(self, activation: Layer, *bottoms: Tensor) -> tuple[Tensor, ...]:
        """Return what ``activation``, a layer of a RectifierFact, makes of the top."""
        tops: tuple[Tensor, ...] = activation(*self(*bottoms))
        return tops

    def takes_affine(self, layer: Layer) -> bool:
        """Return whether :meth:`forward_affine` takes along what this layer, which reads the top, computes."""
        return False

    def forward_affine(self, layer: Layer, *bottoms: Tensor) -> tuple[Tensor, ...]:
        """Return what ``layer``, one that it :meth:`takes_affine` of, makes of the top, with gradients."""
        tops: tuple[Tensor, ...] = layer(*self(*bottoms))
        return tops

    @property
    def fact(self) -> Fact | None:
        """Return what it computes, for those who may compute it in another way; None: only the layer knows."""
        return None

    @property
    def is_identity(self) -> bool:
        """Return whether each top is the bottom itself, in this phase."""
        return False

    def overwrites(self, bottom: Tensor) -> bool:
        """Return whether to compute in the bottom's own memory: never while a gradient may need what it holds."""
        return self.inplace and (self.bottom_is_spare or not (bottom.requires_grad and torch.is_grad_enabled()))

    # Its parameter blobs.

    def blob_shape(self, shape: Shape) -> Shape:
        """Return the shape that a parameter of this shape has in files and in pycaffe."""
        return self.context.dialect.blob_shape(tuple(shape))

    def new_blob(self, shape: Shape, filler: caffe_pb2.FillerParameter) -> nn.Parameter:
        """Make a parameter blob with its initial values; see :func:`deeplab_caffe.layers.fillers.fill`.

        Raises:
            NetError: the filler is unknown or has senseless numbers, or there is not enough memory.
        """
        needed = 4 * math.prod(shape)
        available = available_memory() if needed > _LEAST_CHECKED_BYTES else None
        try:
            if available is not None and needed > available:
                raise MemoryError
            blob = nn.Parameter(torch.empty(shape))
        except (RuntimeError, MemoryError):
            raise self.error(f"not enough memory for a parameter blob {shape}: {needed / 2**30:.1f} GiB") from None
        try:
            # Under torch.device("cuda") it is not on the CPU.
            fill(blob.data, filler, self.blob_shape(shape), self.context.initial if blob.is_cpu else None)
        except (ValueError, RuntimeError) as error:
            raise self.error(str(error).partition("\n")[0]) from None
        return blob

    @property
    def named_blobs(self) -> dict[str, Tensor]:
        """Return the parameter blobs by role, in Caffe's order: what the layer computes with.

        A pruned, weight-normed or otherwise parametrized blob is computed anew from what it is made of.
        """
        for hook in self._forward_pre_hooks.values():
            with torch.no_grad():
                if isinstance(hook, SpectralNorm):
                    setattr(self, hook.name, hook.compute_weight(self, do_power_iteration=False))
                elif isinstance(hook, _COMPUTE_BLOBS):
                    hook(self, ())
        found = {role: getattr(self, role, None) for role in self.roles}
        return {role: blob for role, blob in found.items() if blob is not None}

    @property
    def blobs(self) -> list[Tensor]:
        """Return the parameter blobs in Caffe's order (weight, bias, ...)."""
        return list(self.named_blobs.values())

    def load_blob(self, role: str, value: Tensor) -> None:
        """Copy numbers into a parameter blob, or into what it is made of; a pruning mask stays.

        Raises:
            NetError: it is parametrized in a way that cannot be inverted.
        """
        with torch.no_grad():
            if parametrize.is_parametrized(self, role):
                try:
                    setattr(self, role, value.to(getattr(self, role)))
                except (NotImplementedError, RuntimeError) as error:
                    raise self.error(f"its parametrized {role} cannot be loaded: {error}") from error
                return
            for hook in self._forward_pre_hooks.values():
                if isinstance(hook, WeightNorm) and hook.name == role:
                    getattr(self, f"{role}_g").copy_(torch.norm_except_dim(value, 2, hook.dim))
                    role = f"{role}_v"
            getattr(self, role if role in self._parameters else f"{role}_orig").copy_(value)

    def frozen(self, device: torch.device | str, dtype: torch.dtype | None = None) -> Layer:
        """Return a copy for inference, with blobs of its own that are plain parameters.

        Args:
            device: where its blobs are to be; ``"meta"``: it knows their shapes and not their numbers.
            dtype: of its blobs; None keeps it.
        """
        blobs = self.named_blobs
        twin: Layer = object.__new__(type(self).__bases__[0] if parametrize.is_parametrized(self) else type(self))
        twin.__dict__.update(self.__dict__)
        for role in blobs:
            twin.__dict__.pop(role, None)
        twin._modules = {name: each for name, each in self._modules.items() if name != "parametrizations"}
        twin._forward_pre_hooks = OrderedDict(
            (key, hook) for key, hook in self._forward_pre_hooks.items() if not isinstance(hook, _COMPUTE_BLOBS)
        )
        twin._parameters = {
            role: nn.Parameter(blobs[role].detach().to(device, dtype, copy=True), requires_grad=False)
            if role in blobs
            else None
            for role in self.roles
        }
        return twin

    def release(self) -> None:
        """Let go of the weights: their shapes stay, their numbers do not."""
        for module in self.modules():
            for name, parameter in module._parameters.items():
                if parameter is not None:
                    module._parameters[name] = nn.Parameter(parameter.detach().to("meta"), requires_grad=False)

    # What training must know of it.

    def allows_gradient(self, bottom: int) -> bool:
        """Return whether ``force_backward`` may ask for the gradient of this bottom (Caffe's AllowForceBackward)."""
        return bottom not in self.label_bottoms

    def normalizer(self, *bottoms: Tensor) -> Tensor | None:
        """Return the loss's denominator, a scalar, if it depends on the bottoms' values; else None.

        Processes that share a batch need it: their losses add up to the whole batch's in proportion to it.
        """
        return None

    def saved_bytes(self, bottom_shapes: list[Shape], top_shapes: list[Shape], width: int) -> int:
        """Return how many bytes it keeps for its backward pass besides what :attr:`saves` names.

        Args:
            bottom_shapes: shapes of its bottoms.
            top_shapes: shapes of its tops.
            width: bytes of a number in its tops.
        """
        return 0

    def training_state(self) -> dict[str, Any]:
        """Return what a resumed run needs of it besides its blobs: positions in data, running sums.

        Plain values and arrays; for processes that share a batch the same in each of them.
        """
        return {}

    def load_training_state(self, state: dict[str, Any]) -> None:
        """Go on where :meth:`training_state` was taken.

        Raises:
            DataError: a position does not fit the data.
        """

    @property
    def batch_state(self) -> Tensor | None:
        """Return what it keeps from batch to batch, (N, ...), this process's part of the batch; None: nothing."""
        return None

    def load_batch_state(self, state: Tensor | None) -> None:
        """Go on with a :attr:`batch_state`; None: begin anew."""

    def set_arrays(self, data: np.ndarray, labels: np.ndarray, data_dim: np.ndarray | None = None) -> None:
        """Take the arrays that its batches are to come from, if it :attr:`takes_arrays`.

        Raises:
            NetError: they do not fit.
        """
        raise self.error(f"{self.TYPE} takes no arrays")

    # What evaluation must know of it.

    @classmethod
    def result_kind(cls, bottom: ResultKind) -> ResultKind:
        """Return what its tops are.

        Args:
            bottom: what its first bottom is; ``"scores"`` if it has none.
        """
        return "scores"

    # What the net's table, drawing and ONNX model need.

    def multiply_adds(self, bottom_shapes: list[Shape], top_shapes: list[Shape]) -> int:
        """Return the multiply-adds of one forward pass; 0 for layers that only move, compare or add."""
        return 0

    def receptive_window(self) -> ReceptiveWindow | None:
        """Return kernel, stride and pad of one output pixel; None where it may see all of the input."""
        return ReceptiveWindow()

    def to_onnx(self, graph: OnnxGraph, bottoms: list[str], tops: tuple[str, ...]) -> list[str]:
        """Add the layer's nodes to an ONNX graph.

        Args:
            graph: the graph.
            bottoms: names of the bottoms in the graph.
            tops: the tops' blobs.

        Returns:
            Names of the tops in the graph.

        Raises:
            ConversionError: ONNX has no counterpart.
        """
        raise graph.unsupported(self.TYPE)

    def onnx_blobs(self, graph: OnnxGraph) -> list[str]:
        """Add the parameter blobs to an ONNX graph; return their names there."""
        return [graph.parameter(role, blob) for role, blob in self.named_blobs.items()]

    def extra_repr(self) -> str:
        """Return what ``repr`` says of the layer: its blobs."""
        return f"{', '.join(self.param.bottom)} -> {', '.join(self.param.top)}"


class Loss(Layer):
    """A layer whose top, a single number, is to be minimised; it weighs 1 unless ``loss_weight`` says otherwise."""

    BOTTOMS = (2, 2)
    label_bottoms: tuple[int, ...] = (1,)
    auto_top = True
    default_loss_weight = 1.0
    capturable = per_item = False
    kind = "compare"

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        return [self.scalar_shape]

    def receptive_window(self) -> ReceptiveWindow | None:
        return None


LAYERS: dict[str, type[Layer]] = {}


def is_channels_last(blob: Tensor) -> bool:
    """Return whether a blob lies in memory as channels-last and not as planes: of one channel or pixel it is both."""
    return blob.dim() == 4 and blob.is_contiguous(memory_format=torch.channels_last) and not blob.is_contiguous()


def register(cls: type[Layer]) -> type[Layer]:
    """Make ``cls`` the class of its ``TYPE``; a class decorator."""
    LAYERS[cls.TYPE] = cls
    return cls


def layer_class(param: caffe_pb2.LayerParameter) -> type[Layer]:
    """Return the class of a LayerParameter's type.

    Raises:
        NetError: there is no such layer type.
    """
    name = param.type
    if name not in LAYERS:
        hint = ""
        if name not in all_names():
            other = type_elsewhere(name)
            nearest = f" ({other})" if other else did_you_mean(name, LAYERS)
            hint = f"; it is neither Caffe's nor DeepLab's{nearest}"
        raise NetError(f"layer type {name or 'NONE'} is not implemented{hint}", layer=param.name)
    return LAYERS[name]


def layer_traits(param: caffe_pb2.LayerParameter) -> type[Layer]:
    """Return the class of a LayerParameter's type for its traits; :class:`Layer`, which has the usual ones, without."""
    return LAYERS.get(param.type, Layer)


def create_layer(param: caffe_pb2.LayerParameter, context: NetContext) -> Layer:
    """Make the layer that a LayerParameter describes.

    Raises:
        NetError: there is no such layer type, or the layer refuses its parameters.
    """
    return layer_class(param)(param, context)
