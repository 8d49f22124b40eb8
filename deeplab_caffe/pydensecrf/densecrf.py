"""The classes of pydensecrf.densecrf (1.0rc3), with its arguments, defaults and results.

Marginals are within 1e-4 of pydensecrf's. The differences:

- Arrays of other dtypes and memory layouts are accepted; pydensecrf accepts only contiguous float32. In both, label
  costs must be float32, and images uint8 or integers from 0 to 255.
- ``kind=`` is the kind of the unary "energies", ``image_range=`` the values of black and white, as in
  :func:`deeplab_caffe.crf.dense_crf`. A warning names energies that seem to be probabilities, or their logarithms
  without the minus.
- A single label is an error, because there is nothing to decide.
- Results are numpy arrays. pydensecrf's must be passed through ``np.array``, which works here too.
- ``setUnary`` leaves its argument usable. ``startInference`` without unary energies gives uniform marginals;
  pydensecrf gives zeros.
- :meth:`DenseCRF.map`, :attr:`DenseCRF.nlabels` and :attr:`DenseCRF.npixels` are available.
- NaN energies are an error, and positive infinity makes a label impossible.
- ``device="cuda"`` computes on a GPU; marginals are then of the type and on the device of the unary energies.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from enum import IntEnum
from numbers import Number
from reprlib import repr as short_repr
from typing import TYPE_CHECKING, Any

import numpy as np

from deeplab_caffe.arrays import is_on_gpu, to_numpy
from deeplab_caffe.arrays.stays import StaysSharing
from deeplab_caffe.crf import model
from deeplab_caffe.crf.colours import Range
from deeplab_caffe.crf.inputs import Kind, NDArray, apparent_kind, as_kind, shape_advice
from deeplab_caffe.crf.params import validate_count, validate_iterations, validate_weight
from deeplab_caffe.errors import CRFError, warn

if TYPE_CHECKING:
    import torch
    from typing_extensions import Self


class NormalizationType(IntEnum):
    """Position of a kernel's normalisation: see :meth:`deeplab_caffe.crf.DenseCRF.add_pairwise`."""

    NO_NORMALIZATION = 0
    NORMALIZE_BEFORE = 1
    NORMALIZE_AFTER = 2
    NORMALIZE_SYMMETRIC = 3


class KernelType(IntEnum):
    """The scaling of a kernel's features that learning could change. Neither this package nor pydensecrf learns, so all
    types give the same marginals.
    """

    CONST_KERNEL = 0
    DIAG_KERNEL = 1
    FULL_KERNEL = 2


NO_NORMALIZATION = NormalizationType.NO_NORMALIZATION
NORMALIZE_BEFORE = NormalizationType.NORMALIZE_BEFORE
NORMALIZE_AFTER = NormalizationType.NORMALIZE_AFTER
NORMALIZE_SYMMETRIC = NormalizationType.NORMALIZE_SYMMETRIC
CONST_KERNEL = KernelType.CONST_KERNEL
DIAG_KERNEL = KernelType.DIAG_KERNEL
FULL_KERNEL = KernelType.FULL_KERNEL

_NORMALIZATIONS = {
    NO_NORMALIZATION: "none",
    NORMALIZE_BEFORE: "before",
    NORMALIZE_AFTER: "after",
    NORMALIZE_SYMMETRIC: "symmetric",
}


class Unary:
    """Unary energies, which a subclass defines."""

    def get(self) -> NDArray:
        """Return energies, float32 ``(nlabels, nvar)``."""
        raise TypeError("Unary has no energies of its own: use ConstUnary or LogisticUnary")


class ConstUnary(Unary):
    """Given energies ``u`` ``(nlabels, nvar)``."""

    def __init__(self, u: Any) -> None:
        self._energies = _matrix(u, "unary energy").copy()

    def get(self) -> NDArray:
        """Return energies, float32 ``(nlabels, nvar)``."""
        return self._energies


class LogisticUnary(Unary):
    """Energies ``L @ f`` of weights ``L`` ``(nlabels, k)`` and features ``f`` ``(k, nvar)``."""

    def __init__(self, L: Any, f: Any) -> None:  # noqa: N803
        weights, features = _matrix(L, "L of a logistic unary"), _matrix(f, "f of a logistic unary")
        if weights.shape[1] != features.shape[0]:
            raise CRFError(f"Bad shapes for logistic unary: L is {weights.shape} and f is {features.shape}")
        self._energies = weights @ features

    def get(self) -> NDArray:
        """Return energies, float32 ``(nlabels, nvar)``."""
        return self._energies


