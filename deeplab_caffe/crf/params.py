"""Parameters of the dense CRF: which Gaussian kernels, how heavy, how wide."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Real
from os import PathLike
from typing import Any

from deeplab_caffe.errors import CRFError

# One number, or one entry for each kernel; an entry of a standard deviation may be a number for each axis or colour.
Weights = float | Sequence[float]
Deviations = float | Sequence[float | Sequence[float]]


@dataclass(frozen=True)
class PairwiseKernel:
    """One Gaussian kernel.

    Attributes:
        weight: what its normalised message is multiplied with.
        xy_std: standard deviations along x and y, in pixels.
        rgb_std: standard deviations of R, G and B, in grey levels (0 to 255); None for a kernel of positions alone.
    """

    weight: float
    xy_std: tuple[float, float]
    rgb_std: tuple[float, float, float] | None = None


@dataclass(frozen=True)
class CRFParams:
    """Parameters of a dense CRF, named as in ``dense_crf_param`` of a prototxt.

    Each parameter is a number, or a tuple with one entry for each kernel of its kind, as the repeated fields of the
    prototxt; numbers go with every kernel, an empty tuple means none. The entry of a standard deviation may itself be a
    tuple: (x, y), or (r, g, b). ``pos_xy_std=((2, 4),)`` is one kernel with different deviations along x and y, whereas
    ``pos_xy_std=(2, 4)`` is two kernels.

    The defaults are those of the DENSE_CRF layer in the released LargeFOV test.prototxt; :meth:`for_model` has the
    values tuned for each model.

    Attributes:
        pos_w: weights of the smoothness kernels (positions alone).
        pos_xy_std: their standard deviations, in pixels.
        bi_w: weights of the appearance kernels (positions and colours).
        bi_xy_std: their standard deviations of position, in pixels.
        bi_rgb_std: their standard deviations of colour, in grey levels (0 to 255).
        iterations: mean field iterations (the layer's ``max_iter``).

    Raises:
        CRFError: a value that is no finite number, a standard deviation that is not positive, negative iterations, or
            tuples of different lengths.
    """

    pos_w: Weights = 3.0
    pos_xy_std: Deviations = 3.0
    bi_w: Weights = 5.0
    bi_xy_std: Deviations = 50.0
    bi_rgb_std: Deviations = 10.0
    iterations: int = 10

    def __post_init__(self) -> None:
        for name in ("pos_w", "pos_xy_std", "bi_w", "bi_xy_std", "bi_rgb_std"):
            object.__setattr__(self, name, _frozen(getattr(self, name)))
        check_iterations(self.iterations)
        _ = self.kernels

    @classmethod
    def for_model(cls, name: str) -> CRFParams:
        """Parameters that were tuned for a model: see :data:`deeplab_caffe.crf.presets.PRESETS` and their sources.

        Args:
            name: the released name or the internal NET_ID; case, "-" and "_" do not matter.

        Raises:
            CRFError: if no preset has this name.
        """
        from deeplab_caffe.crf.presets import find_preset

        return find_preset(name).params

    @property
    def kernels(self) -> tuple[PairwiseKernel, ...]:
        """The kernels in the order in which their messages are added: positions alone, then with colours."""
        positions = _by_kernel({"pos_w": self.pos_w, "pos_xy_std": self.pos_xy_std})
        colours = _by_kernel({"bi_w": self.bi_w, "bi_xy_std": self.bi_xy_std, "bi_rgb_std": self.bi_rgb_std})
        return (
            *(PairwiseKernel(_weight("pos_w", w), _deviations("pos_xy_std", xy, 2)) for w, xy in positions),
            *(
                PairwiseKernel(_weight("bi_w", w), _deviations("bi_xy_std", xy, 2), _deviations("bi_rgb_std", rgb, 3))
                for w, xy, rgb in colours
            ),
        )

    def replace(self, **changes: Any) -> CRFParams:
        """A copy with some parameters changed."""
        return replace(self, **changes)

    @classmethod
    def from_file(cls, path: str | PathLike[str]) -> CRFParams:
        """Parameters from a JSON file: see :func:`deeplab_caffe.crf.params_file.read_params`."""
        from deeplab_caffe.crf.params_file import read_params

        return read_params(path, cls)

    def to_file(self, path: str | PathLike[str]) -> None:
        """Write the parameters: see :func:`deeplab_caffe.crf.params_file.write_params`."""
        from deeplab_caffe.crf.params_file import write_params

        write_params(path, self)


def check_iterations(iterations: int) -> int:
    """The number of iterations, or CRFError where it is none."""
    if isinstance(iterations, bool) or not isinstance(iterations, Real) or iterations != int_or_none(iterations):
        raise CRFError(f"iterations must be a whole number, got {iterations!r}")
    if iterations < 0:
        raise CRFError(f"iterations must not be negative, got {iterations}")
    return int(iterations)


def kernels_that_count(params: CRFParams, iterations: int | None, *, colours: bool) -> list[PairwiseKernel]:
    """Those of ``params.kernels`` that an inference needs lattices for.

    None where there are no iterations, none of weight 0, which adds exact zeros, and without an image none of colours.

    Args:
        params: the kernels.
        iterations: instead of ``params.iterations``.
        colours: whether there is an image.

    Raises:
        CRFError: a number of iterations that is none.
    """
    if (params.iterations if iterations is None else check_iterations(iterations)) == 0:
        return []
    return [one for one in params.kernels if one.weight != 0 and (one.rgb_std is None or colours)]


def int_or_none(value: Real) -> int | None:
    """``int(value)``, or None for what has none (infinity, not a number)."""
    return int(value) if math.isfinite(value) else None


def _frozen(value: Any) -> Any:
    """Lists, arrays and protobuf's repeated fields as tuples, so that parameters compare and hash."""
    if isinstance(value, (str, bytes)) or not hasattr(value, "__iter__"):
        return value
    if getattr(value, "ndim", None) == 0:
        return value.item()
    return tuple(_frozen(entry) for entry in value)


def _by_kernel(parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
    lengths = {name: len(value) for name, value in parameters.items() if isinstance(value, tuple)}
    if len(set(lengths.values())) > 1:
        raise CRFError(
            "one entry for each kernel is needed, got " + ", ".join(f"{n} of {name}" for name, n in lengths.items())
        )
    count = next(iter(lengths.values()), 1)
    columns = [value if isinstance(value, tuple) else (value,) * count for value in parameters.values()]
    return list(zip(*columns, strict=True))


def _weight(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
        raise CRFError(f"{name} must be a finite number, got {value!r}")
    return float(value)


def _deviations(name: str, value: Any, count: int) -> tuple[float, ...]:
    values = value if isinstance(value, tuple) else (value,) * count
    if len(values) != count:
        raise CRFError(f"{name} of one kernel must be one number or {count}, got {value!r}")
    for one in values:
        if isinstance(one, bool) or not isinstance(one, Real) or not math.isfinite(one) or one <= 0:
            raise CRFError(f"{name} must be a positive, finite number, got {one!r}")
    return tuple(float(one) for one in values)
