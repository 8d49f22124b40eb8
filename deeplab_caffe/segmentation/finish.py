"""The second half of :class:`deeplab_caffe.Segmenter`: from the network's output to labels, without the network."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from deeplab_caffe.crf import CRFParams
from deeplab_caffe.data.classes import Classes
from deeplab_caffe.net.head import Output
from deeplab_caffe.ops.preprocess import as_tensor
from deeplab_caffe.segmentation.result import WITHOUT_NAMES, Segmentation

# The smallest max_side.
LEAST_SIDE = 8


@torch.no_grad()
def finish(
    output: Output,
    image: np.ndarray,
    *,
    crf: CRFParams | None = None,
    classes: Classes | None = None,
    max_side: int | None = None,
    labels_only: bool = False,
) -> Segmentation:
    """Compute the result of :meth:`deeplab_caffe.Segmenter.segment` from :meth:`deeplab_caffe.Segmenter.output`.

    Args:
        output: the network's output for the image.
        image: uint8 RGB (H, W, 3).
        crf: parameters of the dense CRF, which runs on the output's device; None for none.
        classes: names and colours of the labels; None: ``class 0``, ``class 1``, ...
        max_side: the segmenter's ``max_side``.
        labels_only: as for :meth:`deeplab_caffe.Segmenter.segment`.

    Raises:
        CRFError: the CRF refuses the scores.
    """
    pixels = as_tensor(reduced(image, max_side))[None].to(output.values.device)
    found = output.results(wanted_of(labels_only), pixels, crf)
    num_classes = 2 if output.is_foreground else output.values.shape[1]
    return segmentation_of(found, image, output.activation, num_classes, classes)


def wanted_of(labels_only: bool) -> tuple[str, ...]:
    """Return the names of the results that :func:`segmentation_of` needs."""
    return ("labels",) if labels_only else ("labels", "scores", "marginals")


def segmentation_of(
    found: Mapping[str, Tensor], image: np.ndarray, activation: str, num_classes: int, classes: Classes | None
) -> Segmentation:
    """Return the segmentation of the first image in results of :meth:`deeplab_caffe.net.head.Output.results`."""
    arrays = {name: each[0].cpu().numpy() for name, each in found.items()}
    labels = brought_back(arrays["labels"], image)
    scores = arrays["scores"] if "scores" in arrays else np.empty((num_classes, 0, 0), np.float32)
    return Segmentation(
        labels, scores, arrays.get("marginals"), activation, WITHOUT_NAMES if classes is None else classes
    )


def reduced(image: np.ndarray, max_side: int | None) -> np.ndarray:
    """Return an image (H, W, 3) reduced so that no side is above ``max_side``; unchanged if it is None."""
    side = max(image.shape[:2])
    if max_side is None or side <= max_side:
        return image
    height, width = (max(1, round(size * max_side / side)) for size in image.shape[:2])
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))


def brought_back(labels: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Return the labels of a reduced image, resized to the size of the original image."""
    if labels.shape == image.shape[:2]:
        return labels
    full = Image.fromarray(labels).resize((image.shape[1], image.shape[0]), Image.Resampling.NEAREST)
    return np.asarray(full)
