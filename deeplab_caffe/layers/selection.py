"""The order in which C++'s ``std::nth_element`` leaves numbers, on which one of the original's results depends."""

from __future__ import annotations


def nth_largest_neighbour(values: list[float], nth: int) -> float:
    """Return what stands before place ``nth`` (from 0) once GNU's ``std::nth_element`` has put large values first.

    GAIN_CHANNEL takes it for the ``nth`` largest value. It is one of the ``nth`` largest, but not always the smallest
    of them: the algorithm leaves their order open. So that the same gains drift as in the original, the steps of
    libstdc++ are followed here (without its way out of quadratic time, which some arrangements of many values need).

    Args:
        values: any numbers; they are left as they are.
        nth: from 1 to ``len(values)``.
    """
    v, first, last = list(values), 0, len(values)
    if nth == last:
        return v[nth - 1]
    while last - first > 3:
        cut = _partition(v, first, last)
        if cut <= nth:
            first = cut
        else:
            last = cut
    v[first:last] = sorted(v[first:last], reverse=True)
    return v[nth - 1]


def _partition(v: list[float], first: int, last: int) -> int:
    """Bring the larger values of ``v[first:last]`` before the smaller ones; where the smaller ones begin."""
    candidates = (first + 1, first + (last - first) // 2, last - 1)
    pivot = sorted(candidates, key=lambda i: v[i])[1]
    v[first], v[pivot] = v[pivot], v[first]
    low, high = first + 1, last
    while True:
        while v[low] > v[first]:
            low += 1
        high -= 1
        while v[first] > v[high]:
            high -= 1
        if low >= high:
            return low
        v[low], v[high] = v[high], v[low]
        low += 1
