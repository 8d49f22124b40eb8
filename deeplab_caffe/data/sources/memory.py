"""MEMORY_DATA: batches from arrays (layers/memory_data_layer.cpp, pycaffe's ``set_input_arrays``)."""

from __future__ import annotations

from typing import Any

import numpy as np

from deeplab_caffe.data.sources.base import Shape4
from deeplab_caffe.data.sources.sharding import Shard
from deeplab_caffe.errors import NetError


class MemorySource:
    """The source of MEMORY_DATA's batches: items of two or three arrays, unchanged, in turn, repeated forever.

    Args:
        batch_size: items per batch.
        channels: channels of an item.
        height: height of an item.
        width: width of an item.
        shard: this process's part of each batch.
        with_dim: there is a third array, data_dim.

    Raises:
        NetError: a size is not positive.
    """

    def __init__(
        self,
        batch_size: int,
        channels: int,
        height: int,
        width: int,
        shard: Shard | None = None,
        *,
        with_dim: bool = False,
    ) -> None:
        if min(batch_size, channels, height, width) < 1:
            raise NetError(
                "batch_size, channels, height and width must be positive in memory_data_param, "
                f"got {batch_size}, {channels}, {height}, {width}"
            )
        self.batch_size = batch_size
        self.item_shape = (channels, height, width)
        self.shard = shard or Shard()
        self.with_dim = with_dim
        self._arrays: tuple[np.ndarray, ...] | None = None
        self._next = 0

    @classmethod
    def from_param(cls, layer_param: Any, shard: Shard | None = None) -> MemorySource:
        """Build it from a LayerParameter message with ``memory_data_param``."""
        param = layer_param.memory_data_param
        with_dim = len(layer_param.top) > 2
        return cls(param.batch_size, param.channels, param.height, param.width, shard, with_dim=with_dim)

    def shapes(self) -> tuple[Shape4, ...]:
        """Return the shapes of the blobs: data ``(N, C, H, W)``, label ``(N, 1, 1, 1)``, data_dim ``(N, 1, 1, 2)``."""
        count = self.batch_size
        shapes = (count, *self.item_shape), (count, 1, 1, 1), (count, 1, 1, 2)
        return shapes if self.with_dim else shapes[:2]

    def reset(self, data: np.ndarray, labels: np.ndarray, data_dim: np.ndarray | None = None) -> None:
        """Set the arrays; the next batch is their first. The arrays are not copied.

        Args:
            data: ``(n, C, H, W)``, n a multiple of the (global) batch size.
            labels: ``(n,)`` or ``(n, 1, 1, 1)``.
            data_dim: ``(n, 1, 1, 2)``, (height, width) of the image in each item; None: the whole item.

        Raises:
            NetError: the shapes do not fit.
        """
        data, labels = np.asarray(data), np.asarray(labels)
        if data.shape[1:] != self.item_shape:
            raise NetError(f"data must be (n, {', '.join(map(str, self.item_shape))}), got {data.shape}")
        if labels.shape not in ((len(data),), (len(data), 1, 1, 1)):
            raise NetError(f"labels must be ({len(data)},) or ({len(data)}, 1, 1, 1), got {labels.shape}")
        dims = np.broadcast_to(np.asarray(self.item_shape[1:], np.float32), (len(data), 1, 1, 2))
        if data_dim is not None and not self.with_dim:
            raise NetError("data_dim is given, the layer has no third top for it")
        if data_dim is not None:
            dims = np.asarray(data_dim)
        if dims.shape != (len(data), 1, 1, 2):
            raise NetError(f"data_dim must be ({len(data)}, 1, 1, 2), got {dims.shape}")
        together = self.batch_size * self.shard.world
        if not len(data) or len(data) % together:
            raise NetError(f"the number of items must be a multiple of the batch size {together}, got {len(data)}")
        self._arrays = data, labels.reshape(-1, 1, 1, 1), *([dims] if self.with_dim else [])
        self._next = 0

    def next_batch(self) -> tuple[np.ndarray, ...]:
        """Return the next items.

        Returns:
            Copies: data float32 ``(N, C, H, W)``, label float32 ``(N, 1, 1, 1)``, data_dim float32 ``(N, 1, 1, 2)``.

        Raises:
            NetError: there are no arrays yet.
        """
        if self._arrays is None:
            raise NetError("MEMORY_DATA has no arrays yet: call set_input_arrays, or reset of the layer's source")
        first = self._next + self.shard.before(self.batch_size)
        blobs = tuple(np.array(array[first : first + self.batch_size], np.float32) for array in self._arrays)
        self._next = (self._next + self.batch_size * self.shard.world) % len(self._arrays[0])
        return blobs

    def state_dict(self) -> dict[str, Any]:
        """Return the index of the next item; the arrays are not included."""
        return {"next": self._next}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the result of :meth:`state_dict`; the arrays must already be set.

        Raises:
            NetError: the arrays have no such item.
        """
        count = 0 if self._arrays is None else len(self._arrays[0])
        if not 0 <= state["next"] < max(count, 1):
            raise NetError(f"the saved position is item {state['next']}, MEMORY_DATA has {count}")
        self._next = int(state["next"])
