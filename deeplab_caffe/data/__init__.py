"""Images, label maps, list files, MAT and BIN files, and the sources of Caffe's data layers; needs only numpy.

Public functions take and return images as uint8 RGB ``(H, W, 3)``; blobs are float32 ``(N, C, H, W)``, B, G, R order
minus the mean, as in Caffe.
"""

from __future__ import annotations

from deeplab_caffe.data.io.atomic import atomic_write
from deeplab_caffe.data.io.bin import (
    read_labels_bin,
    read_probabilities_bin,
    write_labels_bin,
    write_probabilities_bin,
)
from deeplab_caffe.data.io.images import (
    MAX_PIXELS,
    load_grey,
    load_image,
    load_label,
    pixels_of,
    save_image,
    save_labels_png,
)
from deeplab_caffe.data.io.lists import ListEntry, read_id_list, read_image_list
from deeplab_caffe.data.io.mat import blob_mat_shape, read_blob_mat, read_scores_mat, write_blob_mat
from deeplab_caffe.data.io.resize import resize_bilinear
from deeplab_caffe.data.sources.database import DatabaseSource
from deeplab_caffe.data.sources.hdf5 import HDF5Source, HDF5Writer
from deeplab_caffe.data.sources.image import ImageSource
from deeplab_caffe.data.sources.image_seg import ImageSegSource
from deeplab_caffe.data.sources.image_seg_config import ImageSegDataConfig
from deeplab_caffe.data.sources.mat import MatNames, MatReader, MatWriter
from deeplab_caffe.data.sources.memory import MemorySource
from deeplab_caffe.data.sources.rng import CaffeRNG
from deeplab_caffe.data.sources.sharding import Shard
from deeplab_caffe.data.sources.transform import SegTransform, image_to_blob
from deeplab_caffe.data.sources.window import WindowSource

# The first versions of this package had this name.
DatabaseData = DatabaseSource

__all__ = [
    "MAX_PIXELS",
    "CaffeRNG",
    "DatabaseData",
    "DatabaseSource",
    "HDF5Source",
    "HDF5Writer",
    "ImageSegDataConfig",
    "ImageSegSource",
    "ImageSource",
    "ListEntry",
    "MatNames",
    "MatReader",
    "MatWriter",
    "MemorySource",
    "SegTransform",
    "Shard",
    "WindowSource",
    "atomic_write",
    "blob_mat_shape",
    "image_to_blob",
    "load_grey",
    "load_image",
    "load_label",
    "pixels_of",
    "read_blob_mat",
    "read_id_list",
    "read_image_list",
    "read_labels_bin",
    "read_probabilities_bin",
    "read_scores_mat",
    "resize_bilinear",
    "save_image",
    "save_labels_png",
    "write_blob_mat",
    "write_labels_bin",
    "write_probabilities_bin",
]
