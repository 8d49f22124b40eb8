from __future__ import annotations

import copy
import pickle

import pytest
import torch

from deeplab_caffe.crf.memory import CRFMemoryError
from deeplab_caffe.errors import (
    MOST_CHARACTERS,
    CaffeModelError,
    CRFError,
    DataError,
    DeepLabCaffeError,
    NetError,
    PrototxtError,
    SolverError,
    one_line,
    printable,
    shortened,
    warn,
)
from deeplab_caffe.net import Net
from deeplab_caffe.proto import parse_net, parse_solver
from deeplab_caffe.pycaffe.coord_map import CoordMapError
from deeplab_caffe.pycaffe.net_spec import NetSpecError


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("conv1_1 ü 中 'x'", "conv1_1 ü 中 'x'"),
        ("a\x1b]0;title\x07", r"a\x1b]0;title\x07"),
        ("a\nb\r\tc", r"a\nb\r\tc"),
        ("\u202eabc\u2028", r"\u202eabc\u2028"),  # turns the direction of writing; a line break
        ("\udc80", r"\udc80"),  # a byte that was no text
        ("\x9b31m", r"\x9b31m"),  # the eight-bit way to begin a terminal's command
    ],
)
def test_what_cannot_be_printed_is_written_as_in_python(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert str(CRFError(text)) == shown


def test_the_middle_is_left_out() -> None:
    assert shortened("abcdefghij", 10) == "abcdefghij"
    assert shortened("abcdefghijk", 9) == "abcd...jk"


def test_short_messages_stay_as_they_are() -> None:
    path = "/" + "d" * 1500
    assert one_line(f"{path}: not found") == f"{path}: not found"


def test_a_long_word_goes_before_the_advice_around_it() -> None:
    found = one_line(f"no field '{'x' * 1_000_000}' in layer 'conv1'; did you mean 'name'?")
    assert found.startswith("no field 'xxx")
    assert found.endswith("' in layer 'conv1'; did you mean 'name'?")
    assert len(found) < 300


@pytest.mark.parametrize(
    "make",
    [
        DeepLabCaffeError,
        CRFError,
        PrototxtError,
        lambda text: PrototxtError("m", text, 3),
        lambda text: CaffeModelError(text, "p", layer=text),
        lambda text: NetError("m", text),
        lambda text: SolverError("m", text),
        lambda text: DataError(text, text),
    ],
)
@pytest.mark.parametrize("piece", ["x", "x ", "\x1b[2J", "\n", "\U0001f9ff\udcff"])
def test_every_error_is_one_line_of_bounded_length(make, piece: str) -> None:
    message = str(make(piece * 100_000))
    assert message.isprintable()
    assert len(message) <= MOST_CHARACTERS


LONG = "y" * 300_000
INPUT = 'input: "d" input_dim: 1 input_dim: 1 input_dim: 4 input_dim: 4\n'


@pytest.mark.parametrize(
    "text",
    [
        f"name: 'a' {LONG}: 1",
        f"input_dim: {'9' * 300_000}",
        f"name: {LONG}",
        f"layers {{ type: {LONG} }}",
        f"layer {{ name: '{LONG}' }}",
        f"layer {{ name: '{LONG}' type: 'ReLU' bottom: '{LONG}' }}",
        f"layer {{ name: '{LONG}' type: '{LONG}' bottom: 'd' top: 'd' }}",
        f"layer {{ name: '\\033{LONG}' type: 'Pooling' bottom: 'd' top: 'd' }}",
        f"base_lr: 0.1 {LONG} {{ }}",
        f"type: '{LONG}' {LONG}: 3",
        f"'{LONG}'",
        f"layer {{ name: 'a' type: 'ReLU' pooling_param {{ pool: {LONG} }} }}",
    ],
)
def test_prototxt_text_does_not_fill_the_message(text: str) -> None:
    for read in (lambda: Net(parse_net(INPUT + text)), lambda: parse_solver(text + " no_such_field: 1")):
        with pytest.raises(DeepLabCaffeError) as error:
            read()
        assert str(error.value).isprintable()
        assert len(str(error.value)) <= MOST_CHARACTERS


@pytest.mark.parametrize(
    "error",
    [
        DeepLabCaffeError("said"),
        CaffeModelError("said", "x.caffemodel", 7, "conv1", reason="why"),
        CRFError("said"),
        CRFMemoryError("said"),
        DataError("said", "list.txt", 3),
        NetError("said", "conv1", path="net.prototxt", line=4, parts=[NetError("first", "conv2"), NetError("second")]),
        PrototxtError("said", "net.prototxt", 5),
        SolverError("said", "solver.prototxt", field="type"),
        CoordMapError("said"),
        NetSpecError("said"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_is_the_same_in_another_process(error: DeepLabCaffeError) -> None:
    """A worker's error that could not be unpickled broke its pool, or hung it."""
    for other in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert type(other) is type(error)
        assert (str(other), other.args) == (str(error), error.args)
        assert _fields(other) == _fields(error)


def _fields(error: DeepLabCaffeError) -> dict[str, object]:
    return {name: str(value) for name, value in vars(error).items()}


def test_a_warning_names_the_callers_line_however_deep_it_is() -> None:
    ours = {"__name__": "deeplab_caffe.somewhere", "warn": warn}
    exec("def deep(depth):\n    return deep(depth - 1) if depth else warn('told', FutureWarning)", ours)
    for call in (lambda: ours["deep"](0), lambda: ours["deep"](5), lambda: torch.no_grad()(ours["deep"])(1)):
        with pytest.warns(FutureWarning, match="^told$") as found:
            call()
        assert (found[0].filename, found[0].lineno) == (__file__, call.__code__.co_firstlineno)
