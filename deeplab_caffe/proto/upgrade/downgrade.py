"""The V2 layout (``layer { type: "Convolution" }``) brought down to DeepLab v1's.

Every field is moved, found to ask for what DeepLab v1 does anyway, or refused by name and line.
"""

from __future__ import annotations

from google.protobuf.message import Message

from deeplab_caffe.proto import caffe_pb2
from deeplab_caffe.proto.convert import Handler, Handlers, Neutral, copy_fields
from deeplab_caffe.proto.inputs import BLOB_AXES, four_dims, move_dummy_shape, move_net_inputs
from deeplab_caffe.proto.names import did_you_mean, enum_name, modern_names
from deeplab_caffe.proto.outline import Source
from deeplab_caffe.proto.upgrade_v1 import move_loss_param


def downgrade_v2_net(message: Message, where: Source) -> Message:
    """The internal form of a NetParameter of the V2 text schema.

    ``Input`` layers become net inputs, after those that the net itself has.

    Raises:
        PrototxtError: a layer type or a field that is set has no equivalent in DeepLab v1.
    """
    net = caffe_pb2.NetParameter()
    copy_fields(message, net, where, V2_HANDLERS, V2_NEUTRAL)
    return net


def _move_layers(source: Message, target: Message, where: Source) -> None:
    for i, layer in enumerate(source.layer):
        place = where.at_layer("layer", i, layer.name)
        if layer.type == "Input":
            _add_input(layer, target, place)
        else:
            copy_fields(layer, target.layers.add(), place, V2_HANDLERS, V2_NEUTRAL)
            _fill_changed_defaults(layer, target.layers[-1])


def _add_input(layer: Message, net: Message, where: Source) -> None:
    for field, _ in layer.ListFields():
        if field.name not in ("name", "type", "top", "input_param"):
            raise where.error(f"{field.name} has no equivalent in DeepLab v1 for an Input layer", field.name)
    shapes = list(layer.input_param.shape)
    if len(shapes) not in (1, len(layer.top)):
        raise where.error(f"has {len(layer.top)} tops and {len(shapes)} shapes; give one shape, or one for each top")
    if len(net.input_dim) != BLOB_AXES * len(net.input):
        raise where.error(f"follows net inputs that have {len(net.input_dim)} input_dim where 4 each are needed")
    for i, top in enumerate(layer.top):
        at = min(i, len(shapes) - 1)
        net.input.append(top)
        net.input_dim.extend(four_dims(shapes[at].dim, where, "input_param", 0, "shape", at))


def _fill_changed_defaults(source: Message, target: Message) -> None:
    # The one default that differs: 1 in V2, 0 (that is, "must be given") in DeepLab v1.
    if target.type in (target.IMAGE_DATA, target.IMAGE_SEG_DATA) and not target.image_data_param.HasField("batch_size"):
        target.image_data_param.batch_size = source.image_data_param.batch_size


def _move_type(source: Message, target: Message, where: Source) -> None:
    try:
        name = enum_name(source.type)
    except KeyError:
        raise where.error(
            f"layer type '{source.type}' is not in the DeepLab v1 catalogue{did_you_mean(source.type, modern_names())}",
            "type",
        ) from None
    target.type = caffe_pb2.LayerParameter.LayerType.Value(name)


def _refuse_phase(source: Message, target: Message, where: Source) -> None:
    phase = source.DESCRIPTOR.fields_by_name["phase"].enum_type.values_by_number[source.phase].name
    raise where.error(
        f"phase: {phase} has no equivalent in DeepLab v1: its layers run in the net's phase; to have this one in that"
        f" phase only, write include {{ phase: {phase} }}",
        "phase",
    )


def _learned_blobs(layer: Message) -> int | None:
    """Number of parameter blobs of a V2 layer where its type fixes it."""
    if layer.type == "Convolution":
        return 1 + layer.convolution_param.bias_term
    if layer.type == "InnerProduct":
        return 1 + layer.inner_product_param.bias_term
    return None


def _move_param_specs(source: Message, target: Message, where: Source) -> None:
    specs = list(source.param)
    count = _learned_blobs(source)
    if count is not None:
        if len(specs) > count:
            raise where.error(f"has {len(specs)} param {{ }} for {count} parameter blobs", "param", count)
        # In V2 the blobs that are not mentioned get lr_mult 1; V1 wants all or none.
        specs += [type(specs[0])()] * (count - len(specs))
    if any(spec.HasField("name") for spec in specs):
        target.param.extend(spec.name for spec in specs)
    if any(spec.HasField("share_mode") for spec in specs):
        target.blob_share_mode.extend(
            target.DimCheckMode.Value(spec.DimCheckMode.Name(spec.share_mode)) for spec in specs
        )
    if any(spec.HasField("lr_mult") for spec in specs):
        target.blobs_lr.extend(spec.lr_mult for spec in specs)
    if any(spec.HasField("decay_mult") for spec in specs):
        target.weight_decay.extend(spec.decay_mult for spec in specs)


