"""IMAGE_DATA: batches of photographs and labels from a list file (layers/image_data_layer.cpp)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from deeplab_caffe.data.io.images import load_grey, load_image
from deeplab_caffe.data.io.lists import LabelledEntry, read_labelled_list
from deeplab_caffe.data.io.resize import resize_bilinear
from deeplab_caffe.data.sources.base import Blobs, Shape4, SourceOptions
from deeplab_caffe.data.sources.image_seg_config import LABEL_TYPES, validate_new_size
from deeplab_caffe.data.sources.list import ListSource
from deeplab_caffe.data.sources.transform import Phase, SegTransform, bgr_planes, validate_means
from deeplab_caffe.errors import DataError, NetError

if TYPE_CHECKING:
    from typing_extensions import Unpack

# Value for missing labels, if a line has fewer than max_labels.
VOID_LABEL = -1


class ImageSource(ListSource[LabelledEntry, np.ndarray]):
    """The source of IMAGE_DATA's batches.

    The original's output is not pixels but the bytes of the doubles that it converts them to
    (data_transformer.cpp:242,280,290). Here it is what its code intends: images smaller than ``crop_size`` are padded
    with the mean at the bottom and right, and then transformed by :class:`SegTransform`. Random words are drawn as in
    the original.

    Args:
        layer_param: LayerParameter message with ``image_data_param`` and ``transform_param``.
        phase: ``"TRAIN"`` or ``"TEST"``.
        **options: see :class:`SourceOptions`.

    Raises:
        NetError: a parameter has no meaning here.
        DataError: the list cannot be read.
        CaffeModelError: the mean file cannot be read.
    """

    def __init__(self, layer_param: Any, phase: Phase, **options: Unpack[SourceOptions]) -> None:
        param = layer_param.image_data_param
        if not param.source:
            raise NetError("image_data_param needs a source")
        validate_new_size(param.new_height, param.new_width)
        if param.max_labels < 1:
            raise NetError(f"max_labels must be positive, got {param.max_labels}")
        label_type = LABEL_TYPES[param.label_type]
        if label_type == "NONE":
            raise NetError("label_type NONE has no meaning in IMAGE_DATA: use IMAGE_SEG_DATA, or has_label: false")
        labelled = label_type == "IMAGE" and param.has_label
        transform = SegTransform.from_param(layer_param.transform_param, phase)
        self.param = param
        self.channels = 3 if param.is_color else 1
        validate_means(transform.mean_value, self.channels)
        super().__init__(
            param.source,
            read_labelled_list(param.source, param.max_labels if labelled else None),
            param.shuffle,
            param.rand_skip,
            param.batch_size,
            transform,
            **options,
        )
        self._size: tuple[int, int] | None = None

    def shapes(self) -> tuple[Shape4, Shape4]:
        """Return the shapes of the blobs: data ``(N, C, H, W)``, label ``(N, max_labels, 1, 1)``.

        Without ``crop_size`` and without resizing, the size is that of the first image, which is read for it.
        """
        if self._size is None:
            if self.transform.crop_size:
                self._size = (self.transform.crop_size,) * 2
            elif self.param.new_height:
                self._size = (self.param.new_height, self.param.new_width)
            else:
                self._size = self._read(self._first).shape[:2]
        return (self.batch_size, self.channels, *self._size), (self.batch_size, self.param.max_labels, 1, 1)

    def _read(self, entry: LabelledEntry) -> np.ndarray:
        load = load_image if self.param.is_color else load_grey
        try:
            image = load(self.param.root_folder + entry.image, exif_orientation=False, view=True)
        except DataError as exc:
            raise self._error(entry, str(exc)) from exc
        if self.param.new_height:
            image = resize_bilinear(image, self.param.new_height, self.param.new_width)
        return image

    def _write(self, entry: LabelledEntry, item: np.ndarray, words: list[int], blobs: Blobs, i: int) -> None:
        data, labels = blobs
        planes = bgr_planes(item)
        try:
            self.transform.check(planes.shape, pads=True)
            if not self.transform.crop_size and planes.shape != data.shape[1:]:
                raise ValueError(
                    f"the image is {planes.shape} (channels, height, width), but without crop_size all images must "
                    f"have the first one's {data.shape[1:]}"
                )
        except ValueError as exc:
            raise self._error(entry, f"{self.param.root_folder}{entry.image}: {exc}") from exc
        self.transform.planes_into(planes, self.transform.place(planes.shape[1], planes.shape[2], words), data[i])
        labels[i] = VOID_LABEL
        labels[i, : len(entry.labels), 0, 0] = entry.labels

    def _error(self, entry: LabelledEntry, message: str) -> DataError:
        return DataError(message, self.source, entry.line)
