"""The initial model for training, from weights that others trained on ImageNet."""

from __future__ import annotations

import re
from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import torch
from google.protobuf.message import Message
from torch import Tensor

from deeplab_caffe.convert.fitting import Fitting, blobs_of, keys_of, owners_of
from deeplab_caffe.convert.sources import find_source, read_named
from deeplab_caffe.convert.sums import with_sums
from deeplab_caffe.errors import ConversionError
from deeplab_caffe.layers import Layer, fill
from deeplab_caffe.net import Net
from deeplab_caffe.net.tensors import blob_key, load_tensors, tensors_of
from deeplab_caffe.net.weights import WEIGHT_SUFFIXES, WEIGHT_WRITERS, CaffeNet, save_weights
from deeplab_caffe.proto import caffe_pb2


@dataclass(frozen=True)
class InitialModel:
    """A net with the weights of a source, for the layers that the source has.

    Attributes:
        net: the net; layers that the source lacks have the values of their fillers.
        source: the kind of the file: "EfficientNet-Lite0".
        lines: a description of the conversion, a line for each layer.
        layers: names of the layers that have the source's weights, or would be 0 without a filler: those to write.
    """

    net: Net
    source: str
    lines: tuple[str, ...]
    layers: frozenset[str]

    def save(self, path: str | PathLike[str], to: str | None = None, *, dtype: str = "float32") -> str:
        """Write :attr:`layers`; training fills the other layers when it starts, with its own seed.

        Args:
            path: the file; it gets its name only when it is complete.
            to: one of the formats of :data:`deeplab_caffe.net.weights.WEIGHT_WRITERS`; None: by the suffix.
            dtype: ``"float16"`` halves a caffemodel, see :func:`deeplab_caffe.proto.write_caffemodel`.

        Returns:
            The format written.

        Raises:
            ConversionError: no such format, or the file cannot be written.
            CaffeModelError: a caffemodel cannot be written.
        """
        chosen = to or WEIGHT_SUFFIXES.get(Path(path).suffix.lower())
        if chosen not in WEIGHT_WRITERS:
            raise ConversionError(
                f"{path}: an initial model is written as {', '.join(WEIGHT_WRITERS)}, got {to or Path(path).suffix!r}"
            )
        write_weights(_Part(self.net, self.layers), path, chosen, dtype)
        return chosen


def check_dtype(path: str | PathLike[str], chosen: str, dtype: str) -> None:
    """Check that a format supports a ``dtype``; only caffemodels support float16.

    Raises:
        ConversionError: the format supports only float32.
    """
    if dtype != "float32" and chosen != "caffemodel":
        raise ConversionError(f"{path}: dtype {dtype} is for caffemodels: as {chosen}, float32 is written")


def write_weights(net: CaffeNet, path: str | PathLike[str], chosen: str, dtype: str = "float32") -> None:
    """Write a net's weights in one of the formats of :data:`deeplab_caffe.net.weights.WEIGHT_WRITERS`.

    Raises:
        ConversionError: see :func:`check_dtype`.
    """
    check_dtype(path, chosen, dtype)
    if dtype == "float32":
        WEIGHT_WRITERS[chosen](net, path)
    else:
        save_weights(net, path, dtype=dtype)


class _Part:
    """Some layers of a net, to be written as weights."""

    def __init__(self, net: Net, names: Collection[str]) -> None:
        self.name, self.dialect, self.context = net.name, net.dialect, net.context
        kept = [(param, layer) for param, layer in zip(net.param.layer, net.layers, strict=True) if layer.name in names]
        self.layers = [layer for _, layer in kept]
        self.param = caffe_pb2.NetParameter(name=net.name, layer=[param for param, _ in kept])


def initial_model(source: str | PathLike[str], net: Net, *, seed: int = 1) -> InitialModel:
    """Load the weights of a network that others trained into a net, as the initial model for training.

    Names and layouts are converted to Caffe's. The order of the colours and the division by the standard deviations are
    included in the first convolution. If the net subtracts another mean than the source, the difference is added to the
    bias, or to the BatchNorm after a convolution without a bias. That is exact except at the border, which the net pads
    with its own mean. Fully connected layers become the net's convolutions:
    :func:`deeplab_caffe.convert.decimate.decimate`. Layers that the source lacks keep the values of their fillers.
    Weights without a filler, such as DeepLab's fc6 and fc7, would be 0 and learn nothing: they are filled as by
    ``msra``.

    Args:
        source: the file. Its kind, one of :data:`deeplab_caffe.convert.sources.SOURCES`, is found by the names in it.
        net: the net, with its mean in :attr:`deeplab_caffe.Net.mean_value`; changed only after all checks have passed.
            :func:`deeplab_caffe.convert.image_part` builds it from a train prototxt.
        seed: seed of the weights without a filler.

    Raises:
        ConversionError: the file cannot be read, is not a known network, or does not fit the net.
        CaffeModelError: a caffemodel or an HDF5 file cannot be read.
    """
    tensors = read_named(source)
    kind = find_source(tensors, source)
    fitting = Fitting(kind, net, source, blobs_of(kind, tensors, source))
    _load(fitting)
    own = [layer for layer, _ in fitting.taken]
    zeros = [layer for layer in owners_of(net) if layer not in own and _stays_zero(layer)]
    _fill(zeros, seed)
    lines = [*_layer_lines(fitting, zeros, seed), *_unused(fitting, tensors), *kind.remarks(net)]
    filled = {key for layer in (*own, *zeros) for key in keys_of(layer)}
    layers = frozenset(layer.name for layer in net.layers if layer.blobs and keys_of(layer) <= filled)
    return InitialModel(net, kind.title, tuple(lines), layers)


