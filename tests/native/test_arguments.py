"""The extension, called directly with wrong arguments, raises: the Python faces never call it so."""

from __future__ import annotations

import numpy as np
import pytest

from deeplab_caffe import _C

NUMBERS = np.zeros(64, np.float32)


def view(sizes: list[int], strides: list[int], dtype: str = "float32", device: int = -1) -> _C.TensorView:
    return _C.TensorView(NUMBERS.ctypes.data, sizes, strides, dtype, device)


@pytest.mark.parametrize(
    ("sizes", "device", "message"),
    [
        ([2**32, 2**32], -1, "beyond 64 bits"),
        ([2**61], -1, "beyond 64 bits"),  # numbers fit, their bytes do not
        ([0, 2**32, 2**32], -1, "beyond 64 bits"),  # no numbers, but a plane's number of them does not fit
        ([-1], -1, "negative size -1"),
        ([1], -2, "device -2"),
    ],
)
def test_views_of_no_memory(sizes: list[int], device: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        view(sizes, [1] * len(sizes), device=device)


def test_a_view_at_a_null_pointer() -> None:
    with pytest.raises(ValueError, match=r"a null pointer for float32 \(2, 3\)"):
        _C.TensorView(0, [2, 3], [3, 1], "float32", -1)


def test_an_empty_view_may_have_a_null_pointer() -> None:
    assert repr(_C.TensorView(0, [2, 0], [1, 1], "float32", -1)) == "float32 (2, 0) on cpu"


def test_sizes_whose_product_is_too_large() -> None:
    for channels, points in ((2**32, 2**32), (2**31 - 1, 2**62), (1, 2**62), (2**62, 1)):
        with pytest.raises(ValueError, match="beyond 64 bits|at most"):
            _C.MeanField(channels, points, [])
    with pytest.raises(ValueError, match="beyond 64 bits"):
        _C.lattice_min_bytes(2**62, 5)
    with pytest.raises(ValueError, match="beyond 64 bits"):
        _C.lattice_value_bytes(2**62, 21)
    assert _C.mean_field_bytes(10, 21, 2) == 4 * 10 * (2 * 24 + 2)
    for sizes in ((2**63 - 1, 21), (21, 2**63 - 1)):
        with pytest.raises(ValueError, match="beyond 64 bits"):
            _C.lattice_value_bytes(*sizes)
    one = view([1, 1, 1, 1], [1, 1, 1, 1])
    with pytest.raises(ValueError, match="beyond 64 bits"):
        _C.im2col(view([1, 4, 1, 1], [4, 1, 1, 1]), one, [2**31 - 1] * 2, [1, 1], [2**31 - 1] * 2, [1, 1])
    with pytest.raises(ValueError, match="leaves nothing"):
        _C.interp_forward(one, one, -(2**63), -(2**63))


def test_sizes_that_are_negative() -> None:
    for count in (
        lambda: _C.mean_field_bytes(-(2**62), 21, 2),
        lambda: _C.mean_field_bytes(10, 21, -(2**63)),
        lambda: _C.lattice_min_bytes(-(2**62), 5),
        lambda: _C.lattice_min_bytes(5, -5),
        lambda: _C.lattice_value_bytes(-3, 21),
        lambda: _C.lattice_value_bytes(3, -21),
    ):
        with pytest.raises(ValueError, match="expected sizes of at least 0, got -"):
            count()


def test_lattice_is_copied_to_the_cpu_alone() -> None:
    features = np.arange(8, dtype=np.float32)
    lattice = _C.Lattice.build(_C.TensorView(features.ctypes.data, [4, 2], [2, 1], "float32", -1), False)
    out = view([lattice.vertices, 2], [2, 1], "int32", device=0)
    with pytest.raises(ValueError, match="out: expected a tensor on cpu"):
        lattice.copy_keys(out)
    with pytest.raises(ValueError, match="out: expected a tensor on cpu"):
        lattice.copy_point_vertex(view([4, 3], [3, 1], "int32", device=0))
    with pytest.raises(ValueError, match="out: expected a tensor on cpu"):
        lattice.copy_point_weight(view([4, 3], [3, 1], device=0))


@pytest.mark.parametrize(
    ("kind", "use"),
    [
        (_C.MeanField, lambda one: one.run(1)),
        (_C.MeanField, lambda one: one.iterations),
        (_C.Energies, lambda one: one.pairwise),
        (_C.Lattice, lambda one: one.vertices),
        (_C.Workspace, lambda one: one.limit),
        (_C.TensorView, repr),
        (_C.CudaLattice, lambda one: one.points),
        (_C.CudaMeanField, lambda one: one.workspace_bytes),
    ],
)
def test_objects_without_init(kind: type, use: object) -> None:
    """An object of ``__new__`` alone has no contents: it is refused, not read."""
    with pytest.raises(ValueError, match=f"{kind.__name__}: the object was made without __init__"):
        use(kind.__new__(kind))  # type: ignore[operator]


def test_normalization_is_one_of_four() -> None:
    features = np.arange(8, dtype=np.float32)
    lattice = _C.Lattice.build(_C.TensorView(features.ctypes.data, [4, 2], [2, 1], "float32", -1), False)
    with pytest.raises(ValueError, match="no normalization is numbered 77"):
        _C.MeanField(2, 4, [(lattice, 1.0, _C.Normalization(77), [])])
