from __future__ import annotations

import numpy as np
import pytest
import torch

from deeplab_caffe import Net
from deeplab_caffe.errors import NetError, SolverError
from deeplab_caffe.proto import parse_net, parse_solver
from deeplab_caffe.solver.parameters import collect_parameters
from deeplab_caffe.solver.updates import UpdateRule, create_rule
from tests.nets import conv, inputs

ONE_BLOB = """
    input: "x" input_dim: 1 input_dim: 2 input_dim: 1 input_dim: 1
    layers { name: "c" type: CONVOLUTION bottom: "x" top: "y" blobs_lr: %s weight_decay: %s
      convolution_param { num_output: 1 kernel_size: 1 bias_term: false } }
    layers { name: "loss" type: EUCLIDEAN_LOSS bottom: "y" bottom: "z" top: "loss" }
    input: "z" input_dim: 1 input_dim: 1 input_dim: 1 input_dim: 1
"""
START = [1.0, -2.0]


def make(text: str, lr_mult: float = 1, decay_mult: float = 1) -> tuple[UpdateRule, torch.nn.Parameter]:
    net = Net(parse_net(ONE_BLOB % (lr_mult, decay_mult)), phase="TRAIN")
    weight = net.by_name["c"].weight
    with torch.no_grad():
        weight.copy_(torch.tensor(START).view(1, 2, 1, 1))
    return create_rule(parse_solver(text), collect_parameters(net)), weight


def run(text: str, gradients: list[list[float]], rate: float = 0.1, **mults: float) -> tuple[list[float], list[float]]:
    rule, weight = make(text, **mults)
    for iteration, gradient in enumerate(gradients):
        rule.apply([torch.tensor(gradient, dtype=torch.float32).view(1, 2, 1, 1)], rate, iteration)
    return weight.flatten().tolist(), rule.history[0].flatten().tolist()


def test_sgd_by_hand() -> None:
    # V = 0.5 V + 0.1 g: 0.1, then 0.05 + 0.2; the rate is in the history.
    weight, history = run("momentum: 0.5", [[1, 0], [2, 0]])
    assert weight == pytest.approx([1 - 0.1 - 0.25, -2])
    assert history == pytest.approx([0.25, 0])


def test_decay_and_multipliers_by_hand() -> None:
    # rate 0.1 * 2, decay 0.5 * 3: V = 0.2 * (1 + 1.5 * W)
    weight, _ = run("weight_decay: 0.5", [[1, 1]], lr_mult=2, decay_mult=3)
    assert weight == pytest.approx([1 - 0.2 * (1 + 1.5), -2 - 0.2 * (1 - 3)])


def test_a_negative_multiplier_climbs() -> None:
    # net.cpp, Init: what is not 0 learns.
    weight, history = run("momentum: 0.5", [[1, 0], [2, 0]], lr_mult=-1)
    assert weight == pytest.approx([1 + 0.1 + 0.25, -2])
    assert history == pytest.approx([-0.25, 0])
    assert make("momentum: 0.5", lr_mult=-1)[1].requires_grad
    with pytest.raises(NetError, match=r"lr_mult \(blobs_lr\) must be finite, got inf"):
        make("momentum: 0.5", lr_mult=float("inf"))


def test_l1_by_hand() -> None:
    weight, _ = run('weight_decay: 0.5 regularization_type: "L1"', [[1, 1]])
    assert weight == pytest.approx([1 - 0.1 * 1.5, -2 - 0.1 * 0.5])


def test_l2sqrt_by_hand() -> None:
    weight, _ = run('weight_decay: 0.5 regularization_type: "L2sqrt"', [[1, 1]])
    norm = 5**0.5
    assert weight == pytest.approx([1 - 0.1 * (1 + 0.5 / norm), -2 - 0.1 * (1 - 1 / norm)])


