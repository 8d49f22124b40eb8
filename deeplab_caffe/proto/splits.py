"""Split insertion: a blob that several layers read gets a Split layer, as in Caffe's ``InsertSplits``.

Caffe's names are kept (``<blob>_<layer>_<top index>_split``, tops ``..._split_<k>``), because saved caffemodels and
scripts that look blobs up by name contain them.
"""

from __future__ import annotations

from collections import defaultdict

from deeplab_caffe.errors import NetError
from deeplab_caffe.proto import caffe_pb2
from deeplab_caffe.proto.schema.names import did_you_mean

# (layer index, top index); layer index -1 stands for the net's inputs.
_Source = tuple[int, int]
_INPUT = -1


def split_layer_name(blob: str, layer: str, top_index: int) -> str:
    """Return the name of a blob's Split layer; ``layer`` is ``"input"`` for net inputs without an Input layer."""
    return f"{blob}_{layer}_{top_index}_split"


def split_blob_name(blob: str, layer: str, top_index: int, k: int) -> str:
    """Return the name of top ``k`` of the automatic Split layer."""
    return f"{split_layer_name(blob, layer, top_index)}_{k}"


def insert_splits(net: caffe_pb2.NetParameter) -> caffe_pb2.NetParameter:
    """Return a copy of ``net`` in which no blob is the bottom of more than one layer.

    The Split layer follows the layer that wrote the blob last (so an in-place chain is split after its end); for a net
    input it is the first layer. A top with a ``loss_weight`` counts as one more use, and the weight moves to the Split
    layer's first top.

    Args:
        net: a NetParameter of the inner form that has been filtered for its phase; not changed.

    Raises:
        NetError: no input or earlier layer produces the blob of a bottom.
    """
    last_writer: dict[str, _Source] = {name: (_INPUT, i) for i, name in enumerate(net.input)}
    source_of: dict[tuple[int, int], _Source] = {}
    uses: dict[_Source, int] = defaultdict(int)
    loss_weight: dict[_Source, float] = {}
    for i, layer in enumerate(net.layer):
        for j, blob in enumerate(layer.bottom):
            if blob not in last_writer:
                raise NetError(f"unknown bottom blob '{blob}'{did_you_mean(blob, last_writer)}", layer=layer.name)
            source_of[i, j] = last_writer[blob]
            uses[last_writer[blob]] += 1
        for j, blob in enumerate(layer.top):
            last_writer[blob] = (i, j)
        for j, weight in enumerate(layer.loss_weight[: len(layer.top)]):
            if weight:
                loss_weight[i, j] = weight
                uses[i, j] += 1

    makers = _input_makers(net)
    result = caffe_pb2.NetParameter()
    result.CopyFrom(net)
    del result.layer[:]
    for i, blob in enumerate(net.input):
        if uses[_INPUT, i] > 1:
            _add_split(result, blob, *makers[i], uses[_INPUT, i], 0.0)
    next_top: dict[_Source, int] = defaultdict(int)
    for i, layer in enumerate(net.layer):
        added = result.layer.add()
        added.CopyFrom(layer)
        for j, blob in enumerate(layer.bottom):
            source = source_of[i, j]
            if uses[source] > 1:
                writer = makers[source[1]] if source[0] == _INPUT else (net.layer[source[0]].name, source[1])
                added.bottom[j] = split_blob_name(blob, *writer, next_top[source])
                next_top[source] += 1
        for j, blob in enumerate(layer.top):
            if uses[i, j] <= 1:
                continue
            weight = loss_weight.get((i, j), 0.0)
            _add_split(result, blob, layer.name, j, uses[i, j], weight)
            if weight:
                # Caffe clears all weights of the layer here: a loss layer then takes its default weight 1, and the loss
                # counts twice. An explicit zero avoids this.
                added.loss_weight[j] = 0.0
                next_top[i, j] += 1
    return result


def _input_makers(net: caffe_pb2.NetParameter) -> list[tuple[str, int]]:
    """Return for each net input the name of its Input layer, or ``"input"``, and its top's number in that layer."""
    names = [*net.input_layer, *["input"] * (len(net.input) - len(net.input_layer))]
    return [(name, names[:i].count(name)) for i, name in enumerate(names)]


def _add_split(net: caffe_pb2.NetParameter, blob: str, layer: str, top_index: int, count: int, weight: float) -> None:
    split = net.layer.add(name=split_layer_name(blob, layer, top_index), type="Split")
    split.bottom.append(blob)
    split.top.extend(split_blob_name(blob, layer, top_index, k) for k in range(count))
    if weight:
        split.loss_weight.extend([weight] + [0.0] * (count - 1))
