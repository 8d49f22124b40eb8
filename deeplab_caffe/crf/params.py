"""Parameters of the dense CRF: the Gaussian kernels with their weights and standard deviations."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from numbers import Integral, Real
from os import PathLike
from pathlib import Path
from reprlib import repr as short_repr
from typing import Any, NamedTuple

from deeplab_caffe.arguments import whole_number
from deeplab_caffe.crf.presets import Preset, find_preset
from deeplab_caffe.errors import CRFError

# One number, or one entry per kernel; an entry of a standard deviation may have one number per axis or colour channel.
Weights = float | Sequence[float]
Deviations = float | Sequence[float | Sequence[float]]

# The largest min_probability: a label with a larger probability somewhere can win pixels after an iteration or two.
MOST_LEFT_OUT = 0.1
# The largest weight or cost: the product of both and of a message's sum over all pixels must fit into float32.
# It is 1e14 as float32 has it, because costs that come as float32 are compared with it too.
MOST_WEIGHT = 100000000376832.0


@dataclass(frozen=True)
class PairwiseKernel:
    """One Gaussian kernel; :meth:`of` validates a caller's numbers.

    Attributes:
        weight: factor of the kernel's normalised messages.
        xy_std: standard deviations along x and y, in pixels.
        rgb_std: standard deviations of R, G and B, in grey levels (0 to 255); None for a kernel of positions alone.
    """

    weight: float
    xy_std: tuple[float, float]
    rgb_std: tuple[float, float, float] | None = None

    @classmethod
    def of(cls, weight: Any, xy_std: Any, rgb_std: Any = None) -> PairwiseKernel:
        """Make a kernel from a weight and standard deviations; each is one number, or one per axis or colour channel.

        Raises:
            CRFError: a value is not a finite number, or a standard deviation is not positive.
        """
        kind = "pos" if rgb_std is None else "bi"
        x, y = _deviations(f"{kind}_xy_std", _frozen(xy_std), 2)
        weight = validate_weight(f"{kind}_w", weight)
        if rgb_std is None:
            return cls(weight, (x, y))
        r, g, b = _deviations("bi_rgb_std", _frozen(rgb_std), 3)
        return cls(weight, (x, y), (r, g, b))

    @property
    def in_bgr(self) -> PairwiseKernel:
        """Return the same kernel for images whose channels are B, G, R."""
        return self if self.rgb_std is None else dataclasses.replace(self, rgb_std=self.rgb_std[::-1])


class ByAxis(NamedTuple):
    """The parameters of one smoothness and one appearance kernel, with the names of :class:`CRFParams`."""

    pos_w: float
    pos_xy_std: tuple[float, float]
    bi_w: float
    bi_xy_std: tuple[float, float]
    bi_rgb_std: tuple[float, float, float]


@dataclass(frozen=True)
class CRFParams:
    """Parameters of a dense CRF, named as in ``dense_crf_param`` of a prototxt.

    Each parameter is a number, or a tuple with one entry per kernel, like the repeated fields of the prototxt. A number
    holds for all kernels of its group; an empty tuple means no kernel. The entry of a standard deviation may itself be
    a tuple: (x, y), or (r, g, b). ``pos_xy_std=((2, 4),)`` is one kernel with different deviations along x and y,
    whereas ``pos_xy_std=(2, 4)`` is two kernels.

    The defaults are those of the DENSE_CRF layer in the released LargeFOV test.prototxt; :meth:`for_model` has the
    values tuned for each model.

    Attributes:
        pos_w: weights of the smoothness kernels (positions alone).
        pos_xy_std: standard deviations of the smoothness kernels, in pixels.
        bi_w: weights of the appearance kernels (positions and colours).
        bi_xy_std: standard deviations of position of the appearance kernels, in pixels.
        bi_rgb_std: standard deviations of colour of the appearance kernels, in grey levels (0 to 255).
        iterations: number of mean-field iterations (the layer's ``max_iter``).
        min_probability: labels with a smaller probability at all pixels before the first iteration may be left out;
            their marginals are then 0. :func:`deeplab_caffe.crf.dense_crf` uses it to save time on images with few
            labels; other functions compute all labels. 0.001 changes marginals by some thousandths. 0: leave none out,
            as in the originals.

    Raises:
        CRFError: a value is not a finite number, a standard deviation is not positive, ``iterations`` is negative,
            ``min_probability`` is outside 0 to 0.1, or tuples have different lengths.
    """

    pos_w: Weights = 3.0
    pos_xy_std: Deviations = 3.0
    bi_w: Weights = 5.0
    bi_xy_std: Deviations = 50.0
    bi_rgb_std: Deviations = 10.0
    iterations: int = 10
    min_probability: float = 0.0

    def __post_init__(self) -> None:
        for name in ("pos_w", "pos_xy_std", "bi_w", "bi_xy_std", "bi_rgb_std"):
            object.__setattr__(self, name, _frozen(getattr(self, name)))
        object.__setattr__(self, "iterations", validate_iterations(self.iterations))
        least = validate_number("min_probability", self.min_probability)
        if not 0 <= least <= MOST_LEFT_OUT:
            raise CRFError(f"min_probability must be from 0 to {MOST_LEFT_OUT}, got {short_repr(self.min_probability)}")
        object.__setattr__(self, "min_probability", least)
        _ = self.kernels

    @classmethod
    def for_model(cls, name: str) -> CRFParams:
        """Return the parameters that were tuned for a model: see :mod:`deeplab_caffe.crf.presets` for their sources.

        Args:
            name: the released name or the internal NET_ID; case, "-" and "_" do not matter.

        Raises:
            CRFError: no preset has this name.
        """
        return cls(**find_preset(name).numbers)  # type: ignore[arg-type]  # iterations are an int in it

    @classmethod
    def of(cls, params: ParamsLike) -> CRFParams:
        """Return the parameters that a caller gives in any of several forms.

        Args:
            params: parameters; a preset or its name; a ``.json`` file; a dict of fields by name; None for the defaults.

        Raises:
            CRFError: as :meth:`named` and :meth:`from_file`; or ``params`` has another type.
        """
        if params is None:
            return cls()
        if isinstance(params, str):
            return cls.named(params)
        if isinstance(params, PathLike):
            return cls.from_file(params)
        if isinstance(params, Preset):
            return cls.for_model(params.name)
        if isinstance(params, Mapping):
            return cls._of_fields(dict(params), "CRF parameters")
        if not isinstance(params, CRFParams):
            raise CRFError(
                f"params must be CRFParams, a preset's name, a .json file or a dict, got {type(params).__name__}"
            )
        return params

    @classmethod
    def named(cls, name: str) -> CRFParams:
        """Return the parameters of a ``.json`` file or of a preset, as named on a command line.

        Raises:
            CRFError: as :meth:`from_file` and :meth:`for_model`.
        """
        return cls.from_file(name) if name.lower().endswith(".json") else cls.for_model(name)

    @property
    def kernels(self) -> tuple[PairwiseKernel, ...]:
        """Return the kernels in the order in which their messages are added: smoothness first, then appearance."""
        positions = _by_kernel({"pos_w": self.pos_w, "pos_xy_std": self.pos_xy_std})
        colours = _by_kernel({"bi_w": self.bi_w, "bi_xy_std": self.bi_xy_std, "bi_rgb_std": self.bi_rgb_std})
        return tuple(PairwiseKernel.of(*numbers) for numbers in (*positions, *colours))

    def by_axis(self) -> ByAxis:
        """Return the numbers of the only smoothness and the only appearance kernel.

        Raises:
            CRFError: there is not exactly one kernel of each.
        """
        if [kernel.rgb_std is None for kernel in self.kernels] != [True, False]:
            raise CRFError("expected CRF parameters of one smoothness and one appearance kernel, these have others")
        positions, colours = self.kernels
        assert colours.rgb_std is not None
        return ByAxis(positions.weight, positions.xy_std, colours.weight, colours.xy_std, colours.rgb_std)

    def replace(self, **changes: Any) -> CRFParams:
        """Return a copy with some parameters changed."""
        return dataclasses.replace(self, **changes)

    @classmethod
    def from_file(cls, path: str | PathLike[str]) -> CRFParams:
        """Read parameters from a JSON file with an object of fields by name; fields left out have their defaults.

        Raises:
            CRFError: the file cannot be read, is not a JSON object, or has an unknown name or an invalid value.
        """
        try:
            values = json.loads(Path(path).read_bytes())
        except OSError as exc:
            raise CRFError(f"{path}: cannot be read: {exc.strerror}") from exc
        except (ValueError, RecursionError) as exc:
            raise CRFError(f"{path}: is no JSON file: {exc}") from exc
        return cls._of_fields(values, str(path))

    @classmethod
    def _of_fields(cls, values: Any, where: str) -> CRFParams:
        """Return the parameters of a dict; ``where`` is its origin, for errors."""
        names = [field.name for field in dataclasses.fields(cls)]
        if not isinstance(values, dict) or not values.keys() <= set(names):
            unknown = [type(values).__name__]
            if isinstance(values, dict):
                unknown = sorted(str(name)[:40] for name in values.keys() - set(names))[:6]
            raise CRFError(f"{where}: expected an object with {', '.join(names)}, got {', '.join(unknown)}")
        try:
            return cls(**values)
        except CRFError as exc:
            raise CRFError(f"{where}: {exc}") from exc

    def to_file(self, path: str | PathLike[str]) -> None:
        """Write the parameters as JSON, for :meth:`from_file`.

        Raises:
            DataError: the file cannot be written.
        """
        from deeplab_caffe.data.io.atomic import atomic_write

        text = json.dumps(dataclasses.asdict(self), indent=2) + "\n"
        with atomic_write(path, make_folders=True) as stream:
            stream.write(text.encode())


# The forms in which CRF parameters may be given: see CRFParams.of.
ParamsLike = CRFParams | Preset | str | PathLike[str] | Mapping[str, Any] | None


def validate_iterations(iterations: Any) -> int:
    """Validate a number of mean-field iterations.

    Raises:
        CRFError: the value is not a whole number, negative, or above 2^31 - 1.
    """
    return whole_number("iterations", iterations, CRFError, least=0, most=2**31 - 1)


def validate_count(name: str, value: Any, least: int = 1) -> int:
    """Validate a number of points, pixels or labels.

    Raises:
        CRFError: the value is not a whole number from ``least`` to 2^31 - 2.
    """
    return whole_number(name, value, CRFError, least=least, most=2**31 - 2)


def validate_number(name: str, value: Any, *, positive: bool = False) -> float:
    """Validate that the argument or field ``name`` is a finite number.

    Raises:
        CRFError: the value is not a finite number, or, with ``positive``, not above 0.
    """
    if not isinstance(value, bool) and isinstance(value, Real):
        with suppress(OverflowError):  # a whole number beyond the range of float
            number = float(value)
            if math.isfinite(number) and (number > 0 or not positive):
                return number
    raise CRFError(f"{name} must be a {'positive, ' if positive else ''}finite number, got {short_repr(value)}")


def validate_weight(name: str, value: Any) -> float:
    """Validate a kernel's weight.

    Raises:
        CRFError: the weight is not a finite number, or so large that marginals would be NaN.
    """
    weight = validate_number(name, value)
    if abs(weight) > MOST_WEIGHT:
        raise CRFError(f"{name} must be from -{MOST_WEIGHT:g} to {MOST_WEIGHT:g}, got {short_repr(value)}")
    return weight


def active_kernels(params: CRFParams, iterations: int | None = None) -> list[PairwiseKernel]:
    """Return those of ``params.kernels`` for which an inference needs lattices.

    Kernels of weight 0 are left out, because their messages are exact zeros; with 0 iterations all kernels are. If
    there is no image, :func:`deeplab_caffe.crf.backend.usable_kernels` leaves out more.

    Args:
        params: the kernels.
        iterations: number of iterations; None: ``params.iterations``.

    Raises:
        CRFError: the number of iterations is invalid.
    """
    if (params.iterations if iterations is None else validate_iterations(iterations)) == 0:
        return []
    return [one for one in params.kernels if one.weight != 0]


def _frozen(value: Any) -> Any:
    """Return lists, arrays and protobuf's repeated fields as tuples, so that parameters can be compared and hashed.

    Numbers of other libraries become Python's, so that they can be written as JSON.
    """
    if getattr(value, "ndim", None) == 0:
        value = value.item()
    if isinstance(value, (str, bytes, bool, int, float)):
        return value
    if isinstance(value, Real):
        with suppress(OverflowError):
            return int(value) if isinstance(value, Integral) else float(value)
    if not hasattr(value, "__iter__"):
        return value
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


def _deviations(name: str, value: Any, count: int) -> tuple[float, ...]:
    values = value if isinstance(value, tuple) else (value,) * count
    if len(values) != count:
        raise CRFError(f"{name} of one kernel must be one number or {count}, got {short_repr(value)}")
    return tuple(validate_number(name, one, positive=True) for one in values)
