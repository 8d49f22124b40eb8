"""ResNet-50 and -101 (He et al. 2015) as the prototxts have them: what their sources have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from deeplab_caffe.net import Net

DEPTHS = (50, 101)
EPS = 1e-5
FIRST = "conv1"


def told_strides(branch: str, whose: str) -> Callable[[Net], Iterator[str]]:
    """Return what tells the user where a net strides elsewhere than the source did: the same shapes, another network.

    Args:
        branch: the convolution of a stage's first block that strides in the source: ``branch2a`` or ``branch2b``.
        whose: the source's.
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