def _spatial(old: str, new: str, low: str, high: str) -> Handler:
    """Mover of a repeated V2 field (one value, or one for each of H and W) to ``new`` or ``new_h`` and ``new_w``."""

    def move(source: Message, target: Message, where: Source) -> None:
        values = list(getattr(source, old))
        clash = [name for name in (low, high) if source.HasField(name)]
        if old != new and source.HasField(new):
            clash.append(new)
        if clash:
            raise where.error(f"give either {old} or {' and '.join(clash)}, not both", old)
        if len(values) > 2:
            raise where.error(f"{old} has {len(values)} values; a DeepLab v1 convolution has two spatial axes", old, 2)
        if len(set(values)) == 1:
            setattr(target, new, values[0])
        else:
            setattr(target, low, values[0])
            setattr(target, high, values[1])

    return move


def _axis(old: str, new: str) -> Handler:
    """Mover of ``axis`` (negative counts from the end) to V1's name for it."""

    def move(source: Message, target: Message, where: Source) -> None:
        if source.HasField(new):
            raise where.error(f"give either {old} or {new}, not both", old)
        axis = source.axis + BLOB_AXES if source.axis < 0 else source.axis
        if axis not in (0, 1):
            raise where.error(f"{old}: {source.axis} has no equivalent: DeepLab v1 knows axes 0 and 1 here", old)
        setattr(target, new, axis)

    return move


def _move_crop(source: Message, target: Message, where: Source) -> None:
    if source.HasField("crop_size") or source.crop_height != source.crop_width:
        raise where.error(
            "crop_height and crop_width have no equivalent in DeepLab v1 unless equal and without crop_size",
            "crop_height" if source.HasField("crop_height") else "crop_width",
        )
    target.crop_size = source.crop_height


def _move_flatten(source: Message, target: Message, where: Source) -> None:
    flatten = source.flatten_param
    if flatten.axis not in (1, -3) or flatten.end_axis not in (3, -1):
        raise where.error("DeepLab v1 flattens axes 1 to 3 only", "flatten_param")


def _move_blob(source: Message, target: Message, where: Source) -> None:
    target.num, target.channels, target.height, target.width = four_dims(
        [1] * max(0, BLOB_AXES - len(source.shape.dim)) + list(source.shape.dim), where, "shape"
    )


V2_HANDLERS: Handlers = {
    "NetParameter": {
        "input": move_net_inputs,
        "input_dim": move_net_inputs,
        "input_shape": move_net_inputs,
        "layer": _move_layers,
    },
    "LayerParameter": {
        "type": _move_type,
        "phase": _refuse_phase,
        "param": _move_param_specs,
        "loss_param": move_loss_param,
        "flatten_param": _move_flatten,
    },
    "BlobProto": {"shape": _move_blob},
    "ConvolutionParameter": {
        "pad": _spatial("pad", "pad", "pad_h", "pad_w"),
        "kernel_size": _spatial("kernel_size", "kernel_size", "kernel_h", "kernel_w"),
        "stride": _spatial("stride", "stride", "stride_h", "stride_w"),
        "dilation": _spatial("dilation", "hole", "hole_h", "hole_w"),
    },
    "ConcatParameter": {"axis": _axis("axis", "concat_dim")},
    "SliceParameter": {"axis": _axis("axis", "slice_dim")},
    "TransformationParameter": {"crop_height": _move_crop, "crop_width": _move_crop},
    "DummyDataParameter": {"shape": move_dummy_shape},
}

# Values that ask for what DeepLab v1 does anyway; None: the field says nothing about the result.
V2_NEUTRAL: Neutral = {
    ("NetParameter", "debug_info"): (False,),
    ("AccuracyParameter", "axis"): (1, -3),
    ("ArgMaxParameter", "axis"): (1, -3),
    ("BiasChannelParameter", "background_label"): (0,),
    ("ContrastiveLossParameter", "legacy_version"): (True,),
    ("ConvolutionParameter", "axis"): (1, -3),
    ("ConvolutionParameter", "force_nd_im2col"): (False,),
    ("DataParameter", "force_encoded_color"): (False,),
    ("DataParameter", "prefetch"): None,
    ("FillerParameter", "variance_norm"): (0,),  # FAN_IN
    ("HDF5DataParameter", "shuffle"): (False,),
    ("InnerProductParameter", "axis"): (1, -3),
    ("InnerProductParameter", "transpose"): (False,),
    ("LRNParameter", "engine"): (0, 1),  # DEFAULT, CAFFE
    ("SoftmaxParameter", "axis"): (1, -3),
    ("TransformationParameter", "force_color"): (False,),
    ("TransformationParameter", "force_gray"): (False,),
}
