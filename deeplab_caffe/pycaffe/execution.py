"""Running a network layer by layer over blobs, forwards and backwards: the base of pycaffe's Net."""

from __future__ import annotations

import math
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import zip_longest
from typing import TypeVar

import torch
from torch import Tensor

from deeplab_caffe import net as core
from deeplab_caffe.errors import NetError
from deeplab_caffe.layers import Blob, BlobVec, Layer, NetContext, ParameterBlob, Shape
from deeplab_caffe.net.build import AUTOMATIC_TOP
from deeplab_caffe.net.graph import Step
from deeplab_caffe.proto import caffe_pb2
from deeplab_caffe.proto.splits import split_layer_name
from deeplab_caffe.pycaffe import mode

_V = TypeVar("_V", bound=Blob | BlobVec)


class _Input(Layer):
    """An Input layer in a net's list of layers: its tops are the input blobs."""

    TYPE = "Input"
    BOTTOMS = (0, 0)
    TOPS = (1, math.inf)
    is_source = True
    differentiable = False

    def __init__(self, name: str, blobs: dict[str, Blob], context: NetContext) -> None:
        super().__init__(caffe_pb2.LayerParameter(name=name, type=self.TYPE, top=blobs), context)
        self._blobs = list(blobs.values())

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        """Return the blobs' shapes."""
        return [blob.shape for blob in self._blobs]

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        """Return the blobs' values."""
        return tuple(blob.tensor() for blob in self._blobs)


class _Tape(dict[int, "tuple[list[Tensor], tuple[Tensor, ...]] | None"]):
    """By layer: the bottoms and tops of its last run, recorded for a gradient; None: the net was copied since.

    A copy has the values, but not how torch made them.
    """

    def __reduce__(self) -> tuple[type[_Tape], tuple[dict[int, None]]]:
        return _Tape, (dict.fromkeys(self),)


class _ByName(OrderedDict[str, _V]):
    """A net's blobs or parameters by name: a script changes what they hold, not which they are."""

    def __setitem__(self, name: str, value: _V) -> None:
        if name in self or not isinstance(value, Blob | BlobVec):
            raise NetError(
                f"the entry '{name}' cannot be replaced by {type(value).__name__}: write into its array, .data[...] = x"
            )
        super().__setitem__(name, value)


