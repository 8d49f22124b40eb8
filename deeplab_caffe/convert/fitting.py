"""Conversion of a source's tensors to the shapes and names of a net."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import NamedTuple

import torch
from torch import Tensor

from deeplab_caffe.convert.decimate import decimate
from deeplab_caffe.convert.first_layer import describe_pixels, of_net, shift
from deeplab_caffe.convert.plain import is_plain
from deeplab_caffe.convert.sources.source import Source
from deeplab_caffe.errors import ConversionError
from deeplab_caffe.layers import Layer
from deeplab_caffe.net import Net
from deeplab_caffe.net.tensors import blob_key, some
from deeplab_caffe.proto.dims import without_leading_ones


class Blob(NamedTuple):
    """A tensor of the file: its name and shape there, its values in Caffe's layout, and the tensors folded into it."""

    name: str
    shape: tuple[int, ...]
    values: Tensor
    folded: tuple[str, ...] = ()


def blobs_of(source: Source, tensors: Mapping[str, Tensor], path: str | PathLike[str]) -> dict[str, dict[str, Blob]]:
    """Return a source's tensors by layer and role.

    Args:
        source: the kind of the file.
        tensors: all tensors of the file.
        path: the file, for messages.

    Raises:
        ConversionError: tensors are missing, or not float32.
    """
    parts = list(source.parts(tensors))
    absent = [name for part in parts for name in (part.name, *part.folded) if name not in tensors]
    absent = list(dict.fromkeys(absent))
    if absent:
        raise ConversionError(f"{path}: seems to be {source.title}, but has no {some(absent)}")
    blobs: dict[str, dict[str, Blob]] = {}
    for part in parts:
        tensor, *others = (tensors[name] for name in (part.name, *part.folded))
        for name, one in zip((part.name, *part.folded), (tensor, *others), strict=True):
            if not is_plain(one):
                raise ConversionError(f"{path}: '{name}' needs plain float32 numbers, got {one.dtype}")
        try:
            values = (part.arrange(tensor, *others) if part.arrange else tensor).float()
        except (RuntimeError, IndexError) as error:
            raise ConversionError(
                f"{path}: '{part.name}' has another shape than in {source.title}: {tuple(tensor.shape)}"
            ) from error
        blobs.setdefault(part.layer, {})[part.role] = Blob(part.name, tuple(tensor.shape), values, part.folded)
    return blobs


def keys_of(layer: Layer) -> set[object]:
    """Return the identity of a layer's parameters, because layers may share them."""
    return {blob_key(layer, role) for role in layer.named_blobs}


def owners_of(net: Net) -> list[Layer]:
    """Return the layers with parameters; of layers that share parameters, only the first."""
    seen: set[object] = set()
    owners = []
    for layer in net.layers:
        if not keys_of(layer) <= seen:
            owners.append(layer)
            seen |= keys_of(layer)
    return owners


