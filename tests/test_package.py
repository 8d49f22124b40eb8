from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

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


def without_torch(code: str) -> subprocess.CompletedProcess[str]:
    code = f"import sys; sys.modules['torch'] = None\n{code}"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_a_name_that_needs_torch_says_so() -> None:
    found = without_torch("import deeplab_caffe as dc; dc.CRFParams; dc.Segmenter")
    assert found.stderr.splitlines()[-1].endswith(
        "deeplab_caffe.Segmenter needs torch, which is not installed: pip install 'deeplab-caffe[torch]'"
    )


def test_every_door_to_a_network_says_what_to_install() -> None:
    doors = ["net", "layers", "inference", "solver", "segmentation", "segmenter", "pycaffe", "convert", "weights"]
    code = f"""
import importlib
for door in {doors}:
    try:
        importlib.import_module(f"deeplab_caffe.{{door}}")
    except ModuleNotFoundError as error:
        print(error)
try:
    from deeplab_caffe.crf import MeanField
except ModuleNotFoundError as error:
    print(error)
"""
    line = "networks need torch, which is not installed: pip install 'deeplab-caffe[torch]'"
    assert without_torch(code).stdout.splitlines() == [line] * (len(doors) + 1)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("trimap.void_distance(labels)", "trimaps need scipy"),
        ("boxes.connected_regions(labels > 0)", "connected regions need scipy"),
        ("boxes.label_map_boxes(labels, labels)", "objects' boxes need scipy"),
        ("preprocess(image, mean=(1, 2, 3))", "images in numpy arrays need torch"),
    ],
)
def test_a_function_that_needs_a_package_says_what_to_install(code: str, message: str) -> None:
    program = f"""
import sys

class NotInstalled:
    def find_spec(self, name, *_):
        if name.partition(".")[0] in ("torch", "scipy"):
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, NotInstalled())
import numpy as np
from deeplab_caffe import viz
from deeplab_caffe.data import boxes
from deeplab_caffe.evaluation import trimap
from deeplab_caffe.ops.preprocess import preprocess
image, labels = np.zeros((4, 4, 3), np.uint8), np.eye(4, dtype=np.uint8)
{code}
"""
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    module = message.rpartition(" ")[2]
    last = f"{message}, which is not installed: pip install 'deeplab-caffe[{module}]'"
    assert found.stderr.splitlines()[-1] == f"ModuleNotFoundError: {last}"


def test_the_dense_crf_works_without_torch() -> None:
    found = without_torch("""
import numpy as np, deeplab_caffe as dc
from deeplab_caffe.pydensecrf import densecrf
scores, image = np.zeros((2, 4, 5), np.float32), np.zeros((4, 5, 3), np.uint8)
print(dc.dense_crf(scores, image, dc.CRFParams(iterations=2)).shape)
marginals = dc.DenseCRF2D.for_image(image, dc.CRFParams(iterations=2)).infer(scores)
crf = densecrf.DenseCRF2D(5, 4, 2)
crf.setUnaryEnergy(-scores.reshape(2, -1))
crf.addPairwiseGaussian(sxy=3, compat=3)
print(marginals.shape, np.array(crf.inference(2)).shape)
""")
    assert found.stdout == "(2, 4, 5)\n(2, 4, 5) (2, 20)\n", found.stderr


def test_every_room_at_the_top_says_what_is_public() -> None:
    """Their modules count as names too, and importing them all needs no torch."""
    for room in ("crf_search", "ops", "pydensecrf", "weak"):
        found = without_torch(
            f"from deeplab_caffe.{room} import *\nprint(*sorted(name for name in dir() if name[0] != '_'))"
        )
        assert found.stderr == ""
        names = found.stdout.split()
        assert names == sorted(["sys", *importlib.import_module(f"deeplab_caffe.{room}").__all__])
    for room in deeplab_caffe._MODULES:
        module = importlib.import_module(f"deeplab_caffe.{room}")
        public = module.__all__ if hasattr(module, "__path__") else []
        assert all(hasattr(module, name) or importlib.import_module(f"{module.__name__}.{name}") for name in public)
