"""Algorithms for a convolution with the sum and ReLU behind it; each prepares its weights once.

All of them take and return channels-last tensors of the weights' dtype. :func:`algorithms` returns those that a device
has for a layer; :mod:`deeplab_caffe.inference.autotune` measures which is fastest.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from deeplab_caffe.inference import sub_grids
from deeplab_caffe.layers import ConvolutionFact, Layer, Pair, RectifierFact
from deeplab_caffe.ops.depthwise import depthwise_conv2d_channels_last, depthwise_taps
from deeplab_caffe.ops.hole import conv2d
from deeplab_caffe.ops.onednn_limits import HALF, is_narrow, is_usual, pads_beyond_kernel
from deeplab_caffe.ops.packed_conv import Geometry, operators_exist, pack_weight, packed_conv2d, same_order
from deeplab_caffe.ops.sizes import output_hw
from deeplab_caffe.ops.stem import MOST_CHANNELS, stem_conv2d, stem_panels
from deeplab_caffe.ops.winograd import LARGEST_HOLES, TILES, fits, winograd_conv2d, winograd_weight

# A function of the input; with a sum also of the other summand, and of whether the result may overwrite it.
Run = Callable[..., Tensor]

# im2col's columns are written and read once; if they are larger than this, the algorithm only risks the memory.
_MOST_COLUMN_BYTES = 2 << 30
# Tensor cores multiply half-precision channels in groups of this size.
_TENSOR_CORE_CHANNELS = 8
# With fewer channels, an implicit GEMM multiplies mostly padding.
_LEAST_CHANNELS_OF_A_TILE = 32
_FIRST_WITH_BFLOAT16 = (8, 0)
#: Algorithms with larger errors than a direct convolution in another order of summation: used only if named
#: explicitly, or if :attr:`ConvSpec.fast` is true.
ROUGHER = frozenset({"winograd_4x4"})
#: The tile of each variant of Winograd's algorithm, the larger one first.
WINOGRAD_TILES = {f"winograd_{tile}x{tile}": tile for tile in sorted(TILES, reverse=True)}
# With a larger hole, cuDNN's fused convolution is not used without measuring it: LargeFOV's fc6 (hole 12, bfloat16,
# batch 1) took 22.4 ms on an H100, torch's own 0.07 ms; conv5_1 (hole 2) took 0.019 and 0.026 ms
# (benchmarks/results/fps_cuda.json).
_LARGEST_FUSED_HOLE = 2
# With a larger padding, oneDNN does not use its fast code for dilated depthwise convolutions, and takes 12 to 24 times
# as long (AVX2, benchmarks/depthwise.py --inference).
_LARGEST_DEPTHWISE_PADDING = 4


@dataclass(frozen=True)
class ConvSpec:
    """One convolution.

    Attributes:
        weight: (O, C / groups, kh, kw), in the dtype and on the device of the computation; on a GPU channels-last.
        bias: (O,), in the same dtype and on the same device, or None.
        stride: (height, width), as are pad and dilation.
        relu: whether a ReLU follows, after the sum.
        ceiling: upper bound of the rectified result.
        adds: whether another blob is added before the ReLU.
        fast: allow algorithms with larger rounding errors, those of :data:`ROUGHER`, for speed.
        packs: packed forms of the weight, shared by convolutions with the same weight.
        transformed: the weight transformed for Winograd's algorithm, by tile, shared in the same way.
    """

    weight: Tensor
    bias: Tensor | None
    stride: Pair
    pad: Pair
    dilation: Pair
    groups: int
    relu: bool
    adds: bool = False
    ceiling: float = math.inf
    fast: bool = False
    packs: list[Tensor] = field(default_factory=list, compare=False, repr=False)
    transformed: dict[int, Tensor] = field(default_factory=dict, compare=False, repr=False)

    @property
    def kernel(self) -> Pair:
        """Return the kernel's (height, width)."""
        height, width = self.weight.shape[2:]
        return height, width

    def rectified(self, y: Tensor) -> Tensor:
        """Apply :attr:`relu` and :attr:`ceiling` to a convolution's result, in place, and return it."""
        return RectifierFact(self.ceiling).apply_(y) if self.relu else y

    @property
    def pointwise(self) -> bool:
        """Return whether it is a matrix product over the channels of each pixel."""
        return self.kernel == (1, 1) and self.stride == (1, 1) and self.pad == (0, 0) and self.groups == 1

    @property
    def dilated(self) -> bool:
        """Return whether there is a dilation that has an effect."""
        return any(h > 1 and k > 1 for h, k in zip(self.dilation, self.kernel, strict=True))

    def output_size(self, x: Tensor) -> Pair:
        """Return (OH, OW) for this input."""
        return output_hw(x.shape, self.kernel, self.stride, self.pad, self.dilation)

    def packed(self, geometry: Geometry, shape: Sequence[int]) -> Tensor:
        """Return the weight packed for an input of this shape.

        The best layout may depend on the shape; with another layout oneDNN still works, but reorders the weight in
        every run. If one of :attr:`packs` has the layout, that one is returned.
        """
        new = pack_weight(self.weight, geometry, shape)
        found = next((pack for pack in self.packs if same_order(pack, new)), None)
        if found is None:
            self.packs.append(new)
        return new if found is None else found


