"""The trunk of VGG-16 as DeepLab has it: pooling over 3x3, dilation 2 in conv5, scores at an eighth of the size."""

from __future__ import annotations

from collections.abc import Sequence

from tools.networks.layers import convolution, dropout, relu
from tools.networks.text import Net, Word

WIDTHS = {1: (64, 64), 2: (128, 128), 3: (256, 256, 256), 4: (512, 512, 512), 5: (512, 512, 512)}
# Of a solver as LargeFOV's of DeepLab v1, with 30 images an update in batches of 10.
STEPS = {
    "iter_size": 3,
    "lr_policy": "step",
    "gamma": 0.1,
    "stepsize": 2000,
    "base_lr": 0.001,
    "average_loss": 20,
    "display": 20,
    "max_iter": 6000,
    "momentum": 0.9,
    "weight_decay": 0.0005,
    "snapshot": 2000,
}


def pool(net: Net, name: str, bottom: str, stride: int, method: str = "MAX") -> str:
    """Write a pooling over 3x3; return its top."""
    fields = {"pool": Word(method), "kernel_size": 3, "stride": stride, "pad": 1}
    return net.layer("Pooling", name, bottom, pooling_param=fields)


def trunk(net: Net, bottom: str, suffix: str = "", *, rates: Sequence[float] = (), shared: bool = False) -> str:
    """Write conv1_1 to pool5; return the last top.

    Args:
        net: the net.
        bottom: the image.
        suffix: of all names of layers and blobs.
        rates: ``lr_mult`` of weights and biases; none for a net that does not learn.
        shared: whether the parameters have names, which have no suffix.
    """
    blob = bottom
    for stage, widths in WIDTHS.items():
        dilated = {"pad": 2, "dilation": 2} if stage == 5 else {"pad": 1}
        for index, width in enumerate(widths, 1):
            name = f"conv{stage}_{index}"
            share = name if shared else None
            fields = {"num_output": width, "kernel_size": 3, **dilated}
            blob = convolution(net, name + suffix, blob, rates=rates, share=share, **fields)
            relu(net, f"relu{stage}_{index}{suffix}", blob)
        blob = pool(net, f"pool{stage}{suffix}", blob, 2 if stage < 4 else 1)
    return blob


def fc6_fc7(
    net: Net,
    bottom: str,
    dilation: int,
    suffix: str = "",
    *,
    rates: Sequence[float] = (),
    shared: bool = False,
) -> str:
    """Write fc6 (3x3) and fc7 (1x1) of 1024 channels, with ReLU and dropout; return the last top."""
    blob = bottom
    for number, kernel in (("6", {"kernel_size": 3, "pad": dilation, "dilation": dilation}), ("7", {"kernel_size": 1})):
        name = f"fc{number}{suffix}"
        share = f"fc{number}" if shared else None
        blob = convolution(net, name, blob, rates=rates, share=share, num_output=1024, **kernel)
        relu(net, f"relu{number}{suffix}", blob)
        dropout(net, f"drop{number}{suffix}", blob)
    return blob
