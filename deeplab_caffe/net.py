"""A network built from a prototxt: :class:`Net`."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from os import PathLike
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from deeplab_caffe import proto
from deeplab_caffe.data.sources.rng import CaffeRNG
from deeplab_caffe.errors import DeepLabCaffeError, NetError
from deeplab_caffe.layers import Layer, NetContext, Shape
from deeplab_caffe.net_building import Step, build_steps, input_shapes, output_names
from deeplab_caffe.proto import caffe_pb2
from deeplab_caffe.weights import load_weights

if TYPE_CHECKING:
    from deeplab_caffe.inference import OptimizedNet


class Net(nn.Module):
    """A Caffe network as a torch module.

    ``net(blob)`` feeds the net's input (several inputs: in their order, or by name) and returns its output; a net with
    data layers takes no arguments and reads the next batch. Blobs are BGR minus mean, as Caffe has them; to go from
    image to labels use :class:`deeplab_caffe.Segmenter`. Any input size goes: shapes are worked out at each call.

    Args:
        prototxt: path of the file, or a NetParameter in any layout.
        weights: path of a caffemodel; None leaves the fillers' values.
        dialect: ``"v1"`` or ``"v2"``: which DeepLab's behaviour; None: what the file's form tells (see
            :mod:`deeplab_caffe.proto.dialect`).
        phase: ``"TEST"`` or ``"TRAIN"``.
        variables: values for ``${NAME}`` in the file; the environment fills the rest.
        level: the state's level, for include and exclude rules.
        stages: the state's stages.
        engine: ``"CAFFE"`` or ``"CUDNN"`` for all convolutions; None keeps each layer's own.
        dtype: torch.float32 (exact) or torch.bfloat16: dtype of parameters and of the layers that can do with it.
        channels_last: keep images in channels-last order inside: often faster, and not bit for bit the same. Inference
            on the CPU then keeps packed copies of the weights; it notices whatever torch counts as a change of a
            weight, which a change through ``weight.data`` or a numpy view is not.
        seed: of all random numbers: initial values, and Caffe's own generator, so that a seed drops, crops and mirrors
            as it does in the original; None takes one from the operating system.
        label_reading: how palette label PNGs are read: ``"index"``, or ``"luminance"`` as the original.
        crf_image_of_first: DENSE_CRF uses the first item's image for the whole batch, as the original.
        workers: how many threads of each data layer decode ahead of the net; 0 decodes when a batch is asked for. The
            batches are the same at any number.
        shard: (rank, world): of each global batch of ``world`` times the prototxt's ``batch_size`` entries this process
            reads its part; together the processes read what one would with the global batch.

    Attributes:
        param: the NetParameter that the net was built from: in the inner form, filtered, splits inserted.
        dialect: whose behaviour the layers have.
        steps: the layers in order, with the names of their blobs.
        blob_shapes: shape of every blob at the sizes that the prototxt gives.
        inputs: names of the input blobs.
        outputs: names of the blobs that no layer reads, sorted.

    Raises:
        PrototxtError: the file cannot be read.
        NetError: the layers do not fit together, or the weights do not fit them.
        CaffeModelError: the caffemodel cannot be read.
    """

    def __init__(
        self,
        prototxt: str | PathLike[str] | caffe_pb2.NetParameter,
        weights: str | PathLike[str] | None = None,
        phase: str | int = "TEST",
        *,
        variables: Mapping[str, str] | None = None,
        level: int = 0,
        stages: Iterable[str] = (),
        dialect: str | None = None,
        engine: str | None = None,
        dtype: torch.dtype = torch.float32,
        channels_last: bool = False,
        seed: int | None = None,
        label_reading: str = "index",
        crf_image_of_first: bool = False,
        workers: int = 0,
        shard: tuple[int, int] = (0, 1),
    ) -> None:
        super().__init__()
        if engine not in (None, "DEFAULT", "CAFFE", "CUDNN"):
            raise NetError(f"engine must be CAFFE, CUDNN, DEFAULT or None, got {engine!r}")
        if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
            raise NetError(f"dtype must be a floating-point torch.dtype, got {dtype!r}")
        if seed is not None and not 0 <= seed < 2**32:
            raise NetError(f"seed must be from 0 to {2**32 - 1}, got {seed}")
        net = prototxt
        if not isinstance(net, caffe_pb2.NetParameter):
            net = proto.read_net(net, variables=variables)
        net = proto.filter_net(net, phase, level=level, stages=stages)
        self.dialect = proto.dialect_of(net, dialect)
        net.dialect = self.dialect.name
        self.param = proto.insert_splits(net)
        self.context = NetContext(
            phase=self.param.state.phase,
            dialect=self.dialect,
            engine=None if engine == "DEFAULT" else engine,
            rng=CaffeRNG(seed),
            seeded=seed is not None,
            label_reading=label_reading,
            crf_image_of_first=crf_image_of_first,
            channels_last=channels_last,
            workers=workers,
            shard=shard,
        )
        self.dtype = dtype
        self.inputs = list(self.param.input)
        self.blob_shapes = input_shapes(self.param, self.dialect)
        with torch.random.fork_rng(devices=(), enabled=seed is not None):
            if seed is not None:
                torch.default_generator.manual_seed(seed)
            self.steps = build_steps(self.param, self.context, self.blob_shapes)
        self.layers = nn.ModuleList(step.layer for step in self.steps)
        self.outputs = output_names(self.inputs, self.steps)
        self.by_name = {layer.name: layer for layer in self.layers}
        if weights is not None:
            self.copy_from(weights)
        if self.dtype != torch.float32:
            for layer in self.layers:
                layer.to(self.dtype if layer.HALF else torch.float32)
        if channels_last:
            self.to(memory_format=torch.channels_last)
        self.train(self.context.training)

    @property
    def name(self) -> str:
        """The net's name in the prototxt."""
        return self.param.name

    def copy_from(self, weights: str | PathLike[str], *, missing: str | None = None) -> None:
        """Loads a caffemodel: parameters are matched by layer name, as Caffe does.

        Args:
            weights: path of the caffemodel.
            missing: what to do about layers that the file has no weights for: ``"error"`` (the default in phase TEST)
                or ``"warn"`` (the default in phase TRAIN: they keep their fillers' values).

        Raises:
            CaffeModelError: the file cannot be read.
            NetError: weights are missing or do not fit; nothing has been loaded then.
        """
        load_weights(self, weights, missing=missing or ("warn" if self.context.training else "error"))

    def infer_shapes(self, **inputs: Shape) -> dict[str, Shape]:
        """Shape of every blob for the given input shapes; inputs that are not given keep the prototxt's.

        Raises:
            NetError: an unknown input, or a shape that does not fit a layer.
        """
        self._check_names(inputs, "shapes")
        shapes = {name: tuple(inputs.get(name, self.blob_shapes[name])) for name in self.inputs}
        for step in self.steps:
            tops = step.layer.top_shapes([shapes[blob] for blob in step.bottoms])
            shapes.update(zip(step.tops, map(tuple, tops), strict=True))
        return shapes

    def _check_names(self, given: Mapping[str, object], what: str) -> None:
        unknown = [name for name in given if name not in self.inputs]
        if unknown:
            raise NetError(f"{what} for unknown inputs {unknown}; the net's inputs are {self.inputs}")

    def forward(
        self, *args: Tensor, blobs: Iterable[str] = (), before: str | None = None, **inputs: Tensor
    ) -> Tensor | dict[str, Tensor]:
        """Runs the net.

        Args:
            *args: the input blobs (N, C, H, W) in the order of :attr:`inputs`.
            blobs: names of further blobs to return; all others are freed as soon as nobody reads them.
            before: name of a layer: stop there, and return a dict of what it would read instead.
            **inputs: input blobs by name.

        Returns:
            The output if there is one and no ``blobs`` are asked for, else a dict from names to tensors.

        Raises:
            NetError: inputs are missing, unknown or do not fit, there is no such layer, or a layer fails on its data.
        """
        if before is not None:
            return self._bottoms_of(before, self._feed(args, inputs))
        wanted = [*self.outputs, *blobs]
        unknown = [name for name in blobs if name not in self.blob_shapes]
        if unknown:
            raise NetError(f"the net has no blob {unknown[0]!r}; it has {', '.join(self.blob_shapes)}")
        values = self._feed(args, inputs)
        self._run_steps(self.steps, values, set(wanted))
        found = {name: values[name] for name in OrderedDict.fromkeys(wanted)}
        if len(found) == 1 and not blobs:
            return next(iter(found.values()))
        return found

    def _bottoms_of(self, name: str, values: dict[str, Tensor]) -> dict[str, Tensor]:
        places = [i for i, step in enumerate(self.steps) if step.layer.name == name]
        if not places:
            raise NetError(f"the net has no layer '{name}'")
        last = self.steps[places[0]]
        self._run_steps(self.steps[: places[0]], values, set(last.bottoms))
        return {blob: values[blob] for blob in last.bottoms}

    def _run_steps(self, steps: list[Step], values: dict[str, Tensor], keep: set[str]) -> None:
        done_by_previous = False
        for step in steps:
            # The last one's ReLU, if it has one, is not among these steps.
            done_by_previous = self._run(step, values, step is not steps[-1]) if not done_by_previous else False
            for blob in step.dead:
                if blob not in keep:
                    values.pop(blob, None)

    @property
    def losses(self) -> dict[str, float]:
        """The blobs that make up the loss, and their weights."""
        tops = ((top, weight) for s in self.steps for top, weight in zip(s.tops, s.loss_weights, strict=True))
        return {top: weight for top, weight in tops if weight}

    def loss(self, found: Tensor | Mapping[str, Tensor]) -> Tensor:
        """The net's loss: the weighted sum of its loss blobs.

        Args:
            found: what :meth:`forward` returned.

        Raises:
            NetError: a loss blob is not there: another layer reads it, so ask :meth:`forward` for ``blobs=net.losses``.
        """
        if isinstance(found, Tensor):
            found = {self.outputs[0]: found}
        missing = [blob for blob in self.losses if blob not in found]
        if missing:
            raise NetError(f"no value for the loss blob {missing[0]!r}: run forward with blobs=net.losses")
        terms = [weight * found[blob].sum() for blob, weight in self.losses.items()]
        return sum(terms[1:], start=terms[0]) if terms else torch.zeros(())

    def _feed(self, args: tuple[Tensor, ...], inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        if len(args) > len(self.inputs):
            raise NetError(f"{len(args)} inputs given, the net has {len(self.inputs)}: {', '.join(self.inputs) or '-'}")
        values = dict(zip(self.inputs, args, strict=False))
        twice = [name for name in inputs if name in values]
        if twice:
            raise NetError(f"input {twice[0]!r} is given by place and by name")
        self._check_names(inputs, "values")
        values.update(inputs)
        missing = [name for name in self.inputs if name not in values]
        if missing:
            raise NetError(f"no value for the inputs {', '.join(missing)}")
        weight = next(self.parameters(), None)
        for name, value in values.items():
            if not isinstance(value, Tensor) or value.dim() != len(self.blob_shapes[name]):
                came = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
                raise NetError(f"input '{name}': expected a tensor like {self.blob_shapes[name]}, got {came}")
            if weight is not None and value.device != weight.device:
                raise NetError(
                    f"input '{name}' is on {value.device}, the net's weights are on {weight.device}: move one of them"
                )
        return values

    def _run(self, step: Step, values: dict[str, Tensor], may_take_next: bool) -> bool:
        """Runs one step; True if it did the next one's work too."""
        bottoms = [self._cast(step.layer, values[blob]) for blob in step.bottoms]
        for i in step.layer.stopped_bottoms if not self.param.force_backward else ():
            bottoms[i] = bottoms[i].detach()
        with_relu = may_take_next and step.relu_follows and step.layer.can_pack(bottoms)
        values.update(zip(step.tops, self.run_layer(step, bottoms, with_relu=with_relu), strict=True))
        return with_relu

    def run_layer(self, step: Step, bottoms: list[Tensor], *, with_relu: bool = False) -> tuple[Tensor, ...]:
        """Runs one layer, with its bottoms brought to the dtype, memory order and device that it works in.

        Args:
            step: the layer and its place.
            bottoms: its bottoms.
            with_relu: take the ReLU behind a convolution along; see :attr:`Step.relu_follows`.

        Raises:
            NetError: the bottoms do not fit the layer; other errors come with the layer's name.
        """
        layer = step.layer
        try:
            if layer.IS_SOURCE:
                return tuple(self._place(x) for x in layer())
            layer.top_shapes([tuple(x.shape) for x in bottoms])
            run = layer.forward_relu if with_relu else layer
            return run(*(self._cast(layer, x) for x in bottoms))
        except DeepLabCaffeError:
            raise
        except torch.OutOfMemoryError as error:
            where, shapes = bottoms[0].device, ", ".join(str(tuple(x.shape)) for x in bottoms)
            raise layer.error(f"not enough memory on {where} for bottoms {shapes}: take fewer or smaller") from error
        except (RuntimeError, ValueError) as error:
            raise layer.error(f"{type(error).__name__}: {error}") from error

    def _place(self, x: Tensor) -> Tensor:
        reference = next(self.parameters(), None)
        # The copy may go on meanwhile where the memory is page-locked, as data layers' is beside a GPU.
        return x if reference is None else x.to(reference.device, non_blocking=True)

    def _cast(self, layer: Layer, x: Tensor) -> Tensor:
        if not layer.HALF:
            return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
        weight = next(layer.parameters(recurse=False), None)
        # Under autocast the layer itself brings both to one dtype.
        if weight is not None and x.dtype != weight.dtype and not torch.is_autocast_enabled(x.device.type):
            x = x.to(weight.dtype)
        if self.context.channels_last and weight is not None and x.dim() == 4:
            x = x.contiguous(memory_format=torch.channels_last)
        return x

    def optimize(
        self,
        *,
        dtype: torch.dtype | str | None = None,
        batch: int | None = None,
        size: int | tuple[int, int] | None = None,
        blobs: Iterable[str] | None = None,
        autotune: bool | None = None,
        ways: Mapping[str, str] | None = None,
        graphs: bool = True,
        cache_size: int = 4,
        copy_outputs: bool = True,
        release: bool = False,
    ) -> OptimizedNet:
        """The net made ready to run fast where it is, CPU or GPU; see docs/inference.md.

        Weights are prepared once, in channels-last or the library's own order, each convolution takes its bias and ReLU
        along, layers that do nothing vanish, and on a GPU the forward pass is one CUDA graph for each input shape.
        Results are those of the net to rounding errors.

        Args:
            dtype: ``torch.float32`` (strict), ``"tf32"``, ``torch.bfloat16`` or ``torch.float16``; None: the net's own.
            batch: batch size to prepare for; None: the prototxt's. Other sizes run too.
            size: side, or (height, width), of the first input to prepare for; None: the prototxt's.
            blobs: names of the blobs to compute; None: the outputs.
            autotune: measure the ways to compute each convolution and keep the best, which may be another in another
                process; without, each is computed the usual way. None: on a GPU. On the CPU the usual way has won.
            ways: the way of a convolution by its name, not to be measured; see ``OptimizedNet.choices``.
            graphs: on a GPU, capture CUDA graphs.
            cache_size: how many input shapes to keep graphs of.
            copy_outputs: give outputs memory of their own; without, the next call for the same shape overwrites them.
            release: take the weights away from this net, layer by layer, to save their memory: it can then compute
                nothing, also where a later layer fails and this raises.

        Raises:
            NetError: a net in phase TRAIN or with data layers, a dtype that the device has not, no such blob or way, or
                not enough memory.
        """
        from deeplab_caffe.inference import OptimizedNet

        return OptimizedNet(
            self,
            dtype=dtype,
            batch=batch,
            size=size,
            blobs=None if blobs is None else list(blobs),
            autotune=autotune,
            ways=ways,
            graphs=graphs,
            cache_size=cache_size,
            copy_outputs=copy_outputs,
            release=release,
        )

    def parameter_count(self) -> int:
        """Numbers in all parameter blobs, shared ones counted once."""
        return sum(p.numel() for p in self.parameters())

    def multiply_adds(self, shapes: Mapping[str, Shape] | None = None) -> int:
        """Multiply-adds of one forward pass at the prototxt's sizes, or at ``shapes`` from :meth:`infer_shapes`."""
        shapes = self.blob_shapes if shapes is None else shapes
        return sum(
            step.layer.multiply_adds([shapes[b] for b in step.bottoms], [shapes[t] for t in step.tops])
            for step in self.steps
        )

    def activation_bytes(self, shapes: Mapping[str, Shape] | None = None) -> int:
        """Most bytes of float32 activations alive at one time in a forward pass without gradients (an estimate)."""
        shapes = self.blob_shapes if shapes is None else shapes
        alive: dict[str, int] = {name: math.prod(shapes[name]) for name in self.inputs}
        peak = sum(alive.values())
        for step in self.steps:
            alive.update({top: math.prod(shapes[top]) for top in step.tops})
            peak = max(peak, sum(alive.values()))
            for blob in step.dead:
                if blob not in self.outputs:
                    alive.pop(blob, None)
        return 4 * peak

    def extra_repr(self) -> str:
        """What ``repr`` says of the net itself."""
        return f"name={self.name!r}, inputs={self.inputs}, outputs={self.outputs}"
