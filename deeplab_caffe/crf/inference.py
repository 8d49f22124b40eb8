"""Mean field inference in the dense CRF, for images and for blobs (layers/densecrf_layer.cpp)."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np

from deeplab_caffe import _C
from deeplab_caffe.crf._arrays import as_kind_of, is_torch, to_numpy
from deeplab_caffe.crf._checks import checked_colours as _checked_colours
from deeplab_caffe.crf._checks import checked_scores as _checked_scores
from deeplab_caffe.crf._checks import misfit, sizes
from deeplab_caffe.crf._device import arrays_on, is_on_gpu
from deeplab_caffe.crf._view import float32, view
from deeplab_caffe.crf.memory import check_memory, memory_errors
from deeplab_caffe.crf.params import CRFParams, PairwiseKernel, kernels_that_count
from deeplab_caffe.errors import CRFError

# Above this the lattice of positions, which depends on the size alone, is not kept for the next image of that size.
_CACHED_POINTS = 1 << 20
_CACHED_LATTICES = 4


def dense_crf(
    scores: Any,
    image: Any,
    params: CRFParams | None = None,
    *,
    iterations: int | None = None,
    probabilities: bool = False,
    sse_padding: bool = True,
    half: bool = False,
    device: str | None = None,
) -> Any:
    """Refine scores with the dense CRF, as the original's densecrf programs do.

    Arrays are numpy's, torch's or CuPy's; the marginals are of the same kind and on the same device as the scores.
    On the CPU a batch or list is worked off image by image, several at a time (see ``_C.set_num_threads``), each of
    which takes the memory that one takes.

    The lattices of positions of the last four image sizes and widths are kept (about 60 bytes a pixel, images of up
    to 2^20 pixels; :func:`clear_cache` gives them back).

    Args:
        scores: ``(C, H, W)`` of any strides, computed in float32. The scores of the network (not a softmax of them:
            the unary energy is minus the score), or with ``probabilities`` class probabilities. Or a batch
            ``(N, C, H, W)``, or a list of images of different sizes.
        image: RGB ``(H, W, 3)`` from 0 to 255, uint8 or any real type; None leaves the colour kernels out. For a batch
            ``(N, H, W, 3)`` or a list, for a list a list.
        params: the kernels; None for the defaults of :class:`CRFParams`.
        iterations: mean field iterations instead of ``params.iterations``; 0 gives the softmax of the scores.
        probabilities: the scores are probabilities, and their logarithm is what counts
            (densecrf/refine_pascal/dense_inference.cpp:289). A probability of 0 rules the label out at that pixel.
        sse_padding: see :meth:`Lattice.build`; True for the original's numbers.
        half: on a GPU, keep values on the lattice in half precision: see :func:`deeplab_caffe.crf.cuda.infer`.
        device: where to compute with arrays on the CPU: ``"cpu"`` (the default), ``"cuda"`` or ``"cuda:1"``. Arrays on
            a GPU are worked on where they are.

    Returns:
        Marginals Q, float32 of the shape of ``scores`` (a list for a list); they sum to 1 at each pixel. The label is
        the first maximum: ``Q.argmax(0)``. On the CPU the same bits for any number of threads.

    Raises:
        CRFError: shapes that do not fit (a transposed axis is the usual case), scores or colours that are not finite,
            probabilities that are negative or all 0 at a pixel, standard deviations too small for the image's size.
        CRFMemoryError: not enough memory.
    """
    params = CRFParams() if params is None else params
    several = isinstance(scores, (list, tuple))
    if not several and np.ndim(scores) != 4:
        return _dense_crf_all([scores], [image], params, iterations, probabilities, sse_padding, half, device)[0]
    images = [None] * len(scores) if image is None else list(image)
    if len(images) != len(scores):
        raise CRFError(f"there are {len(scores)} images of scores but {len(images)} images")
    marginals = _dense_crf_all(list(scores), images, params, iterations, probabilities, sse_padding, half, device)
    if several:
        return marginals
    if not marginals:
        raise CRFError(f"scores are empty: (N, C, H, W) = {tuple(scores.shape)}")
    return _stack(marginals)


def clear_cache() -> None:
    """Give back the memory kept for the next image, on the CPU and on GPUs: lattices of positions, and buffers."""
    _position_lattice.cache_clear()
    _C.keep_blocks(_C.keep_blocks(0))
    from deeplab_caffe.crf import cuda

    cuda.clear_cache()


def _dense_crf_all(
    scores: list[Any],
    images: list[Any],
    params: CRFParams,
    iterations: int | None,
    probabilities: bool,
    sse_padding: bool,
    half: bool,
    device: str | None,
) -> list[Any]:
    on_gpu = [is_on_gpu(one) for one in scores]
    if any(on_gpu):
        if not all(on_gpu):
            raise CRFError("some scores are on a GPU, others are not")
        return _dense_crf_on_gpu(scores, images, params, iterations, probabilities, sse_padding, half)
    if device not in (None, "cpu"):
        arrays = arrays_on(device)
        taken = [arrays.take(to_numpy(one, "scores")) for one in scores]
        found = _dense_crf_on_gpu(taken, images, params, iterations, probabilities, sse_padding, half)
        return [as_kind_of(score, arrays.numpy(one)) for score, one in zip(scores, found, strict=True)]

    def one(score: Any, image: Any) -> Any:
        array = to_numpy(score, "scores")
        colours = None if image is None else to_numpy(image, "image")
        if array.ndim == 3 and array.size > 0:
            if colours is not None:
                _check_fit(array.shape, colours.shape)
            kernels = kernels_that_count(params, iterations, colours=colours is not None)
            _check_memory(array.shape, kernels)  # before anything is converted
        array = _checked_scores(array, 3, "(C, H, W)", probabilities)
        colours = None if colours is None else _checked_colours(colours, "image")
        marginals = _infer(array, colours, params, "rgb", iterations, sse_padding, probabilities=probabilities)
        return as_kind_of(score, marginals)

    threads = min(_C.num_threads(), len(scores))
    if threads < 2:
        return [one(score, image) for score, image in zip(scores, images, strict=True)]
    # Threads that share an image wait for each other, those with an image each do not.
    with ThreadPoolExecutor(threads, initializer=_C.set_num_threads_here, initargs=(1,)) as pool:
        return list(pool.map(one, scores, images))


def _dense_crf_on_gpu(
    scores: list[Any],
    images: list[Any],
    params: CRFParams,
    iterations: int | None,
    probabilities: bool,
    sse_padding: bool,
    half: bool,
) -> list[Any]:
    from deeplab_caffe.crf import _device, cuda

    arrays = _device.arrays_of(scores[0])
    problems = []
    for score, image in zip(scores, images, strict=True):
        if score.ndim != 3 or 0 in score.shape:
            raise CRFError(f"scores must be (C, H, W), got shape {tuple(score.shape)}")
        if "float" not in arrays.dtype(score):
            raise CRFError(f"scores must be floating point, got {arrays.dtype(score)}")
        colours = None
        if image is not None:
            colours = arrays.take(image)
            _check_fit(tuple(score.shape), tuple(colours.shape))
            colours = _device.real_colours(arrays, colours, "image")
        array = arrays.float32(arrays.take(score))
        problems.append(cuda.Problem(array, colours, arrays.empty(tuple(score.shape), "float32")))
    # Images that share launches have the same number of labels.
    for labels in sorted({problem.scores.shape[0] for problem in problems}):
        some = [problem for problem in problems if problem.scores.shape[0] == labels]
        cuda.infer(
            arrays, some, params, "rgb", iterations, sse_padding=sse_padding, probabilities=probabilities, half=half
        )
    return [problem.out for problem in problems]


def _check_fit(scores: tuple[int, ...], image: tuple[int, ...]) -> None:
    if len(image) != 3 or image[2] != 3 or image[:2] != scores[1:]:
        raise CRFError(misfit(scores, image))


def _stack(marginals: Sequence[Any]) -> Any:
    first = marginals[0]
    if isinstance(first, np.ndarray):
        return np.stack(marginals)
    if is_torch(first):
        return sys.modules["torch"].stack(list(marginals))
    cupy = sys.modules["cupy"]
    with cupy.cuda.Device(first.device.id):
        return cupy.stack(list(marginals))


def layer_inference(
    scores: np.ndarray,
    data_dim: np.ndarray | None,
    image: np.ndarray | None,
    params: CRFParams | None = None,
    *,
    iterations: int | None = None,
    output_probability: bool = True,
    image_of_first: bool = False,
    sse_padding: bool = True,
) -> np.ndarray:
    """What the DENSE_CRF layer computes from its bottom blobs.

    A lattice depends on its origin and on the order of the axes: the blob's B, G, R minus the mean gives slightly other
    numbers than :func:`dense_crf` gives for R, G, B from 0 to 255, in the original as here.

    Args:
        scores: ``(N, C, H, W)``, raw scores; numpy's, or of torch or CuPy on a GPU.
        data_dim: (height, width) of each image before padding, ``(N, 1, 1, 2)`` or anything else with two values for
            each; one pair serves all. Only that part at the top left is used. None uses all.
        image: ``(N, 3, H, W)``, channels B, G, R, minus the mean; None (two bottoms) leaves the colour kernels out.
        params: the kernels; ``bi_rgb_std`` with three values is (r, g, b) here too.
        iterations: mean field iterations instead of ``params.iterations``.
        output_probability: False returns log(max(Q, FLT_MIN)).
        image_of_first: the original filters every item of a batch with the colours of item 0 (densecrf_layer.cpp:333,
            no batch offset). False gives each item its own.
        sse_padding: see :meth:`Lattice.build`.

    Returns:
        float32 ``(N, C, H, W)``, on the device of the scores; 0 outside the part of ``data_dim``.

    Raises:
        CRFError: as :func:`dense_crf`, and a ``data_dim`` that is no size.
        CRFMemoryError: not enough memory.
    """
    params = CRFParams() if params is None else params
    if is_on_gpu(scores):
        from deeplab_caffe.crf import cuda

        return cuda.layer_inference(
            scores,
            data_dim,
            image,
            params,
            iterations=iterations,
            output_probability=output_probability,
            image_of_first=image_of_first,
            sse_padding=sse_padding,
        )
    scores = _checked_scores(np.asarray(scores), 4, "(N, C, H, W)", probabilities=False)
    parts = sizes(data_dim, scores.shape)
    if image is not None:
        image = np.asarray(image)
        fits = image.ndim == 4 and image.shape[1] == 3 and image.shape[2:] == scores.shape[2:]
        if not fits or not (len(image) == len(scores) or (image_of_first and len(image) > 0)):
            raise CRFError(f"scores are {scores.shape} but the image blob is {image.shape}: expected (N, 3, H, W)")
        image = _checked_colours(image, "image")
    marginals = np.zeros(scores.shape, np.float32)
    for item, (height, width) in enumerate(parts):
        colours = None
        if image is not None:
            colours = image[0 if image_of_first else item, :, :height, :width].transpose(1, 2, 0)
        marginals[item, :, :height, :width] = _infer(
            scores[item, :, :height, :width],
            colours,
            params,
            "bgr",
            iterations,
            sse_padding,
            logarithm=not output_probability,
        )
    return marginals


def _infer(
    scores: np.ndarray,
    image: np.ndarray | None,
    params: CRFParams,
    order: str,
    iterations: int | None,
    sse_padding: bool,
    *,
    probabilities: bool = False,
    logarithm: bool = False,
) -> np.ndarray:
    """Inference for scores (C, H, W) and an image (H, W, 3) whose channels are in the ``order`` "rgb" or "bgr"."""
    kernels = kernels_that_count(params, iterations, colours=image is not None)
    iterations = params.iterations if iterations is None else iterations
    channels, height, width = scores.shape
    points = height * width
    what = _check_memory(scores.shape, kernels)
    with memory_errors(what):
        lattices = [_lattice(height, width, kernel, image, order, sse_padding) for kernel in kernels]
        # Only now is it known how many vertices there are.
        needed = _C.mean_field_bytes(points, channels, len(kernels)) + 8 * scores.size
        check_memory(needed + sum(_C.lattice_value_bytes(one.vertices, channels) for one in lattices), what)

        flat = float32(scores).reshape(channels, points)
        weighted = [(lattice, kernel.weight) for lattice, kernel in zip(lattices, kernels, strict=True)]
        field = _C.MeanField(view(flat), weighted, probabilities)
        field.run(iterations)
        marginals = np.empty((channels, points), np.float32)
        field.marginals(view(marginals), logarithm)
    return marginals.reshape(channels, height, width)


def _check_memory(shape: tuple[int, int, int], kernels: Sequence[PairwiseKernel]) -> str:
    """Asks for the least that scores (C, H, W) with these kernels need; returns what it is for, for messages."""
    channels, height, width = shape
    points = height * width
    needed = _C.mean_field_bytes(points, channels, len(kernels)) + 8 * points * channels
    for kernel in kernels:
        dims = 2 if kernel.rgb_std is None else 5
        needed += _C.lattice_min_bytes(points, dims) + 4 * points * dims
    what = f"the dense CRF of a {width} x {height} image with {channels} labels"
    check_memory(needed, what)
    return what


def _lattice(
    height: int, width: int, kernel: PairwiseKernel, image: np.ndarray | None, order: str, sse_padding: bool
) -> _C.Lattice:
    if kernel.rgb_std is None:
        build = _position_lattice if height * width <= _CACHED_POINTS else _position_lattice.__wrapped__
        return build(height, width, replace(kernel, weight=1.0), sse_padding)
    features = np.empty((5, height, width), np.float32)
    deviations = np.asarray(kernel.rgb_std if order == "rgb" else kernel.rgb_std[::-1], np.float32)
    with np.errstate(all="ignore"):  # the lattice refuses what is not finite
        for channel, deviation in enumerate(deviations):
            np.divide(image[..., channel], deviation, out=features[2 + channel])
    return _build(features, kernel, sse_padding)


@lru_cache(maxsize=_CACHED_LATTICES)
def _position_lattice(height: int, width: int, kernel: PairwiseKernel, sse_padding: bool) -> _C.Lattice:
    return _build(np.empty((2, height, width), np.float32), kernel, sse_padding)


def _build(features: np.ndarray, kernel: PairwiseKernel, sse_padding: bool) -> _C.Lattice:
    """The lattice of features (d, H, W), the first two of which are filled in here."""
    dims, height, width = features.shape
    with np.errstate(all="ignore"):
        x_std, y_std = np.asarray(kernel.xy_std, np.float32)
        features[0] = np.arange(width, dtype=np.float32) / x_std
        features[1] = (np.arange(height, dtype=np.float32) / y_std)[:, None]
    try:
        return _C.Lattice.build(view(features.reshape(dims, -1).T), sse_padding)
    except ValueError as exc:
        raise CRFError(f"kernel with xy_std {kernel.xy_std} and rgb_std {kernel.rgb_std}: {exc}") from exc
