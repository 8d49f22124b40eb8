"""Types of the compiled extension. Written by ``python -m tools.stubs``: do not edit."""

from collections.abc import Sequence
from typing import ClassVar, SupportsFloat, SupportsIndex, overload

cuda_architectures: str
lattice_max_dims: int
softmax_loss_chunk: int
stem_panel: int
winograd_panel: int
with_cuda: bool

class CudaLattice:
    def __init__(
        self,
        device: SupportsIndex,
        height: SupportsIndex,
        width: SupportsIndex,
        positions: bool,
        divisors: Sequence[SupportsFloat],
        ranges: Sequence[tuple[SupportsFloat, SupportsFloat]],
        sse_padding: bool,
    ) -> None: ...
    @property
    def points(self) -> int: ...
    @property
    def dims(self) -> int: ...
    @property
    def key_bits(self) -> int: ...
    @property
    def max_vertices(self) -> int: ...
    @property
    def nbytes(self) -> int: ...
    @property
    def scratch_bytes(self) -> int: ...
    def table_bytes(self, capacity: SupportsIndex) -> int: ...
    @property
    def norm_workspace_bytes(self) -> int: ...
    def build(
        self, image: TensorView | None, memory: TensorView, scratch: TensorView, stream: SupportsIndex
    ) -> None: ...
    def connect(self, table: TensorView, capacity: SupportsIndex, stream: SupportsIndex) -> None: ...
    def copy_keys(self, out: TensorView, stream: SupportsIndex) -> None: ...
    def norm(self, root: bool, out: TensorView, workspace: TensorView, stream: SupportsIndex) -> None: ...

class CudaMeanField:
    def __init__(
        self,
        device: SupportsIndex,
        height: SupportsIndex,
        width: SupportsIndex,
        channels: SupportsIndex,
        kernels: Sequence[tuple[CudaLattice, SupportsFloat, TensorView | None, TensorView | None, TensorView | None]],
        half: bool,
    ) -> None: ...
    @property
    def workspace_bytes(self) -> int: ...
    def start(self, scores: TensorView, probabilities: bool, workspace: TensorView, stream: SupportsIndex) -> None: ...
    def marginals(self, out: TensorView, logarithm: bool, stream: SupportsIndex) -> None: ...
    def set_marginals(self, q: TensorView, stream: SupportsIndex) -> None: ...
    @property
    def energy_bytes(self) -> int: ...
    def energies(self, scratch: TensorView, stream: SupportsIndex) -> Energies: ...

class Energies:
    @property
    def entropy(self) -> float: ...
    @property
    def unary(self) -> float: ...
    @property
    def pairwise(self) -> list[float]: ...

class Lattice:
    @staticmethod
    def build(features: TensorView, sse_padding: bool, workspace: Workspace | None = None) -> Lattice: ...
    @property
    def dims(self) -> int: ...
    @property
    def points(self) -> int: ...
    @property
    def vertices(self) -> int: ...
    @property
    def nbytes(self) -> int: ...
    def filter(
        self, values: TensorView, out: TensorView, adjoint: bool = False, workspace: Workspace | None = None
    ) -> None: ...
    def copy_keys(self, out: TensorView) -> None: ...
    def copy_point_vertex(self, out: TensorView) -> None: ...
    def copy_point_weight(self, out: TensorView) -> None: ...

class MeanField:
    @overload
    def __init__(
        self,
        channels: SupportsIndex,
        points: SupportsIndex,
        kernels: Sequence[tuple[Lattice, SupportsFloat, Normalization, Sequence[SupportsFloat]]],
        workspace: Workspace | None = None,
    ) -> None: ...
    @overload
    def __init__(
        self,
        scores: TensorView,
        kernels: Sequence[tuple[Lattice, SupportsFloat]],
        probabilities: bool = False,
        workspace: Workspace | None = None,
    ) -> None: ...
    @property
    def iterations(self) -> int: ...
    def start(self, scores: TensorView, probabilities: bool = False) -> None: ...
    def run(self, iterations: SupportsIndex) -> None: ...
    def marginals(self, out: TensorView, logarithm: bool = False) -> None: ...
    def set_marginals(self, q: TensorView) -> None: ...
    def energies(self) -> Energies: ...

