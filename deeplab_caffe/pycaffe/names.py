"""The names and numbers of the blobs and layers of pycaffe's nets, and callbacks around layers."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

from deeplab_caffe.layers import Blob, BlobVec, UserLayer
from deeplab_caffe.pycaffe.execution import Execution


class LayerFace(NamedTuple):
    """The part of a layer that pycaffe shows: its type's name and its parameter blobs."""

    type: str
    blobs: BlobVec


class Names(Execution):
    """Names and numbers of blobs and layers, as :class:`deeplab_caffe.pycaffe.Net` has them."""

    @property
    def layers(self) -> list[LayerFace | UserLayer]:
        """Return the layers in order; for Python layers, the objects themselves."""
        return [
            LayerFace(step.layer.TYPE, self.params.get(step.layer.name, BlobVec()))
            if step.layer.code is None
            else step.layer.code.layer
            for step in self._steps
        ]

    @property
    def layer_dict(self) -> OrderedDict[str, LayerFace | UserLayer]:
        """Return the layers by name."""
        return OrderedDict(zip(self._layer_names, self.layers, strict=True))

    @property
    def bottom_names(self) -> OrderedDict[str, list[str]]:
        """Return the names of the bottoms by layer."""
        return OrderedDict((step.layer.name, list(step.bottoms)) for step in self._steps)

    @property
    def top_names(self) -> OrderedDict[str, list[str]]:
        """Return the names of the tops by layer."""
        return OrderedDict((step.layer.name, list(step.tops)) for step in self._steps)

    @property
    def blob_loss_weights(self) -> OrderedDict[str, float]:
        """Return the weight in the loss by blob."""
        return OrderedDict((name, self._loss_weights.get(name, 0.0)) for name in self.blobs)

    # The same by number: the attributes that pycaffe's Python module uses.

    @property
    def _blob_names(self) -> list[str]:
        return list(self.blobs)

    @property
    def _blobs(self) -> list[Blob]:
        return list(self.blobs.values())

    @property
    def _blob_loss_weights(self) -> list[float]:
        return list(self.blob_loss_weights.values())

    @property
    def _inputs(self) -> list[int]:
        return self._ids(self.inputs)

    @property
    def _outputs(self) -> list[int]:
        return self._ids(self.outputs)

    def _bottom_ids(self, layer: int) -> list[int]:
        return self._ids(self._steps[layer].bottoms)

    def _top_ids(self, layer: int) -> list[int]:
        return self._ids(self._steps[layer].tops)

    def _ids(self, names: list[str] | tuple[str, ...]) -> list[int]:
        numbers = {name: number for number, name in enumerate(self.blobs)}
        return [numbers[name] for name in names]

    # Functions that are called with a layer's number.

    def before_forward(self, run: Callable[[int], object]) -> None:
        """Call a function with each layer's number before the layer runs forwards."""
        self._callbacks["before_forward"].append(run)

    def after_forward(self, run: Callable[[int], object]) -> None:
        """Call a function with each layer's number after the layer has run forwards."""
        self._callbacks["after_forward"].append(run)

    def before_backward(self, run: Callable[[int], object]) -> None:
        """Call a function with each layer's number before the layer's turn in the backward pass."""
        self._callbacks["before_backward"].append(run)

    def after_backward(self, run: Callable[[int], object]) -> None:
        """Call a function with each layer's number after the layer's turn in the backward pass."""
        self._callbacks["after_backward"].append(run)
