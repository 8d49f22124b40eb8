"""A net made ready to run fast: :class:`OptimizedNet`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from deeplab_caffe import nvrtc
from deeplab_caffe.crf import CRFParams
from deeplab_caffe.data.sources.transform import IMAGENET_MEAN_BGR
from deeplab_caffe.errors import NetError
from deeplab_caffe.inference.choice import Choice, Chooser
from deeplab_caffe.inference.ends import end_of
from deeplab_caffe.inference.graphs import CapturedFunction, LRUCache
from deeplab_caffe.inference.kernels import Kernel, prepare, without_weights
from deeplab_caffe.inference.plan import Operation, Plan, build_plan
from deeplab_caffe.inference.precision import precision_of, switched
from deeplab_caffe.layers import Shape
from deeplab_caffe.layers.convolution import Convolution
from deeplab_caffe.ops.preprocess import preprocess
from deeplab_caffe.sides import fit_side

if TYPE_CHECKING:
    from deeplab_caffe.net import Net

# An image's activations at a time: more of them leave the processor's caches, and take memory. See docs/inference.md.
_CPU_ITEMS_AT_ONCE = 1


class OptimizedNet:
    """A net for inference alone, made by :meth:`deeplab_caffe.Net.optimize`, whose arguments it takes.

    It holds weights of its own, prepared for the device; later changes of the net's do not reach it. Any input size
    goes, with the ways chosen for the size it was optimized at. Several threads may call it; on a GPU they take turns.

    Attributes:
        device: where it runs.
        precision: what it computes in.
        plan: what it runs.
        choices: how each convolution is computed, and what the alternatives took.
        whole: why the forward pass is not one CUDA graph; empty where it is.
    """

    def __init__(
        self,
        net: Net,
        *,
        dtype: torch.dtype | str | None = None,
        batch: int | None = None,
        size: int | tuple[int, int] | None = None,
        blobs: Sequence[str] | None = None,
        autotune: bool | None = None,
        ways: Mapping[str, str] | None = None,
        graphs: bool = True,
        cache_size: int = 4,
        copy_outputs: bool = True,
        release: bool = False,
    ) -> None:
        reference = next(net.parameters(), None)
        self.device = torch.device("cpu") if reference is None else reference.device
        self.precision = precision_of(net.dtype if dtype is None else dtype, self.device)
        plan = build_plan(net, net.outputs if blobs is None else blobs)
        self.input_shapes = _sample_shapes(net, batch, size)
        self.copy_outputs = copy_outputs
        autotune = self.device.type == "cuda" if autotune is None else autotune
        chooser = Chooser(self.precision.tolerance, autotune=autotune, fixed=ways, verify=self.device.type == "cuda")
        self.choices: list[Choice] = chooser.choices
        self._kernels: dict[int, Kernel] = {}
        self._sides: dict[int, int] = {}
        self._lock = threading.Lock()
        self._cache: LRUCache[CapturedFunction] = LRUCache(cache_size)
        shapes = list(self.input_shapes.values())
        if self.device.type == "cpu" and plan.per_item:
            shapes = [(min(shape[0], _CPU_ITEMS_AT_ONCE), *shape[1:]) for shape in shapes]
        convolutions = {o.layer.name for o in plan.operations if isinstance(o.layer, Convolution)}
        unknown = set(chooser.fixed) - convolutions
        if unknown:
            raise NetError(f"ways for unknown convolutions {', '.join(sorted(unknown))}")
        known = plan.shapes(shapes)
        with self._memory_errors(shapes), switched(self.precision, self.device):
            for operation in plan.operations:
                bottoms = [known[number] for number in operation.bottoms]
                self._kernels[operation.tops[0]] = prepare(
                    operation, bottoms, self.device, self.precision, chooser, release=release
                )
        self.plan = replace(plan, operations=tuple(replace(o, layer=without_weights(o.layer)) for o in plan.operations))
        self.whole = self._why_not_captured(graphs)

    def _why_not_captured(self, graphs: bool) -> str:
        if self.device.type != "cuda":
            return "no GPU"
        if not graphs:
            return "not asked for"
        if not self.plan.capturable:
            return "it has layers that wait for the GPU or keep a state"
        return ""

    def __call__(self, *args: Tensor, **inputs: Tensor) -> Tensor | dict[str, Tensor]:
        """As calling the net: the blobs it was optimized for, a tensor if it is one, else a dict.

        Raises:
            NetError: inputs that do not fit, are on another device, or too large for the GPU's memory.
        """
        given = self._inputs(args, inputs)
        found = self._run("scores", given, self._forward)
        return next(iter(found.values())) if len(found) == 1 else found

    def labels(self, x: Tensor) -> Tensor:
        """uint8 (N, H, W): the best class of each pixel of the output; the largest where several are.

        Args:
            x: the input blob (N, C, H, W).

        Raises:
            NetError: as for calling it; or it was optimized for several blobs.
        """
        return self._run("labels", self._inputs((x,), {}), self._label)["labels"]

    def label_images(
        self,
        images: Tensor | np.ndarray,
        *,
        crf: CRFParams | None = None,
        mean: tuple[float, float, float] = IMAGENET_MEAN_BGR,
    ) -> Tensor:
        """Labels of photographs of one size, as :class:`deeplab_caffe.Segmenter` finds them, all on the device.

        Args:
            images: uint8 RGB (N, H, W, 3), numpy's or torch's, here or on the device.
            crf: parameters of the dense CRF; None for none.
            mean: what to subtract from B, G and R.

        Returns:
            uint8 (N, H, W), on the device.

        Raises:
            NetError: no such images, or a net that does not give scores at the size of its one input.
        """
        images = torch.from_numpy(images) if isinstance(images, np.ndarray) else images
        if images.dtype != torch.uint8 or images.dim() != 4 or images.shape[3] != 3 or images.numel() == 0:
            raise NetError(f"expected uint8 RGB images (N, H, W, 3), got {images.dtype} {tuple(images.shape)}")
        if len(self.input_shapes) != 1:
            raise NetError(f"images are for nets of one input, this one has {', '.join(self.input_shapes)}")
        size = tuple(map(self._fit, images.shape[1:3]))
        images = images.to(self.device, non_blocking=True)
        function = partial(self._label_images, crf=crf, mean=tuple(mean), size=size)
        # A CRF whose kernels are compiled at run time takes memory that a graph would not keep.
        whole = crf is None or not nvrtc.enabled()
        return self._run(("images", crf, tuple(mean)), [images], function, capture=whole)["labels"]

    def _fit(self, least: int) -> int:
        if least not in self._sides:
            self._sides[least] = self._fitting_side(least)
        return self._sides[least]

    def _fitting_side(self, least: int) -> int:
        (channels,) = {shape[1] for shape in self.input_shapes.values()}
        (number,) = self.plan.outputs.values()

        def output_side(side: int) -> int:
            return self.plan.shapes([(1, channels, side, side)])[number][2]

        side, output = fit_side(least, output_side)
        if side != output:
            raise NetError(f"the net gives {output} rows for {side}: it must end with scores at its input's size")
        return side

    def _forward(self, *inputs: Tensor, plan: Plan | None = None) -> dict[str, Tensor]:
        def run(operation: Operation, bottoms: list[Tensor]) -> Sequence[Tensor]:
            return self._kernels[operation.tops[0]](bottoms)

        plan = plan or self.plan
        items = _CPU_ITEMS_AT_ONCE
        if self.device.type != "cpu" or not plan.per_item or inputs[0].shape[0] <= items:
            return plan.execute(inputs, run)
        found: dict[str, Tensor] = {}
        for begin in range(0, inputs[0].shape[0], items):
            for name, part in plan.execute([x[begin : begin + items] for x in inputs], run).items():
                if begin == 0:
                    found[name] = part.new_empty((inputs[0].shape[0], *part.shape[1:]))
                found[name][begin : begin + items] = part
        return found

    def _label(self, x: Tensor) -> dict[str, Tensor]:
        end = end_of(self.plan)
        scores = self._forward(x, plan=end.plan)[end.blob]
        return {"labels": end.labels(scores, end.size(scores))}

    def _label_images(
        self, images: Tensor, *, crf: CRFParams | None, mean: tuple[float, ...], size: tuple[int, int]
    ) -> dict[str, Tensor]:
        end = end_of(self.plan)
        blob = preprocess(images, mean=mean, size=size, dtype=self.precision.dtype, channels_last=True)
        scores = self._forward(blob, plan=end.plan)[end.blob]
        if crf is None:
            return {"labels": end.labels(scores, tuple(images.shape[1:3]))}
        return {"labels": end.refined(scores, images, crf)}

    def _run(
        self,
        task: Hashable,
        inputs: list[Tensor],
        function: Callable[..., dict[str, Tensor]],
        *,
        capture: bool = True,
    ) -> dict[str, Tensor]:
        shapes = [tuple(x.shape) for x in inputs]
        if self.whole or not capture:
            with self._memory_errors(shapes), switched(self.precision, self.device):
                return function(*inputs)

        def captured() -> CapturedFunction:
            with switched(self.precision, self.device):
                return CapturedFunction(function, inputs)

        key = (task, tuple((shape, x.dtype) for shape, x in zip(shapes, inputs, strict=True)))
        # What was captured runs with the switches of that time.
        with self._lock, self._memory_errors(shapes), torch.no_grad():
            return self._cache.get(key, captured)(*inputs, copy=self.copy_outputs)

    @contextmanager
    def _memory_errors(self, shapes: Sequence[Shape]) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            # A capture that breaks off says so in an error of another type.
            if not isinstance(error, torch.OutOfMemoryError) and "out of memory" not in str(error):
                raise
            self._cache.clear()
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
            what = ", ".join(map(str, shapes))
            raise NetError(f"not enough memory on {self.device} for inputs {what}: take fewer at a time") from error

    def _inputs(self, args: tuple[Tensor, ...], inputs: Mapping[str, Tensor]) -> list[Tensor]:
        values: dict[str, Any] = dict(zip(self.input_shapes, args, strict=False)) | dict(inputs)
        names = list(self.input_shapes)
        if len(args) + len(inputs) != len(names) or set(values) != set(names):
            raise NetError(f"expected the inputs {', '.join(names)}, got {len(args)} by place and {list(inputs)}")
        for name, shape in self.input_shapes.items():
            x = values[name]
            if (
                not isinstance(x, Tensor)
                or x.dim() != len(shape)
                or x.shape[1] != shape[1]
                or not x.is_floating_point()
            ):
                came = f"{x.dtype} {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
                raise NetError(f"input '{name}': expected a floating-point blob like {shape}, got {came}")
            if x.device != self.device:
                raise NetError(f"input '{name}' is on {x.device}, the net is on {self.device}: move it there")
        return [values[name] for name in names]

    def __repr__(self) -> str:
        how = f"not one graph: {self.whole}" if self.whole else "one CUDA graph"
        return f"OptimizedNet({self.precision.name} on {self.device}, {len(self.plan.operations)} operations, {how})"


def _sample_shapes(net: Net, batch: int | None, size: int | tuple[int, int] | None) -> dict[str, Shape]:
    """Shapes of the inputs: the prototxt's, with another batch size, and another image size for the first."""
    if not net.inputs:
        raise NetError(f"net '{net.name}' has no inputs")
    for name, value in (("batch", batch), ("size", min(size) if isinstance(size, tuple) else size)):
        if value is not None and value < 1:
            raise NetError(f"{name} must be positive, got {value}")
    shapes = {name: tuple(net.blob_shapes[name]) for name in net.inputs}
    if batch is not None:
        shapes = {name: (batch, *shape[1:]) for name, shape in shapes.items()}
    if size is not None:
        first = net.inputs[0]
        shapes[first] = (*shapes[first][:2], *((size, size) if isinstance(size, int) else size))
    return shapes
