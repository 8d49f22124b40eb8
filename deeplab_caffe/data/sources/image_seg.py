"""IMAGE_SEG_DATA: batches of photographs, label maps and sizes from a list file (layers/image_seg_data_layer.cpp)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from deeplab_caffe.data.io.images import LabelReading, load_grey, load_image, load_label
from deeplab_caffe.data.io.lists import ListEntry, read_image_list
from deeplab_caffe.data.io.resize import resize_bilinear, resize_nearest
from deeplab_caffe.data.sources.base import Blobs, Shape4, SourceOptions
from deeplab_caffe.data.sources.image_seg_config import ImageSegDataConfig
from deeplab_caffe.data.sources.list import ListSource
from deeplab_caffe.data.sources.transform import Phase, SegTransform
from deeplab_caffe.errors import DataError

if TYPE_CHECKING:
    from typing_extensions import Unpack

# A photograph, RGB (H, W, 3) or grey (H, W), and its label map (H, W).
PhotoAndLabels = tuple[np.ndarray, np.ndarray]


class ImageSegSource(ListSource[ListEntry, PhotoAndLabels]):
    """The source of IMAGE_SEG_DATA's batches.

    Random words are drawn from ``rng`` when and as often as the original draws them from its global generator; see
    :class:`ListSource` and :class:`deeplab_caffe.data.sources.base.ItemSource`. So batch k of a net that is built after
    ``set_random_seed`` equals the original's.

    Args:
        config: the parameters.
        phase: ``"TRAIN"`` or ``"TEST"``.
        **options: see :class:`SourceOptions`.

    Raises:
        DataError: the list cannot be read.
    """

    def __init__(
        self,
        config: ImageSegDataConfig,
        phase: Phase,
        **options: Unpack[SourceOptions],
    ) -> None:
        self.config = config
        super().__init__(
            config.source,
            read_image_list(config.source, label_required=config.label_type == "PIXEL"),
            config.shuffle,
            config.rand_skip,
            config.batch_size,
            SegTransform(
                phase,
                config.crop_size,
                config.mirror,
                config.mean_value,
                config.scale,
                crop_pair=config.crop_pair,
                scale_factors=config.scale_factors,
                distortion=config.distortion,
            ),
            **options,
        )
        self._size: tuple[int, int] | None = None

    @classmethod
    def from_param(
        cls,
        layer_param: Any,
        phase: Phase,
        *,
        label_reading: LabelReading | None = None,
        **options: Unpack[SourceOptions],
    ) -> ImageSegSource:
        """Build it from a LayerParameter message, see :meth:`ImageSegDataConfig.from_param`.

        Raises:
            NetError: a parameter has no meaning here.
            DataError: the list cannot be read.
        """
        return cls(ImageSegDataConfig.from_param(layer_param, label_reading=label_reading), phase, **options)

    def shapes(self) -> tuple[Shape4, Shape4, Shape4]:
        """Return the shapes of the three blobs: data ``(N, C, H, W)``, label ``(N, 1, H, W)``, dim ``(N, 1, 1, 2)``.

        Without ``crop_size`` and without resizing, the size is that of the first image, which is read for it.
        """
        count = self.config.batch_size
        height, width = self._blob_size()
        return (count, self.config.channels, height, width), (count, 1, height, width), (count, 1, 1, 2)

    def next_batch(self) -> Blobs:
        """Read the next batch; the list starts again at its end, even within a batch.

        Returns:
            data float32 ``(N, C, H, W)``, label float32 ``(N, 1, H, W)``, and dim float32 ``(N, 1, 1, 2)``: height and
            width of the part that is not padding, ``min(blob's, image's)``.

        Raises:
            DataError: an image or label map cannot be read, or their sizes differ; the message has list and line.
        """
        return super().next_batch()

    def _blob_size(self) -> tuple[int, int]:
        if self._size is None:
            config = self.config
            if self.transform.crop[0]:
                self._size = self.transform.crop
            elif config.new_height:
                self._size = (config.new_height, config.new_width)
            else:
                image, _ = self._read(self._first, with_label=False)
                self._size = image.shape[:2]
        return self._size

    def _read(self, entry: ListEntry, with_label: bool = True) -> PhotoAndLabels:
        """Read the image and label map of one line, resized if ``new_height`` and ``new_width`` are set."""
        config = self.config
        load = load_image if config.is_color else load_grey
        label = None
        try:
            image = load(self._path(entry.image), exif_orientation=config.exif_orientation, view=True)
            if with_label and config.label_type == "PIXEL":
                label = load_label(self._path(entry.label), reading=config.label_reading, view=True)
                if label.shape != image.shape[:2]:
                    raise DataError(
                        f"the label map is {label.shape[0]} x {label.shape[1]} (height x width), its image "
                        f"'{self._path(entry.image)}' {image.shape[0]} x {image.shape[1]}",
                        self._path(entry.label),
                    )
            flat_label = self._flat_label(entry)
        except DataError as exc:
            raise self._error(entry, f"{exc}{entry.hint}") from exc
        if config.new_height:
            image = resize_bilinear(image, config.new_height, config.new_width)
            if label is not None:
                label = resize_bilinear(label, config.new_height, config.new_width)
        if label is None:
            label = np.broadcast_to(np.uint8(flat_label), image.shape[:2])
        return image, label

    def _write(self, entry: ListEntry, item: PhotoAndLabels, words: list[int], blobs: Blobs, i: int) -> None:
        image, labels = item
        data, label, dim = (blob[i] for blob in blobs)
        size, blob_size = image.shape[:2], label.shape[1:]
        if not self.transform.crop[0] and size != blob_size:
            raise self._error(
                entry,
                f"'{self._path(entry.image)}' is {size[0]} x {size[1]} (height x width), but without crop_size "
                f"all images must have the first one's {blob_size[0]} x {blob_size[1]}",
            )
        image = self.transform.distorted(image, words)
        factor = self.transform.factor(words)
        if factor != 1:
            # A product of two float32, as in the original.
            height, width = (int(np.float32(length) * np.float32(factor)) for length in size)
            if min(height, width) < 1:
                raise self._error(entry, f"nothing is left of {size[0]} x {size[1]} pixels scaled by {factor:g}")
            image, labels = resize_bilinear(image, height, width), resize_nearest(labels, height, width)
        placement = self.transform.place(image.shape[0], image.shape[1], words)
        self.transform.image_into(image, placement, data)
        self.transform.label_into(labels, placement, label[0], self.config.ignore_label)
        dim[0, 0] = min(blob_size[0], size[0]), min(blob_size[1], size[1])

    def _flat_label(self, entry: ListEntry) -> int:
        if self.config.label_type != "IMAGE":
            return self.config.ignore_label
        # Like atoi: the digits before the first other character; the released test lists have a path here.
        digits = re.match(r"[+-]?\d+", entry.label, re.ASCII)
        # Ten of them say enough: Python refuses to read thousands.
        label = int(digits.group()[:10]) if digits else 0
        if not 0 <= label <= 255:
            raise DataError(f"an image label must be from 0 to 255, got {label}", self._path(entry.image))
        return label

    def _path(self, name: str) -> str:
        return self.config.root_folder + name

    def _error(self, entry: ListEntry, message: str) -> DataError:
        return DataError(message, self.config.source, entry.line)
