from __future__ import annotations

import numpy as np
import pytest

from deeplab_caffe import proto
from deeplab_caffe.data import MemorySource, Shard
from deeplab_caffe.errors import NetError

DATA = np.arange(24, dtype=np.float64).reshape(6, 1, 2, 2)
LABELS = np.arange(6)


def source(batch_size: int = 2, shard: Shard | None = None) -> MemorySource:
    return MemorySource(batch_size, 1, 2, 2, shard)


@pytest.mark.parametrize("labels", [LABELS, LABELS.reshape(6, 1, 1, 1).astype(np.float32)])
def test_items_in_turn(labels: np.ndarray) -> None:
    memory = source()
    assert memory.shapes() == ((2, 1, 2, 2), (2, 1, 1, 1))
    memory.reset(DATA, labels)
    for first in (0, 2, 4, 0):
        data, label = memory.next_batch()
        np.testing.assert_array_equal(data, DATA[first : first + 2])
        assert label.reshape(-1).tolist() == [first, first + 1]
        assert (data.dtype, label.dtype, label.shape) == (np.float32, np.float32, (2, 1, 1, 1))
    memory.reset(DATA[2:4], labels[2:4])
    assert memory.next_batch()[1].ravel().tolist() == [2, 3]


def test_batches_are_copies() -> None:
    memory, mine = source(), DATA.astype(np.float32)
    memory.reset(mine, LABELS)
    memory.next_batch()[0][:] = -1
    np.testing.assert_array_equal(mine, DATA)


def test_position_and_shards() -> None:
    whole, parts = source(2), [source(1, Shard(rank, 2)) for rank in range(2)]
    for memory in (whole, *parts):
        memory.reset(DATA, LABELS)
    for _ in range(4):
        expected = whole.next_batch()
        np.testing.assert_array_equal(np.concatenate([part.next_batch()[0] for part in parts]), expected[0])
    other = source(2)
    with pytest.raises(NetError, match="the saved position is item 2, MEMORY_DATA has 0"):
        other.load_state_dict(whole.state_dict())
    other.reset(DATA, LABELS)
    other.load_state_dict(whole.state_dict())
    np.testing.assert_array_equal(other.next_batch()[0], whole.next_batch()[0])


def test_arrays_that_do_not_fit() -> None:
    with pytest.raises(NetError, match="no arrays yet: call set_input_arrays"):
        source().next_batch()
    with pytest.raises(NetError, match=r"data must be \(n, 1, 2, 2\), got \(6, 4\)"):
        source().reset(DATA.reshape(6, 4), LABELS)
    with pytest.raises(NetError, match=r"labels must be \(6,\) or \(6, 1, 1, 1\), got \(5,\)"):
        source().reset(DATA, LABELS[:5])
    with pytest.raises(NetError, match="multiple of the batch size 4, got 6"):
        source(4).reset(DATA, LABELS)
    with pytest.raises(NetError, match="multiple of the batch size 4, got 6"):
        source(2, Shard(0, 2)).reset(DATA, LABELS)
    with pytest.raises(NetError, match="multiple of the batch size 2, got 0"):
        source().reset(DATA[:0], LABELS[:0])


def test_parameters() -> None:
    text = 'layers { name: "d" type: MEMORY_DATA memory_data_param { batch_size: 3 channels: 4 height: 5 width: 6 } }'
    assert MemorySource.from_param(proto.parse_net(text).layer[0]).shapes() == ((3, 4, 5, 6), (3, 1, 1, 1))
    with pytest.raises(NetError, match="must be positive in memory_data_param, got 3, 4, 5, 0"):
        MemorySource.from_param(proto.parse_net(text.replace("width: 6", "")).layer[0])