def test_l2sqrt_of_nothing_is_nothing() -> None:
    rule, weight = make('weight_decay: 0.5 regularization_type: "L2sqrt"')
    with torch.no_grad():
        weight.zero_()
    rule.apply([torch.zeros(1, 2, 1, 1)], 0.1)
    assert weight.flatten().tolist() == [0, 0]


def test_nesterov_by_hand() -> None:
    # V1 = 0.1, step 1.5 * 0.1; V2 = 0.05 + 0.2, step 1.5 * 0.25 - 0.5 * 0.1
    weight, history = run("momentum: 0.5 solver_type: NESTEROV", [[1, 0], [2, 0]])
    assert weight == pytest.approx([1 - 0.15 - (0.375 - 0.05), -2])
    assert history == pytest.approx([0.25, 0])


def test_adagrad_by_hand() -> None:
    # H = 9, then 25: steps 0.1 * 3 / 4 and 0.1 * 4 / 6 with delta 1
    weight, history = run("solver_type: ADAGRAD delta: 1", [[3, 0], [4, 0]])
    assert weight == pytest.approx([1 - 0.1 * 3 / 4 - 0.1 * 4 / 6, -2])
    assert history == pytest.approx([25, 0])


@pytest.mark.parametrize("kind", ["SGD", "NESTEROV", "ADAGRAD"])
def test_against_slow_loops(kind: str) -> None:
    """Twelve steps, number by number in double, as solver.cpp spells them out."""
    momentum = 0.0 if kind == "ADAGRAD" else 0.9
    rng = np.random.default_rng(1)
    gradients = rng.normal(size=(12, 2))
    w, h = np.array(START), np.zeros(2)
    for g in gradients:
        for i in range(2):
            d = g[i] + 0.01 * w[i]
            if kind == "ADAGRAD":
                h[i] += d * d
                w[i] -= 0.1 * d / (np.sqrt(h[i]) + 1e-8)
            else:
                old = h[i]
                h[i] = momentum * h[i] + 0.1 * d
                w[i] -= h[i] if kind == "SGD" else (1 + momentum) * h[i] - momentum * old
    weight, history = run(f"momentum: {momentum} weight_decay: 0.01 solver_type: {kind}", gradients.tolist())
    np.testing.assert_allclose(weight, w, rtol=1e-5)
    np.testing.assert_allclose(history, h, rtol=1e-5)


def test_rmsprop_by_hand() -> None:
    # H = 3/4 * 0 + 1/4 * 2^2 = 1, W -= 0.1 * 2 / (1 + 1); then H = 3/4, W -= 0.1 * 0.
    weight, history = run("solver_type: RMSPROP rms_decay: 0.75 delta: 1", [[2, 0], [0, 0]])
    assert weight == pytest.approx([0.9, -2])
    assert history == pytest.approx([0.75, 0])


def test_adadelta_by_hand() -> None:
    rule, weight = make('type: "AdaDelta" momentum: 0.5 delta: 2')
    rule.apply([torch.tensor([2.0, 0.0]).view(1, 2, 1, 1)], 0.5)
    # H = 1/2 * 2^2 = 2, u = 2 * sqrt((0 + 2) / (2 + 2)) = sqrt(2), K = 1/2 * u^2 = 1, W -= 0.5 * u.
    assert weight.flatten().tolist() == pytest.approx([1 - 0.5 * np.sqrt(2), -2])
    assert [history.flatten().tolist() for history in rule.history] == [[2, 0], pytest.approx([1, 0])]


def test_adam_by_hand() -> None:
    rule, weight = make('type: "Adam" momentum: 0.5 momentum2: 0.75 delta: 1')
    rule.apply([torch.tensor([4.0, 0.0]).view(1, 2, 1, 1)], 0.3, 0)
    # M = 1/2 * 4, V = 1/4 * 16; sqrt(1 - 3/4) / (1 - 1/2) = 1; W -= 0.3 * 2 / (sqrt(4) + 1).
    assert weight.flatten().tolist() == pytest.approx([0.8, -2])
    assert [history.flatten().tolist() for history in rule.history] == [[2, 0], [4, 0]]
    rule.apply([torch.zeros(1, 2, 1, 1)], 0.3, 1)
    # M = 1, V = 3; sqrt(1 - 9/16) / (1 - 1/4) = sqrt(7) / 3.
    assert weight.flatten().tolist() == pytest.approx([0.8 - 0.3 * np.sqrt(7) / 3 / (np.sqrt(3) + 1), -2])
    assert [history.flatten().tolist() for history in rule.history] == [[1, 0], [3, 0]]


