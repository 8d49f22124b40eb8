"""The domain transform's recursive filter, as in DeepLab v2's layer (layers/domain_transform_layer.cpp).

Edge-preserving smoothing (Gastal and Oliveira, SIGGRAPH 2011): a network's scores are smoothed along the rows and
columns of the image, but less across its edges. Another part of the network may learn the edges (Chen et al., CVPR
2016).
"""

from __future__ import annotations

from typing import Any, NoReturn

from deeplab_caffe import _C
from deeplab_caffe.arrays import Arrays, ArrayT, arrays_of
from deeplab_caffe.ops.operator import operator
from deeplab_caffe.ops.sizes import check_blob

_SETTINGS = "int iterations, float spatial_sigma, float range_sigma, float min_weight, bool clamp"


def _check(xp: Arrays, x: Any, **others: Any) -> None:
    """Check dtypes, shapes and devices; an argument named ``edges`` must have one channel."""
    check_blob(xp, "domain_transform", "x", x)
    for name, array in others.items():
        expected = (x.shape[0], 1, *x.shape[2:]) if name == "edges" else tuple(x.shape)
        if tuple(array.shape) != expected:
            raise ValueError(
                f"domain_transform: expected {name} {expected} for x {tuple(x.shape)}, got shape {tuple(array.shape)}"
            )
        device = arrays_of(array).device
        if (xp.dtype(array), device) != (xp.dtype(x), xp.device):
            raise ValueError(
                f"domain_transform: x is {xp.dtype(x)} on {xp.device}, but {name} {xp.dtype(array)} on {device}"
            )


def _check_sizes(sizes: Any, height: int, width: int) -> None:
    """Check that each item's size is within the blob's; this waits for the device."""
    for item, (rows, columns) in enumerate(sizes.tolist()):
        for name, value, most in (("height", rows, height), ("width", columns, width)):
            if not 0 <= value < most + 1:
                raise ValueError(
                    f"domain_transform: the size of item {item} must be within {height} x {width}, got {name} {value:g}"
                )


def _views(xp: Arrays, x: Any, edges: Any, sizes: Any) -> tuple[Any, Any, Any]:
    contiguous = xp.view(xp.contiguous(x)), xp.view(xp.contiguous(edges))
    return *contiguous, None if sizes is None else xp.view(xp.contiguous(xp.cast(sizes, "float32")))


def _like_x(xp: Arrays, x: Any, edges: Any, *_: Any) -> Any:
    _check(xp, x, edges=edges)
    return xp.empty(x.shape, x.dtype)


@operator(
    f"domain_transform(Tensor x, Tensor edges, Tensor? sizes, {_SETTINGS}, bool check_sizes) -> Tensor", result=_like_x
)
def _domain_transform(xp: Arrays, output: Any, x: Any, edges: Any, sizes: Any, *arguments: Any) -> None:
    *settings, check_sizes = arguments
    if check_sizes and sizes is not None:
        _check_sizes(sizes, *x.shape[2:])
    given: tuple[Any, ...] = (*_views(xp, x, edges, sizes), xp.view(output), *settings, xp.stream)
    _C.domain_transform_forward(*given)


def _gradients(xp: Arrays, grad: Any, x: Any, edges: Any, *_: Any) -> tuple[Any, Any]:
    _check(xp, x, edges=edges, grad=grad)
    return xp.empty(x.shape, x.dtype), xp.empty(edges.shape, x.dtype)


@operator(
    f"domain_transform_backward(Tensor grad, Tensor x, Tensor edges, Tensor? sizes, {_SETTINGS}) -> (Tensor, Tensor)",
    result=_gradients,
)
def _domain_transform_backward(
    xp: Arrays, gradients: tuple[Any, Any], grad: Any, x: Any, edges: Any, sizes: Any, *settings: Any
) -> None:
    """Compute the gradients of x and edges; the forward pass is repeated, some planes at a time, instead of stored."""
    x, edges, sizes = _views(xp, x, edges, sizes)
    scratch = xp.empty((_C.domain_transform_scratch(x, settings[0]),), grad.dtype)
    given = x, edges, sizes, xp.view(xp.contiguous(grad))
    arguments: tuple[Any, ...] = (*given, *map(xp.view, gradients), xp.view(scratch), *settings, xp.stream)
    _C.domain_transform_backward(*arguments)


