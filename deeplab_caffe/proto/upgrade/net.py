"""Upgrading a parsed net or solver from any layout to the inner form."""

from __future__ import annotations

from collections.abc import Iterator

from google.protobuf.message import Message

from deeplab_caffe.proto import caffe_pb2
from deeplab_caffe.proto.dialect import DIALECTS, dialect_of_form
from deeplab_caffe.proto.dims import OLD_AXES
from deeplab_caffe.proto.text.outline import Outline, Source
from deeplab_caffe.proto.upgrade.fields import check_dims
from deeplab_caffe.proto.upgrade.v0 import upgrade_v0_layers
from deeplab_caffe.proto.upgrade.v1 import raise_hole, upgrade_v1_layer

# Caffe's UpgradeNetDataTransformation (upgrade_proto.cpp): these moved from the data parameters to transform_param.
# ImageSegData shares image_data_param.
_TRANSFORM_FIELDS = ("scale", "mean_file", "crop_size", "mirror")
_DATA_PARAM_OF = {
    "Data": "data_param",
    "ImageData": "image_data_param",
    "ImageSegData": "image_data_param",
    "WindowData": "window_data_param",
}
# The old names of `axis`.
_AXES = {"concat_param": "concat_dim", "slice_param": "slice_dim"}
_SOLVER_TYPES = {
    "SGD": "SGD",
    "NESTEROV": "Nesterov",
    "ADAGRAD": "AdaGrad",
    "RMSPROP": "RMSProp",
    "ADADELTA": "AdaDelta",
    "ADAM": "Adam",
}


def upgrade_net(net: caffe_pb2.NetParameter, where: Source | None = None) -> caffe_pb2.NetParameter:
    """Return a NetParameter of any layout in the inner form.

    ``layers`` become ``layer``, ``input_dim`` becomes ``input_shape``, Input layers without rules become net inputs,
    and ``dialect`` is set. A net in the inner form is returned unchanged.

    Args:
        net: the net; not changed.
        where: the text it was parsed from, for messages.

    Raises:
        PrototxtError: the message is inconsistent.
    """
    where = where or Source("<NetParameter>", Outline(""))
    result = caffe_pb2.NetParameter()
    result.CopyFrom(net)
    if net.dialect and net.dialect not in DIALECTS:
        raise where.error(f"dialect must be {' or '.join(DIALECTS)}, got '{net.dialect}'", "dialect")
    if net.version != 1:
        raise where.error(f"version must be 1, the only one there ever was, got {net.version}", "version")
    result.ClearField("version")
    result.dialect = net.dialect or dialect_of_form(net)
    field, numbers = "layer", list(range(len(net.layer)))
    if net.layers:
        field, numbers = "layers", []
        result.ClearField("layers")
        for number, old in _v1_layers(net, where):
            upgrade_v1_layer(old, result.layer.add(), where.at_layer("layers", number, old.name))
            numbers.append(number)
    for number, layer in zip(numbers, result.layer, strict=True):
        place = where.at_layer(field, number, layer.name)
        if not layer.type:
            raise place.error("has no type")
        if layer.include and layer.exclude:
            raise place.error("has both include and exclude rules; give one kind or the other", "exclude")
        _move_transform(layer, place)
        _move_axes(layer, place)
        _move_ceil_mode(layer, place)
        if layer.HasField("convolution_param"):
            raise_hole(layer.convolution_param)
        if layer.type == "Input":
            _input_shapes(layer, place)
    _drop_inputs(result)
    _move_inputs(result, where)
    if _input_layers(result) and len(result.input_shape) != len(result.input):
        raise where.error(
            f"an Input layer follows {len(result.input)} net inputs that have {len(result.input_dim)} input_dim:"
            " 4 each are needed"
        )
    if not any(layer.include or layer.exclude or layer.HasField("phase") for layer in _input_layers(result)):
        fold_inputs(result)
    return result


def _v1_layers(net: caffe_pb2.NetParameter, where: Source) -> Iterator[tuple[int, caffe_pb2.V1LayerParameter]]:
    """Yield the V1 layers, and V0 layers converted to V1, each with its number in the text."""
    if any(layer.HasField("layer") for layer in net.layers):
        return upgrade_v0_layers(net, where)
    return iter(enumerate(net.layers))


def _move_transform(layer: caffe_pb2.LayerParameter, where: Source) -> None:
    message: Message = layer
    name = _DATA_PARAM_OF.get(layer.type)
    if name is None or not message.HasField(name):
        return
    old = getattr(layer, name)
    if old.HasField("transform_param"):
        if message.HasField("transform_param"):
            raise where.error(f"transform_param stands in {name} and beside it; give one", name, 0, "transform_param")
        layer.transform_param.CopyFrom(old.transform_param)
        old.ClearField("transform_param")
    new: Message = layer.transform_param
    for field in _TRANSFORM_FIELDS:
        if not old.HasField(field):
            continue
        value = getattr(old, field)
        if new.HasField(field) and getattr(new, field) != value:
            raise where.error(f"{name} and transform_param give different values for {field}", name, 0, field)
        setattr(new, field, value)
        old.ClearField(field)


