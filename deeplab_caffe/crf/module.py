"""Mean-field inference in the dense CRF as a differentiable torch module (CRF as RNN; Zheng et al., 2015)."""

from __future__ import annotations

import functools
import math
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from deeplab_caffe.crf.backend import LatticeRequest
from deeplab_caffe.crf.colours import Range, as_image_range
from deeplab_caffe.crf.inputs import Kind, as_kind, is_recorded, refuse_other_kinds, two_channels
from deeplab_caffe.crf.model import Normalization
from deeplab_caffe.crf.params import CRFParams, ParamsLike, validate_iterations
from deeplab_caffe.crf.place import backend_for
from deeplab_caffe.errors import CRFError
from deeplab_caffe.ops.lattice_filter import lattice_filter, lattice_keys

WeightForm = Literal["scalar", "diagonal", "full"]
CompatibilityForm = Literal["potts", "diagonal", "full"]

_TINY = 1e-20


@dataclass(frozen=True)
class GaussianFilter:
    """One kernel's filter for a batch of images: ``after * lattice(before * values)``.

    Attributes:
        lattices: int64 ``(N,)``, see :func:`deeplab_caffe.ops.lattice_filter.lattice_keys`.
        before: ``(N, H * W, 1)``, or None for 1.
        after: ``(N, H * W, 1)``, or None for 1.
    """

    lattices: Tensor
    before: Tensor | None
    after: Tensor | None

    def __call__(self, values: Tensor) -> Tensor:
        """Filter values ``(N, H * W, C)``."""
        if self.before is not None:
            values = values * self.before
        values = lattice_filter(values, self.lattices)
        return values if self.after is None else values * self.after


