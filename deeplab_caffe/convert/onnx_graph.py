"""An ONNX graph while it is built from a net's layers."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from deeplab_caffe._version import __version__
from deeplab_caffe.convert.onnx_ends import IMAGE, LABELS, UINT8, Ends, blob_of_image, labels_of_scores
from deeplab_caffe.errors import ConversionError, how_to_install
from deeplab_caffe.layers import ScanStep, Shape
from deeplab_caffe.net import Net
from deeplab_caffe.net.graph import Step

OPSET = 18
IR_VERSION = 9


class Graph:
    """An ONNX graph while it is built, layer by layer: see :class:`deeplab_caffe.layers.OnnxGraph`.

    Attributes:
        shapes: shapes of the blobs at the prototxt's sizes.
        fixed_size: the reason why the images' size cannot vary, or None.
        fixed_batch: the reason why the batch size cannot vary, or None.
        selects: the outputs may have fewer items than the inputs.
    """

    def __init__(self, net: Net, ends: Ends) -> None:
        try:
            import onnx
        except ImportError as error:
            raise ConversionError(f"ONNX files need onnx: {how_to_install('onnx')}") from error
        self._onnx = onnx
        self._net = net
        self._ends = ends
        self._nodes: list[Any] = []
        self._numbers = itertools.count()
        self._initializers: list[Any] = []
        self._parameters: dict[int, tuple[Tensor, str]] = {}
        # Names that no blob can have any more, and names that only a blob can have besides.
        self._taken: set[str] = {*net.inputs, *[IMAGE] * ends.image_input, *[LABELS] * ends.label_output}
        self._names: set[str] = {*self._taken, *net.blob_shapes}
        self._current = {name: name for name in net.inputs}
        self._last_writer = {top: step.layer.name for step in net.steps for top in step.tops}
        self._layer = ""
        self.shapes: Mapping[str, Shape] = net.blob_shapes
        self.fixed_size: str | None = None
        self.fixed_batch: str | None = None
        self.selects = False
        if not net.inputs:
            raise ConversionError(
                f"net '{net.name}' reads its data by itself: ONNX needs a deploy.prototxt with inputs"
            )
        if not net.outputs:
            raise ConversionError(
                f"net '{net.name}' has no outputs: a layer reads each of its blobs, the last ones too"
            )
        ends.check(net)
        if ends.image_input:
            self._layer = IMAGE
            self._current[net.inputs[0]] = blob_of_image(self, net)
        for step in net.steps:
            self._add_step(step)

    def _add_step(self, step: Step) -> None:
        layer = step.layer
        self._layer = layer.name
        bottoms = [self._current[blob] for blob in step.bottoms]
        if len(step.tops) > len(set(step.tops)):
            raise ConversionError(f"layer '{layer.name}': two tops with one name")
        tops = layer.to_onnx(self, bottoms, step.tops)
        self._current.update(zip(step.tops, tops, strict=True))

    def unsupported(self, what: str, advice: str) -> ConversionError:
        """Return an error that names the layer."""
        return ConversionError(f"layer '{self._layer}': {what} has no counterpart in ONNX: {advice}")

    def top(self, blob: str) -> str:
        """Return a name for a top: the blob's name if this layer is the last to write it."""
        if self._last_writer.get(blob) == self._layer and blob not in self._taken:
            self._taken.add(blob)
            return blob
        return self._unique(f"{blob}/{self._layer}")

    def _unique(self, name: str) -> str:
        number, unique = 0, name
        while unique in self._names:
            number += 1
            unique = f"{name}/{number}"
        self._names.add(unique)
        return unique

    def constant(self, name: str, value: np.ndarray | np.generic) -> str:
        """Add an array of numbers; return its name."""
        unique = self._unique(f"{self._layer}.{name}")
        self._initializers.append(self._onnx.numpy_helper.from_array(np.asarray(value, order="C"), unique))
        return unique

    def parameter(self, role: str, blob: Tensor) -> str:
        """Add a layer's parameter, once for all layers that share it; return its name."""
        if id(blob) not in self._parameters:
            name = self.constant(role, blob.detach().float().cpu().numpy())
            # The blob is kept alive: after it is freed, another tensor could get the same id.
            self._parameters[id(blob)] = (blob, name)
        return self._parameters[id(blob)][1]

    def node(self, op: str, inputs: Sequence[str], top: str | None = None, **attributes: Any) -> str:
        """Add a node with one output, named after the blob ``top`` or, for intermediate values, after the layer."""
        output = self.top(top) if top is not None else self._unique(f"{self._layer}/{op}")
        self.nodes(op, inputs, [output], **attributes)
        return output

    def nodes(self, op: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> None:
        """Add a node with given outputs."""
        name = f"{self._layer}/{op}/{next(self._numbers)}"
        self._nodes.append(self._onnx.helper.make_node(op, inputs, outputs, name=name, **attributes))

    def scan(
        self, states: Sequence[str], inputs: Sequence[str], step: ScanStep, *, axis: int = 0, backwards: bool = False
    ) -> tuple[list[str], list[str]]:
        """Add a loop along an axis of float32 inputs; return names of the last states and of the stacked results."""
        before = [self._unique(f"{self._layer}/state") for _ in states]
        slices = [self._unique(f"{self._layer}/slice") for _ in inputs]
        outside, self._nodes = self._nodes, []
        try:
            after, results = step(before, slices)
            # An output of the body has one name, and no input's.
            ends = [self.node("Identity", [name]) for name in (*after, *results)]
            body = self._nodes
        finally:
            self._nodes = outside
        helper, kind = self._onnx.helper, self._onnx.TensorProto.FLOAT
        given, found = (
            [helper.make_tensor_value_info(name, kind, None) for name in names] for names in ([*before, *slices], ends)
        )
        last = [self._unique(f"{self._layer}/last") for _ in states]
        stacked = [self._unique(f"{self._layer}/Scan") for _ in results]
        self.nodes(
            "Scan",
            [*states, *inputs],
            [*last, *stacked],
            body=helper.make_graph(body, f"{self._layer}/step", given, found),
            num_scan_inputs=len(inputs),
            scan_input_axes=[axis] * len(inputs),
            scan_input_directions=[int(backwards)] * len(inputs),
            scan_output_axes=[axis] * len(results),
            scan_output_directions=[int(backwards)] * len(results),
        )
        return last, stacked

    def model(self) -> Any:
        """Return the checked ModelProto.

        Raises:
            ConversionError: onnx refuses the graph.
        """
        helper = self._onnx.helper
        inputs, outputs = self._inputs(), self._labels() if self._ends.label_output else self._outputs()
        graph = helper.make_graph(self._nodes, self._net.name or "net", inputs, outputs, self._initializers)
        model = helper.make_model(
            graph,
            producer_name="deeplab-caffe",
            producer_version=__version__,
            ir_version=IR_VERSION,
            opset_imports=[helper.make_opsetid("", OPSET)],
        )
        helper.set_model_props(model, self._ends.metadata(self._net))
        try:
            self._onnx.checker.check_model(model)
        except ValueError as error:
            if "2GB" not in str(error).replace(" ", ""):
                raise ConversionError(f"net '{self._net.name}': {error}") from error
        return model

    def _inputs(self) -> list[Any]:
        value_info, kind = self._onnx.helper.make_tensor_value_info, self._onnx.TensorProto.FLOAT
        if self._ends.image_input:
            n, channels, *sides = self._input_dims(self._net.inputs[0])
            return [value_info(IMAGE, UINT8, [n, *sides, channels])]
        return [value_info(blob, kind, self._input_dims(blob)) for blob in self._net.inputs]

    def _labels(self) -> list[Any]:
        (blob,) = self._net.outputs
        self._layer = LABELS
        kind = labels_of_scores(self, self._current[blob], self.shapes[blob][1])
        n, _, *sides = self._output_dims(blob, LABELS)
        return [self._onnx.helper.make_tensor_value_info(LABELS, kind, [n, *sides])]

    def _outputs(self) -> list[Any]:
        helper, kind = self._onnx.helper, self._onnx.TensorProto.FLOAT
        outputs = []
        for blob in self._net.outputs:
            if self._current[blob] != blob:
                if blob in self._taken:
                    writer = f"layer '{self._last_writer[blob]}': " if blob in self._last_writer else ""
                    reason = "an input has the name of this output, which ONNX does not allow"
                    raise ConversionError(f"{writer}blob '{blob}': {reason}: give the output another in the prototxt")
                self._taken.add(blob)
                self._nodes.append(helper.make_node("Identity", [self._current[blob]], [blob], name=f"{blob}/output"))
            outputs.append(helper.make_tensor_value_info(blob, kind, self._output_dims(blob, blob)))
        return outputs

    def _input_dims(self, blob: str) -> list[int | str]:
        """Return an input's sizes: numbers, and names where they may vary.

        onnxruntime lets blobs with the same names share memory, so a name stands for one size in all blobs.
        """
        shape, images = self.shapes[blob], self._images()
        dims: list[int | str] = [*shape]
        if shape and self._batch_varies(blob):
            dims[0] = "batch"
        if self.fixed_size is None and blob in images:
            prefix = "" if shape[2:] == self.shapes[images[0]][2:] else f"{blob}_"
            dims[2:] = [f"{prefix}height", f"{prefix}width"]
        return dims

    def _output_dims(self, blob: str, prefix: str) -> list[int | str]:
        """Return an output's sizes: numbers, and names, which begin with ``prefix``, where they may vary."""
        shape = self.shapes[blob]
        dims: list[int | str] = [*shape]
        if shape and (self.fixed_batch is None or self.selects):
            # Another number than that of the inputs may depend on theirs.
            dims[0] = "batch" if self._batch_varies(blob) and not self.selects else f"{prefix}_batch"
        if self.fixed_size is None and self._images():
            names = ("height", "width") if len(shape) == 4 else [f"axis{axis}" for axis in range(2, len(shape))]
            dims[2:] = [f"{prefix}_{name}" for name in names]
        return dims

    def _images(self) -> list[str]:
        return [blob for blob in self._net.inputs if len(self.shapes[blob]) == 4]

    def _batch_varies(self, blob: str) -> bool:
        return self.fixed_batch is None and self.shapes[blob][:1] == self.shapes[self._net.inputs[0]][:1]
