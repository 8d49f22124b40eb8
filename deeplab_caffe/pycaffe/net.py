"""pycaffe's Net: a network whose blobs are live numpy arrays, run layer by layer, forwards and backwards."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from os import PathLike
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from deeplab_caffe import net as core
from deeplab_caffe.errors import NetError
from deeplab_caffe.net.weights import load_weights, save_weights
from deeplab_caffe.proto import caffe_pb2
from deeplab_caffe.pycaffe import mode
from deeplab_caffe.pycaffe.batches import Batches
from deeplab_caffe.pycaffe.blob import ParameterBlob
from deeplab_caffe.pycaffe.preprocessing import Preprocessing


class LayerFace(NamedTuple):
    """What pycaffe shows of a layer: its type's name and its parameter blobs."""

    type: str
    blobs: list[ParameterBlob]


class Net(Batches, Preprocessing):
    """``Net(prototxt[, weights][, phase])``, as ``caffe.Net``.

    Args:
        prototxt: path of the file.
        weights: path of a caffemodel; here may stand the phase instead, as pycaffe allows.
        phase: ``TEST`` (the default, as the first pycaffe had it) or ``TRAIN``.
        **options: further keyword arguments of :class:`deeplab_caffe.Net`.

    Attributes:
        blobs: ordered dict from blob names to :class:`Blob`.
        params: ordered dict from layer names to lists of parameter blobs.
        inputs: names of the input blobs.
        outputs: names of the output blobs.
        layers: the layers, with ``type`` and ``blobs``.
        bottom_names: ordered dict from layer names to the names of their bottoms.
        top_names: ordered dict from layer names to the names of their tops.
    """

    def __init__(
        self,
        prototxt: str | PathLike[str] | caffe_pb2.NetParameter,
        weights: str | PathLike[str] | int | None = None,
        phase: int | str | PathLike[str] | None = None,
        **options: Any,
    ) -> None:
        path, phase = (phase, weights) if isinstance(weights, int) else (weights, phase)
        if isinstance(path, int) or isinstance(phase, PathLike):
            raise NetError(f"expected the path of weights and a phase, got {path!r} and {phase!r}")
        options.setdefault("seed", mode.current_seed())
        if options.get("dtype", torch.float32) != torch.float32:
            raise NetError(f"pycaffe's arrays are float32: dtype cannot be {options['dtype']}")
        module = core.Net(prototxt, None, caffe_pb2.TEST if phase is None else phase, **options)
        super().__init__(module)
        if path is not None:
            self.copy_from(path)

    @property
    def inputs(self) -> list[str]:
        """Return the names of the input blobs."""
        return self.module.inputs

    @property
    def outputs(self) -> list[str]:
        """Return the names of the output blobs."""
        return self.module.outputs

    @property
    def layers(self) -> list[LayerFace]:
        """Return the layers in order."""
        return [LayerFace(s.layer.TYPE, self.params.get(s.layer.name, [])) for s in self._steps]

    @property
    def layer_dict(self) -> OrderedDict[str, LayerFace]:
        """Return the layers by name."""
        return OrderedDict(zip(self._layer_names, self.layers, strict=True))

    @property
    def bottom_names(self) -> OrderedDict[str, list[str]]:
        """Return the names of the bottoms by layer."""
        return OrderedDict((step.layer.name, list(step.bottoms)) for step in self._steps)

    @property
    def top_names(self) -> OrderedDict[str, list[str]]:
        """Return the names of the tops by layer."""
        return OrderedDict((step.layer.name, list(step.tops)) for step in self._steps)

    @property
    def blob_loss_weights(self) -> OrderedDict[str, float]:
        """Return the weight in the loss by blob."""
        return OrderedDict((name, self._loss_weights.get(name, 0.0)) for name in self.blobs)

    def copy_from(self, weights: str | PathLike[str]) -> None:
        """Load a caffemodel by layer names; layers that it lacks keep their values, with a warning."""
        self._sync_parameters()
        load_weights(self.module, weights, missing="warn")

    def save(self, path: str | PathLike[str], write_diff: bool = False) -> None:
        """Write a caffemodel."""
        self._sync_parameters()
        diffs = {name: [blob.diff for blob in blobs] for name, blobs in self.params.items()} if write_diff else None
        save_weights(self.module, path, diffs)

    def share_with(self, other: Net) -> None:
        """Take over the parameters of the layers of the same name: one memory for both nets from now on."""
        self._sync_parameters()
        replaced: dict[int, Tensor] = {}
        for name in (name for name in self.params if name in other.params):
            mine, theirs = ([blob.parameter for blob in net.params[name]] for net in (self, other))
            shapes = [[tuple(blob.shape) for blob in blobs] for blobs in (mine, theirs)]
            if shapes[0] != shapes[1]:
                raise NetError(f"share_with: parameters are {shapes[0]} here and {shapes[1]} there", name)
            replaced.update((id(blob), source) for blob, source in zip(mine, theirs, strict=True))
        # The very Parameter objects: one memory even after either net has moved to another device.
        for step in self._steps:
            for role, blob in step.layer.named_blobs.items():
                setattr(step.layer, role, replaced.get(id(blob), blob))
        for blobs in self.params.values():
            for face in blobs:
                face.parameter = replaced.get(id(face.parameter), face.parameter)

    def reshape(self) -> None:
        """Give every blob the shape that follows from the shapes of the inputs."""
        shapes = self.module.infer_shapes(**{name: self.blobs[name].shape for name in self.inputs})
        for name, shape in shapes.items():
            self.blobs[name].reshape(*shape)

    def forward(
        self,
        blobs: Iterable[str] | None = None,
        start: str | None = None,
        end: str | None = None,
        **inputs: np.ndarray,
    ) -> dict[str, np.ndarray]:
        """Run the layers from ``start`` to ``end`` (names, both included; the whole net by default).

        Args:
            blobs: names of blobs to return beside the outputs.
            start: the first layer to run.
            end: the last layer to run; its tops are then returned instead of the net's outputs.
            **inputs: values for all of the net's inputs.

        Returns:
            Live arrays by blob name.

        Raises:
            NetError: unknown names, or inputs that do not fit.
        """
        extra = list(blobs or [])
        self._check_blobs(extra)
        if inputs:
            self._set_arrays(inputs, self.inputs, "data")
        first = self._index(start, 0)
        last = self._index(end, len(self._steps) - 1)
        if first > last:
            raise NetError(f"forward: layer '{start}' comes after layer '{end}'")
        self._forward(first, last)
        names = [*(self._steps[last].tops if end is not None else self.outputs), *extra]
        return {name: self.blobs[name].data for name in names}

    def backward(
        self,
        diffs: Iterable[str] | None = None,
        start: str | None = None,
        end: str | None = None,
        **gradients: np.ndarray,
    ) -> dict[str, np.ndarray]:
        """Run the gradients from layer ``start`` down to layer ``end`` (names; the whole net by default).

        Args:
            diffs: names of blobs whose gradients to return beside the inputs'.
            start: the layer to begin at, the topmost.
            end: the layer to end at; its bottoms are then returned instead of the net's inputs.
            **gradients: values for the diffs of all of the net's outputs.

        Returns:
            Live arrays of gradients by blob name.

        Raises:
            NetError: unknown names, or values that do not fit.
        """
        extra = list(diffs or [])
        self._check_blobs(extra)
        if gradients:
            self._set_arrays(gradients, self.outputs, "diff")
        first = self._index(start, len(self._steps) - 1)
        last = self._index(end, 0)
        if first < last:
            raise NetError(f"backward: layer '{start}' comes before layer '{end}'")
        self._backward(first, last)
        names = [*(self._steps[last].bottoms if end is not None else self.inputs), *extra]
        return {name: self.blobs[name].diff for name in names}

    def set_input_arrays(self, data: np.ndarray, labels: np.ndarray, data_dim: np.ndarray | None = None) -> None:
        """Give the net's first layer, a MEMORY_DATA, its arrays.

        Args:
            data: (n, C, H, W), n a multiple of the batch size.
            labels: (n,) or (n, 1, 1, 1).
            data_dim: (n, 1, 1, 2), the images' heights and widths; None: all of the items.

        Raises:
            NetError: the first layer is no MEMORY_DATA, or the shapes do not fit it.
        """
        layer = self._steps[0].layer if self._steps else None
        if layer is None or not layer.takes_arrays:
            raise NetError("set_input_arrays: the first layer must be a MEMORY_DATA")
        try:
            layer.set_arrays(data, labels, data_dim)
        except NetError as error:
            raise layer.error(f"set_input_arrays: {error}") from None

    _set_input_arrays = set_input_arrays

    def clear_param_diffs(self) -> None:
        """Set the gradients of all parameters to zero."""
        for blobs in self.params.values():
            for blob in blobs:
                blob.diff[...] = 0

    def set_phase_test(self) -> None:
        """Set the phase to TEST, as the first pycaffe had it."""
        self.module.context.phase = caffe_pb2.TEST
        self.module.eval()

    def set_phase_train(self) -> None:
        """Set the phase to TRAIN, as the first pycaffe had it."""
        self.module.context.phase = caffe_pb2.TRAIN
        self.module.train()
        self._record = True

    set_mode_cpu = staticmethod(mode.set_mode_cpu)
    set_mode_gpu = staticmethod(mode.set_mode_gpu)
    set_device = staticmethod(mode.set_device)

    def _check_blobs(self, names: Iterable[str]) -> None:
        for name in names:
            if name not in self.blobs:
                raise NetError(f"the net has no blob '{name}'; it has {', '.join(self.blobs)}")

    def _index(self, layer: str | None, default: int) -> int:
        if layer is None:
            return default
        if layer not in self._layer_names:
            raise NetError(f"the net has no layer '{layer}'; it has {', '.join(self._layer_names)}")
        return self._layer_names.index(layer)

    @staticmethod
    def _check_inputs(given: Iterable[str], expected: list[str]) -> None:
        if set(given) != set(expected):
            raise NetError(f"values for {sorted(given)} do not match the net's {sorted(expected)}")

    def _set_arrays(self, given: dict[str, np.ndarray], expected: list[str], which: str) -> None:
        self._check_inputs(given, expected)
        for name, array in given.items():
            array = np.asarray(array)
            if array.ndim and array.shape[0] != self.blobs[name].num:
                raise NetError(
                    f"blob '{name}' is not batch sized: it has {self.blobs[name].num} items, got {len(array)}"
                )
            if array.shape != self.blobs[name].shape:
                raise NetError(
                    f"blob '{name}' is {self.blobs[name].shape}, got an array of {array.shape}: reshape it first"
                )
            getattr(self.blobs[name], which)[...] = array
