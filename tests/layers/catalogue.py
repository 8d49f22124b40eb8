"""An example of every layer type that needs no files: its parameters and bottoms that fit."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from tests.layers.build import noise


class Example(NamedTuple):
    """A layer's parameters, what makes its bottoms in a dtype, and its number of tops."""

    params: str
    bottoms: Callable[[torch.dtype], list[Tensor]]
    tops: int = 1


def labels(*shape: int, count: int = 4, dtype: torch.dtype = torch.float32) -> Tensor:
    """Labels below ``count``."""
    return torch.randint(0, count, shape, generator=torch.Generator().manual_seed(3)).to(dtype)


def _images(number: int = 1) -> Callable[[torch.dtype], list[Tensor]]:
    return lambda dtype: [noise(2, 4, 4, 5, seed=i, dtype=dtype) for i in range(number)]


def _pixel_labels(dtype: torch.dtype) -> list[Tensor]:
    return [noise(2, 4, 4, 5, dtype=dtype), labels(2, 1, 4, 5, dtype=dtype)]


def _image_labels(dtype: torch.dtype) -> list[Tensor]:
    return [noise(2, 4, 4, 5, dtype=dtype), labels(2, 3, 1, 1, dtype=dtype)]


def _item_labels(dtype: torch.dtype) -> list[Tensor]:
    return [noise(5, 4, 1, 1, dtype=dtype), labels(5, 1, 1, 1, dtype=dtype)]


def _probabilities(dtype: torch.dtype) -> list[Tensor]:
    scores, classes = _item_labels(dtype)
    return [scores.softmax(1), classes]


def _targets(dtype: torch.dtype) -> list[Tensor]:
    return [noise(2, 4, 3, 1, dtype=dtype), noise(2, 4, 3, 1, seed=1, dtype=dtype).sigmoid()]


def _scores_edges_sizes(dtype: torch.dtype) -> list[Tensor]:
    sizes = torch.tensor([[4, 5], [3, 4]], dtype=dtype)[:, None, None]
    return [noise(2, 4, 4, 5, dtype=dtype), noise(2, 1, 4, 5, seed=1, dtype=dtype).abs(), sizes]


def _vectors(dtype: torch.dtype) -> list[Tensor]:
    return [*(noise(5, 3, 1, 1, seed=i, dtype=dtype) for i in (1, 2)), labels(5, 1, 1, 1, count=2, dtype=dtype)]


_RECURRENT = (
    "recurrent_param { num_output: 2 expose_hidden: true weight_filler { type: 'uniform' min: -0.5 max: 0.5 } "
    "bias_filler { type: 'uniform' min: -0.5 max: 0.5 } }"
)


def _sequences(states: int) -> Callable[[torch.dtype], list[Tensor]]:
    """x, indicators, a static input and states of three steps of two sequences."""
    return lambda dtype: [
        noise(3, 2, 4, 1, dtype=dtype),
        torch.tensor([[0, 1], [1, 1], [1, 0]], dtype=dtype)[:, :, None, None],
        noise(2, 3, 1, 1, seed=1, dtype=dtype),
        *(noise(1, 2, 2, 1, seed=2 + i, dtype=dtype) for i in range(states)),
    ]


