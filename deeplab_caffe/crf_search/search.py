"""The paper's search for the dense CRF's parameters, coarse to fine on some validation images (ICLR 2015, section 4.1).

The smoothness kernel is fixed. For the appearance kernel, the point of a grid with the best mean IoU is found, and the
grid is then refined around that point.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, wait
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np

from deeplab_caffe.arrays.memory import available_memory
from deeplab_caffe.crf.cpu import image_pool
from deeplab_caffe.crf.memory import DEFAULT_WORKSPACE, CRFMemoryError
from deeplab_caffe.crf.params import CRFParams
from deeplab_caffe.crf_search.grid import Grid, Point
from deeplab_caffe.crf_search.inference import SearchSettings, Sigmas, inference_bytes, marginals_by_point
from deeplab_caffe.crf_search.results import Counts, ResultFile
from deeplab_caffe.crf_search.samples import Content, SearchSample
from deeplab_caffe.data.confusion import ConfusionMatrix
from deeplab_caffe.environment import usable_cores
from deeplab_caffe.errors import CRFError, DataError, EvaluationError

# Function that is called with the number of finished evaluations (one image with one point).
Advance = Callable[[int], None]
# Function that opens a progress bar: name of the stage, total number of evaluations.
Progress = Callable[[str, int], AbstractContextManager[Advance]]

# Part of the key of every result; increase it when a change of the code changes marginals.
_FORMAT = 1


@dataclass(frozen=True)
class Accuracy:
    """The accuracy of label maps.

    Attributes:
        matrix: confusion counts of all samples together.
    """

    matrix: ConfusionMatrix

    @property
    def mean_iou(self) -> float:
        """Return PASCAL VOC's mean IoU, from 0 to 1, from the confusion counts of all images together.

        Classes that occur neither in the labels nor in the predictions do not count. By VOC's own rule they would make
        the mean NaN, and a few images rarely have all classes.
        """
        return self.matrix.mean_iou("skip")


@dataclass(frozen=True)
class PointResult(Accuracy):
    """The accuracy of one point.

    Attributes:
        matrix: confusion counts of all samples together.
        point: the parameters.
        round: number of the round that tried it first, from 1.
    """

    point: Point
    round: int


@dataclass(frozen=True)
class SearchOutcome:
    """The outcome of a search.

    Attributes:
        baseline: accuracy of the scores without a CRF.
        results: results of all points in the order in which they were tried.
        rounds: the grids, one per round.
        best: the result with the largest mean IoU; the first one on ties.
        settings: the parameters that all points have in common.
    """

    baseline: Accuracy
    results: tuple[PointResult, ...]
    rounds: tuple[Grid, ...]
    best: PointResult
    settings: SearchSettings

    @property
    def params(self) -> CRFParams:
        """Return the best parameters."""
        return self.settings.params(self.best.point)


def _no_progress(what: str, total: int) -> AbstractContextManager[Advance]:
    return nullcontext(lambda items=1: None)


class Search:
    """Evaluates points of grids on samples, each point once.

    All points share an image's scores and lattice of positions, and points with the same bi_xy_std and bi_rgb_std share
    the lattice of colours. Images are evaluated in parallel, each by one thread; results do not depend on the number of
    threads.

    Args:
        samples: the samples to evaluate on.
        settings: the parameters that all points have in common.
        results: file that stores results, see :class:`ResultFile`; None: no file.
        jobs: number of images at a time, at most the number of cores; 0: the number of cores. Fewer images run if
            memory is short.
        progress: function that opens a progress bar for each stage.

    Attributes:
        baseline: accuracy of the scores without a CRF.
        num_classes: K.

    Raises:
        DataError: a file is missing or damaged, or the files of a sample do not fit.
        EvaluationError: all pixels are ignored.
    """

    def __init__(
        self,
        samples: Sequence[SearchSample],
        settings: SearchSettings | None = None,
        *,
        results: str | os.PathLike[str] | None = None,
        jobs: int = 0,
        progress: Progress = _no_progress,
    ) -> None:
        if not samples:
            raise CRFError("a search needs at least one sample")
        self.samples = tuple(samples)
        self.settings = SearchSettings() if settings is None else settings
        self._results = ResultFile(results)
        self._progress = progress
        self._jobs = jobs or usable_cores()
        self._stop = threading.Event()
        self._checksums: dict[SearchSample, str] = {}
        self.num_classes = len(self.samples[0].load().scores)
        self._most_bytes = 0
        self.baseline = Accuracy(self._examine())
        if not self.baseline.matrix.matrix.any():
            raise EvaluationError(f"every pixel of the {len(self.samples)} samples is ignored")
        available = available_memory(reclaimable=DEFAULT_WORKSPACE.nbytes)
        if available is not None:
            self._jobs = max(1, min(self._jobs, available // self._most_bytes))

    def evaluate(self, grid: Grid, number: int = 1) -> list[PointResult]:
        """Return the results of all points of a grid, in its order.

        Args:
            grid: the points.
            number: number of the round.

        Raises:
            DeepLabCaffeError: as the constructor, or standard deviations are too small for the images.
        """
        points = list(grid)
        work = [(sample, self._missing(sample, grid)) for sample in self.samples]
        work = [(sample, pairs) for sample, pairs in work if pairs]
        total = len(points) * len(self.samples)
        with self._progress(f"round {number}", total) as advance:
            advance(total - sum(len(weights) for _, pairs in work for weights in pairs.values()))
            # Split the work so finely that no core waits long for the others at the end.
            pieces = -(-4 * self._jobs // max(1, len(work)))
            tasks = [(sample, piece) for sample, pairs in work for piece in _cut(pairs, pieces)]
            self._run(tasks, lambda sample, piece: self._refine(sample, piece, advance))
        return [PointResult(self._total(point), point, number) for point in points]

    def coarse_to_fine(self, grid: Grid | None = None, rounds: int = 2, factor: int = 2) -> SearchOutcome:
        """Search a grid, then finer grids around the best point so far.

        Args:
            grid: the first round's grid; None: the paper's.
            rounds: number of rounds; 1: only the first grid.
            factor: factor by which the steps shrink from round to round, see :meth:`Grid.refined`.

        Raises:
            DeepLabCaffeError: as :meth:`evaluate`.
        """
        grid = Grid() if grid is None else grid
        if rounds < 1 or factor < 2:
            raise CRFError(f"rounds must be 1 or more and factor 2 or more, got {rounds} and {factor}")
        found: dict[Point, PointResult] = {}
        grids: list[Grid] = []
        while True:
            grids.append(grid)
            for result in self.evaluate(grid, len(grids)):
                found.setdefault(result.point, result)
            best = max(found.values(), key=lambda result: result.mean_iou)
            if len(grids) == rounds or len(grid) == 1:
                return SearchOutcome(self.baseline, tuple(found.values()), tuple(grids), best, self.settings)
            grid = grid.refined(best.point, factor)

    def _examine(self) -> ConfusionMatrix:
        """Read every file once, to find a damaged one now and not after hours; return the scores' confusion counts."""
        total = ConfusionMatrix(self.num_classes)
        lock = threading.Lock()

        def examine(sample: SearchSample) -> None:
            content = sample.load()
            if len(content.scores) != self.num_classes:
                raise DataError(
                    f"the scores have {len(content.scores)} classes, but those of {self.samples[0].scores} have "
                    f"{self.num_classes}",
                    sample.scores,
                )
            counts = self._counts(sample, content, content.scores)
            checksum = sample.checksum()
            with lock:
                total.add(counts)
                self._checksums[sample] = checksum
                self._most_bytes = max(self._most_bytes, inference_bytes(*content.scores.shape))
                advance(1)

        with self._progress("reading", len(self.samples)) as advance:
            self._run([(sample,) for sample in self.samples], examine)
        return total

    def _refine(self, sample: SearchSample, weights: Mapping[Sigmas, Sequence[float]], advance: Advance) -> None:
        content = sample.load()
        found: dict[float, Counts] = {}
        try:
            for point, marginals in marginals_by_point(content.scores, content.image, weights, self.settings):
                if self._stop.is_set():
                    return
                bi_w, alpha, beta = point
                found[bi_w] = self._counts(sample, content, marginals)
                advance(1)
                if len(found) == len(weights[alpha, beta]):
                    about = {"image": sample.name, "bi_xy_std": alpha, "bi_rgb_std": beta}
                    self._results.add(self._key(sample, alpha, beta), found, about)
                    found = {}
        except CRFMemoryError:
            raise
        except CRFError as exc:
            raise DataError(str(exc), sample.image) from exc

    def _counts(self, sample: SearchSample, content: Content, values: np.ndarray) -> Counts:
        matrix = ConfusionMatrix(self.num_classes, self.settings.ignore_labels)
        try:
            matrix.accumulate(content.label, values.argmax(axis=0))
        except EvaluationError as exc:
            raise DataError(str(exc), sample.label) from exc
        return matrix.matrix

    def _key(self, sample: SearchSample, alpha: float, beta: float) -> str:
        settings = self.settings
        parts = (
            _FORMAT,
            self._checksums[sample],
            float(settings.pos_w),
            float(settings.pos_xy_std),
            int(settings.iterations),
            sorted(settings.ignore_labels),
            alpha,
            beta,
        )
        return hashlib.sha256(repr(parts).encode()).hexdigest()

    def _missing(self, sample: SearchSample, grid: Grid) -> dict[Sigmas, list[float]]:
        missing: dict[Sigmas, list[float]] = {}
        for bi_w, alpha, beta in grid:
            if self._results.get(self._key(sample, alpha, beta), bi_w, self.num_classes) is None:
                missing.setdefault((alpha, beta), []).append(bi_w)
        return missing

    def _total(self, point: Point) -> ConfusionMatrix:
        total = ConfusionMatrix(self.num_classes)
        for sample in self.samples:
            key = self._key(sample, point.bi_xy_std, point.bi_rgb_std)
            counts = self._results.get(key, point.bi_w, self.num_classes)
            assert counts is not None  # all points of the grid have been evaluated
            total.add(counts)
        return total

    def _run(self, tasks: Iterable[tuple[Any, ...]], work: Callable[..., None]) -> None:
        """Run the tasks in parallel; after the first error, or Ctrl-C, the others stop soon."""
        self._stop.clear()
        pool = image_pool(self._jobs)
        try:
            futures: list[Future[None]] = [pool.submit(work, *task) for task in tasks]
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            for future in done:
                future.result()
        finally:
            self._stop.set()
            pool.shutdown(cancel_futures=True)


def _cut(pairs: Mapping[Sigmas, list[float]], pieces: int) -> list[dict[Sigmas, list[float]]]:
    keys = list(pairs)
    size = -(-len(keys) // pieces)
    return [{key: pairs[key] for key in keys[start : start + size]} for start in range(0, len(keys), size)]
