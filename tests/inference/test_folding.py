"""BatchNorm, Scale and sums taken along by convolutions: the graph by hand, then the net's own results."""

from __future__ import annotations

import copy

import pytest
import torch

import deeplab_caffe as dc
from deeplab_caffe.errors import NetError
from deeplab_caffe.inference.convolution import ConvSpec, algorithms, caffe_engine, direct
from deeplab_caffe.inference.optimized import _inference_graph as inference_graph
from deeplab_caffe.net.graph import Graph, run_layer
from deeplab_caffe.proto import parse_net
from tests.inference.narrow import error, photo_like
from tests.layers.build import noise

HEAD = 'input: "x" input_shape { dim: 2 dim: 3 dim: 11 dim: 9 }\n'
MAX = "eltwise_param { operation: MAX }"
MINUS = "eltwise_param { coeff: 1 coeff: -1 }"
FILLERS = 'weight_filler { type: "gaussian" std: 0.2 } bias_filler { type: "gaussian" std: 1 }'


def layer(kind: str, name: str, bottoms: str, top: str = "", params: str = "") -> str:
    reads = " ".join(f'bottom: "{bottom}"' for bottom in bottoms.split())
    return f'layer {{ name: "{name}" type: "{kind}" {reads} top: "{top or name}" {params} }}\n'


def conv(name: str, bottom: str, params: str = "", more: str = "") -> str:
    params = f"convolution_param {{ num_output: 4 kernel_size: 3 pad: 1 {FILLERS} {params} }} {more}"
    return layer("Convolution", name, bottom, params=params)


def bn(name: str, blob: str, params: str = "") -> str:
    return layer("BatchNorm", name, blob, blob, params)


def scale(name: str, blob: str, params: str = "bias_term: true", more: str = "") -> str:
    return layer("Scale", name, blob, blob, f"scale_param {{ {params} }} {more}")


def relu(blob: str) -> str:
    return layer("ReLU", f"{blob}_relu", blob, blob)


def block(suffix: str, bottom: str, share: str = "") -> str:
    """A residual block, with names of its parameters or without."""

    def names(of: str, count: int) -> str:
        return "".join(f'param {{ name: "{of}{share}_{i}" }}' for i in range(count)) if share else ""

    text = ""
    for branch, biased in (("a", "bias_term: false"), ("b", "")):
        blob = f"{branch}{suffix}"
        text += conv(blob, bottom, biased, names(branch, 1 if biased else 2))
        text += bn(f"bn_{blob}", blob, names(f"bn_{branch}", 3)) + scale(
            f"s_{blob}", blob, more=names(f"s_{branch}", 2)
        )
    return text + layer("Eltwise", f"sum{suffix}", f"a{suffix} b{suffix}") + relu(f"sum{suffix}")


def build(text: str, **options: object) -> dc.Net:
    net = dc.Net(parse_net(HEAD + text), seed=1, **options)
    for number, each in enumerate(net.layers):
        for role, blob in each.named_blobs.items():
            if each.TYPE in ("BatchNorm", "Scale", "Bias"):
                value = noise(*blob.shape, seed=number)
                each.load_blob(role, value.abs() + 0.5 if role in ("variance", "factor") else value)
    return net


def steps(graph: Graph) -> list[str]:
    return ["+".join(layer.name for layer in step.layers) for step in graph.steps]


def lowered(net: dc.Net, *blobs: str) -> list[str]:
    return steps(inference_graph(net, blobs or None))


def test_a_residual_block_is_two_steps() -> None:
    net = build(block("", "x"))
    graph = inference_graph(net, None)
    assert steps(graph) == ["a+bn_a+s_a", "b+bn_b+s_b+sum+sum_relu"]
    # Values: 0 x; a 1, 2, 3; b 4, 5, 6 (a split of x between); the sum and its ReLU.
    assert [step.spare for step in graph.steps] == [False, True]
    assert graph.steps[1].reads == (0, *graph.steps[0].makes)
    assert graph.per_item


