"""Parameters of the dense CRF: which Gaussian kernels, how heavy, how wide."""

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

from deeplab_caffe.crf.presets import Preset, find_preset
from deeplab_caffe.errors import CRFError

# One number, or one entry for each kernel; an entry of a standard deviation may be a number for each axis or colour.
Weights = float | Sequence[float]
Deviations = float | Sequence[float | Sequence[float]]

# The largest min_probability: labels that have more somewhere can win pixels in an iteration or two.
MOST_LEFT_OUT = 0.1
# The largest weight or cost: the sum of a message over all pixels, times both, must be a float32.
MOST_WEIGHT = 1e14


@dataclass(frozen=True)
class PairwiseKernel:
    """One Gaussian kernel. :meth:`of` makes one of a caller's numbers.

    Attributes:
        weight: what its normalised message is multiplied with.
        xy_std: standard deviations along x and y, in pixels.
        rgb_std: standard deviations of R, G and B, in grey levels (0 to 255); None for a kernel of positions alone.
    """

    weight: float
    xy_std: tuple[float, float]
    rgb_std: tuple[float, float, float] | None = None

    @classmethod
    def of(cls, weight: Any, xy_std: Any, rgb_std: Any = None) -> PairwiseKernel:
        """Make a kernel of a weight and deviations, each one number or one for each axis or colour.

        Raises:
            CRFError: a value that is no finite number, or a standard deviation that is not positive.
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
    """One smoothness and one appearance kernel, as :class:`CRFParams` names their numbers."""

    pos_w: float
    pos_xy_std: tuple[float, float]
    bi_w: float
    bi_xy_std: tuple[float, float]
    bi_rgb_std: tuple[float, float, float]


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
        min_probability: labels whose probability is below this at all pixels before the first iteration may be left
            out, and then have 0 in the marginals. :func:`deeplab_caffe.crf.dense_crf` makes use of it and takes less
            time for images of few labels; other doors compute them all. 0.001 changes marginals by some thousandths.
            0 leaves none out, as the originals.

    Raises:
        CRFError: a value that is no finite number, a standard deviation that is not positive, negative iterations, a
            least probability outside 0 to 0.1, or tuples of different lengths.
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
        """Return the parameters that a caller means.

        Args:
            params: parameters; a preset, or its name; a ``.json`` file; a dict of fields by their names; None for the
                defaults.

        Raises:
            CRFError: as :meth:`named` and :meth:`from_file`; or something else.
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
        """Return what a command line names: a ``.json`` file's parameters, or a preset's.

        Raises:
            CRFError: as :meth:`from_file` and :meth:`for_model`.
        """
        return cls.from_file(name) if name.lower().endswith(".json") else cls.for_model(name)

    @property
    def kernels(self) -> tuple[PairwiseKernel, ...]:
        """Return the kernels in the order in which their messages are added: positions alone, then with colours."""
        positions = _by_kernel({"pos_w": self.pos_w, "pos_xy_std": self.pos_xy_std})
        colours = _by_kernel({"bi_w": self.bi_w, "bi_xy_std": self.bi_xy_std, "bi_rgb_std": self.bi_rgb_std})
        return tuple(PairwiseKernel.of(*numbers) for numbers in (*positions, *colours))

    def by_axis(self) -> ByAxis:
        """Return the numbers of one smoothness and one appearance kernel.

        Raises:
            CRFError: there are not one of each.
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
        """Read parameters from a JSON file: an object of fields by their names; those left out have their defaults.

        Raises:
            CRFError: the file cannot be read, is no JSON object, has an unknown name, or a bad value.
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
        """Return the parameters of a dict that came from somewhere, which errors name."""
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


# What every door takes as CRF parameters: see CRFParams.of.
ParamsLike = CRFParams | Preset | str | PathLike[str] | Mapping[str, Any] | None


def validate_iterations(iterations: Any) -> int:
    """Validate a number of mean field iterations.

    Raises:
        CRFError: it is no whole number, negative, or beyond 2^31 - 1.
    """
    if not is_whole(iterations):
        raise CRFError(f"iterations must be a whole number, got {short_repr(iterations)}")
    if iterations < 0:
        raise CRFError(f"iterations must not be negative, got {short_repr(iterations)}")
    if iterations >= 2**31:
        raise CRFError(f"iterations must be at most 2^31 - 1, got {short_repr(iterations)}")
    return int(iterations)


def is_whole(value: Any) -> bool:
    """Return whether a value is a whole number, of whatever type; True and False are none."""
    if isinstance(value, bool):
        return False
    return isinstance(value, Integral) or (isinstance(value, Real) and float(value).is_integer())


def validate_count(name: str, value: Any, least: int = 1) -> int:
    """Validate a number of points, pixels or labels.

    Raises:
        CRFError: it is no whole number from ``least`` to 2^31 - 2.
    """
    if not is_whole(value) or not least <= value < 2**31 - 1:
        raise CRFError(f"{name} must be a whole number from {least} to 2^31 - 2, got {short_repr(value)}")
    return int(value)


def validate_number(name: str, value: Any, *, positive: bool = False) -> float:
    """Validate a finite number that an argument or field ``name`` must be.

    Raises:
        CRFError: it is not a finite number, or with ``positive`` not above 0.
    """
    if not isinstance(value, bool) and isinstance(value, Real):
        with suppress(OverflowError):  # of a whole number beyond all floats
            number = float(value)
            if math.isfinite(number) and (number > 0 or not positive):
                return number
    raise CRFError(f"{name} must be a {'positive, ' if positive else ''}finite number, got {short_repr(value)}")


def validate_weight(name: str, value: Any) -> float:
    """Validate a kernel's weight.

    Raises:
        CRFError: it is not a finite number, or so large that marginals would be no numbers.
    """
    weight = validate_number(name, value)
    if abs(weight) > MOST_WEIGHT:
        raise CRFError(f"{name} must be from -{MOST_WEIGHT:g} to {MOST_WEIGHT:g}, got {short_repr(value)}")
    return weight


def active_kernels(params: CRFParams, iterations: int | None = None) -> list[PairwiseKernel]:
    """Return those of ``params.kernels`` that an inference of an image needs lattices for.

    Left out are kernels of weight 0, which add exact zeros, and without iterations all. What is left out without an
    image, :func:`deeplab_caffe.crf.backend.usable_kernels` says.

    Args:
        params: the kernels.
        iterations: instead of ``params.iterations``.

    Raises:
        CRFError: a bad number of iterations.
    """
    if (params.iterations if iterations is None else validate_iterations(iterations)) == 0:
        return []
    return [one for one in params.kernels if one.weight != 0]


def _frozen(value: Any) -> Any:
    """Return lists, arrays and protobuf's repeated fields as tuples, so that parameters compare and hash.

    Numbers of other libraries become Python's, which JSON can hold.
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
