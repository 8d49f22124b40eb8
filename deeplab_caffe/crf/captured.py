"""The dense CRF as a CUDA graph, for many images of one size: a replay has no cost of Python or of kernel launches."""

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

    The lattices of positions are built by the constructor, the lattices of colours in each replay. A replay never waits
    for the GPU. So memory is allocated for the largest possible number of vertices (about ``50 * C`` bytes per pixel
    and bilateral kernel, instead of what the image needs), and values are not checked: scores that are not finite give
    NaN, at first at their own pixels and after each iteration also at the pixels that these reach. An object belongs to
    the thread that uses it first.

    Args:
        scores: valid float32 scores ``(C, H, W)`` of torch or CuPy on a GPU.
        image: uint8 ``(H, W, 3)`` on the same GPU, or None.
        params: the kernels: see :meth:`CRFParams.of`; None for the defaults.
        iterations: number of mean-field iterations; None: ``params.iterations``.
        kind: see :func:`deeplab_caffe.crf.dense_crf`; energies and single channels are not supported here.
        probabilities: see :func:`deeplab_caffe.crf.dense_crf`.
        sse_padding: see :meth:`deeplab_caffe.crf.Lattice.build`.
        half: see :func:`deeplab_caffe.crf.dense_crf`.

    Attributes:
        scores: the scores that the next :meth:`replay` reads; write into this array.
        image: the image that the next :meth:`replay` reads, or None.
        marginals: the marginals that the last replay wrote.

    Raises:
        CRFError: arrays are not on a GPU, have another dtype or are invalid; or an image is given, but kernels are
            compiled at run time (see :mod:`deeplab_caffe.arrays.nvrtc`).
        CRFMemoryError: there is not enough memory on the GPU.
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
        # The backend must keep these lattices alive: the graph reads them in every replay.
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

        # Run once before recording: a kernel is loaded at its first launch, which must not happen during capture.
        body()
        self._in_turn = arrays.in_turn()
        self._replay = arrays.capture(body)
        with self._in_turn():  # the first stream that replays waits for the work queued here
            pass

    def _check_image(self, image: Any) -> None:
        came = tuple(image.shape)
        if came != (*self._size, 3) or self._arrays.dtype(image) != "uint8":
            raise CRFError(
                f"image must be uint8 {(*self._size, 3)}, got {self._arrays.dtype(image)} {came}: a graph must "
                "know the range of the colours"
            )

    def _own(self) -> None:
        """Make the first thread the owner, and refuse others: threads would overwrite each other's arrays."""
        if self.__dict__.setdefault("_owner", threading.get_ident()) != threading.get_ident():
            raise CRFError("this CapturedCRF is another thread's, which used it first: make one for each thread")

    def replay(self) -> None:
        """Compute ``marginals`` from the present values of ``scores`` and ``image``, on the current stream.

        Raises:
            CRFError: the object belongs to another thread.
        """
        self._own()
        with self._in_turn():
            self._replay()

    def __call__(self, scores: Any, image: Any | None) -> Any:
        """Copy scores and image in, replay, and return :attr:`marginals`, which the next call overwrites.

        Raises:
            CRFError: shapes or dtypes differ from the recording's, or the object belongs to another thread.
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
