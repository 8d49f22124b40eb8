"""One target for each kind of file that is read: a function of its bytes, files to begin with, words of its format."""

from __future__ import annotations

import io
import json
import struct
import warnings
import zlib
from collections.abc import Callable
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np

from deeplab_caffe.errors import DataError, DeepLabCaffeError

GOLDEN = Path(__file__).parents[1] / "golden"


class Target(NamedTuple):
    """How a kind of file is read.

    Attributes:
        suffix: of its files' names.
        read: reads a file; an error of the package's is as good as success.
        seeds: returns small sound files.
        tokens: words of the format.
    """

    suffix: str
    read: Callable[[Path], object]
    seeds: Callable[[], list[bytes]]
    tokens: tuple[bytes, ...] = ()


def written(write: Callable[[Path], object], suffix: str) -> bytes:
    """Return the bytes that a function writes to a path."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"seed{suffix}"
        write(path)
        return path.read_bytes()


def small_blob() -> np.ndarray:
    return np.arange(12, dtype=np.float32).reshape(1, 3, 2, 2)


# caffemodel, solverstate, prototxt


def model_seeds() -> list[bytes]:
    from tests.proto.binary.test_malformed import small_half, small_v1, small_v2

    return [small_v1(), small_v2(), small_half()]


def read_model(path: Path) -> None:
    from deeplab_caffe.proto import CaffeModel, read_blob

    with suppress(DeepLabCaffeError):
        read_blob(path)
    for layer in CaffeModel(path).layers:
        for blob in layer.blobs:
            _ = blob.data, blob.shape


def read_solverstate(path: Path) -> None:
    from deeplab_caffe.proto import read_solverstate

    for blob in read_solverstate(path).history:
        _ = blob.data, blob.shape


def solverstate_seeds() -> list[bytes]:
    from deeplab_caffe.proto import write_solverstate

    def write(path: Path, dialect: str) -> None:
        history = [np.ones((2, 3), np.float32), np.zeros(2, np.float32)]
        write_solverstate(path, 7, "x_iter_7.caffemodel", history, 1, dialect=dialect)

    return [written(partial(write, dialect=dialect), ".solverstate") for dialect in ("v1", "v2")]


def read_prototxt(path: Path) -> None:
    from deeplab_caffe.proto import read_net, read_solver

    with suppress(DeepLabCaffeError):
        read_net(path)
    read_solver(path)


def prototxt_seeds() -> list[bytes]:
    files = [GOLDEN / name for name in ("pooling_v0.prototxt", "solver_poly/solver.prototxt", "matread/net.prototxt")]
    found = [path.read_bytes() for path in files if path.exists()]
    net = (
        'name: "n" input: "data" input_dim: 1 input_dim: 3 input_dim: 8 input_dim: 8\n'
        'layers { bottom: "data" top: "c" name: "c" type: CONVOLUTION blobs_lr: 1 blobs_lr: 2\n'
        '  convolution_param { num_output: 2 kernel_size: 3 hole: 2 weight_filler { type: "gaussian" std: 0.01 } } }\n'
        'layers { bottom: "c" top: "c" name: "r" type: RELU } # ${VAR}\n'
    )
    v2 = 'layer { name: "s" type: "Softmax" bottom: "data" top: "p" softmax_param { axis: 1 } include { phase: TEST } }'
    return [*found, net.encode(), v2.encode()]


PROTOTXT_WORDS = (
    *(b"{", b"}", b":", b'"', b"#", b"<", b">", b"[", b"]", b",", b";", b"'", b"\\", b"${X}", b"\n", b"\\x1b", b"-"),
    *(b"layers {", b"layer {", b"type:", b"CONVOLUTION", b'"Convolution"', b"input_dim: 99999999999", b"input_shape {"),
    *(b"convolution_param {", b"kernel_size: 0", b"num_output: -1", b"include { phase: TRAIN }", b"1e400", b"0x10"),
    *(b"layers { layer { type: 'conv' } }", b"net_param {", b"solver_mode: GPU", b"lr_policy: 'poly'", b"test_iter: 1"),
)


# State of a run, tensors


def resume_seeds() -> list[bytes]:
    from deeplab_caffe.solver.statefile import write_state

    state = {"a": np.arange(4), "b": [1, 2.5, None, {"c": np.ones((2, 2), np.float32)}], "format": "x"}
    return [written(lambda path: write_state(path, state), ".resume")]


def read_resume(path: Path) -> None:
    from deeplab_caffe.solver.statefile import read_state

    read_state(path)


def read_tensors(path: Path) -> None:
    from deeplab_caffe.net.tensors import read_tensors

    read_tensors(path)


def small_state() -> dict[str, object]:
    import torch

    return {"a.weight": torch.ones(2, 3), "a.bias": torch.zeros(2)}


def safetensors_seeds() -> list[bytes]:
    from safetensors.torch import save

    return [save(small_state(), metadata={"format": "pt"})]


def pth_seeds() -> list[bytes]:
    import torch

    seeds = []
    for is_zip in (True, False):
        stream = io.BytesIO()
        torch.save(small_state(), stream, _use_new_zipfile_serialization=is_zip)
        seeds.append(stream.getvalue())
    return seeds


# Data


def mat_seeds() -> list[bytes]:
    from deeplab_caffe.data.io.mat import write_blob_mat

    plain = written(lambda path: write_blob_mat(path, small_blob()), ".mat")
    packed = zlib.compress(plain[128:])
    return [plain, plain[:128] + struct.pack("<II", 15, len(packed)) + packed]


def read_mat(path: Path) -> None:
    from deeplab_caffe.data import read_blob_mat

    read_blob_mat(path)


def bin_seeds() -> list[bytes]:
    from deeplab_caffe.data.io.bin import write_labels_bin, write_probabilities_bin

    return [
        written(lambda path: write_probabilities_bin(path, small_blob()[0]), ".bin"),
        written(lambda path: write_labels_bin(path, np.eye(4, dtype=np.int16)), ".bin"),
    ]


def read_bin(path: Path) -> None:
    from deeplab_caffe.data.io.bin import read_labels_bin, read_probabilities_bin

    with suppress(DeepLabCaffeError):
        read_labels_bin(path)
    read_probabilities_bin(path)


def npy_seeds() -> list[bytes]:
    return [written(lambda path: np.save(path, small_blob()[0]), ".npy")]


def read_npy(path: Path) -> None:
    from deeplab_caffe.data.io.npy import read_scores_npy

    read_scores_npy(path, (2, 2))


NPY_WORDS = (
    *(b"'descr'", b"'<f4'", b"'|O'", b"'<U9'", b"'<M8'", b"('a','<f4')", b"(", b")", b"{", b"}", b"[", b'"""', b"#"),
    *(b"(-1,)", b"(99999999999999,)", b"True", b"\x93NUMPY", b"PK\x03\x04", b"\\", b"\xff"),
)


