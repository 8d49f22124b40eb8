"""The dense CRF as functions: for images, and for the blobs of the DENSE_CRF layer (densecrf_layer.cpp)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from os import PathLike
from reprlib import repr as short_repr
from typing import TYPE_CHECKING, Any, TypedDict, overload

import numpy as np

from deeplab_caffe import _C
from deeplab_caffe.arrays import is_on_gpu
from deeplab_caffe.crf import cpu, cuda_lattice
from deeplab_caffe.crf.backend import Backend, Problem, infer, on_host, usable_kernels
from deeplab_caffe.crf.colours import Range
from deeplab_caffe.crf.inputs import (
    Kind,
    NDArray,
    NDArray32,
    as_kind,
    concatenate,
    image_sizes,
    two_channels,
    validate_fit,
    validate_scores,
)
from deeplab_caffe.crf.likely import infer_likely
from deeplab_caffe.crf.params import CRFParams, PairwiseKernel, ParamsLike, active_kernels, validate_iterations
from deeplab_caffe.crf.place import backend_for
from deeplab_caffe.errors import CRFError

if TYPE_CHECKING:
    import torch
    from typing_extensions import Unpack


class _Options(TypedDict, total=False):
    """The arguments by name of :func:`dense_crf`, which says what they mean."""

    iterations: int | None
    kind: Kind | None
    probabilities: bool
    image_range: Range | None
    sse_padding: bool
    half: bool
    device: str | torch.device | None


# For type checkers: the marginals are of the library of the scores. CuPy has no types.
@overload
def dense_crf(scores: NDArray, image: Any, params: ParamsLike = None, **options: Unpack[_Options]) -> NDArray32: ...
@overload
def dense_crf(
    scores: list[NDArray] | tuple[NDArray, ...],
    image: Any,
    params: ParamsLike = None,
    **options: Unpack[_Options],
) -> list[NDArray32]: ...
@overload
def dense_crf(
    scores: torch.Tensor, image: Any, params: ParamsLike = None, **options: Unpack[_Options]
) -> torch.Tensor: ...
@overload
def dense_crf(
    scores: list[torch.Tensor] | tuple[torch.Tensor, ...],
    image: Any,
    params: ParamsLike = None,
    **options: Unpack[_Options],
) -> list[torch.Tensor]: ...
@overload
def dense_crf(scores: Any, image: Any, params: ParamsLike = None, **options: Unpack[_Options]) -> Any: ...
def dense_crf(
    scores: Any,
    image: Any,
    params: ParamsLike = None,
    *,
    iterations: int | None = None,
    kind: Kind | None = None,
    probabilities: bool = False,
    image_range: Range | None = None,
    sse_padding: bool = True,
    half: bool = False,
    device: str | torch.device | None = None,
) -> Any:
    """Refine scores with the dense CRF, as the original's densecrf programs do.

    Arrays may be numpy's, torch's or CuPy's; the marginals have the library and device of the scores. On the CPU
    several images of a batch or list are computed in parallel (see ``_C.set_num_threads``); each takes the memory of a
    single inference.

    The lattices of positions of the last four image sizes and standard deviations are kept (about 60 bytes per pixel,
    84 after an inference with more than one label, for images of up to 2^20 pixels); :func:`clear_cache` frees them.

    Args:
        scores: ``(C, H, W)``, any strides, computed in float32. Or a batch ``(N, C, H, W)``, or a list of images of
            different sizes. A single channel is the foreground, and needs ``kind``.
        image: RGB ``(H, W, 3)`` from 0 to 255, uint8 or any real type; None: no bilateral kernels. For a batch of
            scores: ``(N, H, W, 3)`` or a list; for a list of scores: a list.
        params: the kernels: :class:`CRFParams`, a preset's name, a ``.json`` file, or a dict; None for the defaults.
        iterations: number of mean-field iterations; None: ``params.iterations``; 0 gives the softmax of the scores.
        kind: what the scores are. ``"scores"``: a network's scores before the softmax (the unary energy is minus the
            score). ``"probabilities"``: the unary energy is minus their logarithm
            (densecrf/refine_pascal/dense_inference.cpp:289), and a probability of 0 rules the label out at that pixel.
            ``"energies"``: minus the logarithm of probabilities. None: scores, and an error if they are clearly one of
            the others.
        probabilities: the older spelling of ``kind="probabilities"``.
        image_range: (black, white) of the image, for example ``(0, 1)``. None: (0, 255), and an error for images of
            another range: from 0 to 1, normalised, or of 16 bits.
        sse_padding: see :meth:`Lattice.build`; True for the original's numbers.
        half: on a GPU, keep values on the lattice in half precision: see :class:`deeplab_caffe.crf.cuda.CudaBackend`.
        device: device to compute on if the arrays are on the CPU: ``"cpu"`` (the default), ``"cuda"`` or ``"cuda:1"``.
            Arrays on a GPU are computed on that GPU.

    Returns:
        Marginals Q, float32 in the shape of ``scores`` (a list for a list). They sum to 1 at each pixel, and are 0 for
        labels that ``params.min_probability`` leaves out. For a single channel: ``(2, H, W)``, background and
        foreground. The label is the first maximum: ``Q.argmax(0)``. On the CPU the bits do not depend on the number of
        threads.

    Raises:
        CRFError: shapes do not fit (usually an axis is transposed), scores or colours are not finite or contradict
            ``kind`` or ``image_range``, probabilities are negative or all 0 at a pixel, or standard deviations are too
            small for the image's size.
        CRFMemoryError: there is not enough memory.
    """
    params = CRFParams.of(params)
    count = params.iterations if iterations is None else validate_iterations(iterations)
    kernels = active_kernels(params, count)
    said = as_kind(kind, probabilities)
    several = isinstance(scores, (list, tuple))
    single = not several and np.ndim(scores) != 4
    all_scores = [two_channels(one, kind, -3) for one in ([scores] if single else scores)]
    images = [image] if single else [None] * len(all_scores) if image is None else _several(image, len(all_scores))
    if len(images) != len(all_scores):
        raise CRFError(f"there are {len(all_scores)} images of scores but {len(images)} images")
    if not all_scores:
        if several:
            return []
        raise CRFError(f"scores are empty: (N, C, H, W) = {tuple(scores.shape)}")
    on_gpu = [is_on_gpu(one) for one in all_scores]
    if any(on_gpu) and not all(on_gpu):
        raise CRFError("some scores are on a GPU, others are not")
    backend = backend_for(all_scores[0], None if all(on_gpu) else device, sse_padding=sse_padding, half=half)

    def solve(pairs: Sequence[tuple[Any, Any]]) -> list[Any]:
        problems = [_problem(backend, *pair, kernels, said, image_range) for pair in pairs]
        infer_likely(backend, problems, kernels, count, kind=said, min_probability=params.min_probability)
        return [backend.like(score, problem.out) for (score, _), problem in zip(pairs, problems, strict=True)]

    pairs = list(zip(all_scores, images, strict=True))
    if backend.images_at_once > 1 or len(pairs) == 1:
        marginals = solve(pairs)
    else:
        with cpu.image_pool(min(_C.num_threads(), len(pairs))) as pool:
            marginals = [found for (found,) in pool.map(lambda pair: solve([pair]), pairs)]
    return marginals[0] if single else marginals if several else concatenate([one[None] for one in marginals], 0)


def _several(images: Any, count: int) -> list[Any]:
    """Return the images of a list or batch.

    Raises:
        CRFError: it is one image, or none.
    """
    if not isinstance(images, (list, tuple)):
        shape = tuple(np.shape(images)) if hasattr(images, "shape") or hasattr(images, "__array_interface__") else None
        if shape is not None and len(shape) != 4:
            raise CRFError(
                f"image must be a list or a batch (N, H, W, 3), as the scores are of {count}, but is one, {shape}: "
                "take image[None] if there is one image of scores, else one image for each"
            )
        if isinstance(images, (str, bytes, PathLike)) or not isinstance(images, Iterable):
            raise CRFError(f"image must be a list or a batch (N, H, W, 3), got {short_repr(images)}")
    return list(images)


def clear_cache() -> None:
    """Free the memory kept for the next image, on the CPU and on GPUs: lattices of positions, and buffers."""
    cpu.clear_cache()
    cuda_lattice.clear_cache()


def _problem(
    backend: Backend,
    score: Any,
    image: Any,
    kernels: Sequence[PairwiseKernel],
    kind: Kind | None,
    image_range: Range | None,
) -> Problem:
    array = backend.take(score, "scores")
    shape = tuple(array.shape)
    validate_scores(shape, backend.arrays.dtype(array), "(C, H, W)", kind)
    colours = None if image is None else backend.take(image, "image")
    if colours is not None:
        validate_fit(shape, tuple(colours.shape))
    # Check the memory before anything is converted.
    backend.check_memory(shape[1:], usable_kernels(kernels, colours), shape[0])
    colours = None if colours is None else backend.photograph(colours, image_range)
    return Problem(backend.scores(array, "(C, H, W)", kind), colours, backend.empty(shape))


def layer_inference(
    scores: Any,
    data_dim: Any | None,
    image: Any | None,
    params: ParamsLike = None,
    *,
    iterations: int | None = None,
    log: bool = False,
    image_of_first: bool = False,
    sse_padding: bool = True,
) -> Any:
    """Compute the DENSE_CRF layer's top from its bottom blobs.

    A lattice depends on its origin and on the order of the axes. So the blob's B, G, R minus the mean give slightly
    different numbers than R, G, B from 0 to 255 give in :func:`dense_crf`; the original has the same difference.

    Args:
        scores: raw scores ``(N, C, H, W)``; numpy's, torch's or CuPy's.
        data_dim: (height, width) of each image before padding, ``(N, 1, 1, 2)`` or another shape with two values per
            image, or one pair for all images. Only this part, at the top left, is refined. None: the whole blob.
        image: ``(N, 3, H, W)``, channels B, G, R, minus the mean; None (a layer with two bottoms): no bilateral
            kernels.
        params: the kernels, as for :func:`dense_crf`; ``bi_rgb_std`` with three values is (r, g, b) here too.
        iterations: number of mean-field iterations; None: ``params.iterations``.
        log: return log(max(Q, FLT_MIN)) instead of Q.
        image_of_first: filter every item of a batch with the colours of item 0, as the original does
            (densecrf_layer.cpp:333, no batch offset). False: each item has its own colours.
        sse_padding: see :meth:`Lattice.build`.

    Returns:
        float32 ``(N, C, H, W)`` of the library and on the device of the scores; 0 outside the part of ``data_dim``.

    Raises:
        CRFError: as :func:`dense_crf`, or ``data_dim`` is not a size.
        CRFMemoryError: there is not enough memory.
    """
    params = CRFParams.of(params)
    count = params.iterations if iterations is None else validate_iterations(iterations)
    backend = backend_for(scores, sse_padding=sse_padding)
    array = backend.scores(backend.take(scores, "scores"), "(N, C, H, W)")
    shape = tuple(array.shape)
    sizes = image_sizes(None if data_dim is None else on_host(data_dim, "data_dim", backend), shape)
    planes = None
    if image is not None:
        image = backend.take(image, "image")
        came = tuple(image.shape)
        fits = len(came) == 4 and came[1] == 3 and came[2:] == shape[2:]
        if not fits or not (came[0] == shape[0] or (image_of_first and came[0] > 0)):
            raise CRFError(f"scores are {shape} but the image blob is {came}: expected (N, 3, H, W)")
        planes = backend.arrays.permute(backend.colours(image), (0, 2, 3, 1))
    marginals = backend.arrays.zeros(shape, "float32")
    problems = []
    for item, (height, width) in enumerate(sizes):
        colours = None if planes is None else planes[0 if image_of_first else item, :height, :width]
        part = (item, slice(None), slice(height), slice(width))
        problems.append(Problem(array[part], colours, marginals[part]))
    kernels = [kernel.in_bgr for kernel in active_kernels(params, count)]
    # As in the original, the bottom is taken for scores whatever layer computes it.
    infer(backend, problems, kernels, count, kind="scores", log=log)
    return backend.like(scores, marginals)
