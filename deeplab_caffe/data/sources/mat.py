"""The numbering and naming of the MAT files of MAT_WRITE and MAT_READ."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from typing import Any

import numpy as np

from deeplab_caffe.data.io.lists import read_id_list
from deeplab_caffe.data.io.mat import blob_mat_name, blob_mat_shape, read_blob_mat, write_blob_mat
from deeplab_caffe.data.sources.sharding import Shard
from deeplab_caffe.errors import DataError, NetError
from deeplab_caffe.files.names import exists


class MatNames:
    """File names ``<prefix><id>_blob_<i>.mat`` (layers/mat_write_layer.cpp:44-60).

    The id of iteration k is the first word of line k of the list, without its last ``strip`` characters; without a list
    it is ``iter_<k>``.

    Args:
        prefix: text that is put before the id without a separator: a folder needs its "/".
        source: the list file, or None.
        strip: number of characters to cut at the end of each name.

    Raises:
        DataError: the list cannot be read, or ``strip`` leaves nothing of a name.
    """

    def __init__(self, prefix: str, source: str | PathLike[str] | None = None, strip: int = 0) -> None:
        self.prefix = prefix
        self.source = source
        self.names = read_id_list(source, strip=strip) if source else None

    def path(self, iteration: int, blob: int) -> str:
        """Return the name of the file of one blob in one iteration, both counted from 0.

        Raises:
            DataError: the list has no line for this iteration.
        """
        if self.names is None:
            name = f"iter_{iteration}"
        elif iteration < len(self.names):
            name = self.names[iteration]
        else:
            raise DataError(
                f"out of names: iteration {iteration} was asked for (counted from 0), the list has {len(self.names)}",
                self.source or "",
            )
        return blob_mat_name(f"{self.prefix}{name}", blob)


class MatWriter:
    """The writer of MAT_WRITE: one file per bottom blob, in each iteration that is a multiple of ``period``.

    Args:
        prefix: as for :class:`MatNames`.
        source: as for :class:`MatNames`.
        strip: as for :class:`MatNames`.
        period: write every ``period``-th iteration; the iterations in between use up their names too.
    """

    def __init__(self, prefix: str, source: str | PathLike[str] | None = None, strip: int = 0, period: int = 1) -> None:
        if period < 1:
            raise NetError(f"period must be positive, got {period}")
        self.names = MatNames(prefix, source, strip)
        self.period = period
        self.iteration = 0

    @classmethod
    def from_param(cls, layer_param: Any) -> MatWriter:
        """Build it from a LayerParameter message with ``mat_write_param``."""
        param = layer_param.mat_write_param
        return cls(param.prefix, param.source or None, param.strip, param.period)

    def write(self, blobs: Sequence[np.ndarray]) -> list[str]:
        """Write the blobs ``(N, C, H, W)`` of this iteration, if it is due, and advance to the next iteration.

        Returns:
            The names of the files that were written.

        Raises:
            DataError: the list has no more names, or a file cannot be written.
        """
        written = []
        if self.iteration % self.period == 0:
            written = [self.names.path(self.iteration, i) for i in range(len(blobs))]
            for path, blob in zip(written, blobs, strict=True):
                write_blob_mat(path, blob)
        self.iteration += 1
        return written

    def state_dict(self) -> dict[str, Any]:
        """Return the number of the next iteration."""
        return {"iteration": self.iteration}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the result of :meth:`state_dict`: files written since are written again."""
        self.iteration = int(state["iteration"])


class MatReader:
    """The reader of MAT_READ: batches of blobs from MAT files, with one image per file.

    The original reads the files but never copies their data, and starts again at the first file before every batch
    (layers/mat_read_layer.cpp). Here the data are returned, and the files are read in turn; after the last file comes
    the first, as the original's code intends for a list. Without a list, the last file is the one before the first
    ``iter_<k>`` that does not exist.

    Args:
        prefix: as for :class:`MatNames`.
        source: as for :class:`MatNames`.
        strip: as for :class:`MatNames`.
        batch_size: files per batch.
        tops: number of blobs to read; blob i comes from the files ``_blob_<i>.mat``.
        shard: this process's part of each batch.

    Raises:
        DataError: the list is empty, or the first file does not exist.
    """

    def __init__(
        self,
        prefix: str,
        source: str | PathLike[str] | None = None,
        strip: int = 0,
        batch_size: int = 1,
        tops: int = 1,
        shard: Shard | None = None,
    ) -> None:
        if batch_size < 1:
            raise NetError(f"batch_size must be positive, got {batch_size}")
        self.names = MatNames(prefix, source, strip)
        self.batch_size = batch_size
        self.tops = tops
        self.shard = shard or Shard()
        self.iteration = 0
        self.count = self._count()

    @classmethod
    def from_param(cls, layer_param: Any, shard: Shard | None = None) -> MatReader:
        """Build it from a LayerParameter message with ``mat_read_param``."""
        param = layer_param.mat_read_param
        return cls(param.prefix, param.source or None, param.strip, param.batch_size, len(layer_param.top), shard)

    def shapes(self) -> list[tuple[int, int, int, int]]:
        """Return the shapes ``(batch_size, C, H, W)`` of the next batch, from the headers of its first files."""
        first = self._after(self.shard.before(self.batch_size))
        return [(self.batch_size, *blob_mat_shape(self.names.path(first, i))[1:]) for i in range(self.tops)]

    def next_batch(self) -> list[np.ndarray]:
        """Read the next batch.

        Returns:
            One float32 blob ``(batch_size, C, H, W)`` for each top.

        Raises:
            DataError: a file cannot be read, has several images, or its size differs from the batch's first.
        """
        blobs = [np.empty(shape, np.float32) for shape in self.shapes()]
        for item in range(self.batch_size):
            file = self._after(self.shard.before(self.batch_size) + item)
            for i, blob in enumerate(blobs):
                path = self.names.path(file, i)
                image = read_blob_mat(path)
                if image.shape != (1, *blob.shape[1:]):
                    raise DataError(
                        f"expected one image a file, {(1, *blob.shape[1:])} as in the first of the batch, "
                        f"got {image.shape}",
                        path,
                    )
                blob[item] = image[0]
        self.iteration = self._after(self.batch_size * self.shard.world)
        return blobs

    def state_dict(self) -> dict[str, Any]:
        """Return the index of the next file."""
        return {"iteration": self.iteration}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the result of :meth:`state_dict`."""
        self.iteration = int(state["iteration"]) % self.count

    def _after(self, files: int) -> int:
        return (self.iteration + files) % self.count

    def _count(self) -> int:
        if self.names.names is not None:
            if not self.names.names:
                raise DataError("the list holds no name", self.names.source or "")
            return len(self.names.names)
        count = 0
        while exists(self.names.path(count, 0)):
            count += 1
        if count == 0:
            raise DataError("does not exist, and there is no list of names", self.names.path(0, 0))
        return count
