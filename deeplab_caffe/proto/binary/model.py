"""caffemodel files: the weights of a net, mapped into memory.

All dialects (DeepLab v1's, v2's and BVLC's) are read in all three layouts: V0 (``layers { layer { blobs } }``), V1
(``layers``, field 2) and V2 (``layer``, field 100).
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import cache

from deeplab_caffe.errors import CaffeModelError
from deeplab_caffe.proto.binary.blobs import ModelBlob, read_blob_message
from deeplab_caffe.proto.binary.mapped import map_file, named_errors
from deeplab_caffe.proto.binary.wire import (
    BYTES,
    FIXED32,
    MAX_PARTS,
    VARINT,
    Field,
    WireError,
    expect,
    read_field,
    read_text,
)
from deeplab_caffe.proto.schema.names import name_of_number, name_of_v0
from deeplab_caffe.proto.schema.tables import field_table

_NET_NAME, _NET_V1_LAYERS, _NET_INPUT, _NET_V2_LAYER = 1, 2, 3, 100

_V0_LAYER = 1
_V0 = {1: "name", 2: "v0_type", 50: "blobs", 51: "floats", 52: "floats"}
_V1 = {2: "bottoms", 3: "tops", 4: "name", 5: "v1_type", 6: "blobs", 7: "floats", 8: "floats", 35: "floats"}
_V2 = {1: "name", 2: "v2_type", 3: "bottoms", 4: "tops", 5: "floats", 7: "blobs"}


@dataclass(slots=True)
class ModelLayer:
    """A layer of a model file.

    Attributes:
        name: its name; weights are matched by it.
        type: name of its type, ``"Convolution"``, in any layout of the file; ``""`` if the file gives none, and
            ``"UNKNOWN_<number>"`` for a number that no V1 layout has. Number 39 is ``"ImageSegData"`` without blobs and
            BVLC's ``"Deconvolution"`` with.
        bottoms, tops: names of its blobs.
        blobs: its parameters.
        offset: byte offset of the layer in the file.
    """

    name: str = ""
    type: str = ""
    bottoms: list[str] = field(default_factory=list)
    tops: list[str] = field(default_factory=list)
    blobs: list[ModelBlob] = field(default_factory=list)
    offset: int = 0


class CaffeModel:
    """A caffemodel. Opening takes milliseconds for any size, because the blobs are views of the mapped file.

    Args:
        path: the file.

    Attributes:
        path: the file.
        name: name of the net.
        inputs: names of the net's inputs.
        layers: all layers in file order, including those without parameters.
        dialect: the program of the file: ``"v1"`` for the V0 and V1 layouts, else ``"v2"`` (DeepLab's release),
            ``"merge"`` or, if it has none of the layers that these number differently, ``"bvlc"``.
        by_name: the layers by name. Of several with one name, the last that has blobs, as in Caffe's loader.

    Raises:
        CaffeModelError: the file cannot be read, is malformed, or has no layers.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        self.name = ""
        self.inputs: list[str] = []
        self.layers: list[ModelLayer] = []
        self.dialect = "bvlc"
        self._parts = 0
        self._buffer = map_file(path, "caffemodel")
        with named_errors(path, "caffemodel"):
            self._read_net()
        if not self.layers:
            raise CaffeModelError("has no layers: is it a caffemodel?", path)
        self.by_name: dict[str, ModelLayer] = {}
        for layer in self.layers:
            if layer.blobs or layer.name not in self.by_name:
                self.by_name[layer.name] = layer

    def __repr__(self) -> str:
        return f"CaffeModel({self.path!r}, name={self.name!r}, {len(self.layers)} layers)"

    def _read_net(self) -> None:
        buffer, end, position = self._buffer, len(self._buffer), 0
        layout = None
        while position < end:
            part = read_field(buffer, position, end)
            position = part.end
            if part.number == _NET_NAME:
                self.name = read_text(buffer, part, "name")
            elif part.number == _NET_INPUT:
                self._count_part(part)
                self.inputs.append(read_text(buffer, part, "input"))
            elif part.number in (_NET_V1_LAYERS, _NET_V2_LAYER):
                if layout not in (None, part.number):
                    raise WireError("holds layers of the V1 and of the V2 layout", part.offset)
                layout = part.number
                if layout == _NET_V1_LAYERS:
                    self.dialect = "v1"
                expect(part, BYTES, "layers" if layout == _NET_V1_LAYERS else "layer")
                self._count_part(part)
                self.layers.append(self._read_layer(part))

    def _count_part(self, part: Field) -> None:
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise WireError(f"has more than {MAX_PARTS} layers, blobs and names", part.offset)

    def _read_layer(self, part: Field) -> ModelLayer:
        layer = ModelLayer(offset=part.offset)
        try:
            is_v1 = part.number == _NET_V1_LAYERS
            number = self._read_layer_fields(layer, part.start, part.end, _V1 if is_v1 else _V2)
        except WireError as error:
            error.layer = layer.name or f"#{len(self.layers)}"
            raise
        if number is not None:
            layer.type = _type_of_number(number, bool(layer.blobs))
        return layer

    def _read_layer_fields(self, layer: ModelLayer, start: int, end: int, names: dict[int, str]) -> int | None:
        """Read a layer's fields into ``layer``; return the number of its V1 type, or None."""
        buffer, position = self._buffer, start
        number = None
        while position < end:
            part = read_field(buffer, position, end)
            position = part.end
            name = names.get(part.number)
            if names is _V1 and part.number == _V0_LAYER:
                expect(part, BYTES, "layer")
                self._read_layer_fields(layer, part.start, part.end, _V0)
            elif name == "name":
                layer.name = read_text(buffer, part, "name")
            elif name in ("bottoms", "tops"):
                self._count_part(part)
                getattr(layer, name).append(read_text(buffer, part, name[:-1]))
            elif name == "blobs":
                expect(part, BYTES, "blobs")
                self._count_part(part)
                layer.blobs.append(self._read_blob(part, len(layer.blobs), scalars=names is _V2))
            elif name == "v1_type":
                expect(part, VARINT, "type")
                number = part.value
            elif name in ("v0_type", "v2_type"):
                layer.type = _type_of_text(read_text(buffer, part, "type"), name)
            elif name == "floats":
                _check_floats(part)
            elif names is _V2:
                self.dialect = _telling_parameters().get((layer.type, part.number), self.dialect)
        return number

    def _read_blob(self, part: Field, index: int, scalars: bool) -> ModelBlob:
        try:
            return read_blob_message(self._buffer, part.start, part.end, scalars)
        except WireError as error:
            raise WireError(f"blob {index}: {error}", error.offset) from error


@cache
def _telling_parameters() -> dict[tuple[str, int], str]:
    """Return the dialects by layer type and field number of its parameter."""
    owners = {
        "interp_param": "Interp",
        "seg_accuracy_param": "SegAccuracy",
        "mat_write_param": "MatWrite",
        "dense_crf_param": "DenseCRF",
    }
    return {
        (owners[row.field], row.number): dialect
        for dialect in ("v2", "merge")
        for row in field_table(dialect)
        if row.message == "LayerParameter" and row.field in owners
    }


def _check_floats(part: Field) -> None:
    # The net takes blobs_lr and similar fields from the prototxt; here only malformed lists are rejected.
    if part.wire_type == BYTES and (part.end - part.start) % 4:
        raise WireError(f"packed field {part.number} has {part.end - part.start} bytes, no multiple of 4", part.offset)
    if part.wire_type not in (BYTES, FIXED32):
        expect(part, FIXED32, "float")


def _type_of_number(number: int, has_blobs: bool) -> str:
    try:
        return name_of_number(number, deconvolution=has_blobs) if number else ""
    except KeyError:
        return f"UNKNOWN_{number}"


def _type_of_text(text: str, layout: str) -> str:
    if layout == "v2_type":
        return "SoftmaxWithLoss" if text == "SoftmaxLoss" else text
    try:
        return name_of_v0(text)
    except KeyError:
        return text
