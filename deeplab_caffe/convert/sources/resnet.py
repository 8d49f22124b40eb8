"""Common parts of the sources of ResNet-50 and -101 (He et al. 2015)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from deeplab_caffe.net import Net

DEPTHS = (50, 101)
EPS = 1e-5
FIRST = "conv1"


def told_strides(branch: str, whose: str) -> Callable[[Net], Iterator[str]]:
    """Return a function that tells the user if a net strides in other layers than the source: the shapes are the same.

    Args:
        branch: the convolution of a stage's first block that strides in the source: ``branch2a`` or ``branch2b``.
        whose: the source, in the genitive, for the message.
    """

    def remarks(net: Net) -> Iterator[str]:
        layer = net.by_name.get(f"res3a_{branch}")
        if layer is not None and 2 not in layer.param.convolution_param.stride:
            other = "branch2b" if branch == "branch2a" else "branch2a"
            yield (
                f"{whose} networks stride in {branch}, this net in {other}, and their first poolings pad otherwise: "
                "the features are near the source's, not equal to them"
            )

    return remarks
