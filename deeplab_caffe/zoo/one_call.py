"""Segmentation in one call, by the package's network or the user's, which is kept for the next call."""

from __future__ import annotations

import threading
from collections import OrderedDict
from os import PathLike, fspath
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from deeplab_caffe.crf import CRFParams, ParamsLike
from deeplab_caffe.data import load_image, pixels_of
from deeplab_caffe.data.classes import paths_beside
from deeplab_caffe.errors import DeepLabCaffeError
from deeplab_caffe.segmentation import Segmentation, Segmenter
from deeplab_caffe.zoo.default import DEFAULT_MODEL, EMBEDDED_MODELS

Photo = str | PathLike[str] | Image.Image | np.ndarray
# Number of networks that are kept, each with its weights.
_MOST = 4
_kept: OrderedDict[tuple[object, ...], Segmenter] = OrderedDict()
_lock = threading.Lock()


def segment(
    photo: Photo,
    network: str | PathLike[str] = DEFAULT_MODEL.name,
    weights: str | PathLike[str] | None = None,
    *,
    crf: bool | ParamsLike = False,
    device: str | torch.device = "auto",
) -> Segmentation:
    """Segment a photograph: labels, scores and marginals, with names and colours of the classes.

    >>> found = dc.segment("photo.jpg", crf=True)

    The network is built at the first call. The last four networks are kept for later calls; a network is built again if
    its files, including ``classes.txt`` beside them, have changed. :class:`deeplab_caffe.Segmenter` has all options.

    Args:
        photo: a file, as :func:`deeplab_caffe.data.load_image` reads it; an image of PIL, which becomes what its file
            would: the upper byte of 16 bits, turned as its EXIF tag says (not to be turned, as label maps are not:
            :func:`deeplab_caffe.data.pixels_of`); or RGB (H, W, 3), as :class:`deeplab_caffe.Segmenter` takes it.
        network: one that comes with the package, by its name in :data:`deeplab_caffe.zoo.EMBEDDED_MODELS`; or the path
            of a deploy prototxt, with ``weights``.
        weights: a caffemodel, safetensors or state_dict file for that prototxt.
        crf: refine by the dense CRF. True: with the parameters chosen for the package's network, or the defaults for
            another network. Otherwise an argument of :meth:`deeplab_caffe.CRFParams.of`, such as a preset's name.
        device: as for :class:`deeplab_caffe.Segmenter`.

    Raises:
        DeepLabCaffeError: there is no such network, or weights were given for one of the package's; also the errors of
            reading the photograph, building the network and running it.
    """
    image = pixels_of(photo) if isinstance(photo, Image.Image) else photo
    if isinstance(image, (str, PathLike)):
        image = load_image(image)
    return _segmenter(network, weights, crf, device).segment(image)


def _segmenter(
    network: str | PathLike[str],
    weights: str | PathLike[str] | None,
    crf: bool | ParamsLike,
    device: str | torch.device,
) -> Segmenter:
    embedded = EMBEDDED_MODELS.get(fspath(network))
    if embedded is None and weights is None:
        known = ", ".join(EMBEDDED_MODELS)
        raise DeepLabCaffeError(f"network '{fspath(network)}': expected {known}, or a deploy prototxt with weights")
    if embedded is not None and weights is not None:
        raise DeepLabCaffeError(f"network '{embedded.name}' comes with weights: give a deploy prototxt with others")
    prototxt, held = (network, weights) if embedded is None else (embedded.deploy, embedded.weights)
    assert held is not None
    if isinstance(crf, bool):
        crf = (CRFParams() if embedded is None else embedded.crf) if crf else None
    params = None if crf is None else CRFParams.of(crf)
    beside = paths_beside([held, prototxt])
    key = (_state(prototxt), _state(held), *map(_state, beside), params, str(device))
    with _lock:
        if key not in _kept:
            _kept[key] = Segmenter(prototxt, held, crf=params, device=device)
        _kept.move_to_end(key)
        while len(_kept) > _MOST:
            _kept.popitem(last=False)
        return _kept[key]


def _state(path: str | PathLike[str]) -> tuple[str, int, int]:
    """Return a key that changes when a file is replaced or modified; errors are left to the reader of the file."""
    try:
        found = Path(path).stat()
    except OSError:
        return fspath(path), 0, 0
    return str(Path(path).resolve()), found.st_mtime_ns, found.st_size
