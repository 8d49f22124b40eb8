"""WINDOW_DATA: warped image windows with a fixed fraction of foreground (R-CNN; layers/window_data_layer.cpp)."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from deeplab_caffe.data.io.images import load_image
from deeplab_caffe.data.io.resize import resize_bilinear
from deeplab_caffe.data.io.windows import ImageWindow, read_window_file
from deeplab_caffe.data.sources.base import Blobs, ItemSource, Shape4, SourceOptions
from deeplab_caffe.data.sources.rng import CaffeRNG
from deeplab_caffe.data.sources.transform import Phase, SegTransform, bgr_planes
from deeplab_caffe.errors import DataError, NetError

if TYPE_CHECKING:
    from typing_extensions import Unpack

CROP_MODES = ("warp", "square")


class SampledWindow(NamedTuple):
    """A randomly drawn window, and whether it is mirrored."""

    window: ImageWindow
    mirror: bool


class Warped(NamedTuple):
    """Pixels ``(h, w, 3)`` and their place in the crop: first row and column."""

    pixels: np.ndarray
    top: int
    left: int


class WindowSource(ItemSource[SampledWindow, Warped]):
    """The source of WINDOW_DATA's batches: background windows first, then a fraction ``fg_fraction`` of foreground.

    Windows are drawn with replacement by the layer's own generator, which is seeded by one word of the net's generator
    at set-up. As in the original, further words of the net's generator are drawn as for other layers, but not used.

    Args:
        layer_param: LayerParameter message with ``window_data_param`` and ``transform_param``. ``scale`` is taken from
            ``transform_param``; the original looks for it in ``window_data_param``, which it has cleared before.
        phase: ``"TRAIN"`` or ``"TEST"``; changes only how many words are drawn.
        **options: see :class:`SourceOptions`.

    Raises:
        NetError: a parameter has no meaning here, or the file has no windows of a kind that is needed.
        DataError: the window file cannot be read.
        CaffeModelError: the mean file cannot be read.
    """

    def __init__(self, layer_param: Any, phase: Phase, **options: Unpack[SourceOptions]) -> None:
        param = layer_param.window_data_param
        if not param.source:
            raise NetError("window_data_param needs a source")
        super().__init__(param.batch_size, SegTransform.from_param(layer_param.transform_param, phase), **options)
        self.param = param
        self._check()
        self._chooser = CaffeRNG(self._rng.word())
        self.windows = read_window_file(param.source, param.fg_threshold, param.bg_threshold)
        together = self.batch_size * self.shard.world
        # In float32, as in the original: 0.3 * 10 is 3 there.
        self._foreground = int(np.float32(together) * np.float32(param.fg_fraction))
        needed = {"foreground": self._foreground, "background": together - self._foreground}
        for kind, count in needed.items():
            if count and not getattr(self.windows, kind):
                raise NetError(f"{param.source} has no {kind} window, {count} of each batch are to be {kind}")
        if self.windows.channels != 3:
            raise NetError(f"{param.source}: images must have 3 channels, got {self.windows.channels}")
        self._files: dict[str, bytes] = {}
        self._start()

    def _check(self) -> None:
        param, crop = self.param, self.transform.crop_size
        if crop < 1:
            raise NetError("transform_param needs a crop_size: the side that windows are warped to")
        if param.crop_mode not in CROP_MODES:
            raise NetError(f"crop_mode must be one of {', '.join(CROP_MODES)}, got '{param.crop_mode}'")
        if 2 * param.context_pad >= crop:
            raise NetError(f"context_pad {param.context_pad} on both sides leaves nothing of crop_size {crop}")
        if not 0 <= param.fg_fraction <= 1:
            raise NetError(f"fg_fraction must be from 0 to 1, got {param.fg_fraction}")
        self._mean = self.transform.means(3).reshape(3, 1, 1)
        if self.transform.mean_image is not None:
            _, height, width = self.transform.mean_image.shape
            off = (width - crop) // 2
            if len(self.transform.mean_image) != 3 or off < 0 or off + crop > height:
                raise NetError(
                    f"the mean file is {self.transform.mean_image.shape} (channels, height, width), which has no crop "
                    f"(3, {crop}, {crop}) in its middle"
                )
            self._mean = self.transform.mean_image[:, off : off + crop, off : off + crop]

    def shapes(self) -> tuple[Shape4, Shape4]:
        """Return the shapes of the blobs: data ``(N, 3, crop_size, crop_size)``, label ``(N, 1, 1, 1)``."""
        crop = self.transform.crop_size
        return (self.batch_size, 3, crop, crop), (self.batch_size, 1, 1, 1)

    def _draw(self, count: int) -> list[SampledWindow]:
        drawn = []
        for i in range(count):
            windows = self.windows.background if i < count - self._foreground else self.windows.foreground
            window = windows[self._chooser.word() % len(windows)]
            drawn.append(SampledWindow(window, self.transform.mirror and self._chooser.word() % 2 == 1))
        return drawn

    def _order(self) -> dict[str, Any]:
        return {"chooser": self._chooser.state_dict()}

    def _set_order(self, order: dict[str, Any]) -> None:
        self._chooser.load_state_dict(order["chooser"])

    def _read(self, entry: SampledWindow) -> Warped:
        window, path = entry.window, self.param.root_folder + entry.window.image
        try:
            image = load_image(path, exif_orientation=False, content=self._content(path), view=True)
            return warp_window(
                image,
                window,
                self.transform.crop_size,
                self.param.context_pad,
                square=self.param.crop_mode == "square",
                mirror=entry.mirror,
            )
        except ValueError as exc:
            message = str(exc) if isinstance(exc, DataError) else f"{path}: {exc}"
            raise DataError(message, self.param.source, window.line) from exc

    def _content(self, path: str) -> bytes | None:
        """Return the file's bytes if they are to be kept in memory; the original keeps all files from the start."""
        if not self.param.cache_images:
            return None
        if path not in self._files:
            try:
                self._files[path] = Path(path).read_bytes()
            except OSError as exc:
                raise DataError(f"cannot be read: {exc.strerror or exc}", path) from exc
        return self._files[path]

    def _write(self, entry: SampledWindow, item: Warped, words: list[int], blobs: Blobs, i: int) -> None:
        data, label = blobs
        height, width = item.pixels.shape[:2]
        where = np.s_[:, item.top : item.top + height, item.left : item.left + width]
        crop = data[i].shape[1:]
        mean = np.broadcast_to(self._mean, (3, *crop))[where]
        data[i] = 0
        np.subtract(bgr_planes(item.pixels), mean, out=data[i][where], dtype=np.float32)
        data[i] *= np.float32(self.transform.scale)
        label[i] = entry.window.label