def test_the_constants_that_are_not_given() -> None:
    # Caffe's: momentum2 0.999, rms_decay 0.99, delta 1e-8.
    weight, _ = run('type: "Adam" momentum: 0.9', [[5, 0]])
    assert weight == pytest.approx([0.9, -2], abs=1e-6)
    weight, history = run('type: "RMSProp"', [[5, 0]])
    assert weight == pytest.approx([0, -2], abs=1e-5)
    assert history == pytest.approx([0.25, 0])


def test_adams_history_is_all_means_then_all_squares() -> None:
    two_blobs = ONE_BLOB.replace("bias_term: false", "").replace("blobs_lr: %s weight_decay: %s", "")
    net = Net(parse_net(two_blobs), phase="TRAIN")
    rule = create_rule(parse_solver('type: "Adam" momentum: 0.5 momentum2: 0.75'), collect_parameters(net))
    rule.apply([torch.full((1, 2, 1, 1), 2.0), torch.full((1,), 4.0)], 0.1)
    assert [tuple(history.shape) for history in rule.history] == [(1, 2, 1, 1), (1,), (1, 2, 1, 1), (1,)]
    assert [history.flatten()[0].item() for history in rule.history] == [1, 2, 1, 4]


def test_gradients_are_clipped_before_the_decay() -> None:
    rule, weight = make("clip_gradients: 2.5 weight_decay: 0.5")
    gradients = [torch.tensor([3.0, 4.0]).view(1, 2, 1, 1)]
    # Their norm is 5: they are halved.
    assert rule.clip(gradients) == (5, 0.5)
    rule.apply(gradients, 0.1)
    # (1.5, 2) + 0.5 * (1, -2) = (2, 1).
    assert weight.flatten().tolist() == pytest.approx([0.8, -2.1])


def test_the_norm_is_that_of_all_blobs_together() -> None:
    rule, _ = make("clip_gradients: 13")
    gradients = [torch.tensor([3.0, 4.0]), None, torch.tensor([[12.0]])]
    # 3^2 + 4^2 + 12^2 = 13^2: not above.
    assert rule.clip(gradients) is None
    assert gradients[0].tolist() == [3, 4]
    rule.clip_gradients = 6.5
    assert rule.clip(gradients) == (13, 0.5)
    assert (gradients[0].tolist(), gradients[2].tolist()) == ([1.5, 2], [[6]])
    assert rule.clip([None]) is None


def test_clipping_is_off_below_0_and_to_nothing_at_0() -> None:
    gradients = [torch.tensor([3.0, 4.0])]
    rule, _ = make("momentum: 0")
    assert rule.clip(gradients) is None
    rule, _ = make("clip_gradients: 0")
    assert rule.clip(gradients) == (5, 0)
    assert gradients[0].tolist() == [0, 0]


MOMENTUM = {"ADAGRAD": 0, "RMSPROP": 0}


@pytest.mark.parametrize("kind", ["SGD", "NESTEROV", "ADAGRAD", "RMSPROP", "ADADELTA", "ADAM"])
def test_values_are_what_was_taken_off(kind: str) -> None:
    rule, weight = make(f"momentum: {MOMENTUM.get(kind, 0.9)} solver_type: {kind}")
    for _ in range(2):
        before = weight.detach().clone()
        rule.apply([torch.ones(1, 2, 1, 1)], 0.1)
        torch.testing.assert_close(before - weight.detach(), rule.values[0])


