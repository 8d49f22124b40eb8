from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from deeplab_caffe import _C
from deeplab_caffe.crf import dense_crf
from deeplab_caffe.crf.backend import LatticeRequest
from deeplab_caffe.crf.cpu import CpuBackend
from deeplab_caffe.crf_search import search
from deeplab_caffe.crf_search.grid import Grid, Point
from deeplab_caffe.crf_search.samples import SearchSample, find_samples
from deeplab_caffe.crf_search.search import Search, SearchSettings
from deeplab_caffe.data import save_labels_png, write_blob_mat
from deeplab_caffe.errors import CRFError, DataError, EvaluationError
from deeplab_caffe.evaluation import ConfusionMatrix
from deeplab_caffe.viz import VOC_COLORMAP
from tests.crf.scenes import CLASSES, write_scenes

GRID = Grid((0, 2, 5), (4, 9), (20, 60))
SETTINGS = SearchSettings(pos_w=1.5, pos_xy_std=2, iterations=3)


@pytest.fixture
def samples(tmp_path: Path) -> list[SearchSample]:
    write_scenes(tmp_path, ("a", "b", "c"))
    return find_samples(tmp_path / "scores", tmp_path / "images", tmp_path / "labels")


class Bars:
    """Stands in for progress bars and keeps what they were told."""

    def __init__(self) -> None:
        self.seen: list[list] = []

    @contextmanager
    def __call__(self, what: str, total: int):
        self.seen.append([what, total, 0, 0])

        def advance(items: int = 1) -> None:
            self.seen[-1][2] += items
            self.seen[-1][3] += items == 1

        yield advance


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[Point]:
    """The points that are inferred, of all images."""
    done: list[Point] = []
    original = search.marginals_by_point

    def counting(*arguments):
        for point, marginals in original(*arguments):
            done.append(point)
            yield point, marginals

    monkeypatch.setattr(search, "marginals_by_point", counting)
    return done


def confusion_by_dense_crf(samples: list[SearchSample], point: Point | None, settings: SearchSettings) -> np.ndarray:
    total = ConfusionMatrix(CLASSES, settings.ignore_labels)
    for sample in samples:
        content = sample.load()
        values = content.scores
        if point is not None:
            values = dense_crf(values, content.image, settings.params(point))
        total.accumulate(content.label, values.argmax(axis=0))
    return total.matrix


@pytest.mark.parametrize("jobs", [1, 3])
@pytest.mark.parametrize("settings", [SETTINGS, SearchSettings(pos_w=0, iterations=1, ignore_labels=(255, 1))])
def test_every_point_is_what_dense_crf_gives(samples: list[SearchSample], jobs: int, settings: SearchSettings) -> None:
    found = Search(samples, settings, jobs=jobs)
    np.testing.assert_array_equal(found.baseline.matrix.matrix, confusion_by_dense_crf(samples, None, settings))
    results = found.evaluate(GRID)
    assert [result.point for result in results] == list(GRID)
    for result in results:
        np.testing.assert_array_equal(
            result.matrix.matrix, confusion_by_dense_crf(samples, result.point, settings), str(result.point)
        )


def test_mean_iou_is_of_the_whole_set_and_leaves_absent_classes_out(samples: list[SearchSample]) -> None:
    result = Search(samples, SearchSettings(ignore_labels=(255, 2))).baseline
    matrix = result.matrix.matrix
    right, union = np.diag(matrix), matrix.sum(0) + matrix.sum(1) - np.diag(matrix)
    assert result.mean_iou == pytest.approx((right[union > 0] / union[union > 0]).mean())


def test_coarse_to_fine(samples: list[SearchSample]) -> None:
    bars = Bars()
    outcome = Search(samples, SETTINGS, progress=bars).coarse_to_fine(GRID, rounds=3)
    assert outcome.rounds[0] == GRID
    first = {result.point: result.mean_iou for result in outcome.results if result.round == 1}
    assert list(first) == list(GRID)
    best = max(first, key=first.get)
    assert outcome.rounds[1] == GRID.refined(best)
    points = [result.point for result in outcome.results]
    assert len(points) == len(set(points)) == len(set().union(*map(set, outcome.rounds)))
    assert outcome.best.mean_iou == max(result.mean_iou for result in outcome.results) > outcome.baseline.mean_iou
    assert outcome.best is next(r for r in outcome.results if r.mean_iou == outcome.best.mean_iou)
    assert outcome.params == SETTINGS.params(outcome.best.point)
    assert [bar[0] for bar in bars.seen] == ["reading", "round 1", "round 2", "round 3"]
    assert all(total == done for _, total, done, _ in bars.seen)


def test_one_point_needs_no_second_round(samples: list[SearchSample]) -> None:
    assert len(Search(samples).coarse_to_fine(Grid((1,), (5,), (9,)), rounds=5).rounds) == 1


