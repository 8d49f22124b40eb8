"""The segmentation of one image: :class:`Segmentation`."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch

from deeplab_caffe import viz
from deeplab_caffe.data.areas import Area, class_areas
from deeplab_caffe.data.classes import Classes
from deeplab_caffe.net.head import activated

# Smaller regions are mostly noise at boundaries: 187 pixels of 500 x 375.
MIN_SHARE = 0.001
# Each label's name is then made of its number.
WITHOUT_NAMES = Classes((), viz.VOC_COLORMAP)


@dataclasses.dataclass(frozen=True)
class Segmentation:
    """The segmentation of one image.

    Attributes:
        labels: uint8 (H, W): the best class of each pixel.
        scores: float32 (C, H, W): the network's output at the image's size.
        marginals: float32 (C, H, W): probabilities after the CRF; None without a CRF. For a net with a single channel,
            the foreground's: (2, H, W), background and foreground.
        activation: function from scores to probabilities: ``"softmax"``; ``"sigmoid"`` for a single channel;
            ``"none"`` if the net ends in SOFTMAX or SIGMOID; ``"exp"`` for logarithms.
        classes: names and colours of the labels; by default ``class 0``, ``class 1``, ... in PASCAL VOC's colours.
    """

    labels: np.ndarray
    scores: np.ndarray
    marginals: np.ndarray | None = None
    activation: str = "softmax"
    classes: Classes = WITHOUT_NAMES

    def probabilities(self) -> np.ndarray:
        """Return the marginals, or without a CRF the network's probabilities: float32 (C, H, W)."""
        if self.marginals is not None:
            return self.marginals
        return activated(torch.from_numpy(self.scores)[None], self.activation)[0].numpy()

    def overlay(
        self,
        image: np.ndarray,
        *,
        colormap: np.ndarray | None = None,
        alpha: float = 0.5,
        outlines: bool = True,
        legend: bool = True,
    ) -> np.ndarray:
        """Return the image blended with the colours of its classes, as :mod:`deeplab_caffe.viz` draws it.

        Args:
            image: uint8 RGB (H, W, 3), the image that was segmented.
            colormap: uint8 RGB (K, 3), the colours; None: the classes' colours.
            alpha: weight of the colours, from 0 (only the photograph) to 1 (only the colours).
            outlines: draw the boundaries between classes as a light line beside a dark one.
            legend: add the names and shares of the classes that occur, below or beside the picture.

        Returns:
            uint8 RGB (H, W, 3); larger with a legend, with the picture in its top left corner.

        Raises:
            ValueError: the image does not have the labels' size, or alpha is not from 0 to 1.
        """
        classes = self.classes
        colours = classes.colormap if colormap is None else colormap
        ignored = self._ignore_label
        picture = viz.overlay(image, self.labels, colours, alpha, ignored)
        if outlines:
            picture = viz.outlined(picture, self.labels, ignore_label=ignored)
        if legend:
            picture = viz.annotated(picture, self.labels, classes.names, colours, ignore_label=ignored)
        return picture

    def areas(self, min_share: float | None = MIN_SHARE) -> list[Area]:
        """Return pixels, share and boxes of each class that occurs, the largest class first.

        Args:
            min_share: connected regions with at least this share of the image (0 to 1) get a box; None: no boxes.

        Raises:
            ValueError: ``min_share`` is not from 0 to 1.
        """
        return class_areas(self.labels, self.classes.names, ignore_label=self._ignore_label, min_share=min_share)

    def to_json(self, min_share: float = MIN_SHARE) -> dict[str, Any]:
        """Return :meth:`areas` as values for ``json.dumps``.

        ``size`` is the image's (width, height), ``share`` is from 0 to 1, and ``boxes`` have x, y, width and height, in
        pixels: ``{"size": [4, 2], "classes": [{"id": 1, "name": "cat", "pixels": 6, "share": 0.75, "boxes": [[0, 0, 3,
        2]]}]}``.
        """
        height, width = self.labels.shape
        return {
            "size": [width, height],
            "classes": [
                {
                    "id": area.label,
                    "name": area.name,
                    "pixels": area.pixels,
                    "share": round(area.share, 6),
                    "boxes": [list(box) for box in area.boxes],
                }
                for area in self.areas(min_share)
            ],
        }

    @property
    def _ignore_label(self) -> int | None:
        """Return 255, unless it is a class of the network."""
        return 255 if len(self.scores) <= 255 else None