# A convolution that would write its sum into what it still reads.
READS_WHAT_IT_ADDS = [
    ("num_output: 8 kernel_size: 5 pad: 2", 8),
    ("num_output: 64 kernel_size: 1", 64),
    ("num_output: 32 kernel_size: 3 pad: 1 group: 32", 32),
    ("num_output: 32 kernel_size: 3 pad: 6 dilation: 6", 32),
    ("num_output: 32 kernel_size: 3 pad: 1", 32),
]


@pytest.mark.parametrize(("params", "channels"), READS_WHAT_IT_ADDS)
def test_a_sum_of_a_blob_and_its_own_convolution(params: str, channels: int) -> None:
    first, second = f"num_output: {channels} kernel_size: 1", params
    first, second = (f"convolution_param {{ {each} {FILLERS} }}" for each in (first, second))
    start = layer("Convolution", "a", "x", params=first) + relu("a") + layer("Convolution", "b", "a", params=second)
    net = build(start + layer("Eltwise", "sum", "a b") + relu("sum"))
    graph = inference_graph(net, None)
    assert steps(graph) == ["a+a_relu", "b+sum+sum_relu"]
    assert graph.steps[1].reads[0] == graph.steps[1].reads[1]
    assert not graph.steps[1].spare
    x = photo_like(2, 3, 33, 29)
    with torch.no_grad():
        assert error(net.optimize()(x), net(x)) < 2e-6


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (conv("c", "x") + layer("Power", "p", "c", params="power_param { scale: 2 shift: 1 }"), ["c+p"]),
        (conv("c", "x") + layer("Power", "p", "c", params="power_param { scale: 2 power: 2 }"), ["c", "p"]),
        (conv("c", "x") + scale("s", "c", "axis: 2"), ["c", "s"]),
        (conv("c", "x") + scale("s", "c", "axis: -3"), ["c+s"]),
        (conv("c", "x") + scale("s", "c", "num_axes: 0"), ["c+s"]),
        (conv("c", "x") + scale("s", "c", "axis: 0 num_axes: -1"), ["c", "s"]),
        (conv("c", "x") + layer("Bias", "b", "c", "c") + relu("c"), ["c+b+c_relu"]),
        (conv("c", "x") + bn("n", "c", "batch_norm_param { use_global_stats: false }") + relu("c"), ["c", "n+c_relu"]),
        (conv("c", "x") + relu("c") + bn("n", "c") + scale("s", "c"), ["c+c_relu", "n+s"]),
        (layer("BatchNorm", "n", "x") + scale("s", "n") + relu("n"), ["n+s+n_relu"]),
        # The value between is read by others too, or is asked for.
        (conv("c", "x") + layer("BatchNorm", "n", "c") + layer("Eltwise", "e", "c n"), ["c", "n", "e"]),
        (conv("c", "x") + conv("d", "x") + layer("Eltwise", "e", "c d", params=MAX), ["c", "d", "e"]),
        (conv("c", "x") + conv("d", "x") + layer("Eltwise", "e", "d c"), ["c", "d+e"]),
        (conv("c", "x") + conv("d", "x") + layer("Eltwise", "e", "c d", params=MINUS), ["c", "d", "e"]),
        (conv("c", "x") + layer("Eltwise", "e", "c c"), ["c", "e"]),
    ],
)
def test_what_is_taken_along(text: str, expected: list[str]) -> None:
    net, x = build(text), photo_like(2, 3, 11, 9)
    assert lowered(net) == expected
    with torch.no_grad():
        wanted = net(x.clone())
    assert error(net.optimize()(x.clone()), wanted) < 1e-6
    (got,) = inference_graph(net, None).execute([x.clone()], run_layer).values()
    assert torch.equal(got, wanted)


