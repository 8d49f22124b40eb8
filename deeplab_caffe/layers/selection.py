"""The order in which C++'s ``std::nth_element`` leaves numbers; the original's GAIN_CHANNEL depends on it."""

from __future__ import annotations


def nth_largest_neighbour(values: list[float], nth: int) -> float:
    """Return the value at place ``nth - 1`` after GNU's ``std::nth_element`` has put the ``nth`` largest values first.

    GAIN_CHANNEL takes it for the ``nth`` largest value. It is one of the ``nth`` largest, but not always the smallest
    of them, because the algorithm does not sort them. To drift the same gains as the original, this function follows
    the steps of libstdc++ (without its fallback for rare orders of many values, which avoids quadratic time).

    Args:
        values: any numbers; they are not changed.
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
    """Move the larger values of ``v[first:last]`` before the smaller ones; return where the smaller ones begin."""
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
