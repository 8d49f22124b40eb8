from __future__ import annotations

import math
import pickle
import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from deeplab_caffe.errors import DataError, SolverError
from deeplab_caffe.solver.statefile import read_state, write_state

STATE = {"a": 1, "b": [0.1, None, True, "text"], "c": {"d": np.arange(6, dtype=np.uint32).reshape(2, 3)}, "e": 2**40}


def test_round_trip(tmp_path: Path) -> None:
    write_state(tmp_path / "s", STATE)
    found = read_state(tmp_path / "s")
    np.testing.assert_array_equal(found["c"]["d"], STATE["c"]["d"])
    assert found["c"]["d"].dtype == np.uint32
    assert {key: found[key] for key in "abe"} == {key: STATE[key] for key in "abe"}


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32, np.uint64])
def test_unsigned_arrays_are_stored_as_types_that_all_torches_save(tmp_path: Path, dtype: type) -> None:
    given = np.array([[0, 1], [np.iinfo(dtype).max, 7]], dtype)[:, ::-1]
    write_state(tmp_path / "s", {"deep": [{"x": given}], "scalar": np.array(7, dtype)})
    found = read_state(tmp_path / "s")
    for array, expected in ((found["deep"][0]["x"], given), (found["scalar"], np.array(7, dtype))):
        np.testing.assert_array_equal(array, expected)
        assert array.dtype == dtype
    stored = torch.load(tmp_path / "s", weights_only=True)["deep"][0]["x"]
    tensor = stored if dtype == np.uint8 else stored["unsigned array"]
    assert tensor.dtype in (torch.uint8, torch.int16, torch.int32, torch.int64)


def test_files_with_unsigned_tensors_are_read(tmp_path: Path) -> None:
    """Earlier versions wrote them."""
    try:
        torch.save({"key": torch.from_numpy(np.array([2**32 - 1], np.uint32))}, tmp_path / "s")
    except KeyError:
        pytest.skip("torch before 2.6 does not save them")
    assert read_state(tmp_path / "s")["key"].tolist() == [2**32 - 1]


@given(st.floats(allow_nan=False))
def test_floats_come_back_bit_for_bit(tmp_path_factory: pytest.TempPathFactory, value: float) -> None:
    path = tmp_path_factory.mktemp("f") / "s"
    write_state(path, {"x": value})
    found = read_state(path)["x"]
    assert found == value
    assert math.copysign(1, found) == math.copysign(1, value)


def test_nan_and_numpy_scalars(tmp_path: Path) -> None:
    write_state(tmp_path / "s", {"nan": math.nan, "n": np.int64(3), "f": np.float32(0.5), "t": (1, 2)})
    found = read_state(tmp_path / "s")
    assert math.isnan(found["nan"])
    assert (found["n"], found["f"], found["t"]) == (3, 0.5, [1, 2])


@pytest.mark.parametrize("value", [{"o": object()}, {"a": np.array([object()])}, {1: 2}])
def test_what_cannot_be_stored_is_refused(tmp_path: Path, value: dict) -> None:
    with pytest.raises(TypeError):
        write_state(tmp_path / "s", value)
    assert list(tmp_path.iterdir()) == []


class _Bomb:
    def __reduce__(self) -> tuple:
        return Path.touch, (Path("exploded"),)


def test_no_code_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.savez(tmp_path / "s.npz", tree=np.array([_Bomb()], dtype=object), allow_pickle=True)
    (tmp_path / "p").write_bytes(pickle.dumps(_Bomb()))
    for name in ("s.npz", "p"):
        with pytest.raises(SolverError, match="cannot be read"):
            read_state(tmp_path / name)
    assert not (tmp_path / "exploded").exists()


def test_every_truncation_and_some_changes_are_errors(tmp_path: Path) -> None:
    write_state(tmp_path / "s", STATE)
    whole = (tmp_path / "s").read_bytes()
    for cut in range(0, len(whole), 7):
        (tmp_path / "cut").write_bytes(whole[:cut])
        with pytest.raises(SolverError, match="cannot be read"):
            read_state(tmp_path / "cut")
    rng = np.random.default_rng(0)
    for _ in range(200):
        changed = bytearray(whole)
        changed[rng.integers(len(whole))] ^= 1 << int(rng.integers(8))
        (tmp_path / "changed").write_bytes(changed)
        # Not every change does harm: some hit names and times that nobody reads.
        with suppress(SolverError):
            assert isinstance(read_state(tmp_path / "changed"), dict)


def test_a_few_numbers_cannot_claim_any_size(tmp_path: Path) -> None:
    torch.save({"x": torch.zeros(1).expand(1 << 40)}, tmp_path / "s")
    with pytest.raises(SolverError, match="a tensor in it is not contiguous"):
        read_state(tmp_path / "s")


def test_what_claims_more_than_it_is(tmp_path: Path) -> None:
    write_state(tmp_path / "s", {"x": np.zeros(1 << 18)})
    with zipfile.ZipFile(tmp_path / "s") as plain, zipfile.ZipFile(tmp_path / "t", "w", zipfile.ZIP_DEFLATED) as packed:
        for part in plain.infolist():
            packed.writestr(part.filename, plain.read(part))
    assert (tmp_path / "t").stat().st_size < 10_000
    with pytest.raises(SolverError, match="its parts are compressed"):
        read_state(tmp_path / "t")


def test_missing_and_unwritable(tmp_path: Path) -> None:
    with pytest.raises(SolverError, match="No such file"):
        read_state(tmp_path / "none")
    with pytest.raises(DataError, match="cannot be written"):
        write_state(tmp_path / "no" / "folder", STATE)
