"""What the networks have in common: data, rates, scales of the image, losses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from deeplab_caffe.data.sources.transform import IMAGENET_MEAN_BGR
from tools.networks.text import SUM, Net, Word

NO_PAD = {"pad_beg": 0, "pad_end": 0}
SCALE_FACTORS = [0.5, 0.75, 1, 1.25, 1.5]
NO_LABEL = 255
IGNORE = {"ignore_label": NO_LABEL}
# Weights and biases of a layer that goes on learning, and of one that begins.
OLD = (1, 2)
NEW = (10, 20)
FILLED = {"weight_filler": {"type": "gaussian", "std": 0.01}, "bias_filler": {"type": "constant", "value": 0}}


def data(
    net: Net,
    *,
    crop: int,
    batch: int = 1,
    label_type: str = "PIXEL",
    data_dim: bool = True,
    scale_factors: Sequence[float] = (),
    mean: Sequence[float] = IMAGENET_MEAN_BGR,
) -> str:
    """Write where the images come from: a data layer, or a deploy net's input of (1, 3, crop, crop).

    Args:
        net: the net.
        crop: the images' side.
        batch: images a time.
        label_type: PIXEL, or NONE where there are no label maps.
        data_dim: whether a train net has this top as well.
        scale_factors: by one of which a train net's image is enlarged, at random.
        mean: what is subtracted from B, G and R.

    Returns:
        The name ``data``.
    """
    if net.kind == "deploy":
        return net.input("data", 1, 3, crop, crop)
    training = net.training
    transform: dict[str, Any] = {"mirror": training, "crop_size": crop, "mean_value": list(mean)}
    if training and scale_factors:
        transform["scale_factors"] = list(scale_factors)
    source = "${EXP}/list/${TRAIN_SET}.txt" if training else "${EXP}/list/${TEST_SET}.txt"
    images: dict[str, Any] = {"root_folder": "${DATA_ROOT}", "source": source, "batch_size": batch}
    if training:
        images["shuffle"] = True
    return net.layer(
        "ImageSegData",
        "data",
        (),
        ("data", "label", "data_dim") if data_dim or not training else ("data", "label"),
        include={"phase": Word("TRAIN" if training else "TEST")},
        transform_param=transform,
        image_data_param={**images, "label_type": Word(label_type)},
    )


def params(rates: Sequence[float], names: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Return the ``param`` messages of weights and biases: the rates, and decay for the weights alone.

    Args:
        rates: ``lr_mult`` of each; none for messages with names alone.
        names: by which layers share them; none where they share nothing.
    """
    count = max(len(rates), len(names))
    return [
        ({"name": names[i]} if names else {}) | ({"lr_mult": rates[i], "decay_mult": 1 - i} if rates else {})
        for i in range(count)
    ]


def convolution(
    net: Net,
    name: str,
    bottom: str,
    *,
    rates: Sequence[float] = (),
    share: str | None = None,
    **fields: Any,
) -> str:
    """Write a convolution; return its top.

    Args:
        net: the net.
        name: its name.
        bottom: its bottom.
        rates: ``lr_mult`` of weights and biases.
        share: its parameters are called ``{share}_w`` and ``{share}_b``.
        fields: of its ``convolution_param``.
    """
    names = (f"{share}_w", f"{share}_b") if share else ()
    param = {"param": params(rates, names)} if rates or names else {}
    return net.layer("Convolution", name, bottom, **param, convolution_param=fields)


def new_convolution(net: Net, name: str, bottom: str, share: str | None = None, **fields: Any) -> str:
    """Write a convolution that begins anew in a train net, at ten times the rate of the others; return its top."""
    new = FILLED if net.training else {}
    return convolution(net, name, bottom, rates=NEW if net.training else (), share=share, **fields, **new)


def scores(net: Net, name: str, bottom: str, share: str | None = None, **fields: Any) -> str:
    """Write the convolution that gives each class's score; return its top."""
    return new_convolution(net, name, bottom, share, num_output=net.num_labels, **fields)


def relu(net: Net, name: str, blob: str) -> str:
    """Write a ReLU in place; return the blob."""
    return net.layer("ReLU", name, blob, blob)


def dropout(net: Net, name: str, blob: str, ratio: float = 0.5) -> str:
    """Write a dropout in place; return the blob."""
    return net.layer("Dropout", name, blob, blob, dropout_param={"dropout_ratio": ratio})


