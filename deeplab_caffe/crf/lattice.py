"""High-dimensional Gaussian filtering on the permutohedral lattice (Adams, Baek and Davis, 2010)."""

from __future__ import annotations

import numpy as np

from deeplab_caffe import _C
from deeplab_caffe.crf._view import float32, view
from deeplab_caffe.crf.memory import check_memory, memory_errors
from deeplab_caffe.errors import CRFError

MAX_DIMS = 16


class Lattice:
    """The lattice of a set of features, built once and filtered with as often as needed.

    It is the lattice of Kraehenbuehl's 2011 code, which DeepLab v1 carries (util/permutohedral.cpp), to the bit. Make
    one with :meth:`build`.
    """

    def __init__(self, handle: _C.Lattice) -> None:
        self._handle = handle

    @classmethod
    def build(cls, features: np.ndarray, *, sse_padding: bool = True) -> Lattice:
        """Build the lattice.

        Args:
            features: ``(N, d)``, d from 1 to 16, each already divided by its standard deviation. Computed in float32.
            sse_padding: the original works on blocks of four points; where N is not a multiple of four the rest of its
                last block inserts the vertices around feature 0, which changes the blur slightly. True does so too;
                False leaves the lattice to the features.

        Raises:
            CRFError: no point, a wrong shape, a value that is not finite, or features so far from 0 (a standard
                deviation so small) that float32 or the lattice's 128-bit keys cannot tell points apart.
            CRFMemoryError: not enough memory.
        """
        features = np.asarray(features)
        if features.ndim != 2 or not 1 <= features.shape[1] <= MAX_DIMS or len(features) == 0:
            raise CRFError(f"features must be (N, d) with N > 0 and d from 1 to {MAX_DIMS}, got {features.shape}")
        if not np.issubdtype(features.dtype, np.floating) and not np.issubdtype(features.dtype, np.integer):
            raise CRFError(f"features must be real numbers, got {features.dtype}")
        what = f"a lattice of {features.shape[0]:,} points in {features.shape[1]} dimensions"
        check_memory(_C.lattice_min_bytes(*features.shape) + 4 * features.size, what)
        with memory_errors(what), np.errstate(over="ignore"):
            features = float32(features)
            try:
                return cls(_C.Lattice.build(view(features), sse_padding))
            except ValueError as exc:
                raise CRFError(str(exc)) from exc

    @property
    def points(self) -> int:
        """N, the number of points."""
        return self._handle.points

    @property
    def dims(self) -> int:
        """d, the number of features of a point."""
        return self._handle.dims

    @property
    def vertices(self) -> int:
        """M, the number of lattice vertices around the points."""
        return self._handle.vertices

    @property
    def nbytes(self) -> int:
        """Bytes of memory that the lattice takes; filtering C channels takes 8 C bytes a vertex more."""
        return self._handle.nbytes

    @property
    def keys(self) -> np.ndarray:
        """The vertices' integer coordinates, int32 ``(M, d)``; the last coordinate, minus their sum, is left out."""
        keys = np.empty((self.vertices, self.dims), np.int32)
        self._handle.copy_keys(view(keys))
        return keys

    @property
    def point_vertices(self) -> np.ndarray:
        """Indices into :attr:`keys` of the vertices of each point's simplex, int32 ``(N, d + 1)``."""
        vertices = np.empty((self.points, self.dims + 1), np.int32)
        self._handle.copy_point_vertex(view(vertices))
        return vertices - 1

    @property
    def point_weights(self) -> np.ndarray:
        """Barycentric weights of those vertices, float32 ``(N, d + 1)``; each row sums to 1."""
        weights = np.empty((self.points, self.dims + 1), np.float32)
        self._handle.copy_point_weight(view(weights))
        return weights

    def filter(self, values: np.ndarray) -> np.ndarray:
        """Splat, blur and slice: each point gets a sum of all points' values, weighted about as a Gaussian of distance.

        The weights do not sum to 1; divide by ``filter(ones)`` for means. The same bits for any number of threads.

        Args:
            values: ``(N,)`` or ``(N, C)``, filtered channel by channel in float32.

        Returns:
            float32, of the shape of ``values``.

        Raises:
            CRFError: a shape that does not fit the lattice.
            CRFMemoryError: not enough memory.
        """
        values = np.asarray(values)
        if values.ndim not in (1, 2) or len(values) != self.points:
            raise CRFError(f"values must be ({self.points},) or ({self.points}, C), got {values.shape}")
        what = f"filtering {values.shape} values on {self.vertices:,} lattice vertices"
        channels = values.size // self.points
        check_memory(_C.lattice_value_bytes(self.vertices, channels) + 12 * values.size, what)
        with memory_errors(what):
            columns = float32(values.reshape(self.points, channels))
            filtered = np.empty(columns.shape, np.float32)
            self._handle.filter(view(columns), view(filtered))
        return filtered.reshape(values.shape)