def _load(fitting: Fitting) -> None:
    """Put the tensors into the net, all at once."""
    net = fitting.net
    found = with_sums(net, fitting.found)
    by_key: dict[Hashable, Tensor] = {}
    for layer, _ in fitting.taken:
        by_key |= {blob_key(layer, role): found[f"{layer.name}.{role}"] for role in layer.named_blobs}
    roles = {f"{layer.name}.{role}": (layer, role) for layer in net.layers for role in layer.named_blobs}
    tensors = {name: by_key.get(blob_key(*roles[name]), held) for name, held in tensors_of(net).items()}
    load_tensors(net, tensors, fitting.path)


def _stays_zero(layer: Layer) -> bool:
    """Return whether a layer has weights that its prototxt gives no filler, so Caffe's constant 0."""
    weight = layer.named_blobs.get("weight")
    return weight is not None and weight.dim() > 1 and not weight.any()


def _fill(layers: Sequence[Layer], seed: int) -> None:
    numbers = torch.Generator().manual_seed(seed)
    for layer in layers:
        weight = layer.named_blobs["weight"].detach().clone()
        fill(weight, caffe_pb2.FillerParameter(type="msra"), generator=numbers)
        layer.load_blob("weight", weight)


def _layer_lines(fitting: Fitting, zeros: Sequence[Layer], seed: int) -> Iterator[str]:
    taken = {layer.name: fitting.blobs[name] for layer, name in fitting.taken}
    owners = owners_of(fitting.net)
    for layer in owners:
        if layer in zeros:
            yield f"{layer.name}: msra, seed {seed}: without a filler it would be 0, and learn nothing"
            continue
        if layer.name not in taken:
            yield f"{layer.name}: the net's fillers, {_fillers(layer)}"
            continue
        blobs = taken[layer.name]
        first = next(iter(blobs.values()))
        shape = tuple(next(iter(layer.named_blobs.values())).shape)
        shapes = f"{first.shape}" if first.shape == shape else f"{first.shape} to {shape}"
        folded = [f"{_stem(iter(first.folded))} folded in"] if first.folded else []
        notes = "".join(f"; {note}" for note in (*folded, *fitting.notes.get(layer.name, ())))
        yield f"{layer.name}: from {_stem(blob.name for blob in blobs.values())}, {shapes}{notes}"
    others = sum(bool(layer.blobs) for layer in fitting.net.layers) - len(owners)
    if others:
        yield f"{others} layers more share these parameters"


def _stem(names: Iterator[str]) -> str:
    """Return the common stem of a layer's tensor names: ``features.0`` for features.0.weight and features.0.bias."""
    return next(re.sub(r"[./][^./]*$", "", name) for name in names)


def _fillers(layer: Layer) -> str:
    """Return a layer's fillers in words: ``gaussian 0.01 and constant 0``."""
    found = []
    for _, options in layer.param.ListFields():
        if isinstance(options, Message):
            found += [(f.name, filler) for f, filler in options.ListFields() if f.name.endswith("filler")]
    words = []
    for name, filler in found:
        spread = {"gaussian": f" {filler.std:g}", "constant": f" {filler.value:g}"}.get(filler.type, "")
        words.append(f"{name.replace('_', ' ')} {filler.type}{spread}")
    return ", ".join(words) or "its type's initial values"


def _unused(fitting: Fitting, tensors: Mapping[str, Tensor]) -> Iterator[str]:
    blobs = [blob for _, name in fitting.taken for blob in fitting.blobs[name].values()]
    used = {name for blob in blobs for name in (blob.name, *blob.folded)}
    stems = {_stem(iter([name])) for name in used}
    unused = dict.fromkeys(_stem(iter([name])) for name in tensors if name not in used)
    left = [stem for stem in unused if stem not in stems]
    if left:
        yield f"not used: {', '.join(left)}"
