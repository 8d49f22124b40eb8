"""High-dimensional Gaussian filtering on the permutohedral lattice (Adams, Baek and Davis, 2010)."""

from __future__ import annotations

import numpy as np

from deeplab_caffe import _C
from deeplab_caffe.arrays import NumpyArrays
from deeplab_caffe.arrays.stays import StaysSharing
from deeplab_caffe.crf.inputs import NDArray, Sizes, validate_real
from deeplab_caffe.crf.memory import DEFAULT_WORKSPACE, check_memory, memory_errors
from deeplab_caffe.errors import CRFError

MAX_DIMS: int = _C.lattice_max_dims

_ARRAYS = NumpyArrays()


def validate_features(shape: Sizes) -> None:
    """Validate the shape of a lattice's features.

    Raises:
        CRFError: the shape is not (N, d) with N > 0 and d from 1 to 16.
    """
    if len(shape) != 2 or not 1 <= shape[1] <= MAX_DIMS or shape[0] == 0:
        raise CRFError(f"features must be (N, d) with N > 0 and d from 1 to {MAX_DIMS}, got {tuple(shape)}")


class Lattice(StaysSharing):
    """The lattice of a set of features, built once for any number of filterings.

    It equals bit for bit the lattice of Kraehenbuehl's 2011 code, which is part of DeepLab v1 (util/permutohedral.cpp).
    :meth:`build` makes one.

    Attributes:
        handle: the extension's lattice.
    """

    instead = "send the features, and build it in the process that needs it"

    def __init__(self, handle: _C.Lattice) -> None:
        self.handle = handle

    @classmethod
    def build(
        cls, features: NDArray, *, sse_padding: bool = True, workspace: _C.Workspace = DEFAULT_WORKSPACE
    ) -> Lattice:
        """Build the lattice.

        Args:
            features: ``(N, d)``, d from 1 to 16, each already divided by its standard deviation. Computed in float32.
            sse_padding: the original works on blocks of four points. If N is not a multiple of four, it fills the last
                block with points at 0, whose vertices it inserts too, which changes the blur slightly. True: do the
                same; False: insert only the vertices of the features.
            workspace: the workspace that the memory for the lattice and for filtering comes from.

        Raises:
            CRFError: there is no point, the shape is wrong, a value is not finite, or features are so far from 0 (a
                standard deviation is so small) that float32 or the lattice's 128-bit keys cannot distinguish points.
            CRFMemoryError: there is not enough memory.
        """
        features = np.asarray(features)
        validate_features(features.shape)
        validate_real(features.dtype.name, "features")
        what = f"a lattice of {features.shape[0]:,} points in {features.shape[1]} dimensions"
        check_memory(_C.lattice_min_bytes(*features.shape) + 4 * features.size, what, workspace)
        with memory_errors(what), np.errstate(over="ignore"):
            features = _ARRAYS.cast(features, np.float32)
            try:
                return cls(_C.Lattice.build(_ARRAYS.view(features), sse_padding, workspace))
            except ValueError as exc:
                raise CRFError(str(exc)) from exc

    @property
    def points(self) -> int:
        """Return N, the number of points."""
        return self.handle.points

    @property
    def dims(self) -> int:
        """Return d, the number of features of a point."""
        return self.handle.dims

    @property
    def vertices(self) -> int:
        """Return M, the number of lattice vertices around the points."""
        return self.handle.vertices

    @property
    def nbytes(self) -> int:
        """Return the bytes of memory that the lattice takes; filtering C channels takes 8 C more bytes per vertex."""
        return self.handle.nbytes

    @property
    def keys(self) -> NDArray:
        """Return the vertices' integer coordinates, int32 ``(M, d)``, without the last, which is minus their sum."""
        keys = np.empty((self.vertices, self.dims), np.int32)
        self.handle.copy_keys(_ARRAYS.view(keys))
        return keys

    @property
    def point_vertices(self) -> NDArray:
        """Return indices into :attr:`keys` of the vertices of each point's simplex, int32 ``(N, d + 1)``."""
        vertices = np.empty((self.points, self.dims + 1), np.int32)
        self.handle.copy_point_vertex(_ARRAYS.view(vertices))
        return vertices - 1

    @property
    def point_weights(self) -> NDArray:
        """Return the barycentric weights of :attr:`point_vertices`, float32 ``(N, d + 1)``; each row sums to 1."""
        weights = np.empty((self.points, self.dims + 1), np.float32)
        self.handle.copy_point_weight(_ARRAYS.view(weights))
        return weights

    def filter(self, values: NDArray) -> NDArray:
        """Splat, blur and slice: each point gets the sum of all points' values, about Gaussian-weighted by distance.

        The weights do not sum to 1: divide by ``filter(ones)`` to get means. The bits do not depend on the number of
        threads.

        Args:
            values: ``(N,)`` or ``(N, C)``, filtered channel by channel in float32.

        Returns:
            float32 in the shape of ``values``.

        Raises:
            CRFError: the shape does not fit the lattice.
            CRFMemoryError: there is not enough memory.
        """
        values = np.asarray(values)
        if values.ndim not in (1, 2) or len(values) != self.points:
            raise CRFError(f"values must be ({self.points},) or ({self.points}, C), got {values.shape}")
        what = f"filtering {values.shape} values on {self.vertices:,} lattice vertices"
        channels = values.size // self.points
        check_memory(_C.lattice_value_bytes(self.vertices, channels) + 12 * values.size, what)
        with memory_errors(what):
            columns = _ARRAYS.cast(values.reshape(self.points, channels), np.float32)
            filtered = np.empty(columns.shape, np.float32)
            self.handle.filter(_ARRAYS.view(columns), _ARRAYS.view(filtered))
        return filtered.reshape(values.shape)
