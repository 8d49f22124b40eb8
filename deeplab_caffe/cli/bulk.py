"""``segment --engine ray``: the photographs on Ray's workers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import monotonic
from typing import Any

from deeplab_caffe.cli.segmenting import Run
from deeplab_caffe.data.inputs import WorkItem
from deeplab_caffe.errors import DeepLabCaffeError
from deeplab_caffe.segmentation.bulk import Network, Refine
from deeplab_caffe.segmentation.cluster import segment_files

# Seconds between two lines about the progress of the whole run.
_EVERY = 10.0


@dataclass
class BulkRun(Run):
    """A run whose photographs are segmented by Ray's workers.

    Attributes:
        options: the segmenter's arguments; paths among them are made absolute, for other machines.
        address: the cluster's address; None: start Ray on this machine.
    """

    options: dict[str, Any] = field(default_factory=dict)
    address: str | None = None

    def _pictures(self, items: Sequence[WorkItem]) -> None:
        options = {name: value.absolute() if isinstance(value, Path) else value for name, value in self.options.items()}
        options["classes"] = self.segmenter.classes
        writer = replace(self.writer, folder=self.writer.folder.absolute())
        segmenter = self.segmenter
        share = self.min_share if self.record else None
        refine = Refine(writer, segmenter.crf, segmenter.classes, segmenter.max_side, share)
        far = [replace(item, source=str(Path(item.source).absolute())) for item in items]
        start = told = monotonic()
        with self._progress("segmenting", len(items), "photos") as advance:
            for count, row in enumerate(segment_files(far, Network(options), refine, address=self.address), 1):
                item = items[int(row["index"])]
                if row["error"]:
                    self._tell(item, DeepLabCaffeError(row["error"]))
                else:
                    self.count += 1
                    if self.record:
                        self.record({"photo": item.source, **json.loads(row["described"])})
                    self._log(advance, f"{item.source}: {row['text']}", self.writer.paths(item))
                advance()
                if monotonic() - told >= _EVERY:
                    told = monotonic()
                    self._log(advance, how_far(count, len(items), told - start), ())


def how_far(count: int, total: int, seconds: float) -> str:
    """Return the throughput and the time left: ``"120 of 400, 12.0 a second, 0:00:24 left"``."""
    minutes, left = divmod(round((total - count) * seconds / count), 60)
    return f"{count} of {total}, {count / seconds:.1f} a second, {minutes // 60}:{minutes % 60:02}:{left:02} left"