class Fitting:
    """The conversion of a source's weights for a net, which is not changed.

    Attributes:
        source: the kind of the file.
        net: the net.
        path: the file, for messages.
        blobs: the source's tensors.
        taken: the net's layers that get weights, each with the source's name of the layer.
        found: tensors by the net's names; for a BatchNorm the mean and the variance, not the sums.
        notes: the changes beyond copying, by layer.

    Raises:
        ConversionError: the source does not fit the net.
    """

    def __init__(self, source: Source, net: Net, path: str | PathLike[str], blobs: dict[str, dict[str, Blob]]) -> None:
        self.source, self.net, self.path, self.blobs = source, net, path, blobs
        self.found: dict[str, Tensor] = {}
        self.notes: dict[str, list[str]] = {}
        # Biases for convolutions without one.
        self._homeless: list[tuple[Layer, Tensor]] = []
        self.taken = self._match()
        for layer, name in self.taken:
            self._take(layer, blobs[name])
        for layer, bias in self._homeless:
            self._note(layer, f"its bias is in {self._add(layer, bias)}")
        self._fold_pixels(next(layer for layer, name in self.taken if name == source.first))

    def _error(self, message: str) -> ConversionError:
        return ConversionError(f"{self.path}: is {self.source.title}: {message}")

    def _note(self, layer: Layer, *notes: str) -> None:
        self.notes.setdefault(layer.name, []).extend(notes)

    def _match(self) -> list[tuple[Layer, str]]:
        copied = self.source.copied
        taken = [(layer, name) for layer in owners_of(self.net) if (name := copied(layer.name)) in self.blobs]
        used = {name for _, name in taken}
        absent = [name for name in self.blobs if name not in used and name not in self.source.optional]
        if absent:
            raise self._error(f"net '{self.net.name}' has no layer {some(absent)}: it is another network")
        return taken

    def _take(self, layer: Layer, blobs: Mapping[str, Blob]) -> None:
        if "variance" in layer.named_blobs:
            self._take_statistics(layer, blobs)
            return
        for role, held in layer.named_blobs.items():
            if role in blobs:
                self.found[f"{layer.name}.{role}"] = self._fit(layer, role, blobs[role])
            elif role == "bias":
                self.found[f"{layer.name}.bias"] = torch.zeros(held.shape)
            else:
                raise self._error(f"it has no {role} for layer '{layer.name}' of net '{self.net.name}'")
        if "bias" in blobs and "bias" not in layer.named_blobs:
            self._homeless.append((layer, blobs["bias"].values.flatten()))

    def _take_statistics(self, layer: Layer, blobs: Mapping[str, Blob]) -> None:
        eps, wanted = layer.param.batch_norm_param.eps, self.source.eps
        if wanted is not None and abs(eps - wanted) > 1e-3 * wanted:
            raise self._error(
                f"its BatchNorm has eps {wanted:g}, layer '{layer.name}' of net '{self.net.name}' has {eps:g}: write "
                f"eps: {wanted:g} into the prototxt"
            )
        # Caffe's are sums: means and variances times a factor. 0 stands for nothing learned.
        factor = float(blobs["factor"].values) if "factor" in blobs else 1.0
        for role in ("mean", "variance"):
            if role not in blobs:
                raise self._error(f"it has no {role} for layer '{layer.name}' of net '{self.net.name}'")
            values = self._fit(layer, role, blobs[role])
            self.found[f"{layer.name}.{role}"] = values / factor if factor else torch.zeros_like(values)

    def _fit(self, layer: Layer, role: str, blob: Blob) -> Tensor:
        """Return a blob's numbers in the shape of the net's blob, decimated if necessary."""
        shape, values = tuple(layer.named_blobs[role].shape), blob.values
        if without_leading_ones(values.shape) == without_leading_ones(shape):
            return values.reshape(shape)
        if self.source.copied(layer.name) in self.source.decimated:
            fewer = decimate(values, shape)
            if fewer is not None:
                if role == "weight":
                    self._note(layer, fewer.note)
                return fewer.values
        raise self._error(
            f"'{blob.name}' {blob.shape} does not fit the {role} {shape} of layer '{layer.name}' of net "
            f"'{self.net.name}'"
        )

    def _fold_pixels(self, layer: Layer) -> None:
        """Convert the first convolution to the input of the net's data layer."""
        pixels, mean = self.source.pixels, self.net.mean_value
        name = f"{layer.name}.weight"
        if self.found[name].dim() != 4 or self.found[name].shape[1] != 3:
            raise self._error(f"layer '{layer.name}' of net '{self.net.name}' reads no image with 3 channels")
        weight = of_net(self.found[name], pixels)
        self.found[name] = weight.float()
        self._note(layer, *describe_pixels(pixels, mean))
        summand = shift(weight, pixels, mean)
        if summand is not None:
            where = self._add(layer, summand)
            self._note(
                layer, f"the difference is in {where}, exact but at the border, which the net pads with its own mean"
            )

    def _add(self, layer: Layer, summand: Tensor) -> str:
        """Add a constant to a convolution's outputs, in its bias or the BatchNorm after it; return where."""
        name, sign, where = f"{layer.name}.bias", 1, "its bias"
        if name not in self.found:
            norm = self._norm_behind(layer)
            name, sign, where = f"{norm.name}.mean", -1, f"the mean of {norm.name}"
        if self.found[name].numel() != summand.numel():
            raise self._error(f"the bias of '{layer.name}' has {summand.numel()} numbers for {name}")
        self.found[name] = (self.found[name].double() + sign * summand.reshape(self.found[name].shape)).float()
        return where

    def _norm_behind(self, layer: Layer) -> Layer:
        value = next(step.makes[0] for step in self.net.steps if step.layer is layer)
        for step in self.net.steps:
            if value in step.reads and f"{step.layer.name}.mean" in self.found:
                return step.layer
        raise self._error(f"layer '{layer.name}' of net '{self.net.name}' has no bias, nor a BatchNorm behind it")