class MeanField(nn.Module):
    """Mean-field inference whose kernel weights and label compatibility are learned together with the network.

    An iteration is ``Q = softmax(scores - M @ sum over kernels k of W_k @ filter_k(Q))``, which begins with
    ``Q = softmax(scores)``. A new module computes the same as :func:`deeplab_caffe.crf.dense_crf`: M is the Potts model
    (minus the identity), and W_k is the weight of kernel k for every label. The marginals differ from dense_crf's by
    less than 1e-5, by rounding and because exp is torch's here and the original's fast_exp there.

    There are no gradients with respect to the image and the standard deviations, as in CRF as RNN. Without
    ``recompute``, backpropagation keeps 1 + K arrays ``(N, C, H, W)`` per iteration for K kernels.

    Args:
        num_classes: C.
        params: kernels with their initial weights, and iterations: see :meth:`CRFParams.of`; None for the defaults.
        iterations: number of iterations; None: ``params.iterations``. It may be changed later: CRF as RNN trains with 5
            and tests with 10.
        weight_form: the learned form of each kernel's weight: ``"scalar"``: one number; ``"diagonal"``: one number per
            label; ``"full"``: a matrix, as in CRF as RNN.
        compatibility_form: the learned form of the compatibility: ``"potts"``: fixed; ``"diagonal"``: a cost of each
            label beside itself; ``"full"``: a matrix of the costs of label l (row) beside label k (column).
        normalization: normalization of each kernel: ``"after"`` filtering (DeepLab), ``"before"``, ``"symmetric"``
            (pydensecrf's default) or ``"none"``.
        kind: what the scores are, see :func:`deeplab_caffe.crf.dense_crf`. A module of two classes accepts a single
            channel, the foreground's.
        image_range: (black, white) of the image, see :func:`deeplab_caffe.crf.dense_crf`.
        recompute: keep only Q for the backward pass, and filter a second time there.
        sse_padding: see :meth:`deeplab_caffe.crf.Lattice.build`.

    Attributes:
        kernel_weights: Parameter ``(K,)``, ``(K, C)`` or ``(K, C, C)``; kernels in the order of ``params.kernels``.
        compatibility: Parameter ``(C,)`` or ``(C, C)``; None for ``"potts"``.
        iterations: number of mean-field iterations.

    Raises:
        CRFError: an argument is invalid.
    """

    def __init__(
        self,
        num_classes: int,
        params: ParamsLike = None,
        *,
        iterations: int | None = None,
        kind: Kind | None = None,
        image_range: Range | None = None,
        weight_form: WeightForm = "scalar",
        compatibility_form: CompatibilityForm = "full",
        normalization: Normalization = "after",
        recompute: bool = False,
        sse_padding: bool = True,
    ) -> None:
        super().__init__()
        if isinstance(num_classes, bool) or not isinstance(num_classes, (int, np.integer)) or num_classes < 1:
            raise CRFError(f"num_classes must be a positive whole number, got {num_classes!r}")
        num_classes = int(num_classes)
        for name, value, known in (
            ("weight_form", weight_form, WeightForm),
            ("compatibility_form", compatibility_form, CompatibilityForm),
            ("normalization", normalization, Normalization),
        ):
            if value not in get_args(known):
                raise CRFError(f"{name} must be one of {', '.join(get_args(known))}, got {value!r}")
        self.num_classes = num_classes
        self.kind = as_kind(kind)
        self.image_range = as_image_range(image_range)
        self.params = CRFParams.of(params)
        self.iterations = validate_iterations(self.params.iterations if iterations is None else iterations)
        self.normalization = normalization
        self.recompute = recompute
        self.sse_padding = sse_padding

        first = torch.tensor([kernel.weight for kernel in self.params.kernels])
        identity = torch.eye(num_classes)
        shapes = {"scalar": torch.ones(()), "diagonal": torch.ones(num_classes), "full": identity}
        shape = shapes[weight_form]
        self.kernel_weights = nn.Parameter(first.view(-1, *(1,) * shape.dim()) * shape)
        penalties = {"potts": None, "diagonal": -torch.ones(num_classes), "full": -identity}[compatibility_form]
        self.compatibility = None if penalties is None else nn.Parameter(penalties)

    def forward(
        self,
        scores: Tensor,
        image: Tensor | None,
        *,
        log: bool = False,
        filters: tuple[GaussianFilter, ...] | None = None,
    ) -> Tensor:
        """Refine a batch of scores.

        Args:
            scores: ``(N, C, H, W)``, raw scores (the unary energy is their negative) or as ``kind`` says, float32 or
                float64; half precision is computed in float32. float64 is for gradient checks: features stay float32,
                and the lattice is slow.
            image: R, G, B from 0 to 255, ``(N, 3, H, W)`` or ``(N, H, W, 3)``, uint8 or any real type; None if no
                kernel has colours, or with ``filters``.
            log: return log(Q), for :func:`torch.nn.functional.nll_loss`.
            filters: result of :meth:`filters` for these images, to reuse it.

        Returns:
            Marginals Q ``(N, C, H, W)``, contiguous, on the device of the scores.

        Raises:
            CRFError: shapes do not fit, scores are NaN or infinite (except -inf beside a finite score of the pixel:
                the label is excluded), colours are not finite, or there are no lattices for the device.
        """
        if not isinstance(scores, Tensor):
            raise CRFError(f"scores must be a torch tensor, got {type(scores).__name__}: take torch.from_numpy(scores)")
        if scores.dim() == 4 and self.num_classes < 3:
            scores = two_channels(scores, self.kind, -3)
        if scores.dim() != 4 or scores.shape[1] != self.num_classes or 0 in scores.shape:
            raise CRFError(f"scores must be (N, {self.num_classes}, H, W), got {tuple(scores.shape)}")
        if not scores.is_floating_point():
            raise CRFError(f"scores must be floating point, got {scores.dtype}")
        _validate_device(scores.device)
        if scores.is_cuda and scores.dtype == torch.float64:
            raise CRFError("scores must be float32 on a GPU, got float64: its lattices filter float32 alone")
        count, channels, height, width = scores.shape
        with torch.autocast(scores.device.type, enabled=False):
            scores = scores.float() if scores.dtype in (torch.float16, torch.bfloat16) else scores
            self._inspect(scores)
            given, scores = scores, self._as_scores(scores)
            self._validate_finite(scores, given)
            if filters is None:
                filters = self.filters(image, count, (height, width), scores.device)
            unary = scores.permute(0, 2, 3, 1).reshape(count, height * width, channels)
            energies = unary
            # Passed as arguments, because a recomputation runs later, when torch.func may have swapped the parameters.
            common = (self.kernel_weights.to(unary), self._compatibility(unary), filters)
            for _ in range(self.iterations if filters else 0):
                if self.recompute:
                    energies = checkpoint(_step, unary, energies, *common, use_reentrant=False)
                else:
                    energies = _step(unary, energies, *common)
            marginals = energies.log_softmax(dim=2) if log else energies.softmax(dim=2)
        # The gradient of nll_loss needs contiguous marginals.
        return marginals.reshape(count, height, width, channels).permute(0, 3, 1, 2).contiguous()

    def _as_scores(self, values: Tensor) -> Tensor:
        """Return scores for values of the module's ``kind``."""
        if self.kind == "probabilities":
            return values.clamp_min(torch.finfo(torch.float32).tiny).log()
        if self.kind == "energies":
            return -values
        return values

    def _inspect(self, values: Tensor) -> None:
        """Refuse values that are clearly of another kind than ``kind``, as dense_crf does, if they can be read.

        Raises:
            CRFError: as :func:`deeplab_caffe.crf.inputs.refuse_other_kinds`.
        """
        if self.kind == "scores" or is_recorded(values):
            return
        with suppress(RuntimeError):  # under torch.func the values cannot be read
            for one in values.detach():
                refuse_other_kinds(-one if self.kind == "energies" else one, lambda some: some.cpu().numpy(), self.kind)

    def _validate_finite(self, scores: Tensor, given: Tensor) -> None:
        """Validate that the softmax of scores ``(N, C, H, W)`` exists at each pixel, if their values can be read.

        Args:
            scores: the scores.
            given: what the caller gave: the scores, or probabilities or energies.

        Raises:
            CRFError: a score is NaN or inf, or all of a pixel are -inf.
        """
        if is_recorded(scores):
            return
        with suppress(RuntimeError):  # under torch.func the values cannot be read
            scores = scores.detach()
            low, high = torch.stack(torch.aminmax(scores)).tolist()  # NaN if there is one
            name = self.kind or "scores"
            if not high < math.inf:
                wrong = scores.isnan() | scores.isposinf()
                number, channel, y, x = wrong.nonzero()[0].tolist()
                raise CRFError(
                    f"{name} must be finite, got {int(wrong.sum())} of {wrong.numel()} that are not: the first is "
                    f"{given[number, channel, y, x].item()} at [{number}, {channel}, {y}, {x}]"
                )
            if low == -math.inf and (empty := scores.amax(1).isneginf()).any():
                number, y, x = empty.nonzero()[0].tolist()
                raise CRFError(
                    f"{name} exclude all labels at {int(empty.sum())} of {empty.numel()} pixels, the first at row {y}, "
                    f"column {x} of item {number}: keep one of them finite"
                )

    def _compatibility(self, like: Tensor) -> Tensor:
        return -like.new_ones(()) if self.compatibility is None else self.compatibility.to(like)

    def extra_repr(self) -> str:
        """Return classes, kernels and iterations, for ``repr``."""
        return (
            f"{self.num_classes}, kernels={len(self.params.kernels)}, iterations={self.iterations}, "
            f"normalization={self.normalization}"
        )

    @torch.no_grad()
    def filters(
        self, image: Tensor | None, count: int, size: tuple[int, int], device: torch.device | str = "cpu"
    ) -> tuple[GaussianFilter, ...]:
        """Return the kernels' filters for a batch of images, for :meth:`forward`; they do not depend on the scores.

        Args:
            image: as for :meth:`forward`.
            count: N.
            size: (H, W).
            device: the scores' device.

        Raises:
            CRFError: as :meth:`forward`.
        """
        device = torch.device(device)
        _validate_device(device)
        backend = backend_for(device=str(device), sse_padding=self.sse_padding)
        colours: list[Any] = [None]
        if image is not None:
            if not isinstance(image, Tensor):
                raise CRFError(f"image must be a torch tensor, got {type(image).__name__}")
            images = _channels_last(image.detach().to(device), count, size)
            colours = [backend.photograph(one, self.image_range) for one in backend.take(images, "image")]
        found = []
        for kernel in self.params.kernels:
            if kernel.rgb_std is not None and image is None:
                raise CRFError("the params have kernels with colours: an image is needed")
            # Positions are the same in all images of the batch, so one lattice is enough.
            several = [None] if kernel.rgb_std is None else colours
            lattices = backend.pixel_lattices([LatticeRequest(size, kernel, one) for one in several])
            keys = lattice_keys(lattices if len(lattices) == count else lattices * count)
            before = after = None
            if self.normalization != "none":
                ones = torch.ones(count, size[0] * size[1], 1, device=device)
                norm = lattice_filter(ones, keys) + _TINY
                norm = norm.rsqrt() if self.normalization == "symmetric" else norm.reciprocal()
                before = norm if self.normalization in ("before", "symmetric") else None
                after = norm if self.normalization in ("after", "symmetric") else None
            found.append(GaussianFilter(keys, before, after))
        return tuple(found)


