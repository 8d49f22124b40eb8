"""DeepLab v2 on ResNet-101: three towers for three sizes of the image, which share all parameters; ASPP or LargeFOV."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tools.networks.layers import (
    NO_LABEL,
    SCALE_FACTORS,
    argmax,
    data,
    dense_crf,
    eltwise,
    enlarged,
    half_and_three_quarters,
    interp,
    losses_of_three_scales,
    mat_write,
    scores,
    silence,
)
from tools.networks.resnet import ResNet
from tools.networks.text import MAX, Net, folder, solvers, variables

ASPP = """
DeepLab v2 (Chen et al., TPAMI 2017) on ResNet-101 with ASPP: the scores are the sum of four 3x3 convolutions with
dilation 6, 12, 18 and 24, for the image at 1, 1/2 and 3/4 of its size, and the largest of the three counts. The three
towers share all parameters: 44,153,980 with 21 classes. BatchNorm and Scale keep their values in training too. Inputs
have sides 8 * k + 1; the three sizes meet on the same pixels for 32 * k + 1 (321: 41 scores, 513: 65).
"""
ASPP_RELEASED = """
As released, read from public copies of the file: all layers, names, fields and their order. The weights' names are
those of EXP = voc12.
"""
ASPP_TEST = """
The release has the layers that are comments here as comments, too. `accuracy` adds up over all images, so that the
last image's third value is the mean IoU of all of them.
"""
LARGEFOV = """
DeepLab v2 (Chen et al., TPAMI 2017) on ResNet-101 with LargeFOV: the scores are one 3x3 convolution with dilation 12,
for the image at 1, 1/2 and 3/4 of its size, and the largest of the three counts. The three towers share all
parameters: 42,992,701 with 21 classes. BatchNorm and Scale keep their values in training too. Inputs have sides
8 * k + 1; the three sizes meet on the same pixels for 32 * k + 1 (321: 41 scores, 513: 65).
"""
LARGEFOV_RELEASED = """
Reconstructed: the file was not found. It is deeplab_aspp_resnet101, as released, with one head in place of four;
the head's names (fc1_${EXP}, fc1_${EXP}_w, fc1_${EXP}_b) are ours.
"""
TOWERS = {"": "data", "_res05": "data_res05", "_res075": "data_res075"}


def aspp_head(net: Net, bottom: str, suffix: str) -> str:
    """Write four convolutions and their sum; return it. A smaller image's share the full one's parameters."""
    stem = f"fc1_{net.exp}"
    branches = [
        scores(net, f"{stem}{suffix}_c{i}", bottom, f"{stem}_c{i}", kernel_size=3, pad=rate, dilation=rate)
        for i, rate in enumerate((6, 12, 18, 24))
    ]
    return eltwise(net, f"{stem}{suffix}", branches)


def largefov_head(net: Net, bottom: str, suffix: str) -> str:
    """Write one convolution; return its top."""
    stem = f"fc1_{net.exp}"
    return scores(net, f"{stem}{suffix}", bottom, stem, kernel_size=3, pad=12, dilation=12)


def network(net: Net, write_head: Callable[[Net, str, str], str]) -> str:
    """Write the net up to its loss, or up to the scores of each pixel; return the last top."""
    data(net, crop=321 if net.training else 513, data_dim=False, scale_factors=SCALE_FACTORS)
    half_and_three_quarters(net, TOWERS["_res05"], TOWERS["_res075"])
    ends = {}
    for suffix, image in TOWERS.items():
        net.comment({"": "The image as it is.", "_res05": "At 1/2.", "_res075": "At 3/4."}[suffix])
        ends[suffix] = ResNet().trunk(net, image, suffix)
    net.comment("The scores.")
    for suffix, end in ends.items():
        write_head(net, end, suffix)
    stem = f"fc1_{net.exp}"
    half, three_quarters = enlarged(net, stem)
    fusion = eltwise(net, "fc_fusion", (stem, three_quarters, half), MAX)
    if net.training:
        net.comment("The losses.")
        losses_of_three_scales(net, fusion, stem, "label_shrink")
        return fusion
    return interp(net, "fc1_interp", fusion, zoom_factor=8)


def end_of_test(net: Net, pixels: str) -> None:
    """Write what a test net does with the scores of each pixel."""
    with net.switched_off("To write the scores as MAT files:"):
        argmax(net, "fc1_interp_argmax", pixels)
        mat_write(net, "fc1_mat", pixels, "fc1")
    accuracy = {"ignore_label": NO_LABEL, "reset": False}
    net.layer("SegAccuracy", "accuracy", (pixels, "label"), "fc1_accuracy", seg_accuracy_param=accuracy)
    silence(net, "label", "data_dim")
    with net.switched_off("The dense CRF. For PASCAL VOC its parameters are others: preset DeepLab-ASPP-ResNet101."):
        dense_crf(net, pixels, pos=(4, 1), bi=(5, 21, 3))
        argmax(net, "crf_inf_argmax", "crf_inf")
        mat_write(net, "crf_mat", "crf_inf_argmax", "crf")
        net.layer("SegAccuracy", "crf_accuracy", ("crf_inf", "label"), seg_accuracy_param=accuracy)


def nets(name: str, heads: Sequence[str], write_head: Callable[[Net, str, str], str], test: str = "") -> dict[str, str]:
    """Return the texts of train, test and deploy."""
    texts: dict[str, str] = {}
    for kind in ("train", "test", "deploy"):
        net = Net(kind, name, *heads, test if kind == "test" else "", variables(kind, "fc1_interp"))
        pixels = network(net, write_head)
        if kind == "test":
            end_of_test(net, pixels)
        texts[kind] = str(net)
    return texts


SOLVER = {
    "iter_size": 10,
    "lr_policy": "poly",
    "power": 0.9,
    "base_lr": 0.00025,
    "average_loss": 20,
    "display": 20,
    "max_iter": 20000,
    "momentum": 0.9,
    "weight_decay": 0.0005,
    "snapshot": 10000,
}


def files() -> dict[str, str]:
    """Return the texts by path."""
    networks = {
        "deeplab_aspp_resnet101": ("DeepLab v2 ASPP", (ASPP, ASPP_RELEASED), aspp_head, ASPP_TEST),
        "deeplab_largefov_resnet101": ("DeepLab v2 LargeFOV", (LARGEFOV, LARGEFOV_RELEASED), largefov_head, ""),
    }
    texts: dict[str, str] = {}
    for name, (title, heads, write_head, test) in networks.items():
        both = solvers(f"{title} on ResNet-101", "values as released with ASPP", **SOLVER)
        texts |= folder(name, nets(name, heads, write_head, test) | both)
    return texts