def spec_of(
    fact: ConvolutionFact,
    blobs: Mapping[str, Tensor],
    activation: Layer | None,
    device: torch.device,
    dtype: torch.dtype,
    *,
    adds: bool = False,
    fast: bool = False,
    copy: bool = True,
) -> ConvSpec:
    """Return the spec of a convolution layer, with the weights converted to a device and dtype.

    Without ``copy``, the weights are the layer's own tensors if these have that device and dtype.
    """
    weight = blobs["weight"].detach().to(device, dtype, copy=copy)
    if weight.is_cuda:
        weight = weight.contiguous(memory_format=torch.channels_last)
    bias = blobs["bias"].detach().to(device, dtype, copy=copy) if "bias" in blobs else None
    rectifier = None if activation is None else activation.fact
    ceiling = rectifier.ceiling if isinstance(rectifier, RectifierFact) else math.inf
    relu = rectifier is not None
    return ConvSpec(weight, bias, fact.stride, fact.pad, fact.dilation, fact.groups, relu, adds, ceiling, fast)


def direct(spec: ConvSpec) -> Run:
    """Use torch's convolution, then add and rectify in place: the reference for all other algorithms."""

    def run(x: Tensor, other: Tensor | None = None, _: bool = False) -> Tensor:
        y = F.conv2d(x, spec.weight, spec.bias, spec.stride, spec.pad, spec.dilation, spec.groups)
        y = y if other is None else y.add_(other)
        return spec.rectified(y)

    return run


def by_planes(spec: ConvSpec) -> Run:
    """Use torch's convolution on channels-first memory."""
    if spec.adds:
        return added(spec, by_planes)
    plain = direct(replace(spec, weight=spec.weight.contiguous()))
    return lambda x: plain(x.contiguous()).contiguous(memory_format=torch.channels_last)


def added(spec: ConvSpec, algorithm: Callable[[ConvSpec], Run]) -> Run:
    """Use an algorithm that cannot add, and add in place."""
    run = algorithm(replace(spec, adds=False, relu=False))

    def sum_up(x: Tensor, other: Tensor, _: bool = False) -> Tensor:
        y = run(x).add_(other)
        return spec.rectified(y)

    return sum_up


def capped(make: Callable[[], Run], ceiling: float) -> Run:
    """Use an algorithm that rectifies but has no upper bound, and apply the bound in place."""
    run = make()
    return lambda *given: run(*given).clamp_max_(ceiling)