def test_blobs_that_are_asked_for_stay() -> None:
    net, x = build(block("", "x")), photo_like(2, 3, 11, 9)
    assert lowered(net, "sum", "a") == ["a+bn_a+s_a", "b+bn_b+s_b+sum+sum_relu"]
    with torch.no_grad():
        found, wanted = net.optimize(blobs=["sum", "a"])(x), net(x, blobs=["a"])
    assert all(error(found[name], wanted[name]) < 1e-6 for name in ("sum", "a"))
    assert lowered(net, "sum", "b") == ["a+bn_a+s_a", "b+bn_b+s_b", "sum", "sum_relu"]


def test_memory_in_which_another_value_lies_is_not_overwritten() -> None:
    text = conv("a", "x") + layer("Flatten", "f", "a") + conv("b", "x") + layer("Eltwise", "e", "a b")
    net, x = build(text), photo_like(2, 3, 11, 9)
    assert not any(step.spare for step in inference_graph(net, None).steps)
    found = net.optimize()(x)
    assert all(error(found[name], value) < 1e-6 for name, value in net(x).items())
    # Nor a caller's blob.
    net, before = (
        build(conv("c", "x").replace("num_output: 4", "num_output: 3") + layer("Eltwise", "e", "x c")),
        x.clone(),
    )
    assert lowered(net) == ["c+e"]
    net.optimize()(x)
    assert torch.equal(x, before)


@pytest.mark.parametrize("engine", [None, "CAFFE"])
@pytest.mark.parametrize("autotune", [False, True])
@torch.no_grad()
def test_results_are_the_nets(engine: str | None, autotune: bool) -> None:
    net, x = build(block("", "x") + block("2", "sum"), engine=engine), photo_like(3, 3, 11, 9)
    fast = net.optimize(autotune=autotune)
    assert error(fast(x), net(x)) < 1e-6
    assert error(fast(photo_like(1, 3, 5, 20)), net(photo_like(1, 3, 5, 20))) < 1e-6
    names = {choice.algorithm for choice in fast.tuning}
    assert names == {"caffe_engine"} if engine else autotune or names == {"stem", "onednn_added"}


def test_towers_share_what_is_prepared() -> None:
    net, x = build(block("", "x", "w") + block("_2", "x", "w")), photo_like(1, 3, 11, 9)
    made = []
    autotuner = dc.inference.autotune.Autotuner
    once = autotuner._once
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(autotuner, "_once", lambda *args: made.append(once(*args)) or made[-1])
        fast = net.optimize()
    assert [run is other for run, other in zip(made[::2], made[1::2], strict=True)] == [True, True]
    found = fast(x)
    assert torch.equal(found["sum"], found["sum_2"])
    # The same blobs, and another eps: not the same weights.
    other = 'type: "BatchNorm" batch_norm_param { eps: 1 }'
    net = build(block("", "x", "w") + block("_2", "x", "w").replace('type: "BatchNorm"', other))
    found, wanted = net.optimize()(x), net(x)
    assert all(error(found[name], wanted[name]) < 1e-6 for name in wanted)


def test_release_and_memory() -> None:
    net, x = build(block("", "x")), photo_like(1, 3, 11, 9)
    wanted = copy.deepcopy(net)(x)
    fast = net.optimize(release=True)
    assert {blob.device.type for each in net.layers for blob in each.blobs} == {"meta"}
    assert {blob.device.type for step in fast.graph.steps for each in step.layers for blob in each.blobs} == {"meta"}
    assert error(fast(x), wanted) < 1e-6


def test_sums_of_other_sizes_are_refused_by_name() -> None:
    text = 'input: "y" input_shape { dim: 2 dim: 4 dim: 11 dim: 9 }\n' + conv("a", "x") + layer("Eltwise", "e", "a y")
    fast = build(text).optimize()
    with pytest.raises(NetError, match=r"layer 'e': bottom 'y' is \(1, 4, 5, 9\)"):
        fast(photo_like(1, 3, 11, 9), noise(1, 4, 5, 9))


