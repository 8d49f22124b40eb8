"""Optimized nets for fast inference: :func:`optimize`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from reprlib import repr as short_repr
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from deeplab_caffe import _C
from deeplab_caffe.arguments import truth, whole_number
from deeplab_caffe.arrays import nvrtc
from deeplab_caffe.arrays.torch_arrays import kept_memory
from deeplab_caffe.crf import CRFParams
from deeplab_caffe.crf.inputs import Kind
from deeplab_caffe.errors import NetError
from deeplab_caffe.inference.autotune import Autotuner
from deeplab_caffe.inference.graphs import CapturedFunction, LRUCache
from deeplab_caffe.inference.kernels import Kernel, prepare
from deeplab_caffe.inference.precision import precision_of, switched
from deeplab_caffe.layers import ConvolutionFact, Shape
from deeplab_caffe.net import Net
from deeplab_caffe.net.graph import Graph, Step
from deeplab_caffe.net.head import HeadRunner, Output, checked_images
from deeplab_caffe.net.net import lacks_memory
from deeplab_caffe.net.optimized import OptimizedNet, OptimizeOptions
from deeplab_caffe.net.passes import lower
from deeplab_caffe.net.sizes import checked_shapes
from deeplab_caffe.ops.sizes import channels_last_advice

if TYPE_CHECKING:
    from typing_extensions import Unpack

# On the CPU run one image at a time: the activations of more leave the caches, and take memory. See docs/inference.md.
_CPU_ITEMS_AT_ONCE = 1
# Number of input shapes for which it is remembered that they fit.
_MOST_SHAPES = 256


def optimize(net: Net, **options: Unpack[OptimizeOptions]) -> OptimizedNet:
    """Return an optimized net for fast inference on the net's device, CPU or GPU; see docs/inference.md.

    Weights are prepared once, in channels-last or the library's own layout; bias and ReLU are fused into each
    convolution; layers that do nothing are removed; and on a GPU the forward pass is one CUDA graph per input shape.
    If all numbers are finite, results equal the net's up to rounding errors.

    Args:
        net: a net of phase TEST with inputs.
        **options: by name:

            dtype: ``"float32"`` (strict), ``"tf32"``, ``"bfloat16"`` or ``"float16"``, or the torch.dtype; None: the
                net's own.
            precision: ``"strict"`` (the default): relative errors of a convolution within 1e-5 in float32. ``"fast"``:
                within 5e-5 for float32 on the CPU, by Winograd's algorithm with larger tiles; elsewhere no effect.
            batch: batch size to prepare for; None: the prototxt's. Other sizes run too.
            size: side, or (height, width), of the first input to prepare for; None: the prototxt's.
            blobs: names of the blobs to compute; None: the outputs.
            autotune: measure the algorithms for each convolution and keep the fastest, which may differ from process to
                process; False: each layer gets the default algorithm. None: only on a GPU. On the CPU the default
                algorithm has been the fastest.
            algorithms: algorithm by layer name, without autotuning; see :attr:`OptimizedNet.tuning`.
            graphs: on a GPU, capture CUDA graphs (the default).
            cache_size: number of input shapes whose graphs are kept: 4.
            copy_outputs: copy the outputs (the default); False: the next call for the same shape overwrites them.
            release: free the net's weights, layer by layer, to save memory. The net cannot compute any more then, even
                if a later layer fails and this function raises.

    Raises:
        NetError: the net is in phase TRAIN, has data layers, or its weights were freed; the dtype is not supported;
            there is no such blob or algorithm; or there is not enough memory.
    """
    return _OptimizedNet(net, **options)


@contextmanager
def _torchs_threads() -> Iterator[None]:
    """Run the package's loops on the CPU by OpenMP's threads, which spin after each of torch's operators."""
    before = _C.use_openmp_here(True)
    try:
        yield
    finally:
        _C.use_openmp_here(before)


