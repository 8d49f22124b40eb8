"""Many photographs on many processors: callables for Ray Data's ``map_batches``.

:class:`Decode` reads files, :class:`Network` runs the network, :class:`Refine` makes labels of its output, by the dense
CRF if there is one, and writes the files. Each can be pickled and takes and gives a batch: a dict of columns, a row a
photograph. Each is scaled by itself: the network on GPUs, the others on CPUs. What fails for one photograph is told in
its row's ``error``; the others go on. Nothing here needs ray: :mod:`deeplab_caffe.segmentation.cluster` does.
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

# Columns by name: numpy arrays, of objects but for numbers.
Batch = dict[str, Any]
Row = dict[str, Any]

_NO_IMAGE = np.zeros((0, 0, 3), np.uint8)


@dataclass
class Decode:
    """Read photographs: ``photo``, a path, in; ``image`` and ``error`` come to it."""

    def __call__(self, batch: Batch) -> Batch:
        """Return the batch with its photographs: uint8 RGB (H, W, 3), (0, 0, 3) where one cannot be read."""
        return _mapped(batch, lambda row: {"image": load_image(row["photo"])}, {"image": _NO_IMAGE})


@dataclass
class Network:
    """Run a network: ``image`` in; ``output``, a pickled :class:`deeplab_caffe.net.head.Output`, comes to it.

    Attributes:
        options: what :class:`deeplab_caffe.Segmenter` takes. It is built with the first photograph, once a process.
    """

    options: Mapping[str, Any]
    _segmenter: Segmenter | None = field(default=None, init=False, repr=False, compare=False)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_segmenter": None}

    def __call__(self, batch: Batch) -> Batch:
        """Return the batch with the network's outputs, of one view at its own stride; no bytes after an error."""

        def row(one: Row) -> Row:
            if self._segmenter is None:
                self._segmenter = Segmenter(**self.options)
            return {"output": pickle.dumps(self._segmenter.output(np.ascontiguousarray(one["image"])))}

        return _mapped(batch, row, {"output": b""})


@dataclass
class Refine:
    """Make labels and write files: ``photo``, ``name``, ``image`` and ``output`` in; ``text`` and ``described`` out.

    Attributes:
        writer: of the files; ``name`` is a path in its folder.
        crf: parameters of the dense CRF; None for none.
        classes: names and colours of the labels.
        max_side: the segmenter's.
        min_share: regions with a smaller share of the picture get no box; None: nothing is described.
    """

    writer: ResultWriter
    crf: CRFParams | None = None
    classes: Classes | None = None
    max_side: int | None = None
    min_share: float | None = None

    def __call__(self, batch: Batch) -> Batch:
        """Return the batch without pixels, with the largest classes as text and, as JSON, areas and boxes."""

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
    """Return a batch with the function's columns, of a row that fails now or failed before the empty ones.

    ``error`` says why, ``workers`` which processes had the row.
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
