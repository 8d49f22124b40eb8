from __future__ import annotations

import deeplab_caffe
from deeplab_caffe import _version


def test_dir_shows_what_there_is() -> None:
    shown = dir(deeplab_caffe)
    assert shown == sorted(set(shown))
    assert {"Net", "Segmenter", "Solver", "dense_crf", "CRFParams", "read_net", "DataError", "proto"} <= set(shown)
    for name in shown:
        assert getattr(deeplab_caffe, name) is not None


def test_every_error_is_at_the_top() -> None:
    errors = {
        name
        for name, value in vars(deeplab_caffe.errors).items()
        if isinstance(value, type) and issubclass(value, deeplab_caffe.DeepLabCaffeError)
    }
    assert errors <= set(dir(deeplab_caffe))


def test_the_version_stands_once() -> None:
    assert deeplab_caffe.__version__ == _version.__version__
