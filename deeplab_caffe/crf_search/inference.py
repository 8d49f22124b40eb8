"""Many inferences on one image whose parameters differ little, sharing what they have in common."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from deeplab_caffe import _C
from deeplab_caffe.crf._view import view
from deeplab_caffe.crf.inference import _lattice
from deeplab_caffe.crf.memory import memory_errors
from deeplab_caffe.crf.params import CRFParams, PairwiseKernel, check_iterations
from deeplab_caffe.crf_search.grid import Point

# sigma_alpha and sigma_beta: what a lattice of colours depends on.
Sigmas = tuple[float, float]

# Lattice vertices for each pixel that memory is reckoned with; photographs have 0.2 to 3.
_VERTICES = 4


@dataclass(frozen=True)
class Settings:
    """What all points of a search have in common.

    Attributes:
        w2: weight of the smoothness kernel, ``pos_w``; 0 for none.
        sigma_gamma: its standard deviation in pixels, ``pos_xy_std``.
        iterations: mean field iterations.
        ignore_labels: true labels that are not counted.
    """

    w2: float = 3.0
    sigma_gamma: float = 3.0
    iterations: int = 10
    ignore_labels: tuple[int, ...] = (255,)

    def __post_init__(self) -> None:
        check_iterations(self.iterations)
        _ = self.params(Point(1, 1, 1)).kernels

    def params(self, point: Point) -> CRFParams:
        """Parameters for inference with a point of the grid."""
        return CRFParams(
            self.w2, self.sigma_gamma, point.w1, point.sigma_alpha, point.sigma_beta, iterations=self.iterations
        )


def marginals_by_point(
    scores: np.ndarray, image: np.ndarray, weights: Mapping[Sigmas, Sequence[float]], settings: Settings
) -> Iterator[tuple[Point, np.ndarray]]:
    """What :func:`dense_crf` gives for several points, with one lattice of positions, and of colours one for all w1.

    Args:
        scores: float32 ``(C, H, W)``, finite.
        image: uint8 RGB ``(H, W, 3)``.
        weights: values of w1 by (sigma_alpha, sigma_beta).
        settings: the rest of the parameters.

    Yields:
        A point and its marginals ``(C, H, W)``, the same memory each time.

    Raises:
        CRFError: standard deviations too small for the image.
        CRFMemoryError: not enough memory.
    """
    channels, height, width = scores.shape
    flat = scores.reshape(channels, height * width)
    with memory_errors(f"the dense CRF of a {width} x {height} image with {channels} labels"):
        smooth = []
        if settings.w2 != 0:
            kernel = PairwiseKernel(settings.w2, (settings.sigma_gamma,) * 2)
            smooth = [(_lattice(height, width, kernel, None, "rgb", True), settings.w2)]
        colours = image.astype(np.float32)
        marginals = np.empty(flat.shape, np.float32)
        for (alpha, beta), several in weights.items():
            lattice = _lattice(height, width, PairwiseKernel(1.0, (alpha,) * 2, (beta,) * 3), colours, "rgb", True)
            for w1 in several:
                field = _C.MeanField(view(flat), [*smooth, (lattice, w1)] if w1 != 0 else smooth, False)
                field.run(settings.iterations)
                field.marginals(view(marginals), False)
                yield Point(w1, alpha, beta), marginals.reshape(scores.shape)


def inference_bytes(channels: int, height: int, width: int) -> int:
    """Memory that :func:`marginals_by_point` takes, generously reckoned."""
    points = height * width
    lattices = _C.lattice_min_bytes(points, 2) + _C.lattice_min_bytes(points, 5) + _VERTICES * points * 6 * 12
    values = 2 * _C.lattice_value_bytes(_VERTICES * points, channels)
    return _C.mean_field_bytes(points, channels, 2) + lattices + values + 8 * points * channels
