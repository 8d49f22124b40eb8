"""The dense CRF as a CUDA graph: for images of one size, one after the other, without Python or launches between."""

from __future__ import annotations

import threading
from typing import Any

from deeplab_caffe.arrays import Array, arrays_of, is_on_gpu
from deeplab_caffe.crf.backend import LatticeRequest, Problem, infer
from deeplab_caffe.crf.cuda import CudaBackend
from deeplab_caffe.crf.cuda_lattice import check_capturable, position_key
from deeplab_caffe.crf.inputs import Kind, as_kind
from deeplab_caffe.crf.params import CRFParams, ParamsLike, active_kernels, validate_iterations
from deeplab_caffe.errors import CRFError


class CapturedCRF:
    """Inference for scores ``(C, H, W)`` and an image of one size, recorded once and replayed.

    >>> captured = CapturedCRF(scores, image, params)  # on a GPU
    >>> marginals = captured(other_scores, other_image)  # overwritten by the next call

    The lattices of positions are built here, those of colours in each replay. Nothing waits for the GPU then, so memory
    is taken for the most vertices possible (about ``50 * C`` bytes a pixel and kernel of colours instead of what the
    image needs), and nothing is checked: scores that are not finite give NaN, at their pixels first and, after
    an iteration, wherever those reach. It belongs to the thread that uses it first.

    Args:
        scores: float32 ``(C, H, W)`` of torch or CuPy on a GPU, fit to be computed with.
        image: uint8 ``(H, W, 3)`` on the same GPU, or None.
        params: the kernels: see :meth:`CRFParams.of`; None for the defaults.
        iterations: instead of ``params.iterations``.
        kind: see :func:`deeplab_caffe.crf.dense_crf`; energies and single channels are not taken here.
        probabilities: see :func:`deeplab_caffe.crf.dense_crf`.
        sse_padding: see :meth:`deeplab_caffe.crf.Lattice.build`.
        half: see :func:`deeplab_caffe.crf.dense_crf`.

    Attributes:
        scores: what the next :meth:`replay` reads; write into it.
        image: the same, or None.
        marginals: what the last one wrote.

    Raises:
        CRFError: arrays that are not on a GPU, of other dtypes or not fit; or an image, where kernels are compiled at
            run time (see :mod:`deeplab_caffe.arrays.nvrtc`).
        CRFMemoryError: not enough memory on the GPU.
    """

    def __init__(
        self,
        scores: Any,
        image: Any | None,
        params: ParamsLike = None,
        *,
        iterations: int | None = None,
        kind: Kind | None = None,
        probabilities: bool = False,
        sse_padding: bool = True,
        half: bool = False,
    ) -> None:
        if not is_on_gpu(scores):
            raise CRFError(f"a CUDA graph needs scores on a GPU, got {type(scores).__name__} on the CPU")
        params, kind = CRFParams.of(params), as_kind(kind, probabilities)
        if kind == "energies":
            raise CRFError("a CUDA graph takes scores or probabilities: give minus the energies")
        count = params.iterations if iterations is None else validate_iterations(iterations)
        kernels = active_kernels(params, count)
        backend = CudaBackend(arrays_of(scores, CRFError), sse_padding, half)
        arrays = self._arrays = backend.arrays
        if scores.ndim != 3 or 0 in scores.shape or scores.shape[0] == 1 or arrays.dtype(scores) != "float32":
            raise CRFError(
                f"scores must be float32 (C, H, W), C of 2 or more, got {arrays.dtype(scores)} {tuple(scores.shape)}"
            )
        height, width = self._size = tuple(scores.shape[1:])
        self.scores: Array = arrays.copy(arrays.take(scores))
        self.image: Array | None = None
        if image is not None:
            check_capturable()
            image = arrays.take(image)
            self._check_image(image)
            self.image = arrays.copy(image)
        self.marginals: Array = backend.empty(scores.shape)

        requests = [LatticeRequest((height, width), kernel) for kernel in kernels if kernel.rgb_std is None]
        lattices = backend.pixel_lattices(requests)
        # Kept by the backend: the graph reads them in every replay.
        backend.held = {
            position_key(*request[:2], sse_padding): lattice
            for request, lattice in zip(requests, lattices, strict=True)
        }
        for lattice in lattices:
            lattice.factors("after")
        backend.assume_uint8_range = True
        self._backend = backend
        problem = Problem(self.scores, self.image, self.marginals)

        def body() -> None:
            infer(backend, [problem], kernels, count, kind=kind)

        # Once without: kernels are loaded when they are first launched, which must not be while recording.
        body()
        self._in_turn = arrays.in_turn()
        self._replay = arrays.capture(body)
        with self._in_turn():  # whichever stream comes first waits for what was queued here
            pass

    def _check_image(self, image: Any) -> None:
        came = tuple(image.shape)
        if came != (*self._size, 3) or self._arrays.dtype(image) != "uint8":
            raise CRFError(
                f"image must be uint8 {(*self._size, 3)}, got {self._arrays.dtype(image)} {came}: a graph must "
                "know the range of the colours"
            )

    def _own(self) -> None:
        """Make the thread that uses it first its owner, and refuse others: they would overwrite each other's arrays."""
        if self.__dict__.setdefault("_owner", threading.get_ident()) != threading.get_ident():
            raise CRFError("this CapturedCRF is another thread's, which used it first: make one for each thread")

    def replay(self) -> None:
        """Compute ``marginals`` from ``scores`` and ``image`` as they are now, on the current stream.

        Raises:
            CRFError: another thread has used it before.
        """
        self._own()
        with self._in_turn():
            self._replay()

    def __call__(self, scores: Any, image: Any | None) -> Any:
        """Copy in, replay and return :attr:`marginals`, which the next call overwrites.

        Raises:
            CRFError: shapes or dtypes that are not those of the recording; or another thread has used it before.
        """
        self._own()
        arrays = self._arrays
        scores = arrays.take(scores)
        if tuple(scores.shape) != tuple(self.scores.shape):
            raise CRFError(f"scores must be {tuple(self.scores.shape)} as recorded, got {tuple(scores.shape)}")
        if (image is None) != (self.image is None):
            raise CRFError(f"the graph was recorded with{'out' if self.image is None else ''} an image")
        if image is not None:
            image = arrays.take(image)
            self._check_image(image)
        with self._in_turn():
            if image is not None:
                arrays.assign(self.image, image)
            arrays.assign(self.scores, scores)
            self._replay()
        return self.marginals