def interp(net: Net, name: str, bottom: str, **fields: Any) -> str:
    """Write an Interp; return its top."""
    return net.layer("Interp", name, bottom, interp_param=fields)


def eltwise(net: Net, name: str, bottoms: Sequence[str], operation: Word = SUM) -> str:
    """Write an Eltwise; return its top."""
    return net.layer("Eltwise", name, bottoms, eltwise_param={"operation": operation})


def half_and_three_quarters(net: Net, half: str, three_quarters: str) -> tuple[str, str]:
    """Write the image at half and at three quarters of its size, under these names; return them."""
    net.comment("The image at 1/2 and at 3/4 of its size.")
    return (
        interp(net, half, "data", shrink_factor=2, **NO_PAD),
        interp(net, three_quarters, "data", shrink_factor=4, zoom_factor=3, **NO_PAD),
    )


def enlarged(net: Net, stem: str) -> tuple[str, str]:
    """Bring ``{stem}_res05`` and ``{stem}_res075`` to the size of ``stem``; return the tops."""
    return (
        interp(net, f"{stem}_res05_interp", f"{stem}_res05", zoom_factor=2, **NO_PAD),
        interp(net, f"{stem}_res075_interp", f"{stem}_res075", zoom_factor=4, shrink_factor=3, **NO_PAD),
    )


def shrunk_label(net: Net, name: str, factor: int = 8) -> str:
    """Write every ``factor``-th label, as the scores have them; return the top."""
    return interp(net, name, "label", shrink_factor=factor, **NO_PAD)


def loss(net: Net, bottom: str, label: str, suffix: str = "") -> None:
    """Write the loss of scores, and their accuracy."""
    phase = {"phase": Word("TRAIN")}
    net.layer("SoftmaxWithLoss", f"loss{suffix}", (bottom, label), (), include=phase, loss_param=IGNORE)
    net.layer("SegAccuracy", f"accuracy{suffix}", (bottom, label), seg_accuracy_param=IGNORE)


def losses_of_three_scales(net: Net, fusion: str, stem: str, label: str) -> None:
    """Write the losses of the fusion and of the scales: that of 1/2 at its own size, all others at that of 1."""
    shrunk_label(net, label)
    loss(net, fusion, label)
    net.comment("Extra supervision: the scores of each scale by themselves.")
    loss(net, stem, label, "_res1")
    loss(net, f"{stem}_res075_interp", label, "_res075")
    loss(net, f"{stem}_res05", shrunk_label(net, "label_shrink16", 16), "_res05")


def argmax(net: Net, name: str, bottom: str) -> str:
    """Write the layer that finds each pixel's best class; return its top."""
    return net.layer("ArgMax", name, bottom, argmax_param={"axis": 1})


def dense_crf(net: Net, bottom: str, pos: tuple[float, float], bi: tuple[float, float, float]) -> str:
    """Write the dense CRF; return its top.

    Args:
        net: the net.
        bottom: the scores of each pixel.
        pos: weight and standard deviation of the smoothness kernel.
        bi: weight, and standard deviations of position and colour, of the appearance kernel.
    """
    param = {"max_iter": 10, "pos_w": pos[0], "pos_xy_std": pos[1]}
    param |= {"bi_w": bi[0], "bi_xy_std": bi[1], "bi_rgb_std": bi[2]}
    phase = {"phase": Word("TEST")}
    return net.layer("DenseCRF", "crf", (bottom, "data_dim", "data"), "crf_inf", dense_crf_param=param, include=phase)


def mat_write(net: Net, name: str, bottom: str, folder: str) -> None:
    """Write the layer that saves scores as MAT files, an image a file."""
    net.layer(
        "MatWrite",
        name,
        bottom,
        (),
        include={"phase": Word("TEST")},
        mat_write_param={
            "prefix": f"${{FEATURE_DIR}}/${{TEST_SET}}/{folder}/",
            "source": "${EXP}/list/${TEST_SET}_id.txt",
            "strip": 0,
            "period": 1,
        },
    )


def silence(net: Net, *bottoms: str) -> None:
    """Write the layer that takes blobs which nothing else does."""
    net.layer("Silence", "silence", bottoms, ())
