"""Segment photographs: :class:`Segmenter`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from os import PathLike, fspath
from reprlib import repr as short_repr
from typing import Any

import numpy as np
import torch
from torch import Tensor

from deeplab_caffe.arguments import truth, whole_number
from deeplab_caffe.arrays import file_advice, is_torch, to_numpy
from deeplab_caffe.arrays.memory import available_memory
from deeplab_caffe.crf import CRFParams, ParamsLike
from deeplab_caffe.crf.colours import Range, as_image_range
from deeplab_caffe.crf.inputs import Kind, as_kind, shape_advice
from deeplab_caffe.crf.place import backend_for
from deeplab_caffe.data.classes import Classes, model_classes
from deeplab_caffe.errors import CRFError, NetError
from deeplab_caffe.inference import OptimizedNet
from deeplab_caffe.layers import Shape
from deeplab_caffe.net import Net, PrecisionName
from deeplab_caffe.net.graph import Graph
from deeplab_caffe.net.head import HeadRunner, Output
from deeplab_caffe.net.passes import lower, with_activation
from deeplab_caffe.ops.preprocess import as_tensor
from deeplab_caffe.ops.sizes import three_means
from deeplab_caffe.proto import caffe_pb2
from deeplab_caffe.segmentation.finish import LEAST_SIDE, brought_back, reduced, segmentation_of, wanted_of
from deeplab_caffe.segmentation.network import Network, network_of
from deeplab_caffe.segmentation.result import Segmentation
from deeplab_caffe.segmentation.views import Views, average_views

# Larger numbers are infinite in float32.
LARGEST_MEAN = torch.finfo(torch.float32).max
_MOST_AT_ONCE = 8
# Number of image sizes for which the net's input and activations are remembered.
_MOST_ESTIMATES = 256


class Segmenter:
    """A network, optionally followed by a dense CRF: takes RGB images of any size and returns labels.

    The image is padded with the mean at the bottom and right, as by IMAGE_SEG_DATA, until the network's output covers
    it (sides of 8 k + 1 for a stride of 8), and the scores are cropped to the image. If several classes have the best
    score, the largest class wins, as in the ARGMAX layer; if several have the best marginal, the smallest class wins,
    as in the densecrf programs. :mod:`deeplab_caffe.net.head` documents nets that end in SOFTMAX, SIGMOID or ARGMAX, or
    have a single channel.

    At the first image the net is optimized by :func:`deeplab_caffe.optimize`, without autotuning and CUDA graphs, which
    pay off only for many images of one size; for those, pass an optimized net. The weights of :attr:`net` are then
    freed, so that they are not in memory twice, and whatever needs them, such as saving the net, raises a NetError. To
    keep them, build a net by :class:`deeplab_caffe.Net` and pass it, or give ``optimize=False``.

    A segmenter can be pickled and copied by ``copy.deepcopy``, for processes of multiprocessing or Ray, say, and then
    gives the same bits. Before the first image, and with ``optimize=False``, its weights go along; after it the copy
    reads the prototxt and the weights' file again, if there was one and nobody changed the net, else it is a TypeError.

    Args:
        prototxt: path of a deploy prototxt with one image input (N, 3, H, W); or a NetParameter. Or a built
            :class:`Net`, which is run as it is and follows changes of its weights, unless ``optimize`` is True. Or an
            optimized net.
        weights: a caffemodel, safetensors or state_dict file; None leaves the fillers' values.
        crf: parameters of the dense CRF in a form that :meth:`CRFParams.of` accepts, such as a preset's name; None for
            no CRF.
        device: ``"auto"`` (a GPU if there is one), ``"cpu"``, ``"cuda"`` or ``"cuda:1"``. A built net stays on its
            device.
        mean: values to subtract from B, G and R; None: the net's, :attr:`deeplab_caffe.Net.mean_value`.
        blob: name of the blob with the scores; by default the net's only output.
        crop_size: pad every image to at least this side first, as the released test.prototxt does with 513.
        max_side: reduce images with a longer side to this side, at least 8, and resize their labels back to full size.
        scales: factors of the image's sides, for testing at several scales, for example (0.5, 0.75, 1).
        flip: use the mirrored image too.
        window: cut larger images into windows of this side, for example 513.
        stride: pixels from one window to the next; by default two thirds of the window. If a pixel is in several views,
            their probabilities are averaged, and ``scores`` has the logarithm of the mean.
        dtype: ``"float32"`` or ``"bfloat16"``, or the torch.dtype; see :class:`deeplab_caffe.Net`.
        channels_last: see :class:`deeplab_caffe.Net`; an optimized net always is channels-last.
        engine: see :class:`deeplab_caffe.Net`.
        seed: see :class:`deeplab_caffe.Net`.
        optimize: False: run the net layer by layer, with the same bits as ``Net``. None: optimize it if the device
            supports it.
        precision: ``"fast"``: allow larger rounding errors of float32 convolutions on the CPU, for speed; see
            :func:`deeplab_caffe.optimize`.
        variables: values for ``${NAME}`` in the prototxt.
        kind: what the net's output is, ``"scores"`` or ``"probabilities"``, see :func:`deeplab_caffe.crf.dense_crf`.
            None: decided by its last layer, and the CRF raises an error if scores are clearly of another kind.
        image_range: (black, white) of the images, for example ``(0, 1)``; they are rounded to 256 levels. None: whole
            numbers from 0 to 255.
        classes: names and colours of the classes, in a form that :func:`deeplab_caffe.data.classes.find_classes`
            accepts. None: those of ``classes.txt`` beside the weights or the prototxt; else PASCAL VOC's for 21
            classes; else ``class 0``, ``class 1``, ...
        python_layers: let layers of type Python run their code; see :class:`deeplab_caffe.Net`.

        net: the net, unless an optimized one was passed; without its weights from the first image on, see above.
        classes: names and colours of the labels.
        num_classes: number of labels: the scores' channels, or 2 for a single channel, the foreground's.

    Raises:
        PrototxtError: the prototxt cannot be read.
        CaffeModelError: the caffemodel cannot be read.
        NetError: the weights are of another network, the net is not a segmentation network, or an argument is not as
            described.
        EvaluationError: the names of the classes cannot be read, or their number is not the net's number of classes.
    """

    def __init__(
        self,
        prototxt: str | PathLike[str] | caffe_pb2.NetParameter | Net | OptimizedNet,
        weights: str | PathLike[str] | None = None,
        *,
        crf: ParamsLike = None,
        kind: Kind | None = None,
        image_range: Range | None = None,
        device: str | torch.device = "auto",
        mean: tuple[float, float, float] | None = None,
        blob: str | None = None,
        crop_size: int | None = None,
        max_side: int | None = None,
        scales: Sequence[float] = (1.0,),
        flip: bool = False,
        window: int | None = None,
        stride: int | None = None,
        dtype: torch.dtype | str = torch.float32,
        channels_last: bool = False,
        engine: str | None = None,
        seed: int | None = None,
        optimize: bool | None = None,
        precision: PrecisionName = "strict",
        variables: Mapping[str, str] | None = None,
        classes: str | PathLike[str] | Sequence[str] | Classes | None = None,
        python_layers: bool = False,
    ) -> None:
        self.crf = None if crf is None else CRFParams.of(crf)
        self.kind = as_kind(kind)
        if kind == "energies":
            raise NetError("kind must be scores or probabilities: of a net that puts out energies take the negatives")
        self.image_range = as_image_range(image_range)
        self.crop_size = max(1, _side("crop_size", crop_size, 0) or 0)
        self.max_side = _side("max_side", max_side, LEAST_SIDE)
        self.views = Views(scales, flip, window, stride)
        if optimize is not None:
            optimize = truth("optimize", optimize, NetError)
        self._network = network_of(
            prototxt,
            weights,
            blob=blob,
            device=device,
            optimize=optimize,
            precision=precision,
            variables=variables,
            engine=engine,
            dtype=dtype,
            channels_last=channels_last,
            seed=seed,
            python_layers=python_layers,
        )
        self.device = self._network.device
        self.mean = self._network.mean_value if mean is None else mean
        _validate_mean(self.mean)
        self.input, shape = _one_image_input(self._network)
        self.blob = blob or _one_output(self._network.graph)
        # The net's input and the bytes of its activations, by number and size of images.
        self._estimates: dict[tuple[int, ...], tuple[tuple[int, int], int]] = {}
        self._make_runner(channels_last)
        no_crf = self._runner.head.no_crf
        if crf is not None and no_crf is not None:
            raise NetError(no_crf)
        (values,) = self._runner.head.graph.outputs.values()
        self._channels = self._runner.head.graph.shapes([shape])[values][1]
        self.num_classes = 2 if self._channels == 1 and no_crf is None else self._channels
        self._weights = "" if weights is None else f" of {fspath(weights)}"
        # A single channel of labels does not say how many classes there are.
        count = self.num_classes if self._channels > 1 or no_crf is None else None
        files = [weights, prototxt if isinstance(prototxt, (str, PathLike)) else None]
        self.classes = model_classes(count, files, classes)

    def _make_runner(self, channels_last: bool) -> None:
        """Lower the net's graph to what :attr:`blob` needs, and put the head on it."""
        network = self._network
        outputs = network.graph.wanted([self.blob])
        # A net runs its layers itself, which take along activations and no more.
        own = lower(network.graph, outputs, (with_activation,))
        self._measured = lower(network.graph, outputs) if network.will_be_optimized else own
        self._runner = HeadRunner(own, 3, network.run_layers, _input_dtype(own), channels_last=channels_last)

    @property
    def net(self) -> Net:
        """Return the net; an optimized one that came has none."""
        if self._network.net is None:
            raise AttributeError("this segmenter was made of an optimized net")
        return self._network.net

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Return the labels of an image.

        Args:
            image: RGB (H, W, 3), uint8 or whole numbers from 0 to 255 of another dtype; numpy's or torch's on the CPU.

        Returns:
            uint8 (H, W).

        Raises:
            NetError: the image is invalid (see ``image_range``) or too large for the available memory, or the network's
                scores are not finite.
        """
        image = self._checked(image)
        return brought_back(self._labels([reduced(image, self.max_side)])[0], image)

    def batch(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Return the labels of several images of one size.

        With one view per image the images go through the network together. The labels equal those of single calls, up
        to the last bits of the scores: convolutions may sum in another order.

        Args:
            images: uint8 RGB (H, W, 3) each, or an array (N, H, W, 3).

        Returns:
            uint8 (N, H, W).

        Raises:
            NetError: there are no images or their sizes differ; or as for calling it.
        """
        images = [self._checked(image) for image in images]
        shapes = {image.shape for image in images}
        if len(shapes) != 1:
            sizes = ", ".join(f"{height}x{width}" for height, width, _ in sorted(shapes)) or "none"
            raise NetError(f"a batch needs images of one size, got {sizes}")
        labels = self._labels([reduced(image, self.max_side) for image in images])
        return np.stack([brought_back(found, image) for found, image in zip(labels, images, strict=True)])

    def segment(self, image: np.ndarray, *, labels_only: bool = False) -> Segmentation:
        """Return labels, scores and marginals of an image; see :meth:`__call__` for arguments and errors.

        With ``max_side``, scores and marginals have the reduced size, and labels have the full size.

        Args:
            image: as for :meth:`__call__`.
            labels_only: leave out scores and marginals, which saves time; the scores have no pixels then: (C, 0, 0).
        """
        image = self._checked(image)
        small = reduced(image, self.max_side)
        found, activation = self._found([small], wanted_of(labels_only))
        return segmentation_of(found, image, activation, self.num_classes, self.classes)

    def scores(self, image: np.ndarray) -> np.ndarray:
        """Return the network's scores: float32 (C, H, W); see :meth:`__call__` for arguments and errors."""
        found, _ = self._found([reduced(self._checked(image), self.max_side)], ("scores",))
        return found["scores"][0].cpu().numpy()

    @torch.no_grad()
    def output(self, image: np.ndarray) -> Output:
        """Return the network's output for an image, on the CPU, for :func:`deeplab_caffe.segmentation.finish.finish`.

        It can be pickled, and is small: it has the net's own stride, except with several views. If the image is above
        ``max_side``, it is the output for the reduced image. See :meth:`__call__` for arguments and errors.
        """
        small = reduced(self._checked(image), self.max_side)
        if not self.views.is_single(*small.shape[:2]):
            return self._averaged(small).to("cpu")
        batch = self._batch([small])
        optimized = self._network.optimized
        run = self._runner.output if optimized is None else optimized.image_output
        output = run(batch, mean=self.mean, crop_size=self.crop_size, kind=self.kind)
        self._validate_finite(output.finite())
        return output.to("cpu")

    def _labels(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Return the labels (N, H, W) of images of one size; with several views the images are computed one by one."""
        if not self.views.is_single(*images[0].shape[:2]):
            return np.concatenate([self._found([one], ("labels",))[0]["labels"].cpu().numpy() for one in images])
        return self._found(images, ("labels",))[0]["labels"].cpu().numpy()

    @torch.no_grad()
    def _found(self, images: Sequence[np.ndarray], wanted: Sequence[str]) -> tuple[dict[str, Tensor], str]:
        """Return the requested results for images of one size, and the function from scores to probabilities."""
        crf = self.crf if "labels" in wanted else None
        head, (height, width) = self._runner.head, images[0].shape[:2]
        if self.views.is_single(height, width):
            return self._run_images(images, wanted, crf), head.activation(self._channels, self.kind)
        output = self._averaged(images[0])
        return output.results(wanted, as_tensor(images[0])[None], crf), output.activation

    def _averaged(self, image: np.ndarray) -> Output:
        """Return the mean over an image's views, as the output of a net."""
        head, size = self._runner.head, image.shape[:2]
        for height, width in self.views.sizes(*size) if self.views.window is None else ():
            self._check_memory(1, height, width)  # before the image is made so large
        logarithms = average_views(
            image, self.views, lambda view: self._run_images([view], ("probabilities",), None)["probabilities"][0]
        )[None]
        across = head.probability is None or head.probability.across
        activation = "softmax" if across and logarithms.shape[1] > 1 else "exp"
        return Output(logarithms, None, (0, 0), size, activation, head.no_crf)

    def _run_images(
        self, images: Sequence[np.ndarray], wanted: Sequence[str], crf: CRFParams | None
    ) -> dict[str, Tensor]:
        """Run the net, optimized or not, and its head on images of one size."""
        batch = self._batch(images)
        optimized = self._network.optimized
        runner = self._runner.results if optimized is None else optimized.segment_images
        run = partial(runner, batch, mean=self.mean, crop_size=self.crop_size, kind=self.kind)
        try:
            found = run(wanted=(*wanted, "finite"), crf=crf)
        except CRFError:
            self._validate_finite(run(wanted=("finite",))["finite"])
            raise
        self._validate_finite(found.pop("finite"))
        return found

    def _validate_finite(self, finite: Tensor) -> None:
        """Validate that all images of a batch have finite scores; see :meth:`deeplab_caffe.net.head.Output.finite`.

        Raises:
            NetError: an image has scores that are not finite.
        """
        if bool(finite.all()):
            return
        which = "" if len(finite) == 1 else f" of {int((~finite).sum())} of the {len(finite)} images"
        mean = ", ".join(f"{value:g}" for value in self.mean)
        raise NetError(
            f"{self._network.name}: the scores{which} in blob '{self.blob}' are not finite, but NaN or infinity: look "
            f"at the weights{self._weights}{self._network.broken_layers()}, and at the mean that is subtracted, {mean}"
        )

    def _batch(self, images: Sequence[np.ndarray]) -> Tensor:
        """Optimize the net for images of one size if needed, and copy them to the device as bytes."""
        sides = self._check_memory(len(images), *images[0].shape[:2])
        self._network.make_ready(sides, self.blob)
        tensors = [as_tensor(image) for image in images]
        batch = tensors[0][None] if len(tensors) == 1 else torch.stack(tensors)
        return batch.to(self.device, non_blocking=True)

    def _checked(self, image: Any) -> np.ndarray:
        """Return an image as uint8.

        Raises:
            NetError: the argument is not an image, or has another range.
        """
        found = to_numpy(image, "images", NetError) if is_torch(image) else image
        if not isinstance(found, np.ndarray) or found.ndim != 3 or found.shape[2] != 3 or found.dtype.kind not in "uif":
            came = f"{type(image).__name__}{_no_array_advice(image)}"
            if isinstance(found, np.ndarray):
                came = f"{found.dtype} {found.shape}{shape_advice(found.shape, None)}"
            raise NetError(f"expected a uint8 RGB image (H, W, 3), got {came}")
        if 0 in found.shape:
            raise NetError(f"the image is empty: {found.shape}")
        try:
            levels: np.ndarray = backend_for().grey_levels(found, "image", self.image_range)
        except CRFError as exc:
            raise NetError(str(exc)) from exc
        return levels

    def images_at_once(self, count: int | None = None) -> int:
        """Return how many images threads should segment at a time, each with its share of torch's threads.

        One on a GPU, and where a layer goes on from the image before. Else as many as torch has threads, up to eight:
        the interpreter runs one thread at a time, for some 5 ms of an image, and more would wait for it.

        Args:
            count: how many images there are; None: nobody knows.
        """
        if self.device.type != "cpu" or self._measured.graph_break_reason is not None:
            return 1
        return max(1, min(_MOST_AT_ONCE if count is None else count, _MOST_AT_ONCE, torch.get_num_threads()))

    def memory_needed(self, height: int, width: int) -> int:
        """Estimate the bytes that an RGB image (height, width, 3) takes until its labels are there.

        They are those of the net's activations, of scores and marginals at the image's size, and of the CRF's lattices.

        Raises:
            NetError: the image is too small for the net.
        """
        shrink = 1.0 if self.max_side is None else min(1.0, self.max_side / max(height, width))
        height, width = max(1, round(shrink * height)), max(1, round(shrink * width))
        largest = max(self.views.sizes(height, width), key=math.prod)
        _, activations = self._net_input(1, *(min(side, self.views.window or side) for side in largest))
        # A pixel has six entries of each lattice of colours, of a vertex and a weight, and up to six vertices.
        lattices = 0 if self.crf is None else 256 * height * width
        return activations + 8 * self._channels * height * width + lattices

    def _check_memory(self, count: int, height: int, width: int) -> tuple[int, int]:
        """Return (height, width) of the net's input for images of this size, if there is enough memory for them."""
        sides, needed = self._net_input(count, height, width)
        available = available_memory(self.device)
        if available is not None and needed > available:
            what = f"{count} images" if count > 1 else "an image"
            raise NetError(
                f"{what} of {sides[1]}x{sides[0]} needs about {needed / 2**30:.1f} GiB on {self.device}, "
                f"{available / 2**30:.1f} GiB are free: set max_side to work at a smaller size, "
                f"or window to work piece by piece"
            )
        return sides

    def _net_input(self, count: int, height: int, width: int) -> tuple[tuple[int, int], int]:
        """Return the height and width of the net's input for images of this size, and the bytes of its activations.

        They are remembered: who shares out the memory among images asks for them before the image is segmented.
        """
        key = (count, height, width, self.crop_size)
        known = self._estimates.get(key)
        if known is not None:
            return known
        sides = []
        for axis, side in enumerate((height, width)):
            try:
                sides.append(self._runner.fit(max(side, self.crop_size), axis)[0])
            except NetError:
                raise NetError(f"an image side of {side} pixels is too small for {self._network.name}") from None
        needed = self._measured.activation_bytes(self._measured.shapes([(count, 3, *sides)]))
        if len(self._estimates) >= _MOST_ESTIMATES:
            self._estimates.clear()
        self._estimates[key] = (sides[0], sides[1]), needed
        return (sides[0], sides[1]), needed


def _side(name: str, side: Any, least: int) -> int | None:
    return None if side is None else whole_number(name, side, NetError, least=least, unit="pixels")


def _validate_mean(mean: Any) -> None:
    try:
        means = three_means(mean)
    except (TypeError, ValueError):
        means = [math.nan]
    if not all(abs(value) <= LARGEST_MEAN for value in means):
        raise NetError(f"mean: expected three finite numbers (in float32), of B, G and R, got {short_repr(mean)}")


def _one_image_input(network: Network) -> tuple[str, Shape]:
    """Return name and shape of a net's one input."""
    shapes = network.input_shapes
    if len(shapes) != 1:
        raise NetError(
            f"a segmenter needs a net with one input, a deploy prototxt; {network.name.removeprefix('net ')} has "
            f"{', '.join(shapes) or 'none, but data layers: it is a training file'}"
        )
    ((name, shape),) = shapes.items()
    if shape[1] != 3:
        raise NetError(f"input '{name}' must have 3 channels, it has {shape[1]}")
    return name, shape


def _no_array_advice(image: Any) -> str:
    """Return how what is no array becomes an image; empty where nothing tells."""
    if hasattr(image, "__array_interface__"):
        return " (PIL's? Take np.asarray(image.convert('RGB')))"
    return file_advice(image)


def _one_output(graph: Graph) -> str:
    if len(graph.outputs) != 1:
        raise NetError(f"the net has outputs {', '.join(graph.outputs) or '-'}: say which blob holds the scores")
    return next(iter(graph.outputs))


def _input_dtype(graph: Graph) -> torch.dtype:
    """Return the dtype to which the input's readers convert it: their weights', if they agree."""
    (number,) = graph.inputs.values()
    readers = [step.layer for step in graph.steps if number in step.reads]
    dtypes = {
        blob.dtype if layer.supports_half else torch.float32
        for layer in readers
        for blob in layer.blobs[:1] or [torch.empty(0)]
    }
    short = len(dtypes) == 1 and dtypes <= {torch.float32, torch.float16, torch.bfloat16}
    return dtypes.pop() if short else torch.float32
