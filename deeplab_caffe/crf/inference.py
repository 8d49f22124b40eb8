"""Mean field inference in the dense CRF, for one image and for blobs (layers/densecrf_layer.cpp)."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from deeplab_caffe import _C
from deeplab_caffe.crf._view import float32, view
from deeplab_caffe.crf.memory import check_memory, memory_errors
from deeplab_caffe.crf.params import CRFParams, PairwiseKernel, check_iterations
from deeplab_caffe.errors import CRFError

# Above this the lattice of positions, which depends on the size alone, is not kept for the next image of that size.
_CACHED_POINTS = 1 << 20


def dense_crf(
    scores: np.ndarray,
    image: np.ndarray | None,
    params: CRFParams | None = None,
    *,
    iterations: int | None = None,
    probabilities: bool = False,
    sse_padding: bool = True,
) -> np.ndarray:
    """Refine one image's scores with the dense CRF, as the original's densecrf programs do.

    Args:
        scores: ``(C, H, W)`` of any strides, computed in float32. The scores of the network (not a softmax of them:
            the unary energy is minus the score), or with ``probabilities`` class probabilities.
        image: RGB ``(H, W, 3)`` from 0 to 255, uint8 or any real type; None leaves the colour kernels out.
        params: the kernels; None for the defaults of :class:`CRFParams`.
        iterations: mean field iterations instead of ``params.iterations``; 0 gives the softmax of the scores.
        probabilities: the scores are probabilities, and their logarithm is what counts
            (densecrf/refine_pascal/dense_inference.cpp:289). A probability of 0 rules the label out at that pixel.
        sse_padding: see :meth:`Lattice.build`; True for the original's numbers.

    Returns:
        Marginals Q, float32 ``(C, H, W)``; they sum to 1 at each pixel. The label is the first maximum:
        ``Q.argmax(axis=0)``. The same bits for any number of threads.

    Raises:
        CRFError: shapes that do not fit (a transposed axis is the usual case), scores or colours that are not finite,
            probabilities that are negative or all 0 at a pixel, standard deviations too small for the image's size.
        CRFMemoryError: not enough memory.
    """
    params = CRFParams() if params is None else params
    scores = _checked_scores(np.asarray(scores), 3, "(C, H, W)", probabilities)
    if image is not None:
        image = np.asarray(image)
        if image.ndim != 3 or image.shape[2] != 3 or image.shape[:2] != scores.shape[1:]:
            raise CRFError(_misfit(scores.shape, image.shape))
        image = _checked_colours(image, "image")
    return _infer(scores, image, params, "rgb", iterations, sse_padding, probabilities=probabilities)


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
        scores: ``(N, C, H, W)``, raw scores.
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
        float32 ``(N, C, H, W)``; 0 outside the part of ``data_dim``.

    Raises:
        CRFError: as :func:`dense_crf`, and a ``data_dim`` that is no size.
        CRFMemoryError: not enough memory.
    """
    params = CRFParams() if params is None else params
    scores = _checked_scores(np.asarray(scores), 4, "(N, C, H, W)", probabilities=False)
    sizes = _sizes(data_dim, scores.shape)
    if image is not None:
        image = np.asarray(image)
        fits = image.ndim == 4 and image.shape[1] == 3 and image.shape[2:] == scores.shape[2:]
        if not fits or not (len(image) == len(scores) or (image_of_first and len(image) > 0)):
            raise CRFError(f"scores are {scores.shape} but the image blob is {image.shape}: expected (N, 3, H, W)")
        image = _checked_colours(image, "image")
    marginals = np.zeros(scores.shape, np.float32)
    for item, (height, width) in enumerate(sizes):
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
    iterations = params.iterations if iterations is None else check_iterations(iterations)
    channels, height, width = scores.shape
    # A kernel of weight 0 adds exact zeros.
    kernels = [one for one in params.kernels if one.weight != 0 and (one.rgb_std is None or image is not None)]
    if iterations == 0:
        kernels = []

    what = f"the dense CRF of a {width} x {height} image with {channels} labels"
    points = height * width
    needed = _C.mean_field_bytes(points, channels, len(kernels)) + 8 * scores.size
    for kernel in kernels:
        dims = 2 if kernel.rgb_std is None else 5
        needed += _C.lattice_min_bytes(points, dims) + 4 * points * dims
    check_memory(needed, what)
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