def test_the_history_follows_the_parameters_to_a_device() -> None:
    rule, _ = make("type: 'Adam'")
    rule.apply([torch.ones(1, 2, 1, 1)], 0.1)
    rule.to(torch.device("meta"))
    assert [one.device.type for one in rule.history] == ["meta", "meta"]
    assert rule.values is None


def test_a_rate_multiplier_of_0_rests() -> None:
    weight, history = run("momentum: 0.9 weight_decay: 0.5", [[1, 1]], lr_mult=0)
    assert (weight, history) == (START, [0, 0])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('type: "AdaGrad"', [[0.25, 1]]),
        ('type: "RMSProp" rms_decay: 0.75', [[0.0625, 0.25]]),
        ('type: "AdaDelta" momentum: 0.5 delta: 1', [[0.125, 0.5], [0.125 / 1.125, 0.5 / 1.5]]),
        ('type: "Adam" momentum: 0.5 momentum2: 0.75', [[0.25, -0.5], [0.0625, 0.25]]),
    ],
)
def test_a_rate_multiplier_of_0_has_the_history_of_its_decay(text: str, expected: list) -> None:
    # As the original, whose loop over the parameters leaves none out: the gradient is 0.5 * (1, -2).
    rule, weight = make(f"weight_decay: 0.5 {text}", lr_mult=0)
    rule.apply([None], 0.1)
    assert weight.flatten().tolist() == START
    assert [history.flatten().tolist() for history in rule.history] == [pytest.approx(one) for one in expected]


@pytest.mark.parametrize("kind", ["SGD", "NESTEROV", "ADAGRAD", "RMSPROP", "ADADELTA", "ADAM"])
def test_the_memory_of_an_update_is_what_its_estimate_counts(kind: str) -> None:
    rule, _ = make(f"momentum: {MOMENTUM.get(kind, 0.9)} solver_type: {kind}")
    rule.apply([torch.ones(1, 2, 1, 1)], 0.1)
    assert rule.buffers == len({one.data_ptr() for one in [*rule.history, *rule.values]})


def test_a_rate_multiplier_of_0_runs_out_what_momentum_there_is() -> None:
    # As the original: V = m V + 0, W -= V.
    rule, weight = make("momentum: 0.5", lr_mult=0)
    rule.history[0].fill_(1)
    rule.regroup()
    rule.apply([None], 0.1)
    assert weight.flatten().tolist() == [0.5, -2.5]


def test_no_gradient_counts_as_zero() -> None:
    rule, weight = make("momentum: 0.5 weight_decay: 0.5")
    rule.apply([None], 0.1)
    assert weight.flatten().tolist() == pytest.approx([1 - 0.05, -2 + 0.1])


SHARED = """
    input: "x" input_dim: 1 input_dim: 2 input_dim: 1 input_dim: 1
    layers { name: "a" type: CONVOLUTION bottom: "x" top: "m" param: "w" blobs_lr: 1 weight_decay: 1
      convolution_param { num_output: 2 kernel_size: 1 bias_term: false } }
    layers { name: "b" type: CONVOLUTION bottom: "m" top: "y" param: "w" blobs_lr: 2 weight_decay: 0
      convolution_param { num_output: 2 kernel_size: 1 bias_term: false } }
    layers { name: "loss" type: EUCLIDEAN_LOSS bottom: "y" bottom: "z" top: "loss" }
    input: "z" input_dim: 1 input_dim: 2 input_dim: 1 input_dim: 1
"""


def shared() -> tuple[Net, list, UpdateRule]:
    net = Net(parse_net(SHARED), phase="TRAIN")
    with torch.no_grad():
        net.by_name["a"].weight.copy_(torch.tensor([[1.0, 2], [3, 4]]).view(2, 2, 1, 1))
    blobs = collect_parameters(net)
    return net, blobs, create_rule(parse_solver("momentum: 0.5 weight_decay: 0.1"), blobs)


