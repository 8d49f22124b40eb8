"""DeepLab v2 on VGG-16: ASPP-L and ASPP-S (four branches fc6 to fc8) and LargeFOV with v2's training."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tools.networks.layers import (
    OLD,
    argmax,
    data,
    eltwise,
    interp,
    loss,
    mat_write,
    scores,
    shrunk_label,
    silence,
)
from tools.networks.text import Net, folder, solvers, variables
from tools.networks.vgg import fc6_fc7, pool, trunk

ASPP = """
DeepLab v2 (Chen et al., TPAMI 2017) on VGG-16 with {title}: four branches fc6 to fc8 with dilation {rates} in fc6,
summed up. 37,877,652 parameters with 21 classes. Inputs have sides 8 * k + 1.
"""
ASPP_RELEASED = """
As released, read from public copies of the file: all layers, names, fields and their order. The weights' names are
those of EXP = voc12.
"""
ASPP_S_RELEASED = """
Reconstructed: the file was not found. It is deeplab_aspp_vgg16, as released, with the paper's other rates.
"""
LARGEFOV = """
DeepLab-LargeFOV as the paper of DeepLab v2 (Chen et al., TPAMI 2017) trains it: the network of deeplab_largefov, with
`dilation` for `hole`, the policy "poly", batches of 10 and 20,000 iterations. 20,505,429 parameters with 21 classes.
Inputs have sides 8 * k + 1.
"""
LARGEFOV_RELEASED = """
Reconstructed: the file was not found. Layers and names are those of LargeFOV as released with DeepLab v1; data, loss
and solver are those of the released deeplab_aspp_vgg16.
"""


def aspp(*dilations: int) -> Callable[[Net, str], str]:
    """Return what writes one branch for each dilation, and their sum."""

    def write(net: Net, pool5: str) -> str:
        rates = OLD if net.training else ()
        branches = []
        for number, dilation in enumerate(dilations, 1):
            net.comment(f"Dilation {dilation}.")
            fc7 = fc6_fc7(net, pool5, dilation, f"_{number}", rates=rates)
            branches.append(scores(net, f"fc8_{net.exp}_{number}", fc7, kernel_size=1))
        return eltwise(net, f"fc8_{net.exp}", branches)

    return write


def largefov(net: Net, pool5: str) -> str:
    """Write LargeFOV's fc6 to fc8; return the scores."""
    pool5a = pool(net, "pool5a", pool5, 1, "AVE")
    fc7 = fc6_fc7(net, pool5a, 12, rates=OLD if net.training else ())
    return scores(net, f"fc8_{net.exp}", fc7, kernel_size=1)


def nets(name: str, heads: Sequence[str], write_head: Callable[[Net, str], str]) -> dict[str, str]:
    """Return the texts of train, test and deploy."""
    texts: dict[str, str] = {}
    for kind in ("train", "test", "deploy"):
        net = Net(kind, name, *heads, variables(kind, "fc8_interp"))
        # Without labels in a test, as released: the scores are written to files, and evaluated from there.
        if net.training:
            data(net, crop=321, batch=10)
        else:
            data(net, crop=513, label_type="NONE")
        net.comment("VGG-16.")
        fc8 = write_head(net, trunk(net, "data", rates=OLD if net.training else ()))
        if net.training:
            net.comment("The loss.")
            loss(net, fc8, shrunk_label(net, "label_shrink"))
            silence(net, "data_dim")
        else:
            pixels = interp(net, "fc8_interp", fc8, zoom_factor=8)
            if kind == "test":
                with net.switched_off("In place of the scores, the labels can be written:"):
                    argmax(net, "fc8_interp_argmax", pixels)
                mat_write(net, "fc8_mat", pixels, "fc8")
                silence(net, "label", "data_dim")
        texts[kind] = str(net)
    return texts


SOLVER = {
    "lr_policy": "poly",
    "power": 0.9,
    "base_lr": 0.001,
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
        "deeplab_aspp_vgg16": (
            "DeepLab v2 ASPP-L on VGG-16",
            (ASPP.format(title="ASPP-L", rates="6, 12, 18 and 24"), ASPP_RELEASED),
            aspp(6, 12, 18, 24),
        ),
        "deeplab_aspp_s_vgg16": (
            "DeepLab v2 ASPP-S on VGG-16",
            (ASPP.format(title="ASPP-S", rates="2, 4, 8 and 12"), ASPP_S_RELEASED),
            aspp(2, 4, 8, 12),
        ),
        "deeplab_largefov_vgg16_v2": (
            "DeepLab-LargeFOV as in the paper of DeepLab v2",
            (LARGEFOV, LARGEFOV_RELEASED),
            largefov,
        ),
    }
    texts: dict[str, str] = {}
    for name, (title, heads, write_head) in networks.items():
        texts |= folder(name, nets(name, heads, write_head) | solvers(title, "values as released with ASPP", **SOLVER))
    return texts