class _OptimizedNet(OptimizedNet):
    def __init__(self, net: Net, **options: Unpack[OptimizeOptions]) -> None:
        if not isinstance(net, Net):
            raise NetError(f"optimize takes a net, got {type(net).__name__}: build one, dc.Net(prototxt, weights)")
        unknown_options = options.keys() - OptimizeOptions.__annotations__.keys()
        if unknown_options:
            raise TypeError(f"optimize takes no {', '.join(sorted(unknown_options))}")
        self.device = next((parameter.device for parameter in net.parameters()), torch.device("cpu"))
        self.precision = precision_of(
            options.get("dtype") or _dtype_of(net), self.device, options.get("precision", "strict")
        )
        algorithms = options.get("algorithms")
        if not isinstance(algorithms, (Mapping, type(None))):
            raise NetError(f"algorithms must be a dict, by layer, got {short_repr(algorithms)}")
        net.require_weights()
        graph = _inference_graph(net, options.get("blobs"))
        self.input_shapes = _sample_shapes(net, options.get("batch"), options.get("size"))
        self.copy_outputs = truth("copy_outputs", options.get("copy_outputs", True), NetError)
        graphs = truth("graphs", options.get("graphs", True), NetError)
        release = truth("release", options.get("release", False), NetError)
        on_gpu = self.device.type == "cuda"
        autotune = options.get("autotune")
        autotune = on_gpu if autotune is None else truth("autotune", autotune, NetError)
        autotuner = Autotuner(
            self.precision.tolerance,
            autotune=autotune,
            fixed=algorithms,
            verify=on_gpu,
        )
        self.tuning = autotuner.results
        self._kernels: dict[int, Kernel] = {}
        self.mean_value = net.mean_value
        self._runner: HeadRunner | None = None
        # The blobs between input and output, on the CPU: the same memory in each call.
        self._workspace = None if on_gpu else _C.Workspace(any_larger=True)
        self._lock = threading.Lock()
        self._fitting: set[tuple[Shape, ...]] = set()
        self._cache: LRUCache[CapturedFunction] = LRUCache(
            whole_number("cache_size", options.get("cache_size", 4), NetError)
        )
        shapes = list(self.input_shapes.values())
        if not on_gpu and graph.per_item:
            shapes = [(*(min(n, _CPU_ITEMS_AT_ONCE) for n in shape[:1]), *shape[1:]) for shape in shapes]
        convolutions = [step.layer.name for step in graph.steps if isinstance(step.layer.fact, ConvolutionFact)]
        unknown = set(autotuner.fixed) - set(convolutions)
        if unknown:
            raise NetError(f"algorithms for unknown convolutions {', '.join(sorted(unknown))}")
        known = graph.shapes(shapes)
        with self._memory_errors(shapes), switched(self.precision, self.device), _torchs_threads():
            for step in _by_weights(graph.steps):
                bottoms = [known[number] for number in step.reads]
                self._kernels[step.makes[0]] = prepare(
                    step, bottoms, self.device, self.precision, autotuner, release=release
                )
        self.tuning.sort(key=lambda result: convolutions.index(result.layer))
        self.graph = replace(graph, steps=tuple(step.without_weights() for step in graph.steps))
        self.graph_break_reason = self._find_graph_break(graphs)

    def _find_graph_break(self, graphs: bool) -> str | None:
        if self.device.type != "cuda":
            return "no GPU"
        return self.graph.graph_break_reason if graphs else "not asked for"

    def __call__(self, *args: Tensor, **inputs: Tensor) -> Tensor | dict[str, Tensor]:
        given = self._inputs(args, inputs)
        found = self._run("scores", given, self._forward)
        return next(iter(found.values())) if len(found) == 1 else found

    def labels(self, x: Tensor) -> Tensor:
        return self._run("labels", self._inputs((x,), {}), self._label)["labels"]

    def label_images(
        self,
        images: Tensor | np.ndarray,
        *,
        crf: CRFParams | None = None,
        mean: tuple[float, float, float] | None = None,
        kind: Kind | None = None,
    ) -> Tensor:
        images = checked_images(images)
        runner = self.head_runner
        for axis, least in enumerate(images.shape[1:3]):
            side, output = runner.fit(least, axis)
            if side != output:
                what = ("rows", "columns")[axis]
                raise NetError(f"the net gives {output} {what} for {side}: it must end with scores at its input's size")
        return self.segment_images(images, crf=crf, mean=mean, kind=kind)["labels"]

    def segment_images(
        self,
        images: Tensor,
        *,
        wanted: Sequence[str] = ("labels",),
        crf: CRFParams | None = None,
        mean: tuple[float, float, float] | None = None,
        crop_size: int = 1,
        kind: Kind | None = None,
    ) -> dict[str, Tensor]:
        runner, wanted = self.head_runner, tuple(wanted)
        mean = self.mean_value if mean is None else mean
        for axis, least in enumerate(images.shape[1:3]):
            runner.fit(max(least, crop_size), axis)
        function = partial(runner.results, wanted=wanted, crf=crf, mean=mean, crop_size=crop_size, kind=kind)
        # A CRF whose kernels are compiled at run time allocates memory that a graph would not keep.
        capture = crf is None or not nvrtc.enabled()
        key = ("images", wanted, crf, tuple(mean), crop_size, kind)
        return self._run(key, [images.to(self.device, non_blocking=True)], function, capture=capture)

    def image_output(
        self, images: Tensor, *, mean: tuple[float, float, float], crop_size: int = 1, kind: Kind | None = None
    ) -> Output:
        with torch.no_grad(), self._memory_errors([tuple(images.shape)]), switched(self.precision, self.device):
            return self.head_runner.output(images.to(self.device), mean=mean, crop_size=crop_size, kind=kind)

    @property
    def head_runner(self) -> HeadRunner:
        if self._runner is None:
            if len(self.input_shapes) != 1:
                raise NetError(f"images are for nets of one input, this one has {', '.join(self.input_shapes)}")
            (channels,) = {shape[1] for shape in self.input_shapes.values()}

            def run(graph: Graph, blob: Tensor) -> Tensor:
                return next(iter(self._forward(blob, graph=graph).values()))

            self._runner = HeadRunner(self.graph, channels, run, self.precision.dtype, channels_last=True)
        return self._runner

    @_torchs_threads()
    def _forward(self, *inputs: Tensor, graph: Graph | None = None) -> dict[str, Tensor]:
        graph = graph or self.graph

        def run(step: Step, bottoms: list[Tensor]) -> Sequence[Tensor]:
            kernel = self._kernels[step.makes[0]]
            # Callers may keep an output for as long as they like.
            if self._workspace is None or not graph.returned.isdisjoint(step.makes):
                return kernel(bottoms)
            with kept_memory(self._workspace):
                return kernel(bottoms)

        items = _CPU_ITEMS_AT_ONCE
        # Inputs whose batch sizes differ cannot be split into items together.
        together = {x.shape[:1] for x in inputs} == {inputs[0].shape[:1]}
        if self.device.type != "cpu" or not graph.per_item or not together or inputs[0].shape[:1] <= (items,):
            return graph.execute(inputs, run)
        found: dict[str, Tensor] = {}
        for begin in range(0, inputs[0].shape[0], items):
            for name, part in graph.execute([x[begin : begin + items] for x in inputs], run).items():
                if begin == 0:
                    found[name] = part.new_empty((inputs[0].shape[0], *part.shape[1:]))
                found[name][begin : begin + items] = part
        return found

    def _label(self, x: Tensor) -> dict[str, Tensor]:
        head = self.head_runner.head
        (values,) = self._forward(x, graph=head.graph).values()
        image = (x.shape[2], x.shape[3])
        return {"labels": head.output(values, head.size(values, image), image=image).labels()}

    def _run(
        self,
        task: Hashable,
        inputs: list[Tensor],
        function: Callable[..., dict[str, Tensor]],
        *,
        capture: bool = True,
    ) -> dict[str, Tensor]:
        shapes = [tuple(x.shape) for x in inputs]
        if self.graph_break_reason or not capture:
            with self._memory_errors(shapes), switched(self.precision, self.device):
                return function(*inputs)

        def captured() -> CapturedFunction:
            with switched(self.precision, self.device):
                return CapturedFunction(function, inputs)

        key = (task, tuple((shape, x.dtype) for shape, x in zip(shapes, inputs, strict=True)))
        # A captured graph runs with torch's switches of the time of its capture.
        with self._lock, self._memory_errors(shapes), torch.no_grad():
            return self._cache.get(key, captured)(*inputs, copy=self.copy_outputs)

    @contextmanager
    def _memory_errors(self, shapes: Sequence[Shape]) -> Iterator[None]:
        try:
            yield
        except (RuntimeError, MemoryError) as error:
            # An error during capture has another type; only its text names the memory.
            if not lacks_memory(error) and "out of memory" not in str(error):
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
                or x.shape[1:2] != shape[1:2]
                or not x.is_floating_point()
            ):
                came = f"{x.dtype} {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
                advice = channels_last_advice(x.shape, shape[1]) if isinstance(x, Tensor) and len(shape) > 1 else ""
                raise NetError(f"input '{name}': expected a floating-point blob like {shape}, got {came}{advice}")
            if x.device != self.device:
                raise NetError(f"input '{name}' is on {x.device}, the net is on {self.device}: move it there")
        self._check_shapes(tuple(tuple(values[name].shape) for name in names))
        return [values[name] for name in names]

    def _check_shapes(self, shapes: tuple[Shape, ...]) -> None:
        """Check that all layers accept the shapes: a sum, for example, would broadcast one tower's single pixel."""
        if shapes not in self._fitting:
            checked_shapes(self.graph, shapes)
            if len(self._fitting) == _MOST_SHAPES:
                self._fitting.clear()
            self._fitting.add(shapes)

    def __repr__(self) -> str:
        how = f"not one graph: {self.graph_break_reason}" if self.graph_break_reason else "one CUDA graph"
        return f"OptimizedNet({self.precision.name} on {self.device}, {len(self.graph.steps)} steps, {how})"