def cudnn_fused(spec: ConvSpec) -> Run:
    """Use cuDNN's convolution with bias and ReLU in the epilogue; torch would add the bias in a separate pass."""
    bias = spec.bias
    if bias is None:
        bias = spec.weight.new_zeros(spec.weight.shape[0])

    def run(x: Tensor) -> Tensor:
        return torch.cudnn_convolution_relu(
            x, spec.weight, bias, list(spec.stride), list(spec.pad), list(spec.dilation), spec.groups
        )

    return run


def cudnn_added(spec: ConvSpec) -> Run:
    """Use cuDNN's convolution with bias, sum and ReLU in the epilogue."""
    bias = spec.bias
    if bias is None:
        bias = spec.weight.new_zeros(spec.weight.shape[0])

    def run(x: Tensor, other: Tensor, _: bool = False) -> Tensor:
        return torch.cudnn_convolution_add_relu(
            x, spec.weight, other, 1, bias, list(spec.stride), list(spec.pad), list(spec.dilation), spec.groups
        )

    return run


def onednn_added(spec: ConvSpec, shape: Sequence[int]) -> Run:
    """Use oneDNN's convolution with sum and ReLU, with weights packed as in :func:`onednn_packed`."""
    geometry = Geometry(spec.stride, spec.pad, spec.dilation, spec.groups)
    packed = spec.packed(geometry, shape)
    bias, relu = spec.bias, spec.relu

    def run(x: Tensor, other: Tensor, spare: bool = False) -> Tensor:
        return packed_conv2d(x, packed, bias, geometry, relu=relu, other=other, spare=spare)

    return run


def onednn_packed(spec: ConvSpec, shape: Sequence[int]) -> Run:
    """Use oneDNN's convolution with ReLU; the weights are packed for inputs of ``shape``, and work for any shape."""
    geometry = Geometry(spec.stride, spec.pad, spec.dilation, spec.groups)
    packed = spec.packed(geometry, shape)
    bias, relu, ceiling = spec.bias, spec.relu, spec.ceiling
    return lambda x: packed_conv2d(x, packed, bias, geometry, relu=relu, ceiling=ceiling)


def _product(rows: Tensor, matrix: Tensor, bias: Tensor | None, relu: bool) -> Tensor:
    """Return the product of rows (M, K) and matrix (K, O) plus the bias, with ``relu`` rectified."""
    if bias is None:
        y = rows @ matrix
        return y.relu_() if relu else y
    return torch._addmm_activation(bias, rows, matrix) if relu else torch.addmm(bias, rows, matrix)


def pointwise_product(spec: ConvSpec) -> Run:
    """Compute a 1x1 convolution as one matrix product with bias and ReLU in the epilogue."""
    matrix = spec.weight.flatten(1).t()

    def run(x: Tensor) -> Tensor:
        pixels = x.permute(0, 2, 3, 1)
        y = _product(pixels.reshape(-1, x.shape[1]), matrix, spec.bias, spec.relu)
        return y.view(*pixels.shape[:3], -1).permute(0, 3, 1, 2)

    return run


def im2col_product(spec: ConvSpec) -> Run:
    """Write out im2col's columns, and multiply them by the weights."""
    matrix = spec.weight.permute(0, 2, 3, 1).flatten(1).t()

    def run(x: Tensor) -> Tensor:
        height, width = spec.output_size(x)
        image = F.pad(x, (spec.pad[1], spec.pad[1], spec.pad[0], spec.pad[0])).permute(0, 2, 3, 1)
        image = image.contiguous()
        n, sy, sx, sc = image.stride()
        taps = image.as_strided(
            (x.shape[0], height, width, *spec.kernel, x.shape[1]),
            (n, sy * spec.stride[0], sx * spec.stride[1], sy * spec.dilation[0], sx * spec.dilation[1], sc),
        )
        y = _product(taps.reshape(-1, matrix.shape[0]), matrix, spec.bias, spec.relu)
        return y.view(x.shape[0], height, width, -1).permute(0, 3, 1, 2)

    return run


