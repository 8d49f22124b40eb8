"""The interface of the dense CRF's backends, the CPU and GPUs, and the inference on top of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from deeplab_caffe import _C
from deeplab_caffe.arrays import Array, Arrays, to_numpy
from deeplab_caffe.crf.colours import Range, as_image_range, in_grey_levels, validate_colours
from deeplab_caffe.crf.inputs import Kind, validate_floating, validate_real, validate_scores
from deeplab_caffe.crf.memory import allocate
from deeplab_caffe.crf.params import PairwiseKernel
from deeplab_caffe.errors import CRFError

# Lattices of positions depend only on the image's size. The last few are cached, if they have at most so many points.
CACHED_LATTICES, CACHED_POINTS = 4, 1 << 20

# A handle of _C: its Lattice, or a deeplab_caffe.crf.cuda_lattice.CudaLattice.
LatticeHandle = Any


class LatticeRequest(NamedTuple):
    """The pixels that a lattice is built from.

    Attributes:
        size: (H, W).
        kernel: the kernel, for its standard deviations.
        image: result of :meth:`Backend.colours`, ``(H, W, 3)``; None for a kernel of positions alone.
    """

    size: tuple[int, int]
    kernel: PairwiseKernel
    image: Array | None = None


class PairwiseTerm(NamedTuple):
    """One pairwise term of the energy.

    Attributes:
        lattice: the lattice of a Gaussian kernel.
        weight: factor of the kernel's messages.
        compatibility: float32 costs: of each label beside itself ``(C,)``, or of label l (row) beside label k (column)
            ``(C, C)``; None for Potts: -1 where labels agree.
        normalization: normalization of the filter: "after", "before", "symmetric" or "none".
    """

    lattice: LatticeHandle
    weight: float
    compatibility: np.ndarray[Any, Any] | None = None
    normalization: str = "after"


class Field(Protocol):
    """One mean-field inference with its workspace. Arrays are float32 ``(C, H, W)`` of the backend's library."""

    @property
    def iterations(self) -> int:
        """Return the number of iterations since the start."""

    def start(self, scores: Array, probabilities: bool = False) -> None:
        """Set Q to the softmax of the scores, or of the logarithms of probabilities."""

    def run(self, iterations: int) -> None:
        """Run this many iterations."""

    def set_marginals(self, marginals: Array) -> None:
        """Set Q."""

    def marginals(self, out: Array | None = None, *, log: bool = False) -> Array:
        """Write Q, or log(max(Q, FLT_MIN)), to ``out`` or a new array, and return the array."""

    def energies(self) -> _C.Energies:
        """Return the parts of the free energy."""


