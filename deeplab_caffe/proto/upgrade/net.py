"""Upgrading a parsed net or solver to the internal form, whatever layout it was written in."""

from __future__ import annotations

import os

from google.protobuf.message import Message

from deeplab_caffe.proto import caffe_pb2
from deeplab_caffe.proto.convert import Handler, copy_fields
from deeplab_caffe.proto.outline import Node, Source
from deeplab_caffe.proto.upgrade_v0 import upgrade_v0_net
from deeplab_caffe.proto.upgrade_v1 import V1_HANDLERS, V1_NEUTRAL
from deeplab_caffe.proto.upgrade_v2 import downgrade_v2_net

# Caffe's UpgradeNetDataTransformation (upgrade_proto.cpp): these moved from the data parameters to transform_param.
# IMAGE_SEG_DATA shares image_data_param.
_TRANSFORM_FIELDS = ("scale", "mean_file", "crop_size", "mirror")
_DATA_PARAM_OF = {
    "DATA": "data_param",
    "IMAGE_DATA": "image_data_param",
    "IMAGE_SEG_DATA": "image_data_param",
    "WINDOW_DATA": "window_data_param",
}
_SOLVER_TYPES = {"SGD": "SGD", "Nesterov": "NESTEROV", "AdaGrad": "ADAGRAD"}


def upgrade_net(message: Message, tree: Node, path: str | os.PathLike[str]) -> Message:
    """The internal form of a NetParameter that was parsed with a text schema.

    Args:
        message: the parsed net.
        tree: outline of the text it was parsed from, for line numbers.
        path: the file, for messages.

    Raises:
        PrototxtError: something in it has no equivalent in DeepLab v1.
    """
    return _upgrade_net(message, Source(path, tree))


def _upgrade_net(message: Message, where: Source) -> Message:
    # The number that each layer has in the text: Input and padding layers are there, and not in the result.
    if "layer" in message.DESCRIPTOR.fields_by_name:
        net = downgrade_v2_net(message, where)
        layers_field = "layer"
        numbers = [i for i, layer in enumerate(message.layer) if layer.type != "Input"]
    else:
        net = caffe_pb2.NetParameter()
        copy_fields(message, net, where, V1_HANDLERS, V1_NEUTRAL)
        layers_field = "layers"
        numbers = list(range(len(net.layers)))
        if any(layer.HasField("layer") for layer in net.layers):
            numbers = [i for i in numbers if net.layers[i].layer.type != "padding"]
            net = upgrade_v0_net(net, where)
    for number, layer in zip(numbers, net.layers, strict=True):
        place = where.at_layer(layers_field, number, layer.name)
        if layer.type == caffe_pb2.LayerParameter.NONE:
            raise place.error("has no type")
        if layer.include and layer.exclude:
            raise place.error("has both include and exclude rules; give one kind or the other", "exclude")
        _move_transform(layer, place)
    return net


def _move_transform(layer: Message, where: Source) -> None:
    name = _DATA_PARAM_OF.get(caffe_pb2.LayerParameter.LayerType.Name(layer.type))
    if name is None or not layer.HasField(name):
        return
    old = getattr(layer, name)
    for field in _TRANSFORM_FIELDS:
        if not old.HasField(field):
            continue
        value = getattr(old, field)
        if layer.transform_param.HasField(field) and getattr(layer.transform_param, field) != value:
            raise where.error(f"{name} and transform_param give different values for {field}", name, 0, field)
        setattr(layer.transform_param, field, value)
        old.ClearField(field)


def upgrade_solver(message: Message, tree: Node, path: str | os.PathLike[str]) -> Message:
    """The internal form of a SolverParameter that was parsed with a text schema.

    Raises:
        PrototxtError: it asks for a solver or an option that DeepLab v1 does not have.
    """
    solver = caffe_pb2.SolverParameter()
    where = Source(path, tree)
    handlers = {
        "SolverParameter": {
            "type": _move_solver_type,
            "net_param": _net_mover("net_param"),
            "train_net_param": _net_mover("train_net_param"),
            "test_net_param": _net_mover("test_net_param"),
        }
    }
    neutral = {
        ("SolverParameter", "clip_gradients"): (-1.0,),
        ("SolverParameter", "snapshot_format"): (1,),  # BINARYPROTO
    }
    copy_fields(message, solver, where, handlers, neutral)
    return solver


def _move_solver_type(source: Message, target: Message, where: Source) -> None:
    if source.type not in _SOLVER_TYPES:
        known = ", ".join(_SOLVER_TYPES)
        raise where.error(f"solver type '{source.type}' is not in DeepLab v1, which has {known}", "type")
    target.solver_type = caffe_pb2.SolverParameter.SolverType.Value(_SOLVER_TYPES[source.type])


def _net_mover(name: str) -> Handler:
    def move(source: Message, target: Message, where: Source) -> None:
        nets = getattr(source, name)
        if name == "test_net_param":
            for i, net in enumerate(nets):
                getattr(target, name).add().CopyFrom(_upgrade_net(net, where.at(name, i)))
        else:
            getattr(target, name).CopyFrom(_upgrade_net(nets, where.at(name)))

    return move