class DenseCRF(StaysSharing):
    """A dense CRF over ``nvar`` variables with any features.

    Args:
        nvar: number of variables.
        nlabels: number of labels.
        device: device of the computation: ``"cpu"``, ``"cuda"`` or ``"cuda:1"``.
    """

    instead = "send what its kernels and unary energies were made of, and make it in the process that needs it"
    _crf: model.DenseCRF

    def __init__(self, nvar: int, nlabels: int, *_: Any, device: str | torch.device | None = None, **__: Any) -> None:
        self._begin(model.DenseCRF(nvar, device=device), nlabels)

    def _begin(self, crf: model.DenseCRF, nlabels: int) -> None:
        self._crf = crf
        if nlabels == 1:
            raise CRFError("nlabels must be 2 or more, got 1: a foreground needs a background beside it")
        self._nlabels = validate_count("nlabels", nlabels, 2)
        self._backend = crf.backend
        self._unary: Any = None
        self._kind: Any = None  # marginals are of the kind of this

    def __copy__(self) -> Self:
        new = super().__copy__()
        new._crf = copy.copy(self._crf)
        return new

    @property
    def npixels(self) -> int:
        """Return the number of variables."""
        return self._crf.points

    @property
    def nlabels(self) -> int:
        """Return the number of labels."""
        return self._nlabels

    def setUnary(self, u: Unary) -> None:
        """Set the unary energies."""
        if not isinstance(u, Unary):
            raise TypeError(f"Argument 'u' has incorrect type (expected Unary, got {type(u).__name__})")
        self._set(u.get())

    def setUnaryEnergy(self, u: Any, f: Any = None, *, kind: Kind | None = None) -> None:
        """Set the unary energies ``u`` ``(nlabels, nvar)``, minus the logarithm of probabilities; with ``f`` the
        energies are ``u @ f``.

        ``kind`` says what ``u`` is, see :func:`deeplab_caffe.crf.dense_crf`; None: energies, with a warning if they
        seem to be something else.
        """
        kind = as_kind(kind)
        if is_on_gpu(u) and f is None and kind in (None, "energies"):
            self._set_on_gpu(u, kind)
            return
        energies = _matrix(u, "unary energy") if f is None else LogisticUnary(u, f).get()
        if kind == "probabilities":
            with np.errstate(divide="ignore"):
                energies = np.log(energies)
        self._set(-energies if kind in ("scores", "probabilities") else energies, kind)

    def _set_on_gpu(self, u: Any, kind: Kind | None) -> None:
        energies = self._backend.floats(self._backend.take(u, "unary energies"), "unary energies")
        need = (self._nlabels, self.npixels)
        # Looked at there, where they are fit; the words for those that are not are the CPU's.
        if tuple(energies.shape) != need or not self._backend.arrays.columns_have_finite_minimum(energies):
            self._set(_matrix(self._backend.arrays.numpy(energies), "unary energy"), kind)
        if kind is None:
            _warn_of_other_kinds(energies, self._backend.arrays.numpy)
        self._unary, self._kind = -energies, u

    def _set(self, energies: NDArray, kind: Kind | None = None) -> None:
        need = (self._nlabels, self.npixels)
        if energies.shape != need:
            hint = ": transpose?" if energies.shape == need[::-1] else ""
            if energies.size == self.npixels:
                hint = ": of a mask p of one class, unary_from_softmax(np.stack([1 - p, p])) makes two rows"
            raise CRFError(f"Bad shape for unary energy (Need {need}, got {energies.shape}){hint}")
        scores = -energies
        best = scores.max(axis=0)
        if not np.isfinite(best).all():
            where = np.flatnonzero(~np.isfinite(best))[0]
            raise CRFError(
                f"Bad unary energy of variable {where}: {energies[:, where][:4]}..., but it must not be NaN or minus "
                "infinity, nor infinite for every label (-log(0) is: clip probabilities, as unary_from_softmax does)"
            )
        if kind is None:
            _warn_of_other_kinds(energies, np.asarray)
        self._unary, self._kind = self._backend.take(scores, "unary energies"), scores

    def addPairwiseEnergy(
        self,
        features: Any,
        compat: Any,
        kernel: int = DIAG_KERNEL,
        normalization: int = NORMALIZE_SYMMETRIC,
    ) -> None:
        """Add a Gaussian kernel of features ``(d, nvar)``, each divided by its standard deviation.

        Args:
            features: d from 1 to 16.
            compat: a number w for Potts; or energies ``(nlabels,)`` or ``(nlabels, nlabels)`` that are added for pairs
                of labels (a matrix is made symmetric).
            kernel: has no effect, see :class:`KernelType`.
            normalization: a :class:`NormalizationType`.

        Raises:
            CRFError: the features have another shape, or another argument is invalid.
        """
        on_gpu = is_on_gpu(features)
        array = self._backend.take(features, "features") if on_gpu else _matrix(features, "pairwise energy")
        if array.ndim != 2 or array.shape[1] != self.npixels:
            raise CRFError(f"Bad shape for pairwise energy (Need (?, {self.npixels}), got {tuple(array.shape)})")
        self._crf.add_pairwise(array.T, normalization=_normalization(kernel, normalization), **self._compat(compat))

    def _compat(self, compat: Any) -> dict[str, Any]:
        """Return ``compat`` as arguments of the CRF: a weight for Potts, or costs of labels."""
        if isinstance(compat, Number):
            return {"weight": validate_weight("compat", compat)}
        array = np.asarray(compat, np.float32)
        if array.ndim == 0:
            return {"weight": validate_weight("compat", array.item())}
        if array.ndim > 2:
            raise CRFError(f"LabelCompatibility of dimension >2 not meaningful (got shape {array.shape})")
        if array.shape != (self._nlabels,) * array.ndim:
            raise CRFError(f"Bad shape for compat (Need {(self._nlabels,) * array.ndim}, got {array.shape})")
        if isinstance(compat, np.ndarray) and compat.dtype != np.float32:
            raise CRFError(f"compat must be float32, got {compat.dtype}: take compat.astype(np.float32)")
        return {"weight": 1.0, "compatibility": 0.5 * (array + array.T) if array.ndim == 2 else array}

    def inference(self, niter: int) -> NDArray:
        """Return marginals after ``niter`` iterations, float32 ``(nlabels, nvar)``."""
        scores = self._scores()
        with self._crf.lend_field(self._nlabels) as field:
            field.start(scores)
            field.run(_whole(niter))
            marginals: NDArray = self._backend.like(self._kind, field.marginals())
        return marginals

    def map(self, niter: int) -> NDArray:
        """Return the most probable label of each variable after ``niter`` iterations, int64 ``(nvar,)``."""
        labels: NDArray = self.inference(niter).argmax(0)
        return labels

    def startInference(self) -> tuple[NDArray, NDArray, NDArray]:
        """Return the initial marginals, and two arrays to pass to :meth:`stepInference`."""
        return self.inference(0), np.empty((0, 0), np.float32), np.empty((0, 0), np.float32)

    def stepInference(self, Q: NDArray, tmp1: Any = None, tmp2: Any = None) -> None:  # noqa: N803
        """Do one iteration from the marginals ``Q``, and write the new marginals to ``Q``.

        Raises:
            CRFError: ``Q`` is no array that can be written to, or has another shape.
        """
        marginals = self._checked(Q)
        if not is_on_gpu(Q) and not (isinstance(Q, np.ndarray) and Q.flags.writeable):
            raise CRFError("Q must be an array that can be written to, as startInference returns it")
        scores = self._scores()
        with self._crf.lend_field(self._nlabels) as field:
            field.start(scores)
            field.set_marginals(marginals)
            field.run(1)
            Q[...] = self._backend.like(Q, field.marginals())

    def klDivergence(self, Q: Any) -> float:  # noqa: N803
        """Return the marginals' KL divergence from the CRF's distribution, up to a constant."""
        scores, marginals = self._scores(), self._checked(Q)
        with self._crf.lend_field(self._nlabels) as field:
            field.start(scores)
            field.set_marginals(marginals)
            return model.Inference(self._backend, field, Q).energies().kl_divergence

    def _scores(self) -> Any:
        if self._unary is None:
            self._set(np.zeros((self._nlabels, self.npixels), np.float32))
        return self._unary

    def _checked(self, marginals: Any) -> Any:
        on_gpu = is_on_gpu(marginals)
        array = self._backend.take(marginals if on_gpu else _matrix(marginals, "Q"), "Q")
        if tuple(array.shape) != (self._nlabels, self.npixels):
            raise CRFError(f"Bad shape for Q (Need {(self._nlabels, self.npixels)}, got {tuple(array.shape)})")
        return self._backend.floats(array, "Q")