def _save_forward(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    x, edges, sizes, *ctx.settings, _ = inputs
    ctx.save_for_backward(x, edges, sizes)


def _forward_gradient(ctx: Any, grad: Any) -> tuple[Any, ...]:
    found = _domain_transform_backward(grad, *ctx.saved_tensors, *ctx.settings)
    wanted = (each if needed else None for each, needed in zip(found, ctx.needs_input_grad[:2], strict=True))
    return *wanted, *(None,) * 7


def _no_second_gradient(ctx: Any, *_: Any) -> NoReturn:
    raise NotImplementedError("domain_transform: there is no second derivative")


_domain_transform.differentiate(_save_forward, _forward_gradient)
_domain_transform_backward.differentiate(lambda ctx, inputs, output: None, _no_second_gradient)


def _reshaped(sizes: Any, x: Any) -> Any:
    if sizes is None:
        return None
    if sizes.shape[:1] != x.shape[:1] or sizes.reshape(-1).shape[0] != 2 * x.shape[0]:
        raise ValueError(
            f"domain_transform: expected a height and a width for each of {x.shape[0]} items, "
            f"got sizes of shape {tuple(sizes.shape)}"
        )
    return sizes.reshape(x.shape[0], 2)


def domain_transform(
    x: ArrayT,
    edges: ArrayT,
    sizes: Any | None = None,
    *,
    iterations: int = 3,
    spatial_sigma: float = 50.0,
    range_sigma: float = 5.0,
    min_weight: float = 0.0,
    clamp: bool = True,
    check_sizes: bool | None = None,
) -> ArrayT:
    """Smooth each channel along rows and columns, less where there are edges.

    Iteration k has ``sigma = spatial_sigma * sqrt(3) * 2**(K - k - 1) / sqrt(4**K - 1)`` and a weight for each pixel,
    ``exp(-sqrt(2) / sigma * (1 + edge * spatial_sigma / range_sigma))``. It filters the image four times, to the right,
    to the left, down and up, with ``y += weight * (neighbour - y)``. Two neighbours have the weight of the right or
    lower one. The backward pass needs only x and edges.

    Args:
        x: (N, C, H, W) float32 or float64, any strides: torch's, CuPy's or NumPy's.
        edges: (N, 1, H, W), with the library, dtype and device of x: the strength of the edge at each pixel, 0 or more;
            negative values smooth more.
        sizes: height and width of each item, 2 N numbers in any shape (N, ...), such as ImageSegData's (N, 1, 1, 2),
            truncated toward zero; scores outside of the size are copied. None: filter everything.
        iterations: K, 1 to 100; the layer's ``num_iter``.
        spatial_sigma: in pixels, above 0.
        range_sigma: in the unit of the edges, above 0.
        min_weight: 0 or more: lower bound of the weights.
        clamp: clamp weights to [min_weight, 1]; False: do not, as in the layer DomainTransformForwardOnly.
        check_sizes: True: a size that is not within (H, W) raises ValueError; on CUDA the check waits for the device.
            False: such an item becomes NaN. None: True on the CPU, False on CUDA.

    Returns:
        (N, C, H, W), contiguous. torch can differentiate it once, with respect to x and edges. As in the original, the
        gradient of a clamped weight is computed at the value to which it was clamped. The bits do not vary.

    Raises:
        ValueError: shapes, dtypes or devices do not fit together, or an argument is out of its range.
    """
    xp = arrays_of(x)
    sizes = _reshaped(sizes, x)
    if sizes is not None and arrays_of(sizes).device != xp.device:
        raise ValueError(f"domain_transform: x is on {xp.device}, but sizes on {arrays_of(sizes).device}")
    if check_sizes is None:
        check_sizes = xp.device == "cpu"
    settings = iterations, float(spatial_sigma), float(range_sigma), float(min_weight), clamp
    result: ArrayT = _domain_transform(x, edges, sizes, *settings, check_sizes)
    return result


def domain_transform_backward(
    grad: ArrayT,
    x: ArrayT,
    edges: ArrayT,
    sizes: Any | None = None,
    *,
    iterations: int = 3,
    spatial_sigma: float = 50.0,
    range_sigma: float = 5.0,
    min_weight: float = 0.0,
    clamp: bool = True,
) -> tuple[ArrayT, ArrayT]:
    """Return the gradients of x and edges of :func:`domain_transform`.

    Args:
        grad: the gradient of the result, (N, C, H, W).
        x: as for :func:`domain_transform`; so are all arguments that follow.
        edges: as for :func:`domain_transform`.
        sizes: as for :func:`domain_transform`, but not checked: a size that is not within (H, W) gives NaN.
        iterations: as for :func:`domain_transform`.
        spatial_sigma: as for :func:`domain_transform`.
        range_sigma: as for :func:`domain_transform`.
        min_weight: as for :func:`domain_transform`.
        clamp: as for :func:`domain_transform`.

    Returns:
        The gradients (N, C, H, W) and (N, 1, H, W). Outside of an item's size the gradient of x is ``grad`` and the
        gradient of edges is 0.

    Raises:
        ValueError: as :func:`domain_transform`.
    """
    settings = iterations, float(spatial_sigma), float(range_sigma), float(min_weight), clamp
    result: tuple[ArrayT, ArrayT] = _domain_transform_backward(grad, x, edges, _reshaped(sizes, x), *settings)
    return result
