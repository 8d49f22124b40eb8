"""RNN, LSTM, LSTMUnit: against loops over single numbers, states from batch to batch, bad input."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from deeplab_caffe.errors import NetError
from deeplab_caffe.layers import Layer
from deeplab_caffe.proto import V2
from tests.layers.build import make, noise, run

T, N, K = 3, 2, 4
FILL = "weight_filler { type: 'uniform' min: -0.7 max: 0.7 } bias_filler { type: 'uniform' min: -0.7 max: 0.7 }"
STATES = {"LSTM": 2, "RNN": 1}
CONT = torch.tensor([[0.0, 1], [1, 0], [1, 1]])


def params(*, expose: bool = False) -> str:
    return f"recurrent_param {{ num_output: {K} {FILL} {'expose_hidden: true' if expose else ''} }}"


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def slow(
    kind: str, layer: Layer, x: np.ndarray, cont: np.ndarray, static: np.ndarray | None, states: list[np.ndarray]
) -> tuple[np.ndarray, list[np.ndarray]]:
    """The top and the last states, sequence by sequence, with the blobs in Caffe's order."""
    blobs = [blob.detach().double().numpy() for blob in layer.blobs]
    weight_x, bias = blobs[:2]
    weight_static = blobs.pop(2) if static is not None else None
    weight_h = blobs[2]
    top, last = np.zeros((len(x), x.shape[1], K)), [state.copy() for state in states]
    for n in range(x.shape[1]):
        h = states[0][n]
        c = states[1][n] if kind == "LSTM" else None
        for t in range(len(x)):
            entering = weight_x @ x[t, n].ravel() + bias + weight_h @ (cont[t, n] * h)
            if weight_static is not None:
                entering = entering + weight_static @ static[n].ravel()
            if kind == "LSTM":
                i, f, o, g = entering.reshape(4, K)
                c = cont[t, n] * sigmoid(f) * c + sigmoid(i) * np.tanh(g)
                h = top[t, n] = sigmoid(o) * np.tanh(c)
                last[1][n] = c
            else:
                h = np.tanh(entering)
                top[t, n] = np.tanh(blobs[3] @ h + blobs[4])
            last[0][n] = h
    return top, last


@pytest.mark.parametrize("kind", ["LSTM", "RNN"])
@pytest.mark.parametrize("static", [False, True])
@pytest.mark.parametrize("expose", [False, True])
def test_against_loops(kind: str, static: bool, expose: bool) -> None:
    x = noise(T, N, 3, 2)
    bottoms = [x, CONT, *([noise(N, 5, seed=1)] if static else [])]
    states = [noise(1, N, K, seed=2 + i) for i in range(STATES[kind])] if expose else []
    tops = 1 + len(states)
    shapes = [tuple(blob.shape) for blob in [*bottoms, *states]]
    layer = make(kind, params(expose=expose), shapes, tops=tops, dialect=V2)
    given = [state[0].double().numpy() for state in states] or [np.zeros((N, K))] * STATES[kind]
    expected, last = slow(kind, layer, x.numpy(), CONT.numpy(), bottoms[2].numpy() if static else None, given)
    found = layer(*bottoms, *states)
    assert [tuple(top.shape) for top in found] == layer.top_shapes(shapes)
    np.testing.assert_allclose(found[0].detach().numpy(), expected, atol=1e-6)
    for top, state in zip(found[1:], last, strict=False):
        assert not top.requires_grad
        np.testing.assert_allclose(top[0].numpy(), state, atol=1e-6)


def test_blobs_in_caffes_order() -> None:
    for static in (False, True):
        shapes = [(T, N, 3), (T, N), (N, 5)][: 2 + static]
        lstm = make("LSTM", params(), shapes, dialect=V2)
        extra = [(4 * K, 5)] if static else []
        assert [tuple(blob.shape) for blob in lstm.blobs] == [(4 * K, 3), (4 * K,), *extra, (4 * K, K)]
        rnn = make("RNN", params(), shapes, dialect=V2)
        extra = [(K, 5)] if static else []
        assert [tuple(blob.shape) for blob in rnn.blobs] == [(K, 3), (K,), *extra, (K, K), (K, K), (K,)]