class DenseCRF2D(DenseCRF):
    """A dense CRF over the pixels of an image; variable ``y * w + x`` is the pixel at row y, column x.

    Args:
        w: width.
        h: height.
        nlabels: number of labels.
        device: device of the computation: ``"cpu"``, ``"cuda"`` or ``"cuda:1"``.
    """

    _crf: model.DenseCRF2D

    def __init__(
        self, w: int, h: int, nlabels: int, *_: Any, device: str | torch.device | None = None, **__: Any
    ) -> None:
        self._begin(model.DenseCRF2D((h, w), device=device), nlabels)

    def addPairwiseGaussian(
        self, sxy: Any, compat: Any, kernel: int = DIAG_KERNEL, normalization: int = NORMALIZE_SYMMETRIC
    ) -> None:
        """Add a kernel of positions only.

        Args:
            sxy: standard deviation in pixels, a number or (x, y). DeepLab's pos_xy_std.
            compat: see :meth:`addPairwiseEnergy`. DeepLab's pos_w.
            kernel: see :meth:`addPairwiseEnergy`.
            normalization: see :meth:`addPairwiseEnergy`.
        """
        how = _normalization(kernel, normalization)
        self._crf.add_gaussian(_pair(sxy), normalization=how, **self._compat(compat))

    def addPairwiseBilateral(
        self,
        sxy: Any,
        srgb: Any,
        rgbim: Any,
        compat: Any,
        kernel: int = DIAG_KERNEL,
        normalization: int = NORMALIZE_SYMMETRIC,
        *,
        image_range: Range | None = None,
    ) -> None:
        """Add a kernel of positions and colours.

        Args:
            sxy: standard deviation of position in pixels, a number or (x, y). DeepLab's bi_xy_std.
            srgb: standard deviation of colour, a number or one for each channel. DeepLab's bi_rgb_std.
            rgbim: ``(h, w, 3)``, uint8 or integers from 0 to 255, or numbers in ``image_range``.
            compat: see :meth:`addPairwiseEnergy`. DeepLab's bi_w.
            kernel: see :meth:`addPairwiseEnergy`.
            normalization: see :meth:`addPairwiseEnergy`.
            image_range: values of black and white in the image, see :func:`deeplab_caffe.crf.dense_crf`.

        Raises:
            CRFError: the image has another shape or range, or another argument is invalid.
        """
        image = self._backend.take(rgbim, "rgbim")
        height, width = self._crf.size
        came = tuple(image.shape)
        if len(came) != 3 or came[:2] != (height, width):
            hint = ": transpose?" if came[:2] == (width, height) else shape_advice(came, (height, width))
            raise CRFError(f"Bad shape for pairwise bilateral (Need {(height, width, 3)}, got {came}){hint}")
        if image.shape[2] != 3:
            raise CRFError(
                "addPairwiseBilateral only works for RGB images. For other types, use `utils.create_pairwise_bilateral`"
                f" to construct your own pairwise energy and add it through `addPairwiseEnergy` (got {came})."
            )
        if image_range is None:
            image = self._backend.grey_levels(image, "rgbim")
        colour_std = tuple(srgb) if np.ndim(srgb) else (srgb,) * 3
        how = _normalization(kernel, normalization)
        self._crf.add_bilateral(
            image, _pair(sxy), colour_std, normalization=how, image_range=image_range, **self._compat(compat)
        )