def datum_seeds() -> list[bytes]:
    from PIL import Image

    from deeplab_caffe.proto import caffe_pb2

    stream = io.BytesIO()
    Image.fromarray(np.zeros((4, 5, 3), np.uint8)).save(stream, "PNG")
    return [
        caffe_pb2.Datum(channels=3, height=2, width=2, label=5, data=bytes(range(12))).SerializeToString(),
        caffe_pb2.Datum(channels=1, height=1, width=2, float_data=[1, 2.5]).SerializeToString(),
        caffe_pb2.Datum(encoded=True, data=stream.getvalue(), label=1).SerializeToString(),
    ]


def read_datum(path: Path) -> None:
    from deeplab_caffe.data.sources.database import decode_datum

    # As DatabaseSource does: it names the record.
    try:
        decode_datum(path.read_bytes(), path.name)
    except DeepLabCaffeError:
        raise
    except ValueError as error:
        raise DataError(str(error), path) from error


def lmdb_seeds() -> list[bytes]:
    import lmdb

    def write(path: Path) -> None:
        environment = lmdb.open(str(path), subdir=False, map_size=1 << 20, lock=False)
        with environment, environment.begin(write=True) as transaction:
            for i in range(60):
                transaction.put(b"%08d" % i, bytes([i]) * (5000 if i == 7 else 100))

    return [written(write, ".mdb")]