def _validate_device(device: torch.device) -> None:
    if device.type not in ("cpu", "cuda"):
        raise CRFError(f"there are lattices for cpu and cuda, not for {device}")


def _step(
    unary: Tensor, energies: Tensor, weights: Tensor, compatibility: Tensor, filters: tuple[GaussianFilter, ...]
) -> Tensor:
    q = energies.softmax(dim=2)
    messages = [_times(weight, gaussian(q)) for weight, gaussian in zip(weights, filters, strict=True)]
    message = functools.reduce(torch.add, messages)
    return unary - _times(compatibility, message)


def _times(weight: Tensor, message: Tensor) -> Tensor:
    """Multiply the label axis of a message ``(N, P, C)`` by a scalar, a diagonal ``(C,)`` or a matrix ``(C, C)``."""
    return message @ weight.T if weight.dim() == 2 else message * weight


def _channels_last(image: Tensor, count: int, size: tuple[int, int]) -> Tensor:
    """Return the image as ``(N, H, W, 3)``."""
    if tuple(image.shape) == (count, 3, *size):
        return image.permute(0, 2, 3, 1)
    if tuple(image.shape) == (count, *size, 3):
        return image
    raise CRFError(
        f"scores are {count} of (height, width) {size} but the image is {tuple(image.shape)}: expected (N, 3, H, W) or "
        "(N, H, W, 3)"
    )
