"""What stands before and behind the layers: from bytes to a blob, from scores to labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from deeplab_caffe.crf import CRFParams, dense_crf
from deeplab_caffe.errors import NetError
from deeplab_caffe.inference.plan import Plan
from deeplab_caffe.layers import Shape
from deeplab_caffe.layers.vision import Interp
from deeplab_caffe.ops.argmax import argmax_labels
from deeplab_caffe.ops.interp import interp

Pair = tuple[int, int]


@dataclass(frozen=True)
class End:
    """How labels come from a plan's last values.

    Attributes:
        plan: what is run before: the net's plan, without the INTERP layer at its end if it has one.
        blob: name under which the plan gives the scores.
        interp: that layer, or None.
    """

    plan: Plan
    blob: str
    interp: Interp | None

    def full_size(self, scores: Tensor) -> Pair:
        """(H, W) of the scores after the INTERP layer."""
        if self.interp is None:
            return tuple(scores.shape[2:])
        return tuple(self.interp.top_shapes([tuple(scores.shape)])[0][2:])

    def scores(self, scores: Tensor, crop: Pair) -> Tensor:
        """float32 (N, C, *crop), contiguous: enlarged as the layer does and cut at the bottom and right."""
        scores = interp(scores.float(), **self.interp.options) if self.interp is not None else scores.float()
        return scores[:, :, : crop[0], : crop[1]].contiguous()

    def labels(self, scores: Tensor, crop: Pair) -> Tensor:
        """uint8 (N, *crop): of equal scores the last class wins, as in the ARGMAX layer."""
        return argmax_labels(self.scores(scores, crop), ties="last")

    def refined(self, scores: Tensor, images: Tensor, crf: CRFParams) -> Tensor:
        """uint8 (N, H, W) after the dense CRF, of equal marginals the first class, as in the densecrf programs."""
        marginals = dense_crf(self.scores(scores, tuple(images.shape[1:3])), images, crf)
        return argmax_labels(marginals, ties="first")


def end_of(plan: Plan) -> End:
    """The end of a plan with one output.

    Raises:
        NetError: it has several outputs.
    """
    if len(plan.outputs) != 1:
        raise NetError(f"labels come from one blob, the net was optimized for {', '.join(plan.outputs)}")
    (name,) = plan.outputs
    last = plan.operations[-1] if plan.operations else None
    if last is None or not isinstance(last.layer, Interp):
        return End(plan, name, None)
    return End(replace(plan, operations=plan.operations[:-1], outputs={name: last.bottoms[0]}), name, last.layer)


def shapes_of(plan: Plan, inputs: Sequence[Shape]) -> Mapping[str, Shape]:
    """Shapes of the outputs for these input shapes.

    Raises:
        NetError: they do not fit.
    """
    known = dict(zip(plan.inputs.values(), map(tuple, inputs), strict=True))
    for operation in plan.operations:
        tops = operation.layer.top_shapes([known[number] for number in operation.bottoms])
        known.update(zip(operation.tops, map(tuple, tops), strict=True))
    return {name: known[number] for name, number in plan.outputs.items()}


def preprocess(images: Tensor, mean: Sequence[float], size: Pair, dtype: torch.dtype) -> Tensor:
    """The net's input for RGB images: BGR minus mean, zeros below and to the right, channels-last.

    Args:
        images: uint8 (N, H, W, 3).
        mean: of B, G and R.
        size: (H, W) of the result.
        dtype: of the result.
    """
    bgr = images.flip(3).float() - torch.tensor(mean, dtype=torch.float32).to(images.device, non_blocking=True)
    height, width = images.shape[1:3]
    padded = F.pad(bgr, (0, 0, 0, size[1] - width, 0, size[0] - height))
    return padded.to(dtype).permute(0, 3, 1, 2)
