"""``deeplab-caffe crf``: refine scores with the dense CRF, as prog_refine_pascal and prog_refine_pascal_v4 do."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from deeplab_caffe.crf import CRFParams

_FOLDER = click.Path(path_type=Path)


@click.command()
@click.option("-id", "--image-dir", type=_FOLDER, required=True, help="Photographs: .ppm or what Pillow reads.")
@click.option("-fd", "--feature-dir", type=_FOLDER, required=True, help="Scores <image>_blob_0.mat or <image>.bin.")
@click.option("-sd", "--save-dir", type=_FOLDER, required=True, help="Label maps <image>.bin go here.")
@click.option("-i", "--iterations", type=click.IntRange(min=0), default=10, show_default=True)
@click.option("-px", "--pos-x-std", type=float, help="Smoothness kernel: deviation along x, pixels.  [3]")
@click.option("-py", "--pos-y-std", type=float, help="... along y.  [3]")
@click.option("-pw", "--pos-w", type=float, help="... its weight.  [3]")
@click.option("-bx", "--bi-x-std", type=float, help="Appearance kernel: deviation along x, pixels.  [mat 70, bin 60]")
@click.option("-by", "--bi-y-std", type=float, help="... along y.  [mat 70, bin 60]")
@click.option("-br", "--bi-r-std", type=float, help="... of red, grey levels.  [mat 5, bin 20]")
@click.option("-bg", "--bi-g-std", type=float, help="... of green.  [mat 5, bin 20]")
@click.option("-bb", "--bi-b-std", type=float, help="... of blue.  [mat 5, bin 20]")
@click.option("-bw", "--bi-w", type=float, help="... its weight.  [mat 5, bin 10]")
@click.option("--params", "preset", metavar="NAME", help="Defaults tuned for a model, such as DeepLab-LargeFOV.")
@click.option(
    "--input",
    "kind",
    type=click.Choice(["mat", "bin", "auto"]),
    default="auto",
    show_default=True,
    help="mat: scores as MAT_WRITE leaves them (the v4 program); bin: probabilities (the first program).",
)
@click.option("--png", is_flag=True, help="Write <image>.png with PASCAL VOC's colours too.")
@click.option("--overwrite", is_flag=True, help="Do images again whose label maps exist.")
@click.option("--threads", type=click.IntRange(min=0), default=0, help="CPU threads; 0: all cores.  [0]")
def crf(
    image_dir: Path,
    feature_dir: Path,
    save_dir: Path,
    iterations: int,
    kind: str,
    preset: str | None,
    png: bool,
    overwrite: bool,
    threads: int,
    **kernels: float | None,
) -> None:
    """Refine segmentation scores with the dense CRF, with the flags of the original's programs.

    Images whose label maps exist are skipped. An image that fails is reported, the others are done, and the exit status
    is 1.
    """
    from deeplab_caffe import _C
    from deeplab_caffe.crf import find_preset
    from deeplab_caffe.crf.program import Folders, default_params, detect_kind, refine_folder
    from deeplab_caffe.errors import DeepLabCaffeError

    try:
        kind = detect_kind(feature_dir) if kind == "auto" else kind
        params = default_params(kind) if preset is None else find_preset(preset).params
        params = _changed(params, kernels).replace(iterations=iterations)
        _C.set_num_threads(threads)
        with _Progress() as progress:
            summary = refine_folder(
                Folders(image_dir, feature_dir, save_dir, kind),
                params,
                png=png,
                overwrite=overwrite,
                on_progress=progress.show,
                on_error=lambda message: progress.say(f"error: {message}"),
                on_warning=lambda message: progress.say(f"warning: {message}"),
            )
    except DeepLabCaffeError as exc:
        raise click.ClickException(str(exc)) from exc
    click.echo(f"{len(summary.done)} refined, {len(summary.skipped)} skipped, {len(summary.failed)} failed")
    if summary.failed:
        sys.exit(1)


def _changed(params: CRFParams, kernels: dict[str, float | None]) -> CRFParams:
    """The parameters with the flags that were given."""

    def either(flag: str, default: float) -> float:
        return default if kernels[flag] is None else kernels[flag]

    positions, colours = params.kernels
    return params.replace(
        pos_w=either("pos_w", positions.weight),
        pos_xy_std=(tuple(either(f"pos_{a}_std", std) for a, std in zip("xy", positions.xy_std, strict=True)),),
        bi_w=either("bi_w", colours.weight),
        bi_xy_std=(tuple(either(f"bi_{a}_std", std) for a, std in zip("xy", colours.xy_std, strict=True)),),
        bi_rgb_std=(tuple(either(f"bi_{c}_std", std) for c, std in zip("rgb", colours.rgb_std, strict=True)),),
    )


class _Progress:
    """A progress bar on a terminal's stderr; elsewhere only what is said."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._console = Console(stderr=True, soft_wrap=True)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._bar = Progress(*columns, console=self._console, disable=not self._console.is_terminal, transient=True)
        self._task = self._bar.add_task("crf")

    def __enter__(self) -> _Progress:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def show(self, done: int, total: int, name: str) -> None:
        self._bar.update(self._task, completed=done, total=total, description=name or "crf")

    def say(self, message: str) -> None:
        self._console.print(message, markup=False, highlight=False)
