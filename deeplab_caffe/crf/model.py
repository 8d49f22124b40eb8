"""A dense CRF as an object: kernels and lattices are built once for many inferences, at once or step by step."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from reprlib import repr as short_repr
from typing import TYPE_CHECKING, Any, Literal, get_args, overload

from deeplab_caffe.arrays import Array
from deeplab_caffe.arrays.stays import Stays, StaysSharing
from deeplab_caffe.crf.backend import Backend, Field, LatticeHandle, LatticeRequest, PairwiseTerm
from deeplab_caffe.crf.colours import Range
from deeplab_caffe.crf.inputs import (
    Kind,
    NDArray,
    NDArray32,
    as_kind,
    two_channels,
    validate_compatibility,
    validate_fit,
    validate_image_shape,
)
from deeplab_caffe.crf.params import (
    CRFParams,
    PairwiseKernel,
    ParamsLike,
    validate_count,
    validate_iterations,
    validate_weight,
)
from deeplab_caffe.crf.place import backend_for
from deeplab_caffe.errors import CRFError

if TYPE_CHECKING:
    import torch
    from typing_extensions import Self

Normalization = Literal["after", "before", "symmetric", "none"]


@dataclass(frozen=True)
class Energies:
    """Parts of the mean field's free energy (Kraehenbuehl and Koltun, 2011), summed over all points.

    Attributes:
        entropy: sum of Q log Q, which is minus the entropy of Q.
        unary: sum of -score * Q.
        pairwise: for each kernel, in the order in which they were added: sum of Q times the cost of its message.
    """

    entropy: float
    unary: float
    pairwise: tuple[float, ...]

    @property
    def kl_divergence(self) -> float:
        """Return the sum of the parts: KL(Q || P) up to a constant, as in pydensecrf (each pair counts twice)."""
        return self.entropy + self.unary + sum(self.pairwise)


class Inference(Stays):
    """One run of mean-field inference, step by step; :meth:`DenseCRF.start` makes it.

    On the CPU threads may share it: a method waits until no other thread is in one.
    """

    instead = "keep its marginals(), and give them to set_marginals of another run"

    def __init__(self, backend: Backend, field: Field, scores: Any) -> None:
        self._backend = backend
        self._field = field
        self._scores = scores
        self._lock = threading.Lock()

    @property
    def iterations(self) -> int:
        """Return the number of iterations done so far."""
        return self._field.iterations

    def step(self, count: int = 1) -> Inference:
        """Run ``count`` more iterations; return the object itself."""
        count = validate_iterations(count)
        with self._lock:
            self._field.run(count)
        return self

    def marginals(self) -> Any:
        """Return Q, float32, in the shape and of the library of the scores."""
        with self._lock:
            found = self._field.marginals()
        return self._backend.like(self._scores, found)

    def set_marginals(self, marginals: Any) -> Inference:
        """Continue from these marginals, in the shape of the scores; return the object itself.

        Raises:
            CRFError: they have another shape, or are not finite floating-point numbers.
        """
        array = self._backend.take(marginals, "marginals")
        if tuple(array.shape) != tuple(self._scores.shape):
            raise CRFError(f"marginals must be floating point {tuple(self._scores.shape)}, got {tuple(array.shape)}")
        array = self._backend.floats(array, "marginals")
        with self._lock:
            self._field.set_marginals(array)
        return self

    def energies(self) -> Energies:
        """Return the energies of the present marginals."""
        with self._lock:
            parts = self._field.energies()
        return Energies(parts.entropy, parts.unary, tuple(parts.pairwise))


class DenseCRF(StaysSharing):
    """A dense CRF over points with any features.

    >>> crf = DenseCRF(points)
    >>> crf.add_pairwise(features, weight=3, normalization="symmetric")  # (N, d)
    >>> marginals = crf.infer(scores, iterations=5)  # (C, N)

    Arrays may be numpy's or torch's, on a GPU CuPy's too; marginals have the library and device of the scores. On the
    CPU threads may share an object. On a GPU an object may be used with one stream only. ``copy.copy`` and
    ``copy.deepcopy`` share the lattices, but not the kernels that are added later; pickle raises a TypeError, because a
    lattice takes less time to build than to send.

    Args:
        points: N, the number of points.
        iterations: default number of iterations of :meth:`infer`.
        sse_padding: see :meth:`Lattice.build`.
        device: device to compute on: ``"cpu"``, ``"cuda"`` or ``"cuda:1"``.
        backend: backend to use instead of ``sse_padding`` and ``device``.

    Attributes:
        points: N.
        iterations: default number of iterations.
        backend: the backend.

    Raises:
        CRFError: ``points`` is not a positive integer below 2^31 - 1, or another argument is invalid.
    """

    instead = (
        "send what it was made of, the image or features and CRFParams say, and make it in the process that needs it; "
        "or call deeplab_caffe.crf.dense_crf there"
    )
    _channel_axis = -2  # of (C, N)

    def __init__(
        self,
        points: int,
        *,
        iterations: int = 10,
        sse_padding: bool = True,
        device: str | torch.device | None = None,
        backend: Backend | None = None,
    ) -> None:
        self.points = validate_count("points", points)
        self.iterations = validate_iterations(iterations)
        self.backend = backend or backend_for(device=device, sse_padding=sse_padding)
        self._shape = (1, self.points)  # (H, W)
        self._terms: tuple[PairwiseTerm, ...] = ()
        self._adding = threading.Lock()
        # At most one field that was lent, with its number of labels and its terms, for the next caller.
        self._spare: list[tuple[Field, int, tuple[PairwiseTerm, ...]]] = []

    def __copy__(self) -> Self:
        new = super().__copy__()
        new._adding, new._spare = threading.Lock(), []
        return new

    @property
    def lattices(self) -> tuple[Any, ...]:
        """Return the kernels' lattices in the order in which they were added.

        They are :class:`Lattice`, or on a GPU :class:`deeplab_caffe.crf.cuda_lattice.CudaLattice`.
        """
        return tuple(self.backend.public_lattice(term.lattice) for term in self._terms)

    def add_pairwise(
        self,
        features: Any,
        weight: float = 1.0,
        normalization: Normalization = "after",
        *,
        compatibility: Any = None,
    ) -> None:
        """Add a Gaussian kernel.

        Args:
            features: ``(N, d)``, d from 1 to 16, each divided by its standard deviation.
            weight: factor of the kernel's messages.
            normalization: normalization of the filter, whose weights do not sum to 1: ``"after"`` divides each point's
                message by filter(1) at the point (DeepLab v1), ``"before"`` divides the value that each point sends,
                ``"symmetric"`` divides both by the square root of filter(1) (pydensecrf's default), ``"none"`` divides
                neither.
            compatibility: label costs, which are multiplied by the weight: of each label beside itself ``(C,)``, or of
                label l (row) beside label k (column) ``(C, C)``; None for Potts, -1 where labels agree.

        Raises:
            CRFError: an argument is invalid.
            CRFMemoryError: there is not enough memory.
        """
        array = self.backend.take(features, "features")
        if array.ndim != 2 or len(array) != self.points:
            raise CRFError(f"features must be ({self.points}, d), got {tuple(array.shape)}")
        term = _term(weight, normalization, compatibility)
        self._add(term, self.backend.feature_lattice(array))

    # For type checkers: the marginals are of the library of the scores. CuPy has no types.
    @overload
    def infer(
        self, scores: NDArray, iterations: int | None = None, *, kind: Kind | None = None, probabilities: bool = False
    ) -> NDArray32: ...
    @overload
    def infer(
        self,
        scores: torch.Tensor,
        iterations: int | None = None,
        *,
        kind: Kind | None = None,
        probabilities: bool = False,
    ) -> torch.Tensor: ...
    @overload
    def infer(
        self, scores: Any, iterations: int | None = None, *, kind: Kind | None = None, probabilities: bool = False
    ) -> Any: ...
    def infer(
        self,
        scores: Any,
        iterations: int | None = None,
        *,
        kind: Kind | None = None,
        probabilities: bool = False,
    ) -> Any:
        """Return the marginals, float32, in the shape and of the library of the scores.

        For a single channel, the foreground's, they have two channels: see :func:`dense_crf`.

        Args:
            scores: ``(C, N)``, see :func:`dense_crf`.
            iterations: number of iterations; None: :attr:`iterations`.
            kind: what the scores are, see :func:`dense_crf`.
            probabilities: the older spelling of ``kind="probabilities"``.

        Raises:
            CRFError: the scores are invalid, or a compatibility is for another number of labels.
            CRFMemoryError: there is not enough memory.
        """
        count = self.iterations if iterations is None else validate_iterations(iterations)
        scores, said = two_channels(scores, kind, self._channel_axis), as_kind(kind, probabilities)
        array = self._scores(scores, said)
        with self.lend_field(len(array)) as field:
            field.start(array, said == "probabilities")
            self.backend.run([field], count)
            return self.backend.like(scores, field.marginals())

    def start(self, scores: Any, *, kind: Kind | None = None, probabilities: bool = False) -> Inference:
        """Begin inference step by step; arguments and errors are those of :meth:`infer`."""
        scores, said = two_channels(scores, kind, self._channel_axis), as_kind(kind, probabilities)
        array = self._scores(scores, said)
        field = self.field(len(array))
        field.start(array, said == "probabilities")
        return Inference(self.backend, field, scores)

    @contextmanager
    def lend_field(self, num_classes: int) -> Iterator[Field]:
        """Lend a mean field that is not yet started to one thread at a time; it is kept for the next caller.

        Raises:
            CRFError: as :meth:`field`.
            CRFMemoryError: not enough memory.
        """
        terms, field = self._terms, None
        try:  # no check before: another thread may take it in between
            spare, labels, made_of = self._spare.pop()
            field = spare if labels == num_classes and made_of is terms else None
        except IndexError:
            pass
        field = field or self.field(num_classes)
        yield field
        if not self._spare:
            self._spare.append((field, num_classes, terms))

    def field(self, num_classes: int) -> Field:
        """Return a mean field that is not yet started, for callers that validate their own scores.

        Raises:
            CRFError: a compatibility is for another number of labels.
            CRFMemoryError: there is not enough memory.
        """
        for i, term in enumerate(self._terms):
            if term.compatibility is not None and len(term.compatibility) != num_classes:
                shape = term.compatibility.shape
                raise CRFError(f"the compatibility of kernel {i} is {shape}, but there are {num_classes} labels")
        return self.backend.field((num_classes, *self._shape), self._terms)

    def _scores(self, scores: Any, kind: Kind | None) -> Array:
        """Validate scores, and return them as float32 (C, H, W)."""
        array = self.backend.scores(self.backend.take(scores, "scores"), "(C, N)", kind)
        if array.shape[1] != self.points:
            raise CRFError(f"scores must be (C, {self.points}), got {tuple(array.shape)}")
        return self._inspected(array, kind)

    def _inspected(self, array: Array, kind: Kind | None) -> Array:
        array = array.reshape(len(array), *self._shape)
        self.backend.inspect([array], kind)()
        return array

    def _add(self, term: PairwiseTerm, lattice: LatticeHandle) -> None:
        with self._adding:  # without it one of two threads' kernels would be lost
            self._terms = (*self._terms, term._replace(lattice=lattice))


class DenseCRF2D(DenseCRF):
    """A dense CRF over the pixels of an image.

    >>> crf = DenseCRF2D.for_image(image, CRFParams.for_model("DeepLab-LargeFOV"))
    >>> for scores in several:  # (C, H, W)
    ...     marginals = crf.infer(scores)
    >>> run = crf.start(scores)
    >>> run.step().energies().kl_divergence

    With the defaults, normalization ``"after"`` and Potts, the marginals equal those of :func:`dense_crf` bit for bit.

    Args:
        size: (H, W).
        iterations: see :class:`DenseCRF`.
        sse_padding: see :meth:`Lattice.build`.
        device: see :class:`DenseCRF`.
        backend: see :class:`DenseCRF`.

    Attributes:
        size: (H, W).

    Raises:
        CRFError: a height or width is not a positive integer, or another argument is invalid.
    """

    _channel_axis = -3  # of (C, H, W)

    def __init__(
        self,
        size: tuple[int, int],
        *,
        iterations: int = 10,
        sse_padding: bool = True,
        device: str | torch.device | None = None,
        backend: Backend | None = None,
    ) -> None:
        if not isinstance(size, Sequence) or isinstance(size, str) or len(size) != 2:
            raise CRFError(f"size must be (height, width), got {short_repr(size)}")
        height, width = validate_count("height", size[0]), validate_count("width", size[1])
        super().__init__(height * width, iterations=iterations, sse_padding=sse_padding, device=device, backend=backend)
        self.size = self._shape = (height, width)

    @classmethod
    def for_image(
        cls,
        image: Any,
        params: ParamsLike = None,
        normalization: Normalization = "after",
        *,
        image_range: Range | None = None,
        sse_padding: bool = True,
        device: str | torch.device | None = None,
    ) -> DenseCRF2D:
        """Make a CRF with the kernels and iterations of ``params`` on an image ``(H, W, 3)``, RGB from 0 to 255.

        It computes on ``device``, by default on the image's device. ``params`` and ``image_range`` are those of
        :func:`dense_crf`.
        """
        params = CRFParams.of(params)
        backend = backend_for(image, device, sse_padding=sse_padding)
        array = backend.take(image, "image")
        validate_image_shape(tuple(array.shape))
        crf = cls(tuple(array.shape[:2]), iterations=params.iterations, backend=backend)
        for kernel in params.kernels:
            term = _term(kernel.weight, normalization)
            crf._add_kernel(kernel, None if kernel.rgb_std is None else array, term, image_range)
        return crf

    def add_gaussian(
        self,
        xy_std: float | tuple[float, float],
        weight: float = 3.0,
        normalization: Normalization = "after",
        *,
        compatibility: Any = None,
    ) -> None:
        """Add a kernel of positions alone; ``xy_std`` is in pixels, one number or (x, y).

        The other arguments and the errors are those of :meth:`add_pairwise`. The kernel's lattice depends only on the
        size, and is kept for the next image of that size.
        """
        term = _term(weight, normalization, compatibility)
        self._add_kernel(PairwiseKernel.of(1.0, xy_std), None, term)

    def add_bilateral(
        self,
        image: Any,
        xy_std: float | tuple[float, float],
        rgb_std: float | tuple[float, float, float],
        weight: float = 5.0,
        normalization: Normalization = "after",
        *,
        compatibility: Any = None,
        image_range: Range | None = None,
    ) -> None:
        """Add a kernel of positions and colours.

        Args:
            image: RGB ``(H, W, 3)``, from 0 to 255, uint8 or any real type.
            xy_std: standard deviation of position, in pixels; one number or (x, y).
            rgb_std: standard deviation of colour, in grey levels; one number or (r, g, b).
            weight: see :meth:`add_pairwise`.
            normalization: see :meth:`add_pairwise`.
            compatibility: see :meth:`add_pairwise`.
            image_range: (black, white) of the image, see :func:`dense_crf`.
        """
        term = _term(weight, normalization, compatibility)
        array = self.backend.take(image, "image")
        validate_image_shape(tuple(array.shape), self.size)
        self._add_kernel(PairwiseKernel.of(1.0, xy_std, rgb_std), array, term, image_range)

    def _add_kernel(
        self,
        kernel: PairwiseKernel,
        image: Array | None,
        term: PairwiseTerm,
        image_range: Range | None = None,
    ) -> None:
        self.backend.check_memory(self.size, [kernel])  # before colours are converted
        colours = None if image is None else self.backend.photograph(image, image_range)
        (lattice,) = self.backend.pixel_lattices([LatticeRequest(self.size, kernel, colours)])
        self._add(term, lattice)

    def _scores(self, scores: Any, kind: Kind | None) -> Array:
        array = self.backend.take(scores, "scores")
        if array.ndim == 3:
            validate_fit(tuple(array.shape), (*self.size, 3))
        return self._inspected(self.backend.scores(array, "(C, H, W)", kind), kind)


def _term(weight: Any, normalization: str, compatibility: Any = None) -> PairwiseTerm:
    """Validate a term's weight, normalization and compatibility; the term has no lattice yet."""
    if normalization not in get_args(Normalization):
        *others, last = get_args(Normalization)
        raise CRFError(f"normalization must be {', '.join(others)} or {last}, got {normalization!r}")
    costs = None if compatibility is None else validate_compatibility(compatibility)
    return PairwiseTerm(None, validate_weight("weight", weight), costs, normalization)
