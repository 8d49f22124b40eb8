"""Read photographs and label maps, and write label maps: Pillow decodes, by the rules of ``cv::imread``."""

from __future__ import annotations

import io
import re
from os import PathLike
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from PIL import Image, UnidentifiedImageError

from deeplab_caffe.data.io.atomic import atomic_write
from deeplab_caffe.data.io.label_samples import (
    SampleScale,
    is_jpeg,
    orientation,
    sample_scale,
    warn_of_jpeg,
    warn_of_orientation,
)
from deeplab_caffe.data.io.zero_copy import zero_copy_pixels
from deeplab_caffe.errors import DataError
from deeplab_caffe.files.names import check_path, special

LabelReading = Literal["index", "luminance"]
LABEL_READINGS: tuple[LabelReading, ...] = get_args(LabelReading)

# Pillow refuses an image above twice its MAX_IMAGE_PIXELS; this is that limit in an unchanged Pillow, 13,377 squared.
MAX_PIXELS = 178_956_970

# The supported formats; files from strangers must not reach Pillow's readers for some thirty other formats.
_FORMATS = ("PNG", "JPEG", "PPM", "BMP", "DIB", "TIFF", "GIF", "WEBP", "JPEG2000", "SUN")
# Compression levels of PNGs, 1 to 9. A photograph's noise hardly compresses better at higher levels: at level 1 a photo
# of 500 x 375 takes 12 ms instead of 52 ms, and a tenth more bytes.
_COLOUR_COMPRESSION, _GREY_COMPRESSION = 1, 6
_BITS_PER_SAMPLE = 258
_SCALE = "bring them to 0 to 255, as uint8"
_FORMAT_NAMES = "PNG, JPEG, PPM, PGM, BMP, TIFF, GIF, WebP, JPEG 2000, Sun raster"


def load_image(
    path: str | PathLike[str],
    *,
    exif_orientation: bool = True,
    max_pixels: int = MAX_PIXELS,
    content: bytes | None = None,
    view: bool = False,
) -> np.ndarray:
    """Read a photograph as ``cv::imread`` does in colour, but in R, G, B order.

    Grey images get three equal channels, palettes their colours; an alpha channel is dropped, not composited; of 16-bit
    samples the upper byte is kept; CMYK is converted. The first frame of an animation is read.

    Args:
        path: a PNG, JPEG, PPM, PGM, BMP, TIFF, GIF, WebP, JPEG 2000 or Sun raster file.
        exif_orientation: turn the image by its EXIF tag, as OpenCV does by default since 3.1, and as users expect for
            photos of a phone. DeepLab's OpenCV of 2014 did not, and label maps fit the stored pixels: the data layers
            pass False.
        max_pixels: refuse images with more pixels before they are decoded. Above ``MAX_PIXELS``, Pillow's own limit
            (``PIL.Image.MAX_IMAGE_PIXELS``) has to be raised as well.
        content: the file's bytes, if the caller has them; ``path`` is then only a name for messages.
        view: return Pillow's own memory if possible: faster, but read-only and perhaps not contiguous.

    Returns:
        uint8 RGB ``(H, W, 3)``.

    Raises:
        DataError: the file is missing, not an image, truncated, of size zero, too large, or has 32-bit samples.
    """
    with _open(path, max_pixels, content) as image:
        pixels = _colour(_decoded(image, path), path, exif_orientation)
    return pixels if view else _own(pixels)


def load_stored_image(path: str | PathLike[str], what: str) -> np.ndarray:
    """Read a photograph as :func:`load_image` does, not turned, for results of its pixels as they are stored.

    Args:
        path: the image file.
        what: the results, for the warning of an EXIF orientation that is not applied: ``"scores"``. Results of a turned
            photograph, ``extract`` makes such, would be put on other pixels.

    Returns:
        uint8 RGB ``(H, W, 3)``.

    Raises:
        DataError: as :func:`load_image`.
    """
    with _open(path, MAX_PIXELS) as image:
        pixels = _colour(_decoded(image, path), path, exif_orientation=False)
        warn_of_orientation(image, path, what)
    return _own(pixels)