def on_sub_grids(spec: ConvSpec, dense: Callable[[ConvSpec], Run]) -> Run:
    """Use dense convolutions on the sub-grids of the dilation; see :mod:`deeplab_caffe.inference.sub_grids`."""
    inner = dense(replace(spec, pad=sub_grids.dense_padding(spec.pad, spec.dilation), dilation=(1, 1)))
    return lambda x: sub_grids.convolve(x, spec.dilation, spec.pad, spec.kernel, inner)


def padded_channels(spec: ConvSpec, convolution: Callable[[ConvSpec], Run]) -> Run:
    """Pad the input's channels with zeros to the number that tensor cores need, for images with three channels."""
    more = -spec.weight.shape[1] % _TENSOR_CORE_CHANNELS
    weight = F.pad(spec.weight, (0, 0, 0, 0, 0, more)).contiguous(memory_format=torch.channels_last)
    inner = convolution(replace(spec, weight=weight, packs=[], transformed={}))
    return lambda x: inner(F.pad(x, (0, 0, 0, 0, 0, more)).contiguous(memory_format=torch.channels_last))


def winograd(spec: ConvSpec, tile: int) -> Run:
    """Use Winograd's algorithm with tiles of ``tile`` x ``tile`` outputs; sum, ReLU and bound are applied per tile."""
    if tile not in spec.transformed:
        spec.transformed[tile] = winograd_weight(spec.weight, tile)
    transformed, outputs, bias = spec.transformed[tile], spec.weight.shape[0], spec.bias
    pad, dilation, relu, ceiling = spec.pad, spec.dilation, spec.relu, spec.ceiling

    def run(x: Tensor, other: Tensor | None = None, _: bool = False) -> Tensor:
        return winograd_conv2d(x, transformed, outputs, bias, pad, dilation, other=other, relu=relu, ceiling=ceiling)

    return run


def stem(spec: ConvSpec) -> Run:
    """Use this package's convolution for few channels, with ReLU and upper bound applied as outputs are written."""
    if spec.adds:
        return added(spec, stem)
    panels, outputs, bias = stem_panels(spec.weight), spec.weight.shape[0], spec.bias
    stride, pad, relu, ceiling = spec.stride, spec.pad, spec.relu, spec.ceiling
    return lambda x: stem_conv2d(x, panels, outputs, bias, stride, pad, relu=relu, ceiling=ceiling)


def depthwise(spec: ConvSpec) -> Run:
    """Use this package's depthwise convolution, with ReLU and upper bound applied as outputs are written."""
    if spec.adds:
        return added(spec, depthwise)
    taps, bias, relu, ceiling = depthwise_taps(spec.weight), spec.bias, spec.relu, spec.ceiling
    geometry = spec.stride, spec.pad, spec.dilation
    return lambda x: depthwise_conv2d_channels_last(x, taps, bias, *geometry, relu=relu, ceiling=ceiling)


def caffe_engine(spec: ConvSpec) -> Run:
    """Use im2col and GEMM as in the original, on channels-first memory: engine CAFFE."""
    if spec.adds:
        return added(spec, caffe_engine)
    weight = spec.weight.contiguous()

    def run(x: Tensor) -> Tensor:
        y = conv2d(x.contiguous(), weight, spec.bias, spec.stride, spec.pad, spec.dilation, spec.groups)
        return spec.rectified(y)

    return run


def algorithms(spec: ConvSpec, shape: Sequence[int]) -> dict[str, Callable[[], Run]]:
    """Return the algorithms for a convolution on its device, by name, the default one first.

    Args:
        spec: the convolution.
        shape: shape of the most frequent input.
    """
    if spec.weight.device.type == "cpu" and spec.weight.dtype in HALF:
        return _of_half_on_cpu(spec, shape)
    found: dict[str, Callable[[], Run]]
    if spec.weight.device.type == "cpu" and pads_beyond_kernel(spec.kernel, spec.pad, spec.dilation):
        found = {"planes": lambda: by_planes(spec)}
    else:
        found = _of_any_sum(spec, shape)
    if spec.weight.is_cuda and spec.dilated and max(spec.dilation) > _LARGEST_FUSED_HOLE:
        return {"direct": found["direct"]} | found
    ours = _ours(spec)
    first = {name: make for name, (preferred, make) in ours.items() if preferred and allowed(spec, name)}
    return first | found | {name: make for name, (_, make) in ours.items()}