def test_results_are_kept_and_found_again(samples: list[SearchSample], tmp_path: Path, counted: list[Point]) -> None:
    file = tmp_path / "results.jsonl"
    first = Search(samples, SETTINGS, results=file).evaluate(GRID)
    assert len(counted) == 3 * len(GRID)
    counted.clear()

    again = Search(samples, SETTINGS, results=file).evaluate(GRID)
    assert counted == []
    assert [r.matrix.matrix.tolist() for r in again] == [r.matrix.matrix.tolist() for r in first]

    # One more weight; one image changed; another setting; some of the lines lost.
    Search(samples, SETTINGS, results=file).evaluate(Grid((2, 7), GRID.bi_xy_std, GRID.bi_rgb_std))
    assert {point.bi_w for point in counted} == {7}
    counted.clear()
    write_blob_mat(samples[0].scores, np.ones((1, CLASSES, 30, 30)))
    Search(samples, SETTINGS, results=file).evaluate(GRID)
    assert len(counted) == len(GRID)
    counted.clear()
    Search(samples, SearchSettings(pos_w=1.5, pos_xy_std=2, iterations=4), results=file).evaluate(GRID)
    assert len(counted) == 3 * len(GRID)
    counted.clear()
    file.write_bytes(file.read_bytes()[:-20])
    Search(samples, SearchSettings(pos_w=1.5, pos_xy_std=2, iterations=4), results=file).evaluate(GRID)
    assert len(counted) == len(GRID.bi_w)


def test_a_search_that_was_broken_off_goes_on(
    samples: list[SearchSample], tmp_path: Path, monkeypatch, counted
) -> None:
    file = tmp_path / "results.jsonl"
    threads = _C.num_threads()
    counts = Search._counts

    def interrupted(self, sample, content, values):
        if len(counted) == 8:
            raise KeyboardInterrupt
        return counts(self, sample, content, values)

    monkeypatch.setattr(Search, "_counts", interrupted)
    with pytest.raises(KeyboardInterrupt):
        Search(samples, SETTINGS, results=file, jobs=2).evaluate(GRID)
    assert _C.num_threads() == threads
    monkeypatch.setattr(Search, "_counts", counts)
    lines = file.read_text().count("\n")
    assert 1 <= lines < 12
    counted.clear()
    found = Search(samples, SETTINGS, results=file).evaluate(GRID)
    assert len(counted) == (12 - lines) * len(GRID.bi_w)
    np.testing.assert_array_equal(found[-1].matrix.matrix, confusion_by_dense_crf(samples, found[-1].point, SETTINGS))


def test_one_lattice_for_all_weights(samples: list[SearchSample], monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[tuple] = []
    original = CpuBackend.pixel_lattices

    def counting(self: CpuBackend, requests: list[LatticeRequest]) -> list:
        built.extend((request.kernel.xy_std, request.kernel.rgb_std) for request in requests)
        return original(self, requests)

    monkeypatch.setattr(CpuBackend, "pixel_lattices", counting)
    Search(samples[:1], SETTINGS, jobs=1).evaluate(Grid(tuple(range(1, 9)), (4, 9), (20, 60)))
    colours = [entry for entry in built if entry[1]]
    assert len(colours) == len(set(colours)) == 4


@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (lambda s: s[1].scores.unlink(), DataError, "b_blob_0.mat"),
        (lambda s: write_blob_mat(s[1].scores, np.zeros((1, 4, 30, 30))), DataError, "have 4 classes"),
        (
            lambda s: save_labels_png(s[2].label, np.full((20, 22), 7), VOC_COLORMAP),
            DataError,
            r"c\.png: unexpected label 7",
        ),
        (
            lambda s: [save_labels_png(x.label, np.full(x.load().label.shape, 255), VOC_COLORMAP) for x in s],
            EvaluationError,
            "3 samples is ignored",
        ),
    ],
)
def test_bad_samples_are_found_before_the_work(samples: list[SearchSample], spoil, error: type, message: str) -> None:
    spoil(samples)
    with pytest.raises(error, match=message):
        Search(samples, SETTINGS)


def test_deviations_too_small_name_the_image(samples: list[SearchSample]) -> None:
    with pytest.raises(DataError, match=r"a\.png.*rgb_std"):
        Search(samples[:1]).evaluate(Grid((1,), (5,), (1e-6,)))


def test_bad_arguments(samples: list[SearchSample]) -> None:
    with pytest.raises(CRFError, match="at least one sample"):
        Search([])
    with pytest.raises(CRFError, match="pos_xy_std"):
        SearchSettings(pos_xy_std=0)
    with pytest.raises(CRFError, match="iterations"):
        SearchSettings(iterations=-1)
    for arguments in ((0, 2), (2, 1)):
        with pytest.raises(CRFError, match="rounds must be"):
            Search(samples).coarse_to_fine(GRID, *arguments)


def test_memory_bounds_the_jobs(samples: list[SearchSample], monkeypatch: pytest.MonkeyPatch) -> None:
    needed = search.inference_bytes(*samples[2].load().scores.shape)
    monkeypatch.setattr(search, "available_memory", lambda **_: 2 * needed + 1)
    assert Search(samples, jobs=8)._jobs == 2
    monkeypatch.setattr(search, "available_memory", lambda **_: 1)
    assert Search(samples, jobs=8)._jobs == 1
    monkeypatch.setattr(search, "available_memory", lambda **_: None)
    assert Search(samples, jobs=8)._jobs == 8
