"""High-dimensional Gaussian filtering on the permutohedral lattice (Adams, Baek and Davis, 2010)."""

from __future__ import annotations

import numpy as np

from deeplab_caffe import _C
from deeplab_caffe.arrays import NumpyArrays
from deeplab_caffe.arrays.stays import StaysSharing
from deeplab_caffe.crf.inputs import NDArray, Sizes, validate_real
from deeplab_caffe.crf.memory import DEFAULT_WORKSPACE, check_memory, memory_errors
from deeplab_caffe.errors import CRFError

MAX_DIMS = 16

_ARRAYS = NumpyArrays()


def validate_features(shape: Sizes) -> None:
    """Validate the shape of features that a lattice is to be built of.

    Raises:
        CRFError: it is not (N, d), N > 0 and d from 1 to 16.
    """
    if len(shape) != 2 or not 1 <= shape[1] <= MAX_DIMS or shape[0] == 0:
        raise CRFError(f"features must be (N, d) with N > 0 and d from 1 to {MAX_DIMS}, got {tuple(shape)}")


class Lattice(StaysSharing):
    """The lattice of a set of features, built once and filtered with as often as needed.

    It is the lattice of Kraehenbuehl's 2011 code, which DeepLab v1 carries (util/permutohedral.cpp), to the bit. Make
    one with :meth:`build`.

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
            sse_padding: the original works on blocks of four points; where N is not a multiple of four the rest of its
                last block inserts the vertices around feature 0, which changes the blur slightly. True does so too;
                False leaves the lattice to the features.
            workspace: where the memory of the lattice, and of filtering with it, comes from.

        Raises:
            CRFError: no point, a wrong shape, a value that is not finite, or features so far from 0 (a standard
                deviation so small) that float32 or the lattice's 128-bit keys cannot tell points apart.
            CRFMemoryError: not enough memory.
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
        """Return the bytes of memory that the lattice takes; filtering C channels takes 8 C bytes a vertex more."""
        return self.handle.nbytes

    @property
    def keys(self) -> NDArray:
        """Return the vertices' integer coordinates, int32 ``(M, d)``; the last, minus their sum, is left out."""
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
        """Return the barycentric weights of those vertices, float32 ``(N, d + 1)``; each row sums to 1."""
        weights = np.empty((self.points, self.dims + 1), np.float32)
        self.handle.copy_point_weight(_ARRAYS.view(weights))
        return weights

    def filter(self, values: NDArray) -> NDArray:
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
            columns = _ARRAYS.cast(values.reshape(self.points, channels), np.float32)
            filtered = np.empty(columns.shape, np.float32)
            self.handle.filter(_ARRAYS.view(columns), _ARRAYS.view(filtered))
        return filtered.reshape(values.shape)
