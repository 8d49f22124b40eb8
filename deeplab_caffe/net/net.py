"""A network built from a prototxt: :class:`Net`."""

from __future__ import annotations

import pkgutil
from collections.abc import Iterable, Mapping
from functools import partial
from os import PathLike
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from deeplab_caffe import proto
from deeplab_caffe.arguments import truth, whole_number
from deeplab_caffe.data.io.images import LABEL_READINGS
from deeplab_caffe.data.sources.rng import CaffeRNG
from deeplab_caffe.data.sources.sharding import Shard
from deeplab_caffe.data.sources.transform import IMAGENET_MEAN_BGR
from deeplab_caffe.errors import DeepLabCaffeError, NetError
from deeplab_caffe.layers import Layer, NetContext, Shape
from deeplab_caffe.net.build import build_graph, input_shapes, with_lines
from deeplab_caffe.net.graph import Graph, Step, blob_names
from deeplab_caffe.net.optimized import OptimizedNet, OptimizeOptions
from deeplab_caffe.net.passes import fuse_activations, fuse_for_training
from deeplab_caffe.net.sizes import checked_shapes
from deeplab_caffe.net.weights import load_weights, save
from deeplab_caffe.ops.onednn_limits import HALF
from deeplab_caffe.proto import caffe_pb2

if TYPE_CHECKING:
    from typing_extensions import Unpack

# In a room above this one, so it is imported by name when it is needed: running a net needs nothing of inference.
_OPTIMIZE = "deeplab_caffe.inference:optimize"


def floating_dtype(dtype: torch.dtype | str) -> torch.dtype:
    """Return the floating-point dtype that is given by name or as a dtype.

    Raises:
        NetError: the argument is not a floating-point dtype.
    """
    found = getattr(torch, dtype.removeprefix("torch."), None) if isinstance(dtype, str) else dtype
    if not isinstance(found, torch.dtype) or not found.is_floating_point:
        raise NetError(f"dtype must be a floating-point torch.dtype, got {dtype!r}")
    return found


# Parts of torch's messages on the CPU, where it has no exception class of its own for a lack of memory.
_NO_MEMORY = ("DefaultCPUAllocator: ", "Storage size calculation overflowed", "std::bad_alloc")


def lacks_memory(error: Exception) -> bool:
    """Return whether an error of torch or of the extension says that there is not enough memory."""
    words = str(error)
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or any(said in words for said in _NO_MEMORY)