def read_lmdb(path: Path) -> None:
    from deeplab_caffe.data.io.database import LMDB

    database = LMDB(path)
    for key in database.keys():  # noqa: SIM118  # a Database is no dict
        database.get(key)


def hdf5_seeds() -> list[bytes]:
    import h5py

    def write(path: Path, **kept: object) -> None:
        with h5py.File(path, "w") as file:
            file.create_dataset("data", data=small_blob()[0], **kept)
            file.create_dataset("label", data=np.arange(3.0), **kept)

    return [
        written(write, ".h5"),
        written(lambda path: write(path, chunks=True, compression="gzip", shuffle=True), ".h5"),
    ]


def read_hdf5(path: Path) -> None:
    from deeplab_caffe.data import HDF5Source, read_blob_mat
    from deeplab_caffe.files.hdf5 import find_all, read_dataset

    with suppress(DeepLabCaffeError):
        read_blob_mat(path)
    with suppress(DeepLabCaffeError):
        for dataset in find_all(path)[1].values():
            if dataset.dtype.kind in "fiu":
                read_dataset(dataset)
    names = path.with_suffix(".txt")
    names.write_text(str(path))
    HDF5Source(names, ["data", "label"], 3).next_batch()


def xml_seeds() -> list[bytes]:
    box = "<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>3</xmax><ymax>4</ymax></bndbox>"
    found = f"<object><name>cat</name><difficult>0</difficult>{box}</object>"
    size = "<size><width>9</width><height>8</height><depth>3</depth></size>"
    return [
        f"<annotation><filename>a.jpg</filename>{size}{found}</annotation>".encode(),
        f'<?xml version="1.0" encoding="latin-1"?><annotation>{size}{found}{found}</annotation>'.encode(),
    ]


def read_xml(path: Path) -> None:
    from deeplab_caffe.data.boxes import read_voc_boxes

    read_voc_boxes(path, ("background", "cat"))


XML_WORDS = (
    *(
        b"<object>",
        b"</object>",
        b"<bndbox>",
        b"<xmin>",
        b"</xmin>",
        b"1e999",
        b"nan",
        b"<!DOCTYPE a [",
        b"]>",
        b"&lol;",
    ),
    *(b'<!ENTITY lol "lol">', b'<!ENTITY x SYSTEM "file:///etc/passwd">', b'encoding="utf-32"', b'encoding="rot13"'),
    *(b'encoding="idna"', b'encoding="hex"', b"<![CDATA[", b"<name>", b"&#0;", b"&#x110000;"),
)


def png_seeds() -> list[bytes]:
    from PIL import Image

    found = []
    labels = Image.fromarray((np.arange(20, dtype=np.uint8) % 4).reshape(4, 5))
    palette = labels.convert("P")
    palette.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0])
    for image, name in (
        (labels, "PNG"),
        (palette, "PNG"),
        (labels.convert("1"), "PNG"),
        (labels.convert("RGB"), "PPM"),
    ):
        stream = io.BytesIO()
        image.save(stream, name)
        found.append(stream.getvalue())
    return found


def read_png(path: Path) -> None:
    from deeplab_caffe.data import load_image, load_label

    with suppress(DeepLabCaffeError):
        load_label(path)
    load_image(path)


PNG_WORDS = (
    b"IHDR",
    b"PLTE",
    b"tRNS",
    b"IDAT",
    b"IEND",
    b"zTXt",
    b"iCCP",
    b"eXIf",
    b"acTL",
    b"GIF89a",
    b"BM",
    b"II*\0",
)


# Text


def params_seeds() -> list[bytes]:
    params = {"pos_w": 3, "pos_xy_std": 3, "bi_w": 4.0, "bi_xy_std": 49, "bi_rgb_std": 5, "iterations": 10}
    return [json.dumps(params, indent=1).encode()]


def read_params(path: Path) -> None:
    from deeplab_caffe.crf.params import CRFParams

    CRFParams.from_file(path)


