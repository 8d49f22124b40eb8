"""The trunk of ResNet-50 and ResNet-101: BatchNorm and Scale after each convolution, dilation in place of stride."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from deeplab_caffe.convert.torchvision import block_names
from tools.networks.layers import params, relu
from tools.networks.text import MAX, Net


@dataclass(frozen=True)
class ResNet:
    """How a trunk is built.

    Attributes:
        depth: 50 or 101.
        stride_on: the convolution of a block that has the stride: ``"branch2a"`` (1x1, the original), or
            ``"branch2b"`` (3x3, torchvision's).
        strides: of the first block of the stages 3, 4 and 5.
        dilations: of the 3x3 convolutions by stage: the first block's and that of the others, or one for each block.
        pool: further fields of pool1's ``pooling_param``.
        batch_norm: fields of each ``batch_norm_param``.
        conv_rates: ``lr_mult`` of the convolutions.
        scale_rates: ``lr_mult`` of each Scale's two blobs.
        shared: whether parameters have names, those of the full image's tower, so that towers share them.
    """

    depth: int = 101
    stride_on: str = "branch2a"
    strides: tuple[int, int, int] = (2, 1, 1)
    dilations: Mapping[int, Sequence[int]] = field(default_factory=lambda: {4: (2, 2), 5: (4, 4)})
    pool: Mapping[str, Any] = field(default_factory=dict)
    batch_norm: Mapping[str, Any] = field(default_factory=lambda: {"use_global_stats": True})
    conv_rates: tuple[float, ...] = (1,)
    scale_rates: tuple[float, ...] = (0, 0)
    shared: bool = True

    def trunk(self, net: Net, bottom: str, suffix: str = "") -> str:
        """Write conv1 to res5c; return the last top.

        Args:
            net: the net.
            bottom: the image.
            suffix: of all names of layers and blobs, not of parameters.
        """
        fields = {"num_output": 64, "kernel_size": 7, "pad": 3, "stride": 2}
        blob = self.conv_bn(net, "conv1", bottom, suffix, norm="_conv1", act="conv1_relu", **fields)
        pool = {"pool": MAX, "kernel_size": 3, "stride": 2, "pad": 1, **self.pool}
        blob = net.layer("Pooling", f"pool1{suffix}", blob, pooling_param=pool)
        for stage in (2, 3, 4, 5):
            for index, block in enumerate(block_names(self.depth, stage)):
                blob = self._block(net, stage, index, block, blob, suffix)
        return blob

    def blob_of(self, stage: int, suffix: str = "") -> str:
        """Return the name of a stage's last blob."""
        return f"res{block_names(self.depth, stage)[-1]}{suffix}"

    def _block(self, net: Net, stage: int, index: int, block: str, bottom: str, suffix: str) -> str:
        width = 64 << (stage - 2)
        stride = self.strides[stage - 3] if index == 0 and stage > 2 else 1
        dilations = self.dilations.get(stage, (1, 1))
        dilation = dilations[index] if index < len(dilations) else dilations[-1]
        on_a = {"stride": stride if self.stride_on == "branch2a" else 1}
        on_b = {"stride": stride if self.stride_on == "branch2b" else 1}
        one = {"kernel_size": 1, "pad": 0}
        three = {"kernel_size": 3, "pad": dilation} | ({"dilation": dilation} if dilation > 1 else {})

        def part(branch: str, blob: str, act: bool, **fields: Any) -> str:
            name = f"res{block}_{branch}"
            norm = f"{block}_{branch}"
            return self.conv_bn(net, name, blob, suffix, norm=norm, act=f"{name}_relu" if act else None, **fields)

        shortcut = bottom
        if index == 0:
            shortcut = part("branch1", bottom, False, num_output=4 * width, **one, stride=stride)
        blob = part("branch2a", bottom, True, num_output=width, **one, **on_a)
        blob = part("branch2b", blob, True, num_output=width, **three, **on_b)
        blob = part("branch2c", blob, False, num_output=4 * width, **one, stride=1)
        blob = net.layer("Eltwise", f"res{block}{suffix}", (shortcut, blob))
        return relu(net, f"res{block}_relu{suffix}", blob)

    def conv_bn(
        self,
        net: Net,
        name: str,
        bottom: str,
        suffix: str = "",
        *,
        norm: str,
        act: str | None = None,
        **fields: Any,
    ) -> str:
        """Write a convolution without bias, BatchNorm, Scale, and a ReLU if ``act`` is its name; return the top.

        BatchNorm is called ``bn{norm}``, Scale ``scale{norm}``.
        """
        blob = net.layer(
            "Convolution",
            name + suffix,
            bottom,
            param=self._params(self.conv_rates, name),
            convolution_param={**fields, "bias_term": False},
        )
        self._in_place(net, "BatchNorm", f"bn{norm}", blob, suffix, (0, 0, 0), batch_norm_param=self.batch_norm)
        self._in_place(net, "Scale", f"scale{norm}", blob, suffix, self.scale_rates, scale_param={"bias_term": True})
        return relu(net, act + suffix, blob) if act else blob

    def _in_place(
        self, net: Net, type_: str, name: str, blob: str, suffix: str, rates: Sequence[float], **fields: Any
    ) -> None:
        param = [{key: spec[key] for key in spec if key != "decay_mult"} for spec in self._params(rates, name)]
        fields = {key: value for key, value in fields.items() if value}
        net.layer(type_, name + suffix, blob, blob, **fields, param=param)

    def _params(self, rates: Sequence[float], name: str) -> list[dict[str, Any]]:
        return params(rates, [f"{name}_{i}" for i in range(len(rates))] if self.shared else ())
