"""The command ``deeplab-caffe``: one file per verb, loaded when it is called."""

from __future__ import annotations

import atexit
import importlib
import io
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import click
from click.shell_completion import CompletionItem

from deeplab_caffe._version import __version__
from deeplab_caffe.cli.words import asks_version, nearest, two_dashes
from deeplab_caffe.errors import DeepLabCaffeError, how_to_install, one_line, printable


class Verb(NamedTuple):
    """The text of ``--help`` on a verb.

    Attributes:
        about: a summary of one line.
        example: arguments of a command line that works.
    """

    about: str
    example: str


# The verbs, grouped by purpose. A verb's command is a function in a module, both called like it, with _ for -.
GROUPS = {
    "Use a network": {
        "extract": Verb(
            "Write any blobs of a network as .npy, .mat, HDF5 or LMDB, as extract_features.",
            "photo.jpg --blobs block2,aspp --out features",
        ),
        "models": Verb("List the models of the papers: networks, published results, CRF parameters, files.", ""),
        "net": Verb(
            "List a network's layers, shapes, parameters and receptive fields, or draw it.",
            "deploy.prototxt --svg net.svg",
        ),
        "segment": Verb("Segment photographs.", "photo.jpg --crf --out results"),
        "time": Verb("Time a network layer by layer, as `caffe time`.", "--model deploy.prototxt --iterations 20"),
    },
    "CRF": {
        "crf": Verb(
            "Refine score files by a dense CRF, as the original's densecrf programs.",
            "-id JPEGImages -fd scores -sd refined -i 10 --crf deeplab_largefov",
        ),
        "crf-search": Verb(
            "Search the dense CRF's parameters on validation images, as the DeepLab paper does.",
            "--scores scores --images JPEGImages --labels SegmentationClass",
        ),
        "page": Verb("Tune the dense CRF on your own picture, in the browser.", "photo.jpg"),
    },
    "Train and evaluate": {
        "boxes": Verb(
            "Make label maps from bounding boxes: rectangles, or objects cut out by the CRF.",
            "--annotations Annotations --images JPEGImages --list train_id.txt --method crf --out labels",
        ),
        "eval": Verb(
            "Evaluate results like the original's MATLAB: IoU, accuracies, trimaps; an HTML report.",
            "--predictions results --labels SegmentationClass --list val_id.txt",
        ),
        "experiment": Verb(
            "Train, test, refine and evaluate a network in the release's folders, as run_pascal.sh.",
            "voc12 --data-root VOC2012 --model deeplab_largefov",
        ),
        "plot": Verb(
            "Plot training logs: loss, learning rate and accuracies over the iterations.",
            "train.log.jsonl --out curve.png",
        ),
        "test": Verb(
            "Run a test.prototxt, as `caffe test`.",
            "--model test.prototxt --weights x.caffemodel --iterations 1449",
        ),
        "train": Verb(
            "Train a network with a solver prototxt, as `caffe train`.",
            "--solver solver.prototxt --weights init.caffemodel",
        ),
    },
    "Files": {
        "convert": Verb(
            "Convert weights between caffemodel, safetensors, PyTorch and ONNX.",
            "x.caffemodel --model deploy.prototxt --out x.safetensors",
        ),
        "dataset": Verb(
            "Write DeepLab's lists of VOC, Cityscapes, CamVid, COCO-Stuff or own folders, after checks.",
            "voc12 VOCdevkit/VOC2012 --out list",
        ),
        "download": Verb("Download the weights of a model of the papers, or check downloaded ones.", "vgg16"),
        "imageset": Verb(
            "Write the images and labels of a list into an LMDB, as convert_imageset.",
            "train.txt train_lmdb --root images/ --size 256 256",
        ),
        "mean": Verb(
            "Compute the mean of images, lists and databases, as compute_image_mean.",
            "JPEGImages --size 256 256 --out mean.binaryproto",
        ),
        "upgrade": Verb(
            "Write old nets, caffemodels and solvers in today's layout, as upgrade_net_proto_text.",
            "old.prototxt new.prototxt",
        ),
    },
    "Machine": {
        "device-query": Verb("Show the GPUs, as `caffe device_query`.", ""),
        "info": Verb("Show versions, devices, memory, the build and the extras, for bug reports.", "--json"),
    },
}
VERBS = {name: verb for verbs in GROUPS.values() for name, verb in verbs.items()}