class Backend(ABC):
    """The CPU or one GPU: its arrays, lattices and mean fields.

    Attributes:
        arrays: the library of the arrays.
        images_at_once: number of images that share kernel launches.
        sse_padding: see :meth:`deeplab_caffe.crf.Lattice.build`.
    """

    arrays: Arrays
    images_at_once: int
    sse_padding: bool

    @abstractmethod
    def take(self, array: Any, name: str) -> Array:
        """Convert any supported array to the backend's library and device.

        Raises:
            CRFError: the array is on a GPU, and the backend is the CPU.
        """

    @abstractmethod
    def like(self, array: Any, result: Array) -> Any:
        """Convert a result to the shape, library and device of ``array``."""

    def scores(self, array: Array, layout: str, kind: Kind | None = None) -> Array:
        """Validate everything about scores except their values, see :meth:`inspect`, and return them as float32.

        For energies their negatives are returned, which are scores.

        Raises:
            CRFError: as :func:`deeplab_caffe.crf.inputs.validate_scores`.
        """
        validate_scores(tuple(array.shape), self.arrays.dtype(array), layout, kind)
        scores = self.float32(array)
        return -scores if kind == "energies" else scores

    def floats(self, array: Array, name: str) -> Array:
        """Validate the dtype of marginals or energies, and return them as float32.

        Raises:
            CRFError: the array is not floating point.
        """
        validate_floating(self.arrays.dtype(array), name)
        return self.float32(array)

    def float32(self, array: Array) -> Array:
        """Return floating point numbers as float32; numbers beyond its range become infinite."""
        with np.errstate(over="ignore"):
            return self.arrays.cast(array, "float32")

    def empty(self, shape: Sequence[int]) -> Array:
        """Return a new float32 array whose values are unspecified."""
        return allocate(self.arrays, tuple(shape), "float32")

    def photograph(self, image: Array, image_range: Range | None = None, *, exact: bool = False) -> Array:
        """Return an image's colours, scaled to 0 to 255, as :meth:`colours` does.

        Args:
            image: an image of any shape.
            image_range: (black, white), for example (0, 1); None: (0, 255), and images of another range are refused.
            exact: refuse values beyond black and white: see :func:`deeplab_caffe.crf.colours.validate_colours`.

        Raises:
            CRFError: the image has another range: see :func:`deeplab_caffe.crf.colours.validate_colours`.
        """
        bounds = as_image_range(image_range)
        dtype = self.arrays.dtype(image)
        if dtype == "bool":
            raise CRFError("image must be of real numbers, got bool: take image * np.uint8(255)")
        if dtype == "uint8" and bounds in (None, (0, 255)):
            _warn_of_binary_image(image, bounds)
            return self.colours(image)
        validate_real(dtype, "image")
        image = self.float32(image)
        if 0 not in image.shape and not self.arrays.is_capturing():
            validate_colours(float(image.min()), float(image.max()), "int" not in dtype, bounds, exact=exact)
        return self.colours(in_grey_levels(image, bounds))

    def grey_levels(self, image: Array, name: str, image_range: Range | None = None) -> Array:
        """Return an image as uint8: it must have whole numbers from 0 to 255, or is rounded to them by ``image_range``.

        Raises:
            CRFError: as :meth:`photograph`; or, without ``image_range``, the image has fractions or is all zeros of a
                floating point dtype, so that its range is unknown.
        """
        dtype = self.arrays.dtype(image)
        bounds = as_image_range(image_range)
        if dtype == "uint8" and bounds in (None, (0, 255)):
            _warn_of_binary_image(image, bounds)
            return image
        if bounds is not None:
            return self.arrays.cast(self.photograph(image, image_range, exact=True).round().clip(0, 255), "uint8")
        wrong = f"{name} must be uint8 from 0 to 255, got {dtype}"
        try:
            levels = self.photograph(image, exact=True)
        except CRFError as exc:
            raise CRFError(f"{wrong}: {exc}") from exc
        if "int" not in dtype and not levels.any():
            raise CRFError(f"{wrong}, all 0: black? Take {name}.astype(np.uint8)")
        if (levels != levels.round()).any() or levels.min() < 0 or levels.max() > 255:
            raise CRFError(f"{wrong} with fractions: take {name}.round().astype(np.uint8), or say image_range=(0, 255)")
        return self.arrays.cast(levels, "uint8")

    @abstractmethod
    def colours(self, image: Array) -> Array:
        """Return colours of any range in a dtype that lattices can be built from.

        Raises:
            CRFError: the colours are not real, or (raised here or by :meth:`pixel_lattices`) not finite.
        """

    @abstractmethod
    def inspect(self, scores: Sequence[Array], kind: Kind | None) -> Callable[[], None]:
        """Start validating the values of scores ``(C, H, W)`` from :meth:`scores`; the returned function finishes it.

        Raises:
            CRFError: as :func:`deeplab_caffe.crf.inputs.validate_score_values`, raised here or by that function.
        """

    @abstractmethod
    def check_memory(self, size: tuple[int, int], kernels: Sequence[PairwiseKernel], num_classes: int = 0) -> None:
        """Check that the minimum of memory for the lattices of these kernels, and for an inference, is available.

        Args:
            size: (H, W).
            kernels: the kernels of the lattices.
            num_classes: C; 0 for the lattices alone.

        Raises:
            CRFMemoryError: it is not available.
        """

    @abstractmethod
    def pixel_lattices(self, requests: Sequence[LatticeRequest]) -> list[LatticeHandle]:
        """Return lattices of images' pixels; lattices of positions alone may be shared.

        Raises:
            CRFError: colours are not finite, or standard deviations are too small for the image.
            CRFMemoryError: there is not enough memory.
        """

    @abstractmethod
    def feature_lattice(self, features: Array) -> LatticeHandle:
        """Return the lattice of features ``(N, d)``. Errors as :meth:`deeplab_caffe.crf.Lattice.build`."""

    @abstractmethod
    def public_lattice(self, lattice: LatticeHandle) -> Any:
        """Return the public object of a lattice."""

    @abstractmethod
    def field(self, shape: tuple[int, int, int], terms: Sequence[PairwiseTerm]) -> Field:
        """Return a mean field for scores of ``shape`` (C, H, W), with its workspace, not yet started.

        Raises:
            CRFMemoryError: there is not enough memory.
        """

    def run(self, fields: Sequence[Field], iterations: int) -> None:
        """Run this many iterations of each field."""
        for field in fields:
            field.run(iterations)


