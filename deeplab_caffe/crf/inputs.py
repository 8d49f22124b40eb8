"""Validate scores, images and costs, for every entry point of the dense CRF."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from reprlib import repr as short_repr
from typing import Any, Literal, get_args

import numpy as np

from deeplab_caffe.arrays import arrays_of, is_on_gpu, is_torch, to_numpy
from deeplab_caffe.crf.params import MOST_WEIGHT
from deeplab_caffe.errors import CRFError, warn

NDArray = np.ndarray[Any, Any]
NDArray32 = np.ndarray[Any, np.dtype[np.float32]]
Sizes = tuple[int, ...]

# What scores are: a network's scores before the softmax; probabilities; or minus their logarithms.
Kind = Literal["scores", "probabilities", "energies"]

# How far a resize by cubic splines may bring probabilities outside of 0 to 1.
OVERSHOOT = 0.1
# How far sums of probabilities may differ from 1: with 21 classes rounded to bytes they differ by up to 0.04. Sums of
# exp(-energies) have a smaller limit, because the scores (0, s) of two classes look like energies if s is large.
_ROUNDING = 0.05
_ROUNDING_OF_ENERGIES = 0.01
_MASK = (
    'of a mask of one class make two channels: np.stack([1 - p, p]) with kind="probabilities", or np.stack([0 * s, s]) '
    "of its logit"
)


def validate_floating(dtype: str, name: str) -> None:
    """Validate the dtype of an array that is computed with in float32.

    Raises:
        CRFError: the dtype is not floating point.
    """
    if "float" not in dtype and dtype != "longdouble":
        raise CRFError(f"{name} must be floating point, got {dtype}")


def validate_real(dtype: str, name: str) -> None:
    """Validate the dtype of colours, features or costs.

    Raises:
        CRFError: the dtype is not one of real numbers.
    """
    if not dtype.startswith(("uint", "int", "float", "bfloat", "longdouble")):
        raise CRFError(f"{name} must be of real numbers, got {dtype}")


def as_kind(kind: Any, probabilities: bool = False) -> Kind | None:
    """Return what the caller says that scores are; None if the caller does not say.

    Args:
        kind: "scores", "probabilities", "energies" or None.
        probabilities: the older spelling of ``kind="probabilities"``.

    Raises:
        CRFError: ``kind`` is another word, or contradicts ``probabilities``.
    """
    if kind is not None and kind not in get_args(Kind):
        raise CRFError(f"kind must be scores, probabilities or energies, got {short_repr(kind)}")
    if probabilities and kind not in (None, "probabilities"):
        raise CRFError(f"kind={kind!r} and probabilities=True contradict each other: give kind alone")
    return "probabilities" if probabilities else kind


def validate_scores(shape: Sizes, dtype: str, layout: str, kind: Kind | None = None) -> None:
    """Validate the shape and dtype of scores, but not their values.

    Args:
        shape: the scores' shape.
        dtype: name of the scores' dtype.
        layout: the expected axes: "(C, H, W)", ...
        kind: what the scores are.

    Raises:
        CRFError: the scores have another number of axes, are not floating point, or are empty.
    """
    name = kind or "scores"
    axes = layout.count(",") + 1
    if len(shape) != axes:
        hint = f": {_MASK}" if len(shape) == axes - 1 else ""
        raise CRFError(f"{name} must be {layout}, got shape {shape}{hint}")
    if dtype.startswith(("int", "uint", "bool")):
        raise CRFError(
            f"{name} must be floating point, got {dtype}: a label map or one-hot? Of those "
            "deeplab_caffe.pydensecrf.utils.unary_from_labels and unary_from_softmax make energies"
        )
    validate_floating(dtype, name)
    if 0 in shape:
        raise CRFError(f"{name} are empty: {layout} = {shape}")


def two_channels(scores: Any, kind: Kind | None, axis: int) -> Any:
    """Return scores with a single channel, the foreground's, as two: background and foreground; others unchanged.

    Args:
        scores: scores of any library.
        kind: what the caller says that they are. A single channel of "scores" has logits; the background's are 0.
        axis: the channels' axis, from the end: -3 for ``(C, H, W)`` and ``(N, C, H, W)``, -2 for ``(C, N)``.

    Raises:
        CRFError: there is a single channel, and ``kind`` is None.
    """
    shape = np.shape(scores)
    if len(shape) < -axis or shape[axis] != 1:
        return scores
    if kind is None:
        raise CRFError(
            f'scores {tuple(shape)} have one channel: the foreground? Say what it is: kind="scores" (its logit), '
            '"probabilities" or "energies", and marginals of background and foreground come; or give two channels'
        )
    if not is_torch(scores):
        scores = arrays_of(scores, CRFError).take(scores) if is_on_gpu(scores) else to_numpy(scores, kind, CRFError)
    validate_floating(str(scores.dtype), kind)
    if scores.dtype.itemsize < 4:  # the background's energy may be beyond half precision
        scores = arrays_of(scores, CRFError).cast(scores, "float32")
    _validate_foreground(scores, kind)
    if kind == "scores":
        return concatenate([scores - scores, scores], axis)
    if kind == "energies":
        library, tiny = library_of(scores), float(np.finfo(np.float32).tiny)
        return concatenate([-library.log((-library.expm1(-scores)).clip(tiny)), scores], axis)
    return concatenate([(1 - scores).clip(0), scores], axis)


def _validate_foreground(values: Any, kind: Kind) -> None:
    """Validate a single channel of probabilities or energies, from which the background is computed.

    Raises:
        CRFError: probabilities are above 1 or energies are below 0.
    """
    if kind == "scores" or 0 in values.shape or is_recorded(values):
        return
    with suppress(RuntimeError):  # under torch.func the values cannot be read
        if kind == "probabilities" and (high := float(values.max())) > 1 + OVERSHOOT:
            raise CRFError(
                f'probabilities of one channel must be from 0 to 1, got {high:.6g}: a logit? Say kind="scores"; from 0 '
                "to 255? Divide by 255"
            )
        if kind == "energies" and (low := float(values.min())) < -OVERSHOOT:
            raise CRFError(
                f'energies of one channel must not be negative, got {low:.6g}: a logit? Say kind="scores", of its '
                "negative"
            )


def is_recorded(values: Any) -> bool:
    """Return whether the values do not exist yet, because operations are only being recorded (traced or captured)."""
    if is_torch(values):
        torch = sys.modules["torch"]
        return bool(torch.compiler.is_compiling() or (values.is_cuda and torch.cuda.is_current_stream_capturing()))
    return is_on_gpu(values) and bool(arrays_of(values, CRFError).is_capturing())


def validate_score_values(scores: NDArray, kind: Kind | None) -> None:
    """Validate the values of float32 scores ``(C, H, W)``; energies are given as their negatives.

    Raises:
        CRFError: a value is not finite; a probability is negative, or all are 0 at a pixel; or as
            :func:`refuse_other_kinds`.
    """
    name = kind or "scores"
    low, high = scores.min(), scores.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        missing = int(np.isnan(scores).sum())
        low, high = (-high, -low) if kind == "energies" else (low, high)
        got = f"NaN at {missing} of {scores.size}" if missing else f"values from {low} to {high}"
        raise CRFError(f"{name} must be finite (in float32), got {got}")
    if kind == "energies" or low >= -OVERSHOOT:
        refuse_other_kinds(scores, np.asarray, kind)
    if kind == "probabilities":
        if low < 0:
            raise CRFError(f'probabilities must not be negative, got {low}: a network\'s scores? Say kind="scores"')
        if not scores.max(axis=0).all():
            y, x = np.argwhere(scores.max(axis=0) == 0)[0]
            raise CRFError(f"probabilities are 0 for every label at row {y}, column {x}")


def refuse_other_kinds(scores: Any, on_host: Callable[[Any], NDArray], kind: Kind | None = None) -> None:
    """Validate that scores are not clearly of another kind than the caller says; None stands for scores.

    Probabilities that go beyond 1 and have different sums at different pixels only give a warning: they may be meant.

    Args:
        scores: as for :func:`apparent_kind`; energies are given as their negatives.
        on_host: as for :func:`apparent_kind`.
        kind: what the caller says that the scores are.

    Raises:
        CRFError: the scores are clearly of another kind.
    """
    if kind == "scores":
        return
    found = apparent_kind(scores, on_host)
    if kind == "energies":
        if found == "energies":
            raise CRFError(
                'kind="energies", but exp of them sums to 1 at every pixel: these are logarithms of probabilities, '
                'without the minus; say kind="scores"'
            )
        if apparent_kind(scores, lambda some: -on_host(some)) == "probabilities":
            raise CRFError(
                'kind="energies", but they sum to 1 at every pixel, as probabilities do: say kind="probabilities"'
            )
    elif found == "energies":
        what = "exp(-scores) sums" if kind is None else f'kind="{kind}", but exp(-{kind}) sums'
        raise CRFError(
            f"{what} to 1 at every pixel: these are energies, minus the logarithms of probabilities; say "
            'kind="energies" if they are, or kind="scores" if the network gives them so'
        )
    elif kind is None and found == "probabilities":
        raise CRFError(
            'scores sum to 1 at every pixel, as probabilities do: say kind="probabilities" if they are, or '
            'kind="scores" if the network gives them so'
        )
    elif kind == "probabilities" and found is None:
        _warn_of_scores(on_host(_some_of(scores)))


def _warn_of_scores(probabilities: NDArray) -> None:
    sums = probabilities.sum(axis=0)
    if probabilities.max() > 1 + OVERSHOOT and np.ptp(sums) > _ROUNDING * abs(sums).max():
        warn(
            f"probabilities go up to {probabilities.max():.6g}, and their sums differ from pixel to pixel: are they "
            'scores of a network? Then say kind="scores"'
        )


def apparent_kind(scores: Any, on_host: Callable[[Any], NDArray] = np.asarray) -> Kind | None:
    """Return "probabilities" or "energies" if the scores clearly are; else None.

    They are if the sum over the classes, of the scores or of exp(-scores), is 1 at every pixel up to rounding, clipping
    and the overshoot of a resize. Logarithms of probabilities are scores.

    Args:
        scores: ``(C, H, W)`` of any library.
        on_host: function that converts such an array to numpy's.
    """
    # A sample of up to 64 pixels almost always rules both out; only if it does not are all pixels read.
    if _kind_by_sums(on_host(_some_of(scores))) is None:
        return None
    return _kind_by_sums(on_host(scores))


def _some_of(scores: Any) -> Any:
    _, height, width = scores.shape
    return scores[:, :: -(-height // 8), :: -(-width // 8)]


def _kind_by_sums(scores: NDArray) -> Kind | None:
    low = scores.min()
    with np.errstate(over="ignore"):
        if low >= -OVERSHOOT and _are_one(scores.sum(axis=0), _ROUNDING):
            return "probabilities"
        if low >= -_ROUNDING_OF_ENERGIES and _are_one(np.exp(-scores).sum(axis=0), _ROUNDING_OF_ENERGIES):
            return "energies"
    return None


def _are_one(sums: NDArray, rounding: float) -> bool:
    return bool((abs(sums - 1) <= rounding).all())


def validate_fit(scores: Sizes, image: Sizes) -> None:
    """Validate that scores (C, H, W) and an image (H, W, 3) fit.

    Raises:
        CRFError: they do not fit; the message says so if an axis seems to be transposed.
    """
    if len(image) == 3 and image[2] == 3 and image[:2] == scores[1:]:
        return
    looks_transposed = sorted(image) == sorted((*scores[1:], 3)) or scores[:2] == image[:2]
    hint = "transpose?" if looks_transposed else "expected (C, H, W) and (H, W, 3)"
    raise CRFError(f"scores are {scores} but the image is {image}: {hint}{shape_advice(image, scores[1:])}")


def validate_image_shape(shape: Sizes, size: tuple[int, int] | None = None) -> None:
    """Validate the shape of an image (H, W, 3), and its height and width if they are known.

    Raises:
        CRFError: the shape is another one; the message says what to do about grey, alpha, channels first, or a batch.
    """
    if len(shape) == 3 and shape[2] == 3 and size in (None, shape[:2]):
        return
    want = "(H, W, 3)" if size is None else f"{(*size, 3)}"
    turned = size is not None and shape == (*size[::-1], 3)
    raise CRFError(f"image must be {want}, got {shape}{': transpose?' if turned else ''}{shape_advice(shape, size)}")


def shape_advice(shape: Sizes, size: Sizes | None) -> str:
    """Return advice on how to make (H, W, 3) of this size from an image of this shape; "" if the case is unknown."""
    fitting = [
        (len(shape) == 2 and size in (None, shape), "grey? Take np.stack([image] * 3, axis=-1)"),
        (shape[2:] == (1,) and size in (None, shape[:2]), "grey? Take np.repeat(image, 3, axis=-1)"),
        (shape[2:] == (4,) and size in (None, shape[:2]), "RGBA? Take image[..., :3]"),
        (
            len(shape) == 3 and shape[0] == 3 and size in (None, shape[1:]),
            "channels first? Take image.transpose(1, 2, 0)",
        ),
        (len(shape) == 4 and shape[0] == 1, "a batch of one? Take image[0]"),
    ]
    return next((f" ({advice})" for fits, advice in fitting if fits), "")


def validate_finite(values: NDArray, name: str) -> None:
    """Validate that all of an array's values are finite.

    Raises:
        CRFError: a value is not finite.
    """
    if np.issubdtype(values.dtype, np.floating) and not np.isfinite(values).all():
        raise CRFError(f"{name} must be finite, got values that are not")


def validate_compatibility(compatibility: Any) -> NDArray:
    """Validate label costs ``(C,)`` or ``(C, C)``, and return them as float32.

    Raises:
        CRFError: the shape is another one, or values are not real and finite.
    """
    costs = to_numpy(compatibility, "compatibility", CRFError)
    validate_real(costs.dtype.name, "compatibility")
    if costs.ndim not in (1, 2) or len(set(costs.shape)) > 1 or costs.size == 0:
        raise CRFError(f"compatibility must be (C,) or (C, C), got shape {costs.shape}; one number is a weight")
    with np.errstate(over="ignore"):
        costs = costs.astype(np.float32)
    validate_finite(costs, "compatibility")
    if (largest := float(np.abs(costs).max())) > MOST_WEIGHT:
        raise CRFError(f"compatibility must be from -{MOST_WEIGHT:g} to {MOST_WEIGHT:g}, got {largest:.9g}")
    return costs


def image_sizes(data_dim: NDArray | None, shape: Sizes) -> list[tuple[int, int]]:
    """Return (height, width) of each item's valid part, at most the blob's (densecrf_layer.cpp:143-155).

    Args:
        data_dim: (height, width) of each item, or one pair for all items; None: the whole blob.
        shape: the blob's shape, (N, C, H, W).

    Raises:
        CRFError: ``data_dim`` has another shape, or values below 1.
    """
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


def library_of(array: Any) -> Any:
    """Return the module that an array belongs to: numpy, torch or cupy."""
    return sys.modules["torch" if is_torch(array) else "cupy" if is_on_gpu(array) else "numpy"]


def concatenate(parts: Sequence[Any], axis: int) -> Any:
    """Concatenate arrays of one library, on the device of the first."""
    library = library_of(parts[0])
    if library is np or is_torch(parts[0]):
        return library.concatenate(parts, axis)
    with library.cuda.Device(parts[0].device.id):
        return library.concatenate(parts, axis)
