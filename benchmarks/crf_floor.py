"""The least time that a GPU could take for the dense CRF: bytes that the kernels of csrc/lattice/filter_kernels.cuh,
build_kernels.cuh and csrc/mean_field/update_kernels.cuh move and operations that they do, over what the GPU can.

Two kinds of bytes: those that go between the processors and the second-level cache, with every access counted, and
those between cache and memory that no cache can save: the input and the marginals, once. The real time is more than the
larger quotient: gathers fetch whole sectors of 32 bytes, arrays larger than the cache come from memory again in each
iteration, and launches have ends at which few processors work.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

SEGMENT = 32  # entries, kSegment of csrc/lattice/device_lattice.h
_ENTRY, _PAIR, _INDEX = 8, 8, 4


@dataclass(frozen=True)
class Gpu:
    """What a GPU can do.

    Attributes:
        memory: bytes per second of its memory.
        cache: bytes per second of its second-level cache.
        operations: float32 additions and multiplications per second without FMA, which the kernels do not use.
    """

    memory: float
    cache: float
    operations: float


# Memory and operations of the SXM5 data sheet (67 TFLOP/s count an FMA as two); the cache's rate is what third parties'
# microbenchmarks of reads report, the data sheet has no such number.
H100 = Gpu(memory=3.35e12, cache=5.5e12, operations=33.5e12)


@dataclass(frozen=True)
class LatticeSize:
    """Dimensions, vertices and bits of a key of one kernel's lattice, and whether it is there already."""

    dims: int
    vertices: int
    key_bits: int
    kept: bool = False


@dataclass(frozen=True)
class Traffic:
    """Bytes between processors and cache, bytes that memory must see, and operations."""

    cache: float = 0
    memory: float = 0
    operations: float = 0

    def __add__(self, other: Traffic) -> Traffic:
        return Traffic(self.cache + other.cache, self.memory + other.memory, self.operations + other.operations)

    def times(self, count: int) -> Traffic:
        """Return so many times as much."""
        return Traffic(self.cache * count, self.memory * count, self.operations * count)

    def floor_ms(self, gpu: Gpu = H100) -> float:
        """Return milliseconds that the busiest of the GPU's parts needs."""
        rates = (self.cache / gpu.cache, self.memory / gpu.memory, self.operations / gpu.operations)
        return 1e3 * max(rates)


def row_floats(labels: int) -> int:
    """Return floats of a pixel's or a vertex' row."""
    return (labels + 3) // 4 * 4


def splat(points: int, lattice: LatticeSize, width: int, value_bytes: int, ones: bool = False) -> Traffic:
    """Return the traffic of summing the points' rows on the vertices, and of joining those that segments cut."""
    entries = points * (lattice.dims + 1)
    rows = 0 if ones else entries * 4 * width
    cut = 2 * math.ceil(entries / SEGMENT) * 4 * width  # a sum at each end of a segment, written and read again
    stored = lattice.vertices * value_bytes * width
    return Traffic(cache=entries * _ENTRY + rows + 2 * cut + stored, operations=2 * entries * width)


def blur(lattice: LatticeSize, width: int, value_bytes: int) -> Traffic:
    """Return the traffic of all axes: a vertex and its two neighbours are read, one is written."""
    axes = (lattice.dims + 1) * lattice.vertices
    return Traffic(cache=axes * (_PAIR + 4 * value_bytes * width), operations=4 * axes * width)


def slicing(points: int, lattice: LatticeSize, width: int, value_bytes: int) -> Traffic:
    """Return the traffic of a kernel's message at every point."""
    corners = points * (lattice.dims + 1)
    return Traffic(
        cache=corners * (_INDEX + 4 + value_bytes * width) + points * 4,
        operations=2 * corners * width + 2 * points * width,
    )


def iteration(points: int, labels: int, lattices: Sequence[LatticeSize], half: bool = False) -> Traffic:
    """Return the traffic of one mean field iteration with Potts compatibilities."""
    width, value_bytes = row_floats(labels), 2 if half else 4
    # The scores are read and Q is written; softmax' exp is some 40 operations.
    total = Traffic(cache=2 * points * 4 * width, operations=43 * points * width)
    for lattice in lattices:
        total += splat(points, lattice, width, value_bytes) + blur(lattice, width, value_bytes)
        total += slicing(points, lattice, width, value_bytes)
    return total


def build(points: int, lattice: LatticeSize) -> Traffic:
    """Return the traffic of a lattice from an image: keys, their sort, both lists, the neighbours, and the norms."""
    entries, corners = points * (lattice.dims + 1), lattice.dims + 1
    word = 8 if lattice.key_bits <= 64 else 16
    located = points * 3 + entries * (word + 4 + 4 + 4)  # key, order, weight, share
    passes = math.ceil(lattice.key_bits / 8)
    # Each pass reads and writes key and place, after one reading of all digits.
    sorting = entries * (8 + passes * 2 * (8 + 4))
    numbered = entries * (2 * word + 4 + 4 + _ENTRY + _INDEX) + lattice.vertices * (word + 4)
    probes = 2 * math.ceil(math.log2(lattice.vertices + 1)) * word
    connected = corners * lattice.vertices * (word + probes + _PAIR)
    norms = splat(points, lattice, 4, 4, ones=True) + blur(lattice, 4, 4) + slicing(points, lattice, 4, 4)
    return Traffic(cache=located + sorting + numbered + connected) + norms


def inference(
    points: int, labels: int, lattices: Sequence[LatticeSize], iterations: int, half: bool = False
) -> Traffic:
    """Return the traffic of one image from scores ``(labels, points)`` and uint8 colours to marginals.

    Lattices are built unless they are kept.
    """
    width = row_floats(labels)
    # Rows are made of the planes, the first softmax reads and writes them, and planes of the last.
    ends = 2 * points * 4 * labels + 4 * points * 4 * width
    total = Traffic(cache=ends, memory=2 * points * 4 * labels + 3 * points, operations=42 * points * width)
    for lattice in lattices:
        if not lattice.kept:
            total += build(points, lattice)
    return total + iteration(points, labels, lattices, half).times(iterations)
