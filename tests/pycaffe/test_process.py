"""pycaffe's functions for the process, and its name."""

from __future__ import annotations

import logging
import subprocess
import sys

import pytest

import deeplab_caffe.pycaffe as caffe
from deeplab_caffe.errors import NetError
from deeplab_caffe.layers import LAYERS


def test_log(capsys, monkeypatch):
    logger = logging.getLogger("deeplab_caffe.pycaffe")
    monkeypatch.setattr(logger, "handlers", [])
    monkeypatch.setattr(logger, "propagate", False)
    caffe.init_log()
    caffe.init_log(0, True)  # no second handler
    caffe.log("Using 100 % of it")
    caffe.init_log(1)
    caffe.log("no warning")
    caffe.init_log()
    caffe.set_logging_disabled()
    caffe.log("not this")
    assert capsys.readouterr().err == "Using 100 % of it\n"
    logger.setLevel(logging.NOTSET)
    with pytest.raises(NetError, match=r"level must be 0 \(INFO\) to 3 \(FATAL\), got 4"):
        caffe.init_log(4)


def test_one_process_trains():
    caffe.set_solver_count(1)
    caffe.set_solver_rank(0)
    caffe.set_multiprocess(True)
    assert (caffe.solver_count(), caffe.solver_rank(), caffe.has_nccl()) == (1, 0, False)
    for more in (
        lambda: caffe.set_solver_count(2),
        lambda: caffe.set_solver_rank(1),
        lambda: caffe.NCCL(None, ""),
        caffe.NCCL.new_uid,
    ):
        with pytest.raises(NetError, match="one process trains here; for several use torchrun"):
            more()


def test_what_there_is():
    assert caffe.__version__ == "1.0.0"
    # DeepDream's way to the messages.
    assert caffe.io.caffe_pb2.NetParameter is caffe.proto.caffe_pb2.NetParameter
    types = caffe.layer_type_list()
    assert types == sorted(types)
    assert {"Data", "Convolution", "InnerProduct", "Input", "Interp"} <= set(types)
    assert set(LAYERS) <= set(types)


# The two ways to the name: by hand, and so that the modules are the same ones.
BY_HAND = "import sys, deeplab_caffe.pycaffe as caffe; sys.modules['caffe'] = caffe"
INSTALLED = "import deeplab_caffe.pycaffe; deeplab_caffe.pycaffe.install_as_caffe()"
SCRIPT = """
import caffe
import caffe.io
import caffe.proto.caffe_pb2 as pb2
from caffe import layers as L, params as P
from caffe.coord_map import crop
from caffe.io import Transformer
from caffe.net_spec import NetSpec, Top
from caffe.proto import caffe_pb2

n = NetSpec() if SAME else caffe.NetSpec()
n.data = L.Input(input_param=dict(shape=dict(dim=[1, 3, 4, 4])))
n.pool = L.Pooling(n.data, pool=P.Pooling.MAX, kernel_size=3, pad=1)
n.crop = crop(n.pool, n.data)
net = caffe_pb2.NetParameter()
net.ParseFromString(n.to_proto().SerializeToString())
assert [layer.type for layer in net.layer] == ["Input", "Pooling", "Crop"]
assert net.layer[2].crop_param.offset[0] == 0
assert pb2.TEST == caffe.TEST == 1
assert Transformer({"data": (1, 3, 4, 4)}).inputs
assert isinstance(n.data, Top) or not SAME
"""


@pytest.mark.parametrize(("way", "same"), [(BY_HAND, False), (INSTALLED, True)], ids=["by hand", "installed"])
def test_under_the_name_caffe(way, same):
    subprocess.run([sys.executable, "-c", f"{way}\nSAME = {same}\n{SCRIPT}"], check=True)
