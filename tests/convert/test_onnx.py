"""ONNX models run in onnxruntime and give what the net gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import deeplab_caffe as dc
from deeplab_caffe import proto
from deeplab_caffe.convert import to_onnx
from deeplab_caffe.errors import ConversionError
from deeplab_caffe.layers import LAYERS, Layer
from deeplab_caffe.proto import caffe_pb2
from deeplab_caffe.zoo import CAMVID_MODEL, LATER_NETWORKS, NETWORKS, OWN_NETWORKS, prototxt_path
from tests.nets import INTERP, SMALL, build, conv, inputs, layer, noise, relu

onnx = pytest.importorskip("onnx", reason="the package onnx is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="the package onnxruntime is not installed")


def session_of(net: dc.Net, folder: Path) -> onnxruntime.InferenceSession:
    path = folder / "net.onnx"
    if not path.exists():
        to_onnx(net, path)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def assert_same(net: dc.Net, folder: Path, *x: torch.Tensor, tolerance: float = 1e-4) -> None:
    """Compare what the net and onnxruntime make of the inputs, numbers, shapes and sizes that the model names."""
    session = session_of(net, folder)
    given = dict(zip(net.inputs, x, strict=True))
    with torch.no_grad():
        found = net(**given)
    expected = found if isinstance(found, dict) else {net.outputs[0]: found}
    outputs = session.get_outputs()
    assert [output.name for output in outputs] == net.outputs
    numbers = session.run(None, {name: blob.numpy() for name, blob in given.items()})
    sizes: dict[str, int] = {}
    for blob, came in [*zip(session.get_inputs(), given.values(), strict=True), *zip(outputs, numbers, strict=True)]:
        assert all(sizes.setdefault(str(name), size) == size for name, size in zip(blob.shape, came.shape, strict=True))
        assert all(name == size for name, size in zip(blob.shape, came.shape, strict=True) if isinstance(name, int))
    for name, came in zip(net.outputs, numbers, strict=True):
        assert came.dtype == np.float32
        assert came.shape == tuple(expected[name].shape)
        np.testing.assert_allclose(came, expected[name].numpy(), rtol=0, atol=tolerance)


def test_the_embedded_network_at_any_batch_and_size(tmp_path: Path) -> None:
    net = dc.Net(CAMVID_MODEL.deploy, CAMVID_MODEL.weights)
    for shape in ((1, 3, 65, 89), (3, 3, 41, 49), (2, 3, 65, 65)):
        # Pixels minus mean, as they come in a photograph.
        assert_same(net, tmp_path, 60 * noise(*shape))


@pytest.mark.parametrize("name", [*NETWORKS, *LATER_NETWORKS, *OWN_NETWORKS])
def test_every_network_with_narrow_layers(name: str, tmp_path: Path) -> None:
    param = proto.read_net(prototxt_path(name))
    for one in param.layer:
        convolution = one.convolution_param
        if one.type == "Convolution":
            convolution.num_output = max(convolution.num_output // 32, min(convolution.num_output, 3))
            if convolution.group > 1:
                convolution.group = convolution.num_output
            convolution.weight_filler.CopyFrom(caffe_pb2.FillerParameter(type="xavier"))
            convolution.bias_filler.CopyFrom(caffe_pb2.FillerParameter(type="uniform", min=-1, max=1))
    param.input_shape[0].dim[2:] = [66, 66] if name == "deeplab" else [65, 65]
    net = dc.Net(param, seed=1)
    for one in net.layers:
        for role in {"variance", "factor"} & set(one.named_blobs):
            one.load_blob(role, torch.ones_like(one.named_blobs[role]))
    side = 2 if name == "deeplab" else 1
    # Sides that also fit at three quarters of the size.
    assert_same(net, tmp_path, noise(1, 3, 64 + side, 64 + side))
    assert_same(net, tmp_path, noise(2, 3, 96 + side, 64 + side))
    assert_same(net, tmp_path, noise(1, 3, 64 + side, 96 + side))


def test_inputs_of_different_sizes(tmp_path: Path) -> None:
    # onnxruntime keeps blobs whose sizes have the same names in the same memory.
    text = inputs(a=(1, 3, 8, 8), b=(1, 3, 4, 4), c=(1, 2, 8, 8))
    for blob in "ab":
        text += layer("TANH", f"{blob}1", blob, f"{blob}1")
        text += layer("POWER", f"{blob}2", f"{blob}1", f"{blob}2", "power_param { scale: 2 }")
        text += layer("TANH", f"{blob}3", f"{blob}2", f"{blob}3")
    net = build(text + layer("SIGMOID", "c1", "c", "c1"))
    for a, b in (((8, 8), (4, 4)), ((9, 5), (3, 11))):
        assert_same(net, tmp_path, noise(1, 3, *a), noise(1, 3, *b), noise(1, 2, *a), tolerance=1e-6)
    shapes = {blob.name: blob.shape[2:] for blob in session_of(net, tmp_path).get_inputs()}
    assert shapes == {"a": ["height", "width"], "b": ["b_height", "b_width"], "c": ["height", "width"]}


@pytest.mark.parametrize(
    ("kind", "params", "batch", "sizes"),
    [
        ("Tile", "tile_param { axis: 0 tiles: 2 }", "any", "any"),
        ("Flatten", "flatten_param { axis: 0 end_axis: 1 }", "any", "fixed"),
        ("Reduction", "reduction_param { axis: 3 }", "any", "any"),
        ("Scale", "scale_param { axis: 2 num_axes: 1 filler { type: 'xavier' } }", "any", "fixed"),
        ("Scale", "scale_param { axis: 0 num_axes: 2 filler { type: 'xavier' } }", "fixed", "any"),
        ("Bias", "bias_param { axis: -1 filler { type: 'xavier' } }", "any", "fixed"),
        ("InnerProduct", "inner_product_param { axis: 0 num_output: 2 }", "fixed", "fixed"),
    ],
)
def test_sizes_that_a_layer_fixes_or_changes(kind: str, params: str, batch: str, sizes: str, tmp_path: Path) -> None:
    text = 'input: "x" input_shape { dim: 2 dim: 3 dim: 4 dim: 5 }'
    net = build(f'{text} layer {{ name: "l" type: "{kind}" bottom: "x" top: "y" {params} }}')
    assert_same(net, tmp_path, noise(2, 3, 4, 5))
    x = session_of(net, tmp_path).get_inputs()[0].shape
    assert x[:1] == (["batch"] if batch == "any" else [2])
    assert x[2:] == (["height", "width"] if sizes == "any" else [4, 5])
    assert_same(net, tmp_path, noise(3 if batch == "any" else 2, 3, *((6, 7) if sizes == "any" else (4, 5))))


@pytest.mark.parametrize("kind", ["DomainTransform", "DomainTransformForwardOnly"])
@pytest.mark.parametrize(
    "params", ["", "num_iter: 1 spatial_sigma: 8 range_sigma: 0.7 min_weight: 0.3", "min_weight: 2"]
)
def test_domain_transform(kind: str, params: str, tmp_path: Path) -> None:
    text = inputs(x=(2, 3, 5, 6), e=(2, 1, 5, 6))
    bottoms = 'bottom: "x" bottom: "e" top: "y"'
    net = build(f'{text} layer {{ name: "l" type: "{kind}" {bottoms} domain_transform_param {{ {params} }} }}')
    for n, *size in ((2, 5, 6), (1, 1, 1), (3, 9, 1), (1, 1, 8)):
        assert_same(net, tmp_path, noise(n, 3, *size), noise(n, 1, *size, seed=1).abs() / 9, tolerance=1e-6)


def test_domain_transform_of_padded_images(tmp_path: Path) -> None:
    text = inputs(x=(2, 3, 5, 6), e=(2, 1, 5, 6), d=(2, 1, 1, 2))
    bottoms = 'bottom: "x" bottom: "e" bottom: "d" top: "y"'
    net = build(f'{text} layer {{ name: "l" type: "DomainTransform" {bottoms} }}')
    for sizes in ([[5, 6], [3, 2]], [[0, 6], [5, 0], [1, 1.9]]):
        n = len(sizes)
        d = torch.tensor(sizes, dtype=torch.float32).reshape(n, 1, 1, 2)
        assert_same(net, tmp_path, noise(n, 3, 5, 6), noise(n, 1, 5, 6, seed=1).abs() / 9, d, tolerance=1e-6)
    # A size beyond the blob, which is an error of the net on a processor, gives NaN as on a GPU.
    given = {
        "x": noise(2, 3, 5, 6),
        "e": noise(2, 1, 5, 6).abs(),
        "d": torch.tensor([5.0, 7, 6, 6]).reshape(2, 1, 1, 2),
    }
    (y,) = session_of(net, tmp_path).run(None, {name: x.numpy() for name, x in given.items()})
    assert np.isnan(y).all()


def recurrent_net(kind: str, dialect: str, *, exposed: bool, static: bool, steps: int = 3) -> dc.Net:
    """RNN or LSTM: steps of 2 sequences of 4 numbers, 5 units, static inputs of 3 numbers."""
    states = (["h", "c"] if kind == "LSTM" else ["h"]) if exposed else []
    shapes = {"x": (steps, 2, 4), "cont": (steps, 2)} | ({"s": (2, 3)} if static else {})
    shapes |= dict.fromkeys(states, (1, 2, 5))
    if dialect == "v1":
        shapes = {name: (*shape, 1, 1)[:4] for name, shape in shapes.items()}
    heads = [
        f'input: "{name}" input_shape {{ {" ".join(f"dim: {n}" for n in shape)} }}' for name, shape in shapes.items()
    ]
    blobs = [f'bottom: "{name}"' for name in shapes] + [
        f'top: "{name}"' for name in ["y", *(f"{state}_T" for state in states)]
    ]
    fill = "filler { type: 'uniform' min: -0.8 max: 0.8 }"
    params = f"num_output: 5 expose_hidden: {str(exposed).lower()} weight_{fill} bias_{fill}"
    return build(
        f'{" ".join(heads)} layer {{ name: "l" type: "{kind}" {" ".join(blobs)} recurrent_param {{ {params} }} }}',
        dialect=dialect,
    )


def sequences(net: dc.Net, steps: int) -> list[torch.Tensor]:
    """Bottoms for a number of steps; a sequence begins somewhere within."""
    found = []
    for seed, (name, shape) in enumerate(net.blob_shapes.items()):
        if name in net.inputs:
            shape = (steps, *shape[1:]) if name in ("x", "cont") else shape
            found.append((noise(*shape, seed=seed) > -0.7).float() if name == "cont" else noise(*shape, seed=seed))
    return found


@pytest.mark.parametrize("kind", ["RNN", "LSTM"])
@pytest.mark.parametrize("dialect", ["v1", "v2"])
@pytest.mark.parametrize("static", [False, True])
def test_recurrent_layers(kind: str, dialect: str, static: bool, tmp_path: Path) -> None:
    net = recurrent_net(kind, dialect, exposed=True, static=static)
    for steps in (3, 8, 1):
        assert_same(net, tmp_path, *sequences(net, steps), tolerance=1e-6)


@pytest.mark.parametrize("kind", ["RNN", "LSTM"])
def test_recurrent_layers_begin_each_run_anew(kind: str, tmp_path: Path) -> None:
    for steps in (3, 5):
        net = recurrent_net(kind, "v2", exposed=False, static=True)
        with pytest.warns(UserWarning, match="layer 'l': an ONNX model keeps nothing .* expose_hidden"):
            to_onnx(net, tmp_path / "net.onnx")
        x = sequences(net, steps)
        assert_same(net, tmp_path, *x, tolerance=1e-6)
        x[1][0] = 0  # where all sequences begin, the batch before does not matter
        assert_same(net, tmp_path, *x, tolerance=1e-6)


def test_one_step_of_a_recurrent_layer(tmp_path: Path) -> None:
    net = recurrent_net("LSTM", "v2", exposed=True, static=False, steps=1)
    assert_same(net, tmp_path, *sequences(net, 1), tolerance=1e-6)
    assert [blob.shape for blob in session_of(net, tmp_path).get_inputs()][::2] == [[1, 2, 4], [1, 2, 5]]


@pytest.mark.parametrize("dialect", ["v1", "v2"])
def test_lstm_unit(dialect: str, tmp_path: Path) -> None:
    shapes = {"c": (1, 2, 3), "g": (1, 2, 12), "cont": (1, 2)}
    if dialect == "v1":
        shapes = {name: (*shape, 1, 1)[:4] for name, shape in shapes.items()}
    text = "".join(
        f'input: "{name}" input_shape {{ {" ".join(f"dim: {n}" for n in shape)} }}' for name, shape in shapes.items()
    )
    bottoms = 'bottom: "c" bottom: "g" bottom: "cont"'
    for name in "ab":
        text += f'layer {{ name: "{name}" type: "LSTMUnit" {bottoms} top: "{name}c" top: "{name}h" }}'
    cell, gates, cont = (noise(*shape) for shape in shapes.values())
    cont[0, :, ...] = torch.tensor([0.0, 1.0]).reshape(cont[0].shape)
    assert_same(build(text, dialect=dialect), tmp_path, cell, gates, cont, tolerance=1e-6)


def test_layers_that_share_a_parameter_share_its_numbers(tmp_path: Path) -> None:
    shared = "param: 'w' param: 'b'"
    both = conv("a", "x", more=shared) + conv("b", "x", more=shared)
    net = build(inputs(x=(1, 2, 5, 5)) + both)
    assert_same(net, tmp_path, noise(1, 2, 5, 5))
    assert len(onnx.load(tmp_path / "net.onnx").graph.initializer) == 2


# Sizes that divide and that do not; "fixed" where the model is tied to the prototxt's size.
@pytest.mark.parametrize(
    ("params", "fixed"),
    [
        ("kernel_size: 3 stride: 2 pad: 1", False),
        ("kernel_size: 2 stride: 2 pad: 1", False),
        ("kernel_size: 2 stride: 2", False),
        ("kernel_size: 3 stride: 2", False),
        ("kernel_size: 3 stride: 1 pad: 1", False),
        ("kernel_h: 3 kernel_w: 2 stride_h: 2 stride_w: 1 pad_h: 1 pad_w: 0", False),
        ("kernel_size: 2 stride: 3", True),
        ("kernel_size: 3 stride: 2 pad: 2", False),
        ("pool: AVE kernel_size: 3 stride: 1 pad: 1", False),
        ("pool: AVE kernel_size: 3 stride: 2 pad: 1", True),
        ("pool: AVE kernel_size: 3 stride: 2", True),
        ("pool: AVE kernel_size: 2 stride: 2 pad: 1", True),
        ("pool: AVE kernel_size: 2 stride: 3", True),
        ("pool: AVE kernel_size: 1 stride: 3", True),
        ("pool: AVE kernel_h: 2 kernel_w: 3 stride_h: 3 stride_w: 4", True),
        ("pool: AVE global_pooling: true", False),
        ("global_pooling: true", False),
    ],
)
@pytest.mark.parametrize("size", [(8, 9), (10, 7), (11, 12)])
def test_pooling(params: str, fixed: bool, size: tuple[int, int], tmp_path: Path) -> None:
    text = inputs(data=(2, 3, *size)) + layer("POOLING", "p", "data", "p", f"pooling_param {{ {params} }}")
    net = build(text)
    assert_same(net, tmp_path, noise(2, 3, *size) - 3, tolerance=1e-6)
    if not fixed:
        assert_same(net, tmp_path, noise(1, 3, size[0] + 1, size[1] + 2) - 3, tolerance=1e-6)


@pytest.mark.parametrize(
    ("kind", "params"),
    [
        ("INTERP", "interp_param { zoom_factor: 8 }"),
        ("INTERP", "interp_param { zoom_factor: 1 }"),
        ("INTERP", "interp_param { shrink_factor: 3 }"),
        ("INTERP", "interp_param { height: 5 width: 20 }"),
        ("INTERP", "interp_param { height: 1 width: 1 }"),
        ("INTERP", "interp_param { zoom_factor: 2 pad_beg: -1 pad_end: -2 }"),
        ("INTERP", "interp_param { zoom_factor: 3 align_corners: false }"),
        ("INTERP", "interp_param { height: 4 width: 11 pad_end: -1 align_corners: false }"),
        ("INTERP", "interp_param { height: 1 width: 1 align_corners: false }"),
        ("PADDING", "padding_param { pad_beg: 2 pad_end: 1 }"),
        ("PADDING", "padding_param { pad_beg: -2 pad_end: -1 }"),
        ("PADDING", "padding_param { pad_beg: -2 pad_end: 3 }"),
        ("RELU", "relu_param { negative_slope: 0.3 }"),
        ("SIGMOID", ""),
        ("TANH", ""),
        ("ABSVAL", ""),
        ("SOFTMAX", ""),
        ("ARGMAX", ""),
        ("POWER", "power_param { power: 2 scale: 0.5 shift: -1 }"),
        ("POWER", "power_param { scale: 3 }"),
        ("LRN", "lrn_param { local_size: 3 alpha: 0.7 beta: 0.75 k: 2 }"),
        ("LRN", "lrn_param { local_size: 5 alpha: 0.7 beta: -0.5 k: 2 }"),
        ("LRN", "lrn_param { local_size: 5 alpha: 0 beta: 0.5 k: 2 }"),
        ("LRN", "lrn_param { norm_region: WITHIN_CHANNEL local_size: 5 alpha: 0.7 beta: 0.75 k: 2 }"),
        ("LRN", "lrn_param { norm_region: WITHIN_CHANNEL local_size: 1 alpha: 2 beta: -0.5 }"),
        ("MVN", ""),
        ("FLATTEN", ""),
        ("DROPOUT", ""),
        ("INNER_PRODUCT", 'inner_product_param { num_output: 5 weight_filler { type: "xavier" } }'),
        ("INNER_PRODUCT", 'inner_product_param { num_output: 5 bias_term: false weight_filler { type: "xavier" } }'),
    ],
)
def test_layer(kind: str, params: str, tmp_path: Path) -> None:
    net = build(inputs(data=(2, 4, 7, 9)) + layer(kind, "x", "data", "x", params))
    assert_same(net, tmp_path, noise(2, 4, 7, 9), tolerance=1e-5)
    assert_same(net, tmp_path, noise(3, 4, 7, 9), tolerance=1e-5)
    if "height" in session_of(net, tmp_path).get_inputs()[0].shape:
        assert_same(net, tmp_path, noise(1, 4, 10, 8), tolerance=1e-5)


@pytest.mark.parametrize("corners", ["", "align_corners: false"])
def test_interp_to_the_size_of_a_second_bottom(corners: str, tmp_path: Path) -> None:
    text = (
        inputs(data=(1, 3, 8, 9)) + conv("c", "data") + layer("POOLING", "p", "c", "p", "pooling_param { stride: 2 }")
    )
    text = text.replace("stride: 2 }", "kernel_size: 2 stride: 2 }")
    net = build(text + layer("INTERP", "x", "p data", "x", f"interp_param {{ {corners} }}"))
    assert_same(net, tmp_path, noise(1, 3, 8, 9), tolerance=1e-5)
    assert_same(net, tmp_path, noise(2, 3, 11, 7), tolerance=1e-5)


def test_interp_of_a_single_pixel(tmp_path: Path) -> None:
    net = build(inputs(data=(1, 2, 1, 1)) + layer("INTERP", "x", "data", "x", "interp_param { height: 3 width: 4 }"))
    assert_same(net, tmp_path, noise(1, 2, 1, 1), tolerance=0)


@pytest.mark.parametrize(
    "params", ["operation: SUM", "operation: SUM coeff: 1 coeff: -0.5 coeff: 2", "operation: PROD", "operation: MAX"]
)
def test_eltwise(params: str, tmp_path: Path) -> None:
    branches = "".join(conv(f"c{i}", "data", out=3) for i in range(3))
    text = (
        inputs(data=(1, 2, 6, 5)) + branches + layer("ELTWISE", "e", "c0 c1 c2", "e", f"eltwise_param {{ {params} }}")
    )
    assert_same(build(text), tmp_path, noise(2, 2, 6, 5), tolerance=1e-5)


def test_slice_concat_and_several_outputs(tmp_path: Path) -> None:
    text = inputs(data=(1, 6, 4, 4)) + conv("c", "data", out=6)
    text += layer("SLICE", "s", "c", "a b", "slice_param { slice_point: 2 }")
    text += layer("CONCAT", "cat", "b a", "cat") + relu("r", "cat") + layer("SILENCE", "q", "data")
    text += layer("SIGMOID", "g", "c", "g")
    net = build(text)
    assert net.outputs == ["cat", "g"]
    assert_same(net, tmp_path, noise(2, 6, 5, 4), tolerance=1e-5)


@pytest.mark.parametrize("dialect", ["v1", "v2"])
@pytest.mark.parametrize("axis", ["", "axis: 0", "axis: 1", "axis: 2", "axis: -1", "axis: -3"])
@pytest.mark.parametrize("params", ["", "top_k: 2", "out_max_val: true", "top_k: 2 out_max_val: true"])
@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (2, 3, 4), (2, 3, 4, 3, 2)])
def test_argmax(dialect: str, axis: str, params: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    if dialect == "v1" and (len(shape) != 4 or axis not in ("", "axis: 1", "axis: -3")):
        return
    text = f'input: "x" input_shape {{ {" ".join(f"dim: {n}" for n in shape)} }}'
    text += f'layer {{ name: "l" type: "ArgMax" bottom: "x" top: "y" argmax_param {{ {axis} {params} }} }}'
    net = build(text, dialect=dialect)
    ties = torch.randint(0, 3, shape, generator=torch.Generator().manual_seed(1)).float()
    for x in (noise(*shape), ties):
        assert_same(net, tmp_path, x, tolerance=0)
    if axis != "axis: 0" and not (axis == "axis: -3" and len(shape) == 3):
        sizes = (7, 3) if len(shape) == 4 else shape[2:]
        assert_same(net, tmp_path, noise(3, 3, *sizes), tolerance=0)


def test_slices_of_the_batch(tmp_path: Path) -> None:
    for points in ("", "slice_point: 1 slice_point: 4"):
        text = inputs(data=(6, 2, 5, 4)) + layer(
            "SLICE", "s", "data", "a b c", f"slice_param {{ slice_dim: 0 {points} }}"
        )
        net = build(text)
        (tmp_path / "net.onnx").unlink(missing_ok=True)
        assert_same(net, tmp_path, noise(6, 2, 5, 4), tolerance=0)
        assert_same(net, tmp_path, noise(6, 2, 3, 7), tolerance=0)


@pytest.mark.parametrize("axis", [2, 3])
@pytest.mark.parametrize("points", ["", "slice_point: 1 slice_point: 3"])
def test_slices_of_rows_and_columns_at_another_size(axis: int, points: str, tmp_path: Path) -> None:
    tops = "".join(f' top: "{name}"' for name in "abc")
    net = build(
        'input: "data" input_shape { dim: 1 dim: 2 dim: 6 dim: 6 } '
        f'layer {{ name: "s" type: "Slice" bottom: "data" {tops} slice_param {{ axis: {axis} {points} }} }}'
    )
    for height, width in ((6, 6), (9, 12)):
        assert_same(net, tmp_path, noise(2, 2, height, width), tolerance=0)


def test_items_that_are_selected(tmp_path: Path) -> None:
    text = (
        inputs(x=(3, 2, 4, 5), s=(3, 1, 1, 1)) + 'layer { name: "f" type: "Filter" bottom: "x" bottom: "s" top: "y" }'
    )
    net = build(text)
    for kept in ([1.0, 0, 1], [1.0, 1, 1], [0.0, 1, 0, 1]):
        assert_same(net, tmp_path, noise(len(kept), 2, 4, 5), torch.tensor(kept).reshape(-1, 1, 1, 1), tolerance=0)


def test_as_many_indices_as_items(tmp_path: Path) -> None:
    text = 'input: "x" input_shape { dim: 3 dim: 2 } input: "i" input_shape { dim: 3 } '
    net = build(text + 'layer { name: "r" type: "BatchReindex" bottom: "x" bottom: "i" top: "y" }')
    assert_same(net, tmp_path, noise(3, 2), torch.tensor([2.0, 0, 2]), tolerance=0)
    assert [blob.shape for blob in session_of(net, tmp_path).get_inputs()] == [[3, 2], [3]]


def test_a_reshape_that_mixes_images_keeps_their_number(tmp_path: Path) -> None:
    net = build(
        'input: "data" input_shape { dim: 2 dim: 3 } '
        'layer { name: "l" type: "Reshape" bottom: "data" top: "y" reshape_param { shape { dim: -1 dim: 2 } } }'
    )
    assert_same(net, tmp_path, noise(2, 3), tolerance=0)
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx", providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].shape == [2, 3]


def test_holes_groups_and_no_bias(tmp_path: Path) -> None:
    fill = 'weight_filler { type: "xavier" }'
    text = inputs(data=(1, 4, 12, 11)) + layer(
        "CONVOLUTION",
        "c",
        "data",
        "c",
        f"convolution_param {{ num_output: 6 group: 2 bias_term: false kernel_h: 3 kernel_w: 2 hole_h: 2 hole_w: 3 "
        f"stride: 2 pad_h: 2 pad_w: 1 {fill} }}",
    )
    assert_same(build(text), tmp_path, noise(2, 4, 12, 11), tolerance=1e-5)


def test_the_output_has_its_blobs_name_though_written_in_place(tmp_path: Path) -> None:
    net = build(SMALL + INTERP + layer("DROPOUT", "last", "up", "up"))
    assert net.outputs == ["up"]
    assert_same(net, tmp_path, noise(1, 3, 9, 11), tolerance=1e-5)


def test_a_blob_with_the_name_of_a_weight(tmp_path: Path) -> None:
    text = inputs(data=(1, 3, 9, 11)) + conv("c", "data") + layer("TANH", "t", "c", "c.weight")
    net = build(text + layer("SIGMOID", "s", "c", "c/Add"))
    assert net.outputs == ["c.weight", "c/Add"]
    assert_same(net, tmp_path, noise(1, 3, 9, 11), tolerance=1e-5)


def test_batch_norm_with_stored_statistics(tmp_path: Path) -> None:
    text = """input: "x" input_shape { dim: 2 dim: 3 dim: 4 dim: 5 }
    layer { name: "bn" type: "BatchNorm" bottom: "x" top: "y" batch_norm_param { eps: 0.01%s } }"""
    net = dc.Net(proto.parse_net(text % ""))
    for role, value in (("mean", noise(3)), ("variance", 1 + noise(3).abs()), ("factor", torch.tensor([2.0]))):
        net.by_name["bn"].load_blob(role, value)
    assert_same(net, tmp_path, noise(2, 3, 4, 5))
    assert_same(net, tmp_path, noise(1, 3, 7, 2))
    with pytest.raises(ConversionError, match="BatchNorm with the statistics of the batch"):
        to_onnx(dc.Net(proto.parse_net(text % " use_global_stats: false")), tmp_path / "batch.onnx")


@pytest.mark.parametrize(
    ("kind", "bottoms", "params"),
    [
        ("Scale", "x", "bias_term: true filler { type: 'xavier' } bias_filler { type: 'xavier' }"),
        ("Scale", "x", "num_axes: 0 filler { type: 'constant' value: 3 }"),
        ("Scale", "x", "axis: 2 num_axes: -1 filler { type: 'xavier' }"),
        ("Scale", "x o", "axis: 0 bias_term: true bias_filler { type: 'xavier' }"),
        ("Bias", "x", "filler { type: 'xavier' }"),
        ("Bias", "x o", "axis: 0"),
        ("Bias", "x bias", "axis: 0"),  # a bottom with the name of a role
    ],
)
def test_scale_and_bias(kind: str, bottoms: str, params: str, tmp_path: Path) -> None:
    text = 'input: "x" input_shape { dim: 2 dim: 3 dim: 4 dim: 5 }'
    inner = "inner_product_param { num_output: 3 weight_filler { type: 'xavier' } }"
    other = bottoms.split()[-1] if " " in bottoms else "o"
    text += f'layer {{ name: "o" type: "InnerProduct" bottom: "x" top: "{other}" {inner} }}'
    named = " ".join(f'bottom: "{bottom}"' for bottom in bottoms.split())
    text += f'layer {{ name: "l" type: "{kind}" {named} top: "y" {kind.lower()}_param {{ {params} }} }}'
    assert_same(build(text), tmp_path, noise(2, 3, 4, 5))


FILL = "weight_filler { type: 'xavier' } bias_filler { type: 'uniform' }"
# Type, parameters, shapes of the bottoms; "any" where another batch goes too.
SHAPED = [
    ("Convolution", f"convolution_param {{ num_output: 4 kernel_size: 3 dilation: 2 pad: 1 {FILL} }}", [(2, 3, 9)]),
    ("Convolution", f"convolution_param {{ num_output: 4 group: 2 kernel_size: 2 pad: 1 {FILL} }}", [(2, 2, 3, 4, 5)]),
    ("Deconvolution", f"convolution_param {{ num_output: 4 kernel_size: 4 stride: 2 pad: 1 {FILL} }}", [(2, 3, 5, 4)]),
    (
        "Deconvolution",
        f"convolution_param {{ num_output: 4 group: 2 kernel_h: 2 kernel_w: 3 stride: 3 dilation: 2 {FILL} }}",
        [(2, 2, 5, 4)],
    ),
    ("Deconvolution", f"convolution_param {{ num_output: 2 kernel_size: 3 stride: 2 {FILL} }}", [(2, 2, 6)]),
    ("Convolution", f"convolution_param {{ num_output: 4 axis: 2 kernel_size: 2 pad: 1 {FILL} }}", [(2, 3, 4, 5, 6)]),
    ("Convolution", f"convolution_param {{ num_output: 4 group: 2 axis: 0 kernel_size: 2 {FILL} }}", [(2, 5, 4)]),
    ("Convolution", f"convolution_param {{ num_output: 4 group: 2 {FILL} }}", [(2, 6)]),
    (
        "Deconvolution",
        f"convolution_param {{ num_output: 4 axis: -2 kernel_size: 3 stride: 2 {FILL} }}",
        [(2, 3, 2, 4)],
    ),
    ("Deconvolution", f"convolution_param {{ num_output: 4 axis: -1 bias_term: false {FILL} }}", [(2, 5, 3)]),
    ("Reshape", "reshape_param { shape { dim: 0 dim: -1 dim: 2 } }", [(2, 3, 4)]),
    ("Reshape", "reshape_param { shape { dim: 1 } axis: -1 num_axes: 0 }", [(2, 3)]),
    ("Reshape", "reshape_param { shape { dim: -1 } axis: 1 num_axes: 2 }", [(2, 3, 4, 5)]),
    ("Crop", "crop_param { axis: 2 offset: 1 offset: 3 }", [(2, 3, 8, 9), (2, 1, 5, 4)]),
    ("Crop", "crop_param { axis: -3 offset: 1 }", [(2, 3, 8, 9), (2, 2, 5, 4)]),
    ("BatchReindex", "", [(3, 2, 2), (5,)]),
    ("BatchReindex", "", [(3, 2, 2), (5, 1)]),
    ("Filter", "", [(3, 2, 2), (3, 1)]),
    ("Flatten", "flatten_param { axis: 1 end_axis: 2 }", [(2, 3, 4, 5)]),
    ("Flatten", "flatten_param { axis: 0 end_axis: -2 }", [(2, 3, 4)]),
    ("InnerProduct", f"inner_product_param {{ num_output: 4 axis: 2 {FILL} }}", [(2, 3, 4, 2)]),
    ("InnerProduct", f"inner_product_param {{ num_output: 4 axis: 0 transpose: true {FILL} }}", [(2, 3)]),
    ("SPP", "spp_param { pyramid_height: 3 }", [(2, 3, 9, 11)]),
    ("SPP", "spp_param { pyramid_height: 2 pool: AVE }", [(2, 3, 9, 11)]),
    ("SPP", "spp_param { pyramid_height: 1 pool: AVE }", [(2, 3, 9, 11)]),
    ("Softmax", "softmax_param { axis: -1 }", [(2, 3, 4)]),
    ("Concat", "concat_param { axis: -1 }", [(2, 3, 4), (2, 3, 2)]),
]


@pytest.mark.parametrize(("kind", "params", "shapes"), SHAPED)
def test_shapes_and_axes(kind: str, params: str, shapes: list[tuple[int, ...]], tmp_path: Path) -> None:
    text = "".join(
        f'input: "x{i}" input_shape {{ {" ".join(f"dim: {n}" for n in shape)} }} ' for i, shape in enumerate(shapes)
    )
    bottoms = " ".join(f'bottom: "x{i}"' for i in range(len(shapes)))
    net = build(f'{text} layer {{ name: "l" type: "{kind}" {bottoms} top: "y" {params} }}')
    to_onnx(net, tmp_path / "net.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx", providers=["CPUExecutionProvider"])
    batches = (shapes[0][0], 3) if "axis: 0" not in params and kind not in ("BatchReindex", "Filter") else shapes[0][:1]
    for batch in batches:
        given = {f"x{i}": noise(batch, *shape[1:], seed=i) for i, shape in enumerate(shapes)}
        if kind == "BatchReindex":
            given["x1"] = torch.tensor([2.0, 0, 0, 1, 2]).reshape(shapes[1])
        if kind == "Filter":
            given["x1"] = torch.tensor([[0.0], [1], [-1]])
        with torch.no_grad():
            expected = net(**given)
        (found,) = session.run(None, {name: x.numpy() for name, x in given.items()})
        assert found.shape == tuple(expected.shape)
        np.testing.assert_allclose(found, expected.numpy(), rtol=0, atol=1e-5)


def test_a_parameter_becomes_a_constant(tmp_path: Path) -> None:
    text = (
        'input: "x" input_shape { dim: 2 dim: 3 } layer { name: "l" type: "Eltwise" bottom: "x" bottom: "p" top: "y" }'
    )
    param = "parameter_param { shape { dim: 2 dim: 3 } }"
    net = build(text.replace("layer", f'layer {{ name: "p" type: "Parameter" top: "p" {param} }} layer', 1))
    net.p.weight.data.copy_(noise(2, 3, seed=5))
    assert_same(net, tmp_path, noise(2, 3))


@pytest.mark.parametrize(
    ("kind", "params"),
    [
        ("PReLU", "prelu_param { filler { type: 'uniform' min: -1 max: 1 } }"),
        ("PReLU", "prelu_param { channel_shared: true }"),
        ("ELU", "elu_param { alpha: 0.7 }"),
        ("Clip", "clip_param { min: -0.5 max: 0.75 }"),
        ("Swish", ""),
        ("Swish", "swish_param { beta: 1.5 }"),
        ("Exp", ""),
        ("Exp", "exp_param { base: 2 scale: 0.5 shift: 1 }"),
        ("Log", "log_param { base: 2 scale: 0.5 shift: 9 }"),
        ("BNLL", ""),
        ("Threshold", "threshold_param { threshold: 0.25 }"),
        ("Reduction", "reduction_param { operation: SUM axis: 1 coeff: 0.5 }"),
        ("Reduction", "reduction_param { operation: MEAN axis: -1 }"),
        ("Reduction", "reduction_param { operation: ASUM axis: 2 }"),
        ("Reduction", "reduction_param { operation: SUMSQ }"),
        ("MVN", ""),
        ("MVN", "mvn_param { across_channels: true eps: 0.1 }"),
        ("MVN", "mvn_param { normalize_variance: false }"),
        ("Tile", "tile_param { tiles: 3 }"),
        ("Tile", "tile_param { axis: -1 tiles: 2 }"),
    ],
)
@pytest.mark.parametrize("shape", [(2, 4, 7, 9), (2, 4), (2, 4, 3, 2, 2)])
@pytest.mark.parametrize("dialect", ["v1", "v2"])
def test_layers_of_any_number_of_axes(
    kind: str, params: str, shape: tuple[int, ...], dialect: str, tmp_path: Path
) -> None:
    if (dialect == "v1" and len(shape) != 4) or ("axis: 2" in params and len(shape) == 2):
        return
    dims = " ".join(f"dim: {size}" for size in shape)
    text = f'input: "x" input_shape {{ {dims} }} layer {{ name: "l" type: "{kind}" bottom: "x" top: "y" {params} }}'
    net = build(text, dialect=dialect)
    assert_same(net, tmp_path, noise(*shape), tolerance=1e-4)
    assert_same(net, tmp_path, noise(3, *shape[1:]), tolerance=1e-4)


@pytest.mark.parametrize("bias", ["true", "false"])
def test_embed(bias: str, tmp_path: Path) -> None:
    params = f"num_output: 5 input_dim: 4 bias_term: {bias} weight_filler {{ type: 'gaussian' }}"
    filled = f"{params} bias_filler {{ type: 'gaussian' }}"
    text = 'input: "x" input_shape { dim: 2 dim: 3 } layer { name: "e" type: "Embed" bottom: "x" top: "y" '
    net = build(f"{text} embed_param {{ {filled} }} }}")
    assert_same(net, tmp_path, torch.tensor([[0.0, 3, 1], [2, 2, 0]]), tolerance=0)
    assert_same(net, tmp_path, torch.tensor([[1.0, 1, 2]]), tolerance=0)


@pytest.mark.parametrize("bias", ["true", "false"])
def test_embed_of_four_axes(bias: str, tmp_path: Path) -> None:
    params = f"num_output: 5 input_dim: 4 bias_term: {bias} weight_filler {{ type: 'gaussian' }}"
    text = (
        inputs(x=(2, 3, 1, 1)) + f'layer {{ name: "e" type: "Embed" bottom: "x" top: "y" embed_param {{ {params} }} }}'
    )
    net = build(text, dialect="v1")
    for shape in ((2, 3, 1, 1), (3, 3, 4, 1)):
        assert_same(net, tmp_path, torch.arange(60.0)[: int(np.prod(shape))].remainder(4).reshape(shape), tolerance=0)


@pytest.mark.parametrize("mean", ["true", "false"])
def test_gain_channel(mean: str, tmp_path: Path) -> None:
    gain = f"gain_channel_param {{ num_output_nz: 2 thresh: 0.5 norm_mean: {mean} gain_filler {{ type: 'uniform' }} }}"
    net = build(inputs(data=(2, 4, 5, 6)) + layer("GAIN_CHANNEL", "g", "data", "g", gain))
    for shape in ((2, 4, 5, 6), (1, 4, 7, 3)):
        assert_same(net, tmp_path, noise(*shape), tolerance=1e-6)


def test_channel_aggregator(tmp_path: Path) -> None:
    (tmp_path / "map.txt").write_text("0 3\n2\n1 0 2\n")
    merge = f'channel_aggregator_param {{ label_map_file: "{tmp_path}/map.txt" }}'
    net = build(inputs(data=(2, 4, 5, 6)) + layer("CHANNEL_AGGREGATOR", "g", "data", "g", merge))
    for shape in ((2, 4, 5, 6), (1, 4, 7, 3)):
        assert_same(net, tmp_path, 90 * noise(*shape))


def test_blobs_that_a_data_layer_fills_with_a_constant(tmp_path: Path) -> None:
    text = 'input: "x" input_shape { dim: 2 dim: 3 } '
    shape = "shape { dim: 2 dim: 3 } data_filler { type: 'constant' value: 4 } data_filler { type: 'constant' }"
    dummy = f'layer {{ name: "d" type: "DummyData" top: "a" top: "b" dummy_data_param {{ {shape} }} }}'
    net = build(text + dummy + 'layer { name: "l" type: "Eltwise" bottom: "x" bottom: "a" top: "y" }')
    assert_same(net, tmp_path, noise(2, 3), tolerance=0)
    with pytest.raises(ConversionError, match="layer 'd': DummyData with random numbers has no counterpart"):
        to_onnx(build(text + dummy.replace("'constant' value: 4", "'uniform'")), tmp_path / "random.onnx")


def test_spatial_product(tmp_path: Path) -> None:
    text = inputs(data=(2, 4, 5, 6)) + conv("s", "data", out=3) + conv("m", "data", out=1)
    net = build(
        text.replace("layers {", "layer {").replace("CONVOLUTION", '"Convolution"')
        + 'layer { name: "p" type: "SpatialProduct" bottom: "s" bottom: "m" top: "p" }'
    )
    assert_same(net, tmp_path, noise(2, 4, 5, 6))
    assert_same(net, tmp_path, noise(1, 4, 7, 6))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            layer("DOMINANT_CHANNEL", "m", "data", "m"),
            "layer 'm': DominantChannel has no counterpart in ONNX: it prepares labels or scores for training: export",
        ),
        (
            layer("POOLING", "p", "data", "a b", "pooling_param { kernel_size: 2 }"),
            "layer 'p': POOLING with a mask has no counterpart in ONNX: no layer .*: remove the second top",
        ),
        (
            layer("IM2COL", "i", "data", "i", "convolution_param { kernel_size: 2 }"),
            "layer 'i': Im2col has no counterpart in ONNX: a Convolution, which needs no columns, has one",
        ),
        (
            layer("EUCLIDEAN_LOSS", "l", "data data", "l"),
            "layer 'l': EuclideanLoss has no counterpart in ONNX: it compares with labels: export the deploy.prototxt",
        ),
        (
            layer("DENSE_CRF", "c", "data dim", "c", "dense_crf_param { max_iter: 1 }"),
            "layer 'c': DenseCRF has no counterpart in ONNX: .* `deeplab-caffe crf` or deeplab_caffe.DenseCRF2D on",
        ),
        (
            relu("r", "data"),
            "layer 'r': blob 'data': an input has the name of this output, .*: give the output another",
        ),
    ],
)
def test_what_has_no_counterpart_is_named(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match=message):
        to_onnx(build(inputs(data=(2, 3, 8, 8), dim=(2, 1, 1, 2)) + text), tmp_path / "net.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", sorted(LAYERS))
def test_every_type_of_layer_exports_or_says_why_it_does_not(kind: str) -> None:
    layer_type = LAYERS[kind]
    assert (layer_type.to_onnx is Layer.to_onnx) == (layer_type.onnx_advice != Layer.onnx_advice)


def test_a_net_without_outputs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match="net '' has no outputs"):
        to_onnx(build(inputs(data=(1, 3, 4, 4)) + layer("SILENCE", "s", "data")), tmp_path / "net.onnx")


def test_a_net_with_a_data_layer_is_refused(tmp_path: Path) -> None:
    text = layer("DUMMY_DATA", "d", "", "d", "dummy_data_param { num: 1 channels: 1 height: 2 width: 2 }")
    with pytest.raises(ConversionError, match="needs a deploy.prototxt"):
        to_onnx(build(text), tmp_path / "net.onnx")