class Execution:
    """A module, a blob for each of its tensors, and backpropagation through them.

    Args:
        module: the network; ``params`` shows its parameters' memory.

    Attributes:
        module: the network.
        blobs: ordered dict from blob names to :class:`Blob`.
        params: ordered dict from layer names to lists of parameter blobs.
    """

    def __init__(self, module: core.Net) -> None:
        self.module = module
        # Scripts write to parameters through numpy, which torch does not notice.
        module.context.packed = False
        for layer in module.layers:
            # Each blob has its own memory here, because scripts may read it.
            layer.inplace = False
        blobs = {name: Blob(shape) for name, shape in module.blob_shapes.items()}
        self._steps = self._ordered_steps(blobs)
        made = {top: blobs[top] for step in self._steps for top in step.tops}
        # DeepLab v1 has no Input layers: the inputs come first.
        self.blobs = _ByName(blobs if module.dialect.four_axes else made | blobs)
        self._layer_names = [step.layer.name for step in self._steps]
        self.params: OrderedDict[str, BlobVec] = _ByName()
        shared: dict[int, ParameterBlob] = {}
        for step in self._steps:
            found = self._parameters_of(step.layer, shared)
            if found:
                self.params[step.layer.name] = found
        self._share_blobs()
        self._loss_weights = module.losses
        for top, weight in self._loss_weights.items():
            self.blobs[top].diff[...] = weight
        self._device = torch.device("cpu")
        self._follows_phase = False
        self._callbacks: dict[str, list[Callable[[int], object]]] = {
            f"{when}_{way}": [] for when in ("before", "after") for way in ("forward", "backward")
        }
        self._needs = self._find_backward()
        self._made_by_none = self._find_made_by_none()
        # By name: earlier values of blobs that no layer computes from others, before a layer overwrote them in place.
        self._overwritten: dict[str, Tensor] = {}
        self._tape = _Tape()
        self._record = bool(self._loss_weights) or module.param.force_backward or module.context.training

    @property
    def inputs(self) -> list[str]:
        """Return the names of the input blobs."""
        return self.module.inputs

    @property
    def outputs(self) -> list[str]:
        """Return the names of the output blobs.

        As in Caffe (net.cpp, Init), the top that a loss without a ``top`` gets is in ``blobs`` only.
        """
        return [name for name in self.module.outputs if not name.startswith(AUTOMATIC_TOP)]

    def _ordered_steps(self, blobs: Mapping[str, Blob]) -> tuple[Step, ...]:
        """Return the net's steps in Caffe's order: each Input layer is followed by the splits of its tops."""
        steps = self.module.steps
        ordered = []
        for each in self._input_steps(blobs):
            splits = {split_layer_name(top, each.layer.name, index) for index, top in enumerate(each.tops)}
            ordered += [each, *(step for step in steps if step.layer.name in splits)]
        placed = {id(step) for step in ordered}
        return (*ordered, *(step for step in steps if id(step) not in placed))

    def _input_steps(self, blobs: Mapping[str, Blob]) -> list[Step]:
        """Return the Input layers of a net's inputs, as in later Caffe; DeepLab v1 has no such layers."""
        param = self.module.param
        if self.module.dialect.four_axes:
            return []
        tops: dict[str, dict[str, Blob]] = {}
        for top, name in zip_longest(param.input, param.input_layer, fillvalue="input"):
            tops.setdefault(name, {})[top] = blobs[top]
        layers = [_Input(name, each, self.module.context) for name, each in tops.items()]
        return [Step(each, (), tuple(each.param.top), (0.0,) * len(each.param.top), (), ()) for each in layers]

    def _parameters_of(self, layer: Layer, shared: dict[int, ParameterBlob]) -> BlobVec:
        if layer.code is not None:
            found = layer.code.layer.blobs
        else:
            # Not the layer's attribute, which may be a shared parameter in another shape.
            held = {role: parameter for role, parameter in layer._parameters.items() if parameter is not None}
            found = BlobVec(
                ParameterBlob(held.get(role, blob), layer.blob_shape(blob.shape))
                for role, blob in layer.named_blobs.items()
            )
        if self.module.dialect.param_diffs_add_up:
            # A shared parameter has one gradient.
            blobs = [shared.setdefault(id(blob.parameter), blob).seen_as(blob.shape) for blob in found]
            list.__setitem__(found, slice(None), blobs)
        found.take_over = partial(_take_over, layer)
        return found

    def _share_blobs(self) -> None:
        """Give Python layers the net's own blobs; values that their ``setup`` wrote to the tops are kept."""
        for step in self._steps:
            code = step.layer.code
            if code is not None:
                for name, blob in zip(step.tops, code.tops, strict=True):
                    if name not in step.bottoms:
                        dict.__setitem__(self.blobs, name, blob)
                code.bottoms[:] = [self.blobs[name] for name in step.bottoms]
                code.tops[:] = [self.blobs[name] for name in step.tops]

    def _set_phase(self, phase: int) -> None:
        training = phase == caffe_pb2.TRAIN
        self.module.context.phase = phase
        self.module.train(training)
        self._record = self._record or training

    def _place(self) -> None:
        """Move parameters and blobs to the device of the mode."""
        if self._follows_phase and self.module.context.phase != mode.current_phase():
            self._set_phase(mode.current_phase())
        device = mode.current_device()
        if device != self._device:
            self._sync_parameters()
            self.module.to(device)
            self._device = device
        for blob in self.blobs.values():
            blob.to(device)
        for blobs in self.params.values():
            for blob in blobs:
                blob.to(device)
        self._sync_parameters()

    def _sync_parameters(self) -> None:
        for blobs in self.params.values():
            for blob in blobs:
                blob.tensor()

    def _check_parameters(self, first: int, last: int) -> None:
        for step in self._steps[first : last + 1]:
            if step.layer.code is not None:
                continue
            for number, blob in enumerate(self.params.get(step.layer.name, ())):
                if not blob.fits():
                    raise step.layer.error(
                        f"its parameter blob {number} was reshaped to {blob.shape}, but the layer computes with "
                        f"{blob.made_for}: save() the net, and load that file by a prototxt that says the new shape"
                    )

    def _forward(self, first: int, last: int) -> float:
        """Run layers ``first`` to ``last``; return the weighted loss of their tops."""
        self._place()
        self._check_parameters(first, last)
        loss = 0.0
        for index in range(first, last + 1):
            self._call_back("before_forward", index)
            step = self._steps[index]
            blobs = [self.blobs[name] for name in step.tops]
            shapes = [blob.shape for blob in blobs]
            if step.layer.code is not None:
                step.layer.code.forward()
            else:
                tops = self._compute(index, record=self._record and self._needs[index][0])
                for blob, top in zip(blobs, tops, strict=True):
                    blob.write_data(top)
            for blob, shape, weight in zip(blobs, shapes, step.loss_weights, strict=True):
                if weight:
                    loss += weight * float(blob.tensor().sum())
                    if blob.shape != shape:
                        blob.diff[...] = weight
            self._call_back("after_forward", index)
        return loss

    def _compute(self, index: int, record: bool, earlier: Mapping[str, Tensor] | None = None) -> tuple[Tensor, ...]:
        """Compute a layer's tops from the current values of its bottoms.

        Args:
            index: number of the layer.
            record: record the computation for :meth:`_backward_layer`.
            earlier: values of blobs before a layer overwrote them in place.
        """
        step = self._steps[index]
        # `data`, not `detach()`: as in Caffe, scripts may change a blob between forward and backward.
        bottoms = [self.blobs[name].tensor().data for name in step.bottoms]
        if earlier is not None:
            bottoms = [earlier.get(name, x) for name, x in zip(step.bottoms, bottoms, strict=True)]
        elif not self._record:
            # No layer can compute these values again.
            for name, x in zip(step.bottoms, bottoms, strict=True):
                if name in step.tops and self._made_by_none[index]:
                    self._overwritten[name] = x.clone()
        if record:
            # The blob's memory will hold the top; the gradient may need the bottom.
            bottoms = [x.clone() if name in step.tops else x for name, x in zip(step.bottoms, bottoms, strict=True)]
            bottoms = [x.requires_grad_() for x in bottoms]
        with torch.set_grad_enabled(record):
            tops = self.module.run_layer(step, bottoms)
        self._tape.pop(index, None)
        if record:
            self._tape[index] = (bottoms, tops)
        return tops

    def _find_made_by_none(self) -> list[bool]:
        """Return for each layer whether it is the first to overwrite a blob that no layer computes from others."""
        made: set[str] = set()
        found = []
        for step in self._steps:
            found.append(any(name in step.bottoms and name not in made for name in step.tops))
            if step.bottoms and step.layer.code is None:
                made.update(step.tops)
        return found

    def _find_backward(self) -> list[tuple[bool, list[bool]]]:
        """Return for each layer whether it runs backwards, and into which bottoms (net.cpp, Init)."""
        force = self.module.param.force_backward
        needed = dict.fromkeys(self.module.inputs, force)
        found = []
        under_loss = self._under_loss()
        for step in self._steps:
            layer = step.layer
            asked = list(layer.param.propagate_down)
            needs = [needed.get(name, False) for name in step.bottoms]
            down = [
                (asked[i] if asked else need) or (force and layer.allows_gradient(i)) for i, need in enumerate(needs)
            ]
            learning = any(self._learning(layer))
            # propagate_down chooses among the bottoms of a layer that runs backwards; whether it runs, and whether its
            # tops need gradients, depends on what is below it.
            passes = any(needs) or learning or (force and any(down))
            needed.update(dict.fromkeys(step.tops, passes))
            runs = passes and (any(down) or learning)
            if layer.code is not None:
                runs = force or (runs and not under_loss.isdisjoint(step.tops))
            found.append((runs and layer.differentiable, down))
        return found if force else self._without_stopped(found)

    def _without_stopped(self, found: list[tuple[bool, list[bool]]]) -> list[tuple[bool, list[bool]]]:
        """Return what :meth:`_find_backward` found, without layers all of whose tops get no gradient (net.cpp, Init).

        By names, as in Caffe: a layer in place that passes nothing down stops the layers that wrote its blob before.
        """
        stopped: set[str] = set()
        kept = []
        for step, (runs, down) in zip(reversed(self._steps), reversed(found), strict=True):
            if step.tops and stopped.issuperset(step.tops):
                runs, down = False, [False] * len(down)
            stopped.update(name for name, passes in zip(step.bottoms, down, strict=True) if not passes)
            kept.append((runs, down))
        return kept[::-1]

    def _under_loss(self) -> set[str]:
        """Return the blobs that a loss depends on; all blobs in a net without a loss."""
        if not self._loss_weights:
            return set(self.blobs)
        found = set(self._loss_weights)
        for step in reversed(self._steps):
            if not found.isdisjoint(step.tops):
                found.update(step.bottoms)
        return found

    def _learning(self, layer: Layer) -> list[bool]:
        """Return for each parameter blob whether it gets a gradient.

        A blob whose ``lr_mult`` is 0 gets one only with ``force_backward`` (net.cpp, Init).
        """
        specs, force = list(layer.param.param), self.module.param.force_backward
        return [force or i >= len(specs) or specs[i].lr_mult != 0 for i in range(len(layer.blobs))]

    def _backward(self, first: int, last: int) -> None:
        self._place()
        self._check_parameters(last, first)
        if not self._record:
            self._record = True
            self._run_again(first, last)
        for index in range(first, last - 1, -1):
            runs, down = self._needs[index]
            self._call_back("before_backward", index)
            if runs:
                self._backward_layer(index, down)
            self._call_back("after_backward", index)

    def _run_again(self, first: int, last: int) -> None:
        """Run layers again to record what their gradients need, after a forward pass that recorded nothing.

        Blobs and parameters do not change. A blob that layers overwrite in place holds the top of the last of them: the
        values that the other layers read are computed again, from the layer that produced the blob.
        """
        held = [(t, t._version, t.detach().clone()) for t in (*self.module.parameters(), *self.module.buffers())]
        to_come = Counter(name for step in self._steps for name in step.tops if name in step.bottoms)
        # From now on forward records for gradients, so earlier values need not be kept.
        earlier, self._overwritten = self._overwritten, {}
        for index, step in enumerate(self._steps[: first + 1]):
            record = index >= last and self._needs[index][0]
            to_come.subtract(name for name in step.tops if name in step.bottoms)
            again = [name for name in step.tops if to_come[name]]
            if step.layer.code is None and step.bottoms and (record or again):
                tops = self._compute(index, record, earlier)
                earlier.update((name, top.detach()) for name, top in zip(step.tops, tops, strict=True) if name in again)
            for name in {*step.tops}.difference(again) & {*step.bottoms}:
                earlier.pop(name, None)
        for tensor, version, before in held:
            if tensor._version != version:  # running statistics
                tensor.data.copy_(before)

    def _call_back(self, when: str, index: int) -> None:
        for run in self._callbacks[when]:
            run(index)

    def _backward_layer(self, index: int, propagate_down: list[bool]) -> None:
        """Write the gradients of one layer: of its parameters, and of the bottoms that ``propagate_down`` names."""
        step = self._steps[index]
        if not step.layer.differentiable:
            return
        if step.layer.code is not None:
            step.layer.code.backward(propagate_down)
            return
        if index not in self._tape:
            # It was not run forwards: its gradient is computed from the current values of its bottoms.
            self._compute(index, record=True)
        run = self._tape[index]
        if run is None:
            raise NetError("backward: the net was copied after its forward: run forward again first", step.layer.name)
        bottoms, tops = run
        if step.layer.gradient_from_tops:
            # Use the blobs' current values. `data`, because torch forbids changes of the tensors that it recorded.
            for name, top in zip(step.tops, tops, strict=True):
                top.data.copy_(self.blobs[name].tensor())
        outputs = [(top, self.blobs[name].diff_tensor()) for name, top in zip(step.tops, tops, strict=True)]
        outputs = [(top, diff.clone()) for top, diff in outputs if top.requires_grad]
        if not outputs:
            return
        wanted = [(self.blobs[step.bottoms[i]], bottoms[i]) for i, asked in enumerate(propagate_down) if asked]
        if step.layer.blobs:
            learners = zip(self.params[step.layer.name], self._learning(step.layer), strict=True)
            # Some parameters never have a gradient: BatchNorm's sums.
            wanted += [(blob, blob.parameter) for blob, learns in learners if learns and blob.parameter.requires_grad]
        if not wanted:
            return
        try:
            gradients: Sequence[Tensor | None] = torch.autograd.grad(
                [top for top, _ in outputs],
                [tensor for _, tensor in wanted],
                [diff for _, diff in outputs],
                retain_graph=True,
                allow_unused=True,
            )
        except RuntimeError as error:
            reason = str(error).partition("\n")[0]
            raise NetError(f"backward: {reason}: run forward again first", step.layer.name) from error
        for (blob, _), gradient in zip(wanted, gradients, strict=True):
            if gradient is None:
                continue
            if isinstance(blob, ParameterBlob) and self.module.dialect.param_diffs_add_up:
                blob.add_diff(gradient)
            else:
                blob.write_diff(gradient)


def _take_over(layer: Layer, number: int, mine: ParameterBlob, blob: ParameterBlob) -> ParameterBlob:
    """Have a layer compute with a parameter blob of another net; return it as the layer's own."""
    if blob.parameter is mine.parameter:
        return mine
    role = list(layer.named_blobs)[number]
    why = mine.held_by or ("" if layer._parameters.get(role) is mine.parameter else "another layer has it too")
    if why:
        raise layer.error(
            f"its parameter blob {number} cannot be replaced, as {why.partition(':')[0]}: write into its array, "
            ".data[...] = x"
        )
    if blob.parameter.shape != mine.parameter.shape:
        raise layer.error(f"its parameter blob {number} is {mine.shape}, the one to replace it {blob.shape}")
    blob.tensor()
    setattr(layer, role, blob.parameter)
    return blob.seen_as(mine.shape)
