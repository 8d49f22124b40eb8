from __future__ import annotations

from pathlib import Path

import pytest
import torch

from deeplab_caffe import Net
from deeplab_caffe.proto import parse_net
from deeplab_caffe.solver import TrainingMemory, training_memory
from deeplab_caffe.solver.parameters import collect_parameters
from deeplab_caffe.zoo.paths import prototxt_path
from tests.solver.toy import net_text, write_images


def kept_bytes(net: Net, bfloat16: bool = False) -> int:
    """Bytes of the storages that autograd keeps, without the parameters'."""
    kept: dict[int, int] = {}
    parameters = {p.untyped_storage().data_ptr() for p in net.parameters()}

    def pack(x: torch.Tensor) -> torch.Tensor:
        storage = x.untyped_storage()
        if storage.data_ptr() not in parameters:
            kept[storage.data_ptr()] = storage.nbytes()
        return x

    held = []
    autocast = torch.autocast("cpu", torch.bfloat16, enabled=bfloat16)
    with autocast, torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        held.append(net.loss(net(blobs=net.losses)))
    return sum(kept.values())


def test_parameters_by_hand(tmp_path: Path) -> None:
    write_images(tmp_path)
    (tmp_path / "net.prototxt").write_text(net_text(tmp_path).replace("blobs_lr: 10 blobs_lr: 20", ""))
    memory = training_memory(Net(tmp_path / "net.prototxt", phase="TRAIN"), buffers=2)
    count = 6 * 27 + 6 + 3 * 6 + 3
    assert (memory.parameters, memory.gradients, memory.history) == (4 * count, 4 * count, 8 * count)
    assert memory.total == memory.parameters + memory.gradients + memory.history + memory.activations


def test_activations_of_the_toy_by_hand(tmp_path: Path) -> None:
    write_images(tmp_path)
    (tmp_path / "net.prototxt").write_text(net_text(tmp_path, dropout=False))
    memory = training_memory(Net(tmp_path / "net.prototxt", phase="TRAIN"))
    pixels = 4 * 9 * 9
    # The data, the ReLU's result, scores and labels, and two numbers a pixel of the softmax.
    assert memory.activations == 4 * pixels * (3 + 6 + 3 + 1 + 2)


def test_what_lies_below_the_first_layer_that_learns_is_not_kept() -> None:
    text = """
        input: "x" input_shape { dim: 1 dim: 2 dim: 5 dim: 7 } input: "z" input_shape { dim: 1 dim: 3 dim: 5 dim: 7 }
        layer { name: "a" type: "Convolution" bottom: "x" top: "a" %s
                convolution_param { num_output: 4 kernel_size: 1 } }
        layer { name: "r" type: "Sigmoid" bottom: "a" top: "r" }
        layer { name: "b" type: "Convolution" bottom: "r" top: "b"
                convolution_param { num_output: 3 kernel_size: 1 } }
        layer { name: "l" type: "EuclideanLoss" bottom: "b" bottom: "z" top: "l" }
    """

    def memory(params: str) -> TrainingMemory:
        net = Net(parse_net(text % params), phase="TRAIN")
        collect_parameters(net)
        return training_memory(net)

    whole, frozen = memory(""), memory("param { lr_mult: 0 } param { lr_mult: 0 }")
    # The data, and the Sigmoid's result, which b needs in any case.
    assert whole.activations - frozen.activations == 4 * 35 * 2
    assert (whole.gradients - frozen.gradients, whole.parameters) == (4 * (8 + 4), frozen.parameters)


def test_half_of_it_in_bfloat16(tmp_path: Path) -> None:
    write_images(tmp_path)
    (tmp_path / "net.prototxt").write_text(net_text(tmp_path, dropout=False))
    net = Net(tmp_path / "net.prototxt", phase="TRAIN")
    pixels = 4 * 9 * 9
    half = training_memory(net, dtype="bfloat16").activations
    copies = 2 * (6 * 27 + 6 + 3 * 6 + 3)
    assert half == training_memory(net).activations - 2 * pixels * (6 + 3) + copies


@pytest.mark.parametrize(("batch", "bfloat16"), [(1, False), (2, False), (2, True)])
def test_largefov_as_measured(tmp_path: Path, batch: int, bfloat16: bool) -> None:
    """The released network with an eighth of its channels: the estimate is what autograd keeps, within a tenth."""
    write_images(tmp_path, count=2, size=98)
    text = prototxt_path("deeplab_largefov", "train").read_text()
    for channels in (64, 128, 256, 512, 1024):
        text = text.replace(f"num_output: {channels} ", f"num_output: {channels // 8} ")
    text = text.replace("batch_size: 30", f"batch_size: {batch}").replace("crop_size: 321", "crop_size: 97")
    (tmp_path / "voc" / "list").mkdir(parents=True)
    (tmp_path / "voc" / "list" / "train.txt").write_text((tmp_path / "list.txt").read_text())
    (tmp_path / "net.prototxt").write_text(text)
    variables = {
        "EXP": f"{tmp_path}/voc",
        "DATA_ROOT": f"{tmp_path}/img",
        "TRAIN_SET": "train",
        "NUM_LABELS": "21",
        "NET_ID": "slim",
    }
    net = Net(tmp_path / "net.prototxt", phase="TRAIN", variables=variables)
    assert net.parameter_count() < 1e6
    measured = kept_bytes(net, bfloat16)
    dtype = "bfloat16" if bfloat16 else "float32"
    assert training_memory(net, dtype=dtype).activations == pytest.approx(measured, rel=0.1)


def test_frozen_normalisation_keeps_nothing_as_measured() -> None:
    """A residual block of DeepLab v2's ResNet: kept are what convolutions and ReLUs need, and the MAX's choices."""
    frozen = "param { lr_mult: 0 } " * 2
    text = 'input: "x" input_shape { dim: [1, 8, 9, 9] }'
    for name in "ab":
        text += f"""
            layer {{ name: "{name}" type: "Convolution" bottom: "x" top: "{name}"
              convolution_param {{ num_output: 8 kernel_size: 1 bias_term: false }} }}
            layer {{ name: "bn_{name}" type: "BatchNorm" bottom: "{name}" top: "{name}"
              batch_norm_param {{ use_global_stats: true }} }}
            layer {{ name: "scale_{name}" type: "Scale" bottom: "{name}" top: "{name}" {frozen}
              scale_param {{ bias_term: true }} }}
        """
    text += """
        layer { name: "sum" type: "Eltwise" bottom: "a" bottom: "b" top: "sum" }
        layer { name: "max" type: "Eltwise" bottom: "sum" bottom: "b" top: "max" eltwise_param { operation: MAX } }
        layer { name: "relu" type: "ReLU" bottom: "max" top: "max" }
        layer { name: "loss" type: "Reduction" bottom: "max" top: "loss" loss_weight: 1 }
    """
    net = Net(parse_net(text), phase="TRAIN", seed=1)
    collect_parameters(net)
    # The input, the ReLU's top, a byte for each of MAX's numbers; of BatchNorm and Scale nothing.
    kept = 8 * 81 * (4 + 4 + 1)
    assert training_memory(net).activations == pytest.approx(kept, rel=0.01)
    forward = net.forward
    net.forward = lambda **options: forward(torch.randn(1, 8, 9, 9), **options)  # type: ignore[method-assign]  # feeds it
    # Factors and divisors of the channels are made anew in each pass.
    assert kept <= kept_bytes(net) <= kept + 4 * 8 * 4
