"""The command ``deeplab-caffe``: one file per verb, loaded when it is called."""

from __future__ import annotations

import importlib
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from deeplab_caffe._version import __version__
from deeplab_caffe.cli.words import nearest, two_dashes
from deeplab_caffe.errors import DeepLabCaffeError, one_line

# Verb: what --help says of it. Its command is the function of that name, with _ for -, in the module of that name.
VERBS = {
    "boxes": "Make label maps from bounding boxes: rectangles, or objects cut out by the CRF.",
    "convert": "Convert weights between caffemodel, safetensors, PyTorch and ONNX.",
    "crf": "Refine score files by a dense CRF, as the original's densecrf programs.",
    "crf-search": "Search the dense CRF's parameters on validation images, as the DeepLab paper does.",
    "device-query": "Show the GPUs, as `caffe device_query`.",
    "download": "Fetch the weights of a model of the papers, or check those that were fetched.",
    "eval": "Evaluate results: IoU, accuracies, trimaps, as the original's MATLAB; an HTML report.",
    "models": "List the models of the papers: networks, published results, CRF parameters, files.",
    "experiment": "Train, test, refine and evaluate a network in the release's folders, as run_pascal.sh.",
    "net": "List a network's layers, shapes, parameters and receptive fields, or draw it.",
    "page": "Tune the dense CRF on a picture of one's own, in the browser.",
    "plot": "Plot training logs: loss, learning rate and accuracies over the iterations.",
    "segment": "Segment photographs.",
    "test": "Run a test.prototxt, as `caffe test`.",
    "time": "Time a network layer by layer, as `caffe time`.",
    "train": "Train a network by a solver prototxt, as `caffe train`.",
}


class _Verbs(click.Group):
    """Imports a verb's module only when the verb is used, so that ``--help`` need not wait for torch."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the verbs."""
        return sorted(VERBS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Return the command of a verb; ``_`` stands for ``-``, as in Caffe's device_query."""
        module = name.replace("-", "_")
        if module.replace("_", "-") not in VERBS:
            return None
        command: click.Command = getattr(importlib.import_module(f"deeplab_caffe.cli.{module}"), module)
        return command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take the verb from behind its flags, where gflags lets it stand: ``caffe -solver x train``."""
        verb = next((i for i, word in enumerate(args) if word.replace("_", "-") in VERBS), 0)
        if verb and args[0].startswith("-") and args[0] not in ("-h", "--help", "--version"):
            args = [args[verb], *args[:verb], *args[verb + 1 :]]
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the verb; its flags may have Caffe's single dash."""
        name, command = args[0], self.get_command(ctx, args[0])
        if command is None:
            known = nearest(name, VERBS)
            meant = f" Did you mean {' or '.join(f'`{verb}`' for verb in known)}?" if known else ""
            ctx.fail(f"No such command '{name}'.{meant}")
        return command.name, command, two_dashes(ctx, command, args[1:])

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table of verbs of ``--help``."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, VERBS[name]) for name in self.list_commands(ctx)])


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="deeplab-caffe")
def cli() -> None:
    """DeepLab from its own prototxt files and caffemodels, without Caffe."""


def _one_line_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    click.echo(f"warning: {one_line(str(message))}", err=True)


@contextmanager
def _termination() -> Iterator[None]:
    """Let SIGTERM raise within the block, so that half-written files are removed; a second one ends the process."""

    def terminate(number: int, _: object) -> None:
        signal.signal(number, signal.SIG_DFL)
        sys.exit(128 + number)

    mine = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    if mine:
        signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        if mine:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _lacking(error: ModuleNotFoundError) -> str:
    """Say which module is missing, and how to install it."""
    if error.name == f"{__package__.partition('.')[0]}._C":
        return "the package's extension is not built: pip install . in its folder builds it"
    return f"{error.name} is not installed: pip install {error.name}"


def main(args: list[str] | None = None) -> None:
    """Run a command: whatever bad input causes becomes one line on stderr and exit status 1."""
    warnings.showwarning = _one_line_warning
    with _termination():
        _main(args)


def _main(args: list[str] | None) -> None:
    try:
        # Outside its standalone mode click hands an Exit's status back as if it were a result.
        status = cli.main(args=args, prog_name="deeplab-caffe", standalone_mode=False)
        if isinstance(status, int) and status:
            sys.exit(status)
    except click.Abort:
        click.echo("interrupted", err=True)
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except DeepLabCaffeError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)
    except ModuleNotFoundError as error:
        click.echo(f"error: {_lacking(error)}", err=True)
        sys.exit(1)
    except MemoryError as error:
        click.echo(one_line(f"error: out of memory: {error}"), err=True)
        sys.exit(1)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        click.echo(one_line(f"error: {where}{error.strerror or error}"), err=True)
        sys.exit(1)