def pixels_of(image: Image.Image, *, exif_orientation: bool = True) -> np.ndarray:
    """Return the pixels of a PIL image, opened or made in memory, that :func:`load_image` would read from its file.

    ``image.convert("RGB")`` differs: it turns all 16-bit samples above 255 into 255.

    Args:
        image: the image, with 8 or 16 bits per sample.
        exif_orientation: as for :func:`load_image`.

    Returns:
        uint8 RGB ``(H, W, 3)``, a copy.

    Raises:
        DataError: the image is damaged, of size zero, or has 32-bit samples; or it was made in memory in mode I and has
            no sample above 255, so that it may have 8 or 16 bits.
    """
    path = getattr(image, "filename", "") or f"an image of PIL in mode {image.mode}"
    if 0 in image.size:
        raise DataError(f"the image is empty: {image.width} x {image.height}", path)
    _decoded(image, path)
    if image.mode == "I" and image.format is None and 0 < np.asarray(image).max() <= 0xFF:
        raise DataError(
            "expected samples of 8 or 16 bits, got mode I with none above 255, which may be either: "
            "give image.convert('L') for 8 bits, image.convert('I;16') for 16",
            path,
        )
    return _own(_colour(image, path, exif_orientation))


def load_grey(
    path: str | PathLike[str],
    *,
    exif_orientation: bool = True,
    max_pixels: int = MAX_PIXELS,
    content: bytes | None = None,
    view: bool = False,
) -> np.ndarray:
    """Read an image as ``cv::imread`` does with ``IMREAD_GRAYSCALE``, byte for byte.

    Each of OpenCV's decoders has its own formula: PNG uses libpng's (15-bit weights, not rounded), JPEG the decoded Y
    channel, the others OpenCV's (14-bit weights, rounded). Arguments and errors are those of :func:`load_image`.

    Returns:
        uint8 ``(H, W)``.
    """
    with _open(path, max_pixels, content) as image:
        if is_jpeg(image):
            image.draft("L", image.size)
        is_png = image.format == "PNG"
        pixels = _colour(_decoded(image, path), path, exif_orientation)
    if pixels.strides[2] == 0:
        return pixels[..., 0] if view else _own(pixels[..., 0])
    red, green, blue = (pixels[..., channel].astype(np.int32) for channel in range(3))
    if is_png:
        return ((9797 * red + 19234 * green + 3737 * blue) >> 15).astype(np.uint8)
    return ((4899 * red + 9617 * green + 1868 * blue + 8192) >> 14).astype(np.uint8)


def load_image_samples(path: str | PathLike[str]) -> np.ndarray:
    """Read a photograph as :func:`load_image` does, but keep all bits of 16-bit grey samples.

    For 16-bit samples with colours or alpha, Pillow keeps only the upper byte.

    Returns:
        uint8 or uint16 RGB ``(H, W, 3)``; maybe read-only.
    """
    with _open(path, MAX_PIXELS) as image:
        return _colour(_decoded(image, path), path, exif_orientation=True, keep_16_bits=True)


def load_native(path: str | PathLike[str], *, content: bytes | None = None) -> np.ndarray:
    """Read an image with its own number of channels, as ``cv::imread`` does with ``IMREAD_UNCHANGED``.

    Arguments and errors are those of :func:`load_image`; the EXIF tag is ignored. In contrast to OpenCV, an alpha
    channel is dropped.

    Returns:
        uint8 RGB ``(H, W, 3)``, or ``(H, W)`` for a grey image; may be read-only.
    """
    pixels = load_image(path, exif_orientation=False, content=content, view=True)
    return pixels[..., 0] if pixels.strides[2] == 0 else pixels


