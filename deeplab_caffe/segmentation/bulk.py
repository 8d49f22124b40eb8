"""Many photographs on many processors: callables for Ray Data's ``map_batches``.

:class:`Decode` reads files, :class:`Network` runs the network, and :class:`Refine` computes labels from its output and
writes the files, with the dense CRF if there is one. Each can be pickled, and takes and returns a batch: a dict of
columns with one row per photograph. Each is scaled separately: the network on GPUs, the others on CPUs. If a photograph
fails, its row's ``error`` says why; the others go on. Nothing here needs ray, only
:mod:`deeplab_caffe.segmentation.cluster` does.
"""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from deeplab_caffe.crf import CRFParams
from deeplab_caffe.data import load_image
from deeplab_caffe.data.classes import Classes
from deeplab_caffe.data.inputs import WorkItem
from deeplab_caffe.errors import DeepLabCaffeError, one_line
from deeplab_caffe.segmentation.finish import finish
from deeplab_caffe.segmentation.results import ResultWriter, shares
from deeplab_caffe.segmentation.segmenter import Segmenter

# Columns by name: numpy arrays, with dtype object except for numbers.
Batch = dict[str, Any]
Row = dict[str, Any]

_NO_IMAGE = np.zeros((0, 0, 3), np.uint8)


@dataclass
class Decode:
    """Read photographs: read the column ``photo``, a path; add ``image`` and ``error``."""

    def __call__(self, batch: Batch) -> Batch:
        """Return the batch with its photographs: uint8 RGB (H, W, 3), or (0, 0, 3) for one that cannot be read."""
        return _mapped(batch, lambda row: {"image": load_image(row["photo"])}, {"image": _NO_IMAGE})


@dataclass
class Network:
    """Run a network: read ``image``; add ``output``, a pickled :class:`deeplab_caffe.net.head.Output`.

    Attributes:
        options: arguments of :class:`deeplab_caffe.Segmenter`, which each process builds for its first photograph.
    """

    options: Mapping[str, Any]
    _segmenter: Segmenter | None = field(default=None, init=False, repr=False, compare=False)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_segmenter": None}

    def __call__(self, batch: Batch) -> Batch:
        """Return the batch with the network's outputs for one view, at the net's stride; empty bytes after an error."""

        def row(one: Row) -> Row:
            if self._segmenter is None:
                self._segmenter = Segmenter(**self.options)
            return {"output": pickle.dumps(self._segmenter.output(np.ascontiguousarray(one["image"])))}

        return _mapped(batch, row, {"output": b""})


@dataclass
class Refine:
    """Compute labels and write files: read ``photo``, ``name``, ``image`` and ``output``; add ``text``, ``described``.

    Attributes:
        writer: the writer of the files; ``name`` is a path in its folder.
        crf: parameters of the dense CRF; None for none.
        classes: names and colours of the labels.
        max_side: the segmenter's ``max_side``.
        min_share: regions with a smaller share of the picture get no box; None: ``described`` is empty.
    """

    writer: ResultWriter
    crf: CRFParams | None = None
    classes: Classes | None = None
    max_side: int | None = None
    min_share: float | None = None

    def __call__(self, batch: Batch) -> Batch:
        """Return the batch without pixels, with the largest classes as text, and with areas and boxes as JSON."""

        def row(one: Row) -> Row:
            image = np.ascontiguousarray(one["image"])
            found = finish(
                pickle.loads(one["output"]),
                image,
                crf=self.crf,
                classes=self.classes,
                max_side=self.max_side,
                labels_only=self.writer.marginals is None,
            )
            self.writer.write(WorkItem(one["photo"], one["name"]), image, found)
            described = "" if self.min_share is None else json.dumps(found.to_json(self.min_share), allow_nan=False)
            return {"text": shares(found), "described": described}

        done = _mapped(batch, row, {"text": "", "described": ""})
        return {name: column for name, column in done.items() if name not in ("image", "output")}


def _mapped(batch: Batch, function: Callable[[Row], Row], empty: Row) -> Batch:
    """Return a batch with the columns that ``function`` computes; rows that failed, now or before, get ``empty``.

    ``error`` says why a row failed; ``workers`` has the ids of the processes that computed the row.
    """
    rows = []
    for values in zip(*batch.values(), strict=True):
        row = {"error": "", "workers": "", **dict(zip(batch, values, strict=True))}
        new = empty
        if not row["error"]:
            try:
                new = function(row)
            except DeepLabCaffeError as error:
                row["error"] = str(error)
            except Exception as error:  # one photograph among a million must not end the run
                row["error"] = one_line(f"{type(error).__name__}: {error}")
        rows.append({**row, **new, "workers": f"{row['workers']} {os.getpid()}".strip()})
    return {name: _column([row[name] for row in rows]) for name in rows[0]} if rows else {}


def _column(values: list[Any]) -> np.ndarray:
    """Return a column: of numbers, or of objects, so that bytes keep their zeros and arrays their shapes."""
    if isinstance(values[0], (int, np.integer)):
        return np.array(values)
    column = np.empty(len(values), object)
    for index, value in enumerate(values):
        column[index] = value
    return column
