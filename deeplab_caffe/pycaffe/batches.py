"""Running a net on any number of items, in batches of the net's size, as pycaffe does."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import zip_longest
from typing import Any

import numpy as np

from deeplab_caffe.errors import NetError
from deeplab_caffe.pycaffe.execution import Execution

Arrays = dict[str, np.ndarray]


class Batches(Execution):
    """``forward_all`` and ``forward_backward_all``, based on ``forward`` and ``backward`` of :class:`Net`."""

    def forward(self, *args: Any, **kwargs: Any) -> Arrays:
        """Run the layers forwards, see :class:`Net`."""
        raise NotImplementedError

    def backward(self, *args: Any, **kwargs: Any) -> Arrays:
        """Run the layers backwards, see :class:`Net`."""
        raise NotImplementedError

    def forward_all(self, blobs: Iterable[str] | None = None, **inputs: np.ndarray) -> Arrays:
        """Run any number of items in batches of the net's size; the last batch is padded with zeros.

        Args:
            blobs: names of blobs to return beside the outputs.
            **inputs: values for all of the net's inputs, each with the same number of items.

        Returns:
            One array per output (and per name in ``blobs``), with a row per given item; for a blob without a row per
            item, such as a loss, with the values of all batches.

        Raises:
            NetError: unknown names, or values that do not fit.
        """
        check_names(inputs, self.module.inputs, "forward_all: ")
        count = _count("forward_all", inputs)
        names = list(blobs or [])
        outs = [_copied(self.forward(blobs=names, **batch)) for batch in self._batch(inputs)]
        return _joined(outs, count, self._batch_size())

    def forward_backward_all(
        self, blobs: Iterable[str] | None = None, diffs: Iterable[str] | None = None, **given: np.ndarray
    ) -> tuple[Arrays, Arrays]:
        """Run any number of items forwards and backwards, in batches as :meth:`forward_all`.

        Args:
            blobs: names of blobs to return beside the outputs.
            diffs: names of blobs whose gradients to return beside the inputs'.
            **given: values for inputs, and gradients for outputs, each with the same number of items. Without inputs,
                or without gradients, the blobs' current contents are used.

        Returns:
            Values and gradients by blob name.

        Raises:
            NetError: nothing is given, unknown names, or values that do not fit.
        """
        ends = self.inputs, self.outputs
        unknown = set(given).difference(*ends)
        if unknown or not given:
            raise NetError(f"forward_backward_all: expected values for some of {ends[0] + ends[1]}, got {list(given)}")
        count = _count("forward_backward_all", given)
        batches = (self._batch({name: given[name] for name in end if name in given}) for end in ends)
        values, gradients = [], []
        blobs, diffs = list(blobs or []), list(diffs or [])
        for inputs, tops in zip_longest(*batches, fillvalue={}):
            values.append(_copied(self.forward(blobs=blobs, **inputs)))
            gradients.append(_copied(self.backward(diffs=diffs, **tops)))
        size = self._batch_size()
        return _joined(values, count, size), _joined(gradients, count, size)

    def _batch_size(self) -> int:
        return self.blobs[(self.module.inputs or list(self.blobs))[0]].num

    def _batch(self, blobs: Mapping[str, np.ndarray]) -> Iterator[Arrays]:
        """Yield the items of arrays in batches of the net's size, the last padded with zeros."""
        if not blobs:
            return
        size = self._batch_size()
        if not size:
            raise NetError("the net's batches have no items: reshape its input first")
        for begin in range(0, _count("_batch", blobs), size):
            batch = {}
            for name, array in blobs.items():
                part = np.asarray(array[begin : begin + size], np.float32)
                batch[name] = np.concatenate([part, np.zeros((size - len(part), *part.shape[1:]), np.float32)])
            yield batch


def check_names(given: Iterable[str], expected: Iterable[str], what: str = "") -> None:
    """Check that values are given for all of the net's inputs, or outputs, and for nothing else.

    Raises:
        NetError: names are missing or unknown; the message begins with ``what``.
    """
    if set(given) != set(expected):
        raise NetError(f"{what}values for {sorted(given)} do not match the net's {sorted(expected)}")


def _count(what: str, arrays: Mapping[str, np.ndarray]) -> int:
    """Return the number of items that all arrays have."""
    counts = {len(array) for array in arrays.values()}
    if len(counts) != 1:
        raise NetError(f"{what}: every input needs as many items, got {sorted(counts)}")
    return counts.pop()


def _copied(arrays: Arrays) -> Arrays:
    """Return copies of arrays, because a net's arrays are live. A loss without axes counts as one item."""
    return {name: np.atleast_1d(array).copy() for name, array in arrays.items()}


def _joined(batches: list[Arrays], count: int, size: int) -> Arrays:
    """Concatenate the batches' arrays, without the last batch's padding if an array has a row per item."""
    joined = {name: np.concatenate([batch[name] for batch in batches]) for name in (batches or [{}])[0]}
    return {name: array[:count] if len(array) == size * len(batches) else array for name, array in joined.items()}