class Normalization:
    NONE: ClassVar[Normalization]
    BEFORE: ClassVar[Normalization]
    AFTER: ClassVar[Normalization]
    SYMMETRIC: ClassVar[Normalization]
    __members__: ClassVar[dict[str, Normalization]]
    def __init__(self, value: SupportsIndex) -> None: ...
    @property
    def name(self) -> str: ...
    @property
    def value(self) -> int: ...
    def __int__(self) -> int: ...
    def __index__(self) -> int: ...
    def __hash__(self) -> int: ...
    def __eq__(self, other: object, /) -> bool: ...

class TensorView:
    def __init__(
        self,
        data: SupportsIndex,
        sizes: Sequence[SupportsIndex],
        strides: Sequence[SupportsIndex],
        dtype: str,
        device: SupportsIndex,
    ) -> None: ...
    def __setattr__(self, name: str, value: object, /) -> None: ...

class Workspace:
    def __init__(self, limit: SupportsIndex = 268435456, any_larger: bool = False) -> None: ...
    @property
    def limit(self) -> int: ...
    @limit.setter
    def limit(self, value: int) -> None: ...
    @property
    def nbytes(self) -> int: ...
    def clear(self) -> None: ...
    def buffer(self, bytes: SupportsIndex) -> WorkspaceBuffer: ...

class WorkspaceBuffer: ...

