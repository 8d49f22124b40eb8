"""Creating a :class:`~deeplab_caffe.page.tuner.Tuner` from files, and the page's pictures and files from it."""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from deeplab_caffe import viz
from deeplab_caffe.crf import CRFParams
from deeplab_caffe.crf.inputs import Kind
from deeplab_caffe.data import load_image, write_probabilities_bin
from deeplab_caffe.page.forms import Source
from deeplab_caffe.page.masks import MOST_PIXELS, MaskKind, read_mask
from deeplab_caffe.page.tuner import Refined, Tuner
from deeplab_caffe.zoo import EMBEDDED_MODELS

# Contents of the two halves of the wipe.
LABELS, HEAT = "classes", "probability of one class"

# Colours of the heat for probabilities 0, 1/4, ..., 1: dark blue, purple, red, orange, light yellow.
_HEAT = np.array([[8, 8, 40], [90, 20, 120], [205, 50, 70], [250, 150, 40], [255, 250, 190]], np.float32)


@dataclass(frozen=True)
class Network:
    """A network that the page offers.

    Attributes:
        name: its name on the page.
        deploy: its deploy prototxt.
        weights: its weights.
        crf: initial parameters of the sliders.
        own: whether it is the user's network, not one of the package's.
    """

    name: str
    deploy: str
    weights: str
    crf: CRFParams
    own: bool = False


NETWORKS = {
    name: Network(name, str(model.deploy), str(model.weights), model.crf) for name, model in EMBEDDED_MODELS.items()
}


def own_network(deploy: str, weights: str) -> Network:
    """Return a network of the user's own, called by its prototxt's folder and name: all are called deploy.prototxt."""
    path = Path(deploy)
    return Network(f"{path.resolve().parent.name}/{path.name}", deploy, weights, CRFParams(), own=True)


@dataclass(frozen=True)
class Session:
    """One picture on the page.

    Attributes:
        tuner: its scores and lattices.
        source: its files.
        params: initial parameters of the sliders: the network's parameters, or the defaults.
    """

    tuner: Tuner
    source: Source
    params: CRFParams

    def pictures(self, refined: Refined, show: str = LABELS, name: str | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Return the picture before and after the CRF, uint8 RGB ``(H, W, 3)`` each.

        Args:
            refined: result of the CRF.
            show: the classes' colours over the photograph, or with :data:`HEAT` one class's probabilities.
            name: name of that class.
        """
        image, classes = self.tuner.image, self.tuner.classes
        if show == HEAT:
            label = classes.names.index(name) if name in classes.names else len(classes) - 1
            return heat(image, self.tuner.before[label]), heat(image, refined.marginals[label])
        return self._overlay_before, self._overlay(refined.labels)

    @cached_property
    def _overlay_before(self) -> np.ndarray:
        return self._overlay(self.tuner.labels_before)

    def _overlay(self, labels: np.ndarray) -> np.ndarray:
        picture = viz.overlay(self.tuner.image, labels, self.tuner.classes.colormap, ignore_label=None)
        return viz.outlined(picture, labels, ignore_label=None)

    def present(self, refined: Refined) -> list[str]:
        """Return the names of the classes that occur before or after the CRF, the largest marginals first."""
        found = np.union1d(np.unique(self.tuner.labels_before), np.unique(refined.labels))
        shares = refined.marginals.mean(axis=(1, 2))
        return [self.tuner.classes.names[label] for label in sorted(found.tolist(), key=lambda one: -shares[one])]

    def changed(self, refined: Refined) -> float:
        """Return the share of the pixels, from 0 to 1, whose label the CRF changed."""
        return float((self.tuner.labels_before != refined.labels).mean())

    def archive(self, probabilities: np.ndarray, path: Path) -> Path:
        """Write a ZIP file of the folders ``images`` and ``scores``.

        The command of :func:`deeplab_caffe.page.forms.as_command` reads these folders.
        """
        stem = Path(self.source.photo).stem
        scores = path.with_suffix(".bin")
        write_probabilities_bin(scores, probabilities)
        picture = io.BytesIO()
        Image.fromarray(self.tuner.image).save(picture, "PNG")
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(f"images/{stem}.png", picture.getvalue())
            archive.write(scores, f"scores/{stem}.bin")
        scores.unlink()
        return path


def open_network(photo: str, network: Network, *, shown: str | None = None, device: str = "cpu") -> Session:
    """Run a network on a photograph.

    Args:
        photo: its file.
        network: the network.
        shown: the file's name for :class:`Source`.
        device: device of the network and the CRF.

    Raises:
        DataError: the photograph cannot be read.
        DeepLabCaffeError: the network's files cannot be read, or it is not a segmentation network.
        NetError: the photograph does not fit the network or the memory.
        ModuleNotFoundError: torch is not installed.
    """
    image = load_image(photo, max_pixels=MOST_PIXELS)
    found = _segmenter(network, device).segment(image)
    scores, kind = _scores(found)
    tuner = Tuner(image, scores, found.classes, kind=kind, device=device)
    files = (network.deploy, network.weights) if network.own else (None, None)
    return Session(tuner, Source(shown or photo, network.name, *files), network.crf)


def open_mask(
    photo: str,
    mask: str,
    *,
    kind: MaskKind = "auto",
    certainty: float = 0.8,
    shown: tuple[str, str] | None = None,
    device: str = "cpu",
) -> Session:
    """Take a photograph and a mask; needs no torch. Arguments and errors as of :func:`read_mask`.

    Args:
        photo: the photograph's file.
        mask: the mask's file.
        kind: kind of the mask.
        certainty: confidence in the mask.
        shown: the files' names for :class:`Source`.
        device: device of the CRF.
    """
    image = load_image(photo, max_pixels=MOST_PIXELS)
    found = read_mask(mask, (image.shape[0], image.shape[1]), kind=kind, certainty=certainty)
    tuner = Tuner(image, found.probabilities, found.classes, kind="probabilities", device=device)
    names = shown or (photo, mask)
    return Session(tuner, Source(names[0], mask=names[1], mask_kind=found.kind, certainty=certainty), CRFParams())


def heat(image: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Return probabilities ``(H, W)`` as colours from dark blue to light yellow, the photograph showing through."""
    steps = np.linspace(0, 1, len(_HEAT))
    table = np.stack([np.interp(np.linspace(0, 1, 256), steps, channel) for channel in _HEAT.T], axis=-1)
    colours = table.astype(np.float32)[np.rint(probabilities.clip(0, 1) * 255).astype(np.uint8)]
    grey = image.mean(axis=2, dtype=np.float32)[..., None]
    return np.asarray((0.7 * colours + 0.3 * grey).astype(np.uint8))


@lru_cache(maxsize=2)
def _segmenter(network: Network, device: str) -> Any:
    from deeplab_caffe.segmentation import Segmenter

    return Segmenter(network.deploy, network.weights, device=device)


def _scores(found: Any) -> tuple[np.ndarray, Kind | None]:
    """Return the scores and their kind that :class:`~deeplab_caffe.segmentation.Segmenter` passes to its CRF."""
    if found.activation == "softmax":
        return found.scores, None
    probabilities = found.probabilities()
    if len(probabilities) == 1:
        probabilities = np.concatenate([1 - probabilities, probabilities])
    return probabilities, "probabilities"