def in_float32(spec: ConvSpec, shape: Sequence[int]) -> Run:
    """Compute in float32, by its default algorithm, for inputs and results of another dtype."""
    dtype, bias = spec.weight.dtype, None if spec.bias is None else spec.bias.float()
    wide = replace(spec, weight=spec.weight.float(), bias=bias, packs=[], transformed={})
    run = next(iter(algorithms(wide, shape).values()))()

    def widened(x: Tensor, *sum_of: Tensor | bool) -> Tensor:
        given = (one.float() if isinstance(one, Tensor) else one for one in sum_of)
        return run(x.float(), *given).to(dtype)

    return widened


def _of_half_on_cpu(spec: ConvSpec, shape: Sequence[int]) -> dict[str, Callable[[], Run]]:
    """Return the algorithms for 16-bit numbers on the CPU, where oneDNN computes some convolutions incorrectly."""
    if not is_usual(spec.kernel, spec.stride, spec.pad, spec.dilation):
        return {"float32": lambda: in_float32(spec, shape)}
    found = _of_any_sum(spec, shape)
    if spec.stride[1] == 1:
        return found

    def unless_narrow(make: Callable[[], Run]) -> Run:
        run = make()

        def chosen(x: Tensor, *sum_of: Tensor | bool) -> Tensor:
            narrow = is_narrow(spec.stride, spec.output_size(x))
            return (in_float32(spec, x.shape) if narrow else run)(x, *sum_of)

        return chosen

    return {name: partial(unless_narrow, make) for name, make in found.items()}


def allowed(spec: ConvSpec, name: str) -> bool:
    """Return whether an algorithm may be used without being named explicitly."""
    return spec.fast or name not in ROUGHER


def _ours(spec: ConvSpec) -> dict[str, tuple[bool, Callable[[], Run]]]:
    """Return this package's algorithms for float32 on the CPU, each with whether it is preferred to oneDNN's.

    Winograd's larger tiles come first. The preference does not depend on the image's size, so that the bits of a result
    do not depend on the size that was prepared for.
    """
    if spec.weight.device.type != "cpu" or spec.weight.dtype != torch.float32:
        return {}
    if spec.groups == spec.weight.shape[0] and spec.weight.shape[1] == 1:
        preferred = spec.dilated and max(spec.pad) > _LARGEST_DEPTHWISE_PADDING
        return {"depthwise": (preferred, partial(depthwise, spec))}
    if spec.groups == 1 and spec.weight.shape[1] <= MOST_CHANNELS and not spec.dilated:
        return {"stem": (not spec.adds, partial(stem, spec))}
    if not fits(spec.weight, spec.stride, spec.groups):
        return {}
    hole = max(spec.dilation)
    return {name: (hole <= LARGEST_HOLES[tile], partial(winograd, spec, tile)) for name, tile in WINOGRAD_TILES.items()}


