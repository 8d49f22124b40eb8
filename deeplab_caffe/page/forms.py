"""CRF parameters as JSON, as a command line and as Python, each of which gives the result that the page shows."""

from __future__ import annotations

import dataclasses
import json
import shlex
from dataclasses import dataclass

from deeplab_caffe.crf import CRFParams


@dataclass(frozen=True)
class Source:
    """The source of the scores.

    Attributes:
        photo: the photograph's file.
        network: name of the network; None for a mask.
        model: the prototxt of the user's network; None for a network of the package.
        weights: its weights.
        mask: the mask's file; None for a network.
        mask_kind: kind of the mask.
        certainty: see :func:`deeplab_caffe.page.read_mask`.
    """

    photo: str
    network: str | None = None
    model: str | None = None
    weights: str | None = None
    mask: str | None = None
    mask_kind: str = "auto"
    certainty: float = 0.8


def as_json(params: CRFParams) -> str:
    """Return the JSON for ``--crf FILE.json`` and :meth:`CRFParams.from_file`."""
    return json.dumps(dataclasses.asdict(params), indent=2) + "\n"


def as_command(params: CRFParams, source: Source) -> str:
    """Return a command line; for a mask it reads the folders of the page's ZIP file.

    There is no flag for ``min_probability``: the command uses the network's value, and 0 for a mask.
    """
    numbers = dataclasses.asdict(params)
    del numbers["min_probability"]
    flags = [word for name, value in numbers.items() for word in (f"--{name.replace('_', '-')}", f"{value}")]
    if source.network is not None:
        model = [source.network] if source.model is None else [source.model, "--weights", str(source.weights)]
        # A name that begins with a dash would be parsed as an option.
        photo = f"./{source.photo}" if source.photo.startswith("-") else source.photo
        words = ["deeplab-caffe", "segment", photo, "--model", *model, "--crf", *flags]
    else:
        words = ["deeplab-caffe", "crf", "--image-dir", "images", "--feature-dir", "scores", "--save-dir", "out"]
        words += ["--input", "bin", "--png", *flags]
    return shlex.join(words) + "\n"


def as_python(params: CRFParams, source: Source) -> str:
    """Return a program that ends with ``labels``, uint8 ``(H, W)``."""
    numbers = ", ".join(f"{name}={value!r}" for name, value in dataclasses.asdict(params).items())
    if source.network is not None:
        from_zoo, model, files = "", "", f"{source.model!r}, {source.weights!r}"
        if source.model is None:
            from_zoo = "from deeplab_caffe.zoo import EMBEDDED_MODELS\n"
            model, files = f"model = EMBEDDED_MODELS[{source.network!r}]\n", "model.deploy, model.weights"
        return (
            "from deeplab_caffe.crf import CRFParams\n"
            "from deeplab_caffe.data import load_image\n"
            "from deeplab_caffe.segmentation import Segmenter\n"
            f"{from_zoo}\n"
            f"params = CRFParams({numbers})\n"
            f"{model}"
            f"segmenter = Segmenter({files}, crf=params)\n"
            f"labels = segmenter(load_image({source.photo!r}))\n"
        )
    return (
        "from deeplab_caffe.crf import CRFParams, dense_crf\n"
        "from deeplab_caffe.data import load_image\n"
        "from deeplab_caffe.page import read_mask\n\n"
        f"params = CRFParams({numbers})\n"
        f"image = load_image({source.photo!r})\n"
        f"said = {{'kind': {source.mask_kind!r}, 'certainty': {source.certainty!r}}}\n"
        f"mask = read_mask({source.mask!r}, image.shape[:2], **said)\n"
        'marginals = dense_crf(mask.probabilities, image, params, kind="probabilities")\n'
        'labels = marginals.argmax(axis=0).astype("uint8")  # of mask.classes\n'
    )