def load_label(
    path: str | PathLike[str],
    *,
    reading: LabelReading = "index",
    max_pixels: int = MAX_PIXELS,
    view: bool = False,
) -> np.ndarray:
    """Read a label map.

    Args:
        path: the image file.
        reading: ``"index"`` returns the index of palette images (PASCAL VOC's SegmentationClass, CamVid) and the value
            of grey images with 1 to 16 bits, unchanged. Colour images are accepted only if R, G and B are equal
            everywhere. ``"luminance"`` reads like the original, by ``cv::imread`` in grey (util/io.cpp:72-81), which
            turns palette indices into the brightness of their colours.
        max_pixels: as for :func:`load_image`.
        view: as for :func:`load_image`.

    Returns:
        uint8 ``(H, W)``. EXIF orientation is not applied: a file that has one gives a warning, and so does the first
        JPEG file of a run, whose compression changes labels.

    Raises:
        DataError: as :func:`load_image`; or the image does not have one label per pixel, or has labels above 255.
    """
    if reading not in LABEL_READINGS:
        raise ValueError(f"reading must be one of {', '.join(LABEL_READINGS)}, got {reading!r}")
    with _open(path, max_pixels) as image:
        warn_of_jpeg(image, path)
        if reading == "luminance":
            return load_grey(path, exif_orientation=False, max_pixels=max_pixels, view=view)
        scale = sample_scale(image, path)
        found = _samples(_decoded(image, path), scale)
        warn_of_orientation(image, path, "label maps")
        if found is not None:
            if found.dtype == np.uint8:
                return found if view else _own(found)
            if found.min() < 0 or found.max() > 255:
                raise DataError(f"labels must be from 0 to 255, got {found.min()} to {found.max()}", path)
            return found.astype(np.uint8)
        pixels = _colour(image, path, exif_orientation=False)
    if not (np.array_equal(pixels[..., 0], pixels[..., 1]) and np.array_equal(pixels[..., 0], pixels[..., 2])):
        raise DataError(
            "expected a palette or grey image with one label per pixel, got colours "
            "(label reading 'luminance' reads them as the original did)",
            path,
        )
    return _own(pixels[..., 0] if scale is None else scale.samples(pixels[..., 0]))


