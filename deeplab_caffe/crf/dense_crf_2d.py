"""A dense CRF as an object: kernels and lattices once, then as many scores as there are, at once or step by step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from deeplab_caffe.crf._arrays import to_numpy
from deeplab_caffe.crf._backends import Backend, Field, backend_of, backend_on
from deeplab_caffe.crf._checks import misfit
from deeplab_caffe.crf._device import is_on_gpu
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

    def __init__(self, backend: Backend, field: Field, scores: Any) -> None:
        self._backend = backend
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
        return self._backend.like(self._scores, self._field.marginals())

    def set_marginals(self, marginals: Any) -> Inference:
        """Goes on from these marginals, of the shape of the scores; returns itself."""
        array = self._backend.take(marginals, "marginals")
        if tuple(array.shape) != tuple(self._scores.shape):
            raise CRFError(f"marginals must be floating point {tuple(self._scores.shape)}, got {tuple(array.shape)}")
        self._field.set_marginals(self._backend.float32(array, "marginals").reshape(len(array), -1))
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

    Arrays may be numpy's or torch's, on a GPU CuPy's too; marginals are of the kind of the scores and where those are.
    An object may be used by one thread at a time, and on a GPU with one stream.

    Args:
        points: N.
        sse_padding: see :meth:`Lattice.build`.
        device: where to compute: ``"cpu"``, ``"cuda"`` or ``"cuda:1"``.

    Raises:
        CRFError: a number of points that is none.
    """

    def __init__(self, points: int, *, sse_padding: bool = True, device: str | None = None) -> None:
        if isinstance(points, bool) or points != int(points) or not 1 <= points < 2**31 - 1:
            raise CRFError(f"points must be a whole number from 1 to 2^31 - 2, got {points!r}")
        self.points = int(points)
        self._sse_padding = sse_padding
        self._backend = backend_on(device)
        self._kernels: list[tuple[Any, float | np.ndarray, str]] = []
        self._spare: Field | None = None
        self._spare_labels = 0

    @property
    def lattices(self) -> tuple[Any, ...]:
        """The kernels' lattices in the order in which they were added: :class:`Lattice`, or of a GPU
        :class:`deeplab_caffe.crf.cuda_lattice.CudaLattice`.
        """
        return tuple(self._backend.lattice(lattice) for lattice, _, _ in self._kernels)

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
        array = self._backend.take(features, "features")
        if array.ndim != 2 or len(array) != self.points:
            raise CRFError(f"features must be ({self.points}, d), got {tuple(array.shape)}")
        self._check(compatibility, normalization)
        self._add(self._backend.feature_lattice(array, self._sse_padding), compatibility, normalization)

    def infer(self, scores: Any, iterations: int = 10, *, probabilities: bool = False) -> Any:
        """Marginals after so many iterations, float32 of the shape and kind of the scores: see :meth:`start`."""
        iterations = check_iterations(iterations)
        array = self._checked(scores, probabilities)
        labels = len(array)
        field, self._spare = self._spare, None
        if field is None or self._spare_labels != labels:
            field = self._field(labels)
        field.start(array, probabilities)
        field.run(iterations)
        self._spare, self._spare_labels = field, labels
        return self._backend.like(scores, field.marginals())

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
        field.start(array, probabilities)
        return Inference(self._backend, field, scores)

    def _checked(self, scores: Any, probabilities: bool) -> Any:
        array = self._backend.scores(self._backend.take(scores, "scores"), "(C, N)", probabilities)
        if array.shape[1] != self.points:
            raise CRFError(f"scores must be (C, {self.points}), got {tuple(array.shape)}")
        return array

    def _check(self, compatibility: Compatibility, normalization: str) -> None:
        if normalization not in ("after", "before", "symmetric", "none"):
            raise CRFError(f"normalization must be after, before, symmetric or none, got {normalization!r}")
        _costs(compatibility)

    def _add(self, lattice: Any, compatibility: Compatibility, normalization: str) -> None:
        self._kernels.append((lattice, _costs(compatibility), normalization))
        self._spare = None

    def _field(self, labels: int) -> Field:
        for i, (_, costs, _) in enumerate(self._kernels):
            if not isinstance(costs, float) and len(costs) != labels:
                raise CRFError(f"the compatibility of kernel {i} is {costs.shape}, but there are {labels} labels")
        return self._backend.field(labels, self.points, self._kernels)


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
        device: see :class:`DenseCRF`.

    Raises:
        CRFError: a size that is none.
    """

    def __init__(self, size: tuple[int, int], *, sse_padding: bool = True, device: str | None = None) -> None:
        height, width = size
        super().__init__(height * width, sse_padding=sse_padding, device=device)
        self.size = (int(height), int(width))

    @classmethod
    def for_image(
        cls,
        image: Any,
        params: CRFParams | None = None,
        normalization: Normalization = "after",
        *,
        device: str | None = None,
    ) -> DenseCRF2D:
        """A CRF with the kernels of ``params`` on an image ``(H, W, 3)``, RGB from 0 to 255.

        It computes on ``device``, by default where the image is.
        """
        backend = backend_on(device) if device or not is_on_gpu(image) else backend_of(image)
        array = backend.take(image, "image")
        if array.ndim != 3 or array.shape[2] != 3:
            raise CRFError(f"image must be (H, W, 3), got {tuple(array.shape)}")
        crf = cls(tuple(array.shape[:2]))
        crf._backend = backend
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
        lattice = self._backend.pixel_lattice(self.size, kernel, None, self._sse_padding)
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
        array = self._backend.take(image, "image")
        if tuple(array.shape) != (*self.size, 3):
            raise CRFError(f"image must be {(*self.size, 3)}, got {tuple(array.shape)}")
        (kernel,) = CRFParams((), (), 1.0, (xy_std,), (rgb_std,)).kernels
        lattice = self._backend.pixel_lattice(self.size, kernel, array, self._sse_padding)
        self._add(lattice, compatibility, normalization)

    def _checked(self, scores: Any, probabilities: bool) -> Any:
        array = self._backend.take(scores, "scores")
        if array.ndim == 3 and tuple(array.shape[1:]) != self.size:
            raise CRFError(misfit(tuple(array.shape), (*self.size, 3)))
        array = self._backend.scores(array, "(C, H, W)", probabilities)
        return array.reshape(len(array), self.points)


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
