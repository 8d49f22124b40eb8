"""Layers that go through a sequence step by step: RNN, LSTM, LSTM_UNIT (Donahue et al. 2015)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from deeplab_caffe.errors import warn
from deeplab_caffe.layers.base import Layer, NetContext, ReceptiveWindow, Shape, register
from deeplab_caffe.layers.onnx import OnnxGraph, int64
from deeplab_caffe.proto import caffe_pb2

_GATES = 4


def _continued(state: Tensor, cont: Tensor) -> Tensor:
    """Return a state (N, H) times the indicators (N,), which are 0 where a sequence begins."""
    return torch.where(cont[:, None] == 0, torch.zeros_like(state), state * cont[:, None])


def lstm_step(cell: Tensor, gates: Tensor, cont: Tensor) -> tuple[Tensor, Tensor]:
    """Return the next cell and hidden state, each (N, H).

    Args:
        cell: the cell state (N, H).
        gates: pre-activations of the input, forget and output gates and of the cell (N, 4 * H).
        cont: the indicators (N,): 0 where a sequence begins, else 1.
    """
    enter, forget, leave, value = gates.chunk(_GATES, dim=1)
    cell = _continued(forget.sigmoid() * cell, cont) + enter.sigmoid() * value.tanh()
    return cell, leave.sigmoid() * cell.tanh()


def _onnx_continued(graph: OnnxGraph, state: str, cont: str) -> str:
    """Add a state times the indicators, which are 0 where a sequence begins."""
    zero = graph.constant("zero", np.float32(0))
    begins = graph.node("Equal", [cont, zero])
    return graph.node("Where", [begins, zero, graph.node("Mul", [state, cont])])


def _onnx_lstm_step(graph: OnnxGraph, cell: str, gates: str, cont: str, axis: int) -> tuple[str, str]:
    """Add :func:`lstm_step`, with the gates along ``axis``; return the next cell and hidden state."""
    names = [graph.top(f"{gates}/{gate}") for gate in ("enter", "forget", "leave", "value")]
    graph.nodes("Split", [gates], names, axis=axis, num_outputs=_GATES)
    enter, forget, leave = (graph.node("Sigmoid", [name]) for name in names[:3])
    kept = _onnx_continued(graph, graph.node("Mul", [forget, cell]), cont)
    cell = graph.node("Add", [kept, graph.node("Mul", [enter, graph.node("Tanh", names[3:])])])
    return cell, graph.node("Mul", [leave, graph.node("Tanh", [cell])])


class Recurrent(Layer):
    """What RNN and LSTM share: T steps of N parallel sequences, whose states are kept from batch to batch.

    Bottoms: x (T, N, ...), indicators (T, N), 0 where a sequence begins and else 1, and optionally a static input
    (N, ...) that every step reads. Top: (T, N, K) for a ``num_output`` of K. With ``expose_hidden``, the states
    (1, N, K) before the first step are further bottoms, and the states after the last step are further tops; no
    gradient flows through them. Without it a batch continues from the states of the batch before, or from 0 if that
    had another number of sequences. Where blobs have four axes, axes of length 1 follow. Source:
    layers/recurrent_layer.cpp.
    """

    BOTTOMS = (2, math.inf)
    TOPS = (1, math.inf)
    # It keeps its states.
    capturable = per_item = False
    kind = "weights"
    # Number of states, and number of pre-activations (gates) per output unit.
    states: int
    gates: int

    def __init__(self, param: caffe_pb2.LayerParameter, context: NetContext) -> None:
        super().__init__(param, context)
        self.size = param.recurrent_param.num_output
        if self.size < 1:
            raise self.error(f"num_output must be positive, got {self.size}")
        self.exposed = self.states if param.recurrent_param.expose_hidden else 0
        least, tops = 2 + self.exposed, 1 + self.exposed
        if len(param.bottom) not in (least, least + 1) or len(param.top) != tops:
            wanted = f"{least} bottoms, or {least + 1} with a static input, and {tops} tops"
            raise self.error(f"takes {wanted}, got {len(param.bottom)} and {len(param.top)}")
        self.has_static = len(param.bottom) > least
        self.label_bottoms = (1, *range(2 + self.has_static, len(param.bottom)))
        self.state: Tensor | None = None

    def setup(self, bottom_shapes: list[Shape]) -> None:
        x, units = self._check(bottom_shapes), self.gates * self.size
        filler, bias = self.param.recurrent_param.weight_filler, self.param.recurrent_param.bias_filler
        self.weight_x = self.new_blob((units, math.prod(x[2:])), filler)
        self.bias = self.new_blob((units,), bias)
        self.weight_static: nn.Parameter | None
        self.register_parameter("weight_static", None)
        if self.has_static:
            self.weight_static = self.new_blob((units, math.prod(bottom_shapes[2][1:])), filler)
        self.weight_h = self.new_blob((units, self.size), filler)

    def _check(self, bottom_shapes: list[Shape]) -> Shape:
        """Check that the bottoms fit x, and return the shape of x."""
        x = tuple(bottom_shapes[0])
        if len(x) < 2:
            raise self.error(f"x must be (T, N, ...), got {x}")
        expected = [self.filled_up(x[:2])] + [self.filled_up((1, x[1], self.size))] * self.exposed
        for number, shape in zip((1, *range(2 + self.has_static, len(bottom_shapes))), expected, strict=True):
            if tuple(bottom_shapes[number]) != shape:
                came = tuple(bottom_shapes[number])
                raise self.error(f"bottom '{self.param.bottom[number]}' for x {x} must be {shape}, got {came}")
        if self.has_static and tuple(bottom_shapes[2])[:1] != x[1:2]:
            came = tuple(bottom_shapes[2])
            raise self.error(f"the static input '{self.param.bottom[2]}' for x {x} must be ({x[1]}, ...), got {came}")
        return x

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        x = self._check(bottom_shapes)
        for role, blob, inputs in (("weight_x", self.weight_x, x[2:]), ("weight_static", self.weight_static, None)):
            inputs = tuple(bottom_shapes[2])[1:] if inputs is None and self.has_static else inputs
            if blob is not None and inputs is not None and blob.shape[1] != math.prod(inputs):
                raise self.error(f"the {role} is for {blob.shape[1]} inputs, the bottom has {math.prod(inputs)}")
        return [self.filled_up((*x[:2], self.size))] + [self.filled_up((1, x[1], self.size))] * self.exposed

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        x = bottoms[0]
        steps, streams = x.shape[:2]
        cont = bottoms[1].detach().reshape(steps, streams).to(x.dtype)
        inputs = F.linear(x.reshape(steps, streams, math.prod(x.shape[2:])), self.weight_x, self.bias)
        if self.weight_static is not None:
            static = bottoms[2].reshape(streams, math.prod(bottoms[2].shape[1:]))
            inputs = inputs + F.linear(static, self.weight_static)
        states = self._first_states(bottoms, streams)
        found = []
        for step in range(steps):
            states = self.step(states, inputs[step], cont[step])
            found.append(states[0])
        hidden = torch.stack(found) if found else x.new_zeros(0, streams, self.size)
        last = [state.detach() for state in states]
        if not self.exposed:
            self.state = torch.stack(last, dim=1)
        shapes = self.top_shapes([tuple(bottom.shape) for bottom in bottoms])
        tops = [self.outputs(hidden), *last[: self.exposed]]
        return tuple(top.reshape(shape) for top, shape in zip(tops, shapes, strict=True))

    def _first_states(self, bottoms: Sequence[Tensor], streams: int) -> list[Tensor]:
        if self.exposed:
            return [state.detach().reshape(streams, self.size) for state in bottoms[2 + self.has_static :]]
        if self.state is None or len(self.state) != streams:
            return [bottoms[0].new_zeros(streams, self.size)] * self.states
        return list(self.state.to(bottoms[0]).unbind(dim=1))

    def step(self, states: list[Tensor], inputs: Tensor, cont: Tensor) -> list[Tensor]:
        """Return the next states, each (N, K), the hidden one first.

        Args:
            states: the states before this step, each (N, K).
            inputs: the contribution of x and the static input to the pre-activations, (N, gates * K).
            cont: the indicators (N,): 0 where a sequence begins, else 1.
        """
        raise NotImplementedError

    def outputs(self, hidden: Tensor) -> Tensor:
        """Return the top for the hidden states (T, N, K)."""
        return hidden

    @property
    def batch_state(self) -> Tensor | None:
        return self.state

    def load_batch_state(self, state: Tensor | None) -> None:
        self.state = state

    def saved_bytes(self, bottom_shapes: list[Shape], top_shapes: list[Shape], width: int) -> int:
        # About three numbers per gate: pre-activations, activations and states.
        return 3 * width * self.gates * math.prod(top_shapes[0])

    def multiply_adds(self, bottom_shapes: list[Shape], top_shapes: list[Shape]) -> int:
        weights = [blob for role, blob in self.named_blobs.items() if role.startswith("weight")]
        return math.prod(bottom_shapes[0][:2]) * sum(blob.numel() for blob in weights)

    def receptive_window(self) -> ReceptiveWindow | None:
        return None

    def to_onnx(self, graph: OnnxGraph, bottoms: list[str], tops: tuple[str, ...]) -> list[str]:
        x, cont = bottoms[:2]
        steps, streams = graph.shapes[self.param.bottom[0]][:2]
        graph.fixed_size = self.name
        if (self.exposed and steps == 1) or (self.has_static and steps == streams):
            # A blob whose first axis has another meaning must not get the name of the number of steps.
            graph.fixed_batch = self.name
        if not self.exposed:
            warn(
                f"layer '{self.name}': an ONNX model keeps nothing from run to run, so each of its runs begins with "
                "states of 0; with expose_hidden the states are inputs and outputs"
            )
        weights = {role: graph.parameter(role, blob) for role, blob in self.named_blobs.items()}
        inputs = self._onnx_linear(graph, x, (0, streams, -1), weights["weight_x"], weights["bias"])
        if self.has_static:
            static = self._onnx_linear(graph, bottoms[2], (streams, -1), weights["weight_static"])
            inputs = graph.node("Add", [inputs, static])
        indicators = graph.node("Reshape", [cont, graph.constant("indicators", int64(0, streams, 1))])
        if self.exposed:
            shape = graph.constant("state", int64(streams, self.size))
            states = [graph.node("Reshape", [state, shape]) for state in bottoms[2 + self.has_static :]]
        else:
            states = [graph.constant("states", np.zeros((streams, self.size), np.float32))] * self.states

        def step(states: list[str], slices: list[str]) -> tuple[list[str], list[str]]:
            after = self.onnx_step(graph, weights["weight_h"], states, *slices)
            return after, after[:1]

        last, (hidden,) = graph.scan(states, [inputs, indicators], step)
        found = [self.onnx_outputs(graph, hidden, weights), *last[: self.exposed]]
        return [
            graph.node("Reshape", [name, graph.constant("shape", int64(*shape))], top)
            for name, top, shape in zip(found, tops, self._onnx_shapes(graph, tops), strict=True)
        ]

    def _onnx_shapes(self, graph: OnnxGraph, tops: tuple[str, ...]) -> list[Shape]:
        """Return the tops' shapes, with -1 for the number of steps."""
        shapes = [tuple(graph.shapes[top]) for top in tops]
        return [(-1, *shapes[0][1:]), *shapes[1:]]

    @staticmethod
    def _onnx_linear(graph: OnnxGraph, x: str, shape: Shape, weight: str, bias: str | None = None) -> str:
        """Add the product of ``x``, in this shape, with a transposed weight, plus the bias."""
        rows = graph.node("Reshape", [x, graph.constant("shape", int64(*shape))])
        product = graph.node("MatMul", [rows, graph.node("Transpose", [weight])])
        return product if bias is None else graph.node("Add", [product, bias])

    def onnx_step(self, graph: OnnxGraph, weight: str, states: list[str], inputs: str, cont: str) -> list[str]:
        """Add what :meth:`step` computes; return the names of the next states.

        Args:
            graph: the graph.
            weight: name of ``weight_h``.
            states: names of the states, the hidden one first.
            inputs: as for :meth:`step`.
            cont: the indicators, (N, 1).
        """
        raise NotImplementedError

    def onnx_outputs(self, graph: OnnxGraph, hidden: str, weights: dict[str, str]) -> str:
        """Add what :meth:`outputs` computes; ``weights`` has the parameters' names by their roles."""
        return hidden


