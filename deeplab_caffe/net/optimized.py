"""What an optimized net is asked for and gives; :mod:`deeplab_caffe.inference` makes it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypedDict

import numpy as np
import torch
from torch import Tensor

from deeplab_caffe.arrays.stays import Stays
from deeplab_caffe.crf import CRFParams
from deeplab_caffe.crf.inputs import Kind
from deeplab_caffe.layers import Shape
from deeplab_caffe.net.graph import Graph
from deeplab_caffe.net.head import HeadRunner, Output

# How much convolutions may round: "strict", as float32 does, or "fast", more on the CPU, for speed.
PrecisionName = Literal["strict", "fast"]


class OptimizeOptions(TypedDict, total=False):
    """The options of :func:`deeplab_caffe.optimize`, which says what they mean."""

    dtype: torch.dtype | str | None
    precision: PrecisionName
    batch: int | None
    size: int | tuple[int, int] | None
    blobs: Iterable[str] | None
    autotune: bool | None
    algorithms: Mapping[str, str] | None
    graphs: bool
    cache_size: int
    copy_outputs: bool
    release: bool


@dataclass(frozen=True)
class Precision:
    """The precision of a net's computation.

    Attributes:
        name: ``"float32"``, ``"tf32"``, ``"bfloat16"`` or ``"float16"``.
        dtype: dtype of the weights and of the layers that support it.
        tf32: whether float32 products may be rounded to 10 bits of mantissa.
        tolerance: largest relative error between two correct algorithms for a convolution.
        fast: whether algorithms with larger rounding errors are allowed.
    """

    name: str
    dtype: torch.dtype
    tf32: bool
    tolerance: float
    fast: bool = False


@dataclass(frozen=True)
class TuningResult:
    """The algorithm of one layer, and how it was found.

    Attributes:
        layer: the layer's name.
        algorithm: the algorithm that is used.
        milliseconds: measured time of each algorithm; empty if there was no choice.
        failures: why algorithms were rejected, by name.
    """

    layer: str
    algorithm: str
    milliseconds: dict[str, float] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)


class OptimizedNet(Stays, ABC):
    """A net for inference only, made by :func:`deeplab_caffe.optimize`.

    It has its own weights, prepared for the device; later changes of the net do not affect it, except through layers of
    type Python, whose objects it shares with the net, parameters included. Inputs may have any size; the algorithms are
    those chosen for the size that it was optimized for. Several threads may call it; on a GPU they take turns.

    Attributes:
        device: the device that it runs on.
        precision: the precision that it computes in.
        graph: the graph that it runs.
        input_shapes: shapes of the inputs that it was prepared for, by name.
        mean_value: the mean that its image must have had subtracted from B, G and R.
        tuning: the algorithm of each convolution, and the measured times of the alternatives.
        graph_break_reason: why the forward pass is not one CUDA graph; None: it is.
        copy_outputs: whether outputs are copied, see :func:`deeplab_caffe.optimize`.
    """

    instead = "send or copy the net that it was made of, and optimize that again"

    device: torch.device
    precision: Precision
    graph: Graph
    input_shapes: dict[str, Shape]
    mean_value: tuple[float, float, float]
    tuning: list[TuningResult]
    graph_break_reason: str | None
    copy_outputs: bool

    @abstractmethod
    def __call__(self, *args: Tensor, **inputs: Tensor) -> Tensor | dict[str, Tensor]:
        """Return the blobs that the net was optimized for: a tensor if there is one, else a dict, as calling the net.

        Raises:
            NetError: inputs do not fit, are on another device, or are too large for the GPU's memory.
        """

    @abstractmethod
    def labels(self, x: Tensor) -> Tensor:
        """Return the best class of each pixel of the output, the largest class on ties: uint8 (N, H, W).

        Args:
            x: the input blob (N, C, H, W).

        Raises:
            NetError: as for calling the net, or it was optimized for several blobs.
        """

    @abstractmethod
    def label_images(
        self,
        images: Tensor | np.ndarray,
        *,
        crf: CRFParams | None = None,
        mean: tuple[float, float, float] | None = None,
        kind: Kind | None = None,
    ) -> Tensor:
        """Return labels of photographs of one size, like :class:`deeplab_caffe.Segmenter`, computed on the device.

        Args:
            images: uint8 RGB (N, H, W, 3), numpy's or torch's, on the CPU or on the device.
            crf: parameters of the dense CRF; None for none.
            mean: values to subtract from B, G and R; None: the net's, :attr:`deeplab_caffe.Net.mean_value`.
            kind: what the net's output is, for the CRF: see :class:`deeplab_caffe.Segmenter`.

        Returns:
            uint8 (N, H, W), on the device.

        Raises:
            NetError: the images are invalid, or the net does not give scores at the size of its single input.
        """

    @abstractmethod
    def segment_images(
        self,
        images: Tensor,
        *,
        wanted: Sequence[str] = ("labels",),
        crf: CRFParams | None = None,
        mean: tuple[float, float, float] | None = None,
        crop_size: int = 1,
        kind: Kind | None = None,
    ) -> dict[str, Tensor]:
        """Return the requested results for photographs of one size: :meth:`deeplab_caffe.net.head.HeadRunner.results`.

        Args:
            images: uint8 RGB (N, H, W, 3), on the CPU or on the device.
            wanted: ``"labels"``, ``"scores"``, ``"probabilities"``, ``"marginals"``.
            crf: parameters of the dense CRF; None for none.
            mean: values to subtract from B, G and R; None: the net's, :attr:`deeplab_caffe.Net.mean_value`.
            crop_size: pad images to at least this side, in pixels.
            kind: as for :meth:`label_images`.

        Raises:
            NetError: the net does not accept the images, or they are too large for the memory.
        """

    @abstractmethod
    def image_output(
        self, images: Tensor, *, mean: tuple[float, float, float], crop_size: int = 1, kind: Kind | None = None
    ) -> Output:
        """Return the net's output for photographs of one size, not yet resized to full size.

        Arguments and errors are those of :meth:`segment_images`. No CUDA graph is captured.
        """

    @property
    @abstractmethod
    def head_runner(self) -> HeadRunner:
        """Return the runner that takes photographs to the net and its output to labels.

        Raises:
            NetError: the net has several inputs or outputs.
        """
