"""The original's programs prog_refine_pascal and prog_refine_pascal_v4 for a folder of images.

``mat``: scores as MAT_WRITE writes them, ``<image>_blob_0.mat``, with the image at their top left (the v4 program).
``bin``: class probabilities, ``<image>.bin`` (the first program; densecrf/refine_pascal/dense_inference.cpp).
``npy``: scores of other programs, ``<image>.npy``, which the originals do not read.
The results are ``<image>.bin``, a label map, and optionally the same as a palette PNG.
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
from deeplab_caffe.data.io.images import load_stored_image, save_labels_png
from deeplab_caffe.data.io.scores import ASSUMED_KIND, SUFFIXES, ScoreFormat, read_scores
from deeplab_caffe.errors import CRFError, DataError, DeepLabCaffeError
from deeplab_caffe.viz import VOC_COLORMAP

Status = Literal["refined", "skipped", "failed"]
# The original program whose parameters are the defaults for each format.
_PROGRAMS: dict[ScoreFormat, str] = {"mat": "refine_pascal_v4", "bin": "refine_pascal", "npy": "refine_pascal_v4"}


@dataclass(frozen=True)
class Job:
    """One image to refine.

    Attributes:
        name: file name without its ending, including the folders of an id that has some.
        scores: file of the image's scores or probabilities.
        image: file of the image's photograph; None if there is none, in which case the job fails.
    """

    name: str
    scores: Path
    image: Path | None


@dataclass(frozen=True)
class Folders:
    """The folders that the program reads and writes.

    Attributes:
        images: the photographs (-id).
        scores: the scores or probabilities (-fd).
        results: the label maps (-sd); created if it does not exist.
        form: format of the files of scores.
    """

    images: Path
    scores: Path
    results: Path
    form: ScoreFormat


@dataclass(frozen=True)
class JobOutcome:
    """The outcome of one job.

    Attributes:
        name: the job's name.
        status: "skipped" if the results existed already.
        message: the reason of a failure, which names the file.
    """

    name: str
    status: Status
    message: str = ""


def default_params(form: ScoreFormat) -> CRFParams:
    """Return the parameters of the original program that reads this format; prog_refine_pascal_v4's for ``npy``."""
    return CRFParams.for_model(_PROGRAMS[form])


def detect_format(folder: str | os.PathLike[str], ids: Iterable[str] = ()) -> ScoreFormat:
    """Return the format of the files of scores in a folder, or in the folders inside it that ids name.

    The originals' formats take precedence over ``npy``.

    Raises:
        DataError: the folder cannot be read, has no scores, or has files in both of the originals' formats.
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
        folders: the folders.
        ids: names of the images to refine, with folders or without; None: all that have scores directly in the folder.

    Returns:
        The jobs, in the order of ``ids`` or of their names; and, if ``ids`` is None, the photographs without scores.

    Raises:
        DataError: a folder cannot be read, there are no scores or not for all ``ids``, or the results would overwrite
            the scores.
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
    """Return (inner folder, file name) of the files in a folder and in the folders inside it that ids name."""
    inner = id_folders(folder, ids)
    return [(each, name) for each in inner for name in folder_names(Path(folder) / each)]


def refine(job: Job, form: ScoreFormat, params: CRFParams, kind: Kind | None = None) -> np.ndarray:
    """Read one job's files and run the dense CRF.

    Args:
        job: the job.
        form: format of the file of scores.
        params: the kernels and iterations.
        kind: what the scores are, see :func:`deeplab_caffe.crf.dense_crf`; None: probabilities in a ``.bin``.

    Returns:
        Marginals, float32 ``(C, H, W)``; ``(2, H, W)`` for a single channel.

    Raises:
        DeepLabCaffeError: a file is missing, damaged, or does not fit; the message names it.
    """
    if job.image is None:
        raise DataError(f"no image of the name '{job.name}' belongs to these scores", job.scores)
    image = load_stored_image(job.image, "scores")
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
    """Refine images one by one; a failure does not stop the others.

    A run that was interrupted continues where it stopped.

    Args:
        jobs: jobs from :func:`find_jobs`.
        folders: the folders.
        params: the kernels and iterations.
        kind: what the scores are, see :func:`refine`.
        png: also write ``<image>.png`` in PASCAL VOC's colours.
        overwrite: refine images again whose results exist.

    Yields:
        Each job's outcome, after its results are written.
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
    # The .bin is written last: if it exists, the image is finished.
    for path in reversed(paths):
        if path.suffix == ".png":
            save_labels_png(path, labels, VOC_COLORMAP)
        else:
            write_labels_bin(path, labels)
