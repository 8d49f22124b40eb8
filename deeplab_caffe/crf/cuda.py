"""The dense CRF on a GPU: mean field inference for one image or several, and what the DENSE_CRF layer does.

Each image's lattices are built on the GPU; one wait for it tells how many vertices they have, and whether the input was
fit. While a CUDA graph is being captured nothing waits: memory for the most vertices possible is taken (about
``8 * C * 6`` bytes a pixel), input is not checked, and colours must be uint8. A bad value then gives NaN.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from deeplab_caffe import _C
from deeplab_caffe.crf._checks import checked_scores, sizes
from deeplab_caffe.crf._device import Arrays, arrays_of, is_on_gpu, real_colours
from deeplab_caffe.crf.cuda_lattice import CudaLattice, build_lattices, clear_cache
from deeplab_caffe.crf.params import CRFParams, check_iterations, kernels_that_count
from deeplab_caffe.errors import CRFError

__all__ = ["CudaField", "Problem", "build_lattices", "clear_cache", "infer", "inspect", "layer_inference"]

# Images that share launches: more fill a large GPU no better, and take more memory.
_IMAGES_AT_ONCE = 8


class CudaField:
    """One mean field inference on a GPU, step by step, with its memory.

    Args:
        arrays: where it is.
        size: (H, W).
        labels: C.
        kernels: lattice, compatibility and normalization of each. The compatibility is a weight (Potts), or float32
            costs ``(C,)`` or ``(C, C)``: see :meth:`deeplab_caffe.crf.DenseCRF.add_pairwise`.
        half: store values on the lattices in half precision.
    """

    def __init__(
        self,
        arrays: Arrays,
        size: tuple[int, int],
        labels: int,
        kernels: Sequence[tuple[CudaLattice, float | np.ndarray, str]],
        half: bool = False,
    ) -> None:
        self._arrays = arrays
        self._lattices = [lattice for lattice, _, _ in kernels]  # whose memory the extension points into
        self._costs: list[Any] = []
        self._half = half
        self.iterations = 0
        taken = []
        for lattice, compatibility, normalization in kernels:
            factors = (None if one is None else arrays.view(one) for one in lattice.factors(normalization))
            if isinstance(compatibility, float):
                taken.append((lattice.handle, compatibility, *factors, None))
                continue
            self._costs.append(arrays.take(_cost_rows(compatibility, labels)))
            taken.append((lattice.handle, 1.0, *factors, arrays.view(self._costs[-1])))
        self.handle = _C.CudaMeanField(arrays.index, *size, labels, taken, half)
        self._workspace = arrays.empty(self.handle.workspace_bytes, "uint8")

    def start(self, scores: Any, probabilities: bool = False) -> None:
        """Q = softmax(scores) for float32 scores ``(C, H, W)`` of any strides, or for their logarithms."""
        arrays = self._arrays
        self.handle.start(arrays.view(scores), probabilities, arrays.view(self._workspace), arrays.stream)
        self.iterations = 0

    def run(self, iterations: int) -> None:
        """Does so many iterations."""
        _C.run_mean_fields([self.handle], iterations, self._arrays.stream)
        self.iterations += iterations

    def set_marginals(self, marginals: Any) -> None:
        """Goes on from float32 marginals ``(C, H, W)``."""
        self.handle.set_marginals(self._arrays.view(marginals), self._arrays.stream)

    def marginals(self, out: Any, logarithm: bool = False) -> None:
        """Writes Q, or log(max(Q, FLT_MIN)), to float32 ``(C, H, W)`` of any strides."""
        self.handle.marginals(self._arrays.view(out), logarithm, self._arrays.stream)

    def energies(self) -> _C.Energies:
        """The parts of the free energy; waits for the GPU."""
        arrays = self._arrays
        scratch = arrays.empty(self.handle.energy_bytes, "uint8")
        return self.handle.energies(arrays.view(scratch), arrays.stream)


def _cost_rows(costs: np.ndarray, labels: int) -> np.ndarray:
    """Minus the costs as the kernels take them: row k is what label k costs each other, padded to whole float4."""
    width = (labels + 3) // 4 * 4
    rows = np.zeros((1 if costs.ndim == 1 else width, width), np.float32)
    rows[: 1 if costs.ndim == 1 else labels, :labels] = -costs.T
    return rows


@dataclass(frozen=True)
class Problem:
    """One image, all on one GPU, any strides.

    Attributes:
        scores: float32 ``(C, H, W)``.
        image: uint8 or float32 ``(H, W, 3)``, or None.
        out: float32 ``(C, H, W)``, where the marginals go.
    """

    scores: Any
    image: Any | None
    out: Any


def infer(
    arrays: Arrays,
    problems: Sequence[Problem],
    params: CRFParams,
    order: str,
    iterations: int | None,
    *,
    sse_padding: bool = True,
    probabilities: bool = False,
    logarithm: bool = False,
    normalization: str = "after",
    half: bool = False,
    held: Mapping[tuple | None, CudaLattice] | None = None,
    whole_range: bool = False,
) -> None:
    """Inference for several images, some at a time in the same launches.

    Args:
        arrays: where the problems' arrays are.
        problems: images with the same number of labels.
        params: the kernels.
        order: of the images' channels, "rgb" or "bgr".
        iterations: instead of ``params.iterations``.
        sse_padding: see :meth:`deeplab_caffe.crf.Lattice.build`.
        probabilities: the scores are probabilities.
        logarithm: write log(max(Q, FLT_MIN)).
        normalization: where 1 / filter(1) goes: "after" the filter (the original), "before", "symmetric" or "none".
        half: store values on lattice vertices in half precision: half the bytes of the blurs. A message's relative
            error is then up to (d + 2) / 2048 for d features, 3e-3; iterations amplify it where labels compete. On a
            photograph of 160 x 120 with smooth scores of 21 labels and 10 iterations marginals moved by less than
            3e-4 at 99 of 100 pixels and by 7e-3 at worst, and 1 to 3 labels of 19,200 changed; on noise by less than
            5e-3 at 99 of 100, by 2e-2 at worst. (Measured with the kernels on the host, tests/cuda_on_host.)
        held: lattices of positions that the caller keeps: see :func:`build_lattices`.
        whole_range: do not look which colours an image has, as while a CUDA graph is captured: the same kernels then.

    Raises:
        CRFError: input that is not fit, as on the CPU.
        CRFMemoryError: not enough memory on the GPU.
    """
    iterations = params.iterations if iterations is None else check_iterations(iterations)
    for first in range(0, len(problems), _IMAGES_AT_ONCE):
        some = problems[first : first + _IMAGES_AT_ONCE]
        scores = [problem.scores for problem in some]
        if _C.is_capturing(arrays.index, arrays.stream):
            lattices = _lattices(arrays, some, params, order, iterations, sse_padding, held, whole_range)
        else:
            faults = _start_inspection(arrays, scores, probabilities)
            lattices = _lattices(arrays, some, params, order, iterations, sse_padding, held, whole_range)
            _finish_inspection(arrays, scores, probabilities, faults)
        fields = []
        for problem, own in zip(some, lattices, strict=True):
            labels, height, width = problem.scores.shape
            kernels = [(lattice, weight, normalization) for lattice, weight in own]
            fields.append(CudaField(arrays, (height, width), labels, kernels, half))
            fields[-1].start(problem.scores, probabilities)
        _C.run_mean_fields([field.handle for field in fields], iterations, arrays.stream)
        for problem, field in zip(some, fields, strict=True):
            field.marginals(problem.out, logarithm)


def _lattices(
    arrays: Arrays,
    problems: Sequence[Problem],
    params: CRFParams,
    order: str,
    iterations: int,
    sse_padding: bool,
    held: Mapping[tuple | None, CudaLattice] | None,
    whole_range: bool,
) -> list[list[tuple[CudaLattice, float]]]:
    """Lattice and weight of each kernel of each image."""
    owned = [kernels_that_count(params, iterations, colours=problem.image is not None) for problem in problems]
    requests = [
        (tuple(problem.scores.shape[1:]), kernel, problem.image)
        for problem, own in zip(problems, owned, strict=True)
        for kernel in own
    ]
    lattices = iter(build_lattices(arrays, requests, order, sse_padding, held, whole_range))
    return [[(next(lattices), kernel.weight) for kernel in own] for own in owned]


def inspect(arrays: Arrays, scores: Any, probabilities: bool) -> None:
    """Raises CRFError for float32 scores ``(C, H, W)`` that are not fit; waits for the GPU."""
    if not _C.is_capturing(arrays.index, arrays.stream):
        _finish_inspection(arrays, [scores], probabilities, _start_inspection(arrays, [scores], probabilities))


def _start_inspection(arrays: Arrays, scores: Sequence[Any], probabilities: bool) -> Any:
    faults = arrays.empty(len(scores), "int32")
    for i, one in enumerate(scores):
        _C.inspect_scores(arrays.view(one), probabilities, arrays.view(faults[i : i + 1]), arrays.stream)
    return faults


def _finish_inspection(arrays: Arrays, scores: Sequence[Any], probabilities: bool, faults: Any) -> None:
    for one, fault in zip(scores, _C.read_faults(arrays.view(faults), arrays.stream), strict=True):
        if fault:
            # Raises what the CPU raises for such scores.
            checked_scores(arrays.numpy(one), 3, "(C, H, W)", probabilities)
            raise AssertionError("the GPU refused scores that are fit")


def layer_inference(
    scores: Any,
    data_dim: Any | None,
    image: Any | None,
    params: CRFParams,
    *,
    iterations: int | None = None,
    output_probability: bool = True,
    image_of_first: bool = False,
    sse_padding: bool = True,
    half: bool = False,
) -> Any:
    """What :func:`deeplab_caffe.crf.layer_inference` is for scores on a GPU; only ``data_dim`` is read on the host."""
    arrays = arrays_of(scores)
    shape = tuple(scores.shape)
    if len(shape) != 4 or 0 in shape:
        raise CRFError(f"scores must be (N, C, H, W), got shape {shape}")
    if "float" not in arrays.dtype(scores):
        raise CRFError(f"scores must be floating point, got {arrays.dtype(scores)}")
    scores = arrays.float32(arrays.take(scores))
    if data_dim is not None and is_on_gpu(data_dim):
        data_dim = arrays.numpy(arrays.take(data_dim))
    if image is not None:
        image = arrays.take(image)
        came = tuple(image.shape)
        fits = len(came) == 4 and came[1] == 3 and came[2:] == shape[2:]
        if not fits or not (came[0] == shape[0] or (image_of_first and came[0] > 0)):
            raise CRFError(f"scores are {shape} but the image blob is {came}: expected (N, 3, H, W)")
        image = real_colours(arrays, image, "image")
    marginals = arrays.zeros(shape, "float32")
    problems = []
    for item, (height, width) in enumerate(sizes(data_dim, shape)):
        part = None if image is None else image[0 if image_of_first else item, :, :height, :width]
        colours = None if part is None else arrays.channels_last(part)
        problems.append(Problem(scores[item, :, :height, :width], colours, marginals[item, :, :height, :width]))
    logarithm = not output_probability
    infer(arrays, problems, params, "bgr", iterations, sse_padding=sse_padding, logarithm=logarithm, half=half)
    return marginals
