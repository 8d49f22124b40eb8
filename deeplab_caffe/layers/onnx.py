"""The graph that :meth:`deeplab_caffe.layers.Layer.to_onnx` adds to, and nodes that several layers need."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from torch import Tensor

# Adds one step of a loop: from the names of the states and slices to those of the next states and of the results.
ScanStep = Callable[[list[str], list[str]], tuple[list[str], list[str]]]
END = np.iinfo(np.int64).max  # end of a Slice: the end of the axis
# Values of TensorProto.DataType, for Cast.
FLOAT = 1
INT64 = 7
BOOL = 9


class OnnxGraph(Protocol):
    """An ONNX graph that is built layer by layer.

    Attributes:
        shapes: shapes of the blobs at the prototxt's sizes.
        fixed_size: name of a layer that limits the model to these sizes.
        fixed_batch: name of a layer that limits the model to this number of images.
        selects: a layer leaves out items, so that the outputs may have fewer than the inputs.
    """

    shapes: Mapping[str, tuple[int, ...]]
    fixed_size: str | None
    fixed_batch: str | None
    selects: bool

    def unsupported(self, what: str, advice: str) -> Exception:
        """Return an error that names the layer and says that ``what`` has no counterpart in ONNX, and what to do."""
        ...

    def top(self, blob: str) -> str:
        """Return a new name for a top."""
        ...

    def constant(self, name: str, value: np.ndarray | np.generic) -> str:
        """Add an array of numbers; return its name."""
        ...

    def parameter(self, role: str, blob: Tensor) -> str:
        """Add a layer's parameter, once for all layers that share it; return its name."""
        ...

    def node(self, op: str, inputs: Sequence[str], top: str | None = None, **attributes: Any) -> str:
        """Add a node with one output, named for the blob ``top`` if there is one; return the output's name."""
        ...

    def nodes(self, op: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> None:
        """Add a node with given outputs."""
        ...

    def scan(
        self, states: Sequence[str], inputs: Sequence[str], step: ScanStep, *, axis: int = 0, backwards: bool = False
    ) -> tuple[list[str], list[str]]:
        """Add a loop along an axis of float32 inputs; return names of the last states and of the stacked results.

        Args:
            states: the states before the first step.
            inputs: each step gets a slice of each, without the axis.
            step: adds the nodes of a step.
            axis: the inputs' axis, along which the results are stacked too.
            backwards: from the end to the beginning; the results have the inputs' order.
        """
        ...


def int64(*values: int) -> np.ndarray:
    """Return whole numbers as an int64 array, the type that ONNX takes for shapes and axes."""
    return np.array(values, np.int64)


def fill_up(graph: OnnxGraph, x: str, axes: int) -> str:
    """Add trailing axes of length 1 to a blob that has fewer than four ``axes``."""
    if axes >= 4:
        return x
    return graph.node("Unsqueeze", [x, graph.constant("axes", int64(*range(axes, 4)))])


def crop(graph: OnnxGraph, x: str, begin: int, end: int) -> str:
    """Crop ``-begin`` rows and columns at the top and left, and ``-end`` at the bottom and right."""
    if begin == end == 0:
        return x
    return part(graph, x, (2, 3), (-begin, -begin), (end or END, end or END))


def part(
    graph: OnnxGraph,
    x: str,
    axes: Sequence[int],
    starts: Sequence[int],
    ends: Sequence[int],
    steps: Sequence[int] = (),
    top: str | None = None,
) -> str:
    """Add the part of a blob between bounds along some axes, in steps of 1 by default; return its name."""
    bounds = {"starts": starts, "ends": ends, "axes": axes} | ({"steps": steps} if steps else {})
    return graph.node("Slice", [x, *(graph.constant(name, int64(*values)) for name, values in bounds.items())], top)


def pad(graph: OnnxGraph, x: str, begin: tuple[int, int], end: tuple[int, int], value: float = 0.0) -> str:
    """Add rows and columns of ``value``: (rows, columns) at the top and left, and at the bottom and right."""
    pads = graph.constant("pads", int64(0, 0, *begin, 0, 0, *end))
    return graph.node("Pad", [x, pads, graph.constant("value", np.float32(value))])
