from __future__ import annotations

import numpy as np
import pytest

from deeplab_caffe.errors import CRFError
from deeplab_caffe.pydensecrf import eigen


def test_vectors_and_matrices_are_copies() -> None:
    vector, matrix = np.arange(3, dtype=np.float32), np.arange(6, dtype=np.float32).reshape(2, 3)
    for array, found in ((vector, eigen.vectorXf(vector)), (matrix, eigen.matrixXf(matrix))):
        np.testing.assert_array_equal(np.array(found), array)
        array += 1
        np.testing.assert_array_equal(np.array(found), array - 1)
    assert isinstance(eigen.vectorXf(vector), eigen.VectorXf)
    assert eigen.matrixXf(matrix).strides == (4, 8)  # column by column, as Eigen's


def test_empty_ones() -> None:
    assert eigen.VectorXf().shape == (0,)
    assert eigen.MatrixXf().shape == (0, 0)


@pytest.mark.parametrize(
    "wrong",
    [np.zeros((3, 3, 3), np.float32), np.zeros((3, 3)), np.zeros(3, np.float32), np.zeros((3, 4), np.float32).T],
)
def test_other_arrays_are_value_errors(wrong: np.ndarray) -> None:
    with pytest.raises(ValueError, match="arr must be a contiguous float32 matrix, got") as error:
        eigen.matrixXf(wrong)
    assert isinstance(error.value, CRFError)


@pytest.mark.parametrize("wrong", [None, [[1.0]], 3])
def test_no_arrays_are_type_errors(wrong: object) -> None:
    with pytest.raises(TypeError, match="arr must be a float32 array, got"):
        eigen.matrixXf(wrong)
