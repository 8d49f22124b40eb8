"""pycaffe's Net: a network whose blobs are live numpy arrays, run layer by layer, forwards and backwards."""

from __future__ import annotations

from collections.abc import Iterable
from numbers import Integral
from os import PathLike
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deeplab_caffe import net as core
from deeplab_caffe.errors import NetError
from deeplab_caffe.layers import Layer
from deeplab_caffe.net.weights import load_hdf5, load_weights, save_hdf5, save_weights
from deeplab_caffe.proto import caffe_pb2
from deeplab_caffe.pycaffe import mode
from deeplab_caffe.pycaffe.batches import Batches, check_names
from deeplab_caffe.pycaffe.names import Names
from deeplab_caffe.pycaffe.paths import AnyPath, text_path
from deeplab_caffe.pycaffe.preprocessing import Preprocessing


class Net(Names, Batches, Preprocessing):
    """``Net(network_file, ...)`` as ``caffe.Net``, with the signatures of all of pycaffe's releases.

    ``Net(file)``, ``Net(file, weights)``, ``Net(file, weights, phase)``, ``Net(file, phase)`` and ``Net(file, phase,
    level, stages, weights)``; all arguments also by keyword.

    Args:
        network_file: path of the prototxt.
        *args: as above.
        phase: ``TRAIN`` or ``TEST``. Without it, the phase that ``caffe.set_phase_train`` or ``set_phase_test`` set
            last, also later; TEST if neither was called.
        weights: path of a caffemodel.
        level: the state's level, for include and exclude rules.
        stages: the state's stages.
        **options: further keyword arguments of :class:`deeplab_caffe.Net`. Layers of type Python are allowed.

    Attributes:
        blobs: ordered dict from blob names to :class:`Blob`.
        params: ordered dict from layer names to lists of parameter blobs.
        inputs: names of the input blobs.
        outputs: names of the output blobs.
        layers: the layers, with ``type`` and ``blobs``.
        bottom_names: ordered dict from layer names to the names of their bottoms.
        top_names: ordered dict from layer names to the names of their tops.

    Raises:
        NetError: the arguments do not go together, or the net cannot be built.
    """

    def __init__(self, network_file: AnyPath | caffe_pb2.NetParameter, *args: Any, **options: Any) -> None:
        options = _by_name(args, options)
        phase, weights = options.pop("phase", None), options.pop("weights", None)
        if isinstance(phase, bytes | PathLike) or isinstance(weights, Integral):
            raise NetError(f"expected the path of weights and a phase, got {weights!r} and {phase!r}")
        options.setdefault("seed", mode.current_seed())
        options.setdefault("python_layers", "unchanged")
        options["stages"] = options.get("stages") or ()
        if options.get("dtype", torch.float32) != torch.float32:
            raise NetError(f"pycaffe's arrays are float32: dtype cannot be {options['dtype']}")
        super().__init__(
            core.Net(text_path(network_file), None, mode.current_phase() if phase is None else phase, **options)
        )
        self._follows_phase = phase is None
        if weights is not None:
            self.copy_from(weights)

    def copy_from(self, weights: AnyPath) -> None:
        """Load a caffemodel by layer names; layers that it lacks keep their values, with a warning.

        Gradients that it has, of ``snapshot_diff`` or ``save(path, True)``, are loaded too, as in Caffe.
        """
        self._sync_parameters()
        load_weights(self.module, text_path(weights), missing="warn", of_any_network=True, with_diff=self._set_diff)

    def _set_diff(self, layer: Layer, role: str, values: np.ndarray) -> None:
        blob = self.params[layer.name][list(layer.named_blobs).index(role)]
        blob.diff[...] = values.reshape(blob.diff.shape)

    def save(self, path: AnyPath, write_diff: bool = False) -> None:
        """Write a caffemodel."""
        self._sync_parameters()
        save_weights(self.module, text_path(path), self._diffs() if write_diff else None)

    def load_hdf5(self, path: AnyPath) -> None:
        """Load weights as :meth:`copy_from` does, from a file that :meth:`save_hdf5` or Caffe wrote."""
        self._sync_parameters()
        load_hdf5(self.module, text_path(path), missing="warn", of_any_network=True)

    def save_hdf5(self, path: AnyPath, write_diff: bool = False) -> None:
        """Write the weights as Caffe does in HDF5."""
        self._sync_parameters()
        save_hdf5(self.module, text_path(path), self._diffs() if write_diff else None)

    def _diffs(self) -> dict[str, list[np.ndarray]]:
        return {name: [blob.diff for blob in blobs] for name, blobs in self.params.items()}

    def share_with(self, other: Net) -> None:
        """Use the other net's parameters in layers of the same name: both nets share one memory from now on.

        Raises:
            NetError: parameters of layers of one name have different shapes.
        """
        self._sync_parameters()
        replaced: dict[int, Tensor] = {}
        held: dict[int, str] = {}
        for name in (name for name in self.params if name in other.params):
            mine, theirs = ([blob.parameter for blob in net.params[name]] for net in (self, other))
            shapes = [[tuple(blob.shape) for blob in blobs] for blobs in (mine, theirs)]
            if shapes[0] != shapes[1]:
                raise NetError(f"share_with: parameters are {shapes[0]} here and {shapes[1]} there", name)
            replaced.update((id(blob), source) for blob, source in zip(mine, theirs, strict=True))
            held.update((id(blob), face.held_by) for blob, face in zip(mine, other.params[name], strict=True))
        # Share the Parameter objects: one memory even after one of the nets has moved to another device.
        for step in self._steps:
            for role, blob in step.layer._parameters.items():
                if blob is not None:
                    setattr(step.layer, role, replaced.get(id(blob), blob))
        for blobs in self.params.values():
            for face in blobs:
                face.held_by = face.held_by or held.get(id(face.parameter), "")
                face.parameter = replaced.get(id(face.parameter), face.parameter)

    def reshape(self) -> None:
        """Give every blob the shape that follows from the shapes of the inputs."""
        for step in self._steps:
            if step.layer.code is not None:
                step.layer.code.reshape()
                continue
            shapes = step.layer.top_shapes([self.blobs[name].shape for name in step.bottoms])
            for name, shape in zip(step.tops, shapes, strict=True):
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
        """Run the backward pass from layer ``start`` down to layer ``end`` (names; the whole net by default).

        Args:
            diffs: names of blobs whose gradients to return beside the inputs'.
            start: the layer to start at, the topmost.
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
            data_dim: (n, 1, 1, 2), the images' heights and widths; None: each image fills its item.

        Raises:
            NetError: the first layer is not a MEMORY_DATA, or the shapes do not fit it.
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
        """Set this net's phase to TEST, as in the first pycaffe."""
        self._follows_phase = False
        self._set_phase(caffe_pb2.TEST)

    def set_phase_train(self) -> None:
        """Set this net's phase to TRAIN, as in the first pycaffe."""
        self._follows_phase = False
        self._set_phase(caffe_pb2.TRAIN)

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

    def _set_arrays(self, given: dict[str, np.ndarray], expected: list[str], which: str) -> None:
        check_names(given, expected)
        for name, array in given.items():
            array = np.asarray(array)
            if array.ndim and array.shape[0] != self.blobs[name].num:
                raise NetError(
                    f"blob '{name}' is not batch sized: it has {self.blobs[name].num} items, got {len(array)}"
                )
            shape = tuple(self.blobs[name].shape)
            # Caffe writes `data[...] = array`, so numpy repeats what has an axis less, or an axis of length 1.
            if array.shape != shape and not (array.ndim and _spreads(array.shape, shape)):
                raise NetError(f"blob '{name}' is {shape}, got an array of {array.shape}: reshape it first")
            getattr(self.blobs[name], which)[...] = array


def _spreads(given: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    """Return whether numpy writes an array of shape ``given`` into one of ``shape``."""
    if len(given) > len(shape):
        # Axes of length 1 in front are dropped.
        return set(given[: len(given) - len(shape)]) == {1} and _spreads(given[len(given) - len(shape) :], shape)
    return all(n in (1, size) for n, size in zip(reversed(given), reversed(shape), strict=False))


def _by_name(args: tuple[Any, ...], options: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments after the file by name: ``weights, phase`` of 2014, ``phase, level, ...`` of 2016."""
    names: tuple[str, ...] = ("weights", "phase")
    if args and isinstance(args[0], Integral):
        paths = len(args) == 2 and not isinstance(args[1], Integral)
        names = ("phase", "weights") if paths else ("phase", "level", "stages", "weights")
    if len(args) > len(names):
        raise NetError(f"expected {', '.join(names)} behind the network's file, got {args!r}")
    twice = [name for name in names[: len(args)] if name in options]
    if twice:
        raise NetError(f"{twice[0]} is given by place and by name")
    return {**dict(zip(names, args, strict=False)), **options}