# Set by the shell's function while it asks for completions: docs/install.md.
_COMPLETING = "_DEEPLAB_CAFFE_COMPLETE"


class _Verbs(click.Group):
    """Imports a verb's module only when the verb is used, so that ``--help`` need not wait for torch."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the verbs."""
        return sorted(VERBS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Return the command of a verb; ``_`` stands for ``-``, as in Caffe's device_query."""
        module = name.replace("-", "_")
        verb = module.replace("_", "-")
        if verb not in VERBS:
            return None
        command: click.Command = getattr(importlib.import_module(f"deeplab_caffe.cli.{module}"), module)
        # \b keeps the lines as they are.
        command.epilog = f"\b\nExample:\n  deeplab-caffe {verb} {VERBS[verb].example}".rstrip()
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return the verbs and flags that begin with ``incomplete``; click's own method would import all, and torch."""
        verbs = [CompletionItem(name, help=VERBS[name].about) for name in sorted(VERBS) if name.startswith(incomplete)]
        return [*verbs, *click.Command.shell_complete(self, ctx, incomplete)]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Find the verb also after its flags, as gflags does: ``caffe -solver x train``.

        ``-version`` takes precedence over all other words, as in gflags.
        """
        if any(asks_version(word) for word in args):
            args = ["--version"]
        verb = next((i for i, word in enumerate(args) if word.replace("_", "-") in VERBS), 0)
        if verb and args[0].startswith("-") and args[0] not in ("-h", "--help"):
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
        """Write the tables of verbs of ``--help``, one for each group."""
        # One width for all groups, so that their columns are aligned.
        width = max(map(len, VERBS))
        for title, verbs in GROUPS.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(width), verb.about) for name, verb in verbs.items()])


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="deeplab-caffe")
def cli() -> None:
    """DeepLab from its own prototxt files and caffemodels, without Caffe.

    Extras, by pip install 'deeplab-caffe[NAME]': torch (networks), scipy, convert, plot, tensorboard, wandb, video,
    ray, page, hdf5, lmdb, leveldb, cupy.
    """


def _one_line_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    click.echo(f"warning: {one_line(str(message))}", err=True)


class _Terminated(SystemExit):
    """The exit on SIGTERM."""


@contextmanager
def _termination() -> Iterator[None]:
    """Let SIGTERM raise within the block, so that half-written files are removed; a second one ends the process."""

    def terminate(number: int, _: object) -> None:
        signal.signal(number, signal.SIG_DFL)
        raise _Terminated(128 + number)

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
    return f"{error.name} is not installed: {how_to_install(str(error.name))}"


def main(args: list[str] | None = None) -> None:
    """Run a command; an error that bad input causes becomes one line on stderr and exit status 1."""
    warnings.showwarning = _one_line_warning
    for stream in (sys.stdout, sys.stderr):
        # Names of files and classes may have characters that the terminal cannot show, or bytes that are not text.
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")
    try:
        with _termination():
            _main(args)
    except _Terminated as end:
        _leave(int(end.code or 0))


def _leave(status: int) -> None:
    """End the process without waiting for threads: one that reads standard input or a dead server may never end."""
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)


def _main(args: list[str] | None) -> None:
    try:
        # Outside its standalone mode click returns an Exit's status as if it were a result.
        status = cli.main(args=args, prog_name="deeplab-caffe", standalone_mode=False)
        if isinstance(status, int) and status:
            sys.exit(status)
    except click.Abort:
        click.echo("interrupted", err=True)
        sys.exit(130)
    except click.ClickException as error:
        # It quotes words of the command line, which may be names of a stranger's files.
        vars(error)["message"] = "\n".join(map(printable, error.message.split("\n")))
        error.show()
        sys.exit(error.exit_code)
    except DeepLabCaffeError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)
    except ModuleNotFoundError as error:
        if _COMPLETING not in os.environ:  # a message would appear in the line that is being typed
            click.echo(f"error: {_lacking(error)}", err=True)
        sys.exit(1)
    except MemoryError as error:
        click.echo(one_line(f"error: out of memory: {error}"), err=True)
        sys.exit(1)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        click.echo(one_line(f"error: {where}{error.strerror or error}"), err=True)
        sys.exit(1)
