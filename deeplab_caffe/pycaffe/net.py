"""pycaffe's Net: a network whose blobs are live numpy arrays, run layer by layer, forwards and backwards."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from os import PathLike
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from deeplab_caffe import net as core
from deeplab_caffe.errors import NetError
from deeplab_caffe.layers import legacy_shape
from deeplab_caffe.proto import caffe_pb2, modern_name
from deeplab_caffe.pycaffe import mode
from deeplab_caffe.pycaffe.blob import Blob, ParameterBlob
from deeplab_caffe.weights import load_weights, save_weights


class LayerFace(NamedTuple):
    """What pycaffe shows of a layer: its type's name and its parameter blobs."""

    type: str
    blobs: list[ParameterBlob]


class Net:
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
        phase: int | None = None,
        **options: object,
    ) -> None:
        if isinstance(weights, int):
            weights, phase = (None, weights) if phase is None else (phase, weights)
        options.setdefault("seed", mode.current_seed())
        self.module = core.Net(prototxt, None, caffe_pb2.TEST if phase is None else phase, **options)
        for layer in self.module.layers:
            # Each blob is a memory of its own here, which scripts may look at.
            layer.inplace = False
        self._steps = self.module.steps
        self._layer_names = [step.layer.name for step in self._steps]
        self.blobs = OrderedDict((name, Blob(shape)) for name, shape in self.module.blob_shapes.items())
        self.params: OrderedDict[str, list[ParameterBlob]] = OrderedDict()
        for step in self._steps:
            found = [ParameterBlob(blob, legacy_shape(tuple(blob.shape))) for blob in step.layer.blobs]
            if found:
                self.params[step.layer.name] = found
        self._loss_tops = [
            (top, weight)
            for step in self._steps
            for top, weight in zip(step.tops, step.loss_weights, strict=True)
            if weight
        ]
        for top, weight in self._loss_tops:
            self.blobs[top].diff[...] = weight
        self._needs = self._find_backward()
        self._tape: dict[int, tuple[list[Tensor], tuple[Tensor, ...]]] = {}
        self._record = bool(self._loss_tops) or self.module.param.force_backward or self.module.context.training
        if weights is not None:
            self.copy_from(weights)

    @property
    def inputs(self) -> list[str]:
        """Names of the input blobs."""
        return self.module.inputs

    @property
    def outputs(self) -> list[str]:
        """Names of the output blobs."""
        return self.module.outputs

    @property
    def layers(self) -> list[LayerFace]:
        """The layers in order."""
        return [LayerFace(modern_name(s.layer.TYPE), self.params.get(s.layer.name, [])) for s in self._steps]

    @property
    def layer_dict(self) -> OrderedDict[str, LayerFace]:
        """The layers by name."""
        return OrderedDict(zip(self._layer_names, self.layers, strict=True))

    @property
    def bottom_names(self) -> OrderedDict[str, list[str]]:
        """Names of the bottoms by layer."""
        return OrderedDict((step.layer.name, list(step.bottoms)) for step in self._steps)

    @property
    def top_names(self) -> OrderedDict[str, list[str]]:
        """Names of the tops by layer."""
        return OrderedDict((step.layer.name, list(step.tops)) for step in self._steps)

    @property
    def blob_loss_weights(self) -> OrderedDict[str, float]:
        """Weight in the loss by blob."""
        weights = dict(self._loss_tops)
        return OrderedDict((name, weights.get(name, 0.0)) for name in self.blobs)

    def copy_from(self, weights: str | PathLike[str]) -> None:
        """Loads a caffemodel by layer names; layers that it lacks keep their values, with a warning."""
        self._sync_parameters()
        load_weights(self.module, weights, missing="warn")

    def save(self, path: str | PathLike[str], write_diff: bool = False) -> None:
        """Writes a caffemodel."""
        self._sync_parameters()
        diffs = {name: [blob.diff for blob in blobs] for name, blobs in self.params.items()} if write_diff else None
        save_weights(self.module, path, diffs)

    def share_with(self, other: Net) -> None:
        """Takes over the parameters of the layers of the same name: one memory for both nets from now on."""
        self._sync_parameters()
        theirs = other.module.by_name
        for step in self._steps:
            layer = step.layer
            if not layer.blobs or layer.name not in theirs:
                continue
            source = theirs[layer.name]
            shapes = [[tuple(blob.shape) for blob in each.blobs] for each in (layer, source)]
            if shapes[0] != shapes[1]:
                raise NetError(f"share_with: parameters are {shapes[0]} here and {shapes[1]} there", layer.name)
            for mine, blob in zip(self.params[layer.name], source.blobs, strict=True):
                mine.parameter.data = blob.data

    def reshape(self) -> None:
        """Gives every blob the shape that follows from the shapes of the inputs."""
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
        """Runs the layers from ``start`` to ``end`` (names, both included; the whole net by default).

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
        """Runs the gradients from layer ``start`` down to layer ``end`` (names; the whole net by default).

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
        self._backward(first, last)
        names = [*(self._steps[last].bottoms if end is not None else self.inputs), *extra]
        return {name: self.blobs[name].diff for name in names}

    def forward_all(self, blobs: Iterable[str] | None = None, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        """Runs any number of items in batches of the net's size; the last batch is filled up with zeros.

        Returns:
            One array per output (and per name in ``blobs``), with as many items as were given.
        """
        size = self.blobs[self.inputs[0]].num
        counts = {len(array) for array in inputs.values()}
        if len(counts) != 1:
            raise NetError(f"forward_all: every input needs as many items, got {sorted(counts)}")
        count = counts.pop()
        parts: dict[str, list[np.ndarray]] = {}
        for begin in range(0, count, size):
            batch = {}
            for name, array in inputs.items():
                part = np.zeros((size, *np.shape(array)[1:]), np.float32)
                part[: len(array[begin : begin + size])] = array[begin : begin + size]
                batch[name] = part
            for name, out in self.forward(blobs=blobs, **batch).items():
                parts.setdefault(name, []).append(out.copy())
        return {name: np.concatenate(out)[:count] for name, out in parts.items()}

    def clear_param_diffs(self) -> None:
        """Sets the gradients of all parameters to zero."""
        for blobs in self.params.values():
            for blob in blobs:
                blob.diff[...] = 0

    def set_phase_test(self) -> None:
        """The first pycaffe's way to say TEST."""
        self.module.context.phase = caffe_pb2.TEST

    def set_phase_train(self) -> None:
        """The first pycaffe's way to say TRAIN."""
        self.module.context.phase = caffe_pb2.TRAIN

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
        if set(given) != set(expected):
            raise NetError(f"values for {sorted(given)} do not match the net's {sorted(expected)}")
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

    def _place(self) -> None:
        """Follows the mode: parameters and blobs go where the computation is to be."""
        device = mode.current_device()
        parameter = next(self.module.parameters(), None)
        if parameter is not None and parameter.device != device:
            self._sync_parameters()
            self.module.to(device)
        for blob in self.blobs.values():
            blob.to(device)
        for blobs in self.params.values():
            for blob in blobs:
                blob.to(device)
        self._sync_parameters()

    def _sync_parameters(self) -> None:
        for blobs in self.params.values():
            for blob in blobs:
                blob._data.tensor()

    def _forward(self, first: int, last: int) -> float:
        """Runs layers ``first`` to ``last``; the weighted loss of their tops."""
        self._place()
        loss = 0.0
        for index in range(first, last + 1):
            self._run(index, record=self._record and self._needs[index][0])
            step = self._steps[index]
            for top, weight in zip(step.tops, step.loss_weights, strict=True):
                if weight:
                    loss += weight * float(self.blobs[top]._data.tensor().sum())
        return loss

    def _run(self, index: int, record: bool) -> None:
        step = self._steps[index]
        bottoms = [self.blobs[name]._data.tensor().detach() for name in step.bottoms]
        if record:
            # The blob's memory will hold the top; the gradient may need the bottom.
            bottoms = [x.clone() if name in step.tops else x for name, x in zip(step.bottoms, bottoms, strict=True)]
            bottoms = [x.requires_grad_() for x in bottoms]
        with torch.set_grad_enabled(record):
            tops = self.module.run_layer(step, bottoms)
        self._tape.pop(index, None)
        if record:
            self._tape[index] = (bottoms, tops)
        for name, top in zip(step.tops, tops, strict=True):
            self.blobs[name].write_data(top)

    def _find_backward(self) -> list[tuple[bool, list[bool]]]:
        """For each layer: does it run backwards, and into which bottoms (net.cpp, Init)."""
        force = self.module.param.force_backward
        needed = dict.fromkeys(self.inputs, force)
        found = []
        for step in self._steps:
            layer = step.layer
            down = [
                needed.get(name, False) or (force and layer.allows_gradient(i)) for i, name in enumerate(step.bottoms)
            ]
            rates = list(layer.param.blobs_lr) or [1.0] * len(layer.blobs)
            learns = bool(layer.blobs) and any(rates)
            runs = learns or any(down)
            needed.update(dict.fromkeys(step.tops, runs))
            found.append((runs, down))
        return found

    def _backward(self, first: int, last: int) -> None:
        self._place()
        if not self._record:
            # No gradient was expected of this net: its layers are run once more to learn what they need.
            self._record = True
            for index in range(first + 1):
                if self._needs[index][0] and not self._steps[index].layer.IS_SOURCE:
                    self._run(index, record=True)
        for index in range(first, last - 1, -1):
            runs, down = self._needs[index]
            if runs:
                self._backward_layer(index, down)

    def _backward_layer(self, index: int, propagate_down: list[bool]) -> None:
        """Gradients of one layer: of its parameters, and of the bottoms that ``propagate_down`` names."""
        step = self._steps[index]
        if index not in self._tape:
            raise NetError("backward before forward: there is nothing to differentiate yet", step.layer.name)
        bottoms, tops = self._tape[index]
        outputs = [(top, self.blobs[name]._diff.tensor()) for name, top in zip(step.tops, tops, strict=True)]
        outputs = [(top, diff.clone()) for top, diff in outputs if top.requires_grad]
        if not outputs:
            return
        wanted = [i for i, asked in enumerate(propagate_down) if asked]
        blobs = step.layer.blobs
        gradients = torch.autograd.grad(
            [top for top, _ in outputs],
            [*(bottoms[i] for i in wanted), *blobs],
            [diff for _, diff in outputs],
            retain_graph=True,
            allow_unused=True,
        )
        for i, gradient in zip(wanted, gradients, strict=False):
            if gradient is not None:
                self.blobs[step.bottoms[i]].write_diff(gradient)
        for blob, gradient in zip(self.params.get(step.layer.name, []), gradients[len(wanted) :], strict=True):
            if gradient is not None:
                blob.write_diff(gradient)