@register
class RNN(Recurrent):
    """h' = tanh(W_hh (cont * h) + W_xh x + b_h); the top is tanh(W_ho h' + b_o).

    Parameter blobs: W_xh, b_h, W_xh_static if there is a static input, W_hh, W_ho, b_o. See :class:`Recurrent`.
    Source: layers/rnn_layer.cpp.
    """

    TYPE = "RNN"
    roles = ("weight_x", "bias", "weight_static", "weight_h", "weight_o", "bias_o")
    states, gates = 1, 1

    def setup(self, bottom_shapes: list[Shape]) -> None:
        super().setup(bottom_shapes)
        param = self.param.recurrent_param
        self.weight_o = self.new_blob((self.size, self.size), param.weight_filler)
        self.bias_o = self.new_blob((self.size,), param.bias_filler)

    def step(self, states: list[Tensor], inputs: Tensor, cont: Tensor) -> list[Tensor]:
        return [(inputs + F.linear(_continued(states[0], cont), self.weight_h)).tanh()]

    def outputs(self, hidden: Tensor) -> Tensor:
        return F.linear(hidden, self.weight_o, self.bias_o).tanh()

    def onnx_step(self, graph: OnnxGraph, weight: str, states: list[str], inputs: str, cont: str) -> list[str]:
        kept = _onnx_continued(graph, states[0], cont)
        return [graph.node("Tanh", [graph.node("Gemm", [kept, weight, inputs], transB=1)])]

    def onnx_outputs(self, graph: OnnxGraph, hidden: str, weights: dict[str, str]) -> str:
        product = graph.node("MatMul", [hidden, graph.node("Transpose", [weights["weight_o"]])])
        return graph.node("Tanh", [graph.node("Add", [product, weights["bias_o"]])])