def test_shared_parameters_have_a_history_each() -> None:
    """Each use has its own gradient, multipliers and momentum; their changes add up (net.cpp, Update)."""
    net, blobs, rule = shared()
    assert [blob.owner for blob in blobs] == [None, 0]
    a, b = (net.by_name[name].weight for name in "ab")
    assert a.data_ptr() == b.data_ptr()
    start = a.detach().clone()
    ones = torch.ones(2, 2, 1, 1)
    rule.apply([ones.clone(), 2 * ones], 0.1)
    first = 0.1 * (1 + 0.1 * start) + 0.1 * 2 * 2
    torch.testing.assert_close(a.detach(), start - first)
    assert torch.equal(a, b)
    torch.testing.assert_close(rule.values[0], first)
    middle = a.detach().clone()
    rule.apply([torch.zeros(2, 2, 1, 1), torch.zeros(2, 2, 1, 1)], 0.1)
    second = 0.5 * 0.1 * (1 + 0.1 * start) + 0.1 * 0.1 * middle + 0.5 * 0.4
    torch.testing.assert_close(a.detach(), middle - second)


@pytest.mark.parametrize("kind", ["SGD", "Nesterov", "AdaGrad"])
def test_an_owner_at_rest_gets_what_its_sharers_change(kind: str) -> None:
    net = Net(parse_net(SHARED.replace("blobs_lr: 1", "blobs_lr: 0")), phase="TRAIN")
    blobs = collect_parameters(net)
    rule = create_rule(parse_solver(f'type: "{kind}"'), blobs)
    weight = net.by_name["a"].weight
    start = weight.detach().clone()
    for count in (1, 2):
        rule.apply([torch.full_like(start, 5.0), torch.ones_like(start)], 0.1)
        if kind != "AdaGrad":  # whose steps become shorter
            torch.testing.assert_close(weight.detach(), start - 0.2 * count)
        assert not torch.equal(weight, start)


def test_shared_parameters_get_a_gradient_each() -> None:
    net, blobs, _ = shared()
    x, z = torch.tensor([1.0, -1]).view(1, 2, 1, 1), torch.zeros(1, 2, 1, 1)
    net.loss(net(x, z)).backward()
    w = torch.tensor([[1.0, 2], [3, 4]], requires_grad=True)
    v = torch.tensor([[1.0, 2], [3, 4]], requires_grad=True)
    (0.5 * (v @ (w @ torch.tensor([1.0, -1]))).square().mean()).backward()
    torch.testing.assert_close(blobs[0].parameter.grad.view(2, 2), w.grad)
    torch.testing.assert_close(blobs[1].parameter.grad.view(2, 2), v.grad)


def test_a_change_of_shared_memory_is_counted_for_both() -> None:
    # The packed weights of a test net are told by the version.
    net, _, rule = shared()
    before = net.by_name["b"].weight._version
    rule.apply([torch.ones(2, 2, 1, 1), torch.ones(2, 2, 1, 1)], 0.1)
    assert net.by_name["b"].weight._version > before


@pytest.mark.parametrize(
    ("first", "second", "rate", "decay"),
    [
        ("", "", 1, 1),
        ("lr_mult: 3", "", 3, 1),
        ("", "lr_mult: 3 decay_mult: 0", 3, 0),
        ("lr_mult: 2", "lr_mult: 2", 2, 1),
    ],
)
def test_what_one_of_the_sharers_says_counts_for_all(first: str, second: str, rate: float, decay: float) -> None:
    """DeepLab v2's (net.cpp, AppendParam); the first layer, whose top nothing reads, is not below the loss."""
    text = (
        'input: "x" input_shape { dim: 1 dim: 2 dim: 1 dim: 1 } input: "z" input_shape { dim: 1 dim: 2 dim: 1 dim: 1 }'
    )
    for name, param in (("a", first), ("b", second)):
        text += f"""
            layer {{ name: "{name}" type: "Convolution" bottom: "x" top: "{name}" param {{ name: "w" {param} }}
              convolution_param {{ num_output: 2 kernel_size: 1 bias_term: false }} }}
        """
    text += 'layer { name: "loss" type: "EuclideanLoss" bottom: "b" bottom: "z" top: "loss" }'
    (blob,) = collect_parameters(Net(parse_net(text), phase="TRAIN"))
    assert (blob.lr_mult, blob.decay_mult, blob.parameter.requires_grad) == (rate, decay, True)


