"""Options and helpers that several verbs share."""

from __future__ import annotations

import math
import os
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from click.types import StringParamType

from deeplab_caffe.errors import printable
from deeplab_caffe.files.text import shown_text

# No machine has the memory for larger squares.
SIDE = click.IntRange(1, 1 << 20)
COUNT = click.IntRange(1, (1 << 31) - 1)
LEVEL = click.IntRange(-(1 << 31), (1 << 31) - 1)


class ShareRange(click.FloatRange):
    """A range of numbers that rejects NaN."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number."""
        found = super().convert(value, param, ctx)
        if math.isnan(found):
            self.fail(f"{value} is not in the range {self._describe_range()}.", param, ctx)
        return found


MODEL_HELP = "The network: a prototxt file."
WEIGHTS_HELP = "Its weights: a caffemodel."


def _variables(_: click.Context, __: click.Parameter, pairs: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise click.BadParameter(f"expected NAME=VALUE, got {pair!r}")
        found[name] = value
    return found


def _gpus(_: click.Context, __: click.Parameter, text: str | None) -> str | None:
    if not text:
        # A script's "--gpu=$DEVICE" without a device; gflags treats it as not given.
        return None
    if not re.fullmatch(r"all|-1|\d+(,\d+)*", text, re.ASCII):
        raise click.BadParameter(f"expected numbers of GPUs with commas, or all, got '{text}'")
    return text


gpu_option = click.option(
    "--gpu",
    callback=_gpus,
    metavar="INDEX",
    help="Caffe's form of --device cuda:INDEX. Of several (0,1 or all) the first is used; training uses torchrun.",
)


def device_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--device`` and Caffe's ``--gpu``."""
    return click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:INDEX.")(
        gpu_option(function)
    )


def chosen_device(device: str, gpu: str | None) -> str:
    """Return the device of ``--device`` and ``--gpu``: of several GPUs the first, as in Caffe's test and time.

    ``-1`` is the CPU, as in DeepLab v1's Caffe.
    """
    if gpu is None or gpu == "-1":
        return device if gpu is None else "cpu"
    first, *others = gpu.split(",")
    if others:
        warnings.warn(f"--gpu {gpu}: one GPU is used, the first", stacklevel=2)
    return "cuda" if gpu == "all" else f"cuda:{first}"


variables_option = click.option(
    "--var",
    "variables",
    multiple=True,
    callback=_variables,
    metavar="NAME=VALUE",
    help="Value of ${NAME} in the prototxt; other names are environment variables. May be repeated.",
)


def _allow_python_layers(_: click.Context, __: click.Parameter, allowed: bool) -> bool:
    if allowed:
        from deeplab_caffe.pycaffe.aliasing import install_unless_found

        install_unless_found()
    return allowed


python_layers_option = click.option(
    "--python-layers",
    is_flag=True,
    callback=_allow_python_layers,
    help="Run the code of Python layers, from modules on PYTHONPATH: only for files that you trust.",
)

dtype_option = click.option(
    "--dtype",
    type=click.Choice(["float32", "bfloat16"]),
    default="float32",
    show_default=True,
    help="Number format of the computation: bfloat16 is faster, but has only about two digits.",
)

_CRF_NUMBERS = (
    ("pos-w", "-pw", "Weight of the smoothness kernel."),
    ("pos-xy-std", None, "Its standard deviation in pixels."),
    ("bi-w", "-bw", "Weight of the appearance kernel."),
    ("bi-xy-std", None, "Its standard deviation of position in pixels."),
    ("bi-rgb-std", None, "Its standard deviation of colour in grey levels, 0 to 255."),
)


def crf_number_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add an option for each number of CRFParams, with the short flags of the original's programs."""
    for name, short, text in reversed(_CRF_NUMBERS):
        names = (f"--{name}",) if short is None else (short, f"--{name}")
        function = click.option(*names, type=float, help=text)(function)
    return click.option("-i", "--iterations", type=click.IntRange(min=0), help="Mean field iterations.")(function)


def kind_option(unsaid: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return the option ``--kind``.

    Args:
        unsaid: help text for the kind of the files if the flag is not given.
    """
    return click.option(
        "--kind",
        type=click.Choice(["scores", "probabilities", "energies"]),
        help="Kind of the scores: of a network, probabilities, or minus their logarithms; for one channel those of the "
        f"foreground. By default {unsaid}, and an error if they are clearly of another kind.",
    )


dialect_option = click.option(
    "--dialect",
    type=click.Choice(["v1", "v2"]),
    help="The Caffe version whose behaviour the net has, if the file's form suggests another.",
)

phase_option = click.option(
    "--phase", type=click.Choice(["TRAIN", "TEST"], case_sensitive=False), default="TEST", show_default=True
)


def split_list(text: str | None) -> tuple[str, ...]:
    """Return the parts of a flag's comma-separated value, without blanks around them and without empty ones."""
    return tuple(part.strip() for part in (text or "").split(",") if part.strip())


def state_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add Caffe's ``--level`` and ``--stage``, which choose layers by their include and exclude rules."""
    function = click.option(
        "--stage", "stages", default="", callback=_stages, help="The net's stages, separated by commas."
    )(function)
    return click.option("--level", type=LEVEL, default=0, show_default=True, help="The net's level.")(function)


def _stages(_: click.Context, __: click.Parameter, text: str) -> tuple[str, ...]:
    if shown_text(text) != text:
        raise click.BadParameter(f"expected text in UTF-8, got '{printable(text)}'")
    return split_list(text)


_EMPTY = "it is empty: is a variable of the shell not set?"


class Word(StringParamType):
    """A text that is not empty."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the text, or refuse it."""
        if not str(value).strip():
            self.fail(_EMPTY, param, ctx)
        return super().convert(value, param, ctx)


class FilePath(click.Path):
    """A path that click does not check: of several files, one that cannot be read must not stop the others."""

    def __init__(self, path_type: type = Path) -> None:
        # click's check of the permission would end the command with a usage text.
        super().__init__(readable=False, path_type=path_type)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path; an empty one would be the working directory."""
        if not os.fspath(value):
            self.fail(_EMPTY, param, ctx)
        return super().convert(value, param, ctx)


def path_option(*names: str, **options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Make a file option. The function that reads the file checks it, because its messages say more."""
    return click.option(*names, type=FilePath(), **options)


def word_option(*names: str, **options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Make an option whose value must not be empty."""
    return click.option(*names, type=Word(), **options)


def readable_count(number: float) -> str:
    """Return a number with a unit: ``20505429 -> "20.51 M"``."""
    for limit, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= limit:
            return f"{number / limit:.2f} {unit}"
    return f"{number:.0f}"
