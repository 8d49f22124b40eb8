"""What BVLC's V1 layout (``layers { type: CONVOLUTION }``) has beyond DeepLab v1's, moved into DeepLab v1's fields."""

from __future__ import annotations

from google.protobuf.message import Message

from deeplab_caffe.proto.convert import Handlers, Neutral
from deeplab_caffe.proto.inputs import move_dummy_shape, move_net_inputs
from deeplab_caffe.proto.outline import Source


def move_loss_param(source: Message, target: Message, where: Source) -> None:
    """``loss_param`` of BVLC's SoftmaxWithLoss into DeepLab's ``softmaxloss_param``.

    DeepLab v1 divides by the weight of the pixels that are not ignored (softmax_loss_layer.cpp), which is BVLC's
    ``normalization: VALID`` and ``normalize: true``.

    Args:
        source: a layer that has ``loss_param``; its ``type`` may be of either layout.
        target: the layer of the internal form.
        where: place of the layer.

    Raises:
        PrototxtError: another normalization, or another layer than the softmax loss.
    """
    loss = source.loss_param
    if source.type not in (target.SOFTMAX_LOSS, "SoftmaxWithLoss", "SoftmaxLoss"):
        if loss.ListFields():
            raise where.error("loss_param has no equivalent in DeepLab v1 for this layer type", "loss_param")
        return
    if loss.HasField("normalization") and loss.normalization != loss.VALID:
        name = loss.NormalizationMode.Name(loss.normalization)
        raise where.error(
            f"normalization: {name} has no equivalent: DeepLab v1 normalizes as VALID", "loss_param", "normalization"
        )
    if loss.HasField("normalize") and not loss.normalize:
        raise where.error(
            "normalize: false has no equivalent: DeepLab v1 divides by the pixels that count", "loss_param", "normalize"
        )
    if loss.HasField("ignore_label") and loss.ignore_label not in source.softmaxloss_param.ignore_label:
        target.softmaxloss_param.ignore_label.append(loss.ignore_label)


V1_HANDLERS: Handlers = {
    "NetParameter": {"input": move_net_inputs, "input_dim": move_net_inputs, "input_shape": move_net_inputs},
    "LayerParameter": {"loss_param": move_loss_param},
    "DummyDataParameter": {"shape": move_dummy_shape},
}
V1_NEUTRAL: Neutral = {("NetParameter", "debug_info"): (False,)}