def _matrix(array: Any, name: str) -> NDArray:
    """Return a real matrix as contiguous float32."""
    found = to_numpy(array, name, CRFError)
    if found.ndim != 2 or not (np.issubdtype(found.dtype, np.floating) or np.issubdtype(found.dtype, np.integer)):
        raise CRFError(f"Bad {name}: need a matrix of real numbers, got {found.dtype} {found.shape}")
    return np.ascontiguousarray(found, np.float32)


def _warn_of_other_kinds(energies: Any, on_host: Callable[[Any], NDArray]) -> None:
    """Warn if energies ``(nlabels, nvar)`` seem to be probabilities or their logarithms."""
    rows = energies[:, None]
    advice = None
    if apparent_kind(rows, on_host) == "probabilities":
        advice = "sum to 1, as probabilities do: take unary_from_softmax(u)"
    elif apparent_kind(-rows, on_host) == "energies":
        advice = "are logarithms of probabilities: take minus them"
    if advice is not None:
        warn(f"unary energies {advice}, or say what they are: kind=...")


def _normalization(kernel: int, normalization: int) -> Any:
    if kernel not in tuple(KernelType):
        raise CRFError(f"kernel must be CONST_KERNEL, DIAG_KERNEL or FULL_KERNEL, got {kernel!r}")
    if normalization not in _NORMALIZATIONS:
        raise CRFError(
            "normalization must be NO_NORMALIZATION, NORMALIZE_BEFORE, NORMALIZE_AFTER or NORMALIZE_SYMMETRIC, got "
            f"{normalization!r}"
        )
    return _NORMALIZATIONS[NormalizationType(normalization)]


def _pair(sxy: Any) -> tuple[float, float]:
    if not np.ndim(sxy):
        return (sxy, sxy)
    if len(sxy) < 2:
        raise CRFError(f"sxy must be a number or (x, y), got {sxy!r}")
    # pydensecrf reads the first two and ignores the rest.
    return (sxy[0], sxy[1])


def _whole(niter: int) -> int:
    try:
        return validate_iterations(niter)
    except CRFError as exc:
        if isinstance(niter, (int, np.integer)) and niter < 0:  # as none, in pydensecrf too
            return 0
        raise CRFError(f"the number of iterations must be whole, got {short_repr(niter)}") from exc