EXAMPLES: dict[str, Example] = {
    "AbsVal": Example("", _images()),
    "Accuracy": Example("", _item_labels),
    "AdaptiveBiasChannel": Example("", _image_labels),
    "ArgMax": Example("argmax_param { top_k: 2 out_max_val: true }", _images()),
    "BatchNorm": Example("", _images()),
    "Bias": Example("", _images()),
    "BiasChannel": Example("", _image_labels),
    "BatchReindex": Example("", lambda dtype: [noise(3, 4, 5, dtype=dtype), labels(6, count=3, dtype=dtype)]),
    "BNLL": Example("", _images()),
    "CensorLabel": Example(
        "censor_label_param { ignore_label: 255 }",
        lambda dtype: [labels(2, 1, 4, 5, dtype=dtype), labels(2, 2, 1, 1, dtype=dtype)],
    ),
    "Clip": Example("clip_param { min: -0.5 max: 0.75 }", _images()),
    "Concat": Example("", _images(2)),
    "ContrastiveLoss": Example("contrastive_loss_param { margin: 5 }", _vectors),
    "Convolution": Example(
        "convolution_param { num_output: 2 kernel_size: 3 hole: 2 pad: 2 "
        'weight_filler { type: "xavier" } bias_filler { type: "gaussian" } }',
        _images(),
    ),
    "Crop": Example(
        "crop_param { axis: 1 offset: 1 offset: 0 offset: 2 }",
        lambda dtype: [noise(2, 4, 4, 5, dtype=dtype), noise(2, 3, 2, 3, seed=1, dtype=dtype)],
    ),
    "Deconvolution": Example(
        "convolution_param { num_output: 2 kernel_size: 3 stride: 2 dilation: 2 pad: 1 "
        'weight_filler { type: "xavier" } bias_filler { type: "gaussian" } }',
        _images(),
    ),
    "DenseCRF": Example(
        "dense_crf_param { max_iter: 1 pos_xy_std: 3 pos_w: 3 bi_xy_std: 5 bi_rgb_std: 5 bi_w: 5 }",
        lambda dtype: [
            noise(2, 4, 4, 5, dtype=dtype),
            torch.tensor([4, 5], dtype=dtype).expand(2, 1, 1, 2).clone(),
            noise(2, 3, 4, 5, seed=1, dtype=dtype),
        ],
    ),
    "DomainTransform": Example("domain_transform_param { spatial_sigma: 5 range_sigma: 2 }", _scores_edges_sizes),
    "DomainTransformForwardOnly": Example("domain_transform_param { num_iter: 2 }", _scores_edges_sizes),
    "DominantChannel": Example("dominant_channel_param { top_k: 2 }", _images()),
    "Dropout": Example("", _images()),
    "Eltwise": Example("eltwise_param { operation: PROD }", _images(3)),
    "ELU": Example("elu_param { alpha: 0.5 }", _images()),
    "Embed": Example(
        "embed_param { num_output: 3 input_dim: 4 weight_filler { type: 'gaussian' } }",
        lambda dtype: [labels(2, 3, 4, 1, dtype=dtype)],
    ),
    "EuclideanLoss": Example("euclidean_loss_param { type: L2sqrt }", _images(2)),
    "Exp": Example("exp_param { base: 2 scale: 0.5 shift: 1 }", _images()),
    "Filter": Example(
        "",
        lambda dtype: [
            noise(4, 3, dtype=dtype),
            noise(4, 2, 2, seed=1, dtype=dtype),
            torch.ones(4, 1, dtype=dtype),
        ],
        tops=2,
    ),
    "Flatten": Example("", _images()),
    # Gains far from the threshold; a mean of 1 would make the gradient another than the derivative.
    "GainChannel": Example(
        'gain_channel_param { num_output_nz: 2 norm_mean: false gain_filler { type: "uniform" min: 1 max: 2 } }',
        _images(),
    ),
    "HingeLoss": Example("hinge_loss_param { norm: L2 }", _item_labels),
    "Histogram": Example("histogram_param { num_labels: 4 }", lambda dtype: [labels(2, 1, 4, 5, dtype=dtype)]),
    "IgnoreOverlay": Example(
        "ignore_overlay_param { ignore_label: 3 }",
        lambda dtype: [labels(2, 1, 4, 5, dtype=dtype), labels(2, 1, 4, 5, count=2, dtype=dtype)],
    ),
    "Im2col": Example("convolution_param { kernel_size: 3 }", _images()),
    "InfogainLoss": Example("", lambda dtype: [*_probabilities(dtype), noise(1, 1, 4, 4, seed=9, dtype=dtype).abs()]),
    "InnerProduct": Example(
        'inner_product_param { num_output: 3 weight_filler { type: "xavier" } bias_filler { type: "gaussian" } }',
        _images(),
    ),
    "Interp": Example("interp_param { zoom_factor: 2 }", _images()),
    "Log": Example("log_param { base: 2 scale: 0.5 shift: 9 }", _images()),
    "LRN": Example("lrn_param { local_size: 3 alpha: 0.5 beta: 0.75 k: 2 }", _images()),
    "LSTM": Example(_RECURRENT, _sequences(2), tops=3),
    "LSTMUnit": Example(
        "",
        lambda dtype: [
            noise(1, 3, 2, 1, dtype=dtype),
            noise(1, 3, 8, 1, seed=1, dtype=dtype),
            torch.tensor([0, 1, 1], dtype=dtype).reshape(1, 3, 1, 1),
        ],
        tops=2,
    ),
    "MultinomialLogisticLoss": Example("", _probabilities),
    "MVN": Example("", _images()),
    "OneHot": Example("onehot_param { num_labels: 5 }", lambda dtype: [labels(2, 3, 4, 5, dtype=dtype) - 1]),
    "Padding": Example("padding_param { pad_beg: 2 pad_end: -1 }", _images()),
    "Parameter": Example("parameter_param { shape { dim: 2 dim: 3 } }", lambda dtype: []),
    "Pooling": Example("pooling_param { pool: MAX kernel_size: 3 stride: 2 pad: 1 }", _images()),
    "Power": Example("power_param { power: 3 scale: 0.5 shift: 1 }", _images()),
    "PReLU": Example("", _images()),
    "Reduction": Example("reduction_param { operation: SUMSQ axis: -2 coeff: 0.5 }", _images()),
    "RelativeError": Example("", _images(2)),
    "ReLU": Example("relu_param { negative_slope: 0.1 }", _images()),
    "Reshape": Example("reshape_param { shape { dim: 0 dim: -1 dim: 5 } }", _images()),
    "RNN": Example(_RECURRENT, _sequences(1), tops=2),
    "SegAccuracy": Example("", _pixel_labels),
    "Scale": Example("scale_param { bias_term: true }", _images()),
    "Sigmoid": Example("", _images()),
    "SigmoidCrossEntropyLoss": Example("", _targets),
    "Silence": Example("", _images(2), tops=0),
    "Slice": Example("", _images(), tops=2),
    "Softmax": Example("", _images()),
    "SoftmaxWithLoss": Example("softmaxloss_param { ignore_label: 3 }", _pixel_labels),
    "SpatialProduct": Example(
        "", lambda dtype: [noise(2, 4, 4, 5, dtype=dtype), noise(2, 1, 4, 5, seed=1, dtype=dtype)]
    ),
    "Split": Example("", _images(), tops=2),
    "Swish": Example("swish_param { beta: 1.5 }", _images()),
    "SPP": Example("spp_param { pyramid_height: 2 pool: AVE }", _images()),
    "TanH": Example("", _images()),
    "Threshold": Example("threshold_param { threshold: 0.3 }", _images()),
    "Tile": Example("tile_param { tiles: 3 }", _images()),
    "UniqueLabel": Example("unique_label_param { max_labels: 4 }", lambda dtype: [labels(2, 1, 4, 5, dtype=dtype)]),
}