def argmax_labels(scores: TensorView, labels: TensorView, last: bool, stream: SupportsIndex = 0) -> None: ...
def argmax_top(
    scores: TensorView, output: TensorView, top_k: SupportsIndex, out_max_val: bool, stream: SupportsIndex = 0
) -> None: ...
def channel_ranges(image: TensorView, scratch: TensorView, stream: SupportsIndex) -> list[tuple[float, float]]: ...
def col2im(
    columns: TensorView,
    output: TensorView,
    kernel: Sequence[SupportsIndex],
    stride: Sequence[SupportsIndex],
    pad: Sequence[SupportsIndex],
    dilation: Sequence[SupportsIndex],
    stream: SupportsIndex = 0,
) -> None: ...
def count_vertices(lattices: Sequence[CudaLattice], stream: SupportsIndex) -> list[int]: ...
def cuda_filter(
    lattices: Sequence[CudaLattice],
    values: TensorView,
    out: TensorView,
    adjoint: bool,
    workspace: TensorView,
    stream: SupportsIndex,
) -> None: ...
def cuda_filter_bytes(lattices: Sequence[CudaLattice], values: TensorView) -> int: ...
def depthwise_backward(
    grad: TensorView,
    x: TensorView,
    weight: TensorView,
    grad_x: TensorView | None,
    grad_weight: TensorView | None,
    stride: Sequence[SupportsIndex],
    pad: Sequence[SupportsIndex],
    dilation: Sequence[SupportsIndex],
) -> None: ...
def depthwise_forward(
    x: TensorView,
    weight: TensorView,
    bias: TensorView | None,
    y: TensorView,
    stride: Sequence[SupportsIndex],
    pad: Sequence[SupportsIndex],
    dilation: Sequence[SupportsIndex],
) -> None: ...
def depthwise_forward_channels_last(
    x: TensorView,
    taps: TensorView,
    bias: TensorView | None,
    y: TensorView,
    stride: Sequence[SupportsIndex],
    pad: Sequence[SupportsIndex],
    dilation: Sequence[SupportsIndex],
    relu: bool,
    ceiling: SupportsFloat,
) -> None: ...
def domain_transform_backward(
    x: TensorView,
    edges: TensorView,
    sizes: TensorView | None,
    grad: TensorView,
    grad_x: TensorView,
    grad_edges: TensorView,
    scratch: TensorView,
    iterations: SupportsIndex,
    spatial_sigma: SupportsFloat,
    range_sigma: SupportsFloat,
    min_weight: SupportsFloat,
    clamp: bool,
    stream: SupportsIndex = 0,
) -> None: ...
def domain_transform_forward(
    x: TensorView,
    edges: TensorView,
    sizes: TensorView | None,
    output: TensorView,
    iterations: SupportsIndex,
    spatial_sigma: SupportsFloat,
    range_sigma: SupportsFloat,
    min_weight: SupportsFloat,
    clamp: bool,
    stream: SupportsIndex = 0,
) -> None: ...
def domain_transform_scratch(x: TensorView, iterations: SupportsIndex) -> int: ...
def im2col(
    input: TensorView,
    columns: TensorView,
    kernel: Sequence[SupportsIndex],
    stride: Sequence[SupportsIndex],
    pad: Sequence[SupportsIndex],
    dilation: Sequence[SupportsIndex],
    stream: SupportsIndex = 0,
) -> None: ...
def inspect_scores(scores: TensorView, probabilities: bool, faults: TensorView, stream: SupportsIndex) -> None: ...
def interp_argmax(
    scores: TensorView,
    labels: TensorView,
    height: SupportsIndex,
    width: SupportsIndex,
    top: SupportsIndex,
    left: SupportsIndex,
    last: bool,
    stream: SupportsIndex = 0,
    align_corners: bool = True,
) -> None: ...
def interp_backward(
    grad_output: TensorView,
    grad_input: TensorView,
    pad_beg: SupportsIndex,
    pad_end: SupportsIndex,
    stream: SupportsIndex = 0,
    align_corners: bool = True,
) -> None: ...
def interp_forward(
    input: TensorView,
    output: TensorView,
    pad_beg: SupportsIndex,
    pad_end: SupportsIndex,
    stream: SupportsIndex = 0,
    align_corners: bool = True,
) -> None: ...
def interp_softmax(
    scores: TensorView,
    probabilities: TensorView,
    height: SupportsIndex,
    width: SupportsIndex,
    top: SupportsIndex,
    left: SupportsIndex,
    stream: SupportsIndex = 0,
    align_corners: bool = True,
) -> None: ...
def is_capturing(device: SupportsIndex, stream: SupportsIndex) -> bool: ...
def lattice_min_bytes(points: SupportsIndex, dims: SupportsIndex) -> int: ...
def lattice_value_bytes(vertices: SupportsIndex, channels: SupportsIndex) -> int: ...
def max_pool(
    input: TensorView,
    output: TensorView,
    kernel: tuple[SupportsIndex, SupportsIndex],
    stride: tuple[SupportsIndex, SupportsIndex],
    pad: tuple[SupportsIndex, SupportsIndex],
    stream: SupportsIndex = 0,
) -> None: ...
def mean_field_bytes(points: SupportsIndex, channels: SupportsIndex, kernels: SupportsIndex) -> int: ...
def mersenne_at_most(key: TensorView, position: SupportsIndex, most: SupportsIndex, out: TensorView) -> int: ...
def num_threads() -> int: ...
def preprocess(
    images: TensorView, blob: TensorView, mean: Sequence[SupportsFloat], stream: SupportsIndex = 0
) -> None: ...
def read_faults(faults: TensorView, stream: SupportsIndex) -> list[int]: ...
def resize_bilinear(image: TensorView, out: TensorView, down: TensorView, across: TensorView) -> None: ...
def run_mean_fields(fields: Sequence[CudaMeanField], iterations: SupportsIndex, stream: SupportsIndex) -> None: ...
def set_num_threads(threads: SupportsIndex) -> None: ...
def set_num_threads_here(threads: SupportsIndex) -> None: ...
def set_run_time_kernels(wanted: bool) -> None: ...
def softmax_loss_backward(
    scores: TensorView,
    labels: TensorView,
    class_weights: TensorView | None,
    ignored: Sequence[SupportsIndex],
    stats: TensorView,
    totals: TensorView,
    grad_loss: TensorView,
    grad_scores: TensorView,
    stream: SupportsIndex = 0,
) -> None: ...
def softmax_loss_forward(
    scores: TensorView,
    labels: TensorView,
    class_weights: TensorView | None,
    ignored: Sequence[SupportsIndex],
    workspace: TensorView,
    loss: TensorView,
    stats: TensorView,
    totals: TensorView,
    stream: SupportsIndex = 0,
) -> None: ...
def stem_forward(
    x: TensorView,
    panels: TensorView,
    bias: TensorView | None,
    y: TensorView,
    stride: Sequence[SupportsIndex],
    pad: Sequence[SupportsIndex],
    relu: bool,
    ceiling: SupportsFloat,
) -> None: ...
def use_openmp_here(wanted: bool) -> bool: ...
def use_run_time_kernels() -> bool: ...
def winograd_clear_kept() -> None: ...
def winograd_forward(
    x: TensorView,
    transformed: TensorView,
    bias: TensorView | None,
    other: TensorView | None,
    y: TensorView,
    tile: SupportsIndex,
    pad: Sequence[SupportsIndex],
    dilation: Sequence[SupportsIndex],
    relu: bool,
    ceiling: SupportsFloat,
) -> None: ...
def winograd_kept_bytes() -> int: ...
def winograd_transform_weight(weight: TensorView, transformed: TensorView, tile: SupportsIndex) -> None: ...