def test_only_what_a_loss_depends_on_gets_a_gradient() -> None:
    net = Net(
        parse_net(
            """
            input: "x" input_dim: 1 input_dim: 2 input_dim: 1 input_dim: 1
            layers { name: "a" type: CONVOLUTION bottom: "x" top: "y"
              convolution_param { num_output: 2 kernel_size: 1 } }
            layers { name: "b" type: CONVOLUTION bottom: "x" top: "z"
              convolution_param { num_output: 2 kernel_size: 1 } }
            layers { name: "fixed" type: CONVOLUTION bottom: "y" top: "y2" blobs_lr: 0 blobs_lr: 1
              convolution_param { num_output: 2 kernel_size: 1 } }
            layers { name: "arg" type: ARGMAX bottom: "z" top: "label" }
            layers { name: "loss" type: SOFTMAX_LOSS bottom: "y2" bottom: "label" top: "loss" }
            """
        ),
        phase="TRAIN",
    )
    found = {(blob.layer.name, blob.index): blob.parameter.requires_grad for blob in collect_parameters(net)}
    assert found == {
        ("a", 0): True,
        ("a", 1): True,
        ("b", 0): False,
        ("b", 1): False,
        ("fixed", 0): False,
        ("fixed", 1): True,
    }


@pytest.mark.parametrize(("force", "learns"), [("", False), ("force_backward: true", True)])
def test_a_bottom_without_propagation_teaches_nothing_below(force: str, learns: bool) -> None:
    net = Net(
        parse_net(
            f"""
            {force} input: "x" input_shape {{ dim: 1 dim: 2 }}
            layer {{ name: "a" type: "InnerProduct" bottom: "x" top: "a" inner_product_param {{ num_output: 2 }} }}
            layer {{ name: "b" type: "InnerProduct" bottom: "a" top: "b" propagate_down: false
              inner_product_param {{ num_output: 2 }} }}
            layer {{ name: "loss" type: "EuclideanLoss" bottom: "b" bottom: "x" top: "loss" }}
            """
        ),
        phase="TRAIN",
    )
    found = {(blob.layer.name, blob.index): blob.parameter.requires_grad for blob in collect_parameters(net)}
    assert found == {("a", 0): learns, ("a", 1): learns, ("b", 0): True, ("b", 1): True}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("solver_type: ADAGRAD momentum: 0.9", "momentum must be 0 for AdaGrad, got 0.9"),
        ("solver_type: RMSPROP momentum: 0.9", "momentum must be 0 for RMSProp, got 0.9"),
        ("solver_type: RMSPROP rms_decay: 1", "rms_decay must be at least 0 and below 1, got 1"),
        ("solver_type: ADAM momentum2: -0.5", "momentum2 must be at least 0 and below 1, got -0.5"),
        ('regularization_type: "L3"', "regularization_type: unknown type 'L3': expected one of L2, L1, L2sqrt"),
    ],
)
def test_what_does_not_go_together(text: str, message: str) -> None:
    with pytest.raises(SolverError, match=message):
        make(text)


@pytest.mark.parametrize("dialect", ["v1", "v2"])
def test_blobs_of_a_v1_layer_that_are_not_mentioned_have_1(dialect: str) -> None:
    text = inputs(data=(1, 2, 4, 4)) + conv("one", "data", more="blobs_lr: 3 weight_decay: 0")
    found = collect_parameters(Net(parse_net(text), phase="TRAIN", dialect=dialect))
    assert [(blob.lr_mult, blob.decay_mult) for blob in found] == [(3, 0), (1, 1)]
