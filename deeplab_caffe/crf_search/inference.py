"""Many inferences on one image with similar parameters, which share lattices."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from deeplab_caffe import _C
from deeplab_caffe.crf.backend import LatticeRequest, PairwiseTerm
from deeplab_caffe.crf.cpu import CpuBackend
from deeplab_caffe.crf.inputs import NDArray
from deeplab_caffe.crf.params import CRFParams, PairwiseKernel, validate_iterations
from deeplab_caffe.crf_search.grid import Point

# (bi_xy_std, bi_rgb_std), on which a lattice of colours depends.
Sigmas = tuple[float, float]

# Lattice vertices per pixel for the memory estimate; photographs have 0.2 to 3.
_VERTICES = 4


@dataclass(frozen=True)
class SearchSettings:
    """The parameters that all points of a search have in common.

    Attributes:
        pos_w: weight of the smoothness kernel; 0: no such kernel.
        pos_xy_std: standard deviation of the smoothness kernel, in pixels.
        iterations: number of mean-field iterations.
        ignore_labels: true labels that are not counted.
    """

    pos_w: float = 3.0
    pos_xy_std: float = 3.0
    iterations: int = 10
    ignore_labels: tuple[int, ...] = (255,)

    def __post_init__(self) -> None:
        object.__setattr__(self, "iterations", validate_iterations(self.iterations))
        _ = self.params(Point(1, 1, 1)).kernels

    def params(self, point: Point) -> CRFParams:
        """Return the parameters for inference with a point of the grid."""
        return CRFParams(
            self.pos_w, self.pos_xy_std, point.bi_w, point.bi_xy_std, point.bi_rgb_std, iterations=self.iterations
        )


def marginals_by_point(
    scores: NDArray, image: NDArray, weights: Mapping[Sigmas, Sequence[float]], settings: SearchSettings
) -> Iterator[tuple[Point, NDArray]]:
    """Yield the marginals that :func:`deeplab_caffe.crf.dense_crf` gives for several points.

    All points share one lattice of positions, and points that differ only in the weight share one lattice of colours.

    Args:
        scores: float32 ``(C, H, W)``, finite.
        image: uint8 RGB ``(H, W, 3)``.
        weights: values of bi_w by (bi_xy_std, bi_rgb_std).
        settings: the other parameters.

    Yields:
        A point and its marginals ``(C, H, W)``, in the same memory each time.

    Raises:
        CRFError: standard deviations are too small for the image.
        CRFMemoryError: there is not enough memory.
    """
    backend = CpuBackend()
    size = (image.shape[0], image.shape[1])
    smooth = []
    if settings.pos_w != 0:
        kernel = PairwiseKernel.of(settings.pos_w, settings.pos_xy_std)
        smooth = [PairwiseTerm(one, settings.pos_w) for one in backend.pixel_lattices([LatticeRequest(size, kernel)])]
    colours = backend.colours(image)
    marginals = backend.empty(scores.shape)
    for (xy_std, rgb_std), several in weights.items():
        kernel = PairwiseKernel.of(1.0, xy_std, rgb_std)
        (lattice,) = backend.pixel_lattices([LatticeRequest(size, kernel, colours)])
        for weight in several:
            terms = [*smooth, PairwiseTerm(lattice, weight)] if weight != 0 else smooth
            field = backend.field(scores.shape, terms)
            field.start(scores)
            field.run(settings.iterations)
            yield Point(weight, xy_std, rgb_std), field.marginals(marginals)


def inference_bytes(num_classes: int, height: int, width: int) -> int:
    """Return an upper estimate of the memory that :func:`marginals_by_point` takes."""
    points = height * width
    lattices = _C.lattice_min_bytes(points, 2) + _C.lattice_min_bytes(points, 5) + _VERTICES * points * 6 * 12
    values = 2 * _C.lattice_value_bytes(_VERTICES * points, num_classes)
    return _C.mean_field_bytes(points, num_classes, 2) + lattices + values + 8 * points * num_classes
