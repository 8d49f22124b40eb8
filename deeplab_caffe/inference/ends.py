"""What stands behind the layers: from scores to labels."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from deeplab_caffe.crf import CRFParams, dense_crf
from deeplab_caffe.errors import NetError
from deeplab_caffe.inference.plan import Operation, Plan
from deeplab_caffe.layers.interp import Interp, Padding
from deeplab_caffe.ops.argmax import argmax_labels
from deeplab_caffe.ops.interp_argmax import interp_argmax

Pair = tuple[int, int]


@dataclass(frozen=True)
class End:
    """How labels come from a plan's last values.

    Attributes:
        plan: what is run before: the net's plan, without the INTERP layer at its end, and the PADDING layer behind that
            which crops, if it has them.
        blob: name under which the plan gives the scores.
        interp: the INTERP layer, or None.
        cut: rows and columns that the PADDING layer takes off, at the top and left and at the bottom and right.
    """

    plan: Plan
    blob: str
    interp: Interp | None
    cut: Pair = (0, 0)

    def size(self, scores: Tensor) -> Pair:
        """(H, W) of the net's output for these scores."""
        if self.interp is None:
            return tuple(scores.shape[2:])
        height, width = self.interp.top_shapes([tuple(scores.shape)])[0][2:]
        return height - sum(self.cut), width - sum(self.cut)

    def scores(self, scores: Tensor, size: Pair) -> Tensor:
        """float32 (N, C, *size), contiguous: the first rows and columns of the net's output."""
        scores, first = scores.float(), self.cut[0]
        if self.interp is not None:
            scores = self.interp.resize(scores)
        return scores[:, :, first : first + size[0], first : first + size[1]].contiguous()

    def labels(self, scores: Tensor, size: Pair) -> Tensor:
        """uint8 (N, *size): of equal scores the last class wins, as in the ARGMAX layer."""
        if self.interp is None:
            return argmax_labels(self.scores(scores, size), ties="last")
        height, width = self.interp.top_shapes([tuple(scores.shape)])[0][2:]
        begin, end = -self.interp.options["pad_beg"], -self.interp.options["pad_end"]
        scores = scores[:, :, begin : scores.shape[2] - end, begin : scores.shape[3] - end]
        return interp_argmax(scores, height, width, crop=size, origin=(self.cut[0],) * 2, ties="last")

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
    operations, cut = plan.operations, (0, 0)
    if operations and isinstance(operations[-1].layer, Padding):
        param = operations[-1].layer.param.padding_param
        if max(param.pad_beg, param.pad_end) <= 0 and operations[-2:-1] and _reads(operations[-1], operations[-2]):
            operations, cut = operations[:-1], (-param.pad_beg, -param.pad_end)
    last = operations[-1] if operations else None
    if last is None or not isinstance(last.layer, Interp):
        return End(plan, name, None)
    return End(replace(plan, operations=operations[:-1], outputs={name: last.bottoms[0]}), name, last.layer, cut)


def _reads(operation: Operation, maker: Operation) -> bool:
    return operation.bottoms == maker.tops
