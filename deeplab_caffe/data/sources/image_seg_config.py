"""The parameters of IMAGE_SEG_DATA."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from deeplab_caffe.data.io.images import LABEL_READINGS, LabelReading
from deeplab_caffe.data.sources.distort import NO_DISTORTION, Distortion
from deeplab_caffe.data.sources.transform import crop_of, validate_means
from deeplab_caffe.errors import NetError

# ImageDataParameter.LabelType of the v1 caffe.proto.
LABEL_TYPES = ("NONE", "IMAGE", "PIXEL")

LABEL_READING_VARIABLE = "DEEPLAB_CAFFE_LABEL_READING"


@dataclass(frozen=True)
class ImageSegDataConfig:
    """The values of ImageDataParameter and TransformationParameter, with Caffe's defaults.

    Attributes:
        source: the list file, with lines "image label".
        batch_size: images per batch.
        root_folder: text that is put before every name, without a separator.
        label_type: ``"PIXEL"``: the second word names a label map; ``"IMAGE"``: it is the label of all pixels (what
            ``atoi`` returns: 0 without digits); ``"NONE"``: all pixels get ``ignore_label``.
        ignore_label: value of padding, 0 to 255.
        new_height: resize images and label maps, both bilinearly, to this height; 0: do not resize.
        new_width: as ``new_height``; both or neither must be set.
        is_color: False: read images in grey, into one channel.
        shuffle: shuffle the list at the start and at the end of every epoch.
        rand_skip: start at a random line below this number.
        crop_size: side of the square crop; 0: the blobs have the size of the first image.
        crop_pair: (height, width) of the crop, instead of ``crop_size``.
        scale_factors: one of these factors, drawn at random, resizes each image before the crop; empty: none.
        distortion: random changes of each image's colours, before it is scaled.
        mirror: mirror half of the images at random.
        mean_value: one value, or one per channel in B, G, R order.
        scale: factor after the mean is subtracted.
        label_reading: how palette label maps are read, see :func:`deeplab_caffe.data.load_label`.
        exif_orientation: turn photographs by their EXIF tag. Label maps are never turned.
    """

    source: str
    batch_size: int = 1
    root_folder: str = ""
    label_type: str = "IMAGE"
    ignore_label: int = 255
    new_height: int = 0
    new_width: int = 0
    is_color: bool = True
    shuffle: bool = False
    rand_skip: int = 0
    crop_size: int = 0
    mirror: bool = False
    mean_value: tuple[float, ...] = ()
    scale: float = 1.0
    crop_pair: tuple[int, int] = (0, 0)
    scale_factors: tuple[float, ...] = ()
    distortion: Distortion = NO_DISTORTION
    label_reading: LabelReading = "index"
    exif_orientation: bool = False

    def __post_init__(self) -> None:
        if not self.source:
            raise NetError("image_data_param needs a source")
        if self.batch_size < 1:
            raise NetError(f"batch_size must be positive, got {self.batch_size}")
        validate_new_size(self.new_height, self.new_width)
        if self.scale_factors and not self.crop_size and not self.crop_pair[0]:
            raise NetError("scale_factors need crop_size, or crop_height and crop_width")
        if any(not factor > 0 for factor in self.scale_factors):
            raise NetError(f"scale_factors must be positive, got {self.scale_factors}")
        if self.label_type not in LABEL_TYPES:
            raise NetError(f"label_type must be one of {', '.join(LABEL_TYPES)}, got {self.label_type!r}")
        if not 0 <= self.ignore_label <= 255:
            raise NetError(f"ignore_label must be from 0 to 255, as labels are bytes, got {self.ignore_label}")
        if self.label_reading not in LABEL_READINGS:
            raise NetError(f"label_reading must be one of {', '.join(LABEL_READINGS)}, got {self.label_reading!r}")
        validate_means(self.mean_value, self.channels)

    @property
    def channels(self) -> int:
        """Return the number of channels of the data blob."""
        return 3 if self.is_color else 1

    @classmethod
    def from_param(
        cls, layer_param: Any, *, label_reading: LabelReading | None = None, exif_orientation: bool = False
    ) -> ImageSegDataConfig:
        """Read a LayerParameter message with ``image_data_param`` and ``transform_param``.

        Args:
            layer_param: the message; fields are read by name.
            label_reading: None: the environment variable ``DEEPLAB_CAFFE_LABEL_READING``, else ``"index"``.
            exif_orientation: as the attribute.

        Raises:
            NetError: a parameter has no meaning here; the message names the layer.
        """
        image, transform = layer_param.image_data_param, layer_param.transform_param
        reading = label_reading or os.environ.get(LABEL_READING_VARIABLE) or "index"
        try:
            if transform.mean_file:
                raise NetError("IMAGE_SEG_DATA does not support mean_file, use mean_value")
            return cls(
                source=image.source,
                batch_size=image.batch_size,
                root_folder=image.root_folder,
                label_type=LABEL_TYPES[image.label_type],
                ignore_label=image.ignore_label,
                new_height=image.new_height,
                new_width=image.new_width,
                is_color=image.is_color,
                shuffle=image.shuffle,
                rand_skip=image.rand_skip,
                crop_size=transform.crop_size,
                crop_pair=crop_of(transform) if transform.crop_height or transform.crop_width else (0, 0),
                scale_factors=tuple(transform.scale_factors),
                distortion=Distortion.from_param(transform),
                mirror=transform.mirror,
                mean_value=tuple(transform.mean_value),
                scale=transform.scale,
                label_reading=reading,  # type: ignore[arg-type]  # __post_init__ looks at it
                exif_orientation=exif_orientation,
            )
        except NetError as exc:
            raise NetError(str(exc), layer_param.name) from None


def validate_new_size(height: int, width: int) -> None:
    """Validate that both ``new_height`` and ``new_width`` are given, or neither.

    Raises:
        NetError: only one is given.
    """
    if (height > 0) != (width > 0):
        raise NetError(f"new_height and new_width go together, got {height} and {width}")
