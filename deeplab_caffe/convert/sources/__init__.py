"""Networks that others trained, from which training can start: one module each, and the search for a file's kind."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike

import numpy as np
import torch
from torch import Tensor

from deeplab_caffe.convert.sources.caffe_resnet import CAFFE_RESNETS
from deeplab_caffe.convert.sources.caffe_vgg16 import CAFFE_VGG16
from deeplab_caffe.convert.sources.deeplab_pytorch import DEEPLAB_PYTORCH
from deeplab_caffe.convert.sources.keras_vgg16 import HED_VGG16, KERAS_VGG16
from deeplab_caffe.convert.sources.lite0 import LITE0
from deeplab_caffe.convert.sources.source import Part, Source
from deeplab_caffe.convert.sources.torchvision_resnet import TORCHVISION_RESNETS
from deeplab_caffe.convert.sources.torchvision_vgg16 import TORCHVISION_VGG16S
from deeplab_caffe.errors import ConversionError
from deeplab_caffe.net.hdf5 import Tree, is_hdf5, read_tree
from deeplab_caffe.net.tensors import read_tensors, some
from deeplab_caffe.proto import CaffeModel

__all__ = ["SOURCES", "Part", "Source", "find_source", "read_named"]

# The kind of a file is found by the names in it; the first match is used.
SOURCES = (
    *(LITE0, *TORCHVISION_VGG16S, *TORCHVISION_RESNETS, DEEPLAB_PYTORCH),
    *(HED_VGG16, KERAS_VGG16, CAFFE_VGG16, *CAFFE_RESNETS),
)


def read_named(path: str | PathLike[str]) -> dict[str, Tensor]:
    """Return all tensors of a file by name.

    Of a state_dict or safetensors file, a caffemodel (``conv1_1/0``, ``conv1_1/1``, ...), or HDF5 (by path; of a
    caffemodel in HDF5 as of a caffemodel). The first bytes tell which.

    Raises:
        ConversionError: the file cannot be read.
        CaffeModelError: a caffemodel or HDF5 file cannot be read.
    """
    if is_hdf5(path):
        return {name.removeprefix("data/"): torch.from_numpy(values) for name, values in _flat(read_tree(path), "")}
    tensors = read_tensors(path)
    if tensors is not None:
        return tensors
    return {
        f"{layer.name}/{i}": torch.from_numpy(np.array(blob.data, dtype=np.float32).reshape(blob.shape))
        for layer in CaffeModel(path).layers
        for i, blob in enumerate(layer.blobs)
    }


def _flat(tree: Tree, before: str) -> list[tuple[str, np.ndarray]]:
    found: list[tuple[str, np.ndarray]] = []
    for name, value in tree.items():
        if isinstance(value, dict):
            found += _flat(value, f"{before}{name}/")
        elif value.dtype.kind in "fiu":
            found.append((f"{before}{name}", value))
    return found


def find_source(tensors: Mapping[str, Tensor], path: str | PathLike[str]) -> Source:
    """Return the source whose tensors a file has.

    Raises:
        ConversionError: no source matches.
    """
    for source in SOURCES:
        if source.matches(tensors):
            return source
    raise ConversionError(
        f"{path}: holds none of the networks that training can start from ({', '.join(one.title for one in SOURCES)}): "
        f"its names are {some(list(tensors))}"
    )
