"""pycaffe's Classifier: images in, class probabilities out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from deeplab_caffe.errors import NetError
from deeplab_caffe.pycaffe.crops import CropNet
from deeplab_caffe.pycaffe.io import oversample, resize_image
from deeplab_caffe.pycaffe.paths import AnyPath


class Classifier(CropNet):
    """A net with one input that classifies images in the form of :func:`deeplab_caffe.pycaffe.io.load_image`.

    Args:
        model_file: the deploy prototxt.
        pretrained_file: the caffemodel.
        image_dims: (height, width) that images are resized to before they are cropped; the input's size by default.
        *args: ``mean``, ``input_scale``, ``raw_scale``, ``channel_swap``, by position or name, see
            :class:`deeplab_caffe.pycaffe.io.Transformer`; 2014's scripts put ``gpu`` before them: True or False sets
            the mode.
        **options: the same by name.

    Raises:
        NetError: the net has no input for images, or an option does not fit it.
    """

    def __init__(
        self,
        model_file: AnyPath,
        pretrained_file: AnyPath,
        image_dims: Sequence[int] | np.ndarray | None = None,
        *args: Any,
        **options: Any,
    ) -> None:
        super().__init__(model_file, pretrained_file, args, options)
        shape = self.blobs[self.inputs[0]].shape[2:]
        self.crop_dims = np.array(shape)
        height, width = shape if image_dims is None or not len(image_dims) else image_dims
        self.image_dims = int(height), int(width)

    def predict(self, inputs: Iterable[np.ndarray], oversample: bool = True) -> np.ndarray:
        """Return class probabilities (N, K) of images (H, W, C).

        Args:
            inputs: the images.
            oversample: average over the ten crops of corners, centre and mirror images; else use only the centre crop,
                and keep all axes of an output with more than two.

        Raises:
            NetError: there are no images, or one has another number of channels than the input.
        """
        images = []
        for image in inputs:
            if np.ndim(image) != 3:
                raise NetError(
                    f"predict: expected a list of images (H, W, C), got one of shape {np.shape(image)}: "
                    "give [image] for one image, image[:, :, None] for a grey one"
                )
            images.append(resize_image(image, self.image_dims))
        if len({image.shape for image in images}) != 1:
            raise NetError(f"predict: expected images of as many channels, got {[image.shape[2] for image in images]}")
        if oversample:
            crops = self._predict(_oversample(images, self.crop_dims)).reshape(len(images), 10, -1)
            return np.asarray(crops.mean(axis=1))
        y, x = (np.array(self.image_dims) - self.crop_dims) // 2
        if min(y, x) < 0:
            raise NetError(
                f"predict: image_dims {self.image_dims} are smaller than the input {tuple(self.crop_dims.tolist())}"
            )
        return self._predict(image[y : y + self.crop_dims[0], x : x + self.crop_dims[1]] for image in images)


# The method's argument has pycaffe's name, which hides the function's.
_oversample = oversample
