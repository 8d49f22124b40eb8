"""pycaffe's Detector: predictions for windows of images."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from deeplab_caffe.errors import DeepLabCaffeError, NetError
from deeplab_caffe.pycaffe.crops import CropNet
from deeplab_caffe.pycaffe.io import load_image, resize_image
from deeplab_caffe.pycaffe.paths import AnyPath, text_path


class Detector(CropNet):
    """A net with one input that classifies windows of images (Girshick et al.: Rich feature hierarchies, CVPR 2014).

    Args:
        model_file: the deploy prototxt.
        pretrained_file: the caffemodel.
        *args: ``mean``, ``input_scale``, ``raw_scale``, ``channel_swap``, ``context_pad``, by position or name, see
            :class:`Classifier`. ``context_pad`` is the number of pixels at each side of the net's input that show the
            surroundings of the window.
        **options: the same by name.

    Attributes:
        context_pad: as given.
        crop_dims: the input's (H, W, C).
        crop_mean: the mean in the image's range and channel order, which fills the parts of a window outside its image.
    """

    def __init__(self, model_file: AnyPath, pretrained_file: AnyPath, *args: Any, **options: Any) -> None:
        super().__init__(model_file, pretrained_file, args, options, further=("context_pad",))
        self.configure_crop(self.options.get("context_pad"))

    def configure_crop(self, context_pad: int | None) -> None:
        """Set the number of pixels at each side of the input that show the surroundings of the window; None or 0: none.

        Raises:
            NetError: no pixels are left for the window, or the input is not square.
        """
        name = self.inputs[0]
        channels, height, width = self.blobs[name].shape[1:]
        if context_pad and (height != width or not 0 < 2 * context_pad < width):
            raise NetError(f"context_pad {context_pad} does not go with an input of {height} x {width}")
        self.context_pad = context_pad
        self.crop_dims = np.array([height, width, channels])
        self.crop_mean = np.zeros(self.crop_dims, np.float32)
        if name in self.transformer.mean:
            # Pre-processing turns this image into zeros.
            self.crop_mean = self.transformer.deprocess(name, np.zeros((channels, height, width)))

    def crop(self, im: np.ndarray, window: Sequence[int] | np.ndarray) -> np.ndarray:
        """Return a window of an image (H, W, C), with its surroundings if :attr:`context_pad` is set.

        The arithmetic is Caffe's (python/caffe/detector.py): a window's last row and column belong to it when it is
        enlarged, but not when it is cut out.

        Args:
            im: the image.
            window: (ymin, xmin, ymax, xmax).

        Raises:
            NetError: the window is empty or not in the image.
        """
        box = np.asarray(window, np.float64)
        extent = np.array(im.shape[:2])
        if box.shape != (4,) or not np.isfinite(box).all() or (box[2:] < box[:2]).any():
            raise NetError(f"expected a window (ymin, xmin, ymax, xmax), got {window}")
        if not self.context_pad:
            if box.min() < 0 or (np.minimum(box[2:], extent) <= box[:2]).any():
                raise NetError(f"window {window} is empty or leaves the image of {im.shape[0]} x {im.shape[1]}")
            return _cut(im, box)
        size = self.blobs[self.inputs[0]].width
        half = (box[2:] - box[:2] + 1) / 2
        centre = box[:2] + half
        scale = size / (size - 2 * self.context_pad)
        around = np.round(np.concatenate([centre - scale * half, centre + scale * half]))
        per_pixel = size / (around[2:] - around[:2] + 1)
        before = np.round(np.maximum(0, -around[:2]) * per_pixel)
        inside = np.clip(around, 0, np.tile(extent, 2))
        length = np.minimum(np.round((inside[2:] - inside[:2] + 1) * per_pixel), size - before)
        if (inside[2:] <= inside[:2]).any() or length.min() < 1:
            raise NetError(f"window {window} is not in the image of {im.shape[0]} x {im.shape[1]}")
        crop = np.broadcast_to(self.crop_mean, self.crop_dims).astype(np.float32)
        _cut(crop, np.concatenate([before, before + length]))[...] = resize_image(_cut(im, inside), length)
        return crop

    def detect_windows(self, images_windows: Iterable[tuple[str, Iterable[Any]]]) -> list[dict[str, Any]]:
        """Return the predictions for windows of images.

        Args:
            images_windows: pairs of a file's name and its windows (ymin, xmin, ymax, xmax).

        Returns:
            For each window a dict of ``"window"``, ``"prediction"`` and ``"filename"``.

        Raises:
            DataError: a file cannot be read.
            NetError: a window is empty or not in its image.
        """
        found: list[dict[str, Any]] = []
        crops = []
        for filename, windows in images_windows:
            image = load_image(filename)
            for window in windows:
                try:
                    crops.append(self.crop(image, window))
                except NetError as error:
                    raise NetError(f"{filename}: {error}") from error
                found.append({"window": window, "filename": filename})
        if not found:
            return []
        predictions = self._predict(crops)
        return [each | {"prediction": row} for each, row in zip(found, predictions, strict=True)]

    def detect_selective_search(self, image_fnames: Iterable[str]) -> list[dict[str, Any]]:
        """Return the predictions for the windows that selective search proposes, as :meth:`detect_windows`.

        Raises:
            DeepLabCaffeError: the Python package of selective search is not installed.
        """
        try:
            selective_search = import_module("selective_search_ijcv_with_python")
        except ImportError as error:
            raise DeepLabCaffeError(
                "detect_selective_search needs Matlab and selective_search_ijcv_with_python "
                "(https://github.com/sergeyk/selective_search_ijcv_with_python): use detect_windows with windows"
            ) from error
        # Matlab resolves relative paths from its own folder.
        names = [str(Path(text_path(name)).resolve()) for name in image_fnames]
        windows = selective_search.get_windows(names, cmd="selective_search_rcnn")
        return self.detect_windows(zip(names, windows, strict=True))


def _cut(image: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Return a view of a part (top, left, bottom, right) of an image."""
    top, left, bottom, right = box.astype(int)
    return image[top:bottom, left:right]