def load_samples(path: str | PathLike[str], *, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Read the numbers in a grey or palette image with 1 to 16 bits, as :func:`load_label` reads them.

    Returns:
        ``(H, W)``, whole numbers.

    Raises:
        DataError: as :func:`load_image`; or the image has colours, or 16 bits and alpha.
    """
    with _open(path, max_pixels) as image:
        scale = sample_scale(image, path)
        found = _samples(_decoded(image, path), scale)
    if found is None:
        raise DataError(f"expected a palette or grey image, got mode {image.mode}", path)
    return _own(found)


def _samples(image: Image.Image, scale: SampleScale | None) -> np.ndarray | None:
    """Return the samples of a decoded grey or palette image, perhaps in its own memory; None for other images."""
    if image.mode == "1":
        return np.asarray(image).astype(np.uint8)
    if image.mode in ("P", "L", "PA", "LA", "La"):
        pixels = zero_copy_pixels(image)
        pixels = pixels if pixels.ndim == 2 else pixels[..., 0]
    elif image.mode.startswith("I"):
        pixels = np.asarray(image)
    else:
        return None
    return pixels if scale is None else scale.samples(pixels)


def read_palette(path: str | PathLike[str]) -> np.ndarray | None:
    """Return the colours of a palette image, uint8 RGB ``(256, 3)``, black where it has none; None for other images.

    Raises:
        DataError: as :func:`load_image`, as far as the header shows.
    """
    with _open(path, MAX_PIXELS) as image:
        return _palette(image) if image.mode in ("P", "PA") else None


def image_size(path: str | PathLike[str]) -> tuple[int, int]:
    """Return ``(height, width)`` of an image file from its header; EXIF orientation is ignored.

    Raises:
        DataError: as :func:`load_image`, as far as the header shows.
    """
    with _open(path, MAX_PIXELS) as image:
        return image.height, image.width


def save_labels_png(path: str | PathLike[str], labels: np.ndarray, colormap: np.ndarray) -> None:
    """Write a label map as a palette PNG: viewers show the colours, and :func:`load_label` reads the labels back.

    Args:
        path: the file; missing folders are created.
        labels: whole numbers ``(H, W)`` from 0 to 255.
        colormap: uint8 RGB ``(K, 3)``, K up to 256; labels from K on are black.

    Raises:
        DataError: the labels are not such a map, or the file cannot be written.
    """
    labels = np.asarray(labels)
    if labels.ndim != 2 or labels.size == 0:
        raise DataError(f"expected labels (H, W), got shape {labels.shape}", path)
    if not (np.issubdtype(labels.dtype, np.integer) or np.array_equal(labels, np.trunc(labels))):
        raise DataError(f"labels must be whole numbers, got {labels.dtype} with fractions", path)
    if labels.min() < 0 or labels.max() > 255:
        raise DataError(f"labels must be from 0 to 255, got {labels.min()} to {labels.max()}", path)
    colormap = np.asarray(colormap)
    if colormap.ndim != 2 or colormap.shape[1] != 3 or len(colormap) > 256 or colormap.dtype != np.uint8:
        raise ValueError(f"expected a uint8 colormap (K, 3) with K up to 256, got {colormap.dtype} {colormap.shape}")
    image = Image.fromarray(np.ascontiguousarray(labels, dtype=np.uint8))
    palette = np.zeros((256, 3), np.uint8)
    palette[: len(colormap)] = colormap
    image.putpalette(palette.tobytes())
    with atomic_write(path, make_folders=True) as stream:
        image.save(stream, "PNG", bits=8)


def save_image(path: str | PathLike[str], image: np.ndarray, *, quality: int = 95) -> None:
    """Write an image in the format of its name's ending.

    Args:
        path: the file (.png, .jpg, .ppm, ...); missing folders are created.
        image: uint8 RGB ``(H, W, 3)`` or grey ``(H, W)``.
        quality: quality of JPEG and WebP, 1 to 100.

    Raises:
        DataError: if the ending is unknown or the file cannot be written.
    """
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] != 3):
        raise ValueError(f"expected a uint8 image (H, W, 3) or (H, W), got {image.dtype} {image.shape}")
    suffix = Path(path).suffix.lower()
    kind = Image.registered_extensions().get(suffix)
    if kind is None or kind not in Image.SAVE:
        raise DataError(f"no image format is known by the ending '{suffix}'", path)
    try:
        with atomic_write(path, make_folders=True) as stream:
            level = _COLOUR_COMPRESSION if image.ndim == 3 else _GREY_COMPRESSION
            Image.fromarray(np.ascontiguousarray(image)).save(stream, kind, quality=quality, compress_level=level)
    except (ValueError, KeyError) as exc:
        if isinstance(exc, DataError):
            raise
        raise DataError(f"cannot be written as {kind}: {exc}", path) from exc


def _own(pixels: np.ndarray) -> np.ndarray:
    """Return contiguous, writable pixels: Pillow's own memory is read-only, which torch.from_numpy warns about."""
    return np.require(pixels, requirements=["C", "W"])


def _open(path: str | PathLike[str], max_pixels: int, content: bytes | None = None) -> Image.Image:
    """Read only the header, and refuse images that must not be decoded."""
    if content is None:
        check_path(path, "an image's file", "of its bytes take content=, with a name as path")
    if content is None and (what := special(path)):
        raise DataError(f"is {what}, no file: give an image's bytes on standard input, as -", path)
    try:
        image = Image.open(path if content is None else io.BytesIO(content), formats=_FORMATS)
    except UnidentifiedImageError as exc:
        raise DataError(_why_unidentified(path, content), path) from exc
    except Image.DecompressionBombError as exc:
        count = re.search(r"\d{6,}", str(exc))
        size = f"{int(count.group()):,} pixels" if count else "too many pixels"
        raise DataError(f"the image is too large: {size}, the limit is {max_pixels:,}", path) from exc
    except OSError as exc:
        raise DataError(f"cannot be read: {exc.strerror or exc}", path) from exc
    except Exception as exc:  # Pillow's header parsers raise all kinds of errors
        raise DataError(f"is not a readable image: {exc or type(exc).__name__}", path) from exc
    width, height = image.size
    problem = None
    if width < 1 or height < 1:
        problem = f"the image is empty: {width} x {height}"
    elif width * height > max_pixels:
        problem = f"the image is too large: {width} x {height} pixels, the limit is {max_pixels:,}"
    if problem:
        image.close()
        raise DataError(problem, path)
    return image


def _why_unidentified(path: str | PathLike[str], content: bytes | None) -> str:
    try:
        beginning = content[:8] if content is not None else _beginning(path)
    except OSError:
        beginning = b"?"
    if not beginning:
        return "is not an image: the file is empty"
    if beginning.startswith((b"%!PS", b"\xc5\xd0\xd3\xc6")):
        return "EPS is not read, because decoding it would start another program"
    return f"is not an image in a format that Pillow reads here: {_FORMAT_NAMES}"


def _beginning(path: str | PathLike[str]) -> bytes:
    with Path(path).open("rb") as stream:
        return stream.read(8)


def _decoded(image: Image.Image, path: str | PathLike[str]) -> Image.Image:
    try:
        image.load()
    except MemoryError as exc:
        raise DataError(f"not enough memory for {image.width} x {image.height} pixels", path) from exc
    except Exception as exc:  # with a damaged file decoders raise all kinds of errors
        raise DataError(f"the image is damaged: {exc or type(exc).__name__}", path) from exc
    return image


def _colour(
    image: Image.Image, path: str | PathLike[str], exif_orientation: bool, *, keep_16_bits: bool = False
) -> np.ndarray:
    """Return the pixels as uint8 ``(H, W, 3)``, or uint16 if asked for; a grey image's channels share memory."""
    mode = image.mode
    if mode.startswith("I"):
        samples = np.asarray(image)
        if _bits_in_tiff(image) > 16 or samples.min() < 0 or samples.max() > 0xFFFF:
            raise DataError(f"samples of 32 bits are not supported, only 8 and 16: {_SCALE}", path)
        pixels = samples.astype(np.uint16) if keep_16_bits else (samples >> 8).astype(np.uint8)
    elif mode == "F":
        raise DataError(f"floating-point samples are not supported, only 8 and 16 bits: {_SCALE}", path)
    elif mode == "1":
        pixels = np.asarray(image).astype(np.uint8) * np.uint8(255)
    elif mode in ("P", "PA"):
        palette = _palette(image)
        indices = zero_copy_pixels(image)
        pixels = palette[indices if indices.ndim == 2 else indices[..., 0]]
    elif mode in ("L", "LA", "La"):
        pixels = zero_copy_pixels(image)
        pixels = pixels if pixels.ndim == 2 else pixels[..., 0]
    elif mode in ("RGB", "RGBA", "RGBX"):
        pixels = zero_copy_pixels(image)[..., :3]
    else:
        pixels = np.asarray(image.convert("RGB"))
    if exif_orientation:
        pixels = _oriented(pixels, image)
    return pixels if pixels.ndim == 3 else np.broadcast_to(pixels[..., None], (*pixels.shape, 3))


def _bits_in_tiff(image: Image.Image) -> int:
    """Return the bits per sample of a TIFF file; 0 for another image."""
    bits = getattr(image, "tag_v2", {}).get(_BITS_PER_SAMPLE, 0)
    return max(bits, default=0) if isinstance(bits, tuple) else int(bits)


def _palette(image: Image.Image) -> np.ndarray:
    palette = np.zeros((256, 3), np.uint8)
    colours = np.array(image.getpalette("RGB") or [], np.uint8).reshape(-1, 3)
    palette[: len(colours)] = colours
    return palette


def _oriented(pixels: np.ndarray, image: Image.Image) -> np.ndarray:
    turned = orientation(image)
    if turned in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    # After the transposition: the directions of rows and columns.
    rows, columns = {2: (1, -1), 3: (-1, -1), 4: (-1, 1), 6: (1, -1), 7: (-1, -1), 8: (-1, 1)}.get(turned, (1, 1))
    return pixels[::rows, ::columns]
