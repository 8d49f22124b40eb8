"""What the original's command-line programs prog_refine_pascal and prog_refine_pascal_v4 do, for a folder of images.

``mat``: scores as MAT_WRITE leaves them, ``<image>_blob_0.mat``, the image at their top left (the v4 program).
``bin``: class probabilities, ``<image>.bin`` (the first program; densecrf/refine_pascal/dense_inference.cpp).
``npy``: scores as other programs leave them, ``<image>.npy``, which the originals do not read.
Out comes ``<image>.bin``, a label map, and on request the same as a palette PNG.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np

from deeplab_caffe.crf import CRFParams, dense_crf
from deeplab_caffe.crf.inputs import Kind
from deeplab_caffe.data.io.bin import write_labels_bin
from deeplab_caffe.data.io.folders import find_images, folder_names, id_folders
from deeplab_caffe.data.io.images import load_image, save_labels_png
from deeplab_caffe.data.io.scores import ASSUMED_KIND, SUFFIXES, ScoreFormat, read_scores
from deeplab_caffe.errors import CRFError, DataError, DeepLabCaffeError
from deeplab_caffe.viz import VOC_COLORMAP

Status = Literal["refined", "skipped", "failed"]
# The program of the original whose parameters are the defaults.
_PROGRAMS: dict[ScoreFormat, str] = {"mat": "refine_pascal_v4", "bin": "refine_pascal", "npy": "refine_pascal_v4"}


@dataclass(frozen=True)
class Job:
    """One image to refine.

    Attributes:
        name: file name without its ending; of an id with folders, those too.
        scores: file of its scores or probabilities.
        image: file of its photograph; None if it has none, which fails when the job is run.
    """

    name: str
    scores: Path
    image: Path | None


@dataclass(frozen=True)
class Folders:
    """Where the program reads and writes.

    Attributes:
        images: the photographs (-id).
        scores: the scores or probabilities (-fd).
        results: the label maps (-sd); made where missing.
        form: the format of the scores' files.
    """

    images: Path
    scores: Path
    results: Path
    form: ScoreFormat


@dataclass(frozen=True)
class JobOutcome:
    """What became of one job.

    Attributes:
        name: the job's.
        status: "skipped" where its results existed already.
        message: the reason of a failure, naming the file.
    """

    name: str
    status: Status
    message: str = ""


def default_params(form: ScoreFormat) -> CRFParams:
    """Return the parameters of the original program that reads these files; of prog_refine_pascal_v4 for ``npy``."""
    return CRFParams.for_model(_PROGRAMS[form])


def detect_format(folder: str | os.PathLike[str], ids: Iterable[str] = ()) -> ScoreFormat:
    """Return which files of scores a folder holds, or the folders inside it that ids name.

    The originals' go before ``npy``.

    Raises:
        DataError: if the folder cannot be read, or holds both of the originals' files or no scores.
    """
    names = [name for _, name in _names(folder, ids)]
    found = [form for form, suffix in SUFFIXES.items() if any(name.endswith(suffix) for name in names)]
    if {"mat", "bin"} <= set(found):
        raise DataError(f"holds both *{SUFFIXES['mat']} and *{SUFFIXES['bin']}: say which with --input", folder)
    if not found:
        what = f"holds neither {' nor '.join(f'*{suffix}' for suffix in SUFFIXES.values())}"
        if any(path.is_dir() for path in Path(folder).iterdir()):
            what += "; scores in folders inside it want a list of ids with those folders"
        raise DataError(what, folder)
    return found[0]  # in the order of SUFFIXES


def find_jobs(folders: Folders, ids: Sequence[str] | None = None) -> tuple[list[Job], list[str]]:
    """Pair scores and photographs by name.

    Args:
        folders: where they are.
        ids: names of the images to do, with folders or without; None for all that have scores in the folder itself.

    Returns:
        The jobs, in the order of ``ids`` or of their names; and, where all are done, the photographs without scores.

    Raises:
        DataError: if a folder cannot be read, there are no scores, not for all ``ids``, or the results would overwrite
            them.
    """
    suffix = SUFFIXES[folders.form]
    found = [(inner, name) for inner, name in _names(folders.scores, ids or ()) if name.endswith(suffix)]
    names = sorted(str(inner / name[: -len(suffix)]) for inner, name in found if name != suffix)
    if not names:
        raise DataError(f"holds no *{suffix}", folders.scores)
    if folders.form == "bin" and folders.results.resolve() == folders.scores.resolve():
        raise DataError(
            "the label maps would overwrite the probabilities: give another folder for them", folders.results
        )
    for name in ids or ():
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise DataError(f"the id '{name}' leads out of the folder of the results", folders.results)
    known, images = set(names), find_images(folders.images, ids or ())
    if ids is not None:
        missing = [name for name in ids if name not in known]
        if missing:
            raise DataError(f"holds no scores of {len(missing)} images, the first is '{missing[0]}'", folders.scores)
    jobs = [Job(name, folders.scores / (name + suffix), images.get(name)) for name in (names if ids is None else ids)]
    return jobs, sorted(images.keys() - known) if ids is None else []


def _names(folder: str | os.PathLike[str], ids: Iterable[str]) -> list[tuple[PurePosixPath, str]]:
    """Return what is in a folder, and in the folders inside it that ids name: inner folder and name."""
    inner = id_folders(folder, ids)
    return [(each, name) for each in inner for name in folder_names(Path(folder) / each)]


def refine(job: Job, form: ScoreFormat, params: CRFParams, kind: Kind | None = None) -> np.ndarray:
    """Read one job's files and infer.

    Args:
        job: the files.
        form: the format of the file of scores.
        params: the kernels and iterations.
        kind: what the scores are, see :func:`deeplab_caffe.crf.dense_crf`; None: probabilities in a ``.bin``.

    Returns:
        Marginals, float32 ``(C, H, W)``; of a single channel ``(2, H, W)``.

    Raises:
        DeepLabCaffeError: naming the file that is missing, damaged, or does not fit its partner.
    """
    if job.image is None:
        raise DataError(f"no image of the name '{job.name}' belongs to these scores", job.scores)
    # As the pixels are stored: that is what the scores were computed for.
    image = load_image(job.image, exif_orientation=False)
    scores = read_scores(job.scores, form, image.shape[:2])
    try:
        marginals: np.ndarray = dense_crf(scores, image, params, kind=kind or ASSUMED_KIND[form])
    except CRFError as exc:
        raise DataError(str(exc), job.scores) from exc
    return marginals


def refine_jobs(
    jobs: Sequence[Job],
    folders: Folders,
    params: CRFParams,
    *,
    kind: Kind | None = None,
    png: bool = False,
    overwrite: bool = False,
) -> Iterator[JobOutcome]:
    """Refine one image after the other; one that fails does not stop the others.

    A run that was broken off goes on where it stopped.

    Args:
        jobs: from :func:`find_jobs`.
        folders: where to write.
        params: the kernels and iterations.
        kind: what the scores are, see :func:`refine`.
        png: write ``<image>.png`` with PASCAL VOC's colours too.
        overwrite: do images again whose results exist.

    Yields:
        Each job's outcome, once its results are written.
    """
    for job in jobs:
        results = [folders.results / f"{job.name}.bin", *([folders.results / f"{job.name}.png"] if png else [])]
        if not overwrite and all(path.exists() for path in results):
            yield JobOutcome(job.name, "skipped")
            continue
        try:
            _write_labels(refine(job, folders.form, params, kind).argmax(axis=0), results)
        except (DeepLabCaffeError, MemoryError) as exc:
            yield JobOutcome(job.name, "failed", str(exc) or f"{job.scores}: not enough memory")
        else:
            yield JobOutcome(job.name, "refined")


def _write_labels(labels: np.ndarray, paths: list[Path]) -> None:
    # The .bin last: where it exists, the image is finished.
    for path in reversed(paths):
        if path.suffix == ".png":
            save_labels_png(path, labels, VOC_COLORMAP)
        else:
            write_labels_bin(path, labels)
