from __future__ import annotations

import random

import pytest

from deeplab_caffe.layers.selection import nth_largest_neighbour


def test_what_gnu_cpp_gives() -> None:
    # std::nth_element(v.begin(), v.begin() + nth, v.end(), std::greater<>()), then v[nth - 1], with libstdc++.
    for values, nth, expected in [
        ([98800, 34498, 91444, 42498, 29371], 2, 98800),
        ([36621, 79783, 89542, 20498, 25746, 79024, 23087, 26240], 2, 89542),
        ([53534, 79383, 89728, 95645, 40268, 9046, 38734], 3, 89728),
        ([97412, 44775, 57593, 32889, 51693, 81256, 50022, 41738, 44162, 77100, 43908, 65342], 5, 65342),
        ([1, 5, 3, 5, 5], 1, 5),
        ([4, 4, 1, 1, 0, 0], 4, 1),
    ]:
        assert nth_largest_neighbour(values, nth) == expected


def test_it_is_one_of_the_largest() -> None:
    draw = random.Random(1)
    for _ in range(500):
        values = [draw.randrange(9) for _ in range(draw.randrange(1, 30))]
        nth = draw.randrange(1, len(values) + 1)
        before = list(values)
        assert nth_largest_neighbour(values, nth) >= sorted(values)[-nth] or nth == len(values)
        assert values == before


@pytest.mark.parametrize("values", [[5.0], [5.0, 7.0], [1.0, 9.0, 4.0]])
def test_the_single_largest_is_certain(values: list[float]) -> None:
    assert nth_largest_neighbour(values, 1) == (max(values) if len(values) > 1 else 5.0)


def test_all_of_them_stay_where_they_are() -> None:
    assert nth_largest_neighbour([3.0, 9.0, 1.0, 7.0, 2.0, 8.0], 6) == 8
