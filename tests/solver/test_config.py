from __future__ import annotations

from pathlib import Path

import pytest

from deeplab_caffe.errors import PrototxtError
from deeplab_caffe.proto import caffe_pb2, parse_solver
from deeplab_caffe.solver import Solver, read_config
from tests.solver.toy import write_problem

NET = 'layers { name: "d" type: DUMMY_DATA top: "d" dummy_data_param { num: 1 channels: 1 height: 1 width: 1 } }'


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("net", "test_a", "test_b"):
        (tmp_path / f"{name}.prototxt").write_text(f'name: "{name}" {NET}')
    return tmp_path


def test_train_net_from_each_field(files: Path) -> None:
    for field in ("net", "train_net"):
        config = read_config(parse_solver(f'{field}: "net.prototxt"'))
        assert (config.train_net.name, config.train_net.state.phase) == ("net", caffe_pb2.TRAIN)
    for field in ("net_param", "train_net_param"):
        assert read_config(parse_solver(f'{field} {{ name: "inside" }}')).train_net.name == "inside"


def test_test_nets_in_caffes_order(files: Path) -> None:
    """First the test_net_params, then the test_nets, then the net for each test_iter that is left."""
    text = """net: "net.prototxt" test_net: "test_a.prototxt" test_net_param { name: "inside" }
        test_net: "test_b.prototxt" test_interval: 10
        test_iter: 1 test_iter: 2 test_iter: 3 test_iter: 4 test_iter: 5"""
    config = read_config(parse_solver(text))
    assert [net.name for _, net in config.test_nets] == ["inside", "test_a", "test_b", "net", "net"]
    assert {net.state.phase for _, net in config.test_nets} == {caffe_pb2.TEST}
    assert config.test_nets[3][0] == "net.prototxt"


def test_level_and_stages_of_the_command_line(files: Path) -> None:
    """They are the training net's, and go before the solver's level; the message that was given stays as it is."""
    param = parse_solver("""net: "net.prototxt" train_state { level: 2 stage: "solver" }
        test_iter: 1 test_interval: 1""")
    config = read_config(param, level=3, stages=["a", "b"])
    assert (config.train_net.state.level, list(config.train_net.state.stage)) == (3, ["solver", "a", "b"])
    assert (config.test_nets[0][1].state.level, list(config.test_nets[0][1].state.stage)) == (0, [])
    assert (param.train_state.level, list(param.train_state.stage)) == (2, ["solver"])
    assert read_config(param).train_net.state.level == 2


def test_states_are_merged_the_solvers_word_last(files: Path) -> None:
    text = """net_param { state { level: 1 stage: "own" } } train_state { level: 2 stage: "solver" }
        test_iter: 1 test_interval: 1 test_state { stage: "deploy" }"""
    config = read_config(parse_solver(text))
    assert (config.train_net.state.level, list(config.train_net.state.stage)) == (2, ["own", "solver"])
    state = config.test_nets[0][1].state
    assert (state.phase, state.level, list(state.stage)) == (caffe_pb2.TEST, 1, ["own", "deploy"])


def test_the_message_is_not_changed(files: Path) -> None:
    param = parse_solver('net_param { name: "n" } train_state { level: 2 }')
    read_config(param)
    assert not param.net_param.HasField("state")


def test_variables_reach_the_nets(files: Path) -> None:
    (files / "net.prototxt").write_text(f'name: "${{WHO}}" {NET}')
    (files / "s.prototxt").write_text('net: "${FILE}.prototxt"')
    assert read_config(files / "s.prototxt", {"WHO": "me", "FILE": "net"}).train_net.name == "me"


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("\nbase_lr: 1", None, "exactly one of net, net_param, train_net, train_net_param must be set, got none"),
        ('net: "net.prototxt"\ntrain_net: "net.prototxt"', 2, "got net, train_net"),
        (
            'net: "net.prototxt"\ntest_net: "test_a.prototxt"',
            None,
            "test_iter must be given once for each of the 1 test",
        ),
        (
            'train_net: "net.prototxt"\ntest_iter: 3',
            2,
            "test_iter must be given once for each of the 0 test nets, got 1",
        ),
        ('net: "net.prototxt"\ntest_iter: 3', None, "test_interval must be positive where there are test nets"),
        ('net: "net.prototxt"\ntest_interval: 1\ntest_iter: -1', 3, "test_iter must not be negative, got -1"),
        ('net: "net.prototxt" test_interval: 1 test_iter: 1\ntest_state { } test_state { }', 2, "test_state must be"),
        (
            'net: "net.prototxt"\ntype: "AdamW"',
            2,
            "solver type 'AdamW' is not implemented: expected one of SGD, Nesterov, AdaGrad, RMSProp, AdaDelta, Adam",
        ),
        ('net: "net.prototxt"\n\nmomentum: 1', 3, "momentum must be at least 0 and below 1, got 1"),
        ('net: "net.prototxt"\nweight_decay: nan', 2, "weight_decay must be finite, got nan"),
        ('net: "net.prototxt"\nclip_gradients: inf', 2, "clip_gradients must be finite, got inf"),
        ('net: "net.prototxt"\ndisplay: -1', 2, "display must not be negative, got -1"),
        ('net: "net.prototxt"\naverage_loss: 0', 2, "average_loss must be positive, got 0"),
        ('net: "net.prototxt"\niter_size: 0', 2, "iter_size must be positive, got 0"),
        ('net: "net.prototxt"\nrandom_seed: 99999999999', 2, "random_seed must be below 4294967296"),
        ('net: "gone.prototxt"', None, "gone.prototxt: cannot be read"),
    ],
)
def test_bad_solvers_are_named_with_their_line(files: Path, text: str, line: int | None, message: str) -> None:
    (files / "s.prototxt").write_text(text)
    with pytest.raises(PrototxtError, match=message) as error:
        read_config("s.prototxt")
    assert error.value.line == line


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('lr_policy: "cosine"', "lr_policy: unknown policy 'cosine'"),
        ('regularization_type: "L3"', "regularization_type: unknown type 'L3'"),
        ("solver_type: ADAGRAD", "momentum must be 0 for AdaGrad, got 0.9"),
        ("solver_type: RMSPROP", "momentum must be 0 for RMSProp, got 0.9"),
        ('momentum2: 1 type: "Adam"', "momentum2 must be at least 0 and below 1, got 1"),
    ],
)
def test_what_only_the_solver_finds_out_is_named_with_its_line(tmp_path: Path, line: str, message: str) -> None:
    path = write_problem(tmp_path)
    field = line.partition(":")[0]
    kept = [old for old in path.read_text().replace(" power", "\npower").splitlines() if field not in old]
    path.write_text("\n".join([*kept, line]))
    with pytest.raises(PrototxtError, match=message) as error:
        Solver(path)
    named = "momentum" if "momentum must" in message else field
    assert named in path.read_text().splitlines()[error.value.line - 1]
