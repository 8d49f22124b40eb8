"""The common base of pycaffe's Classifier and Detector: it turns crops of images into rows of predictions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from deeplab_caffe.errors import NetError
from deeplab_caffe.proto import caffe_pb2
from deeplab_caffe.pycaffe import mode
from deeplab_caffe.pycaffe.net import Net
from deeplab_caffe.pycaffe.paths import AnyPath, text_path

_OPTIONS = ("mean", "input_scale", "raw_scale", "channel_swap")


class CropNet(Net):
    """A net with an input (N, C, H, W) for images, and their pre-processing.

    Args:
        model_file: the deploy prototxt.
        pretrained_file: the caffemodel.
        args: further positional arguments: in 2014's release ``gpu``, ``mean``, ``input_scale``, ``raw_scale``,
            ``channel_swap``, ...; in later releases the same without ``gpu``.
        options: the same by name; ``mean_file`` is the first releases' name of ``mean``.
        further: names of the options after ``channel_swap``.

    Attributes:
        transformer: the :class:`deeplab_caffe.pycaffe.io.Transformer` that the crops go through.
        options: the given options of ``further``.

    Raises:
        NetError: the net has no such input, or an option does not fit it.
    """

    def __init__(
        self,
        model_file: AnyPath,
        pretrained_file: AnyPath,
        args: Sequence[Any],
        options: dict[str, Any],
        further: tuple[str, ...] = (),
    ) -> None:
        given = _by_name(type(self).__name__, args, options, further)
        gpu = given.pop("gpu", None)
        if gpu is not None:
            (mode.set_mode_gpu if gpu else mode.set_mode_cpu)()
        super().__init__(model_file, pretrained_file, caffe_pb2.TEST)
        shapes = {name: self.blobs[name].shape for name in self.inputs}
        if [len(shape) for shape in shapes.values()] != [4]:
            raise NetError(
                f"{type(self).__name__}: {text_path(model_file)} has the inputs {shapes}, not one of shape "
                "(N, C, H, W): is it the deploy prototxt?"
            )
        self.options = {name: given.pop(name) for name in further if name in given}
        for name, value in given.items():
            if value is not None:
                getattr(self, f"set_{name}")(self.inputs[0], value)
        self.transformer = self._transformer

    def _predict(self, crops: Iterable[np.ndarray]) -> np.ndarray:
        """Return the first output for crops (H, W, C); for a v1 net (N, K) instead of (N, K, 1, 1).

        Raises:
            NetError: the crops or the output do not fit.
        """
        name, output = self.inputs[0], self.outputs[0]
        items = np.stack([self.transformer.preprocess(name, crop) for crop in crops])
        if items.shape[1:] != self.blobs[name].shape[1:]:
            raise NetError(f"'{name}' takes items {self.blobs[name].shape[1:]}, the images make {items.shape[1:]}")
        out = self.forward_all(**{name: items})[output]
        if len(out) != len(items):
            raise NetError(f"output '{output}' has {len(out)} items for {len(items)} images")
        # The releases of 2014 squeezed their outputs, which always had four axes.
        squeezed = self.module.dialect.four_axes and out.shape[2:] == (1, 1)
        return out[:, :, 0, 0] if squeezed else out


def _by_name(kind: str, args: Sequence[Any], options: dict[str, Any], further: tuple[str, ...]) -> dict[str, Any]:
    """Return the options by name, from the positional order of any release.

    Raises:
        TypeError: an option is unknown or given twice, or there are too many.
    """
    order = ("gpu", *_OPTIONS, *further)
    if not (args and isinstance(args[0], bool | np.bool_ | int)):
        order = order[1:]
    if len(args) > len(order):
        raise TypeError(f"{kind}: expected at most {len(order)} options by position ({', '.join(order)})")
    named = {"mean" if name == "mean_file" else name: value for name, value in options.items()}
    given = dict(zip(order, args, strict=False))
    twice = given.keys() & named.keys()
    unknown = named.keys() - {"gpu", *order}
    if twice or unknown or len(named) < len(options):
        raise TypeError(f"{kind}: options unknown or given twice: {sorted(twice | unknown) or ['mean', 'mean_file']}")
    return given | named
