"""A dense CRF as an object: kernels and lattices once, then as many scores as there are, at once or step by step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from deeplab_caffe import _C
from deeplab_caffe.crf._arrays import as_kind_of, to_numpy
from deeplab_caffe.crf._checks import checked_colours, checked_scores, misfit
from deeplab_caffe.crf._view import float32, view
from deeplab_caffe.crf.inference import _lattice
from deeplab_caffe.crf.lattice import Lattice
from deeplab_caffe.crf.memory import check_memory, memory_errors
from deeplab_caffe.crf.params import CRFParams, check_iterations
from deeplab_caffe.errors import CRFError

Normalization = Literal["after", "before", "symmetric", "none"]
# One number w, that is Potts: -w where labels agree; a cost (C,) of each label for agreeing; or costs (C, C).
Compatibility = Any


@dataclass(frozen=True)
class Energies:
    """Parts of the mean field's free energy (Kraehenbuehl and Koltun, 2011), summed over all points.

    Attributes:
        entropy: sum of Q log Q, which is minus the entropy of Q.
        unary: sum of -score * Q.
        pairwise: by kernel in the order in which they were added, sum of Q times what its message costs.
    """

    entropy: float
    unary: float
    pairwise: tuple[float, ...]

    @property
    def kl_divergence(self) -> float:
        """Their sum: KL(Q || P) up to a constant, as pydensecrf has it (pairs count twice, each from either end)."""
        return self.entropy + self.unary + sum(self.pairwise)


class Inference:
    """One run of mean field inference, step by step. Made by :meth:`DenseCRF.start`."""

    def __init__(self, field: _C.MeanField, scores: Any) -> None:
        self._field = field
        self._scores = scores

    @property
    def iterations(self) -> int:
        """Iterations done so far."""
        return self._field.iterations

    def step(self, count: int = 1) -> Inference:
        """Does so many more iterations, and returns itself."""
        self._field.run(check_iterations(count))
        return self

    def marginals(self) -> Any:
        """Q, float32 of the shape and kind of the scores."""
        return _marginals(self._field, self._scores)

    def set_marginals(self, marginals: Any) -> Inference:
        """Goes on from these marginals, of the shape of the scores; returns itself."""
        array = to_numpy(marginals, "marginals")
        if array.shape != tuple(self._scores.shape) or not np.issubdtype(array.dtype, np.floating):
            raise CRFError(
                f"marginals must be floating point {tuple(self._scores.shape)}, got {array.dtype} {array.shape}"
            )
        self._field.set_marginals(view(float32(array).reshape(len(array), -1)))
        return self

    def energies(self) -> Energies:
        """The energies of the marginals as they are now."""
        parts = self._field.energies()
        return Energies(parts.entropy, parts.unary, tuple(parts.pairwise))


class DenseCRF:
    """A dense CRF over points with any features.

    >>> crf = DenseCRF(points)
    >>> crf.add_pairwise(features, compatibility=3, normalization="symmetric")  # (N, d)
    >>> marginals = crf.infer(scores, iterations=5)  # (C, N)

    On the CPU. Arrays may be numpy's or torch's; marginals are of the kind of the scores. An object may be used by one
    thread at a time.

    Args:
        points: N.
        sse_padding: see :meth:`Lattice.build`.

    Raises:
        CRFError: a number of points that is none.
    """

    def __init__(self, points: int, *, sse_padding: bool = True) -> None:
        if isinstance(points, bool) or points != int(points) or not 1 <= points < 2**31 - 1:
            raise CRFError(f"points must be a whole number from 1 to 2^31 - 2, got {points!r}")
        self.points = int(points)
        self._sse_padding = sse_padding
        self._kernels: list[tuple[_C.Lattice, Compatibility, _C.Normalization]] = []
        self._spare: _C.MeanField | None = None
        self._spare_labels = 0

    @property
    def lattices(self) -> tuple[Lattice, ...]:
        """The kernels' lattices, in the order in which they were added."""
        return tuple(Lattice(lattice) for lattice, _, _ in self._kernels)

    def add_pairwise(
        self, features: Any, compatibility: Compatibility = 1.0, normalization: Normalization = "after"
    ) -> None:
        """Adds a Gaussian kernel.

        Args:
            features: ``(N, d)``, d from 1 to 16, each divided by its standard deviation.
            compatibility: a number w for Potts, which takes w from the energy of pairs that agree; or the costs of
                agreeing ``(C,)``, or of label l (row) beside label k (column) ``(C, C)``, added to the energy.
            normalization: of the filter, which in itself sums to no particular number: ``"after"`` divides each point's
                message by filter(1) there (DeepLab v1), ``"before"`` what each point sends, ``"symmetric"`` divides
                both by the root of it (pydensecrf's default), ``"none"`` neither.

        Raises:
            CRFError: features or compatibilities that are not fit.
            CRFMemoryError: not enough memory.
        """
        array = to_numpy(features, "features")
        if array.ndim != 2 or len(array) != self.points:
            raise CRFError(f"features must be ({self.points}, d), got {array.shape}")
        self._check(compatibility, normalization)
        self._add(Lattice.build(array, sse_padding=self._sse_padding)._handle, compatibility, normalization)

    def infer(self, scores: Any, iterations: int = 10, *, probabilities: bool = False) -> Any:
        """Marginals after so many iterations, float32 of the shape and kind of the scores: see :meth:`start`."""
        iterations = check_iterations(iterations)
        array = self._checked(scores, probabilities)
        labels = len(array)
        field, self._spare = self._spare, None
        if field is None or self._spare_labels != labels:
            field = self._field(labels)
        field.start(view(array), probabilities)
        field.run(iterations)
        self._spare, self._spare_labels = field, labels
        return _marginals(field, scores)

    def start(self, scores: Any, *, probabilities: bool = False) -> Inference:
        """Begins inference that goes step by step.

        Args:
            scores: ``(C, N)``, see :func:`dense_crf`.
            probabilities: the scores are probabilities.

        Raises:
            CRFError: scores that are not fit, or compatibilities for another number of labels.
            CRFMemoryError: not enough memory.
        """
        array = self._checked(scores, probabilities)
        field = self._field(len(array))
        field.start(view(array), probabilities)
        return Inference(field, scores)

    def _checked(self, scores: Any, probabilities: bool) -> np.ndarray:
        array = checked_scores(to_numpy(scores, "scores"), 2, "(C, N)", probabilities)
        if array.shape[1] != self.points:
            raise CRFError(f"scores must be (C, {self.points}), got {array.shape}")
        return array

    def _check(self, compatibility: Compatibility, normalization: str) -> None:
        if normalization not in ("after", "before", "symmetric", "none"):
            raise CRFError(f"normalization must be after, before, symmetric or none, got {normalization!r}")
        _costs(compatibility)

    def _add(self, lattice: _C.Lattice, compatibility: Compatibility, normalization: str) -> None:
        self._kernels.append((lattice, _costs(compatibility), getattr(_C.Normalization, normalization.upper())))
        self._spare = None

    def _field(self, labels: int) -> _C.MeanField:
        what = f"the dense CRF of {self.points:,} points with {labels} labels"
        needed = _C.mean_field_bytes(self.points, labels, len(self._kernels))
        check_memory(needed + sum(_C.lattice_value_bytes(one.vertices, labels) for one, _, _ in self._kernels), what)
        kernels = []
        for i, (lattice, costs, normalization) in enumerate(self._kernels):
            if isinstance(costs, float):
                kernels.append((lattice, costs, normalization, []))
                continue
            if len(costs) != labels:
                raise CRFError(f"the compatibility of kernel {i} is {costs.shape}, but there are {labels} labels")
            # A vector of one label is as long as a matrix of one, and means the same.
            kernels.append((lattice, 1.0, normalization, costs.ravel().tolist()))
        with memory_errors(what):
            return _C.MeanField(labels, self.points, kernels)


