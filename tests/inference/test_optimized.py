from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch

import deeplab_caffe as dc
from deeplab_caffe.errors import NetError
from deeplab_caffe.inference import OptimizedNet, optimized
from deeplab_caffe.inference.precision import precision_of
from deeplab_caffe.ops.argmax import argmax_labels
from deeplab_caffe.proto import parse_net
from deeplab_caffe.zoo.default import CAMVID_MODEL
from deeplab_caffe.zoo.paths import NETWORKS
from tests import nets
from tests.inference.narrow import error, narrow, photo_like


def runs(dtype: torch.dtype) -> bool:
    try:
        precision_of(dtype, torch.device("cpu"))
    except NetError:
        return False
    return True


needs_bfloat16 = pytest.mark.skipif(not runs(torch.bfloat16), reason="no bfloat16 on this processor")


@pytest.fixture
def small() -> dc.Net:
    return nets.build(nets.SMALL + nets.INTERP)


@pytest.mark.parametrize("name", NETWORKS)
@torch.no_grad()
def test_float32_is_the_net(name: str) -> None:
    net, x = narrow(name), photo_like(2, 3, 65, 81)
    expected = net(x)
    fast = net.optimize(batch=2, size=(65, 81), autotune=True)
    assert error(fast(x), expected) < 2e-6
    assert torch.equal(fast(x), fast(x))
    labels = fast.labels(x)
    assert (labels == argmax_labels(expected, ties="last")).float().mean() > 0.999
    usual = net.optimize(batch=2, size=(65, 81))
    assert not any(choice.milliseconds for choice in usual.tuning)
    assert error(usual(x), expected) < 2e-6
    assert len(fast.tuning) == len([layer for layer in net.layers if layer.blobs])


@torch.no_grad()
def test_what_rounds_more_is_used_on_request() -> None:
    net, x = narrow("deeplab_largefov", width=4), photo_like(1, 3, 65, 81)
    expected = net(x)
    strict, fast = (net.optimize(precision=each, size=(65, 81)) for each in ("strict", "fast"))
    for run, algorithm, limit in ((strict, "winograd_2x2", 2e-6), (fast, "winograd_4x4", 2e-5)):
        chosen = {choice.layer: choice.algorithm for choice in run.tuning}
        assert chosen["conv2_2"] == algorithm
        assert error(run(x), expected) < limit
    assert not torch.equal(fast(x), strict(x))


@needs_bfloat16
@pytest.mark.parametrize("name", NETWORKS)
@torch.no_grad()
def test_bfloat16_is_near(name: str) -> None:
    net, x = narrow(name), photo_like(2, 3, 65, 81)
    fast = net.optimize(dtype=torch.bfloat16, batch=2, size=(65, 81))
    assert fast(x).dtype == torch.float32
    assert error(fast(x), net(x)) < 2e-2


@torch.no_grad()
def test_other_batches_and_sizes_run_too(small: dc.Net) -> None:
    fast = small.optimize(batch=2, size=17)
    for shape in ((1, 3, 9, 11), (5, 3, 17, 17), (2, 3, 40, 9)):
        x = photo_like(*shape)
        assert error(fast(x), small(x)) < 2e-6


@torch.no_grad()
def test_blobs_memory_is_used_again_and_outputs_are_the_callers() -> None:
    net, x = narrow("deeplab_largefov", width=4), photo_like(2, 3, 161, 145)
    fast = net.optimize(batch=2, size=(161, 145), blobs=["conv1_1", "pool1"])
    first = fast(x)
    kept = {name: blob.clone() for name, blob in first.items()}
    del first["pool1"]
    fast(photo_like(2, 3, 161, 145, seed=3))
    assert torch.equal(first["conv1_1"], kept["conv1_1"])
    again = fast(x)
    assert all(torch.equal(again[name], kept[name]) for name in kept)


@torch.no_grad()
def test_large_blobs_go_back_to_the_nets_workspace() -> None:
    net = narrow("deeplab_largefov", width=4)
    fast, x = net.optimize(size=321), photo_like(1, 3, 321, 321)
    assert fast._workspace.nbytes == 0
    expected = fast(x)
    kept = fast._workspace.nbytes
    assert kept >= 2 * 4 * 16 * 321 * 321  # of conv1_1 and conv1_2, which are alive at the same time
    assert torch.equal(fast(x), expected)
    assert fast._workspace.nbytes == kept
    fast(photo_like(1, 3, 161, 201))  # in the same blocks
    assert fast._workspace.nbytes == kept