class Net(nn.Module):
    """A Caffe network as a torch module.

    ``net(blob)`` feeds the net's input (several inputs: in their order, or by name) and returns its output; a net with
    data layers takes no arguments and reads the next batch. Image blobs are BGR minus mean, as in Caffe; to go from
    images to labels, use :class:`deeplab_caffe.Segmenter`. Inputs may have any size: each call computes the shapes.

    Args:
        prototxt: path of the file, or a NetParameter in any layout.
        dialect: ``"v1"`` or ``"v2"``: behave as this version of DeepLab; None: decided by the form of the file (see
            :mod:`deeplab_caffe.proto.dialect`).
        weights: path of a caffemodel, safetensors or state_dict file; None leaves the fillers' values.
        phase: ``"TEST"`` or ``"TRAIN"``.
        variables: values for ``${NAME}`` in the file; other names are taken from the environment.
        level: the NetState's level, for include and exclude rules.
        stages: the NetState's stages.
        engine: ``"CAFFE"`` or ``"CUDNN"`` for all convolutions; None keeps each layer's own.
        dtype: dtype of the parameters, and of the layers that support it: ``"float32"`` (exact), ``"bfloat16"``, or a
            torch.dtype.
        channels_last: keep images in channels-last order internally: often faster, and not bit for bit the same.
            Inference on the CPU then keeps packed copies of the weights. They are renewed when torch registers a
            change of a weight, which it does not for a change through ``weight.data`` or a numpy view.
        seed: seed of all random numbers: of the initial values, and of Caffe's own generator, so that dropout, crops
            and mirroring are those of the original with this seed; None: a seed from the operating system.
        label_reading: how palette label PNGs are read: ``"index"``, or ``"luminance"`` as in the original.
        crf_image_of_first: DENSE_CRF uses the first item's image for the whole batch, as the original does.
        workers: number of threads that decode ahead of the net, for each data layer; 0: decode when a batch is asked
            for. The batches do not depend on it.
        shard: (rank, world): this process reads its part of each global batch of ``world`` times the prototxt's
            ``batch_size`` entries; together the processes read what one process would with the global batch.
        python_layers: let layers of type Python run their code, which is whatever module the file names on
            ``sys.path``: only for files that you trust. Exceptions of this code are raised as NetErrors, or, with
            ``"unchanged"``, as they are.

    Layers are child modules under their names: ``net.conv1``, and ``conv1.weight`` in :meth:`state_dict`, in both
    phases and with or without inserted splits. Dots and slashes in names are kept. If a layer without parameters has
    the name of another layer, a number is appended to its name. ``by_name`` finds all layers.

    Attributes:
        param: the NetParameter that the net was built from: upgraded to the inner form, filtered, with splits inserted.
        dialect: the dialect of the layers.
        graph: the graph that is run.
        blob_shapes: shape of every blob at the sizes that the prototxt gives.
        inputs: names of the input blobs.
        outputs: names of the blobs that no layer reads, sorted.

    Raises:
        PrototxtError: the file cannot be read.
        NetError: an argument is not as described, the layers do not fit together, or the weights do not fit them.
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
        dtype: torch.dtype | str = torch.float32,
        channels_last: bool = False,
        seed: int | None = None,
        label_reading: str = "index",
        crf_image_of_first: bool = False,
        workers: int = 0,
        shard: tuple[int, int] = (0, 1),
        python_layers: bool | str = False,
    ) -> None:
        super().__init__()
        if engine not in (None, "DEFAULT", "CAFFE", "CUDNN"):
            raise NetError(f"engine must be CAFFE, CUDNN, DEFAULT or None, got {engine!r}")
        if python_layers != "unchanged":  # a text such as "no" would let them run
            python_layers = truth("python_layers", python_layers, NetError)
        channels_last = truth("channels_last", channels_last, NetError)
        crf_image_of_first = truth("crf_image_of_first", crf_image_of_first, NetError)
        workers = whole_number("workers", workers, NetError, least=0)
        if seed is not None:
            seed = whole_number("seed", seed, NetError, least=0, most=2**32 - 1)
        if label_reading not in LABEL_READINGS:
            raise NetError(f"label_reading must be one of {', '.join(LABEL_READINGS)}, got {label_reading!r}")
        part = Shard.of(shard)
        path = None if isinstance(prototxt, caffe_pb2.NetParameter) else prototxt
        net = prototxt if isinstance(prototxt, caffe_pb2.NetParameter) else proto.read_net(prototxt, variables)
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
            shard=(part.rank, part.world),
            python_layers=python_layers,
        )
        self.dtype = floating_dtype(dtype)
        self.inputs = list(self.param.input)
        self.blob_shapes = input_shapes(self.param, self.dialect)
        self.graph = self._build(path, seed)
        # Without gradients, in-place activations are fused into the layers before them.
        self._fused = fuse_activations(self.graph, self.graph.blobs.values())
        self._for_training = fuse_for_training(self.graph, self.graph.blobs.values())
        self.outputs = list(self.graph.outputs)
        self.by_name = {layer.name: layer for layer in self.layers}
        self._register_layers()
        if weights is not None:
            self.copy_from(weights)
        if self.dtype != torch.float32:
            self._use_dtype()
        if channels_last:
            self.use_channels_last()
        self.train(self.context.training)

    def _build(self, path: str | PathLike[str] | None, seed: int | None) -> Graph:
        """Return the graph, its layers with initial values.

        Args:
            path: of the prototxt, for errors; None: there is none.
            seed: of the initial values; None: torch's generator goes on.
        """
        # A user's code draws from torch's global generator, so that is seeded too, and restored afterwards.
        runs_code = bool(self.context.python_layers)
        with torch.random.fork_rng(devices=(), enabled=seed is not None and runs_code):
            if seed is not None:
                self.context.initial = None if runs_code else torch.Generator()
                (self.context.initial or torch.default_generator).manual_seed(seed)
            try:
                return build_graph(self.param, self.context, self.blob_shapes)
            except NetError as error:
                if path is None:
                    raise
                raise with_lines(error, proto.LayerLines(path)) from error
            finally:
                self.context.initial = None

    def _use_dtype(self) -> None:
        for layer in self.layers:
            layer.to(self.dtype if layer.supports_half else torch.float32)

    def use_channels_last(self) -> None:
        """Keep images and weights in channels-last order from now on; see the argument ``channels_last``."""
        self.context.channels_last = True
        for weight in self.parameters():
            if weight.dim() == 4:
                weight.data = weight.data.contiguous(memory_format=torch.channels_last)

    def _register_layers(self) -> None:
        taken = {layer.name for layer in self.layers if layer.blobs}
        for number, layer in enumerate(self.layers):
            key = layer.name
            if not layer.blobs and (key in taken or not key):
                key = f"{key}#{number}"
            taken.add(key)
            # Not add_module, which refuses dots and the names of the net's own attributes.
            self._modules[key] = layer
        with_dots = [name for name in taken if "." in name]
        for name, child in self.named_children():
            longer = tuple(other for other in with_dots if other.startswith(f"{name}."))
            if longer:
                forgive = partial(_forgive, longer)
                child.register_load_state_dict_post_hook(forgive)

    def __setattr__(self, name: str, value: Any) -> None:
        # A layer may have the name of one of the net's attributes.
        if name in self.__dict__:
            object.__setattr__(self, name, value)
        else:
            super().__setattr__(name, value)

    def _load_from_state_dict(
        self,
        state_dict: Mapping[str, Any],
        prefix: str,
        local_metadata: Any,
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        # torch takes the part before the first dot for the child's name, and would copy into weights without memory.
        known = tuple(f"{prefix}{name}." for name in self._modules)
        self.require_weights()
        if strict:
            unexpected_keys += [key for key in state_dict if key.startswith(prefix) and not key.startswith(known)]

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        self.require_weights()
        super()._save_to_state_dict(destination, prefix, keep_vars)

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        try:
            return super()._apply(fn, recurse)
        except NotImplementedError:
            self.require_weights()
            raise

    @property
    def layers(self) -> list[Layer]:
        """Return the layers in order."""
        return [step.layer for step in self.graph.steps]

    @property
    def steps(self) -> tuple[Step, ...]:
        """Return the layers in order, with the names of their blobs."""
        return self.graph.steps

    @property
    def name(self) -> str:
        """Return the net's name in the prototxt."""
        return self.param.name

    @property
    def mean_value(self) -> tuple[float, float, float]:
        """Return the mean that the net's image must have had subtracted from B, G and R.

        An Input layer's ``transform_param`` may give it; otherwise it is the ImageNet mean.

        Raises:
            NetError: the Input layer has neither one ``mean_value`` nor three.
        """
        means = self.param.mean_value or IMAGENET_MEAN_BGR
        if len(means) not in (1, 3):
            raise NetError(f"net '{self.name}': its input needs one mean_value or three, got {len(means)}")
        return means[0], means[len(means) // 2], means[-1]

    def require_weights(self) -> None:
        """Check that the net still has its weights: ``optimize(release=True)`` frees them.

        Raises:
            NetError: the weights were freed.
        """
        taken = next((layer.name for layer in self.layers if any(blob.is_meta for blob in layer.parameters())), None)
        if taken is not None:
            raise NetError(
                f"net '{self.name}' has no weights any more (layer '{taken}'): it was optimized with release=True, as "
                "a Segmenter does at its first image, and they were given up to save their memory: build it anew by "
                "deeplab_caffe.Net(prototxt, weights), or give the Segmenter optimize=False"
            )

    def copy_from(self, weights: str | PathLike[str], *, missing: str | None = None) -> None:
        """Load weights by layer name, as Caffe does.

        Args:
            weights: path of a caffemodel, also in HDF5, or of a safetensors or state_dict file with the names of
                :meth:`state_dict`; the file's first bytes decide.
            missing: what to do about layers that the file has no weights for: ``"error"`` (the default in phase TEST)
                or ``"warn"`` (the default in phase TRAIN: they keep their fillers' values).

        Raises:
            CaffeModelError: a caffemodel cannot be read.
            ConversionError: another file cannot be read, or does not fit.
            NetError: weights are missing or do not fit, and nothing was loaded; or the net's weights were freed, see
                :meth:`require_weights`.
        """
        self.require_weights()
        load_weights(self, weights, missing=missing or ("warn" if self.context.training else "error"))

    def save(self, path: str | PathLike[str]) -> None:
        """Write the weights; the suffix gives the format: .caffemodel, .h5, .safetensors, .pth or .pt.

        Pruned or parametrized blobs are written as the layers compute with them. The file appears under its name only
        when it is complete.

        Raises:
            ConversionError: the suffix is another one, or the file cannot be written.
            CaffeModelError: a caffemodel cannot be written.
            NetError: the weights were freed, see :meth:`require_weights`.
        """
        self.require_weights()
        save(self, path)

    def infer_shapes(self, **inputs: Shape) -> dict[str, Shape]:
        """Return the shape of every blob for the given input shapes; other inputs have the prototxt's shapes.

        Raises:
            NetError: an input is unknown, or a shape does not fit a layer.
        """
        self._check_names(inputs, "shapes")
        shapes = checked_shapes(self.graph, [tuple(inputs.get(name, self.blob_shapes[name])) for name in self.inputs])
        return {name: shapes[number] for name, number in self.graph.blobs.items()}

    def _check_names(self, given: Mapping[str, object], what: str) -> None:
        unknown = [name for name in given if name not in self.inputs]
        if unknown:
            raise NetError(f"{what} for unknown inputs {unknown}; the net's inputs are {self.inputs}")

    def forward(
        self, *args: Tensor, blobs: Iterable[str] = (), before: str | None = None, **inputs: Tensor
    ) -> Tensor | dict[str, Tensor]:
        """Run the net.

        Args:
            *args: the input blobs (N, C, H, W) in the order of :attr:`inputs`.
            blobs: names of further blobs to return; all other blobs are freed after their last reader.
            before: name of a layer: stop before it, and return a dict of its bottoms instead.
            **inputs: input blobs by name.

        Returns:
            The output if there is one and no ``blobs`` are requested, else a dict from names to tensors.

        Raises:
            NetError: inputs are missing, unknown or do not fit, there is no such layer, or a layer fails on its data.
        """
        fuses = self.context.channels_last and self.context.packed and not torch.is_grad_enabled()
        graph = self._fused if fuses else self._for_training
        if before is not None:
            given = self._feed(args, inputs)
            part = graph.before(before) or self.graph.before(before)
            if part is None:
                raise NetError(f"the net has no layer '{before}'")
            return part.execute(given, self.run_layer)
        blobs = blob_names(blobs)
        wanted = graph.wanted([*self.outputs, *blobs])
        given = self._feed(args, inputs)
        try:
            found = graph.execute(given, self.run_layer, wanted)
        except NetError:
            # If the shapes do not fit, raise an error that says which sizes do.
            checked_shapes(graph, [tuple(x.shape) for x in given])
            raise
        if len(found) == 1 and not blobs:
            return next(iter(found.values()))
        return found

    @property
    def losses(self) -> dict[str, float]:
        """Return the loss blobs and their weights."""
        tops = ((top, weight) for s in self.steps for top, weight in zip(s.tops, s.loss_weights, strict=True))
        return {top: weight for top, weight in tops if weight}

    def loss(self, found: Tensor | Mapping[str, Tensor]) -> Tensor:
        """Return the net's loss: the weighted sum of its loss blobs.

        Args:
            found: what :meth:`forward` returned.

        Raises:
            NetError: a loss blob is missing because another layer reads it: call :meth:`forward` with
                ``blobs=net.losses``.
        """
        if isinstance(found, Tensor):
            found = {self.outputs[0]: found}
        missing = [blob for blob in self.losses if blob not in found]
        if missing:
            raise NetError(f"no value for the loss blob {missing[0]!r}: run forward with blobs=net.losses")
        terms = [weight * found[blob].sum() for blob, weight in self.losses.items()]
        return sum(terms[1:], start=terms[0]) if terms else torch.zeros(())

    def _feed(self, args: tuple[Tensor, ...], inputs: Mapping[str, Tensor]) -> list[Tensor]:
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
                self.require_weights()
                raise NetError(
                    f"input '{name}' is on {value.device}, the net's weights are on {weight.device}: move one of them"
                )
        return [values[name] for name in self.inputs]

    def run_layer(self, step: Step, bottoms: list[Tensor]) -> tuple[Tensor, ...]:
        """Run a layer and those fused into it, with bottoms converted to its dtype, memory order and device.

        It supports two kinds of fusion: ``lower(graph, outputs, (with_activation,))``, and fusion for training.

        Raises:
            NetError: the bottoms do not fit the layer, or the layer fails; the error names it.
        """
        layer = step.layer
        try:
            if layer.is_source:
                return tuple(self._place(x) for x in layer())
            layer.top_shapes([tuple(x.shape) for x in bottoms])
            bottoms = [self._cast(layer, x) for x in bottoms]
            for i in layer.stopped_bottoms if not self.param.force_backward else ():
                bottoms[i] = bottoms[i].detach()
            if step.affine:
                tops = layer.forward_affine(step.affine[0], *bottoms)
                return tops if step.activation is None else step.activation(*tops)
            return layer(*bottoms) if step.activation is None else layer.forward_fused(step.activation, *bottoms)
        except DeepLabCaffeError:
            raise
        except (RuntimeError, ValueError, MemoryError) as error:
            if not lacks_memory(error):
                raise layer.error(f"{type(error).__name__}: {error}") from error
            if layer.is_source:
                raise layer.error("not enough memory for its tops: make them smaller") from error
            where, shapes = bottoms[0].device, ", ".join(str(tuple(x.shape)) for x in bottoms)
            raise layer.error(f"not enough memory on {where} for bottoms {shapes}: take fewer or smaller") from error

    def _place(self, x: Tensor) -> Tensor:
        reference = next(self.parameters(), None)
        # From page-locked memory, which data layers use if there is a GPU, the copy runs in the background.
        return x if reference is None else x.to(reference.device, non_blocking=True)

    def _cast(self, layer: Layer, x: Tensor) -> Tensor:
        if not layer.supports_half:
            return x.float() if x.dtype in HALF else x
        weight = next(layer.parameters(), None)
        # Under autocast the layer's operations convert both to one dtype.
        if weight is not None and x.dtype != weight.dtype and not torch.is_autocast_enabled(x.device.type):
            x = x.to(weight.dtype)
        if self.context.channels_last and weight is not None and x.dim() == 4:
            x = x.contiguous(memory_format=torch.channels_last)
        return x

    def optimize(self, **options: Unpack[OptimizeOptions]) -> OptimizedNet:
        """Return an optimized net for inference on the net's device; see :func:`deeplab_caffe.optimize`."""
        found: OptimizedNet = pkgutil.resolve_name(_OPTIMIZE)(self, **options)
        return found

    def parameter_count(self) -> int:
        """Return the number of values in all parameter blobs; shared blobs count once."""
        return sum(p.numel() for p in self.parameters())

    def multiply_adds(self, shapes: Mapping[str, Shape] | None = None) -> int:
        """Return the multiply-adds of one forward pass.

        At the prototxt's sizes, or at ``shapes`` from :meth:`infer_shapes`.
        """
        shapes = self.blob_shapes if shapes is None else shapes
        return sum(
            step.layer.multiply_adds([shapes[b] for b in step.bottoms], [shapes[t] for t in step.tops])
            for step in self.steps
        )

    def activation_bytes(self, shapes: Mapping[str, Shape] | None = None) -> int:
        """Return the most bytes of float32 activations alive at one time in a forward pass without gradients.

        An estimate, at the prototxt's sizes, or at ``shapes`` from :meth:`infer_shapes`.
        """
        shapes = self.blob_shapes if shapes is None else shapes
        known = {number: shapes[name] for name, number in self.graph.inputs.items()}
        for step in self.steps:
            known.update((number, shapes[top]) for top, number in zip(step.tops, step.makes, strict=True))
        return self.graph.activation_bytes(known)

    def extra_repr(self) -> str:
        """Return the net's name, inputs and outputs, for ``repr``."""
        return f"name={self.name!r}, inputs={self.inputs}, outputs={self.outputs}"


def _forgive(names: tuple[str, ...], _: nn.Module, keys: Any) -> None:
    """Remove from a layer's unexpected keys those of layers whose names begin with its name and a dot."""
    keys.unexpected_keys[:] = [key for key in keys.unexpected_keys if not any(f".{n}." in f".{key}" for n in names)]
