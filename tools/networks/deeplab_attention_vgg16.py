"""Attention to scale: LargeFOV at three sizes of the image, and a net that says which size counts at each pixel."""

from __future__ import annotations

from tools.networks.layers import (
    OLD,
    argmax,
    data,
    dropout,
    eltwise,
    enlarged,
    half_and_three_quarters,
    interp,
    loss,
    losses_of_three_scales,
    mat_write,
    new_convolution,
    relu,
    scores,
    shrunk_label,
    silence,
)
from tools.networks.text import Net, folder, solvers, variables
from tools.networks.vgg import STEPS, fc6_fc7, trunk

NAME = "deeplab_attention_vgg16"
WHAT = """
Attention to scale (Chen et al., CVPR 2016): LargeFOV without pool5a for the image at 1, 3/4 and 1/2 of its size, in
three towers that share all parameters, and a net of two layers on their fc7 that weights the three scores at each
pixel. 34,663,256 parameters with 21 classes. Inputs have sides 8 * k + 1; the three sizes meet on the same pixels for
32 * k + 1 (321: 41 scores, 513: 65).
"""
SOURCE = """
Reconstructed: the authors' files were never found. Layers, names and the rates of the towers are those of a public
network that is built on theirs, with its own data set and solver taken out.
"""
TRAIN = """
The two layers of attention (att_conv1, att_fc) begin with gaussian weights and ten times the rate, as fc8 does. That
public network gives them no filler, as it starts from trained ones: zeros would never change, since neither layer has
a gradient while both are zero. Batches of 10, three of which make an update, stand for the paper's 30. Random scaling,
which the paper adds for its best result on test, is scale_factors in the transform_param.
"""
SUPERVISED = "With extra supervision, the paper's best: a loss for the scores of each size besides that of their sum."
PLAIN = f"Without extra supervision: one loss. {NAME}/train.prototxt has it."
SOLVER_SOURCE = (
    "30 images an update (batches of 10), policy, momentum and decay as the paper has them; 6,000 iterations are "
    "LargeFOV's, as the paper's number is not known"
)


def towers(net: Net) -> str:
    """Write the three towers and their scores, all at an eighth of the image's size; return the name of the full one's.

    The fc7 of the others are ``fc7_res05_interp`` and ``fc7_res075_interp``, the scores have the same endings.
    """
    images = ("data", *half_and_three_quarters(net, "shrink_data05", "shrink_data075"))
    suffixes = ("", "_res05", "_res075")
    rates = OLD if net.training else ()
    for suffix, image, what in zip(suffixes, images, ("as it is", "at 1/2", "at 3/4"), strict=True):
        net.comment(f"The image {what}.")
        pool5 = trunk(net, image, suffix, rates=rates, shared=True)
        fc6_fc7(net, pool5, 12, suffix, rates=rates, shared=True)
    net.comment("The scores.")
    stem = f"fc8_{net.exp}"
    for suffix in suffixes:
        scores(net, stem + suffix, f"fc7{suffix}", "fc8", kernel_size=1)
    enlarged(net, "fc7")
    enlarged(net, stem)
    return stem


def attend(net: Net, stem: str) -> str:
    """Write the attention and the sum of the scores that it weights; return the sum."""
    net.comment("The attention.")
    features = ("fc7", "fc7_res075_interp", "fc7_res05_interp")
    blob = net.layer("Concat", "fc7_concat", features, concat_param={"axis": 1})
    blob = new_convolution(net, "att_conv1", blob, num_output=512, kernel_size=3, pad=1)
    relu(net, "relu_att_conv1", blob)
    dropout(net, "drop_att_conv1", blob)
    blob = new_convolution(net, "att_fc", blob, num_output=len(features), kernel_size=1)
    blob = net.layer("Softmax", "attention", blob)
    weights = ("attention1", "attention2", "attention3")
    net.layer("Slice", "slice_attention", blob, weights, slice_param={"axis": 1, "slice_point": [1, 2]})
    products = [
        net.layer("SpatialProduct", f"fc8{size}_product", (f"{stem}{blob}", weight))
        for size, blob, weight in zip(
            ("", "_res075", "_res05"), ("", "_res075_interp", "_res05_interp"), weights, strict=True
        )
    ]
    return eltwise(net, "fc8_fusion", products)


def network(kind: str, *heads: str, supervised: bool = True) -> str:
    """Return the text of a net."""
    net = Net(kind, NAME, WHAT, SOURCE, *heads, variables(kind, "fc8_interp"))
    if net.training:
        data(net, crop=321, batch=10, data_dim=False)
    else:
        data(net, crop=513, label_type="NONE")
    stem = towers(net)
    fusion = attend(net, stem)
    if net.training:
        net.comment("The loss.")
        if supervised:
            losses_of_three_scales(net, fusion, stem, "label_shrink8")
        else:
            loss(net, fusion, shrunk_label(net, "label_shrink8"))
        return str(net)
    pixels = interp(net, "fc8_interp", fusion, zoom_factor=8)
    if kind == "test":
        with net.switched_off("In place of the scores, the labels can be written:"):
            argmax(net, "fc8_interp_argmax", pixels)
        mat_write(net, "fc8_mat", pixels, "fc8")
        silence(net, "label", "data_dim")
    return str(net)


def files() -> dict[str, str]:
    """Return the texts by path."""
    texts = {
        "train": network("train", TRAIN, SUPERVISED),
        "test": network("test"),
        "deploy": network("deploy"),
        **solvers("Attention to scale on VGG-16", SOLVER_SOURCE, **STEPS),
    }
    plain = network("train", TRAIN, PLAIN, supervised=False)
    return {**folder(NAME, texts), **folder(f"{NAME}_plain", {"train": plain})}
