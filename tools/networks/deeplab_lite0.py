"""DeepLab v3 on EfficientNet-Lite0: the network that comes with the package, small enough to train on a processor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tools.networks.layers import IGNORE, data, dropout, params, relu, silence
from tools.networks.text import Net, Word, folder, solvers

# Names by the output stride, and the side of a crop: sides are that many times k, plus 1.
NAMES = {16: "deeplab_v3_lite0", 8: "deeplab_v3_lite0_os8"}
CROPS = {16: 385, 8: 361}
TESTED = 513
# Lite0's images are RGB, minus 127, over 128; order and 128 are in stem's weights.
MEAN = [127, 127, 127]
SCALE_FACTORS = [0.5, 0.625, 0.75, 0.875, 1, 1.125, 1.25, 1.375, 1.5]
# At stride 16. At stride 8 the layers look as far, at twice the rates, and have the same names.
RATES = (6, 12, 18)
WIDTH = 256
NEW_RATE = 5
# EfficientNet's stages: blocks, kernel, stride, expansion, channels. The last stride is dilation here.
STAGES = ((1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112), (4, 5, 2, 6, 192))
LAST = (1, 3, 1, 6, 320)

HEAD = """
DeepLab v3 (Chen et al., 2017) on EfficientNet-Lite0: scores at stride {stride}, dilation in place of what else Lite0
has of it, and atrous spatial pyramid pooling, with {width} channels, of depthwise 3x3 convolutions at rates {rates} and
of the whole image. The paper's network had ResNet-101 and plain convolutions. 3,715,157 parameters with 21 classes,
BatchNorm's statistics not.
"""
OURS = """
Names are ours; all layers are those of BVLC's last Caffe but Interp. Images of sides {stride} k + 1, BGR minus 127; at
these sizes the paddings are those of TensorFlow's SAME, with which Lite0 was trained.
"""
OTHER = """
Layers and shapes of parameters are those of {other}: weights of one are weights of the other.
"""
TRAIN = """
Start: `deeplab-caffe convert` makes it of Lite0's weights, with `--init-for {name}`. BatchNorm has the
statistics of the batch; the head learns five times as fast.
"""
VARIABLES = {
    "train": "Variables: NET_ID, EXP (voc12), DATA_ROOT, TRAIN_SET, NUM_LABELS (21).",
    "test": "Variables: NET_ID, EXP (voc12), DATA_ROOT, TEST_SET, NUM_LABELS (21).",
    "deploy": "",
}
SOLVER = {
    "lr_policy": "poly",
    "power": 0.9,
    "base_lr": 0.01,
    "average_loss": 20,
    "display": 20,
    "max_iter": 6000,
    "momentum": 0.9,
    "weight_decay": 0.0001,
    "snapshot": 2000,
    "random_seed": 2017,
}


class Lite0:
    """Write the parts of the net: each convolution with its BatchNorm and Scale.

    Args:
        net: the net.
        stride: of the scores.
    """

    def __init__(self, net: Net, stride: int) -> None:
        self.net = net
        self.stride = stride
        # How fast the layers that follow learn.
        self.rate = 1

    def part(self, name: str, bottom: str, act: str | None, kernel: int = 1, group: int = 1, **fields: Any) -> str:
        """Write a convolution without bias, BatchNorm, Scale, and what follows; return the top.

        Args:
            name: of the convolution; ``bn_{name}`` and ``scale_{name}`` are the others'.
            bottom: its bottom.
            act: ``"clip"`` (0 to 6), ``"relu"`` or None.
            kernel: its side; the padding keeps the size (but for the stride).
            group: the groups.
            fields: further fields of ``convolution_param``.
        """
        net, training = self.net, self.net.training
        if kernel > 1:
            fields = {"pad": kernel // 2 * fields.get("dilation", 1), "kernel_size": kernel, **fields}
        else:
            fields = {"kernel_size": 1, **fields}
        if group > 1:
            fields["group"] = group
        new = {"weight_filler": {"type": "msra"}} if training and self.rate > 1 else {}
        rates = {"param": params((self.rate,))} if training else {}
        blob = net.layer("Convolution", name, bottom, **rates, convolution_param={**fields, "bias_term": False, **new})
        norm: dict[str, Any] = {"eps": 0.001} | ({"moving_average_fraction": 0.99} if training else {})
        fixed = {"param": [{"lr_mult": 0}] * 3} if training else {}
        net.layer("BatchNorm", f"bn_{name}", blob, blob, **fixed, batch_norm_param=norm)
        rates = {"param": [{"lr_mult": self.rate, "decay_mult": 0}] * 2} if training else {}
        net.layer("Scale", f"scale_{name}", blob, blob, **rates, scale_param={"bias_term": True})
        if act == "relu":
            return relu(net, f"{name}_relu", blob)
        if act == "clip":
            return net.layer("Clip", f"{name}_clip", blob, blob, clip_param={"min": 0, "max": 6})
        return blob

    def block(self, index: int, bottom: str, width: int, out: int, kernel: int, stride: int, dilation: int) -> str:
        """Write an inverted bottleneck: expand, depthwise, project, and the sum where the shapes agree."""
        name = f"block{index}"
        inner = bottom if index == 0 else self.part(f"{name}_expand", bottom, "clip", num_output=width)
        fields = {"stride": stride} if stride > 1 else {}
        if dilation > 1:
            fields["dilation"] = dilation
        blob = self.part(f"{name}_depthwise", inner, "clip", kernel, width, num_output=width, **fields)
        return self.part(f"{name}_project", blob, None, num_output=out)

    def trunk(self, bottom: str, stages: Sequence[tuple[int, int, int, int, int]] = (*STAGES, LAST)) -> str:
        """Write stem and blocks; return the last top."""
        blob = self.part("stem", bottom, "clip", 3, num_output=32, stride=2)
        index, channels, total, dilation = 0, 32, 2, 1
        for count, kernel, stride, expansion, out in stages:
            for i in range(count):
                now, after = (stride if i == 0 else 1), dilation
                if now > 1 and total == self.stride:
                    # What the stride would have left out: the blocks after this one look twice as far.
                    now, after = 1, dilation * 2
                width = channels * expansion
                top = self.block(index, blob, width, out, kernel, now, dilation)
                dilation, total = after, total * now
                if i > 0:
                    top = self.net.layer("Eltwise", f"block{index}", (blob, top))
                blob, channels, index = top, out, index + 1
        return blob

    def aspp(self, bottom: str, channels: int = LAST[-1]) -> str:
        """Write atrous spatial pyramid pooling; return the top."""
        net, self.rate = self.net, NEW_RATE
        net.comment("Atrous spatial pyramid pooling.")
        branches = [self.part("aspp_1", bottom, "relu", num_output=WIDTH)]
        for rate in RATES:
            name = f"aspp_{rate}"
            fields = {"num_output": channels, "dilation": rate * 16 // self.stride}
            blob = self.part(f"{name}_depthwise", bottom, "relu", 3, channels, **fields)
            branches.append(self.part(f"{name}_project", blob, "relu", num_output=WIDTH))
        pool = net.layer("Pooling", "image_pool", bottom, pooling_param={"pool": Word("AVE"), "global_pooling": True})
        pool = self.part("aspp_pool", pool, "relu", num_output=WIDTH)
        branches.append(net.layer("Interp", "aspp_pool_interp", (pool, bottom)))
        blob = net.layer("Concat", "aspp", branches, concat_param={"axis": 1})
        return self.part("aspp_project", blob, "relu", num_output=WIDTH)


def network(net: Net, stride: int) -> None:
    """Write the net."""
    if net.kind == "deploy":
        shape = {"shape": {"dim": [1, 3, TESTED, TESTED]}}
        image = net.layer("Input", "data", (), input_param=shape, transform_param={"mean_value": MEAN})
    else:
        crop, batch = (CROPS[stride], 16) if net.training else (TESTED, 1)
        image = data(net, crop=crop, batch=batch, data_dim=False, scale_factors=SCALE_FACTORS, mean=MEAN)
    lite0 = Lite0(net, stride)
    blob = lite0.aspp(lite0.trunk(image))
    dropout(net, "aspp_drop", blob, 0.1)
    fields: dict[str, Any] = {"num_output": net.num_labels, "kernel_size": 1}
    rates = {}
    if net.training:
        fields |= {"weight_filler": {"type": "gaussian", "std": 0.01}}
        rates = {"param": params((NEW_RATE, 2 * NEW_RATE))}
    blob = net.layer("Convolution", f"fc1_{net.exp}", blob, **rates, convolution_param=fields)
    pixels = net.layer("Interp", "fc1_interp", blob, interp_param={"zoom_factor": stride})
    if net.training:
        net.layer("SoftmaxWithLoss", "loss", (pixels, "label"), "loss", loss_param=IGNORE)
    if net.kind != "deploy":
        net.layer("SegAccuracy", "accuracy", (pixels, "label"), seg_accuracy_param={**IGNORE, "reset": net.training})
    if net.kind == "test":
        silence(net, "data_dim")


def files() -> dict[str, str]:
    """Return the texts by path."""
    texts: dict[str, str] = {}
    for stride, name in NAMES.items():
        own = solvers(f"DeepLab v3 on EfficientNet-Lite0, stride {stride},", "values of ours", **SOLVER)
        said = {
            "stride": stride,
            "width": WIDTH,
            "rates": ", ".join(str(rate * 16 // stride) for rate in RATES),
            "other": NAMES[24 - stride],
        }
        heads = [text.format(**said) for text in (HEAD, OURS, OTHER)]
        for kind, variables in VARIABLES.items():
            net = Net(kind, name, *heads, TRAIN.format(name=name) if kind == "train" else "", variables)
            network(net, stride)
            own[kind] = str(net)
        texts |= folder(name, own)
    return texts
