"""What stands behind the layers: from scores to labels."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from deeplab_caffe.crf import CRFParams, dense_crf
from deeplab_caffe.errors import NetError
from deeplab_caffe.inference.plan import Plan
from deeplab_caffe.layers.vision import Interp
from deeplab_caffe.ops.argmax import argmax_labels
from deeplab_caffe.ops.interp import interp
from deeplab_caffe.ops.interp_argmax import interp_argmax

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
        return self.full_size_of(tuple(scores.shape[2:]))

    def full_size_of(self, size: Pair) -> Pair:
        """(H, W) after the INTERP layer, from that before."""
        return size if self.interp is None else tuple(self.interp.top_shapes([(1, 1, *size)])[0][2:])

    def scores(self, scores: Tensor, crop: Pair) -> Tensor:
        """float32 (N, C, *crop), contiguous: enlarged as the layer does and cut at the bottom and right."""
        scores = interp(scores.float(), **self.interp.options) if self.interp is not None else scores.float()
        return scores[:, :, : crop[0], : crop[1]].contiguous()

    def labels(self, scores: Tensor, crop: Pair) -> Tensor:
        """uint8 (N, *crop): of equal scores the last class wins, as in the ARGMAX layer."""
        if self.interp is None:
            return argmax_labels(self.scores(scores, crop), ties="last")
        begin, end = (self.interp.options[name] for name in ("pad_beg", "pad_end"))
        size = scores.shape[2:]
        scores = scores[:, :, -begin : size[0] + end, -begin : size[1] + end]
        return interp_argmax(scores, *self.full_size_of(size), crop=crop, ties="last")

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
