"""From photograph to label map: :class:`Segmenter`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from os import PathLike

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from deeplab_caffe.crf import CRFParams, dense_crf
from deeplab_caffe.data.sources.transform import IMAGENET_MEAN_BGR
from deeplab_caffe.devices import available_memory, resolve_device
from deeplab_caffe.errors import NetError
from deeplab_caffe.multi_scale import Views, average_views
from deeplab_caffe.net import Net
from deeplab_caffe.net_ends import Ending, last_interp, takes_weights_dtype
from deeplab_caffe.ops.argmax import argmax_labels
from deeplab_caffe.ops.interp import interp
from deeplab_caffe.ops.preprocess import as_tensor, preprocess
from deeplab_caffe.proto import caffe_pb2
from deeplab_caffe.sides import fit_side


@dataclasses.dataclass(frozen=True)
class Segmentation:
    """What a network says of one image.

    Attributes:
        labels: uint8 (H, W): the best class of each pixel.
        scores: float32 (C, H, W): the network's scores at the image's size.
        marginals: float32 (C, H, W): probabilities after the CRF, or None without one.
    """

    labels: np.ndarray
    scores: np.ndarray
    marginals: np.ndarray | None = None

    def probabilities(self) -> np.ndarray:
        """The marginals, or without a CRF the softmax of the scores: float32 (C, H, W)."""
        if self.marginals is not None:
            return self.marginals
        return torch.softmax(torch.from_numpy(self.scores), dim=0).numpy()


class Segmenter:
    """A network and, if wanted, a dense CRF behind it: RGB image in, labels out, any size.

    The image is padded at the bottom and right with the mean, as IMAGE_SEG_DATA pads it, until the network's output
    covers it (sides of 8 k + 1 for a stride of 8), and the scores are cut back to the image. Where several classes
    share the best score the largest wins, as in the ARGMAX layer; where they share the best marginal, the smallest, as
    in the densecrf programs.

    Args:
        prototxt: a deploy prototxt: one image input (N, 3, H, W); or a NetParameter.
        weights: a caffemodel; None leaves the fillers' values.
        crf: parameters of the dense CRF; None for none.
        device: ``"auto"`` (a GPU if there is one), ``"cpu"``, ``"cuda"`` or ``"cuda:1"``.
        mean: what to subtract from B, G and R.
        blob: name of the blob that holds the scores; by default the net's one output.
        crop_size: pad every image to at least this side first, as the released test.prototxt does with 513.
        max_side: images with a longer side are worked on at this size, and their labels brought back to full size.
        scales: factors of the image's sides to look at it with, (0.5, 0.75, 1) say.
        flip: look at the mirrored image too.
        window: cut images that are larger into windows of this side, 513 say.
        stride: pixels from one window to the next; by default two thirds of the window. With more than one view of a
            pixel the softmax probabilities are averaged, and their logarithm is what ``scores`` holds.
        dtype: torch.float32 or torch.bfloat16, see :class:`deeplab_caffe.Net`.
        channels_last: see :class:`deeplab_caffe.Net`.
        variables: values for ``${NAME}`` in the prototxt.

    Raises:
        PrototxtError: the prototxt cannot be read.
        CaffeModelError: the caffemodel cannot be read.
        NetError: the weights are of another network, or the net is no segmentation network.
    """

    def __init__(
        self,
        prototxt: str | PathLike[str] | caffe_pb2.NetParameter,
        weights: str | PathLike[str] | None,
        *,
        crf: CRFParams | None = None,
        device: str = "auto",
        mean: tuple[float, float, float] = IMAGENET_MEAN_BGR,
        blob: str | None = None,
        crop_size: int | None = None,
        max_side: int | None = None,
        scales: Sequence[float] = (1.0,),
        flip: bool = False,
        window: int | None = None,
        stride: int | None = None,
        dtype: torch.dtype = torch.float32,
        channels_last: bool = False,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self.crf = crf
        self.mean = mean
        self.device = resolve_device(device)
        self.crop_size = crop_size or 1
        self.max_side = max_side
        self.views = Views(tuple(scales), flip, window, stride)
        self.net = Net(prototxt, weights, "TEST", variables=variables, dtype=dtype, channels_last=channels_last)
        if len(self.net.inputs) != 1:
            raise NetError(
                f"a segmenter needs a net with one input, a deploy prototxt; '{self.net.name}' has "
                f"{', '.join(self.net.inputs) or 'none, but data layers'}"
            )
        self.input = self.net.inputs[0]
        if self.net.blob_shapes[self.input][1] != 3:
            raise NetError(f"input '{self.input}' must have 3 channels, it has {self.net.blob_shapes[self.input][1]}")
        self.blob = blob or self._one_output()
        if self.blob not in self.net.blob_shapes:
            raise NetError(f"the net has no blob '{self.blob}'; it has {', '.join(self.net.blob_shapes)}")
        self.net.to(self.device)
        self._last_interp = last_interp(self.net, self.blob)
        self._padded: dict[int, tuple[int, int]] = {}

    def _one_output(self) -> str:
        if len(self.net.outputs) != 1:
            raise NetError(f"the net has outputs {', '.join(self.net.outputs) or '-'}: say which blob holds the scores")
        return self.net.outputs[0]

    @property
    def num_classes(self) -> int:
        """Channels of the scores."""
        return self.net.blob_shapes[self.blob][1]

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Labels of an image.

        Args:
            image: uint8 RGB (H, W, 3).

        Returns:
            uint8 (H, W).

        Raises:
            NetError: not such an image, or too large for the memory there is.
        """
        small = self._reduced(_checked(image))
        if self._straight_to_labels(small):
            labels = self._ending([small]).labels()[0]
        else:
            labels, _, _ = self._found(small)
        return _brought_back(labels.cpu().numpy(), image)

    def batch(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Labels of several images of one size, which go through the network together where there is no CRF and but one
        view of each.

        The labels of calling it for each, up to the last bits of scores: convolutions may sum in another order.

        Args:
            images: uint8 RGB (H, W, 3) each, or an array (N, H, W, 3).

        Returns:
            uint8 (N, H, W).

        Raises:
            NetError: no images, images of several sizes, and as for calling it.
        """
        shapes = {_checked(image).shape for image in images}
        if len(shapes) != 1:
            sizes = ", ".join(f"{height}x{width}" for height, width, _ in sorted(shapes)) or "none"
            raise NetError(f"a batch needs images of one size, got {sizes}")
        small = [self._reduced(image) for image in images]
        if not self._straight_to_labels(small[0]):
            return np.stack([self(image) for image in images])
        return np.stack([_brought_back(found, images[0]) for found in self._ending(small).labels().cpu().numpy()])

    def segment(self, image: np.ndarray) -> Segmentation:
        """Labels, scores and marginals of an image; arguments and errors as for calling it.

        With ``max_side``, scores and marginals are at the reduced size, labels at the full one.
        """
        labels, *rest = (
            None if one is None else one.cpu().numpy() for one in self._found(self._reduced(_checked(image)))
        )
        return Segmentation(_brought_back(labels, image), *rest)

    def _found(self, image: np.ndarray) -> tuple[Tensor, Tensor, Tensor | None]:
        """Labels, scores, and marginals where there is a CRF, on the device."""
        scores = self._scores(image)
        if self.crf is None:
            return argmax_labels(scores[None], ties="last")[0], scores, None
        marginals = dense_crf(scores, image, self.crf)
        return argmax_labels(marginals[None], ties="first")[0], scores, marginals

    def scores(self, image: np.ndarray) -> np.ndarray:
        """The network's scores: float32 (C, H, W); arguments and errors as for calling it."""
        return self._scores(self._reduced(_checked(image))).cpu().numpy()

    def _reduced(self, image: np.ndarray) -> np.ndarray:
        side = max(image.shape[:2])
        if self.max_side is None or side <= self.max_side:
            return image
        height, width = (max(1, round(size * self.max_side / side)) for size in image.shape[:2])
        return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))

    @torch.no_grad()
    def _scores(self, image: np.ndarray) -> Tensor:
        if self.views.is_single(*image.shape[:2]):
            return self._one_view(image)
        return average_views(image, self.views, lambda view: self._ending([view]).probabilities()[0])

    def _one_view(self, image: np.ndarray) -> Tensor:
        height, width = image.shape[:2]
        (in_height, out_height), (in_width, out_width) = self._fit(height), self._fit(width)
        found = self.net(self._input([image], in_height, in_width), blobs=[self.blob])
        scores = found[self.blob].float()
        if (out_height, out_width) != (in_height, in_width):
            # A net that ends at its own stride, without INTERP: corners lie on corners.
            scores = interp(scores, height=in_height, width=in_width)
        return scores[0, :, :height, :width].contiguous()

    def _straight_to_labels(self, image: np.ndarray) -> bool:
        return self.crf is None and self.views.is_single(*image.shape[:2])

    @torch.no_grad()
    def _ending(self, images: Sequence[np.ndarray]) -> Ending:
        """What stands for :meth:`_one_view`'s scores of images of one size, but for their last resize."""
        height, width = images[0].shape[:2]
        (in_height, out_height), (in_width, out_width) = self._fit(height), self._fit(width)
        blob = self._input(images, in_height, in_width)
        fits = (out_height, out_width) == (in_height, in_width)
        if fits and self._last_interp is not None:
            return self._last_interp.ending(self.net, blob, (height, width))
        scores = self.net(blob, blobs=[self.blob])[self.blob].float()
        return Ending(scores, None if fits else (in_height, in_width), (0, 0), (height, width))

    def _input(self, images: Sequence[np.ndarray], height: int, width: int) -> Tensor:
        """The net's input. Only bytes go to the device."""
        self._check_memory(len(images), height, width)
        pixels = [as_tensor(image).to(self.device, non_blocking=True) for image in images]
        return preprocess(
            pixels,
            mean=self.mean,
            size=(height, width),
            dtype=takes_weights_dtype(self.net, self.input),
            channels_last=self.net.context.channels_last,
        )

    def _fit(self, size: int) -> tuple[int, int]:
        """The smallest input side that holds ``size`` and gives an output of that side; and the output side."""
        if size not in self._padded:

            def output_side(side: int) -> int:
                return self.net.infer_shapes(**{self.input: (1, 3, side, side)})[self.blob][2]

            try:
                self._padded[size] = fit_side(max(size, self.crop_size), output_side)
            except NetError:
                raise NetError(f"an image side of {size} pixels is too small for net '{self.net.name}'") from None
        return self._padded[size]

    def _check_memory(self, count: int, height: int, width: int) -> None:
        needed = self.net.activation_bytes(self.net.infer_shapes(**{self.input: (count, 3, height, width)}))
        available = available_memory(self.device)
        if available is not None and needed > available:
            what = f"{count} images" if count > 1 else "an image"
            raise NetError(
                f"{what} of {width}x{height} needs about {needed / 2**30:.1f} GiB on {self.device}, "
                f"{available / 2**30:.1f} GiB are free: set max_side to work at a smaller size, "
                f"or window to work piece by piece"
            )


def _brought_back(labels: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Labels of a reduced image at the size of the image itself."""
    if labels.shape == image.shape[:2]:
        return labels
    full = Image.fromarray(labels).resize((image.shape[1], image.shape[0]), Image.Resampling.NEAREST)
    return np.asarray(full)


def _checked(image: np.ndarray) -> np.ndarray:
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        came = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        raise NetError(f"expected a uint8 RGB image (H, W, 3), got {came}")
    if 0 in image.shape:
        raise NetError(f"the image is empty: {image.shape}")
    return image