@pytest.mark.parametrize("relu_behind", [False, True])
@torch.no_grad()
def test_every_algorithm_adds(relu_behind: bool) -> None:
    weight = noise(8, 6, 3, 3).contiguous(memory_format=torch.channels_last)
    spec = ConvSpec(weight, noise(8, seed=1), (1, 1), (2, 2), (2, 2), 1, relu_behind, adds=True)
    x, other = (
        t.contiguous(memory_format=torch.channels_last) for t in (photo_like(2, 6, 13, 9), noise(2, 8, 13, 9) * 50)
    )
    wanted = direct(spec)(x, other)
    found = algorithms(spec, x.shape)
    assert next(iter(found)) in ("onednn_added", "direct")
    for name, ready in (found | {"caffe_engine": lambda: caffe_engine(spec)}).items():
        run = ready()
        before = other.clone()
        assert error(run(x, other), wanted) < 2e-6, name
        assert torch.equal(other, before), name
        assert error(run(x, other.clone(), True), wanted) < 2e-6, name


def clip(blob: str, params: str = "min: 0 max: 6") -> str:
    return layer("Clip", f"{blob}_clip", blob, blob, f"clip_param {{ {params} }}")


def test_a_clip_from_zero_is_taken_along_as_a_relu_is() -> None:
    text = conv("a", "x", "group: 1") + bn("bn_a", "a") + scale("s_a", "a") + clip("a")
    text += conv("b", "a", "group: 4") + clip("b", "min: 0 max: 0.5")
    text += conv("c", "b") + layer("Eltwise", "sum", "a c") + clip("sum", "min: 0 max: 1")
    net = build(text)
    with torch.no_grad():
        net.by_name["bn_a"].mean.copy_(noise(4))
    graph = inference_graph(net, net.outputs)
    assert [step.layer.name for step in graph.steps] == ["a", "b", "c"]
    assert all(step.activation is not None for step in graph.steps)
    x = photo_like(2, 3, 11, 9)
    with torch.no_grad():
        for last in (net, build(text, channels_last=True)):
            last.load_state_dict(net.state_dict())
            expected = last(x)
            assert expected.max() == 1
            assert error(last.optimize()(x), expected) < 1e-5


@pytest.mark.parametrize(
    "ends",
    [
        clip("c", "min: 0 max: 0.5") + relu("c"),
        relu("c") + clip("c", "min: 0 max: 0.5"),
        relu("c") + scale("s", "c"),
        layer("Dropout", "d", "c", "end"),
        relu("c") + layer("Dropout", "d", "c", "c"),
    ],
    ids=["clip-relu", "relu-clip", "relu-scale", "dropout", "dropout in place"],
)
@torch.no_grad()
def test_what_comes_behind_an_activation_or_at_the_end_counts(ends: str) -> None:
    # One activation goes along with a convolution; a second one must not take its place.
    net, x = build(conv("c", "x") + ends), photo_like(2, 3, 11, 9)
    expected = net(x)
    assert float(expected.abs().max()) > 0
    found = net.optimize()(x)
    assert error(found, expected) < 1e-5
    if "Clip" in ends:
        assert float(expected.max()) == float(found.max()) == 0.5


def test_other_clips_and_those_behind_an_affine_layer() -> None:
    text = conv("a", "x") + clip("a", "min: -1 max: 1") + layer("BatchNorm", "b", "a") + clip("b")
    net = build(text)
    graph = inference_graph(net, net.outputs)
    assert [step.layer.name for step in graph.steps] == ["a", "a_clip", "b"]
    x = photo_like(2, 3, 11, 9)
    with torch.no_grad():
        assert error(net.optimize()(x), net(x)) < 1e-5


def test_gradients_of_clips_are_those_of_clips_not_in_place() -> None:
    text = conv("a", "x")
    other = build(text + layer("Clip", "c", "a", "top", "clip_param { min: 0 max: 6 }"))
    net = build(text + clip("a"))
    net.load_state_dict(other.state_dict())
    x = photo_like(2, 3, 11, 9)
    for each in (net, other):
        each(x).sum().backward()
    assert torch.equal(net.by_name["a"].weight.grad, other.by_name["a"].weight.grad)
