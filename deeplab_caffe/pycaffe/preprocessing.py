"""The pre-processing methods of Net in pycaffe of October 2014, which DeepLab v1 includes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from os import PathLike

import numpy as np

from deeplab_caffe.data.io.npy import read_npy
from deeplab_caffe.errors import DataError, NetError
from deeplab_caffe.pycaffe.execution import Execution
from deeplab_caffe.pycaffe.io import Transformer
from deeplab_caffe.pycaffe.paths import AnyPath, text_path


class Preprocessing(Execution):
    """``set_mean``, ``preprocess`` and similar methods for a net's inputs, based on :class:`Transformer`.

    Attributes:
        mean: means to subtract, float32, by input.
        raw_scale: factors before the subtraction, by input.
        input_scale: factors after the subtraction, by input.
        channel_swap: orders of the channels, by input.
    """

    def set_mean(self, input_: str, mean: np.ndarray | AnyPath, mode: str = "elementwise") -> None:
        """Set the mean to subtract from an input.

        Args:
            input_: the input's name.
            mean: (C, H, W), resized to the input's size, or (C,); or the path of such a ``.npy``.
            mode: ``"elementwise"``, or ``"channel"`` for the mean of each channel.

        Raises:
            NetError: unknown input or mode, or a mean of another number of channels.
            DataError: the file is not a ``.npy`` file.
        """
        if mode not in ("elementwise", "channel"):
            raise NetError(f"set_mean: mode must be 'elementwise' or 'channel', got {mode!r}")
        found = _read_mean(mean) if isinstance(mean, str | bytes | PathLike) else np.asarray(mean, np.float32)
        if mode == "channel" and found.ndim == 3:
            found = found.mean(axis=(1, 2))
        self._formatter().set_mean(input_, found)

    def set_input_scale(self, input_: str, scale: float) -> None:
        """Set the factor after the mean is subtracted."""
        self._formatter().set_input_scale(input_, scale)

    def set_raw_scale(self, input_: str, scale: float) -> None:
        """Set the factor before the mean is subtracted, e.g. 255 for images in [0, 1]."""
        self._formatter().set_raw_scale(input_, scale)

    def set_channel_swap(self, input_: str, order: Sequence[int]) -> None:
        """Set the order of the channels, e.g. (2, 1, 0) from RGB to BGR."""
        self._formatter().set_channel_swap(input_, order)

    def preprocess(self, input_name: str, input_: np.ndarray) -> np.ndarray:
        """Return an image (H, W, K) as one item (C, H, W) of an input blob, see :class:`Transformer`."""
        return self._formatter().preprocess(input_name, input_)

    def deprocess(self, input_name: str, input_: np.ndarray) -> np.ndarray:
        """Undo :meth:`preprocess`, except the resizing."""
        return self._formatter().deprocess(input_name, input_)

    # Cached properties, because a subclass in a later script may assign attributes of these names.
    @cached_property
    def mean(self) -> dict[str, np.ndarray]:
        """Return the means to subtract, by input."""
        return self._transformer.mean

    @cached_property
    def input_scale(self) -> dict[str, float]:
        """Return the factors after the subtraction, by input."""
        return self._transformer.input_scale

    @cached_property
    def raw_scale(self) -> dict[str, float]:
        """Return the factors before the subtraction, by input."""
        return self._transformer.raw_scale

    @cached_property
    def channel_swap(self) -> dict[str, tuple[int, ...]]:
        """Return the orders of the channels, by input."""
        return self._transformer.channel_swap

    @cached_property
    def _transformer(self) -> Transformer:
        transformer = Transformer({name: self.blobs[name].shape for name in self.module.inputs})
        for name, shape in transformer.inputs.items():
            if len(shape) == 4:
                transformer.set_transpose(name, (2, 0, 1))
        return transformer

    def _formatter(self) -> Transformer:
        """Return the transformer for the current sizes of the inputs."""
        self._transformer.inputs.update({name: self.blobs[name].shape for name in self.module.inputs})
        return self._transformer


def _read_mean(name: AnyPath) -> np.ndarray:
    path: str | PathLike[str] = text_path(name)
    try:
        return np.array(read_npy(path), np.float32)
    except DataError as error:
        raise DataError(f"set_mean: expected a .npy file: {error.reason}", path) from error
    except (ValueError, TypeError) as error:
        raise DataError(f"set_mean: expected a mean of numbers: {error}", path) from error
