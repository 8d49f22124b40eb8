"""Conversion of a layer of the V1 layout (``layers { type: CONVOLUTION }``), DeepLab v1's or BVLC's, to V2."""

from __future__ import annotations

from typing import Any

from deeplab_caffe.proto.schema.names import name_of_number
from deeplab_caffe.proto.text.outline import Source
from deeplab_caffe.proto.upgrade.fields import Handler, Handlers, copy_fields


def upgrade_v1_layer(old: Any, new: Any, where: Source) -> None:
    """Copy a V1LayerParameter into a LayerParameter.

    Args:
        old: the layer.
        new: an empty LayerParameter.
        where: place of the layer.

    Raises:
        PrototxtError: a field has no equivalent in V2, or the layer has no type.
    """
    copy_fields(old, new, where, _HANDLERS, {})
    if new.type in ("ImageData", "ImageSegData") and not new.image_data_param.HasField("batch_size"):
        # The only default that differs: 1 in V2, 0 (required) in DeepLab v1.
        new.image_data_param.batch_size = 0


def _move_type(old: Any, new: Any, where: Source) -> None:
    # DeepLab v1's IMAGE_SEG_DATA has the number of BVLC's DECONVOLUTION: the type in the text or the layer's contents
    # decide. The contents take precedence, because protobuf writes both as IMAGE_SEG_DATA.
    is_deconvolution = where.word("type") == "DECONVOLUTION" or bool(old.HasField("convolution_param") or old.blobs)
    if old.type != old.NONE:
        new.type = name_of_number(old.type, deconvolution=is_deconvolution)


def _move_params(old: Any, new: Any, where: Source) -> None:
    parts = {
        "name": old.param,
        "share_mode": old.blob_share_mode,
        "lr_mult": old.blobs_lr,
        "decay_mult": old.weight_decay,
    }
    for _ in range(max(map(len, parts.values()))):
        new.param.add()
    for field, values in parts.items():
        for spec, value in zip(new.param, values, strict=False):
            setattr(spec, field, value)


def _append(name: str, target: str) -> Handler:
    def move(old: Any, new: Any, where: Source) -> None:
        getattr(new, target).append(getattr(old, name))

    return move


def raise_hole(conv: Any) -> None:
    """Turn ``hole``, or ``hole_h`` and ``hole_w``, of a V2 convolution into ``dilation``; keep an incomplete pair."""
    pair = [name for name in ("hole_h", "hole_w") if conv.HasField(name)]
    if conv.dilation or (conv.HasField("hole") and pair) or len(pair) == 1:
        return
    for name in ("hole", *pair):
        if conv.HasField(name):
            conv.dilation.append(getattr(conv, name))
            conv.ClearField(name)


def _move_dilation(old: Any, new: Any, where: Source) -> None:
    if any(old.HasField(name) for name in ("hole", "hole_h", "hole_w")):
        raise where.error("give either dilation or hole, not both", "dilation")
    new.dilation.extend(old.dilation)


_move_param_specs = dict.fromkeys(("param", "blob_share_mode", "blobs_lr", "weight_decay"), _move_params)
_HANDLERS: Handlers = {
    "V1LayerParameter": {"type": _move_type, **_move_param_specs},
    "V1ConvolutionParameter": {
        "pad": _append("pad", "pad"),
        "kernel_size": _append("kernel_size", "kernel_size"),
        "stride": _append("stride", "stride"),
        "dilation": _move_dilation,
    },
}
