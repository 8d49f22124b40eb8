"""The dense CRF as a layer: DENSE_CRF."""

from __future__ import annotations

from torch import Tensor

from deeplab_caffe.crf import CRFParams, layer_inference
from deeplab_caffe.layers.base import Layer, NetContext, ReceptiveWindow, ResultKind, Shape, register
from deeplab_caffe.proto import caffe_pb2


@register
class DenseCRFLayer(Layer):
    """Mean-field inference in a fully connected CRF (layers/densecrf_layer.cpp).

    Bottoms: scores (N, C, H, W), data_dim (N, 1, 1, 2), and optionally the image (N, 3, H, W), BGR, mean-subtracted;
    without it there are no bilateral kernels. Top: marginals (N, C, H, W), or their logarithm with
    ``output_probability: false``; 0 outside the ``data_dim`` part. No gradient.
    """

    TYPE = "DenseCRF"
    capturable = per_item = False
    takes_answer = True
    onnx_advice = (
        "none of its operators filters on the permutohedral lattice: export a prototxt without the layer, and use "
        "`deeplab-caffe crf` or deeplab_caffe.DenseCRF2D on the model's scores"
    )
    kind = "crf"
    BOTTOMS = (2, 3)
    differentiable = False

    def __init__(self, param: caffe_pb2.LayerParameter, context: NetContext) -> None:
        super().__init__(param, context)
        crf = param.dense_crf_param
        try:
            self.crf = CRFParams(
                pos_w=tuple(crf.pos_w),
                pos_xy_std=tuple(crf.pos_xy_std),
                bi_w=tuple(crf.bi_w),
                bi_xy_std=tuple(crf.bi_xy_std),
                bi_rgb_std=tuple(crf.bi_rgb_std),
                iterations=crf.max_iter,
            )
        except ValueError as error:
            raise self.error(str(error)) from None

    @classmethod
    def result_kind(cls, bottom: ResultKind) -> ResultKind:
        return "crf"

    def top_shapes(self, bottom_shapes: list[Shape]) -> list[Shape]:
        bottom_shapes = self.images(bottom_shapes)
        scores, dim = bottom_shapes[:2]
        if tuple(dim) != (scores[0], 1, 1, 2):
            raise self.error(f"data_dim for scores {tuple(scores)} must be ({scores[0]}, 1, 1, 2), got {tuple(dim)}")
        if len(bottom_shapes) == 3 and tuple(bottom_shapes[2]) != (scores[0], 3, *scores[2:]):
            expected = (scores[0], 3, *scores[2:])
            raise self.error(f"the image for scores {tuple(scores)} must be {expected}, got {tuple(bottom_shapes[2])}")
        return [scores]

    def forward(self, *bottoms: Tensor) -> tuple[Tensor, ...]:
        scores, dim, *image = (blob.detach().float() for blob in self.as_images(*bottoms))
        try:
            top = layer_inference(
                scores,
                dim,
                image[0] if image else None,
                self.crf,
                log=not self.param.dense_crf_param.output_probability,
                image_of_first=self.context.crf_image_of_first,
            )
        except ValueError as error:
            raise self.error(str(error)) from None
        return (top.to(bottoms[0]),)

    def receptive_window(self) -> ReceptiveWindow | None:
        return None
