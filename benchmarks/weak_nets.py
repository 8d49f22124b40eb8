"""The package's recipes for weak labels, made narrow enough for a few seconds on one core."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from deeplab_caffe import Net, proto
from deeplab_caffe.layers import ConvolutionFact
from deeplab_caffe.proto import CaffeModel, caffe_pb2
from deeplab_caffe.zoo.default import CAMVID_MODEL
from deeplab_caffe.zoo.paths import prototxt_path

BODY = "deeplab_largefov"
EXP = "crops"


@dataclass(frozen=True)
class Size:
    """How narrow and small.

    Attributes:
        crop: side of what training sees of a crop; 8 k + 1, so that the INTERP layer picks labels and blends none.
        batch: crops in a batch.
        width: the released network has this many times as many filters in conv1 to conv5.
        fc_channels: filters of fc6 and fc7.
        hole: of fc6; it is to see about as much of the score map as LargeFOV's does, 25 of 41 places.
        dropout: after fc6 and fc7.
        frozen: convolutions that do not learn: they begin with one of these.
    """

    crop: int = 81
    batch: int = 10
    width: int = 4
    fc_channels: int = 256
    hole: int = 4
    dropout: float = 0.2
    frozen: tuple[str, ...] = ("conv",)


def variables(exp: str, num_labels: int, bias: tuple[float, float] = (1, 2)) -> dict[str, str]:
    """Return what the recipes' ``${NAME}`` are filled with; :func:`training_net` gives data layers their lists."""
    unused = {name: name for name in ("NET_ID", "DATA_ROOT", "TRAIN_SET", "TRAIN_SET_STRONG", "TRAIN_SET_WEAK")}
    return {
        **unused,
        "EXP": exp,
        "NUM_LABELS": str(num_labels),
        "BG_BIAS": f"{bias[0]:g}",
        "FG_BIAS": f"{bias[1]:g}",
    }


def training_net(
    recipe: str,
    folder: Path,
    train_set: str,
    size: Size,
    *,
    exp: str = EXP,
    num_labels: int = 5,
    few_set: str = "train_few",
    bias: tuple[float, float] = (1, 2),
    portions: tuple[float, float] | None = None,
) -> caffe_pb2.NetParameter:
    """Return a recipe's train.prototxt on a narrow LargeFOV; its labels, E-step and loss stay as they are.

    Args:
        recipe: a name that :func:`prototxt_path` knows.
        folder: what :func:`weak_task.write_split` has written.
        train_set: ``list/<train_set>.txt``.
        size: of the network.
        exp: part of the score layer's name.
        num_labels: classes.
        few_set: ``list/<few_set>.txt``: what has label maps, for the half batches of the semi-supervised recipes.
        bias: BG_BIAS and FG_BIAS of EM-Fixed.
        portions: bg_portion and fg_portion of EM-Adapt; None for the recipe's.
    """
    net = proto.read_net(prototxt_path(recipe, "train"), variables(exp, num_labels, bias))
    _narrow(net, size, num_labels)
    sources = sum(layer.type == "ImageSegData" for layer in net.layer)
    for layer in net.layer:
        if layer.type == "ImageSegData":
            layer.image_data_param.root_folder = str(folder)
            own_set = few_set if layer.name == "data_strong" else train_set
            layer.image_data_param.source = str(folder / "list" / f"{own_set}.txt")
            layer.image_data_param.batch_size = size.batch // sources
            layer.transform_param.crop_size = size.crop
        if layer.type == "AdaptiveBiasChannel" and portions:
            param = layer.adaptive_bias_channel_param
            param.bg_portion, param.fg_portion = portions
    return net


def deploy_net(size: Size, num_labels: int = 5) -> caffe_pb2.NetParameter:
    """Return LargeFOV's deploy.prototxt, as narrow, its score layer called as in training."""
    net = proto.read_net(prototxt_path(BODY, "deploy"))
    _narrow(net, size, num_labels)
    for layer in net.layer:
        for names in (layer.bottom, layer.top):
            names[:] = [name.replace("fc8_voc12", f"fc8_{EXP}") for name in names]
        layer.name = layer.name.replace("fc8_voc12", f"fc8_{EXP}")
    return net


