"""pycaffe's Classifier: images in, class probabilities out."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike

import numpy as np

from deeplab_caffe.proto import caffe_pb2
from deeplab_caffe.pycaffe.io import Transformer, oversample, resize_image
from deeplab_caffe.pycaffe.net import Net


class Classifier(Net):
    """A net with one input that classifies images as :func:`deeplab_caffe.pycaffe.io.load_image` gives them.

    Args:
        model_file: the deploy prototxt.
        pretrained_file: the caffemodel.
        image_dims: (height, width) that images are resized to before they are cropped; the input's size by default.
        mean: mean to subtract, see :class:`Transformer`; so the next three.
        input_scale: factor after the mean.
        raw_scale: factor before the mean.
        channel_swap: order of the channels.
    """

    def __init__(
        self,
        model_file: str | PathLike[str],
        pretrained_file: str | PathLike[str],
        image_dims: Sequence[int] | None = None,
        mean: np.ndarray | None = None,
        input_scale: float | None = None,
        raw_scale: float | None = None,
        channel_swap: Sequence[int] | None = None,
    ) -> None:
        super().__init__(model_file, pretrained_file, caffe_pb2.TEST)
        name = self.inputs[0]
        self.transformer = Transformer({name: self.blobs[name].shape})
        self.transformer.set_transpose(name, (2, 0, 1))
        if mean is not None:
            self.transformer.set_mean(name, mean)
        if input_scale is not None:
            self.transformer.set_input_scale(name, input_scale)
        if raw_scale is not None:
            self.transformer.set_raw_scale(name, raw_scale)
        if channel_swap is not None:
            self.transformer.set_channel_swap(name, channel_swap)
        self.crop_dims = np.array(self.blobs[name].shape[2:])
        height, width = image_dims if image_dims else self.crop_dims
        self.image_dims = int(height), int(width)

    def predict(self, inputs: Sequence[np.ndarray], oversample: bool = True) -> np.ndarray:
        """Return class probabilities (N, K) of images (H, W, C).

        Args:
            inputs: the images.
            oversample: average over the ten crops of corners, centre and mirror images; else the centre alone.
        """
        images = np.stack([resize_image(image, self.image_dims) for image in inputs])
        if oversample:
            crops = _oversample(images, self.crop_dims)
        else:
            y, x = (np.array(self.image_dims) - self.crop_dims) // 2
            crops = images[:, y : y + self.crop_dims[0], x : x + self.crop_dims[1]]
        name = self.inputs[0]
        items = np.stack([self.transformer.preprocess(name, crop) for crop in crops])
        predictions = self.forward_all(**{name: items})[self.outputs[0]].reshape(len(items), -1)
        if oversample:
            predictions = predictions.reshape(len(predictions) // 10, 10, -1).mean(axis=1)
        return predictions


# The method's argument has pycaffe's name, which hides the function's.
_oversample = oversample
