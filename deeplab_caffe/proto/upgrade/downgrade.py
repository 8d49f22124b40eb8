"""Conversion of a net from the inner form to the dialect of a file, for writing.

Every field is moved, or found to ask for the dialect's default behaviour, or rejected with layer and name.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from deeplab_caffe.errors import CaffeModelError
from deeplab_caffe.proto import caffe_pb2
from deeplab_caffe.proto.dims import OLD_AXES
from deeplab_caffe.proto.raw import raw_in_message
from deeplab_caffe.proto.schema.names import did_you_mean, enum_of_name, v1_names
from deeplab_caffe.proto.schema.tables import dialect_schema, own_schema
from deeplab_caffe.proto.text.outline import Outline, Source
from deeplab_caffe.proto.upgrade.fields import Handler, Handlers, Neutral, check_dims, copy_fields

TITLES = {
    "v1": "DeepLab v1",
    "v2": "DeepLab v2",
    "merge": "the merge of DeepLab v2 with BVLC Caffe",
    "bvlc": "BVLC Caffe",
}


class _Target(Source):
    """A place in a net that is being written."""

    def error(self, message: str, *steps: str | int) -> CaffeModelError:
        """Return the error for the field at ``steps`` inside this place."""
        names = [step for step in (*self.steps, *steps) if isinstance(step, str) and step not in ("layer", "layers")]
        if names and message.startswith(names[-1]):
            names.pop()
        field = f"{'.'.join(names)}: " if names else ""
        return CaffeModelError(f"cannot be written for {self.into}: {field}{message}", self.path, layer=self.layer)


def to_dialect(
    net: caffe_pb2.NetParameter, dialect: str, path: str = "<NetParameter>", *, options: bool = False
) -> Any:
    """Return a net as a message of a dialect's own schema.

    Args:
        net: a NetParameter of the inner form.
        dialect: ``"v1"`` (the V1 layout), ``"v2"``, ``"merge"`` or ``"bvlc"``.
        path: the file that it is written to, for messages.
        options: also write options of this package only, such as Interp's ``align_corners``.

    Raises:
        CaffeModelError: a layer type or field has no equivalent in the dialect; the error names layer and field.
    """
    if dialect not in TITLES:
        raise CaffeModelError(f"dialect must be one of {', '.join(TITLES)}, got {dialect!r}", path)
    where = _Target(path, Outline(""), into=TITLES[dialect])
    source = caffe_pb2.NetParameter()
    source.CopyFrom(net)
    for own in ("dialect", "input_layer", "mean_value"):
        source.ClearField(own)
    target = (own_schema if options else dialect_schema)(dialect).new("NetParameter")
    if dialect == "v1":
        copy_fields(source, target, where, _V1_HANDLERS, _V1_NEUTRAL)
    else:
        copy_fields(source, target, where, _V2_HANDLERS, {})
    return target


def _move_v2_layers(source: Any, target: Any, where: Source) -> None:
    for i, layer in enumerate(source.layer):
        copy_fields(layer, target.layer.add(), where.at_layer("layer", i, layer.name), _RAW_HANDLERS, {})


def _move_v1_layers(source: Any, target: Any, where: Source) -> None:
    for i, layer in enumerate(source.layer):
        copy_fields(layer, target.layers.add(), where.at_layer("layer", i, layer.name), _V1_HANDLERS, _V1_NEUTRAL)


def _move_type(source: Any, target: Any, where: Source) -> None:
    values = target.DESCRIPTOR.fields_by_name["type"].enum_type.values_by_name
    try:
        target.type = values[enum_of_name(source.type)].number
    except KeyError:
        raise where.error(
            f"there is no layer type '{source.type}'{did_you_mean(source.type, v1_names())}", "type"
        ) from None


def _refuse_phase(source: Any, target: Any, where: Source) -> None:
    name = caffe_pb2.Phase.Name(source.phase)
    raise where.error(
        f"{name}: its layers run in the net's phase; to have this one in that phase only, write include {{ phase:"
        f" {name} }}",
        "phase",
    )


def _move_loss_param(source: Any, target: Any, where: Source) -> None:
    """Move ``loss_param`` of SoftmaxWithLoss into DeepLab v1's ``softmaxloss_param``.

    DeepLab v1 divides by the weight of the pixels that are not ignored (softmax_loss_layer.cpp): ``normalization:
    VALID`` and ``normalize: true``.
    """
    loss = source.loss_param
    if source.type not in ("SoftmaxWithLoss", "SoftmaxLoss"):
        if loss.ListFields():
            raise where.error("has no equivalent for this layer type", "loss_param")
        return
    if loss.HasField("normalization") and loss.normalization != loss.VALID:
        name = loss.NormalizationMode.Name(loss.normalization)
        raise where.error(f"{name} has no equivalent: it normalizes as VALID", "loss_param", "normalization")
    if loss.HasField("normalize") and not loss.normalize:
        raise where.error("false has no equivalent: it divides by the valid pixels", "loss_param", "normalize")
    if loss.HasField("ignore_label") and loss.ignore_label not in source.softmaxloss_param.ignore_label:
        target.softmaxloss_param.ignore_label.append(loss.ignore_label)


def _learned_blobs(layer: Any) -> int | None:
    """Return the number of parameter blobs of a layer if its type fixes it."""
    if layer.type == "Convolution":
        return 1 + bool(layer.convolution_param.bias_term)
    if layer.type == "InnerProduct":
        return 1 + bool(layer.inner_product_param.bias_term)
    return None


def _move_param_specs(source: Any, target: Any, where: Source) -> None:
    specs = list(source.param)
    count = _learned_blobs(source) or len(specs)

    def given(field: str, least: int) -> Sequence[Any]:
        """Return the specs up to the last one that has the field, or ``least`` if any has it."""
        last = max((i + 1 for i, spec in enumerate(specs) if spec.HasField(field)), default=0)
        filled = [*specs, *(caffe_pb2.ParamSpec() for _ in range(count - len(specs)))]
        return filled[: max(last, least)] if last else []

    target.param.extend(spec.name for spec in given("name", 0))
    target.blob_share_mode.extend(
        target.DimCheckMode.Value(spec.DimCheckMode.Name(spec.share_mode)) for spec in given("share_mode", 0)
    )
    # In V2 blobs without a value get 1; V1's programs require values for all blobs or none.
    target.blobs_lr.extend(spec.lr_mult for spec in given("lr_mult", count))
    target.weight_decay.extend(spec.decay_mult for spec in given("decay_mult", count))


def _spatial(old: str, new: str, low: str, high: str) -> Handler:
    """Return a mover of a repeated field (one value, or one for each of H and W) to one field or one for each."""

    def move(source: Any, target: Any, where: Source) -> None:
        values = list(getattr(source, old))
        if len(values) > 2:
            raise where.error(f"{len(values)} values; its convolutions have two spatial axes", old)
        if len(values) == 1:
            setattr(target, new, values[0])
        else:
            setattr(target, low, values[0])
            setattr(target, high, values[1])

    return move


def _move_pad_pair(source: Any, target: Any, where: Source) -> None:
    # V1's programs require both.
    target.pad_h, target.pad_w = source.pad_h, source.pad_w


def _axis(name: str) -> Handler:
    """Return a mover of ``axis`` (negative: from the end) to the V1 field."""

    def move(source: Any, target: Any, where: Source) -> None:
        axis = source.axis + OLD_AXES if source.axis < 0 else source.axis
        if axis not in (0, 1):
            raise where.error(f"{source.axis} has no equivalent: it knows axes 0 and 1 here", "axis")
        setattr(target, name, axis)

    return move


def _move_crop(source: Any, target: Any, where: Source) -> None:
    if source.HasField("crop_size") or source.crop_height != source.crop_width:
        raise where.error(
            "has no equivalent unless crop_height and crop_width are equal and crop_size is not set",
            "crop_height" if source.HasField("crop_height") else "crop_width",
        )
    target.crop_size = source.crop_height


def _move_flatten(source: Any, target: Any, where: Source) -> None:
    flatten = source.flatten_param
    if flatten.axis not in (1, -3) or flatten.end_axis not in (3, -1):
        raise where.error("it flattens axes 1 to 3 only", "flatten_param")


def _move_batch_size(source: Any, target: Any, where: Source) -> None:
    # A V1 text without batch_size has 0 in the inner form.
    if source.batch_size:
        target.batch_size = source.batch_size


def _move_inputs(source: Any, target: Any, where: Source) -> None:
    for i, shape in enumerate(source.input_shape):
        target.input_dim.extend(_four_dims(shape.dim, where, "input_shape", i))


def _move_dummy_shape(source: Any, target: Any, where: Source) -> None:
    if source.num or source.channels or source.height or source.width:
        raise where.error("give either shape or num, channels, height and width, not both", "shape")
    for i, shape in enumerate(source.shape):
        num, channels, height, width = _four_dims(shape.dim, where, "shape", i)
        target.num.append(num)
        target.channels.append(channels)
        target.height.append(height)
        target.width.append(width)


def _move_blob(source: Any, target: Any, where: Source) -> None:
    dims = list(source.shape.dim)
    target.num, target.channels, target.height, target.width = _four_dims(
        [1] * (OLD_AXES - len(dims)) + dims, where, "shape"
    )


def _four_dims(dims: Sequence[int], where: Source, *steps: str | int) -> list[int]:
    """Return ``dims`` padded to four with trailing ones: ``(N, C)`` becomes ``(N, C, 1, 1)``."""
    if len(dims) > OLD_AXES:
        raise where.error(f"{list(dims)} has {len(dims)} dimensions; its blobs have four", *steps)
    check_dims(dims, where, *steps)
    return list(dims) + [1] * (OLD_AXES - len(dims))


def _move_raw(source: Any, target: Any, where: Source) -> None:
    """Convert the raw bytes of NVIDIA's Caffe, which no dialect's program reads, to lists of numbers."""
    for name in ("data", "diff"):
        try:
            numbers = raw_in_message(source, name)
        except ValueError as error:
            raise where.error(str(error), f"raw_{name}") from error
        if numbers is None:
            continue
        field = f"double_{name}" if numbers.itemsize == 8 else name
        if field not in target.DESCRIPTOR.fields_by_name:
            raise where.error("DOUBLE has no equivalent: it knows float32 only", f"raw_{name}")
        getattr(target, field).extend(numbers.tolist())


_RAW_HANDLERS: Handlers = {
    "BlobProto": dict.fromkeys(("raw_data", "raw_diff", "raw_data_type", "raw_diff_type"), _move_raw)
}
_V2_HANDLERS: Handlers = {"NetParameter": {"layer": _move_v2_layers}}
_V1_HANDLERS: Handlers = {
    "NetParameter": {"input_shape": _move_inputs, "layer": _move_v1_layers},
    "LayerParameter": {
        "type": _move_type,
        "phase": _refuse_phase,
        "param": _move_param_specs,
        "loss_param": _move_loss_param,
        "flatten_param": _move_flatten,
    },
    "BlobProto": {"shape": _move_blob} | _RAW_HANDLERS["BlobProto"],
    "ConvolutionParameter": {
        "pad": _spatial("pad", "pad", "pad_h", "pad_w"),
        "pad_h": _move_pad_pair,
        "pad_w": _move_pad_pair,
        "kernel_size": _spatial("kernel_size", "kernel_size", "kernel_h", "kernel_w"),
        "stride": _spatial("stride", "stride", "stride_h", "stride_w"),
        "dilation": _spatial("dilation", "hole", "hole_h", "hole_w"),
    },
    "ConcatParameter": {"axis": _axis("concat_dim")},
    "SliceParameter": {"axis": _axis("slice_dim")},
    "TransformationParameter": {"crop_height": _move_crop, "crop_width": _move_crop},
    "ImageDataParameter": {"batch_size": _move_batch_size},
    "DummyDataParameter": {"shape": _move_dummy_shape},
}

# Values that ask for DeepLab v1's default behaviour; None: the field does not affect the result.
_V1_NEUTRAL: Neutral = {
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
    ("PoolingParameter", "round_mode"): (0,),  # CEIL
    ("SoftmaxParameter", "axis"): (1, -3),
    ("TransformationParameter", "force_color"): (False,),
    ("TransformationParameter", "force_gray"): (False,),
}