def _lattice(
    height: int, width: int, kernel: PairwiseKernel, image: np.ndarray | None, order: str, sse_padding: bool
) -> _C.Lattice:
    if kernel.rgb_std is None:
        build = _position_lattice if height * width <= _CACHED_POINTS else _position_lattice.__wrapped__
        return build(height, width, kernel, sse_padding)
    features = np.empty((height, width, 5), np.float32)
    deviations = kernel.rgb_std if order == "rgb" else kernel.rgb_std[::-1]
    with np.errstate(all="ignore"):  # the lattice refuses what is not finite
        np.divide(image, np.asarray(deviations, np.float32), out=features[..., 2:])
    return _build(features, kernel, sse_padding)


@lru_cache(maxsize=4)
def _position_lattice(height: int, width: int, kernel: PairwiseKernel, sse_padding: bool) -> _C.Lattice:
    return _build(np.empty((height, width, 2), np.float32), kernel, sse_padding)


def _build(features: np.ndarray, kernel: PairwiseKernel, sse_padding: bool) -> _C.Lattice:
    """The lattice of features (H, W, d), the first two of which are filled in here."""
    height, width, dims = features.shape
    with np.errstate(all="ignore"):
        x_std, y_std = np.asarray(kernel.xy_std, np.float32)
        features[..., 0] = np.arange(width, dtype=np.float32) / x_std
        features[..., 1] = (np.arange(height, dtype=np.float32) / y_std)[:, None]
    try:
        return _C.Lattice.build(view(features.reshape(-1, dims)), sse_padding)
    except ValueError as exc:
        raise CRFError(f"kernel with xy_std {kernel.xy_std} and rgb_std {kernel.rgb_std}: {exc}") from exc


def _checked_scores(scores: np.ndarray, dims: int, layout: str, probabilities: bool) -> np.ndarray:
    name = "probabilities" if probabilities else "scores"
    if scores.ndim != dims:
        raise CRFError(f"{name} must be {layout}, got shape {scores.shape}")
    if not np.issubdtype(scores.dtype, np.floating):
        raise CRFError(f"{name} must be floating point, got {scores.dtype}")
    if scores.size == 0:
        raise CRFError(f"{name} are empty: {layout} = {scores.shape}")
    with np.errstate(over="ignore"):
        scores = float32(scores)
    low, high = scores.min(), scores.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        raise CRFError(f"{name} must be finite (in float32), got values from {low} to {high}")
    if probabilities:
        if low < 0:
            raise CRFError(f"probabilities must not be negative, got {low}")
        if not scores.max(axis=0).all():
            y, x = np.argwhere(scores.max(axis=0) == 0)[0]
            raise CRFError(f"probabilities are 0 for every label at row {y}, column {x}")
    return scores


def _checked_colours(image: np.ndarray, name: str) -> np.ndarray:
    if not (np.issubdtype(image.dtype, np.floating) or np.issubdtype(image.dtype, np.integer)):
        raise CRFError(f"{name} must be of real numbers, got {image.dtype}")
    if np.issubdtype(image.dtype, np.floating) and not np.isfinite(image).all():
        raise CRFError(f"{name} must be finite, got values that are not")
    with np.errstate(over="ignore"):
        return image.astype(np.float32, copy=False)


def _misfit(scores: tuple[int, ...], image: tuple[int, ...]) -> str:
    message = f"scores are {scores} but the image is {image}"
    height_width = scores[1:]
    looks_transposed = sorted(image) == sorted((*height_width, 3)) or scores[:2] == image[:2]
    return f"{message}: transpose?" if looks_transposed else f"{message}: expected (C, H, W) and (H, W, 3)"


def _sizes(data_dim: np.ndarray | None, shape: tuple[int, ...]) -> list[tuple[int, int]]:
    """Height and width of each item's part, never more than the blob's (densecrf_layer.cpp:143-155)."""
    count, _, height, width = shape
    if data_dim is None:
        return [(height, width)] * count
    pairs = np.asarray(data_dim, np.float64)
    if pairs.size not in (2, 2 * count):
        raise CRFError(f"data_dim must hold (height, width) of each of {count} images, got shape {pairs.shape}")
    pairs = np.broadcast_to(pairs.reshape(-1, 2), (count, 2))
    if not (pairs >= 1).all() or not np.isfinite(pairs).all():
        raise CRFError(f"data_dim must be heights and widths of 1 or more, got {pairs.tolist()}")
    return [(min(int(h), height), min(int(w), width)) for h, w in pairs]