def _of_any_sum(spec: ConvSpec, shape: Sequence[int]) -> dict[str, Callable[[], Run]]:
    found: dict[str, Callable[[], Run]]
    if spec.ceiling < math.inf:
        uncapped = _of_any_sum(replace(spec, ceiling=math.inf), shape)
        found = {name: partial(capped, make, spec.ceiling) for name, make in uncapped.items()}
        if not spec.adds and "onednn_packed" in found:
            found["onednn_packed"] = lambda: onednn_packed(spec, shape)
        return found
    if not spec.adds:
        return _algorithms(spec, shape)
    found = {}
    if spec.weight.is_cuda and spec.relu:
        found["cudnn_added"] = lambda: cudnn_added(spec)
    elif not spec.weight.is_cuda and operators_exist() and (spec.groups == 1 or spec.weight.dtype not in HALF):
        # torch does not fuse a sum after a grouped convolution, and its fused sum with ReLU lacks 16-bit numbers.
        found["onednn_added"] = lambda: onednn_added(spec, shape)

    def then_add(name: str) -> Callable[[], Run]:
        return lambda: added(spec, lambda bare: _algorithms(bare, shape)[name]())

    return found | {name: then_add(name) for name in _algorithms(replace(spec, adds=False, relu=False), shape)}


def _algorithms(spec: ConvSpec, shape: Sequence[int]) -> dict[str, Callable[[], Run]]:
    on_gpu = spec.weight.is_cuda
    if not on_gpu and not operators_exist():
        return {"direct": lambda: direct(spec)}
    base: Callable[[ConvSpec], Run]
    if on_gpu:
        base = cudnn_fused if spec.relu else direct
        found = {"cudnn_fused" if spec.relu else "direct": lambda: base(spec)}
        if spec.relu:
            found["direct"] = lambda: direct(spec)
        if spec.groups == 1 and spec.weight.dtype != torch.float32 and spec.weight.shape[1] < _TENSOR_CORE_CHANNELS:
            found["padded_channels"] = lambda: padded_channels(spec, base)
    else:
        found = {"onednn_packed": lambda: onednn_packed(spec, shape)}

        def base(dense: ConvSpec) -> Run:
            return onednn_packed(dense, _sub_grid_shape(spec, shape))

    if spec.pointwise:
        found["pointwise_product"] = lambda: pointwise_product(spec)
    if spec.dilated and spec.stride == (1, 1):
        found["sub_grids"] = lambda: on_sub_grids(spec, base)
    if spec.dilated and spec.groups == 1:
        height, width = spec.output_size(torch.empty(tuple(shape), device="meta"))
        columns = shape[0] * height * width * math.prod(spec.weight.shape[1:]) * spec.weight.element_size()
        if columns <= _MOST_COLUMN_BYTES:
            found["im2col_product"] = lambda: im2col_product(spec)
    return found | _implicit_gemms(spec)


def _implicit_gemms(spec: ConvSpec) -> dict[str, Callable[[], Run]]:
    """Return the Triton algorithms, one per tile, if Triton and tensor cores are available."""
    wide = spec.groups == 1 and spec.weight.shape[1] >= _LEAST_CHANNELS_OF_A_TILE and not spec.pointwise
    half = spec.weight.dtype in HALF
    if not (spec.weight.is_cuda and wide and half) or importlib.util.find_spec("triton") is None:
        return {}
    if torch.cuda.get_device_capability(spec.weight.device) < _FIRST_WITH_BFLOAT16:
        return {}
    try:
        from deeplab_caffe.inference import implicit_gemm  # imports triton
    except (ImportError, OSError, RuntimeError):
        return {}

    def by_tile(tile: implicit_gemm.Tile) -> Callable[[], Run]:
        return lambda: implicit_gemm.convolution(
            spec.weight, spec.bias, spec.stride, spec.pad, spec.dilation, spec.relu, tile
        )

    narrowest = min(tile.outputs for tile in implicit_gemm.TILES)
    fitting = [tile for tile in implicit_gemm.TILES if tile.outputs <= max(spec.weight.shape[0], narrowest)]
    return {f"implicit_gemm_{tile.pixels}x{tile.outputs}": by_tile(tile) for tile in fitting}


def _sub_grid_shape(spec: ConvSpec, shape: Sequence[int]) -> tuple[int, ...]:
    x = torch.empty(tuple(shape), device="meta").contiguous(memory_format=torch.channels_last)
    return tuple(sub_grids.split(x, spec.dilation, spec.pad).shape)
