"""DeepLab v3 as torchvision has it, on ResNet-50 and ResNet-101, for the weights that `deeplab-caffe convert` reads."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tools.networks.layers import IGNORE, data, dropout, silence
from tools.networks.resnet import ResNet
from tools.networks.text import Net, Word, folder, solvers

# 255 times torchvision's means, of B, G and R; its division by 255 and by the deviations is in conv1's weights.
MEAN = [103.53, 116.28, 123.675]
SCALE_FACTORS = [0.5, 0.75, 1, 1.25, 1.5, 1.75, 2]
RATES = (12, 24, 36)
FILLED = {"weight_filler": {"type": "msra"}}
EDGES = {"align_corners": False}

HEAD = """
DeepLab v3 (Chen et al., 2017) on ResNet-{depth} as torchvision has it, which is not the paper's: scores at an eighth of
the size, rates 12, 24 and 36, no multi-grid, a 3x3 convolution before the last layer. The stride is that of a block's
3x3 convolution; the first block of a dilated stage has half the dilation of the others. {parameters} parameters with 21
classes, aux head included, BatchNorm's statistics not. The paper's own network was never released.
"""
OURS = """
Names are ours. Three things are no stock Caffe's: `round_mode: FLOOR` (BVLC has it), Interp with `align_corners:
false`, and Interp to the size of its second bottom. Images of any size; BGR minus mean_value.
"""
TRAIN = """
Written after torchvision's reference script, which trained on COCO: statistics of the batch, running 0.9 to 0.1, and an
auxiliary loss of weight 0.5. Weights to start from: those of deploy.prototxt; the aux head begins anew.
"""
VARIABLES = {
    "train": "Variables: NET_ID, EXP (voc12), DATA_ROOT, TRAIN_SET, NUM_LABELS (21).",
    "test": "Variables: NET_ID, EXP (voc12), DATA_ROOT, TEST_SET, NUM_LABELS (21). torchvision tests at a shorter side "
    "of 520; here images are padded to 513.",
    "deploy": "",
}
PARAMETERS = {50: "42,004,074", 101: "60,996,202"}
# Of 32 images each: 30 times the 10,582 of train_aug.
SOLVER = {
    "iter_size": 8,
    "lr_policy": "poly",
    "power": 0.9,
    "base_lr": 0.02,
    "average_loss": 20,
    "display": 20,
    "max_iter": 9920,
    "momentum": 0.9,
    "weight_decay": 0.0001,
    "snapshot": 4960,
}


def image(net: Net) -> str:
    """Write where the images come from; return ``data``."""
    if net.kind == "deploy":
        shape = {"shape": {"dim": [1, 3, 513, 513]}}
        return net.layer("Input", "data", (), input_param=shape, transform_param={"mean_value": MEAN})
    crop, batch = (480, 4) if net.training else (513, 1)
    return data(net, crop=crop, batch=batch, data_dim=False, scale_factors=SCALE_FACTORS, mean=MEAN)


def scores(net: Net, name: str, bottom: str, rate: float) -> str:
    """Write the scores, and bring them to the image's size; return the top."""
    fields: dict[str, Any] = {"num_output": net.num_labels, "kernel_size": 1}
    param = {}
    if net.training:
        fields |= {"weight_filler": {"type": "gaussian", "std": 0.01}}
        param = {"param": [{"lr_mult": rate}, {"lr_mult": rate}]}
    blob = net.layer("Convolution", f"{name}_{net.exp}", bottom, **param, convolution_param=fields)
    return net.layer("Interp", f"{name}_interp", (blob, "data"), interp_param=EDGES)


def network(net: Net, depth: int) -> None:
    """Write the net."""
    resnet = ResNet(
        depth,
        "branch2b",
        dilations={4: (1, 2), 5: (2, 4)},
        pool={"round_mode": Word("FLOOR")},
        batch_norm={"moving_average_fraction": 0.9} if net.training else {},
        scale_rates=(1, 1),
        shared=False,
    )
    new: dict[str, Any] = FILLED if net.training else {}

    def part(name: str, bottom: str, width: int, kernel: int, dilation: int = 1, rates: ResNet = resnet) -> str:
        fields: dict[str, Any] = {"num_output": width, "kernel_size": kernel}
        if kernel > 1:
            fields["pad"] = dilation
        if dilation > 1:
            fields["dilation"] = dilation
        return rates.conv_bn(net, name, bottom, norm=f"_{name}", act=f"{name}_relu", **fields, **new)

    end = resnet.trunk(net, image(net))
    net.comment("Atrous spatial pyramid pooling.")
    branches = [part("aspp_1", end, 256, 1), *(part(f"aspp_{rate}", end, 256, 3, rate) for rate in RATES)]
    pool = net.layer("Pooling", "image_pool", end, pooling_param={"pool": Word("AVE"), "global_pooling": True})
    pool = part("aspp_pool", pool, 256, 1)
    branches.append(net.layer("Interp", "aspp_pool_interp", (pool, end), interp_param=EDGES))
    blob = part("aspp_project", net.layer("Concat", "aspp", branches, concat_param={"axis": 1}), 256, 1)
    dropout(net, "aspp_drop", blob)
    pixels = scores(net, "fc1", part("head", blob, 256, 3), 1)
    if net.training:
        loss(net, "loss", pixels, 1)
        net.comment("The aux head.")
        fast = replace(resnet, conv_rates=(10,), scale_rates=(10, 10))
        blob = part("aux", resnet.blob_of(4), 256, 3, rates=fast)
        dropout(net, "aux_drop", blob, 0.1)
        loss(net, "loss_aux", scores(net, "fc1_aux", blob, 10), 0.5)
    if net.kind != "deploy":
        net.layer("SegAccuracy", "accuracy", (pixels, "label"), seg_accuracy_param={**IGNORE, "reset": net.training})
    if net.kind == "test":
        silence(net, "data_dim")


def loss(net: Net, name: str, pixels: str, weight: float) -> None:
    """Write a loss of each pixel's scores."""
    net.layer("SoftmaxWithLoss", name, (pixels, "label"), name, loss_weight=weight, loss_param=IGNORE)


def files() -> dict[str, str]:
    """Return the texts by path."""
    texts: dict[str, str] = {}
    for depth in (50, 101):
        name, title = f"deeplab_v3_resnet{depth}", f"DeepLab v3 (torchvision's) on ResNet-{depth}"
        own = solvers(title, "torchvision's values for COCO, as many epochs", **SOLVER)
        for kind, variables in VARIABLES.items():
            head = HEAD.format(depth=depth, parameters=PARAMETERS[depth])
            net = Net(kind, name, head, OURS, TRAIN if kind == "train" else "", variables)
            network(net, depth)
            own[kind] = str(net)
        texts |= folder(name, own)
    return texts
