"""IMAGE_SEG_DATA: batches of photographs, label maps and sizes from a list file (layers/image_seg_data_layer.cpp)."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from deeplab_caffe.data.image_seg_config import ImageSegDataConfig
from deeplab_caffe.data.images import load_grey, load_image, load_label
from deeplab_caffe.data.lists import ListEntry, read_image_list
from deeplab_caffe.data.resize import resize_bilinear
from deeplab_caffe.data.rng import CaffeRNG
from deeplab_caffe.data.transform import Phase, SegTransform
from deeplab_caffe.errors import DataError


class ImageSegData:
    """The source of IMAGE_SEG_DATA's batches.

    Random words are drawn from ``rng`` when and as often as the original draws them from its global generator: one at
    set-up for shuffling, one for ``rand_skip``, and, where images are mirrored or cropped at random, one at set-up, one
    for the first batch, and one at the end of every batch for the next (base_data_layer.cpp:26,49). So batch k of a net
    that is built after ``set_random_seed`` is the original's.

    Args:
        config: the parameters.
        phase: ``"TRAIN"`` or ``"TEST"``.
        rng: the net's generator; None makes one with a seed from the operating system.

    Raises:
        DataError: if the list cannot be read.
    """

    def __init__(self, config: ImageSegDataConfig, phase: Phase, rng: CaffeRNG | None = None) -> None:
        if phase not in ("TRAIN", "TEST"):
            raise ValueError(f"phase must be TRAIN or TEST, got {phase!r}")
        self.config = config
        self.transform = SegTransform(phase, config.crop_size, config.mirror, config.mean_value, config.scale)
        self.entries = read_image_list(config.source, label_required=config.label_type == "PIXEL")
        self._rng = rng or CaffeRNG()
        self._order = np.arange(len(self.entries))
        self._shuffler: CaffeRNG | None = None
        if config.shuffle:
            self._shuffler = CaffeRNG(self._rng.word())
            self._shuffler.shuffle(self._order)
        self._next = 0
        if config.rand_skip:
            self._next = self._rng.rand(config.rand_skip)
            if self._next >= len(self.entries):
                raise DataError(
                    f"not enough points to skip: {len(self.entries)}, to be skipped {self._next}", config.source
                )
        self._size: tuple[int, int] | None = None
        self._seed = 0
        self._draw_seed()
        self._draw_seed()

    @classmethod
    def from_param(cls, layer_param: Any, phase: Phase, rng: CaffeRNG | None = None, **options: Any) -> ImageSegData:
        """Build it from a LayerParameter message, see :meth:`ImageSegDataConfig.from_param` for the options.

        Raises:
            NetError: if a parameter has no meaning here.
            DataError: if the list cannot be read.
        """
        return cls(ImageSegDataConfig.from_param(layer_param, **options), phase, rng)

    def __len__(self) -> int:
        """How many images the list holds."""
        return len(self.entries)

    def shapes(self) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
        """Shapes of the three blobs: data ``(N, C, H, W)``, label ``(N, 1, H, W)``, dim ``(N, 1, 1, 2)``.

        Without ``crop_size`` and without resizing the size is that of the first image, which is then read.
        """
        count = self.config.batch_size
        height, width = self._blob_size()
        return (count, self.config.channels, height, width), (count, 1, height, width), (count, 1, 1, 2)

    def next_batch(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Read the next batch; the list starts again at its end, within a batch if need be.

        Returns:
            data float32 ``(N, C, H, W)``, label float32 ``(N, 1, H, W)``, and dim float32 ``(N, 1, 1, 2)``: height and
            width of what is image and not padding, ``min(blob's, image's)``.

        Raises:
            DataError: naming line and list, if an image or label map cannot be read or their sizes differ.
        """
        data, label, dim = (np.empty(shape, np.float32) for shape in self.shapes())
        words = CaffeRNG(self._seed) if self.transform.needs_rand else None
        for item in range(self.config.batch_size):
            entry = self.entries[self._order[self._next]]
            drawn = words.words(self.transform.words_per_image) if words else []
            self._read_into(entry, drawn, data[item], label[item, 0], dim[item, 0, 0])
            self._advance()
        self._draw_seed()
        return data, label, dim

    def state_dict(self) -> dict[str, Any]:
        """Where the source stands in its list, for resuming: plain numbers and arrays.

        The state of the net's generator is not in it: that is the net's.
        """
        return {
            "next": self._next,
            "order": self._order.copy(),
            "seed": self._seed,
            "shuffler": self._shuffler.state_dict() if self._shuffler else None,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where :meth:`state_dict` was taken.

        Raises:
            DataError: if the state belongs to another list, or to another setting of ``shuffle``.
        """
        order = np.asarray(state["order"], dtype=self._order.dtype)
        if not np.array_equal(np.sort(order), np.arange(len(self.entries))) or not 0 <= state["next"] < len(order):
            raise DataError(f"the saved position is of another list of {len(order)} images", self.config.source)
        if (state["shuffler"] is not None) != self.config.shuffle:
            raise DataError("the saved position has another setting of shuffle", self.config.source)
        self._order, self._next, self._seed = order.copy(), int(state["next"]), int(state["seed"])
        if self._shuffler:
            self._shuffler.load_state_dict(state["shuffler"])

    def _draw_seed(self) -> None:
        """DataTransformer::InitRand: a word of the net's generator seeds the one that places the next batch."""
        if self.transform.needs_rand:
            self._seed = self._rng.word()

    def _advance(self) -> None:
        self._next += 1
        if self._next == len(self.entries):
            self._next = 0
            if self._shuffler:
                self._shuffler.shuffle(self._order)

    def _blob_size(self) -> tuple[int, int]:
        if self._size is None:
            config = self.config
            if config.crop_size:
                self._size = (config.crop_size, config.crop_size)
            elif config.new_height:
                self._size = (config.new_height, config.new_width)
            else:
                image, _ = self._read(self.entries[self._order[self._next]], with_label=False)
                self._size = image.shape[:2]
        return self._size

    def _read_into(
        self, entry: ListEntry, words: list[int], data: np.ndarray, label: np.ndarray, dim: np.ndarray
    ) -> None:
        image, labels = self._read(entry)
        size, blob_size = image.shape[:2], label.shape
        if not self.config.crop_size and size != blob_size:
            raise self._error(
                entry,
                f"'{self._path(entry.image)}' is {size[0]} x {size[1]} (height x width), but without crop_size "
                f"all images must have the first one's {blob_size[0]} x {blob_size[1]}",
            )
        placement = self.transform.place(*size, words)
        self.transform.image_into(image, placement, data)
        self.transform.label_into(labels, placement, label, self.config.ignore_label)
        dim[:] = min(blob_size[0], size[0]), min(blob_size[1], size[1])

    def _read(self, entry: ListEntry, with_label: bool = True) -> tuple[np.ndarray, np.ndarray]:
        """Image and label map of one line, resized if so asked."""
        config = self.config
        load = load_image if config.is_color else load_grey
        label = None
        try:
            image = load(self._path(entry.image), exif_orientation=config.exif_orientation)
            if with_label and config.label_type == "PIXEL":
                label = load_label(self._path(entry.label), reading=config.label_reading)
                if label.shape != image.shape[:2]:
                    raise DataError(
                        f"the label map is {label.shape[0]} x {label.shape[1]} (height x width), its image "
                        f"'{self._path(entry.image)}' {image.shape[0]} x {image.shape[1]}",
                        self._path(entry.label),
                    )
            flat_label = self._flat_label(entry)
        except DataError as exc:
            raise self._error(entry, str(exc)) from exc
        if config.new_height:
            image = resize_bilinear(image, config.new_height, config.new_width)
            if label is not None:
                label = resize_bilinear(label, config.new_height, config.new_width)
        if label is None:
            label = np.broadcast_to(np.uint8(flat_label), image.shape[:2])
        return image, label

    def _flat_label(self, entry: ListEntry) -> int:
        if self.config.label_type != "IMAGE":
            return self.config.ignore_label
        # atoi: what leads up to the first character that is no digit; the released test lists have a path here.
        digits = re.match(r"[+-]?\d+", entry.label, re.ASCII)
        label = int(digits.group()) if digits else 0
        if not 0 <= label <= 255:
            raise DataError(f"an image label must be from 0 to 255, got {label}", self._path(entry.image))
        return label

    def _path(self, name: str) -> str:
        return self.config.root_folder + name

    def _error(self, entry: ListEntry, message: str) -> DataError:
        return DataError(message, self.config.source, entry.line)