@register
class LSTM(Recurrent):
    """Gates W_hc (cont * h) + W_xc x + b_c, in the order input, forget, output, cell, followed by LSTM_UNIT.

    Parameter blobs: W_xc, b_c, W_xc_static if there is a static input, W_hc. See :class:`Recurrent`. Source:
    layers/lstm_layer.cpp.
    """

    TYPE = "LSTM"
    roles = ("weight_x", "bias", "weight_static", "weight_h")
    states, gates = 2, _GATES

    def step(self, states: list[Tensor], inputs: Tensor, cont: Tensor) -> list[Tensor]:
        hidden, cell = states
        gates = inputs + F.linear(_continued(hidden, cont), self.weight_h)
        cell, hidden = lstm_step(cell, gates, cont)
        return [hidden, cell]

    def onnx_step(self, graph: OnnxGraph, weight: str, states: list[str], inputs: str, cont: str) -> list[str]:
        gates = graph.node("Gemm", [_onnx_continued(graph, states[0], cont), weight, inputs], transB=1)
        cell, hidden = _onnx_lstm_step(graph, states[1], gates, cont, axis=1)
        return [hidden, cell]


@register
class LSTMUnit(Layer):
    """One step of an LSTM: c' = sigmoid(f) (cont * c) + sigmoid(i) tanh(g), h' = sigmoid(o) tanh(c').

    Bottoms: c (1, N, K), the gates i, f, o, g (1, N, 4 * K) and the indicator (1, N). Tops: c', h'.
    Source: layers/lstm_unit_layer.cpp.
    """

    TYPE = "LSTMUnit"
    BOTTOMS = (3, 3)
    TOPS = (2, 2)
    capturable = True
    per_item = False
    label_bottoms = (2,)

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        cell = tuple(bottom_shapes[0])
        if len(cell) < 3 or cell != self.filled_up((1, *cell[1:3])):
            raise self.error(f"the cell must be (1, N, K), got {cell}")
        expected = [self.filled_up((1, cell[1], _GATES * cell[2])), self.filled_up((1, cell[1]))]
        for blob, came, shape in zip(self.param.bottom[1:], bottom_shapes[1:], expected, strict=True):
            if tuple(came) != shape:
                raise self.error(f"bottom '{blob}' for a cell {cell} must be {shape}, got {tuple(came)}")
        return [cell, cell]

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        cell, gates, cont = bottoms
        (streams, size), shape = cell.shape[1:3], cell.shape
        indicators = cont.detach().reshape(streams).to(cell.dtype)
        found = lstm_step(cell.reshape(streams, size), gates.reshape(streams, _GATES * size), indicators)
        return tuple(top.reshape(shape) for top in found)

    def saved_bytes(self, bottom_shapes: list[Shape], top_shapes: list[Shape], width: int) -> int:
        return 2 * width * math.prod(bottom_shapes[1])

    def receptive_window(self) -> ReceptiveWindow | None:
        return None

    def to_onnx(self, graph: OnnxGraph, bottoms: list[str], tops: tuple[str, ...]) -> list[str]:
        cell, gates, cont = bottoms
        shape = graph.shapes[tops[0]]
        graph.fixed_size = graph.fixed_batch = self.name
        indicators = graph.node("Reshape", [cont, graph.constant("shape", int64(*shape[:2], *(1,) * (len(shape) - 2)))])
        found = _onnx_lstm_step(graph, cell, gates, indicators, axis=2)
        return [graph.node("Identity", [name], top) for name, top in zip(found, tops, strict=True)]
