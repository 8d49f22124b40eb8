"""The functions of pydensecrf.utils (1.0rc3)."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import Any

import numpy as np

from deeplab_caffe.arrays import to_numpy
from deeplab_caffe.crf.inputs import OVERSHOOT, NDArray, validate_real
from deeplab_caffe.crf.params import validate_count, validate_number
from deeplab_caffe.errors import CRFError, warn


def unary_from_labels(labels: NDArray, n_labels: int, gt_prob: float, zero_unsure: bool = True) -> NDArray:
    """Return energies of a label map that is right with a certain probability.

    Args:
        labels: integers, or a mask of bool, of any shape. With ``zero_unsure`` 0 means unknown and labels start at 1;
            else they start at 0.
        n_labels: number of labels, not counting the unknown one.
        gt_prob: probability that a label is right, between 0 and 1.
        zero_unsure: give pixels of label 0 the same energy for all labels.

    Returns:
        float32 ``(n_labels, labels.size)``.

    Raises:
        CRFError: a probability or labels out of range.
    """
    if not 0 < validate_number("`gt_prob`", gt_prob) < 1:
        raise CRFError(f"`gt_prob` must be in (0,1), got {gt_prob}")
    if n_labels == 1:
        raise CRFError(
            "`n_labels` must be 2 or more, got 1: a mask has two, background and foreground, and zero_unsure=False"
        )
    n_labels = validate_count("`n_labels`", n_labels, 2)
    flat = to_numpy(labels, "labels", CRFError).ravel()
    if not np.issubdtype(flat.dtype, np.integer) and flat.dtype != bool:
        raise CRFError(f"labels must be whole numbers, got {flat.dtype}")
    flat = flat.astype(np.int64)
    most = n_labels if zero_unsure else n_labels - 1
    if flat.size and not 0 <= flat.min() <= flat.max() <= most:
        void = ": are pixels of 255 unknown? Make them 0, and count labels from 1" if flat.max() == 255 else ""
        raise CRFError(
            f"labels must be from 0 to {most} for n_labels={n_labels} and zero_unsure={zero_unsure}, got "
            f"{flat.min()} to {flat.max()}{void}"
        )
    energies = np.full((n_labels, flat.size), -np.log((1.0 - gt_prob) / (n_labels - 1)), np.float32)
    columns = np.arange(flat.size)
    energies[flat - 1 if zero_unsure else flat, columns] = -np.log(gt_prob)
    if zero_unsure:
        energies[:, flat == 0] = -np.log(1.0 / n_labels)
    return energies


def compute_unary(labels: NDArray, M: int, GT_PROB: float = 0.5) -> NDArray:  # noqa: N803
    """Call :func:`unary_from_labels`; this name is deprecated."""
    warn("compute_unary is deprecated, use unary_from_labels instead", FutureWarning)
    return unary_from_labels(labels, M, GT_PROB)


def unary_from_softmax(sm: NDArray, scale: float | None = None, clip: float | None = 1e-5) -> NDArray:
    """Return energies of class probabilities: minus their logarithms.

    Args:
        sm: probabilities, classes first, ``(C, ...)``; floating point, or one-hot of integers or bool. Numbers below 0
            or above 1 are replaced by ``clip`` and 1, as in pydensecrf, with a warning.
        scale: confidence in the probabilities, in (0, 1]: ``scale * sm + (1 - scale) / C``. None leaves them unchanged.
        clip: lowest probability; None: do not clip, so that a probability of 0 has infinite energy.

    Returns:
        float32 ``(C, number of pixels)``. For a batch of one image ``(1, C, ...)``, without a scale, the shape is
        ``(1, C * number of pixels)``, as in pydensecrf: reshape it to ``(C, -1)``.

    Raises:
        CRFError: a scale or clip out of range, NaN, negative numbers without a clip, or one class.
    """
    if clip is not None and validate_number("`clip`", clip) >= 1:
        raise CRFError(f"`clip` must be less than 1, got {clip}")
    probabilities = _probabilities(sm, clip, batched=scale is None)
    classes = probabilities.shape[0]
    if scale is not None:
        if not 0 < validate_number("`scale`", scale) <= 1:
            raise CRFError(f"`scale` needs to be in (0,1], got {scale}")
        probabilities = scale * probabilities + (1 - scale) * (np.ones(probabilities.shape) / classes)
    if clip is not None:
        probabilities = np.clip(probabilities, clip, 1.0)
    with np.errstate(divide="ignore"):
        energies: NDArray = -np.log(probabilities).reshape([classes, -1]).astype(np.float32)
    return energies


def _probabilities(sm: Any, clip: float | None, *, batched: bool) -> NDArray:
    """Validate probabilities, classes first or in a batch of one, and return them as floating point numbers."""
    found = to_numpy(sm, "`sm`", CRFError)
    real = found.dtype.kind in "biuf"
    if found.ndim < 1 or not real:
        raise CRFError(f"`sm` must be real numbers (C, ...), got {found.dtype} {found.shape}")
    if found.shape[0] == 0:
        raise CRFError(f"`sm` {found.shape} has no class: expected probabilities (C, ...)")
    if found.shape[0] == 1 and not (batched and _is_batch_of_one(found)):
        raise CRFError(
            f"`sm` {found.shape} has one class: of a foreground p take np.stack([1 - p, p]), of a batch of one sm[0]"
        )
    if not np.issubdtype(found.dtype, np.floating):
        found = found.astype(np.float64)
    low, high = (found.min(), found.max()) if found.size else (0, 0)
    if np.isnan(low):
        raise CRFError("`sm` must be probabilities, but holds NaN")
    if low < 0 and clip is None:
        raise CRFError(
            f"`sm` must be probabilities, but holds {low:.6g}, which has no logarithm: are these scores? Their unary "
            "energies are -sm; of a resize's overshoot take the default clip"
        )
    # A resize's overshoot is clipped, as pydensecrf does.
    if low < -OVERSHOOT:
        warn(
            f"`sm` must be probabilities, but holds {low:.6g}: scores (logits)? Their unary energies are -sm. What is "
            "below `clip` counts as `clip`"
        )
    if high > 1 + OVERSHOOT:
        warn(f"`sm` must be probabilities, but holds {high:.6g}: scores, or from 0 to 255? What is above 1 counts as 1")
    return found


def _is_batch_of_one(sm: NDArray) -> bool:
    """Return whether probabilities ``(1, C, ...)`` sum to 1 over C, as a mask of one class hardly does."""
    return sm.ndim > 2 and sm.shape[1] > 1 and sm.size > 0 and bool(np.allclose(sm[0].sum(0), 1, atol=0.01))


def softmax_to_unary(sm: NDArray, GT_PROB: float = 1) -> NDArray:  # noqa: N803
    """Call :func:`unary_from_softmax`; this name is deprecated."""
    warn("softmax_to_unary is deprecated, use unary_from_softmax instead", FutureWarning)
    return unary_from_softmax(sm, None if GT_PROB == 1 else GT_PROB, clip=None)


def create_pairwise_gaussian(sdims: Sequence[float], shape: Sequence[int]) -> NDArray:
    """Return features of positions, for ``addPairwiseEnergy``.

    Args:
        sdims: standard deviation along each axis of ``shape``: for an image (y, x), the reverse order of ``sxy``.
        shape: shape of the image or volume.

    Returns:
        float32 ``(len(shape), number of pixels)``.

    Raises:
        CRFError: not one deviation for each axis, or one that is not positive.
    """
    positions = _positions(sdims, shape)
    return positions.reshape(len(positions), -1)


def create_pairwise_bilateral(
    sdims: Sequence[float], schan: float | Sequence[float], img: NDArray, chdim: int = -1
) -> NDArray:
    """Return features of positions and channels, for ``addPairwiseEnergy``.

    Args:
        sdims: standard deviation along each axis of the image except that of channels: (y, x). They may be omitted for
            last axes of length 1.
        schan: standard deviation of the channels, a number or one for each.
        img: the image or volume.
        chdim: the axis of its channels; -1 means no such axis (not the last axis).

    Returns:
        float32 ``(len(sdims) + channels, number of pixels)``.

    Raises:
        CRFError: deviations that do not fit the image or are not positive.
    """
    image = to_numpy(img, "`img`", CRFError)
    if chdim not in range(-image.ndim, max(image.ndim, 1)):
        raise CRFError(f"`chdim` must be an axis of the image {image.shape}, or -1, got {chdim!r}")
    validate_real(image.dtype.name, "`img`")
    channels = (image[np.newaxis] if chdim == -1 else np.moveaxis(image, chdim, 0)).astype(np.float32)
    deviations = [schan] * len(channels) if isinstance(schan, (int, float, np.number)) else list(schan)
    if len(deviations) != len(channels):
        raise CRFError(
            f"`schan` has {len(deviations)} entries, but the image {image.shape} has {len(channels)} channels with "
            f"chdim={chdim}"
        )
    _check_positive("schan", deviations)
    for channel, deviation in zip(channels, deviations, strict=True):
        channel /= deviation
    features = np.concatenate([_positions(sdims, channels.shape[1:]), channels])
    return features.reshape(len(features), -1)


def _create_pairwise_gaussian_2d(sx: float, sy: float, shape: Sequence[int]) -> NDArray:
    """Return :func:`create_pairwise_gaussian` of two axes; as in pydensecrf, ``sx`` goes with the rows."""
    return create_pairwise_gaussian((sx, sy), shape)


def _create_pairwise_bilateral_2d(sx: float, sy: float, sr: float, sg: float, sb: float, img: NDArray) -> NDArray:
    """Return :func:`create_pairwise_bilateral` of an RGB image; as in pydensecrf, ``sx`` goes with the rows."""
    return create_pairwise_bilateral((sx, sy), (sr, sg, sb), np.asarray(img)[..., :3], chdim=2)


def _positions(sdims: Sequence[float], shape: Sequence[int]) -> NDArray:
    """Return positions over deviations, float32 ``(axes, *shape)``."""
    shape = [validate_count("`shape`", size) for size in _sequence("shape", shape)]
    sdims = _sequence("sdims", sdims)
    # Images (h, w, 1) with chdim=-1 have three axes and two deviations; the position on the third is 0 over any.
    without = shape[len(sdims) :]
    sdims += without if set(without) == {1} else []
    if len(sdims) != len(shape):
        raise CRFError(f"`sdims` has {len(sdims)} entries, but there are {len(shape)} axes: {tuple(shape)}")
    _check_positive("sdims", sdims)
    mesh = np.array(np.meshgrid(*(range(size) for size in shape), indexing="ij"), dtype=np.float32)
    for axis, deviation in zip(mesh, sdims, strict=True):
        axis /= deviation
    return mesh


def _sequence(name: str, values: Any) -> list[Any]:
    if isinstance(values, str) or not np.iterable(values):
        raise CRFError(f"`{name}` must be numbers, one for each axis, got {values!r}")
    return list(values)


def _check_positive(name: str, deviations: Sequence[Any]) -> None:
    if not all(isinstance(one, Real) and 0 < float(one) < np.inf for one in deviations):
        raise CRFError(f"`{name}` must be positive, finite numbers, got {list(deviations)}")