class Problem(NamedTuple):
    """One image to refine, in arrays of one backend, of any strides.

    Attributes:
        scores: float32 ``(C, H, W)``.
        image: result of :meth:`Backend.colours`, ``(H, W, 3)``; None: no bilateral kernels.
        out: float32 ``(C, H, W)``: the marginals are written here.
    """

    scores: Array
    image: Array | None
    out: Array


def infer(
    backend: Backend,
    problems: Sequence[Problem],
    kernels: Sequence[PairwiseKernel],
    iterations: int,
    *,
    kind: Kind | None = None,
    log: bool = False,
    inspected: bool = False,
) -> None:
    """Infer the marginals of several images.

    Args:
        backend: the backend to compute with.
        problems: the images.
        kernels: the kernels, for the images' order of channels.
        iterations: number of mean-field iterations.
        kind: what the scores are; for energies ``problems`` have their negatives.
        log: write log(max(Q, FLT_MIN)) instead of Q.
        inspected: whether :meth:`Backend.inspect` has already validated the scores' values.

    Raises:
        CRFError: scores or colours have invalid values, or standard deviations are too small for the image.
        CRFMemoryError: there is not enough memory.
    """
    for some in _groups(problems, backend.images_at_once):
        owned = [usable_kernels(kernels, problem.image) for problem in some]
        requests = []
        for (scores, image, _), own in zip(some, owned, strict=True):
            num_classes, *size = scores.shape
            backend.check_memory((size[0], size[1]), own, num_classes)
            requests += [LatticeRequest((size[0], size[1]), kernel, image) for kernel in own]
        # Started before the lattices and finished after them, so that a GPU is waited for only once.
        finish_inspection = None if inspected else backend.inspect([problem.scores for problem in some], kind)
        lattices = iter(backend.pixel_lattices(requests))
        if finish_inspection is not None:
            finish_inspection()
        fields = []
        for (scores, _, _), own in zip(some, owned, strict=True):
            terms = [PairwiseTerm(next(lattices), kernel.weight) for kernel in own]
            fields.append(backend.field(tuple(scores.shape), terms))
            fields[-1].start(scores, kind == "probabilities")
        backend.run(fields, iterations)
        for problem, field in zip(some, fields, strict=True):
            field.marginals(problem.out, log=log)


def _warn_of_binary_image(image: Array, image_range: Range | None) -> None:
    """Warn of a uint8 image with only 0 and 1; images on a GPU are not checked, which would wait for it."""
    if image_range is None and isinstance(image, np.ndarray) and image.size:
        validate_colours(0, int(image.max()), False, None)


def refused_kernel(kernel: PairwiseKernel, why: Exception) -> CRFError:
    """Return an error that names the kernel whose lattice cannot be built."""
    return CRFError(f"kernel with xy_std {kernel.xy_std} and rgb_std {kernel.rgb_std}: {why}")


def usable_kernels(kernels: Sequence[PairwiseKernel], image: Array | None) -> list[PairwiseKernel]:
    """Return the kernels that can be used: without an image, only those of positions alone."""
    return [kernel for kernel in kernels if image is not None or kernel.rgb_std is None]


def _groups(problems: Sequence[Problem], most: int) -> Iterator[list[Problem]]:
    """Yield problems with the same number of classes, at most ``most`` at a time."""
    for num_classes in sorted({len(problem.scores) for problem in problems}):
        same = [problem for problem in problems if len(problem.scores) == num_classes]
        for first in range(0, len(same), most):
            yield same[first : first + most]


def on_host(array: Any, name: str, backend: Backend) -> np.ndarray[Any, Any]:
    """Return a small array of any library as a numpy array."""
    try:
        return to_numpy(array, name, CRFError)
    except CRFError:
        return backend.arrays.numpy(backend.take(array, name))
