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
# The onnx_advice of several layers.
COMPARES = "it compares with labels: export the deploy.prototxt, which has none"
TRAINS = "it prepares labels or scores for training: export the deploy.prototxt, which has none"
# Smaller parameter blobs are allocated without asking how much memory there is.
_LEAST_CHECKED_BYTES = 64 << 20


@dataclass
class NetContext:
    """What a layer may know of the net around it.

    Attributes:
        phase: ``caffe_pb2.TRAIN`` or ``caffe_pb2.TEST``.
        dialect: the dialect; layers read its flags.
        engine: ``"CAFFE"`` or ``"CUDNN"`` overrides every convolution's own ``engine``; None leaves it to them.
        rng: the net's random numbers, Caffe's generator; None where no layer draws any.
        initial: the generator of the initial values while a net with a seed is built; None: torch's own generator,
            which all threads share.
        seeded: the user gave a seed: layers draw from ``rng`` wherever they can, even where torch's own random numbers
            are faster.
        label_reading: ``"index"`` or ``"luminance"``: how palette label PNGs are read (see ``docs/differences.md``).
        crf_image_of_first: DENSE_CRF uses the image of batch item 0 for all items, as the original does.
        channels_last: images are kept in channels-last order.
        packed: inference on the CPU may keep a packed copy of the weights. False where scripts write to the weights
            without torch's knowledge, as with pycaffe.
        keep_ignored_diff: SOFTMAX_LOSS gives ignored pixels their gradient of the last pass, rescaled, as the original
            does when it trains, instead of 0.
        workers: number of threads that decode ahead, for each data layer; 0: decode when the batch is asked for.
        shard: (rank, world): this process's part of each global batch of ``world`` times the prototxt's ``batch_size``;
            see :class:`deeplab_caffe.data.Shard`.
        python_layers: whether layers of type Python may run; ``"unchanged"``: yes, and exceptions of their code are
            not wrapped in a NetError.
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
    """One Caffe layer. Other code asks its traits and methods for what it needs to know, and never tests its class.

    A subclass sets ``TYPE`` and the numbers of bottoms and tops, creates its parameters in :meth:`setup`, computes top
    shapes in :meth:`top_shapes` and tops in :meth:`forward`. Blobs are tensors; labels are float blobs too, as in
    Caffe.

    ``capturable`` and ``per_item`` are False unless a class sets them, because a wrong True is dangerous: a CUDA graph
    with a layer that waits for the device cannot be captured, and a graph with a layer that has a state, or a batch
    that is split although its items depend on each other, gives wrong numbers without an error. A False that costs
    speed is not hidden: ``OptimizedNet.graph_break_reason`` names the layer, and a test checks that every class of this
    package sets both.

    Attributes:
        name: the layer's name in the prototxt.
        param: its LayerParameter.
        inplace: set by the net where the top may overwrite the bottom's memory.
        stopped_bottoms: indices of the bottoms that get no gradient because of ``propagate_down: false``.
        bottom_is_spare: set by the net where no backward pass needs the bottom's values: a convolution's top.
    """

    TYPE: ClassVar[str]
    BOTTOMS: ClassVar[tuple[int, float]] = (1, 1)
    TOPS: ClassVar[tuple[int, float]] = (1, 1)
    # Names of the attributes with the parameter blobs, in Caffe's order: weight, bias, ... Those that are None are left
    # out.
    roles: tuple[str, ...] = ()
    # bfloat16 and float16 bottoms are fine; the net hands float32 to all others.
    supports_half: bool = False
    # True for data sources: the tops do not depend on the bottoms alone.
    is_source: bool = False
    # The user's code of a Python layer, which has its own blobs; None for all other layers.
    code: UserCode | None = None
    # A top may share memory with the bottom: later layers must not work in place on it.
    may_alias: ClassVar[bool] = False
    # A layer without a top gets one, named "(automatic)", as Caffe's losses do.
    auto_top: ClassVar[bool] = False
    # False: no gradient flows from the tops to the bottoms, so the layer is never run for a backward pass.
    differentiable: ClassVar[bool] = True
    # Bottoms that never get a gradient, not even by force_backward: labels.
    label_bottoms: tuple[int, ...] = ()
    # The weight of a top without a loss_weight: 1 for losses.
    default_loss_weight: ClassVar[float] = 0.0
    # In phase TEST it reads nothing back from the device, never waits and keeps no state: a CUDA graph can hold it.
    capturable: bool = False
    # Each batch item is computed by itself, so that a batch may be split.
    per_item: bool = False
    # What autograd keeps for the backward pass: "bottoms", "tops", or neither; saved_bytes counts the rest.
    saves: tuple[str, ...] = ("bottoms",)
    # As in Caffe, the gradient is computed from the tops, which a script may have changed since the forward pass.
    gradient_from_tops: bool = False
    # The tops are accuracies over all forward passes so far: only the last ones are of use, not their mean.
    accumulates: bool = False
    # forward_fused can compute a following layer that has a RectifierFact.
    fuses_rectifier: ClassVar[bool] = False
    # It writes files: of the processes that share a batch, only one may run it.
    writes_files: ClassVar[bool] = False
    # It writes a MAT file for each bottom, named as its mat_write_param says.
    writes_mat: ClassVar[bool] = False
    # In a test net its first bottom is the net's answer: accuracies, the dense CRF.
    takes_answer: ClassVar[bool] = False
    # Its batches come from arrays given to set_arrays.
    takes_arrays: ClassVar[bool] = False
    # Why ONNX cannot have it, if it cannot, and what to do.
    onnx_advice: ClassVar[str] = "export a prototxt without it"
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
        self.training = self.in_training
        for role, names, (low, high) in (("bottom", param.bottom, self.BOTTOMS), ("top", param.top, self.TOPS)):
            if not low <= len(names) <= high:
                wanted = str(low) if low == high else f"at least {low}" if high == math.inf else f"{low} to {high}"
                raise self.error(f"{self.TYPE} takes {wanted} {role} blobs, got {len(names)}")
        if len(param.propagate_down) not in (0, len(param.bottom)):
            expected = f"expected one propagate_down for each of the {len(param.bottom)} bottoms, or none"
            raise self.error(f"{expected}, got {len(param.propagate_down)}")

    def error(self, message: str) -> NetError:
        """Return an error that names this layer."""
        return NetError(message, layer=self.name)

    @property
    def phase(self) -> int:
        """Return the phase that the layer runs in: its own ``phase``, or else the net's (net.cpp, Init)."""
        return self.param.phase if self.param.HasField("phase") else self.context.phase

    @property
    def in_training(self) -> bool:
        """Return whether the layer's phase is TRAIN."""
        return self.phase == caffe_pb2.TRAIN

    def train(self, mode: bool = True) -> Layer:
        """Set the mode, as torch's modules do; a layer with a ``phase`` of its own stays in that phase."""
        return super().train(self.in_training if self.param.HasField("phase") else mode)

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
        """Return the blobs with the shapes (N, C, H, W) that :meth:`images` gives."""
        return [blob if blob.dim() == 4 else blob[(...,) + (None,) * (4 - blob.dim())] for blob in blobs]

    def filled_up(self, shape: Shape) -> Shape:
        """Return a shape, padded to four axes with trailing 1s if the dialect's blobs have four axes."""
        return shape + (1,) * (4 - len(shape)) if self.context.dialect.four_axes else shape

    @property
    def scalar_shape(self) -> Shape:
        """Return the shape of a single number: of a loss, an accuracy."""
        return self.context.dialect.scalar()

    # Computation.

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
        """Return the tops of this layer followed by ``activation``, a layer that has a RectifierFact."""
        tops: tuple[Tensor, ...] = activation(*self(*bottoms))
        return tops

    def takes_affine(self, layer: Layer) -> bool:
        """Return whether :meth:`forward_affine` can compute ``layer``, which reads the top, together with this one."""
        return False

    def forward_affine(self, layer: Layer, *bottoms: Tensor) -> tuple[Tensor, ...]:
        """Return the tops of this layer followed by ``layer``, with gradients; :meth:`takes_affine` must be true."""
        tops: tuple[Tensor, ...] = layer(*self(*bottoms))
        return tops

    @property
    def fact(self) -> Fact | None:
        """Return what the layer computes, for code that may compute it in another way; None: only the layer can."""
        return None

    @property
    def is_identity(self) -> bool:
        """Return whether each top is the bottom itself, in this phase."""
        return False

    def overwrites(self, bottom: Tensor) -> bool:
        """Return whether to compute in the bottom's memory: never while a backward pass may need its values."""
        return self.inplace and (self.bottom_is_spare or not (bottom.requires_grad and torch.is_grad_enabled()))

    # Parameter blobs.

    def blob_shape(self, shape: Shape) -> Shape:
        """Return the shape that a parameter of this shape has in files and in pycaffe."""
        return self.context.dialect.blob_shape(tuple(shape))

    def new_blob(self, shape: Shape, filler: caffe_pb2.FillerParameter) -> nn.Parameter:
        """Make a parameter blob with its initial values; see :func:`deeplab_caffe.layers.fillers.fill`.

        Raises:
            NetError: the filler is unknown or its numbers are invalid, or there is not enough memory.
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
        """Return the parameter blobs that the layer computes with, by role, in Caffe's order.

        A pruned, weight-normed or otherwise parametrized blob is computed anew from its parts.
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
        """Copy numbers into a parameter blob, or into the parts that it is computed from; a pruning mask stays.

        Raises:
            NetError: the blob is parametrized in a way that cannot be inverted.
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
        """Return a copy for inference whose blobs are its own, and plain parameters.

        Args:
            device: the device of the copy's blobs; ``"meta"``: they have shapes and no numbers.
            dtype: the dtype of the copy's blobs; None keeps it.
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
        """Free the memory of the weights; only their shapes remain."""
        for module in self.modules():
            for name, parameter in module._parameters.items():
                if parameter is not None:
                    module._parameters[name] = nn.Parameter(parameter.detach().to("meta"), requires_grad=False)

    # Training.

    def allows_gradient(self, bottom: int) -> bool:
        """Return whether ``force_backward`` may ask for the gradient of this bottom (Caffe's AllowForceBackward)."""
        return bottom not in self.label_bottoms

    def normalizer(self, *bottoms: Tensor) -> Tensor | None:
        """Return the loss's denominator, a scalar, if it depends on the bottoms' values; else None.

        Processes that share a batch weight their losses by it to get the loss of the whole batch.
        """
        return None

    def saved_bytes(self, bottom_shapes: list[Shape], top_shapes: list[Shape], width: int) -> int:
        """Return how many bytes the layer keeps for its backward pass besides what :attr:`saves` names.

        Args:
            bottom_shapes: shapes of the bottoms.
            top_shapes: shapes of the tops.
            width: bytes per number in the tops.
        """
        return 0

    def training_state(self) -> dict[str, Any]:
        """Return the state that a resumed run needs besides the blobs: positions in data, running sums.

        It is of plain values and arrays, and the same in all processes that share a batch.
        """
        return {}

    def load_training_state(self, state: dict[str, Any]) -> None:
        """Restore a state that :meth:`training_state` returned.

        Raises:
            DataError: a position does not fit the data.
        """

    @property
    def batch_state(self) -> Tensor | None:
        """Return what the layer keeps from batch to batch, (N, ...) for this process's part of it; None: nothing."""
        return None

    def load_batch_state(self, state: Tensor | None) -> None:
        """Restore a :attr:`batch_state`; None: begin anew."""

    def set_arrays(self, data: np.ndarray, labels: np.ndarray, data_dim: np.ndarray | None = None) -> None:
        """Take the arrays that the next batches come from, if :attr:`takes_arrays` is true.

        Raises:
            NetError: the arrays do not fit, or the layer takes none.
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

    # The net's table, its drawing and its ONNX model.

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
        raise graph.unsupported(self.TYPE, self.onnx_advice)

    def onnx_blobs(self, graph: OnnxGraph) -> list[str]:
        """Add the parameter blobs to an ONNX graph; return their names there."""
        return [graph.parameter(role, blob) for role, blob in self.named_blobs.items()]

    def extra_repr(self) -> str:
        """Return the names of the bottoms and tops, for ``repr``."""
        return f"{', '.join(self.param.bottom)} -> {', '.join(self.param.top)}"


class Loss(Layer):
    """A layer whose top, a single number, is minimised; its weight is 1 unless ``loss_weight`` gives another."""

    BOTTOMS = (2, 2)
    label_bottoms: tuple[int, ...] = (1,)
    auto_top = True
    default_loss_weight = 1.0
    onnx_advice = COMPARES
    capturable = per_item = False
    kind = "compare"

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        return [self.scalar_shape]

    def receptive_window(self) -> ReceptiveWindow | None:
        return None


LAYERS: dict[str, type[Layer]] = {}


def is_channels_last(blob: Tensor) -> bool:
    """Return whether a blob is in channels-last order only; False for one channel or pixel, where both orders agree."""
    return blob.dim() == 4 and blob.is_contiguous(memory_format=torch.channels_last) and not blob.is_contiguous()


def register(cls: type[Layer]) -> type[Layer]:
    """Register ``cls`` as the class of its ``TYPE``; a class decorator."""
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
