from __future__ import annotations

import numpy as np
import pytest

from deeplab_caffe.errors import SolverError
from deeplab_caffe.proto import parse_solver
from deeplab_caffe.solver.policies import POLICIES, LearningRate


def rates(text: str, count: int = 8) -> list[float]:
    rate = LearningRate(parse_solver(f"base_lr: 0.5 max_iter: 8 {text}"))
    return [rate(iteration) for iteration in range(count)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('lr_policy: "fixed"', [0.5] * 8),
        ('lr_policy: "step" gamma: 0.5 stepsize: 3', [0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.125, 0.125]),
        ('lr_policy: "exp" gamma: 0.5', [0.5 / 2**i for i in range(8)]),
        ('lr_policy: "inv" gamma: 1 power: 2', [0.5 / (1 + i) ** 2 for i in range(8)]),
        ('lr_policy: "multistep" gamma: 0.5 stepvalue: 2 stepvalue: 5', [0.5, 0.5, 0.25, 0.25, 0.25, *[0.125] * 3]),
        ('lr_policy: "poly" power: 2', [0.5 * (1 - i / 8) ** 2 for i in range(8)]),
        ('lr_policy: "sigmoid" gamma: -1 stepsize: 4', [0.5 / (1 + np.exp(i - 4)) for i in range(8)]),
    ],
)
def test_by_hand(text: str, expected: list[float]) -> None:
    np.testing.assert_allclose(rates(text), np.float32(expected), rtol=2e-7)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('base_lr: 0 lr_policy: "fixed"', [0, 0, 0]),
        ('base_lr: 1 lr_policy: "step" gamma: 0.5 stepsize: 1', [1, 0.5, 0.25]),
        ('base_lr: 1 lr_policy: "poly" power: 2 max_iter: 1', [1, 0, 0]),
    ],
)
def test_the_least_that_is_accepted(text: str, expected: list[float]) -> None:
    rate = LearningRate(parse_solver(text))
    assert [rate(iteration) for iteration in range(3)] == expected


def test_a_sigmoid_far_below_its_step_is_zero() -> None:
    param = parse_solver('lr_policy: "sigmoid" base_lr: 1 gamma: 1 stepsize: 800')
    assert [LearningRate(param)(iteration) for iteration in (0, 99, 800)] == [0, 0, 0.5]


def test_rates_are_float32() -> None:
    assert rates('lr_policy: "fixed" ', 1) == [0.5]
    rate = LearningRate(parse_solver('base_lr: 0.001 lr_policy: "fixed"'))(0)
    assert rate == float(np.float32(0.001)) != 0.001


def test_equal_stepvalues_take_a_step_an_iteration() -> None:
    # As the original: one comparison an iteration.
    assert rates('lr_policy: "multistep" gamma: 0.5 stepvalue: 2 stepvalue: 2', 5) == [0.5, 0.5, 0.25, 0.125, 0.125]


def test_multistep_goes_on_from_a_saved_step() -> None:
    rate = LearningRate(parse_solver('base_lr: 1 lr_policy: "multistep" gamma: 0.5 stepvalue: 2 stepvalue: 5'))
    rate.current_step = 1
    assert [rate(i) for i in (3, 4, 5)] == [0.5, 0.5, 0.25]
    assert rate.current_step == 2


def test_poly_beyond_the_end_is_zero() -> None:
    assert rates('lr_policy: "poly" power: 0.9', 10)[8:] == [0.0, 0.0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('base_lr: 1 lr_policy: "cosine"', "lr_policy: unknown policy 'cosine': expected one of fixed, step, exp"),
        ("base_lr: 1", "unknown policy ''"),
        ('lr_policy: "fixed"', "base_lr is not set"),
        ('base_lr: -1 lr_policy: "fixed"', "base_lr must be finite and not negative, got -1"),
        ('base_lr: nan lr_policy: "fixed"', "base_lr must be finite"),
        ('base_lr: inf lr_policy: "fixed"', "base_lr must be finite"),
        ('base_lr: 1 lr_policy: "step" stepsize: 3', '"step" needs gamma'),
        ('base_lr: 1 lr_policy: "step" gamma: 0.1', '"step" needs stepsize'),
        ('base_lr: 1 lr_policy: "step" gamma: 0.1 stepsize: 0', "stepsize must be positive, got 0"),
        ('base_lr: 1 lr_policy: "multistep" gamma: 0.1', '"multistep" needs stepvalue'),
        ('base_lr: 1 lr_policy: "poly" power: 1', '"poly" needs max_iter'),
        ('base_lr: 1 lr_policy: "poly" power: 1 max_iter: 0', "max_iter must be positive"),
    ],
)
def test_what_does_not_go_together(text: str, message: str) -> None:
    with pytest.raises(SolverError, match=message):
        LearningRate(parse_solver(text))


def test_a_rate_that_overflows_is_an_error() -> None:
    rate = LearningRate(parse_solver('base_lr: 1 lr_policy: "exp" gamma: 1e30'))
    with pytest.raises(SolverError, match="the learning rate of iteration 20 is inf"):
        rate(20)


def test_a_rate_that_is_no_number_is_an_error() -> None:
    rate = LearningRate(parse_solver('base_lr: 1 lr_policy: "inv" gamma: -1 power: 0.5'))
    assert rate(0) == 1
    with pytest.raises(SolverError, match="the learning rate of iteration 1 is inf"):
        rate(1)
    with pytest.raises(SolverError, match="the learning rate of iteration 2 is nan"):
        rate(2)


def test_every_policy_has_its_fields_in_the_schema() -> None:
    names = {field.name for field in parse_solver('net: "x"').DESCRIPTOR.fields}
    assert {field for fields in POLICIES.values() for field in fields} <= names