class DenseCRF2D(DenseCRF):
    """A dense CRF over the pixels of an image.

    >>> crf = DenseCRF2D.for_image(image, CRFParams.for_model("DeepLab-LargeFOV"))
    >>> for scores in several:  # (C, H, W)
    ...     marginals = crf.infer(scores)
    >>> run = crf.start(scores)
    >>> run.step().energies().kl_divergence

    With ``"after"`` and Potts, the defaults, the marginals are :func:`dense_crf`'s to the bit.

    Args:
        size: (H, W).
        sse_padding: see :meth:`Lattice.build`.

    Raises:
        CRFError: a size that is none.
    """

    def __init__(self, size: tuple[int, int], *, sse_padding: bool = True) -> None:
        height, width = size
        super().__init__(height * width, sse_padding=sse_padding)
        self.size = (int(height), int(width))

    @classmethod
    def for_image(
        cls, image: Any, params: CRFParams | None = None, normalization: Normalization = "after"
    ) -> DenseCRF2D:
        """A CRF with the kernels of ``params`` on an image ``(H, W, 3)``, RGB from 0 to 255."""
        array = to_numpy(image, "image")
        if array.ndim != 3 or array.shape[2] != 3:
            raise CRFError(f"image must be (H, W, 3), got {array.shape}")
        crf = cls(array.shape[:2])
        for kernel in (params or CRFParams()).kernels:
            if kernel.rgb_std is None:
                crf.add_gaussian(kernel.xy_std, kernel.weight, normalization)
            else:
                crf.add_bilateral(array, kernel.xy_std, kernel.rgb_std, kernel.weight, normalization)
        return crf

    def add_gaussian(
        self,
        xy_std: float | tuple[float, float],
        compatibility: Compatibility = 3.0,
        normalization: Normalization = "after",
    ) -> None:
        """Adds a kernel of positions alone; ``xy_std`` in pixels, one number or (x, y). Else as :meth:`add_pairwise`.

        Its lattice depends on the size alone and is kept for the next image of that size.
        """
        self._check(compatibility, normalization)
        (kernel,) = CRFParams(1.0, (xy_std,), (), (), ()).kernels
        with memory_errors(self._check_memory(2)):
            lattice = _lattice(*self.size, kernel, None, "rgb", self._sse_padding)
        self._add(lattice, compatibility, normalization)

    def add_bilateral(
        self,
        image: Any,
        xy_std: float | tuple[float, float],
        rgb_std: float | tuple[float, float, float],
        compatibility: Compatibility = 5.0,
        normalization: Normalization = "after",
    ) -> None:
        """Adds a kernel of positions and colours.

        Args:
            image: RGB ``(H, W, 3)``, from 0 to 255, uint8 or any real type.
            xy_std: standard deviation of position, in pixels; one number or (x, y).
            rgb_std: of colour, in grey levels; one number or (r, g, b).
            compatibility: see :meth:`add_pairwise`.
            normalization: see :meth:`add_pairwise`.
        """
        self._check(compatibility, normalization)
        array = to_numpy(image, "image")
        if array.shape != (*self.size, 3):
            raise CRFError(f"image must be {(*self.size, 3)}, got {array.shape}")
        (kernel,) = CRFParams((), (), 1.0, (xy_std,), (rgb_std,)).kernels
        with memory_errors(self._check_memory(5)):  # before colours are converted
            lattice = _lattice(*self.size, kernel, checked_colours(array, "image"), "rgb", self._sse_padding)
        self._add(lattice, compatibility, normalization)

    def _check_memory(self, dims: int) -> str:
        height, width = self.size
        what = f"the dense CRF of a {width} x {height} image"
        check_memory(_C.lattice_min_bytes(self.points, dims) + 4 * dims * self.points, what)
        return what

    def _checked(self, scores: Any, probabilities: bool) -> np.ndarray:
        array = to_numpy(scores, "scores")
        if array.ndim == 3 and array.shape[1:] != self.size:
            raise CRFError(misfit(array.shape, (*self.size, 3)))
        array = checked_scores(array, 3, "(C, H, W)", probabilities)
        return array.reshape(len(array), self.points)


def _marginals(field: _C.MeanField, scores: Any) -> Any:
    marginals = np.empty(tuple(scores.shape), np.float32)
    field.marginals(view(marginals.reshape(len(marginals), -1)))
    return as_kind_of(scores, marginals)


def _costs(compatibility: Compatibility) -> float | np.ndarray:
    """A number, (C,) or (C, C), finite."""
    array = to_numpy(compatibility, "compatibility")
    if array.dtype == bool or not (np.issubdtype(array.dtype, np.floating) or np.issubdtype(array.dtype, np.integer)):
        raise CRFError(f"compatibility must be of real numbers, got {compatibility!r}")
    if array.ndim > 2 or (array.ndim == 2 and array.shape[0] != array.shape[1]) or array.size == 0:
        raise CRFError(f"compatibility must be one number, (C,) or (C, C), got shape {array.shape}")
    with np.errstate(over="ignore"):
        array = array.astype(np.float32)
    if not np.isfinite(array).all():
        raise CRFError("compatibility must be finite, got values that are not")
    return float(array) if array.ndim == 0 else array