@torch.no_grad()
def test_a_forked_process_computes_the_same() -> None:
    code = """
import os, signal, torch
from deeplab_caffe import _C
from tests.inference.narrow import narrow, photo_like
net = narrow("deeplab_largefov", width=4)
fast, x = net.optimize(size=97), photo_like(1, 3, 97, 97)
torch.set_num_threads(1)  # torch's own loops do not survive a fork
_C.set_num_threads(2)
expected = fast(x)
child = os.fork()
if child == 0:
    signal.alarm(60)
    os._exit(0 if torch.equal(fast(x), expected) else 1)
print(os.waitpid(child, 0)[1])
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False)
    assert ran.stdout.strip() == "0", ran.stderr


@torch.no_grad()
def test_engine_caffe() -> None:
    net, x = narrow("deeplab_largefov", engine="CAFFE"), photo_like(1, 3, 65, 65)
    fast = net.optimize(batch=1, size=65)
    assert {choice.algorithm for choice in fast.tuning} == {"caffe_engine"}
    assert error(fast(x), net(x)) < 1e-7


@torch.no_grad()
def test_blobs_of_the_callers_choice(small: dc.Net) -> None:
    x = photo_like(2, 3, 9, 11)
    fast = small.optimize(blobs=["fc", "conv1"])
    found = fast(data=x)
    expected = small(x, blobs=["conv1", "fc"])
    assert list(found) == ["fc", "conv1"]
    for name, blob in found.items():
        assert error(blob, expected[name]) < 2e-6
    with pytest.raises(NetError, match=r"labels come from one blob, the net was optimized for fc, conv1"):
        fast.labels(x)


def test_the_net_goes_on_as_it_was(small: dc.Net) -> None:
    x = photo_like(1, 3, 9, 11)
    before = small(x)
    fast = small.optimize()
    assert before.requires_grad
    assert not fast(x).requires_grad
    assert torch.equal(small(x), before)
    kept = fast(x)
    with torch.no_grad():
        small.by_name["conv1"].weight.zero_()
    assert torch.equal(fast(x), kept)


CHANGED_LATER = [
    ("Convolution", "convolution_param { num_output: 16 kernel_size: 3 pad: 1 %s }", None),
    ("Convolution", "convolution_param { num_output: 16 kernel_size: 1 %s }", "onednn_packed"),
    ("Convolution", "convolution_param { num_output: 16 kernel_size: 1 %s }", "pointwise_product"),
    ("Convolution", "convolution_param { num_output: 16 group: 16 kernel_size: 1 %s }", "depthwise"),
    ("Convolution", "convolution_param { num_output: 16 group: 16 kernel_size: 3 pad: 1 %s }", "depthwise"),
    ("Convolution", "convolution_param { num_output: 16 kernel_size: 3 pad: 1 engine: CAFFE %s }", None),
    ("Deconvolution", "convolution_param { num_output: 16 kernel_size: 2 stride: 2 %s }", None),
    ("InnerProduct", "inner_product_param { num_output: 16 axis: 1 %s }", None),
    ("PReLU", "", None),
]


@pytest.mark.parametrize(("kind", "param", "algorithm"), CHANGED_LATER)
def test_no_later_change_of_the_nets_blobs_reaches_it(kind: str, param: str, algorithm: str | None) -> None:
    fillers = 'weight_filler { type: "gaussian" std: 1 } bias_filler { type: "constant" value: 1 }'
    param = param % fillers if "%s" in param else param
    text = 'input: "x" input_shape { dim: 1 dim: 16 dim: 9 dim: 9 } '
    text += f'layer {{ name: "one" type: "{kind}" bottom: "x" top: "one" {param} }}'
    net = dc.Net(parse_net(text), seed=1)
    fast = net.optimize(algorithms={"one": algorithm} if algorithm else None)
    x = photo_like(1, 16, 9, 9)
    before = fast(x).clone()
    with torch.no_grad():
        for blob in net.parameters():
            blob.add_(100)
    assert torch.equal(fast(x), before)


def test_it_does_not_hold_the_nets_weights(small: dc.Net) -> None:
    fast = small.optimize()
    assert all(step.layer.weight.is_meta for step in fast.graph.steps if step.layer.blobs)
    assert not any(parameter.is_meta for parameter in small.parameters())


def test_release_gives_the_weights_up(small: dc.Net) -> None:
    x = photo_like(1, 3, 9, 11)
    expected = small.optimize()(x)
    fast = small.optimize(release=True)
    assert all(parameter.is_meta for parameter in small.parameters())
    assert torch.equal(fast(x), expected)
    assert small.infer_shapes(data=(1, 3, 9, 11))["up"] == tuple(expected.shape)
    for use in (lambda: small(x), small.optimize, small.state_dict, lambda: small.to("cpu")):
        with pytest.raises(NetError, match=r"has no weights any more \(layer '.+'\): .* build it anew"):
            use()


def test_label_images_is_the_segmenter() -> None:
    crf = CAMVID_MODEL.crf
    photos = np.random.default_rng(1).integers(0, 256, (2, 50, 71, 3), dtype=np.uint8)
    photos = np.repeat(np.repeat(photos[:, ::10, ::10], 10, 1), 10, 2)[:, :50, :71].copy()
    for params in (None, crf):
        segmenter = dc.Segmenter(CAMVID_MODEL.deploy, CAMVID_MODEL.weights, crf=params, device="cpu", optimize=False)
        fast = segmenter.net.optimize(batch=2, size=73)
        labels = fast.label_images(photos, crf=params)
        assert labels.dtype == torch.uint8
        for found, photo in zip(labels, photos, strict=True):
            assert (found.numpy() == segmenter(photo)).mean() > 0.999


class Recorded:
    """Stands in for CapturedFunction: outputs keep their place in memory."""

    made = 0

    def __init__(self, function, inputs) -> None:
        type(self).made += 1
        self.function = function
        self.outputs = function(*inputs)

    def __call__(self, *inputs, copy):
        for name, value in self.function(*inputs).items():
            self.outputs[name].copy_(value)
        return {name: value.clone() if copy else value for name, value in self.outputs.items()}


@pytest.fixture
def with_graphs(monkeypatch: pytest.MonkeyPatch):
    """Optimises as on a GPU, with something that stands in for the graphs."""
    monkeypatch.setattr(optimized, "CapturedFunction", Recorded)
    monkeypatch.setattr(Recorded, "made", 0)

    def make(net: dc.Net, **options: object) -> OptimizedNet:
        fast = net.optimize(**options)
        fast.graph_break_reason = None
        return fast

    return make


@torch.no_grad()
def test_one_graph_for_each_shape_and_task(small: dc.Net, with_graphs) -> None:
    fast = with_graphs(small, cache_size=3)
    shapes = [(1, 3, 9, 11), (2, 3, 9, 11), (1, 3, 9, 11), (2, 3, 9, 11)]
    for shape in shapes:
        x = photo_like(*shape, seed=shape[0])
        assert error(fast(x), small(x)) < 2e-6
    assert Recorded.made == 2
    fast.labels(x)
    assert Recorded.made == 3
    fast(photo_like(3, 3, 9, 11))  # Takes the place of the first.
    fast(photo_like(2, 3, 9, 11))
    assert Recorded.made == 4
    fast(photo_like(1, 3, 9, 11))
    assert Recorded.made == 5


def test_outputs_are_the_callers_unless_it_says_otherwise(small: dc.Net, with_graphs) -> None:
    a, b = photo_like(1, 3, 9, 11, seed=1), photo_like(1, 3, 9, 11, seed=2)
    fast = with_graphs(small)
    first = fast(a)
    kept = first.clone()
    fast(b)
    assert torch.equal(first, kept)
    shared = with_graphs(small, copy_outputs=False)
    first = shared(a)
    assert torch.equal(first, kept)
    shared(b)
    assert not torch.equal(first, kept)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory: you"),
        MemoryError("std::bad_alloc"),
    ],
)
def test_out_of_memory_says_what_to_do(error: Exception, small: dc.Net, monkeypatch: pytest.MonkeyPatch) -> None:
    fast, x = small.optimize(), photo_like(1, 3, 9, 11)
    expected = fast(x)

    def full(*given):
        raise error

    with monkeypatch.context() as patch:
        patch.setitem(fast._kernels, fast.graph.steps[0].makes[0], full)
        with pytest.raises(
            NetError, match=r"not enough memory on cpu for inputs \(1, 3, 9, 11\): take fewer at a time"
        ):
            fast(x)
    assert torch.equal(fast(x), expected)


@pytest.mark.parametrize("batches", [(2, 4), (2, 1), (3, 2), (5, 5)])
def test_inputs_of_different_batch_sizes(batches: tuple[int, int]) -> None:
    text = ""
    for name, count in zip("ab", batches, strict=True):
        text += f'input: "{name}" input_shape {{ dim: {count} dim: 3 dim: 5 dim: 5 }} '
        text += f'layer {{ name: "c{name}" type: "Convolution" bottom: "{name}" top: "c{name}" convolution_param {{ '
        text += 'num_output: 4 kernel_size: 3 weight_filler { type: "gaussian" std: 0.3 } } } '
    net = dc.Net(parse_net(text), seed=1)
    given = [photo_like(count, 3, 5, 5) for count in batches]
    found = net.optimize()(*given)
    for name, expected in net(*given).items():
        assert found[name].shape == expected.shape
        assert error(found[name], expected) < 2e-6


def test_the_dtype_is_that_of_the_weights(small: dc.Net) -> None:
    with pytest.raises(NetError, match="float64"):
        small.double().optimize()
    assert small.optimize(dtype="float32").precision.dtype == torch.float32
    assert small.float().optimize().precision.dtype == torch.float32


def test_refusals(small: dc.Net) -> None:
    fast = small.optimize()
    x = photo_like(1, 3, 9, 11)
    with pytest.raises(NetError, match=r"input 'data' is on meta, the net is on cpu: move it there"):
        fast(x.to("meta"))
    with pytest.raises(NetError, match=r"input 'data': expected a floating-point blob like \(1, 3, 9, 11\), got"):
        fast(x[:, :2])
    with pytest.raises(NetError, match=r"got torch.uint8"):
        fast(x.byte())
    with pytest.raises(NetError, match=r"expected the inputs data, got 2 by place"):
        fast(x, x)
    with pytest.raises(NetError, match=r"expected the inputs data, got 0 by place and \['image'\]"):
        fast(image=x)
    with pytest.raises(NetError, match=r"expected uint8 RGB images"):
        fast.label_images(x)
    with pytest.raises(NetError, match=r"the net gives \d+ rows for \d+|too small"):
        nets.build(nets.SMALL).optimize().label_images(torch.zeros((1, 9, 9, 3), dtype=torch.uint8))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtype": "int8"}, "dtype must be one of float32, tf32, bfloat16, float16, got int8"),
        ({"dtype": "tf32"}, "tf32 is a GPU's"),
        ({"precision": "quick"}, "precision must be strict or fast, got 'quick'"),
        ({"batch": 0}, "batch must be positive, got 0"),
        ({"size": (3, 0)}, "size must be positive, got 0"),
        ({"cache_size": 0}, "at least one graph, got 0"),
        ({"cache_size": "4"}, "cache_size must be a whole number, got '4'"),
        ({"graphs": "no"}, "graphs must be True or False, got 'no'"),
        ({"copy_outputs": "no"}, "copy_outputs must be True or False, got 'no'"),
        ({"release": "no"}, "release must be True or False, got 'no'"),
        ({"autotune": "no"}, "autotune must be True or False, got 'no'"),
        ({"algorithms": {"conv9": "direct"}}, "algorithms for unknown convolutions conv9"),
        ({"algorithms": {"conv1": "magic"}}, "layer 'conv1': there is no algorithm 'magic'"),
        ({"size": 1}, "layer '"),
    ],
)
def test_options_that_do_not_fit(options: dict, message: str) -> None:
    text = (
        nets.SMALL
        if options != {"size": 1}
        else nets.inputs(data=(1, 3, 9, 9))
        + nets.layer("CONVOLUTION", "c", "data", "c", "convolution_param { num_output: 2 kernel_size: 3 }")
    )
    with pytest.raises(NetError, match=message):
        nets.build(text).optimize(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch": "2"}, "batch must be a whole number, got '2'"),
        ({"batch": 1.5}, "batch must be a whole number, got 1.5"),
        ({"size": "33"}, "size must be a whole number, got '33'"),
        ({"size": (3,)}, r"size must be a side or \(height, width\), got \(3,\)"),
        ({"blobs": "fc"}, r"blobs must be a list of names, got 'fc': take \['fc'\]"),
        ({"algorithms": ["conv1"]}, r"algorithms must be a dict, by layer, got \['conv1'\]"),
    ],
)
def test_arguments_of_other_types_are_named(small: dc.Net, options: dict[str, Any], message: str) -> None:
    with pytest.raises(NetError, match=message):
        small.optimize(**options)


def test_one_name_is_no_list_of_blobs_and_a_path_no_net(small: dc.Net) -> None:
    with pytest.raises(NetError, match="blobs must be a list of names, got 'fc'"):
        small(torch.zeros(1, 3, 17, 17), blobs="fc")
    with pytest.raises(NetError, match=r"optimize takes a net, got str: build one, dc.Net\(prototxt, weights\)"):
        dc.optimize("deploy.prototxt")
