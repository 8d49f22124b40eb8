"""Draw the README's picture: a row for each photograph with photograph, labels, labels after the dense CRF, and legend.

Run from the checkout's root: ``python -m tools.readme_picture`` for the demo's photographs and the network that comes
with the package; or ``python -m tools.readme_picture PHOTO ... --model deploy.prototxt --weights X.caffemodel``.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

import deeplab_caffe as dc
from deeplab_caffe import viz
from deeplab_caffe.data import load_image, save_image
from deeplab_caffe.segmentation import Segmentation
from deeplab_caffe.zoo import DEFAULT_MODEL, DEMO_PHOTOS

PICTURE = Path(__file__).resolve().parent.parent / "docs" / "images" / "segmentation.jpg"
GAP = 8
FONT_SIZE = 20


def row(photo: np.ndarray, plain: Segmentation, refined: Segmentation, width: int) -> np.ndarray:
    """Return photograph, labels, labels after the CRF and their legend side by side.

    Args:
        photo: uint8 RGB ``(H, W, 3)``.
        plain: what the network says of it.
        refined: the same after the CRF; the legend has its classes and shares.
        width: of each column in pixels; the legend's is three fifths of it.
    """
    pictures = [photo, *(found.overlay(photo, legend=False) for found in (plain, refined))]
    height = max(1, round(len(photo) * width / photo.shape[1]))
    columns = [np.asarray(Image.fromarray(one).resize((width, height), Image.Resampling.LANCZOS)) for one in pictures]
    assert refined.classes is not None
    names, colours = refined.classes.names, refined.classes.colormap
    columns.append(
        viz.legend(
            names, colours, width=width * 3 // 5, font_size=FONT_SIZE, present=refined.labels, shares=True, column=True
        )
    )
    tallest = max(map(len, columns))
    return viz.beside([filled(column, tallest) for column in columns], GAP)


def filled(picture: np.ndarray, height: int) -> np.ndarray:
    """Return a picture with white below it, up to a height."""
    return np.pad(picture, ((0, height - len(picture)), (0, 0), (0, 0)), constant_values=255)


def stacked(rows: Sequence[np.ndarray]) -> np.ndarray:
    """Return rows of one width one below the other, white between them."""
    return np.concatenate([filled(one, len(one) + GAP) for one in rows])[:-GAP]


def rows(options: argparse.Namespace) -> Iterator[np.ndarray]:
    """Segment the photographs with and without the CRF, and make a row of each."""
    built_in = options.model is None
    model, weights = (DEFAULT_MODEL.deploy, DEFAULT_MODEL.weights) if built_in else (options.model, options.weights)
    crf = options.crf or (DEFAULT_MODEL.crf if built_in else dc.CRFParams())
    plain, refined = (
        dc.Segmenter(model, weights, crf=params, classes=options.classes, device="cpu") for params in (None, crf)
    )
    for path in options.photos:
        photo = load_image(path)
        yield row(photo, plain.segment(photo), refined.segment(photo), options.width)


def main(arguments: list[str] | None = None) -> None:
    """Segment the photographs and write the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", nargs="*", default=list(DEMO_PHOTOS))
    parser.add_argument("--model", help="deploy.prototxt; without it the network that comes with the package")
    parser.add_argument("--weights", help="its weights")
    parser.add_argument("--classes", help="names and colours of the classes, as segment takes them")
    parser.add_argument("--crf", help="CRF parameters by name or from a .json file")
    parser.add_argument("--width", type=int, default=400, help="of each column, in pixels")
    parser.add_argument("--out", type=Path, default=PICTURE)
    options = parser.parse_args(arguments)
    if (options.model is None) != (options.weights is None):
        parser.error("--model and --weights go together")
    save_image(options.out, stacked(list(rows(options))), quality=80)
    print(f"{options.out} ({options.out.stat().st_size / 1000:.0f} KB)")


if __name__ == "__main__":
    main()