def log_seeds() -> list[bytes]:
    records = [
        {"event": "train", "iteration": 0, "loss": 3.0, "lr": 0.001},
        {"event": "train", "iteration": 20, "loss": 2.5, "lr": 0.001},
        {"event": "test", "iteration": 20, "accuracy": [0.1, 0.5]},
    ]
    return ["\n".join(json.dumps(record) for record in records).encode()]


def read_log(path: Path) -> None:
    from deeplab_caffe.solver.log import read_log

    read_log(path)


JSON_WORDS = (
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b",",
    b'"',
    b"null",
    b"true",
    b"NaN",
    b"1e400",
    b'"\\ud800"',
    b'"iteration":',
)


def classes_seeds() -> list[bytes]:
    return [b"background 0 0 0\ncat 128 0 0\n", b"sky\nroad\n", b"# names\na b 1 2 3\n"]


def read_classes(path: Path) -> None:
    from deeplab_caffe.data.classes import find_classes

    find_classes(path)


def colours_seeds() -> list[bytes]:
    return [b"0 0 0\n128 0 0\n", b"1\t2 3\r\n\n255 255 255"]


def read_colours(path: Path) -> None:
    from deeplab_caffe.data.classes import find_colormap

    find_colormap(path, 2)


def list_seeds() -> list[bytes]:
    return [
        b"/JPEGImages/a.jpg /Labels/a.png\n/b.jpg /b.png\n",
        b"a.jpg 3\nb.jpg 7\n",
        b"2007_000032\n2007_000039\n",
        b"# 0\na.jpg\n3\n20\n30\n2\n1 0.9 0 0 9 9\n0 0.1 1 1 5 5\n",
    ]


def read_lists(path: Path) -> None:
    from deeplab_caffe.data.io.lists import read_id_list, read_image_list, read_labelled_list, read_words
    from deeplab_caffe.data.io.windows import read_window_file

    for read in (read_image_list, read_id_list, read_words):
        with suppress(DeepLabCaffeError):
            read(path)
    for count in (21, 1):
        with suppress(DeepLabCaffeError):
            read_labelled_list(path, count)
    read_window_file(path, 0.5, 0.5)


@cache
def targets() -> dict[str, Target]:
    """Return all targets by name; the first need no torch."""
    warnings.simplefilter("ignore")
    return {
        "caffemodel": Target(".caffemodel", read_model, model_seeds),
        "solverstate": Target(".solverstate", read_solverstate, solverstate_seeds),
        "prototxt": Target(".prototxt", read_prototxt, prototxt_seeds, PROTOTXT_WORDS),
        "mat": Target(".mat", read_mat, mat_seeds),
        "npy": Target(".npy", read_npy, npy_seeds, NPY_WORDS),
        "bin": Target(".bin", read_bin, bin_seeds),
        "datum": Target(".datum", read_datum, datum_seeds),
        "lmdb": Target(".mdb", read_lmdb, lmdb_seeds),
        "hdf5": Target(".h5", read_hdf5, hdf5_seeds, (b"SNOD", b"HEAP", b"TREE", b"OHDR", b"\x89HDF\r\n\x1a\n")),
        "xml": Target(".xml", read_xml, xml_seeds, XML_WORDS),
        "label": Target(".png", read_png, png_seeds, PNG_WORDS),
        "list": Target(".txt", read_lists, list_seeds, (b"\n", b" ", b"\t", b"#", b'"', b"\\", b"\r", b"..", b"\x85")),
        "colours": Target(".txt", read_colours, colours_seeds, (b"\n", b" ", b"256", b"-1", b"\t", b"0009", b"1e2")),
        "classes": Target(".txt", read_classes, classes_seeds, (b"\n", b" ", b"256", b"-1", b",", b"\t", b"#")),
        "crf": Target(".json", read_params, params_seeds, JSON_WORDS),
        "log": Target(".jsonl", read_log, log_seeds, JSON_WORDS),
        "resume": Target(".resume", read_resume, resume_seeds),
        "safetensors": Target(".safetensors", read_tensors, safetensors_seeds, JSON_WORDS),
        "pth": Target(".pth", read_tensors, pth_seeds),
    }