@pytest.mark.parametrize("kind", ["LSTM", "RNN"])
def test_a_batch_goes_on_where_the_last_one_ended(kind: str) -> None:
    x, cont = noise(2 * T, N, 3), torch.ones(2 * T, N)
    cont[0] = 0
    whole = make(kind, params(), [(2 * T, N, 3), (2 * T, N)], dialect=V2)
    (expected,) = whole(x, cont)
    parts = make(kind, params(), [(T, N, 3), (T, N)], dialect=V2)
    parts.load_state_dict(whole.state_dict())
    found = [parts(x[:T], cont[:T])[0], parts(x[T:], cont[T:])[0]]
    torch.testing.assert_close(torch.cat(found), expected)
    # A gradient ends where the batch begins.
    found[1].sum().backward()
    state = parts.batch_state
    assert state.shape == (N, STATES[kind], K)
    again = make(kind, params(), [(T, N, 3), (T, N)], dialect=V2)
    again.load_state_dict(whole.state_dict())
    again.load_batch_state(state)
    torch.testing.assert_close(again(x[:T], torch.ones(T, N))[0], parts(x[:T], torch.ones(T, N))[0])
    # Another number of sequences begins anew, as do indicators of 0.
    torch.testing.assert_close(parts(x[:T, :1], torch.ones(T, 1))[0], expected[:T, :1])
    torch.testing.assert_close(parts(x[:T], cont[:T])[0], expected[:T])


def test_nothing_of_another_sequence_is_kept_where_one_begins() -> None:
    layer = make("LSTM", params(), [(1, 1, 3), (1, 1)], dialect=V2)
    x, first = noise(1, 1, 3), torch.zeros(1, 1)
    expected = layer(x, first)[0]
    layer.load_batch_state(torch.full((1, 2, K), torch.inf))
    assert torch.equal(layer(x, first)[0], expected)


def test_lstm_unit() -> None:
    cell, gates, cont = noise(1, N, K), noise(1, N, 4 * K, seed=1), torch.tensor([[0.0, 1]])
    found = run("LSTMUnit", "", cell, gates, cont, tops=2, dialect=V2)
    i, f, o, g = gates.reshape(N, 4, K).unbind(1)
    c = cont.reshape(N, 1) * f.sigmoid() * cell[0] + i.sigmoid() * g.tanh()
    torch.testing.assert_close(found[0][0], c)
    torch.testing.assert_close(found[1][0], o.sigmoid() * c.tanh())


def test_four_axes() -> None:
    blobs = [noise(T, N, 3, 1), CONT[:, :, None, None]]
    assert tuple(run("LSTM", params(), *blobs).shape) == (T, N, K, 1)
    assert tuple(run("RNN", params(), *blobs).shape) == (T, N, K, 1)


@pytest.mark.parametrize(
    ("kind", "shapes", "tops", "message"),
    [
        ("LSTM", [(3, 2, 4), (2, 3)], 1, r"bottom 'b1' for x \(3, 2, 4\) must be \(3, 2\), got \(2, 3\)"),
        ("LSTM", [(3,), (3,)], 1, r"x must be \(T, N, ...\), got \(3,\)"),
        ("LSTM", [(3, 2, 4), (3, 2), (3, 5)], 1, r"the static input 'b2' for x \(3, 2, 4\) must be \(2, ...\)"),
        ("LSTM", [(3, 2, 4), (3, 2)], 2, "takes 2 bottoms, or 3 with a static input, and 1 tops, got 2 and 2"),
        ("LSTMUnit", [(2, 2, 4), (1, 2, 16), (1, 2)], 2, r"the cell must be \(1, N, K\), got \(2, 2, 4\)"),
        ("LSTMUnit", [(1, 2, 4), (1, 2, 15), (1, 2)], 2, r"bottom 'b1' for a cell .* must be \(1, 2, 16\)"),
    ],
)
def test_bottoms_that_do_not_fit(kind: str, shapes: list[tuple[int, ...]], tops: int, message: str) -> None:
    with pytest.raises(NetError, match=f"layer 'l': {message}"):
        make(kind, params(), shapes, tops=tops, dialect=V2)


def test_bad_parameters() -> None:
    with pytest.raises(NetError, match="layer 'l': num_output must be positive, got 0"):
        make("LSTM", "", bottoms=2)
    exposed = params(expose=True)
    with pytest.raises(NetError, match="takes 4 bottoms, or 5 with a static input, and 3 tops, got 2 and 1"):
        make("LSTM", exposed, bottoms=2)
    shapes = [(3, 2, 4), (3, 2), (1, 2, K), (1, 2, K + 1)]
    with pytest.raises(NetError, match=r"bottom 'b3' for x \(3, 2, 4\) must be \(1, 2, 4\), got \(1, 2, 5\)"):
        make("LSTM", exposed, shapes, tops=3, dialect=V2)
    layer = make("LSTM", params(), [(3, 2, 4), (3, 2)], dialect=V2)
    with pytest.raises(NetError, match="the weight_x is for 4 inputs, the bottom has 5"):
        layer.top_shapes([(3, 2, 5), (3, 2)])