def _narrow(net: caffe_pb2.NetParameter, size: Size, num_labels: int) -> None:
    """Give fewer filters, msra fillers for what VGG's weights would have filled, LargeFOV's fc6 for all recipes."""
    released = next(x for x in proto.read_net(prototxt_path(BODY, "deploy")).layer if x.name == "pool5a")
    names = [layer.name for layer in net.layer]
    if "pool5a" not in names:
        # The recipes for image-level labels are of DeepLab with a 4x4 fc6: one network is enough here.
        net.layer.insert(names.index("fc6"), released)
        net.layer[names.index("fc6") + 1].bottom[0] = "pool5a"
    for layer in net.layer:
        conv = layer.convolution_param
        if layer.type == "Dropout":
            layer.dropout_param.dropout_ratio = size.dropout
        if layer.type != "Convolution":
            continue
        if layer.name.startswith("fc8"):
            conv.num_output = num_labels
            continue
        conv.num_output = size.fc_channels if layer.name.startswith("fc") else conv.num_output // size.width
        conv.weight_filler.CopyFrom(caffe_pb2.FillerParameter(type="msra"))
        if layer.name == "fc6":
            conv.kernel_size[:], conv.pad[:], conv.dilation[:] = [3], [size.hole], [size.hole]
        if layer.name == "conv1_1":
            # Pixels deviate by some 60 from their mean where msra counts on 1.
            conv.weight_filler.CopyFrom(caffe_pb2.FillerParameter(type="gaussian", std=0.0045))
        if layer.name.startswith(tuple(size.frozen)):
            for spec in layer.param:
                spec.lr_mult = 0


@torch.no_grad()
def fill_start(net: Net) -> None:
    """Set what training begins with in place of ImageNet's weights; the score layer keeps its filler's values.

    They are those of the package's own network (:data:`deeplab_caffe.zoo.default.CAMVID_MODEL`), where it is as wide.
    Otherwise they are the fillers', scaled on a batch of the net's data such that each filter's outputs have mean 0 and
    deviation 1: Kraehenbuehl et al., Data-dependent Initializations of Convolutional Neural Networks (ICLR 2016), first
    step.
    """
    known = CaffeModel(CAMVID_MODEL.weights).by_name
    for layer in net.layers:
        name = layer.param.name
        if not isinstance(layer.fact, ConvolutionFact) or name.startswith("fc8"):
            continue
        weight, bias = layer.blobs
        if known[name].blobs[0].shape == tuple(weight.shape):
            for blob, source in zip(layer.blobs, known[name].blobs, strict=True):
                blob.copy_(torch.from_numpy(np.array(source.data)).reshape(blob.shape))
            continue
        bottom = layer.param.bottom[0]
        out = layer.forward(net.forward(blobs=[bottom])[bottom])[0]
        mean, deviation = out.mean((0, 2, 3)), out.std((0, 2, 3)) + 1e-3
        weight.div_(deviation[:, None, None, None])
        bias.copy_((bias.flatten() - mean).div(deviation).reshape(bias.shape))


def solver(net: caffe_pb2.NetParameter, iterations: int, base_lr: float, seed: int) -> caffe_pb2.SolverParameter:
    """Return SGD with a polynomial fall of the rate."""
    param = caffe_pb2.SolverParameter(
        base_lr=base_lr,
        lr_policy="poly",
        power=0.9,
        max_iter=iterations,
        momentum=0.9,
        weight_decay=0.0005,
        random_seed=seed,
        snapshot_after_train=False,
        solver_mode=caffe_pb2.SolverParameter.CPU,
    )
    param.train_net_param.CopyFrom(net)
    return param