def _move_axes(layer: caffe_pb2.LayerParameter, where: Source) -> None:
    message: Message = layer
    for name, old in _AXES.items():
        param = getattr(layer, name)
        if not message.HasField(name) or not param.HasField(old):
            continue
        if param.HasField("axis"):
            raise where.error(f"give either axis or {old}, not both", name, 0, old)
        param.axis = getattr(param, old)
        param.ClearField(old)


def _move_ceil_mode(layer: caffe_pb2.LayerParameter, where: Source) -> None:
    """Convert the ``ceil_mode`` of forks to BVLC's ``round_mode``."""
    pool = layer.pooling_param
    if not pool.HasField("ceil_mode"):
        return
    mode = pool.CEIL if pool.ceil_mode else pool.FLOOR
    if pool.HasField("round_mode") and pool.round_mode != mode:
        raise where.error("ceil_mode and round_mode say different things", "pooling_param", 0, "ceil_mode")
    if not pool.ceil_mode:
        pool.round_mode = mode
    pool.ClearField("ceil_mode")


def _drop_inputs(net: caffe_pb2.NetParameter) -> None:
    """Remove each ``input`` without a shape that an Input layer also produces (upgrade_proto.cpp, UpgradeNetInput)."""
    if net.input_shape or net.input_dim:
        return
    made = {top for layer in _input_layers(net) for top in layer.top}
    kept = [name for name in net.input if name not in made]
    del net.input[:]
    net.input.extend(kept)


def _move_inputs(net: caffe_pb2.NetParameter, where: Source) -> None:
    """Convert ``input_dim``, four for each input, to ``input_shape``."""
    for i, shape in enumerate(net.input_shape):
        check_dims(shape.dim, where, "input_shape", i)
    if not net.input_shape:
        dims = list(net.input_dim)
        if len(dims) == OLD_AXES * len(net.input):
            for i in range(len(net.input)):
                net.input_shape.add(dim=dims[OLD_AXES * i : OLD_AXES * (i + 1)])
            net.ClearField("input_dim")
        return
    if net.input_dim:
        raise where.error("give either input_shape or input_dim, not both", "input_shape")
    if len(net.input_shape) != len(net.input):
        raise where.error(f"{len(net.input_shape)} input_shape for {len(net.input)} input", "input_shape")


def _input_layers(net: caffe_pb2.NetParameter) -> list[caffe_pb2.LayerParameter]:
    return [layer for layer in net.layer if layer.type == "Input"]


def _input_shapes(layer: caffe_pb2.LayerParameter, where: Source) -> None:
    if layer.bottom:
        raise where.error("an Input layer has no bottom", "bottom")
    shapes = list(layer.input_param.shape)
    if len(shapes) not in (1, len(layer.top)):
        raise where.error(f"has {len(layer.top)} tops and {len(shapes)} shapes; give one shape, or one for each top")
    for i, shape in enumerate(shapes):
        check_dims(shape.dim, where, "input_param", 0, "shape", i)


def has_inputs(net: caffe_pb2.NetParameter) -> bool:
    """Return whether a net in the inner form has inputs; Input layers with rules, not filtered yet, count too."""
    return bool(net.input or _input_layers(net))


def fold_inputs(net: caffe_pb2.NetParameter) -> None:
    """Turn the Input layers of a net into net inputs, after its existing inputs.

    The ``mean_value`` of their ``transform_param``, which Caffe ignores, becomes the net's. Their other parameters are
    dropped.
    """
    layers = _input_layers(net)
    if layers:
        net.input_layer.extend(["input"] * (len(net.input) - len(net.input_layer)))
    for layer in layers:
        shapes = layer.input_param.shape
        net.input_layer.extend([layer.name] * len(layer.top))
        if not net.mean_value:
            net.mean_value.extend(layer.transform_param.mean_value)
        for i, top in enumerate(layer.top):
            net.input.append(top)
            net.input_shape.add().CopyFrom(shapes[min(i, len(shapes) - 1)])
    if layers:
        others = [layer for layer in net.layer if layer.type != "Input"]
        kept = caffe_pb2.NetParameter(layer=others)
        net.ClearField("layer")
        net.layer.extend(kept.layer)


def upgrade_solver(solver: caffe_pb2.SolverParameter, where: Source | None = None) -> caffe_pb2.SolverParameter:
    """Return a SolverParameter with its ``type`` as a string and its nets in the inner form.

    Raises:
        PrototxtError: the message is inconsistent.
    """
    where = where or Source("<SolverParameter>", Outline(""))
    result = caffe_pb2.SolverParameter()
    result.CopyFrom(solver)
    if solver.HasField("solver_type"):
        if solver.HasField("type"):
            raise where.error("give either type or solver_type, not both", "solver_type")
        result.type = _SOLVER_TYPES[caffe_pb2.SolverParameter.SolverType.Name(solver.solver_type)]
        result.ClearField("solver_type")
    for name in ("net_param", "train_net_param"):
        if solver.HasField(name):
            getattr(result, name).CopyFrom(upgrade_net(getattr(solver, name), where.at(name)))
    for i, net in enumerate(solver.test_net_param):
        result.test_net_param[i].CopyFrom(upgrade_net(net, where.at("test_net_param", i)))
    return result