def warp_window(
    image: np.ndarray,
    window: ImageWindow,
    crop_size: int,
    context_pad: int = 0,
    *,
    square: bool = False,
    mirror: bool = False,
) -> Warped:
    """Crop a window from an image and resize it.

    Args:
        image: uint8 RGB ``(H, W, 3)``.
        window: the box.
        crop_size: side of the square that the whole window is resized to.
        context_pad: number of its pixels, on each side, that show the surroundings of the box.
        square: crop the square around the box instead of the box.
        mirror: mirror the window.

    Returns:
            The part of the (widened) box that lies in the image, and its place in the square.

    Raises:
        ValueError: the box is empty or, unless widened, not inside the image.
    """
    rows, columns = image.shape[:2]
    x1, y1, x2, y2 = window.x1, window.y1, window.x2, window.y2
    width = height = crop_size
    top = left = 0
    if context_pad > 0 or square:
        x1, y1, x2, y2 = _widened(window, crop_size, context_pad, square)
        scale_x = np.float32(crop_size) / np.float32(x2 - x1 + 1)
        scale_y = np.float32(crop_size) / np.float32(y2 - y1 + 1)
        # Outside of the image there are no pixels: that part of the crop stays 0.
        left_out, right_out = max(0, -x1), max(0, x2 - columns + 1)
        top_out, bottom_out = max(0, -y1), max(0, y2 - rows + 1)
        x1, x2, y1, y2 = x1 + left_out, x2 - right_out, y1 + top_out, y2 - bottom_out
        _check_box(x1, y1, x2, y2, rows, columns)
        top = _round(np.float32(top_out) * scale_y)
        left = _round(np.float32(right_out if mirror else left_out) * scale_x)
        # Box and padding are rounded separately, and their sum may be larger than the crop.
        width = min(_round(np.float32(x2 - x1 + 1) * scale_x), crop_size - left)
        height = min(_round(np.float32(y2 - y1 + 1) * scale_y), crop_size - top)
        if width < 1 or height < 1:
            raise ValueError(f"nothing remains of the window at crop_size {crop_size}")
    else:
        _check_box(x1, y1, x2, y2, rows, columns)
    pixels = resize_bilinear(image[y1 : y2 + 1, x1 : x2 + 1], height, width)
    return Warped(pixels[:, ::-1] if mirror else pixels, top, left)


def _widened(window: ImageWindow, crop_size: int, context_pad: int, square: bool) -> tuple[int, int, int, int]:
    """Return the box that has ``context_pad`` pixels around the window after resizing, in float32 as in the original.

    It may extend beyond the image.
    """
    factor = np.float32(crop_size) / np.float32(crop_size - 2 * context_pad)
    half_height = np.float32(window.y2 - window.y1 + 1) / np.float32(2)
    half_width = np.float32(window.x2 - window.x1 + 1) / np.float32(2)
    center_x, center_y = np.float32(window.x1) + half_width, np.float32(window.y1) + half_height
    if square:
        half_height = half_width = max(half_height, half_width)
    return (
        _round(center_x - half_width * factor),
        _round(center_y - half_height * factor),
        _round(center_x + half_width * factor),
        _round(center_y + half_height * factor),
    )


def _check_box(x1: int, y1: int, x2: int, y2: int, rows: int, columns: int) -> None:
    if not (0 <= x1 <= x2 < columns and 0 <= y1 <= y2 < rows):
        raise ValueError(
            f"the window from ({x1}, {y1}) to ({x2}, {y2}) (column, row) is empty or not inside the image of "
            f"{rows} x {columns} (height x width)"
        )


def _round(value: np.floating) -> int:
    """Round like C's ``round``: halves are rounded away from zero."""
    number = float(value)
    return int(math.copysign(math.floor(abs(number) + 0.5), number))
