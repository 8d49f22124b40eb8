from __future__ import annotations

import subprocess
import sys

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


def test_a_name_that_needs_torch_says_so() -> None:
    code = "import sys; sys.modules['torch'] = None; import deeplab_caffe as dc; dc.CRFParams; dc.Segmenter"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    last = found.stderr.splitlines()[-1]
    assert last.endswith("deeplab_caffe.Segmenter needs torch, which is not installed: pip install torch")