def _by_weights(steps: Sequence[Step]) -> list[Step]:
    """Return steps in an order in which steps with the same weights, those of towers, are consecutive.

    They then share the prepared weights, and with ``release`` the original weights are freed right afterwards.
    """
    first: dict[int, int] = {}
    places = []
    for i, step in enumerate(steps):
        parameters = list(map(id, step.layer.parameters()))
        places.append(min((first[each] for each in parameters if each in first), default=i))
        first.update((each, places[-1]) for each in parameters if each not in first)
    return [steps[i] for i in sorted(range(len(steps)), key=places.__getitem__)]


def _dtype_of(net: Net) -> torch.dtype:
    """Return the dtype of a net's weights, which ``net.double()`` and the like change without ``Net.dtype``."""
    # Parameters with one number per channel may be float32 in a net of half precision.
    found = {parameter.dtype for parameter in net.parameters() if parameter.dim() > 1}
    return net.dtype if net.dtype in found or not found else found.pop()


def _inference_graph(net: Net, blobs: Iterable[str] | None) -> Graph:
    """Return the graph that computes these blobs, or the outputs if ``blobs`` is None.

    Raises:
        NetError: the net is of phase TRAIN, has data layers, or has no such blob.
    """
    if net.context.training:
        raise NetError(f"net '{net.name}' is of phase TRAIN: optimize is for inference, build it with phase TEST")
    for step in net.steps:
        if step.layer.is_source:
            raise step.layer.error("data layers cannot be optimized: use a deploy prototxt, with inputs")
    return lower(net.graph, net.graph.wanted(net.outputs if blobs is None else blobs))


def _sample_shapes(net: Net, batch: int | None, size: int | tuple[int, int] | None) -> dict[str, Shape]:
    """Return the inputs' shapes: the prototxt's, with another batch size, and another image size for the first one."""
    if not net.inputs:
        raise NetError(f"net '{net.name}' has no inputs")
    shapes = {name: tuple(net.blob_shapes[name]) for name in net.inputs}
    if batch is not None:
        items = whole_number("batch", batch, NetError, least=1)
        shapes = {name: (items, *shape[1:]) for name, shape in shapes.items()}
    if size is not None:
        sides = size if isinstance(size, (tuple, list)) else (size, size)
        if len(sides) != 2:
            raise NetError(f"size must be a side or (height, width), got {size}")
        first = net.inputs[0]
        shapes[first] = (*shapes[first][:2], *(whole_number("size", side, NetError, least=1) for side in sides))
    return shapes
