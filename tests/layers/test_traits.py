from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch.nn.utils import parametrizations, prune, weight_norm

import deeplab_caffe
from deeplab_caffe.errors import NetError
from deeplab_caffe.layers import LAYERS, Layer, register
from tests.layers.build import make
from tests.layers.catalogue import EXAMPLES
from tests.nets import SMALL, build, conv, inputs, layer, noise

PACKAGE = Path(deeplab_caffe.__file__).parent


@pytest.mark.parametrize("kind", sorted(LAYERS))
def test_every_class_says_what_others_must_know(kind: str) -> None:
    """Silence would cost a newcomer CUDA graphs, or a batch's right numbers."""
    own = [cls for cls in LAYERS[kind].__mro__ if issubclass(cls, Layer) and cls is not Layer]
    for trait in ("capturable", "per_item"):
        assert any(trait in vars(cls) for cls in own), f"{kind}: say {trait}"


# Labels, sizes, indices and marks of sequences' beginnings.
WITHOUT_GRADIENT = {
    **dict.fromkeys(("Accuracy", "AdaptiveBiasChannel", "BatchReindex", "BiasChannel", "Crop"), (1,)),
    **dict.fromkeys(("HingeLoss", "MultinomialLogisticLoss", "SegAccuracy", "SigmoidCrossEntropyLoss"), (1,)),
    **dict.fromkeys(("ContrastiveLoss", "DomainTransform", "DomainTransformForwardOnly", "Filter", "LSTMUnit"), (2,)),
    **dict.fromkeys(("Embed", "Histogram", "OneHot"), (0,)),
    **dict.fromkeys(("CensorLabel", "IgnoreOverlay"), (0, 1)),
    "InfogainLoss": (1, 2),
    "LSTM": (1, 3, 4),
    "RNN": (1, 3),
    "SoftmaxWithLoss": (1,),
}


@pytest.mark.parametrize("kind", sorted(EXAMPLES))
def test_which_bottoms_get_no_gradient(kind: str) -> None:
    params, bottoms, tops = EXAMPLES[kind]
    count = len(bottoms(torch.float32))
    example = make(kind, params, bottoms=count, tops=tops)
    assert tuple(i for i in range(count) if not example.allows_gradient(i)) == WITHOUT_GRADIENT.get(kind, ())


def test_nobody_else_asks_for_a_layers_class() -> None:
    """Types in messages are proto's matter, which upgrades them; pycaffe's drawing is of messages, as Caffe's own."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        room = path.relative_to(PACKAGE).parts[0]
        for number, line in enumerate(path.read_text().splitlines(), 1):
            submodule = re.match(r"\s*(from deeplab_caffe\.layers\.|import deeplab_caffe\.layers\.)", line)
            name = "TYPE" if room == "proto" or path == PACKAGE / "pycaffe" / "draw.py" else "(TYPE|type)"
            kind = re.search(rf"layer\.{name}\s*(==|!=|in\b|not\b)|isinstance\((\w+\.)?layer,", line)
            if room != "layers" and (submodule or kind):
                found.append(f"{path.relative_to(PACKAGE)}:{number}: {line.strip()}")
    assert not found


def test_parameters_need_a_role(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deeplab_caffe.layers.base.LAYERS", dict(LAYERS))

    @register
    class Forgetful(Layer):
        TYPE = "AbsVal"

        def setup(self, bottom_shapes: list[tuple[int, ...]]) -> None:
            self.gain = torch.nn.Parameter(torch.ones(1))

    monkeypatch.setitem(LAYERS, "AbsVal", Forgetful)
    with pytest.raises(NetError, match=r"layer 'a': Forgetful.roles must name its parameters gain"):
        build(inputs(data=(1, 3, 5, 5)) + layer("ABSVAL", "a", "data", "a"))


def old_weight_norm(each: Layer) -> None:
    with pytest.warns(FutureWarning):
        weight_norm(each, "weight")


CHANGES = {
    "pruned": lambda each: prune.l1_unstructured(each, "weight", amount=0.5),
    "pruned for good": lambda each: prune.remove(prune.l1_unstructured(each, "weight", amount=0.5), "weight"),
    "weight norm": old_weight_norm,
    "parametrized": lambda each: parametrizations.weight_norm(each, "weight"),
    "spectral": lambda each: torch.nn.utils.spectral_norm(each, "weight"),
}


@torch.no_grad()
@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("change", CHANGES)
def test_blobs_are_what_the_layer_computes_with(change: str, tmp_path: Path) -> None:
    net, x = build(SMALL), noise(1, 3, 9, 11)
    torch.manual_seed(1)  # spectral_norm begins with a vector of random numbers
    for name in ("conv1", "fc"):
        CHANGES[change](net.by_name[name])
    expected = net(x)
    assert list(net.by_name["conv1"].named_blobs) == ["weight", "bias"]
    for suffix in ("caffemodel", "pth"):
        net.save(tmp_path / f"x.{suffix}")
        again = build(SMALL, seed=7)
        again.copy_from(tmp_path / f"x.{suffix}")
        torch.testing.assert_close(again(x), expected)
    torch.testing.assert_close(net.optimize()(x), expected, rtol=1e-5, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("change", ["pruned", "weight norm", "parametrized"])
def test_weights_go_into_what_blobs_are_made_of(change: str, tmp_path: Path) -> None:
    source, net, x = build(SMALL, seed=3), build(SMALL), noise(1, 3, 9, 11)
    source.save(tmp_path / "x.caffemodel")
    CHANGES[change](net.by_name["fc"])
    net.copy_from(tmp_path / "x.caffemodel")
    expected = source.by_name["fc"].weight
    if change == "pruned":
        expected = expected * net.by_name["fc"].weight_mask
    net(x)
    torch.testing.assert_close(net.by_name["fc"].named_blobs["weight"], expected)


def test_splits_shift_no_names() -> None:
    text = inputs(data=(1, 3, 5, 5)) + conv("a", "data") + conv("b", "a") + conv("c", "a")
    assert list(build(text).state_dict()) == [f"{name}.{role}" for name in "abc" for role in ("weight", "bias")]
