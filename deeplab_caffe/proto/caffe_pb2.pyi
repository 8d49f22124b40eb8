"""Types of the protobuf messages. Written by ``python -m tools.stubs``: do not edit."""

from collections.abc import Iterable
from typing import ClassVar, Literal, final

from google.protobuf.descriptor import Descriptor, FileDescriptor
from google.protobuf.internal.containers import RepeatedCompositeFieldContainer, RepeatedScalarFieldContainer
from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper
from google.protobuf.message import Message

DESCRIPTOR: FileDescriptor
TRAIN: int
TEST: int
DOUBLE: int
FLOAT: int
FLOAT16: int
INT: int
UINT: int
BOOL: int

class _Phase(EnumTypeWrapper):
    TRAIN: int
    TEST: int

Phase: _Phase

class _Type(EnumTypeWrapper):
    DOUBLE: int
    FLOAT: int
    FLOAT16: int
    INT: int
    UINT: int
    BOOL: int

Type: _Type

@final
class BlobShape(Message):
    DESCRIPTOR: Descriptor
    DIM_FIELD_NUMBER: ClassVar[int]
    @property
    def dim(self) -> RepeatedScalarFieldContainer[int]: ...
    def __init__(self, *, dim: Iterable[int] | None = ...) -> None: ...
    def ClearField(self, field_name: Literal["dim", b"dim"]) -> None: ...

@final
class BlobProto(Message):
    DESCRIPTOR: Descriptor
    SHAPE_FIELD_NUMBER: ClassVar[int]
    DATA_FIELD_NUMBER: ClassVar[int]
    DIFF_FIELD_NUMBER: ClassVar[int]
    DOUBLE_DATA_FIELD_NUMBER: ClassVar[int]
    DOUBLE_DIFF_FIELD_NUMBER: ClassVar[int]
    NUM_FIELD_NUMBER: ClassVar[int]
    CHANNELS_FIELD_NUMBER: ClassVar[int]
    HEIGHT_FIELD_NUMBER: ClassVar[int]
    WIDTH_FIELD_NUMBER: ClassVar[int]
    RAW_DATA_TYPE_FIELD_NUMBER: ClassVar[int]
    RAW_DIFF_TYPE_FIELD_NUMBER: ClassVar[int]
    RAW_DATA_FIELD_NUMBER: ClassVar[int]
    RAW_DIFF_FIELD_NUMBER: ClassVar[int]
    @property
    def shape(self) -> BlobShape: ...
    @property
    def data(self) -> RepeatedScalarFieldContainer[float]: ...
    @property
    def diff(self) -> RepeatedScalarFieldContainer[float]: ...
    @property
    def double_data(self) -> RepeatedScalarFieldContainer[float]: ...
    @property
    def double_diff(self) -> RepeatedScalarFieldContainer[float]: ...
    num: int
    channels: int
    height: int
    width: int
    raw_data_type: int
    raw_diff_type: int
    raw_data: bytes
    raw_diff: bytes
    def __init__(
        self,
        *,
        shape: BlobShape | None = ...,
        data: Iterable[float] | None = ...,
        diff: Iterable[float] | None = ...,
        double_data: Iterable[float] | None = ...,
        double_diff: Iterable[float] | None = ...,
        num: int | None = ...,
        channels: int | None = ...,
        height: int | None = ...,
        width: int | None = ...,
        raw_data_type: int | None = ...,
        raw_diff_type: int | None = ...,
        raw_data: bytes | None = ...,
        raw_diff: bytes | None = ...,
    ) -> None: ...
    def HasField(
        self,
        field_name: Literal[
            "channels",
            b"channels",
            "height",
            b"height",
            "num",
            b"num",
            "raw_data",
            b"raw_data",
            "raw_data_type",
            b"raw_data_type",
            "raw_diff",
            b"raw_diff",
            "raw_diff_type",
            b"raw_diff_type",
            "shape",
            b"shape",
            "width",
            b"width",
        ],
    ) -> bool: ...
    def ClearField(
        self,
        field_name: Literal[
            "channels",
            b"channels",
            "data",
            b"data",
            "diff",
            b"diff",
            "double_data",
            b"double_data",
            "double_diff",
            b"double_diff",
            "height",
            b"height",
            "num",
            b"num",
            "raw_data",
            b"raw_data",
            "raw_data_type",
            b"raw_data_type",
            "raw_diff",
            b"raw_diff",
            "raw_diff_type",
            b"raw_diff_type",
            "shape",
            b"shape",
            "width",
            b"width",
        ],
    ) -> None: ...

@final
class BlobProtoVector(Message):
    DESCRIPTOR: Descriptor
    BLOBS_FIELD_NUMBER: ClassVar[int]
    @property
    def blobs(self) -> RepeatedCompositeFieldContainer[BlobProto]: ...
    def __init__(self, *, blobs: Iterable[BlobProto] | None = ...) -> None: ...
    def ClearField(self, field_name: Literal["blobs", b"blobs"]) -> None: ...

@final
class Datum(Message):
    DESCRIPTOR: Descriptor
    CHANNELS_FIELD_NUMBER: ClassVar[int]
    HEIGHT_FIELD_NUMBER: ClassVar[int]
    WIDTH_FIELD_NUMBER: ClassVar[int]
    DATA_FIELD_NUMBER: ClassVar[int]
    LABEL_FIELD_NUMBER: ClassVar[int]
    FLOAT_DATA_FIELD_NUMBER: ClassVar[int]
    ENCODED_FIELD_NUMBER: ClassVar[int]
    channels: int
    height: int
    width: int
    data: bytes
    label: int
    @property
    def float_data(self) -> RepeatedScalarFieldContainer[float]: ...
    encoded: bool
    def __init__(
        self,
        *,
        channels: int | None = ...,
        height: int | None = ...,
        width: int | None = ...,
        data: bytes | None = ...,
        label: int | None = ...,
        float_data: Iterable[float] | None = ...,
        encoded: bool | None = ...,
    ) -> None: ...
    def HasField(
        self,
        field_name: Literal[
            "channels",
            b"channels",
            "data",
            b"data",
            "encoded",
            b"encoded",
            "height",
            b"height",
            "label",
            b"label",
            "width",
            b"width",
        ],
    ) -> bool: ...
    def ClearField(
        self,
        field_name: Literal[
            "channels",
            b"channels",
            "data",
            b"data",
            "encoded",
            b"encoded",
            "float_data",
            b"float_data",
            "height",
            b"height",
            "label",
            b"label",
            "width",
            b"width",
        ],
    ) -> None: ...

@final
class FillerParameter(Message):
    DESCRIPTOR: Descriptor
    class _VarianceNorm(EnumTypeWrapper):
        FAN_IN: int
        FAN_OUT: int
        AVERAGE: int

    VarianceNorm: ClassVar[_VarianceNorm]
    FAN_IN: ClassVar[int]
    FAN_OUT: ClassVar[int]
    AVERAGE: ClassVar[int]
    TYPE_FIELD_NUMBER: ClassVar[int]
    VALUE_FIELD_NUMBER: ClassVar[int]
    MIN_FIELD_NUMBER: ClassVar[int]
    MAX_FIELD_NUMBER: ClassVar[int]
    MEAN_FIELD_NUMBER: ClassVar[int]
    STD_FIELD_NUMBER: ClassVar[int]
    SPARSE_FIELD_NUMBER: ClassVar[int]
    VARIANCE_NORM_FIELD_NUMBER: ClassVar[int]
    type: str
    value: float
    min: float
    max: float
    mean: float
    std: float
    sparse: int
    variance_norm: int
    def __init__(
        self,
        *,
        type: str | None = ...,
        value: float | None = ...,
        min: float | None = ...,
        max: float | None = ...,
        mean: float | None = ...,
        std: float | None = ...,
        sparse: int | None = ...,
        variance_norm: int | None = ...,
    ) -> None: ...
    def HasField(
        self,
        field_name: Literal[
            "max",
            b"max",
            "mean",
            b"mean",
            "min",
            b"min",
            "sparse",
            b"sparse",
            "std",
            b"std",
            "type",
            b"type",
            "value",
            b"value",
            "variance_norm",
            b"variance_norm",
        ],
    ) -> bool: ...
    def ClearField(
        self,
        field_name: Literal[
            "max",
            b"max",
            "mean",
            b"mean",
            "min",
            b"min",
            "sparse",
            b"sparse",
            "std",
            b"std",
            "type",
            b"type",
            "value",
            b"value",
            "variance_norm",
            b"variance_norm",
        ],
    ) -> None: ...

@final
class NetParameter(Message):
    DESCRIPTOR: Descriptor
    NAME_FIELD_NUMBER: ClassVar[int]
    INPUT_FIELD_NUMBER: ClassVar[int]
    INPUT_SHAPE_FIELD_NUMBER: ClassVar[int]
    INPUT_DIM_FIELD_NUMBER: ClassVar[int]
    FORCE_BACKWARD_FIELD_NUMBER: ClassVar[int]
    STATE_FIELD_NUMBER: ClassVar[int]
    DEBUG_INFO_FIELD_NUMBER: ClassVar[int]
    LAYER_FIELD_NUMBER: ClassVar[int]
    LAYERS_FIELD_NUMBER: ClassVar[int]
    DIALECT_FIELD_NUMBER: ClassVar[int]
    INPUT_LAYER_FIELD_NUMBER: ClassVar[int]
    MEAN_VALUE_FIELD_NUMBER: ClassVar[int]
    VERSION_FIELD_NUMBER: ClassVar[int]
    name: str
    @property
    def input(self) -> RepeatedScalarFieldContainer[str]: ...
    @property
    def input_shape(self) -> RepeatedCompositeFieldContainer[BlobShape]: ...
    @property
    def input_dim(self) -> RepeatedScalarFieldContainer[int]: ...
    force_backward: bool
    @property
    def state(self) -> NetState: ...
    debug_info: bool
    @property
    def layer(self) -> RepeatedCompositeFieldContainer[LayerParameter]: ...
    @property
    def layers(self) -> RepeatedCompositeFieldContainer[V1LayerParameter]: ...
    dialect: str
    @property
    def input_layer(self) -> RepeatedScalarFieldContainer[str]: ...
    @property
    def mean_value(self) -> RepeatedScalarFieldContainer[float]: ...
    version: int
    def __init__(
        self,
        *,
        name: str | None = ...,
        input: Iterable[str] | None = ...,
        input_shape: Iterable[BlobShape] | None = ...,
        input_dim: Iterable[int] | None = ...,
        force_backward: bool | None = ...,
        state: NetState | None = ...,
        debug_info: bool | None = ...,
        layer: Iterable[LayerParameter] | None = ...,
        layers: Iterable[V1LayerParameter] | None = ...,
        dialect: str | None = ...,
        input_layer: Iterable[str] | None = ...,
        mean_value: Iterable[float] | None = ...,
        version: int | None = ...,
    ) -> None: ...
    def HasField(
        self,
        field_name: Literal[
            "debug_info",
            b"debug_info",
            "dialect",
            b"dialect",
            "force_backward",
            b"force_backward",
            "name",
            b"name",
            "state",
            b"state",
            "version",
            b"version",
        ],
    ) -> bool: ...
    def ClearField(
        self,
        field_name: Literal[
            "debug_info",
            b"debug_info",
            "dialect",
            b"dialect",
            "force_backward",
            b"force_backward",
            "input",
            b"input",
            "input_dim",
            b"input_dim",
            "input_layer",
            b"input_layer",
            "input_shape",
            b"input_shape",
            "layer",
            b"layer",
            "layers",
            b"layers",
            "mean_value",
            b"mean_value",
            "name",
            b"name",
            "state",
            b"state",
            "version",
            b"version",
        ],
    ) -> None: ...

@final
class SolverParameter(Message):
    DESCRIPTOR: Descriptor
    class _SnapshotFormat(EnumTypeWrapper):
        HDF5: int
        BINARYPROTO: int

    SnapshotFormat: ClassVar[_SnapshotFormat]
    HDF5: ClassVar[int]
    BINARYPROTO: ClassVar[int]
    class _SolverMode(EnumTypeWrapper):
        CPU: int
        GPU: int

    SolverMode: ClassVar[_SolverMode]
    CPU: ClassVar[int]
    GPU: ClassVar[int]
    class _SolverType(EnumTypeWrapper):
        SGD: int
        NESTEROV: int
        ADAGRAD: int
        RMSPROP: int
        ADADELTA: int
        ADAM: int

    SolverType: ClassVar[_SolverType]
    SGD: ClassVar[int]
    NESTEROV: ClassVar[int]
    ADAGRAD: ClassVar[int]
    RMSPROP: ClassVar[int]
    ADADELTA: ClassVar[int]
    ADAM: ClassVar[int]
    NET_FIELD_NUMBER: ClassVar[int]
    NET_PARAM_FIELD_NUMBER: ClassVar[int]
    TRAIN_NET_FIELD_NUMBER: ClassVar[int]
    TEST_NET_FIELD_NUMBER: ClassVar[int]
    TRAIN_NET_PARAM_FIELD_NUMBER: ClassVar[int]
    TEST_NET_PARAM_FIELD_NUMBER: ClassVar[int]
    TRAIN_STATE_FIELD_NUMBER: ClassVar[int]
    TEST_STATE_FIELD_NUMBER: ClassVar[int]
    TEST_ITER_FIELD_NUMBER: ClassVar[int]
    TEST_INTERVAL_FIELD_NUMBER: ClassVar[int]
    TEST_COMPUTE_LOSS_FIELD_NUMBER: ClassVar[int]
    TEST_INITIALIZATION_FIELD_NUMBER: ClassVar[int]
    BASE_LR_FIELD_NUMBER: ClassVar[int]
    DISPLAY_FIELD_NUMBER: ClassVar[int]
    AVERAGE_LOSS_FIELD_NUMBER: ClassVar[int]
    MAX_ITER_FIELD_NUMBER: ClassVar[int]
    ITER_SIZE_FIELD_NUMBER: ClassVar[int]
    LR_POLICY_FIELD_NUMBER: ClassVar[int]
    GAMMA_FIELD_NUMBER: ClassVar[int]
    POWER_FIELD_NUMBER: ClassVar[int]
    MOMENTUM_FIELD_NUMBER: ClassVar[int]
    WEIGHT_DECAY_FIELD_NUMBER: ClassVar[int]
    REGULARIZATION_TYPE_FIELD_NUMBER: ClassVar[int]
    STEPSIZE_FIELD_NUMBER: ClassVar[int]
    STEPVALUE_FIELD_NUMBER: ClassVar[int]
    CLIP_GRADIENTS_FIELD_NUMBER: ClassVar[int]
    SNAPSHOT_FIELD_NUMBER: ClassVar[int]
    SNAPSHOT_PREFIX_FIELD_NUMBER: ClassVar[int]
    SNAPSHOT_DIFF_FIELD_NUMBER: ClassVar[int]
    SNAPSHOT_FORMAT_FIELD_NUMBER: ClassVar[int]
    SOLVER_MODE_FIELD_NUMBER: ClassVar[int]
    DEVICE_ID_FIELD_NUMBER: ClassVar[int]
    RANDOM_SEED_FIELD_NUMBER: ClassVar[int]
    TYPE_FIELD_NUMBER: ClassVar[int]
    DELTA_FIELD_NUMBER: ClassVar[int]
    MOMENTUM2_FIELD_NUMBER: ClassVar[int]
    RMS_DECAY_FIELD_NUMBER: ClassVar[int]
    DEBUG_INFO_FIELD_NUMBER: ClassVar[int]
    SNAPSHOT_AFTER_TRAIN_FIELD_NUMBER: ClassVar[int]
    SOLVER_TYPE_FIELD_NUMBER: ClassVar[int]
    LAYER_WISE_REDUCE_FIELD_NUMBER: ClassVar[int]
    WEIGHTS_FIELD_NUMBER: ClassVar[int]
    net: str
    @property
    def net_param(self) -> NetParameter: ...
    train_net: str
    @property
    def test_net(self) -> RepeatedScalarFieldContainer[str]: ...
    @property
    def train_net_param(self) -> NetParameter: ...
    @property
    def test_net_param(self) -> RepeatedCompositeFieldContainer[NetParameter]: ...
    @property
    def train_state(self) -> NetState: ...
    @property
    def test_state(self) -> RepeatedCompositeFieldContainer[NetState]: ...
    @property
    def test_iter(self) -> RepeatedScalarFieldContainer[int]: ...
    test_interval: int
    test_compute_loss: bool
    test_initialization: bool
    base_lr: float
    display: int
    average_loss: int
    max_iter: int
    iter_size: int
    lr_policy: str
    gamma: float
    power: float
    momentum: float
    weight_decay: float
    regularization_type: str
    stepsize: int
    @property
    def stepvalue(self) -> RepeatedScalarFieldContainer[int]: ...
    clip_gradients: float
    snapshot: int
    snapshot_prefix: str
    snapshot_diff: bool
    snapshot_format: int
    solver_mode: int
    device_id: int
    random_seed: int
    type: str
    delta: float
    momentum2: float
    rms_decay: float
    debug_info: bool
    snapshot_after_train: bool
    solver_type: int
    layer_wise_reduce: bool
    @property
    def weights(self) -> RepeatedScalarFieldContainer[str]: ...
    def __init__(
        self,
        *,
        net: str | None = ...,
        net_param: NetParameter | None = ...,
        train_net: str | None = ...,
        test_net: Iterable[str] | None = ...,
        train_net_param: NetParameter | None = ...,
        test_net_param: Iterable[NetParameter] | None = ...,
        train_state: NetState | None = ...,
        test_state: Iterable[NetState] | None = ...,
        test_iter: Iterable[int] | None = ...,
        test_interval: int | None = ...,
        test_compute_loss: bool | None = ...,
        test_initialization: bool | None = ...,
        base_lr: float | None = ...,
        display: int | None = ...,
        average_loss: int | None = ...,
        max_iter: int | None = ...,
        iter_size: int | None = ...,
        lr_policy: str | None = ...,
        gamma: float | None = ...,
        power: float | None = ...,
        momentum: float | None = ...,
        weight_decay: float | None = ...,
        regularization_type: str | None = ...,
        stepsize: int | None = ...,
        stepvalue: Iterable[int] | None = ...,
        clip_gradients: float | None = ...,
        snapshot: int | None = ...,
        snapshot_prefix: str | None = ...,
        snapshot_diff: bool | None = ...,
        snapshot_format: int | None = ...,
        solver_mode: int | None = ...,
        device_id: int | None = ...,
        random_seed: int | None = ...,
        type: str | None = ...,
        delta: float | None = ...,
        momentum2: float | None = ...,
        rms_decay: float | None = ...,
        debug_info: bool | None = ...,
        snapshot_after_train: bool | None = ...,
        solver_type: int | None = ...,
        layer_wise_reduce: bool | None = ...,
        weights: Iterable[str] | None = ...,
    ) -> None: ...
    def HasField(
        self,
        field_name: Literal[
            "average_loss",
            b"average_loss",
            "base_lr",
            b"base_lr",
            "clip_gradients",
            b"clip_gradients",
            "debug_info",
            b"debug_info",
            "delta",
            b"delta",
            "device_id",
            b"device_id",
            "display",
            b"display",
            "gamma",
            b"gamma",
            "iter_size",
            b"iter_size",
            "layer_wise_reduce",
            b"layer_wise_reduce",
            "lr_policy",
            b"lr_policy",
            "max_iter",
            b"max_iter",
            "momentum",
            b"momentum",
            "momentum2",
            b"momentum2",
            "net",
            b"net",
            "net_param",
            b"net_param",
            "power",
            b"power",
            "random_seed",
            b"random_seed",
            "regularization_type",
            b"regularization_type",
            "rms_decay",
            b"rms_decay",
            "snapshot",
            b"snapshot",
            "snapshot_after_train",
            b"snapshot_after_train",
            "snapshot_diff",
            b"snapshot_diff",
            "snapshot_format",
            b"snapshot_format",
            "snapshot_prefix",
            b"snapshot_prefix",
            "solver_mode",
            b"solver_mode",
            "solver_type",
            b"solver_type",
            "stepsize",
            b"stepsize",
            "test_compute_loss",
            b"test_compute_loss",
            "test_initialization",
            b"test_initialization",
            "test_interval",
            b"test_interval",
            "train_net",
            b"train_net",
            "train_net_param",
            b"train_net_param",
            "train_state",
            b"train_state",
            "type",
            b"type",
            "weight_decay",
            b"weight_decay",
        ],
    ) -> bool: ...
    def ClearField(
        self,
        field_name: Literal[
            "average_loss",
            b"average_loss",
            "base_lr",
            b"base_lr",
            "clip_gradients",
            b"clip_gradients",
            "debug_info",
            b"debug_info",
            "delta",
            b"delta",
            "device_id",
            b"device_id",
            "display",
            b"display",
            "gamma",
            b"gamma",
            "iter_size",
            b"iter_size",
            "layer_wise_reduce",
            b"layer_wise_reduce",
            "lr_policy",
            b"lr_policy",
            "max_iter",
            b"max_iter",
            "momentum",
            b"momentum",
            "momentum2",
            b"momentum2",
            "net",
            b"net",
            "net_param",
            b"net_param",
            "power",
            b"power",
            "random_seed",
            b"random_seed",
            "regularization_type",
            b"regularization_type",
            "rms_decay",
            b"rms_decay",
            "snapshot",
            b"snapshot",
            "snapshot_after_train",
            b"snapshot_after_train",
            "snapshot_diff",
            b"snapshot_diff",
            "snapshot_format",
            b"snapshot_format",
            "snapshot_prefix",
            b"snapshot_prefix",
            "solver_mode",
            b"solver_mode",
            "solver_type",
            b"solver_type",
            "stepsize",
            b"stepsize",
            "stepvalue",
            b"stepvalue",
            "test_compute_loss",
            b"test_compute_loss",
            "test_initialization",
            b"test_initialization",
            "test_interval",
            b"test_interval",
            "test_iter",
            b"test_iter",
            "test_net",
            b"test_net",
            "test_net_param",
            b"test_net_param",
            "test_state",
            b"test_state",
            "train_net",
            b"train_net",
            "train_net_param",
            b"train_net_param",
            "train_state",
            b"train_state",
            "type",
            b"type",
            "weight_decay",
            b"weight_decay",
            "weights",
            b"weights",
        ],
    ) -> None: ...

@final
class SolverState(Message):
    DESCRIPTOR: Descriptor
    ITER_FIELD_NUMBER: ClassVar[int]
    LEARNED_NET_FIELD_NUMBER: ClassVar[int]
    HISTORY_FIELD_NUMBER: ClassVar[int]
    CURRENT_STEP_FIELD_NUMBER: ClassVar[int]
    iter: int
    learned_net: str
    @property
    def history(self) -> RepeatedCompositeFieldContainer[BlobProto]: ...
    current_step: int
    def __init__(
        self,
        *,
        iter: int | None = ...,
        learned_net: str | None = ...,
        history: Iterable[BlobProto] | None = ...,
        current_step: int | None = ...,
    ) -> None: ...
    def HasField(
        self, field_name: Literal["current_step", b"current_step", "iter", b"iter", "learned_net", b"learned_net"]
    ) -> bool: ...
    def ClearField(
        self,
        field_name: Literal[
            "current_step", b"current_step", "history", b"history", "iter", b"iter", "learned_net", b"learned_net"
        ],
    ) -> None: ...

@final
class NetState(Message):
    DESCRIPTOR: Descriptor
    PHASE_FIELD_NUMBER: ClassVar[int]
    LEVEL_FIELD_NUMBER: ClassVar[int]
    STAGE_FIELD_NUMBER: ClassVar[int]
    phase: int
    level: int
    @property
    def stage(self) -> RepeatedScalarFieldContainer[str]: ...
    def __init__(
        self, *, phase: int | None = ..., level: int | None = ..., stage: Iterable[str] | None = ...
    ) -> None: ...
    def HasField(self, field_name: Literal["level", b"level", "phase", b"phase"]) -> bool: ...
    def ClearField(self, field_name: Literal["level", b"level", "phase", b"phase", "stage", b"stage"]) -> None: ...

@final
class NetStateRule(Message):
    DESCRIPTOR: Descriptor
    PHASE_FIELD_NUMBER: ClassVar[int]
    MIN_LEVEL_FIELD_NUMBER: ClassVar[int]
    MAX_LEVEL_FIELD_NUMBER: ClassVar[int]
    STAGE_FIELD_NUMBER: ClassVar[int]
    NOT_STAGE_FIELD_NUMBER: ClassVar[int]
    phase: int
    min_level: int
    max_level: int
    @property
    def stage(self) -> RepeatedScalarFieldContainer[str]: ...
    @property
    def not_stage(self) -> RepeatedScalarFieldContainer[str]: ...
    def __init__(
        self,
        *,
        phase: int | None = ...,
        min_level: int | None = ...,
        max_level: int | None = ...,
        stage: Iterable[str] | None = ...,
        not_stage: Iterable[str] | None = ...,
    ) -> None: ...
    def HasField(
        self, field_name: Literal["max_level", b"max_level", "min_level", b"min_level", "phase", b"phase"]
    ) -> bool: ...
    def ClearField(
        self,
        field_name: Literal[
            "max_level",
            b"max_level",
            "min_level",
            b"min_level",
            "not_stage",
            b"not_stage",
            "phase",
            b"phase",
            "stage",
            b"stage",
        ],
    ) -> None: ...

@final
class ParamSpec(Message):
    DESCRIPTOR: Descriptor
    class _DimCheckMode(EnumTypeWrapper):
        STRICT: int
        PERMISSIVE: int

    DimCheckMode: ClassVar[_DimCheckMode]
    STRICT: ClassVar[int]
    PERMISSIVE: ClassVar[int]
    NAME_FIELD_NUMBER: ClassVar[int]
    SHARE_MODE_FIELD_NUMBER: ClassVar[int]
    LR_MULT_FIELD_NUMBER: ClassVar[int]
    DECAY_MULT_FIELD_NUMBER: ClassVar[int]
    name: str
    share_mode: int
    lr_mult: float
    decay_mult: float
    def __init__(
        self,
        *,
        name: str | None = ...,
        share_mode: int | None = ...,
        lr_mult: float | None = ...,
        decay_mult: float | None = ...,
    ) -> None: ...
    def HasField(
        self,
        field_name: Literal[
            "decay_mult", b"decay_mult", "lr_mult", b"lr_mult", "name", b"name", "share_mode", b"share_mode"
        ],
    ) -> bool: ...
    def ClearField(
        self,
        field_name: Literal[
            "decay_mult", b"decay_mult", "lr_mult", b"lr_mult", "name", b"name", "share_mode", b"share_mode"
        ],
    ) -> None: ...

@final
class LayerParameter(Message):
    DESCRIPTOR: Descriptor
    class _LayerType(EnumTypeWrapper):
        NONE: int
        ABSVAL: int
        ACCURACY: int
        ADAPTIVE_BIAS_CHANNEL: int
        ARGMAX: int
        BNLL: int
        BIAS_CHANNEL: int
        CENSOR_LABEL: int
        CHANNEL_AGGREGATOR: int
        CONCAT: int
        CONTRASTIVE_LOSS: int
        CONVOLUTION: int
        DATA: int
        DENSE_CRF: int
        DOMINANT_CHANNEL: int
        DROPOUT: int
        DUMMY_DATA: int
        EUCLIDEAN_LOSS: int
        ELTWISE: int
        EXP: int
        FLATTEN: int
        GAIN_CHANNEL: int
        HDF5_DATA: int
        HDF5_OUTPUT: int
        HINGE_LOSS: int
        HISTOGRAM: int
        IGNORE_OVERLAY: int
        IM2COL: int
        IMAGE_DATA: int
        IMAGE_SEG_DATA: int
        INFOGAIN_LOSS: int
        INNER_PRODUCT: int
        INTERP: int
        LRN: int
        MAT_READ: int
        MAT_WRITE: int
        MEMORY_DATA: int
        MULTINOMIAL_LOGISTIC_LOSS: int
        MVN: int
        ONEHOT: int
        PADDING: int
        POOLING: int
        POWER: int
        RELATIVE_ERROR: int
        RELU: int
        SEG_ACCURACY: int
        SIGMOID: int
        SIGMOID_CROSS_ENTROPY_LOSS: int
        SILENCE: int
        SOFTMAX: int
        SOFTMAX_LOSS: int
        SPLIT: int
        SLICE: int
        TANH: int
        THRESHOLD: int
        UNIQUE_LABEL: int
        WINDOW_DATA: int

    LayerType: ClassVar[_LayerType]
    NONE: ClassVar[int]
    ABSVAL: ClassVar[int]
    ACCURACY: ClassVar[int]
    ADAPTIVE_BIAS_CHANNEL: ClassVar[int]
    ARGMAX: ClassVar[int]
    BNLL: ClassVar[int]
    BIAS_CHANNEL: ClassVar[int]
    CENSOR_LABEL: ClassVar[int]
    CHANNEL_AGGREGATOR: ClassVar[int]
    CONCAT: ClassVar[int]
    CONTRASTIVE_LOSS: ClassVar[int]
    CONVOLUTION: ClassVar[int]
    DATA: ClassVar[int]
    DENSE_CRF: ClassVar[int]
    DOMINANT_CHANNEL: ClassVar[int]
    DROPOUT: ClassVar[int]
    DUMMY_DATA: ClassVar[int]
    EUCLIDEAN_LOSS: ClassVar[int]
    ELTWISE: ClassVar[int]
    EXP: ClassVar[int]
    FLATTEN: ClassVar[int]
    GAIN_CHANNEL: ClassVar[int]
    HDF5_DATA: ClassVar[int]
    HDF5_OUTPUT: ClassVar[int]
    HINGE_LOSS: ClassVar[int]
    HISTOGRAM: ClassVar[int]
    IGNORE_OVERLAY: ClassVar[int]
    IM2COL: ClassVar[int]
    IMAGE_DATA: ClassVar[int]
    IMAGE_SEG_DATA: ClassVar[int]
    INFOGAIN_LOSS: ClassVar[int]
    INNER_PRODUCT: ClassVar[int]
    INTERP: ClassVar[int]
    LRN: ClassVar[int]
    MAT_READ: ClassVar[int]
    MAT_WRITE: ClassVar[int]
    MEMORY_DATA: ClassVar[int]
    MULTINOMIAL_LOGISTIC_LOSS: ClassVar[int]
    MVN: ClassVar[int]
    ONEHOT: ClassVar[int]
    PADDING: ClassVar[int]
    POOLING: ClassVar[int]
    POWER: ClassVar[int]
    RELATIVE_ERROR: ClassVar[int]
    RELU: ClassVar[int]
    SEG_ACCURACY: ClassVar[int]
    SIGMOID: ClassVar[int]
    SIGMOID_CROSS_ENTROPY_LOSS: ClassVar[int]
    SILENCE: ClassVar[int]
    SOFTMAX: ClassVar[int]
    SOFTMAX_LOSS: ClassVar[int]
    SPLIT: ClassVar[int]
    SLICE: ClassVar[int]
    TANH: ClassVar[int]
    THRESHOLD: ClassVar[int]
    UNIQUE_LABEL: ClassVar[int]
    WINDOW_DATA: ClassVar[int]
    class _DimCheckMode(EnumTypeWrapper):
        STRICT: int
        PERMISSIVE: int

    DimCheckMode: ClassVar[_DimCheckMode]
    STRICT: ClassVar[int]
    PERMISSIVE: ClassVar[int]
    NAME_FIELD_NUMBER: ClassVar[int]
    TYPE_FIELD_NUMBER: ClassVar[int]
    BOTTOM_FIELD_NUMBER: ClassVar[int]
    TOP_FIELD_NUMBER: ClassVar[int]
    PHASE_FIELD_NUMBER: ClassVar[int]
    LOSS_WEIGHT_FIELD_NUMBER: ClassVar[int]
    PARAM_FIELD_NUMBER: ClassVar[int]
    BLOBS_FIELD_NUMBER: ClassVar[int]
    PROPAGATE_DOWN_FIELD_NUMBER: ClassVar[int]
    INCLUDE_FIELD_NUMBER: ClassVar[int]
    EXCLUDE_FIELD_NUMBER: ClassVar[int]
    TRANSFORM_PARAM_FIELD_NUMBER: ClassVar[int]
    LOSS_PARAM_FIELD_NUMBER: ClassVar[int]
    ACCURACY_PARAM_FIELD_NUMBER: ClassVar[int]
    ARGMAX_PARAM_FIELD_NUMBER: ClassVar[int]
    BATCH_NORM_PARAM_FIELD_NUMBER: ClassVar[int]
    BIAS_PARAM_FIELD_NUMBER: ClassVar[int]
    CONCAT_PARAM_FIELD_NUMBER: ClassVar[int]
    CONTRASTIVE_LOSS_PARAM_FIELD_NUMBER: ClassVar[int]
    CONVOLUTION_PARAM_FIELD_NUMBER: ClassVar[int]
    CROP_PARAM_FIELD_NUMBER: ClassVar[int]
    DATA_PARAM_FIELD_NUMBER: ClassVar[int]
    DROPOUT_PARAM_FIELD_NUMBER: ClassVar[int]
    DUMMY_DATA_PARAM_FIELD_NUMBER: ClassVar[int]
    ELTWISE_PARAM_FIELD_NUMBER: ClassVar[int]
    ELU_PARAM_FIELD_NUMBER: ClassVar[int]
    EMBED_PARAM_FIELD_NUMBER: ClassVar[int]
    EXP_PARAM_FIELD_NUMBER: ClassVar[int]
    FLATTEN_PARAM_FIELD_NUMBER: ClassVar[int]
    HDF5_DATA_PARAM_FIELD_NUMBER: ClassVar[int]
    HDF5_OUTPUT_PARAM_FIELD_NUMBER: ClassVar[int]
    HINGE_LOSS_PARAM_FIELD_NUMBER: ClassVar[int]
    IMAGE_DATA_PARAM_FIELD_NUMBER: ClassVar[int]
    INFOGAIN_LOSS_PARAM_FIELD_NUMBER: ClassVar[int]
    INNER_PRODUCT_PARAM_FIELD_NUMBER: ClassVar[int]
    INPUT_PARAM_FIELD_NUMBER: ClassVar[int]
    LOG_PARAM_FIELD_NUMBER: ClassVar[int]
    LRN_PARAM_FIELD_NUMBER: ClassVar[int]
    MEMORY_DATA_PARAM_FIELD_NUMBER: ClassVar[int]
    MVN_PARAM_FIELD_NUMBER: ClassVar[int]
    PARAMETER_PARAM_FIELD_NUMBER: ClassVar[int]
    POOLING_PARAM_FIELD_NUMBER: ClassVar[int]
    POWER_PARAM_FIELD_NUMBER: ClassVar[int]
    PRELU_PARAM_FIELD_NUMBER: ClassVar[int]
    PYTHON_PARAM_FIELD_NUMBER: ClassVar[int]
    RECURRENT_PARAM_FIELD_NUMBER: ClassVar[int]
    REDUCTION_PARAM_FIELD_NUMBER: ClassVar[int]
    RELU_PARAM_FIELD_NUMBER: ClassVar[int]
    RESHAPE_PARAM_FIELD_NUMBER: ClassVar[int]
    SCALE_PARAM_FIELD_NUMBER: ClassVar[int]
    SIGMOID_PARAM_FIELD_NUMBER: ClassVar[int]
    SOFTMAX_PARAM_FIELD_NUMBER: ClassVar[int]
    SPP_PARAM_FIELD_NUMBER: ClassVar[int]
    SLICE_PARAM_FIELD_NUMBER: ClassVar[int]
    TANH_PARAM_FIELD_NUMBER: ClassVar[int]
    THRESHOLD_PARAM_FIELD_NUMBER: ClassVar[int]
    TILE_PARAM_FIELD_NUMBER: ClassVar[int]
    WINDOW_DATA_PARAM_FIELD_NUMBER: ClassVar[int]
    SWISH_PARAM_FIELD_NUMBER: ClassVar[int]
    CLIP_PARAM_FIELD_NUMBER: ClassVar[int]
    ADAPTIVE_BIAS_CHANNEL_PARAM_FIELD_NUMBER: ClassVar[int]
    BIAS_CHANNEL_PARAM_FIELD_NUMBER: ClassVar[int]
    DENSE_CRF_PARAM_FIELD_NUMBER: ClassVar[int]
    DOMAIN_TRANSFORM_PARAM_FIELD_NUMBER: ClassVar[int]
    INTERP_PARAM_FIELD_NUMBER: ClassVar[int]
    MAT_READ_PARAM_FIELD_NUMBER: ClassVar[int]
    MAT_WRITE_PARAM_FIELD_NUMBER: ClassVar[int]
    SEG_ACCURACY_PARAM_FIELD_NUMBER: ClassVar[int]
    UNIQUE_LABEL_PARAM_FIELD_NUMBER: ClassVar[int]
    STRICT_DIM_FIELD_NUMBER: ClassVar[int]
    CENSOR_LABEL_PARAM_FIELD_NUMBER: ClassVar[int]
    CHANNEL_AGGREGATOR_PARAM_FIELD_NUMBER: ClassVar[int]
    DOMINANT_CHANNEL_PARAM_FIELD_NUMBER: ClassVar[int]
    EUCLIDEAN_LOSS_PARAM_FIELD_NUMBER: ClassVar[int]
    GAIN_CHANNEL_PARAM_FIELD_NUMBER: ClassVar[int]
    HISTOGRAM_PARAM_FIELD_NUMBER: ClassVar[int]
    IGNORE_OVERLAY_PARAM_FIELD_NUMBER: ClassVar[int]
    ONEHOT_PARAM_FIELD_NUMBER: ClassVar[int]
    PADDING_PARAM_FIELD_NUMBER: ClassVar[int]
    SOFTMAXLOSS_PARAM_FIELD_NUMBER: ClassVar[int]
    name: str
    type: str
    @property
    def bottom(self) -> RepeatedScalarFieldContainer[str]: ...
    @property
    def top(self) -> RepeatedScalarFieldContainer[str]: ...
    phase: int
    @property
    def loss_weight(self) -> RepeatedScalarFieldContainer[float]: ...
    @property
    def param(self) -> RepeatedCompositeFieldContainer[ParamSpec]: ...
    @property
    def blobs(self) -> RepeatedCompositeFieldContainer[BlobProto]: ...
    @property
    def propagate_down(self) -> RepeatedScalarFieldContainer[bool]: ...
    @property
    def include(self) -> RepeatedCompositeFieldContainer[NetStateRule]: ...
    @property
    def exclude(self) -> RepeatedCompositeFieldContainer[NetStateRule]: ...
    @property
    def transform_param(self) -> TransformationParameter: ...
    @property
    def loss_param(self) -> LossParameter: ...
    @property
    def accuracy_param(self) -> AccuracyParameter: ...
    @property
    def argmax_param(self) -> ArgMaxParameter: ...
    @property
    def batch_norm_param(self) -> BatchNormParameter: ...
    @property
    def bias_param(self) -> BiasParameter: ...
    @property
    def concat_param(self) -> ConcatParameter: ...
    @property
    def contrastive_loss_param(self) -> ContrastiveLossParameter: ...
    @property
    def convolution_param(self) -> ConvolutionParameter: ...
    @property
    def crop_param(self) -> CropParameter: ...
    @property
    def data_param(self) -> DataParameter: ...
    @property
    def dropout_param(self) -> DropoutParameter: ...
    @property
    def dummy_data_param(self) -> DummyDataParameter: ...
    @property
    def eltwise_param(self) -> EltwiseParameter: ...
    @property
    def elu_param(self) -> ELUParameter: ...
    @property
    def embed_param(self) -> EmbedParameter: ...
    @property
    def exp_param(self) -> ExpParameter: ...
    @property
    def flatten_param(self) -> FlattenParameter: ...
    @property
    def hdf5_data_param(self) -> HDF5DataParameter: ...
    @property
    def hdf5_output_param(self) -> HDF5OutputParameter: ...
    @property
    def hinge_loss_param(self) -> HingeLossParameter: ...
    @property
    def image_data_param(self) -> ImageDataParameter: ...
    @property
    def infogain_loss_param(self) -> InfogainLossParameter: ...
    @property
    def inner_product_param(self) -> InnerProductParameter: ...
    @property
    def input_param(self) -> InputParameter: ...
    @property
    def log_param(self) -> LogParameter: ...
    @property
    def lrn_param(self) -> LRNParameter: ...
    @property
    def memory_data_param(self) -> MemoryDataParameter: ...
    @property
    def mvn_param(self) -> MVNParameter: ...
    @property
    def parameter_param(self) -> ParameterParameter: ...
    @property
    def pooling_param(self) -> PoolingParameter: ...
    @property
    def power_param(self) -> PowerParameter: ...
    @property
    def prelu_param(self) -> PReLUParameter: ...
    @property
    def python_param(self) -> PythonParameter: ...
    @property
    def recurrent_param(self) -> RecurrentParameter: ...
    @property
    def reduction_param(self) -> ReductionParameter: ...
    @property
    def relu_param(self) -> ReLUParameter: ...
    @property
    def reshape_param(self) -> ReshapeParameter: ...
    @property
    def scale_param(self) -> ScaleParameter: ...
    @property
    def sigmoid_param(self) -> SigmoidParameter: ...
    @property
    def softmax_param(self) -> SoftmaxParameter: ...
    @property
    def spp_param(self) -> SPPParameter: ...
    @property
    def slice_param(self) -> SliceParameter: ...
    @property
    def tanh_param(self) -> TanHParameter: ...
    @property
    def threshold_param(self) -> ThresholdParameter: ...
    @property
    def tile_param(self) -> TileParameter: ...
    @property
    def window_data_param(self) -> WindowDataParameter: ...
    @property
    def swish_param(self) -> SwishParameter: ...
    @property
    def clip_param(self) -> ClipParameter: ...
    @property
    def adaptive_bias_channel_param(self) -> AdaptiveBiasChannelParameter: ...
    @property
    def bias_channel_param(self) -> BiasChannelParameter: ...
    @property
    def dense_crf_param(self) -> DenseCRFParameter: ...
    @property
    def domain_transform_param(self) -> DomainTransformParameter: ...
    @property
    def interp_param(self) -> InterpParameter: ...
    @property
    def mat_read_param(self) -> MatReadParameter: ...
    @property
    def mat_write_param(self) -> MatWriteParameter: ...
    @property
    def seg_accuracy_param(self) -> SegAccuracyParameter: ...
    @property
    def unique_label_param(self) -> UniqueLabelParameter: ...
    strict_dim: bool
    @property
    def censor_label_param(self) -> CensorLabelParameter: ...
    @property
    def channel_aggregator_param(self) -> ChannelAggregatorParameter: ...
    @property
    def dominant_channel_param(self) -> DominantChannelParameter: ...
    @property
    def euclidean_loss_param(self) -> EuclideanLossParameter: ...
    @property
    def gain_channel_param(self) -> GainChannelParameter: ...
    @property
    def histogram_param(self) -> HistogramParameter: ...
    @property
    def ignore_overlay_param(self) -> IgnoreOverlayParameter: ...
    @property
    def onehot_param(self) -> OneHotParameter: ...
    @property
    def padding_param(self) -> PaddingParameter: ...
    @property
    def softmaxloss_param(self) -> SoftmaxLossParameter: ...
    def __init__(
        self,
        *,
        name: str | None = ...,
        type: str | None = ...,
        bottom: Iterable[str] | None = ...,
        top: Iterable[str] | None = ...,
        phase: int | None = ...,
        loss_weight: Iterable[float] | None = ...,
        param: Iterable[ParamSpec] | None = ...,
        blobs: Iterable[BlobProto] | None = ...,
        propagate_down: Iterable[bool] | None = ...,
        include: Iterable[NetStateRule] | None = ...,
        exclude: Iterable[NetStateRule] | None = ...,
        transform_param: TransformationParameter | None = ...,
        loss_param: LossParameter | None = ...,
        accuracy_param: AccuracyParameter | None = ...,
        argmax_param: ArgMaxParameter | None = ...,
        batch_norm_param: BatchNormParameter | None = ...,
        bias_param: BiasParameter | None = ...,
        concat_param: ConcatParameter | None = ...,
        contrastive_loss_param: ContrastiveLossParameter | None = ...,
        convolution_param: ConvolutionParameter | None = ...,
        crop_param: CropParameter | None = ...,
        data_param: DataParameter | None = ...,
        dropout_param: DropoutParameter | None = ...,
        dummy_data_param: DummyDataParameter | None = ...,
        eltwise_param: EltwiseParameter | None = ...,
        elu_param: ELUParameter | None = ...,
        embed_param: EmbedParameter | None = ...,
        exp_param: ExpParameter | None = ...,
        flatten_param: FlattenParameter | None = ...,
        hdf5_data_param: HDF5DataParameter | None = ...,
        hdf5_output_param: HDF5OutputParameter | None = ...,
        hinge_loss_param: HingeLossParameter | None = ...,
        image_data_param: ImageDataParameter | None = ...,
        infogain_loss_param: InfogainLossParameter | None = ...,
        inner_product_param: InnerProductParameter | None = ...,
        input_param: InputParameter | None = ...,
        log_param: LogParameter | None = ...,
        lrn_param: LRNParameter | None = ...,
        memory_data_param: MemoryDataParameter | None = ...,
        mvn_param: MVNParameter | None = ...,
        parameter_param: ParameterParameter | None = ...,
        pooling_param: PoolingParameter | None = ...,
        power_param: PowerParameter | None = ...,
        prelu_param: PReLUParameter | None = ...,
        python_param: PythonParameter | None = ...,
        recurrent_param: RecurrentParameter | None = ...,
        reduction_param: ReductionParameter | None = ...,
        relu_param: ReLUParameter | None = ...,
        reshape_param: ReshapeParameter | None = ...,
        scale_param: ScaleParameter | None = ...,
        sigmoid_param: SigmoidParameter | None = ...,
        softmax_param: SoftmaxParameter | None = ...,
        spp_param: SPPParameter | None = ...,
        slice_param: SliceParameter | None = ...,
        tanh_param: TanHParameter | None = ...,
        threshold_param: ThresholdParameter | None = ...,
        tile_param: TileParameter | None = ...,
        window_data_param: WindowDataParameter | None = ...,
        swish_param: SwishParameter | None = ...,
        clip_param: ClipParameter | None = ...,
        adaptive_bias_channel_param: AdaptiveBiasChannelParameter | None = ...,
        bias_channel_param: BiasChannelParameter | None = ...,
        dense_crf_param: DenseCRFParameter | None = ...,
        domain_transform_param: DomainTransformParameter | None = ...,
        interp_param: InterpParameter | None = ...,
        mat_read_param: MatReadParameter | None = ...,
        mat_write_param: MatWriteParameter | None = ...,
        seg_accuracy_param: SegAccuracyParameter | None = ...,
        unique_label_param: UniqueLabelParameter | None = ...,
        strict_dim: bool | None = ...,
        censor_label_param: CensorLabelParameter | None = ...,
        channel_aggregator_param: ChannelAggregatorParameter | None = ...,
        dominant_channel_param: DominantChannelParameter | None = ...,
        euclidean_loss_param: EuclideanLossParameter | None = ...,
        gain_channel_param: GainChannelParameter | None = ...,
        histogram_param: HistogramParameter | None = ...,
        ignore_overlay_param: IgnoreOverlayParameter | None = ...,
        onehot_param: OneHotParameter | None = ...,
        padding_param: PaddingParameter | None = ...,
        softmaxloss_param: SoftmaxLossParameter | None = ...,
    ) -> None: ...
    def HasField(
        self,
        field_name: Literal[
            "accuracy_param",
            b"accuracy_param",
            "adaptive_bias_channel_param",
            b"adaptive_bias_channel_param",
            "argmax_param",
            b"argmax_param",
            "batch_norm_param",
            b"batch_norm_param",
            "bias_channel_param",
            b"bias_channel_param",
            "bias_param",
            b"bias_param",
            "censor_label_param",
            b"censor_label_param",
            "channel_aggregator_param",
            b"channel_aggregator_param",
            "clip_param",
            b"clip_param",
            "concat_param",
            b"concat_param",
            "contrastive_loss_param",
            b"contrastive_loss_param",
            "convolution_param",
            b"convolution_param",
            "crop_param",
            b"crop_param",
            "data_param",
            b"data_param",
            "dense_crf_param",
            b"dense_crf_param",
            "domain_transform_param",
            b"domain_transform_param",
            "dominant_channel_param",
            b"dominant_channel_param",
            "dropout_param",
            b"dropout_param",
            "dummy_data_param",
            b"dummy_data_param",
            "eltwise_param",
            b"eltwise_param",
            "elu_param",
            b"elu_param",
            "embed_param",
            b"embed_param",
            "euclidean_loss_param",
            b"euclidean_loss_param",
            "exp_param",
            b"exp_param",
            "flatten_param",
            b"flatten_param",
            "gain_channel_param",
            b"gain_channel_param",
            "hdf5_data_param",
            b"hdf5_data_param",
            "hdf5_output_param",
            b"hdf5_output_param",
            "hinge_loss_param",
            b"hinge_loss_param",
            "histogram_param",
            b"histogram_param",
            "ignore_overlay_param",
            b"ignore_overlay_param",
            "image_data_param",
            b"image_data_param",
            "infogain_loss_param",
            b"infogain_loss_param",
            "inner_product_param",
            b"inner_product_param",
            "input_param",
            b"input_param",
            "interp_param",
            b"interp_param",
            "log_param",
            b"log_param",
            "loss_param",
            b"loss_param",
            "lrn_param",
            b"lrn_param",
            "mat_read_param",
            b"mat_read_param",
            "mat_write_param",
            b"mat_write_param",
            "memory_data_param",
            b"memory_data_param",
            "mvn_param",
            b"mvn_param",
            "name",
            b"name",
            "onehot_param",
            b"onehot_param",
            "padding_param",
            b"padding_param",
            "parameter_param",
            b"parameter_param",
            "phase",
            b"phase",
            "pooling_param",
            b"pooling_param",
            "power_param",
            b"power_param",
            "prelu_param",
            b"prelu_param",
            "python_param",
            b"python_param",
            "recurrent_param",
            b"recurrent_param",
            "reduction_param",
            b"reduction_param",
            "relu_param",
            b"relu_param",
            "reshape_param",
            b"reshape_param",
            "scale_param",
            b"scale_param",
            "seg_accuracy_param",
            b"seg_accuracy_param",
            "sigmoid_param",
            b"sigmoid_param",
            "slice_param",
            b"slice_param",
            "softmax_param",
            b"softmax_param",
            "softmaxloss_param",
            b"softmaxloss_param",
            "spp_param",
            b"spp_param",
            "strict_dim",
            b"strict_dim",
            "swish_param",
            b"swish_param",
            "tanh_param",
            b"tanh_param",
            "threshold_param",
            b"threshold_param",
            "tile_param",
            b"tile_param",
            "transform_param",
            b"transform_param",
            "type",
            b"type",
            "unique_label_param",
            b"unique_label_param",
            "window_data_param",
            b"window_data_param",
        ],
    ) -> bool: ...
    def ClearField(
        self,
        field_name: Literal[
            "accuracy_param",
            b"accuracy_param",
            "adaptive_bias_channel_param",
            b"adaptive_bias_channel_param",
            "argmax_param",
            b"argmax_param",
            "batch_norm_param",
            b"batch_norm_param",
            "bias_channel_param",
            b"bias_channel_param",
            "bias_param",
            b"bias_param",
            "blobs",
            b"blobs",
            "bottom",
            b"bottom",
            "censor_label_param",
            b"censor_label_param",
            "channel_aggregator_param",
            b"channel_aggregator_param",
            "clip_param",
            b"clip_param",
            "concat_param",
            b"concat_param",
            "contrastive_loss_param",
            b"contrastive_loss_param",
            "convolution_param",
            b"convolution_param",
            "crop_param",
            b"crop_param",
            "data_param",
            b"data_param",
            "dense_crf_param",
            b"dense_crf_param",
            "domain_transform_param",
            b"domain_transform_param",
            "dominant_channel_param",
            b"dominant_channel_param",
            "dropout_param",
            b"dropout_param",
            "dummy_data_param",
            b"dummy_data_param",
            "eltwise_param",
            b"eltwise_param",
            "elu_param",
            b"elu_param",
            "embed_param",
            b"embed_param",
            "euclidean_loss_param",
            b"euclidean_loss_param",
            "exclude",
            b"exclude",
            "exp_param",
            b"exp_param",
            "flatten_param",
            b"flatten_param",
            "gain_channel_param",
            b"gain_channel_param",
            "hdf5_data_param",
            b"hdf5_data_param",
            "hdf5_output_param",
            b"hdf5_output_param",
            "hinge_loss_param",
            b"hinge_loss_param",
            "histogram_param",
            b"histogram_param",
            "ignore_overlay_param",
            b"ignore_overlay_param",
            "image_data_param",
            b"image_data_param",
            "include",
            b"include",
            "infogain_loss_param",
            b"infogain_loss_param",
            "inner_product_param",
            b"inner_product_param",
            "input_param",
            b"input_param",
            "interp_param",
            b"interp_param",
            "log_param",
            b"log_param",
            "loss_param",
            b"loss_param",
            "loss_weight",
            b"loss_weight",
            "lrn_param",
            b"lrn_param",
            "mat_read_param",
            b"mat_read_param",
            "mat_write_param",
            b"mat_write_param",
            "memory_data_param",
            b"memory_data_param",
            "mvn_param",
            b"mvn_param",
            "name",
            b"name",
            "onehot_param",
            b"onehot_param",
            "padding_param",
            b"padding_param",
            "param",
            b"param",
            "parameter_param",
            b"parameter_param",
            "phase",
            b"phase",
            "pooling_param",
            b"pooling_param",
            "power_param",
            b"power_param",
            "prelu_param",
            b"prelu_param",
            "propagate_down",
            b"propagate_down",
            "python_param",
            b"python_param",
            "recurrent_param",
            b"recurrent_param",
            "reduction_param",
            b"reduction_param",
            "relu_param",
            b"relu_param",
            "reshape_param",
            b"reshape_param",
            "scale_param",
            b"scale_param",
            "seg_accuracy_param",
            b"seg_accuracy_param",
            "sigmoid_param",
            b"sigmoid_param",
            "slice_param",
            b"slice_param",
            "softmax_param",
            b"softmax_param",
            "softmaxloss_param",
            b"softmaxloss_param",
            "spp_param",
            b"spp_param",
            "strict_dim",
            b"strict_dim",
            "swish_param",
            b"swish_param",
            "tanh_param",
            b"tanh_param",
            "threshold_param",
            b"threshold_param",
            "tile_param",
            b"tile_param",
            "top",
            b"top",
            "transform_param",
            b"transform_param",
            "type",
            b"type",
            "unique_label_param",
            b"unique_label_param",
            "window_data_param",
            b"window_data_param",
        ],
    ) -> None: ...

@final
class TransformationParameter(Message):
    DESCRIPTOR: Descriptor
    SCALE_FIELD_NUMBER: ClassVar[int]
    MIRROR_FIELD_NUMBER: ClassVar[int]
    CROP_SIZE_FIELD_NUMBER: ClassVar[int]
    MEAN_FILE_FIELD_NUMBER: ClassVar[int]
    MEAN_VALUE_FIELD_NUMBER: ClassVar[int]
    FORCE_COLOR_FIELD_NUMBER: ClassVar[int]
    FORCE_GRAY_FIELD_NUMBER: ClassVar[int]
    SCALE_FACTORS_FIELD_NUMBER: ClassVar[int]
    CROP_WIDTH_FIELD_NUMBER: ClassVar[int]
    CROP_HEIGHT_FIELD_NUMBER: ClassVar[int]
    DISTORT_PARAM_FIELD_NUMBER: ClassVar[int]
    scale: float
    mirror: bool
    crop_size: int
    mean_file: str
    @property
    def mean_value(self) -> RepeatedScalarFieldContainer[float]: ...
    force_color: bool
    force_gray: bool
    @property
    def scale_factors(self) -> RepeatedScalarFieldContainer[float]: ...
    crop_width: int
    crop_height: int
    @property
    def distort_param(self) -> DistortionParameter: ...
    def __init__(
        self,
        *,
        scale: float | None = ...,
        mirror: bool | None = ...,
        crop_size: int | None = ...,
        mean_file: str | None = ...,
        mean_value: Iterable[float] | None = ...,
        force_color: bool | None = ...,
        force_gray: bool | None = ...,
        scale_factors: Iterable[float] | None = ...,
        crop_width: int | None = ...,
        crop_height: int | None = ...,
        distort_param: DistortionParameter | None = ...,
    ) -> None: ...
    def HasField(
        self,
        field_name: Literal[
            "crop_height",
            b"crop_height",
            "crop_size",
            b"crop_size",
            "crop_width",
            b"crop_width",
            "distort_param",
            b"distort_param",
            "force_color",
            b"force_color",
            "force_gray",
            b"force_gray",
            "mean_file",
            b"mean_file",
            "mirror",
            b"mirror",
            "scale",
            b"scale",
        ],
    ) -> bool: ...
    def ClearField(
        self,
        field_name: Literal[
            "crop_height",
            b"crop_height",
            "crop_size",
            b"crop_size",
            "crop_width",
            b"crop_width",
            "distort_param",
            b"distort_param",
            "force_color",
            b"force_color",
            "force_gray",
            b"force_gray",
            "mean_file",
            b"mean_file",
            "mean_value",
            b"mean_value",
            "mirror",
            b"mirror",
            "scale",
            b"scale",
            "scale_factors",
            b"scale_factors",
        ],
    ) -> None: ...

@final
class LossParameter(Message):
    DESCRIPTOR: Descriptor
    class _NormalizationMode(EnumTypeWrapper):
        FULL: int
        VALID: int
        BATCH_SIZE: int
        NONE: int

    NormalizationMode: ClassVar[_NormalizationMode]
    FULL: ClassVar[int]
    VALID: ClassVar[int]
    BATCH_SIZE: ClassVar[int]
    NONE: ClassVar[int]
    IGNORE_LABEL_FIELD_NUMBER: ClassVar[int]
    NORMALIZATION_FIELD_NUMBER: ClassVar[int]
    NORMALIZE_FIELD_NUMBER: ClassVar[int]
    ignore_label: int
    normalization: int
    normalize: bool
    def __init__(
        self, *, ignore_label: int | None = ..., normalization: int | None = ..., normalize: bool | None = ...
    ) -> None: ...
    def HasField(
        self,
        field_name: Literal[
            "ignore_label", b"ignore_label", "normalization", b"normalization", "normalize", b"normalize"
        ],
    ) -> bool: ...
    def ClearField(
        self,
        field_name: Literal[
            "ignore_label", b"ignore_label", "normalization", b"normalization", "normalize", b"normalize"
        ],
    ) -> None: ...

@final
class AccuracyParameter(Message):
    DESCRIPTOR: Descriptor
    TOP_K_FIELD_NUMBER: ClassVar[int]
    AXIS_FIELD_NUMBER: ClassVar[int]
    IGNORE_LABEL_FIELD_NUMBER: ClassVar[int]
    top_k: int
    axis: int
    ignore_label: int
    def __init__(self, *, top_k: int | None = ..., axis: int | None = ..., ignore_label: int | None = ...) -> None: ...
    def HasField(
        self, field_name: Literal["axis", b"axis", "ignore_label", b"ignore_label", "top_k", b"top_k"]
    ) -> bool: ...
    def ClearField(
        self, field_name: Literal["axis", b"axis", "ignore_label", b"ignore_label", "top_k", b"top_k"]
    ) -> None: ...

@final
class AdaptiveBiasChannelParameter(Message):
    DESCRIPTOR: Descriptor
    NUM_ITER_FIELD_NUMBER: ClassVar[int]
    BG_PORTION_FIELD_NUMBER: ClassVar[int]
    FG_PORTION_FIELD_NUMBER: ClassVar[int]
    SUPPRESS_OTHERS_FIELD_NUMBER: ClassVar[int]
    MARGIN_OTHERS_FIELD_NUMBER: ClassVar[int]
    num_iter: int
    bg_portion: float
    fg_portion: float
    suppress_others: bool
    margin_others: float
    def __init__(
        self,
        *,
        num_iter: int | None = ...,
        bg_portion: float | None = ...,
        fg_portion: float | None = ...,
        suppress_others: bool | None = ...,
        margin_others: float | None = ...,
    ) -> None: ...
    def HasField(
        self,
        field_name: Literal[
            "bg_portion",
            b"bg_portion",
            "fg_portion",
            b"fg_portion",
            "margin_others",
            b"margin_others",
            "num_iter",
            b"num_iter",
            "suppress_others",
            b"suppress_others",
        ],
    ) -> bool: ...
    def ClearField(
        self,
        field_name: Literal[
            "bg_portion",
            b"bg_portion",
            "fg_portion",
            b"fg_portion",
            "margin_others",
            b"margin_others",
            "num_iter",
            b"num_iter",
            "suppress_others",
            b"suppress_others",
        ],
    ) -> None: ...

@final
class ArgMaxParameter(Message):
    DESCRIPTOR: Descriptor
    OUT_MAX_VAL_FIELD_NUMBER: ClassVar[int]
    TOP_K_FIELD_NUMBER: ClassVar[int]
    AXIS_FIELD_NUMBER: ClassVar[int]
    out_max_val: bool
    top_k: int
    axis: int
    def __init__(self, *, out_max_val: bool | None = ..., top_k: int | None = ..., axis: int | None = ...) -> None: ...
    def HasField(
        self, field_name: Literal["axis", b"axis", "out_max_val", b"out_max_val", "top_k", b"top_k"]
    ) -> bool: ...
    def ClearField(
        self, field_name: Literal["axis", b"axis", "out_max_val", b"out_max_val", "top_k", b"top_k"]
    ) -> None: ...

@final
class BiasChannelParameter(Message):
    DESCRIPTOR: Descriptor
    class _LabelType(EnumTypeWrapper):
        IMAGE: int
        PIXEL: int

    LabelType: ClassVar[_LabelType]
    IMAGE: ClassVar[int]
    PIXEL: ClassVar[int]
    BG_BIAS_FIELD_NUMBER: ClassVar[int]
    FG_BIAS_FIELD_NUMBER: ClassVar[int]
    IGNORE_LABEL_FIELD_NUMBER: ClassVar[int]
    LABEL_TYPE_FIELD_NUMBER: ClassVar[int]
    BACKGROUND_LABEL_FIELD_NUMBER: ClassVar[int]
    bg_bias: float
    fg_bias: float
    @property
    def ignore_label(self) -> RepeatedScalarFieldContainer[int]: ...
    label_type: int
    background_label: int
    def __init__(
        self,
        *,
        bg_bias: float | None = ...,
        fg_bias: float | None = ...,
        ignore_label: Iterable[int] | None = ...,
        label_type: int | None = ...,
        background_label: int | None = ...,
    ) -> None: ...
    def HasField(
        self,
        field_name: Literal[
            "background_label",
            b"background_label",
            "bg_bias",
            b"bg_bias",
            "fg_bias",
            b"fg_bias",
            "label_type",
            b"label_type",
        ],
    ) -> bool: ...
    def ClearField(
        self,
        field_name: Literal[
            "background_label",
            b"background_label",
            "bg_bias",
            b"bg_bias",
            "fg_bias",
            b"fg_bias",
            "ignore_label",
            b"ignore_label",
            "label_type",
            b"label_type",
        ],
    ) -> None: ...

@final
class ConcatParameter(Message):
    DESCRIPTOR: Descriptor
    AXIS_FIELD_NUMBER: ClassVar[int]
    CONCAT_DIM_FIELD_NUMBER: ClassVar[int]
    axis: int
    concat_dim: int
    def __init__(self, *, axis: int | None = ..., concat_dim: int | None = ...) -> None: ...
    def HasField(self, field_name: Literal["axis", b"axis", "concat_dim", b"concat_dim"]) -> bool: ...
    def ClearField(self, field_name: Literal["axis", b"axis", "concat_dim", b"concat_dim"]) -> None: ...

@final
class BatchNormParameter(Message):
    DESCRIPTOR: Descriptor
    USE_GLOBAL_STATS_FIELD_NUMBER: ClassVar[int]
    MOVING_AVERAGE_FRACTION_FIELD_NUMBER: ClassVar[int]
    EPS_FIELD_NUMBER: ClassVar[int]
    UPDATE_GLOBAL_STATS_FIELD_NUMBER: ClassVar[int]
    use_global_stats: bool
    moving_average_fraction: float
    eps: float
    update_global_stats: bool
    def __init__(
        self,
        *,
        use_global_stats: bool | None = ...,
        moving_average_fraction: float | None = ...,
        eps: float | None = ...,
        update_global_stats: bool | None = ...,
    ) -> None: ...
    def HasField(
        self,
        field_name: Literal[
            "eps",
            b"eps",
            "moving_average_fraction",
            b"moving_average_fraction",
            "update_global_stats",
            b"update_global_stats",
            "use_global_stats",
            b"use_global_stats",
        ],
    ) -> bool: ...
    def ClearField(
        self,
        field_name: Literal[
            "eps",
            b"eps",
            "moving_average_fraction",
            b"moving_average_fraction",
            "update_global_stats",
            b"update_global_stats",
            "use_global_stats",
            b"use_global_stats",
        ],
    ) -> None: ...

@final
class BiasParameter(Message):
    DESCRIPTOR: Descriptor
    AXIS_FIELD_NUMBER: ClassVar[int]
    NUM_AXES_FIELD_NUMBER: ClassVar[int]
    FILLER_FIELD_NUMBER: ClassVar[int]
    axis: int
    num_axes: int
    @property
    def filler(self) -> FillerParameter: ...
    def __init__(
        self, *, axis: int | None = ..., num_axes: int | None = ..., filler: FillerParameter | None = ...
    ) -> None: ...
    def HasField(self, field_name: Literal["axis", b"axis", "filler", b"filler", "num_axes", b"num_axes"]) -> bool: ...
    def ClearField(
        self, field_name: Literal["axis", b"axis", "filler", b"filler", "num_axes", b"num_axes"]
    ) -> None: ...

@final
class ContrastiveLossParameter(Message):
    DESCRIPTOR: Descriptor
    MARGIN_FIELD_NUMBER: ClassVar[int]
    LEGACY_VERSION_FIELD_NUMBER: ClassVar[int]
    margin: float
    legacy_version: bool
    def __init__(self, *, margin: float | None = ..., legacy_version: bool | None = ...) -> None: ...
    def HasField(self, field_name: Literal["legacy_version", b"legacy_version", "margin", b"margin"]) -> bool: ...
    def ClearField(self, field_name: Literal["legacy_version", b"legacy_version", "margin", b"margin"]) -> None: ...

@final
class ConvolutionParameter(Message):
    DESCRIPTOR: Descriptor
    class _Engine(EnumTypeWrapper):
        DEFAULT: int
        CAFFE: int
        CUDNN: int

    Engine: ClassVar[_Engine]
    DEFAULT: ClassVar[int]
    CAFFE: ClassVar[int]
    CUDNN: ClassVar[int]
    NUM_OUTPUT_FIELD_NUMBER: ClassVar[int]
    BIAS_TERM_FIELD_NUMBER: ClassVar[int]
    PAD_FIELD_NUMBER: ClassVar[int]
    KERNEL_SIZE_FIELD_NUMBER: ClassVar[int]
    STRIDE_FIELD_NUMBER: ClassVar[int]
    DILATION_FIELD_NUMBER: ClassVar[int]
    PAD_H_FIELD_NUMBER: ClassVar[int]
    PAD_W_FIELD_NUMBER: ClassVar[int]
    KERNEL_H_FIELD_NUMBER: ClassVar[int]
    KERNEL_W_FIELD_NUMBER: ClassVar[int]
    STRIDE_H_FIELD_NUMBER: ClassVar[int]
    STRIDE_W_FIELD_NUMBER: ClassVar[int]
    GROUP_FIELD_NUMBER: ClassVar[int]
    WEIGHT_FILLER_FIELD_NUMBER: ClassVar[int]
    BIAS_FILLER_FIELD_NUMBER: ClassVar[int]
    ENGINE_FIELD_NUMBER: ClassVar[int]
    AXIS_FIELD_NUMBER: ClassVar[int]
    FORCE_ND_IM2COL_FIELD_NUMBER: ClassVar[int]
    HOLE_FIELD_NUMBER: ClassVar[int]
    HOLE_H_FIELD_NUMBER: ClassVar[int]
    HOLE_W_FIELD_NUMBER: ClassVar[int]
    num_output: int
    bias_term: bool
    @property
    def pad(self) -> RepeatedScalarFieldContainer[int]: ...
    @property
    def kernel_size(self) -> RepeatedScalarFieldContainer[int]: ...
    @property
    def stride(self) -> RepeatedScalarFieldContainer[int]: ...
    @property
    def dilation(self) -> RepeatedScalarFieldContainer[int]: ...
    pad_h: int
    pad_w: int
    kernel_h: int
    kernel_w: int
    stride_h: int
    stride_w: int
    group: int
    @property
    def weight_filler(self) -> FillerParameter: ...
    @property
    def bias_filler(self) -> FillerParameter: ...
    engine: int
    axis: int
    force_nd_im2col: bool
    hole: int
    hole_h: int
    hole_w: int
    def __init__(
        self,
        *,
        num_output: int | None = ...,
        bias_term: bool | None = ...,
        pad: Iterable[int] | None = ...,
        kernel_size: Iterable[int] | None = ...,
        stride: Iterable[int] | None = ...,
        dilation: Iterable[int] | None = ...,
        pad_h: int | None = ...,
        pad_w: int | None = ...,
        kernel_h: int | None = ...,
        kernel_w: int | None = ...,
        stride_h: int | None = ...,
        stride_w: int | None = ...,
        group: int | None = ...,
        weight_filler: FillerParameter | None = ...,
        bias_filler: FillerParameter | None = ...,
        engine: int | None = ...,
        axis: int | None = ...,
        force_nd_im2col: bool | None = ...,
        hole: int | None = ...,
        hole_h: int | None = ...,
        hole_w: int | None = ...,
    ) -> None: ...
    def HasField(
        self,
        field_name: Literal[
            "axis",
            b"axis",
            "bias_filler",
            b"bias_filler",
            "bias_term",
            b"bias_term",
            "engine",
            b"engine",
            "force_nd_im2col",
            b"force_nd_im2col",
            "group",
            b"group",
            "hole",
            b"hole",
            "hole_h",
            b"hole_h",
            "hole_w",
            b"hole_w",
            "kernel_h",
            b"kernel_h",
            "kernel_w",
            b"kernel_w",
            "num_output",
            b"num_output",
            "pad_h",
            b"pad_h",
            "pad_w",
            b"pad_w",
            "stride_h",
            b"stride_h",
            "stride_w",
            b"stride_w",
            "weight_filler",
            b"weight_filler",
        ],
    ) -> bool: ...
    def ClearField(
        self,
        field_name: Literal[
            "axis",
            b"axis",
            "bias_filler",
            b"bias_filler",
            "bias_term",
            b"bias_term",
            "dilation",
            b"dilation",
            "engine",
            b"engine",
            "force_nd_im2col",
            b"force_nd_im2col",
            "group",
            b"group",
            "hole",
            b"hole",
            "hole_h",
            b"hole_h",
            "hole_w",
            b"hole_w",
            "kernel_h",
            b"kernel_h",
            "kernel_size",
            b"kernel_size",
            "kernel_w",
            b"kernel_w",
            "num_output",
            b"num_output",
            "pad",
            b"pad",
            "pad_h",
            b"pad_h",
            "pad_w",
            b"pad_w",
            "stride",
            b"stride",
            "stride_h",
            b"stride_h",
            "stride_w",
            b"stride_w",
            "weight_filler",
            b"weight_filler",
        ],
    ) -> None: ...

@final
class CropParameter(Message):
    DESCRIPTOR: Descriptor
    AXIS_FIELD_NUMBER: ClassVar[int]
    OFFSET_FIELD_NUMBER: ClassVar[int]
    axis: int
    @property
    def offset(self) -> RepeatedScalarFieldContainer[int]: ...
    def __init__(self, *, axis: int | None = ..., offset: Iterable[int] | None = ...) -> None: ...
    def HasField(self, field_name: Literal["axis", b"axis"]) -> bool: ...
    def ClearField(self, field_name: Literal["axis", b"axis", "offset", b"offset"]) -> None: ...

@final
class DataParameter(Message):
    DESCRIPTOR: Descriptor
    class _DB(EnumTypeWrapper):
        LEVELDB: int
        LMDB: int

    DB: ClassVar[_DB]
    LEVELDB: ClassVar[int]
    LMDB: ClassVar[int]
    SOURCE_FIELD_NUMBER: ClassVar[int]
    BATCH_SIZE_FIELD_NUMBER: ClassVar[int]
    RAND_SKIP_FIELD_NUMBER: ClassVar[int]
    BACKEND_FIELD_NUMBER: ClassVar[int]
    SCALE_FIELD_NUMBER: ClassVar[int]
    MEAN_FILE_FIELD_NUMBER: ClassVar[int]
    CROP_SIZE_FIELD_NUMBER: ClassVar[int]
    MIRROR_FIELD_NUMBER: ClassVar[int]
    FORCE_ENCODED_COLOR_FIELD_NUMBER: ClassVar[int]
    PREFETCH_FIELD_NUMBER: ClassVar[int]
    TRANSFORM_PARAM_FIELD_NUMBER: ClassVar[int]
    source: str
    batch_size: int
    rand_skip: int
    backend: int
    scale: float
    mean_file: str
    crop_size: int
    mirror: bool
    force_encoded_color: bool
    prefetch: int
    @property
    def transform_param(self) -> TransformationParameter: ...
    def __init__(
        self,
        *,
        source: str | None = ...,
        batch_size: int | None = ...,
        rand_skip: int | None = ...,
        backend: int | None = ...,
        scale: float | None = ...,
        mean_file: str | None = ...,
        crop_size: int | None = ...,
        mirror: bool | None = ...,
        force_encoded_color: bool | None = ...,
        prefetch: int | None = ...,
        transform_param: TransformationParameter | None = ...,
    ) -> None: ...
    def HasField(
        self,
        field_name: Literal[
            "backend",
            b"backend",
            "batch_size",
            b"batch_size",
            "crop_size",
            b"crop_size",
            "force_encoded_color",
            b"force_encoded_color",
            "mean_file",
            b"mean_file",
            "mirror",
            b"mirror",
            "prefetch",
            b"prefetch",
            "rand_skip",
            b"rand_skip",
            "scale",
            b"scale",
            "source",
            b"source",
            "transform_param",
            b"transform_param",
        ],
    ) -> bool: ...
    def ClearField(
        self,
        field_name: Literal[
            "backend",
            b"backend",
            "batch_size",
            b"batch_size",
            "crop_size",
            b"crop_size",
            "force_encoded_color",
            b"force_encoded_color",
            "mean_file",
            b"mean_file",
            "mirror",
            b"mirror",
            "prefetch",
            b"prefetch",
            "rand_skip",
            b"rand_skip",
            "scale",
            b"scale",
            "source",
            b"source",
            "transform_param",
            b"transform_param",
        ],
    ) -> None: ...

@final
class DenseCRFParameter(Message):
    DESCRIPTOR: Descriptor
    MAX_ITER_FIELD_NUMBER: ClassVar[int]
    POS_XY_STD_FIELD_NUMBER: ClassVar[int]
    POS_W_FIELD_NUMBER: ClassVar[int]
    BI_XY_STD_FIELD_NUMBER: ClassVar[int]
    BI_RGB_STD_FIELD_NUMBER: ClassVar[int]
    BI_W_FIELD_NUMBER: ClassVar[int]
    OUTPUT_PROBABILITY_FIELD_NUMBER: ClassVar[int]
    max_iter: int
    @property
    def pos_xy_std(self) -> RepeatedScalarFieldContainer[float]: ...
    @property
    def pos_w(self) -> RepeatedScalarFieldContainer[float]: ...
    @property
    def bi_xy_std(self) -> RepeatedScalarFieldContainer[float]: ...
    @property
    def bi_rgb_std(self) -> RepeatedScalarFieldContainer[float]: ...
    @property
    def bi_w(self) -> RepeatedScalarFieldContainer[float]: ...
    output_probability: bool
    def __init__(
        self,
        *,
        max_iter: int | None = ...,
        pos_xy_std: Iterable[float] | None = ...,
        pos_w: Iterable[float] | None = ...,
        bi_xy_std: Iterable[float] | None = ...,
        bi_rgb_std: Iterable[float] | None = ...,
        bi_w: Iterable[float] | None = ...,
        output_probability: bool | None = ...,
    ) -> None: ...
    def HasField(
        self, field_name: Literal["max_iter", b"max_iter", "output_probability", b"output_probability"]
    ) -> bool: ...
    def ClearField(
        self,
        field_name: Literal[
            "bi_rgb_std",
            b"bi_rgb_std",
            "bi_w",
            b"bi_w",
            "bi_xy_std",
            b"bi_xy_std",
            "max_iter",
            b"max_iter",
            "output_probability",
            b"output_probability",
            "pos_w",
            b"pos_w",
            "pos_xy_std",
            b"pos_xy_std",
        ],
    ) -> None: ...

@final
class DomainTransformParameter(Message):
    DESCRIPTOR: Descriptor
    NUM_ITER_FIELD_NUMBER: ClassVar[int]
    SPATIAL_SIGMA_FIELD_NUMBER: ClassVar[int]
    RANGE_SIGMA_FIELD_NUMBER: ClassVar[int]
    MIN_WEIGHT_FIELD_NUMBER: ClassVar[int]
    num_iter: int
    spatial_sigma: float
    range_sigma: float
    min_weight: float
    def __init__(
        self,
        *,
        num_iter: int | None = ...,
        spatial_sigma: float | None = ...,
        range_sigma: float | None = ...,
        min_weight: float | None = ...,
    ) -> None: ...
    def HasField(
        self,
        field_name: Literal[
            "min_weight",
            b"min_weight",
            "num_iter",
            b"num_iter",
            "range_sigma",
            b"range_sigma",
            "spatial_sigma",
            b"spatial_sigma",
        ],
    ) -> bool: ...
    def ClearField(
        self,
        field_name: Literal[
            "min_weight",
            b"min_weight",
            "num_iter",
            b"num_iter",
            "range_sigma",
            b"range_sigma",
            "spatial_sigma",
            b"spatial_sigma",
        ],
    ) -> None: ...

@final
class DropoutParameter(Message):
    DESCRIPTOR: Descriptor
    DROPOUT_RATIO_FIELD_NUMBER: ClassVar[int]
    dropout_ratio: float
    def __init__(self, *, dropout_ratio: float | None = ...) -> None: ...
    def HasField(self, field_name: Literal["dropout_ratio", b"dropout_ratio"]) -> bool: ...
    def ClearField(self, field_name: Literal["dropout_ratio", b"dropout_ratio"]) -> None: ...

@final
class DummyDataParameter(Message):
    DESCRIPTOR: Descriptor
    DATA_FILLER_FIELD_NUMBER: ClassVar[int]
    SHAPE_FIELD_NUMBER: ClassVar[int]
    NUM_FIELD_NUMBER: ClassVar[int]
    CHANNELS_FIELD_NUMBER: ClassVar[int]
    HEIGHT_FIELD_NUMBER: ClassVar[int]
    WIDTH_FIELD_NUMBER: ClassVar[int]
    @property
    def data_filler(self) -> RepeatedCompositeFieldContainer[FillerParameter]: ...
    @property
    def shape(self) -> RepeatedCompositeFieldContainer[BlobShape]: ...
    @property
    def num(self) -> RepeatedScalarFieldContainer[int]: ...
    @property
    def channels(self) -> RepeatedScalarFieldContainer[int]: ...
    @property
    def height(self) -> RepeatedScalarFieldContainer[int]: ...
    @property
    def width(self) -> RepeatedScalarFieldContainer[int]: ...
    def __init__(
        self,
        *,
        data_filler: Iterable[FillerParameter] | None = ...,
        shape: Iterable[BlobShape] | None = ...,
        num: Iterable[int] | None = ...,
        channels: Iterable[int] | None = ...,
        height: Iterable[int] | None = ...,
        width: Iterable[int] | None = ...,
    ) -> None: ...
    def ClearField(
        self,
        field_name: Literal[
            "channels",
            b"channels",
            "data_filler",
            b"data_filler",
            "height",
            b"height",
            "num",
            b"num",
            "shape",
            b"shape",
            "width",
            b"width",
        ],
    ) -> None: ...

@final
class EltwiseParameter(Message):
    DESCRIPTOR: Descriptor
    class _EltwiseOp(EnumTypeWrapper):
        PROD: int
        SUM: int
        MAX: int

    EltwiseOp: ClassVar[_EltwiseOp]
    PROD: ClassVar[int]
    SUM: ClassVar[int]
    MAX: ClassVar[int]
    OPERATION_FIELD_NUMBER: ClassVar[int]
    COEFF_FIELD_NUMBER: ClassVar[int]
    STABLE_PROD_GRAD_FIELD_NUMBER: ClassVar[int]
    operation: int
    @property
    def coeff(self) -> RepeatedScalarFieldContainer[float]: ...
    stable_prod_grad: bool
    def __init__(
        self, *, operation: int | None = ..., coeff: Iterable[float] | None = ..., stable_prod_grad: bool | None = ...
    ) -> None: ...
    def HasField(
        self, field_name: Literal["operation", b"operation", "stable_prod_grad", b"stable_prod_grad"]
    ) -> bool: ...
    def ClearField(
        self, field_name: Literal["coeff", b"coeff", "operation", b"operation", "stable_prod_grad", b"stable_prod_grad"]
    ) -> None: ...

@final
class ELUParameter(Message):
    DESCRIPTOR: Descriptor
    ALPHA_FIELD_NUMBER: ClassVar[int]
    alpha: float
    def __init__(self, *, alpha: float | None = ...) -> None: ...
    def HasField(self, field_name: Literal["alpha", b"alpha"]) -> bool: ...
    def ClearField(self, field_name: Literal["alpha", b"alpha"]) -> None: ...

@final
class EmbedParameter(Message):
    DESCRIPTOR: Descriptor
    NUM_OUTPUT_FIELD_NUMBER: ClassVar[int]
    INPUT_DIM_FIELD_NUMBER: ClassVar[int]
    BIAS_TERM_FIELD_NUMBER: ClassVar[int]
    WEIGHT_FILLER_FIELD_NUMBER: ClassVar[int]
    BIAS_FILLER_FIELD_NUMBER: ClassVar[int]
    num_output: int
    input_dim: int
    bias_term: bool
    @property
    def weight_filler(self) -> FillerParameter: ...
    @property
    def bias_filler(self) -> FillerParameter: ...
    def __init__(
        self,
        *,
        num_output: int | None = ...,
        input_dim: int | None = ...,
        bias_term: bool | None = ...,
        weight_filler: FillerParameter | None = ...,
        bias_filler: FillerParameter | None = ...,
    ) -> None: ...
    def HasField(
        self,
        field_name: Literal[
            "bias_filler",
            b"bias_filler",
            "bias_term",
            b"bias_term",
            "input_dim",
            b"input_dim",
            "num_output",
            b"num_output",
            "weight_filler",
            b"weight_filler",
        ],
    ) -> bool: ...
    def ClearField(
        self,
        field_name: Literal[
            "bias_filler",
            b"bias_filler",
            "bias_term",
            b"bias_term",
            "input_dim",
            b"input_dim",
            "num_output",
            b"num_output",
            "weight_filler",
            b"weight_filler",
        ],
    ) -> None: ...

@final
class ExpParameter(Message):
    DESCRIPTOR: Descriptor
    BASE_FIELD_NUMBER: ClassVar[int]
    SCALE_FIELD_NUMBER: ClassVar[int]
    SHIFT_FIELD_NUMBER: ClassVar[int]
    base: float
    scale: float
    shift: float
    def __init__(self, *, base: float | None = ..., scale: float | None = ..., shift: float | None = ...) -> None: ...
    def HasField(self, field_name: Literal["base", b"base", "scale", b"scale", "shift", b"shift"]) -> bool: ...
    def ClearField(self, field_name: Literal["base", b"base", "scale", b"scale", "shift", b"shift"]) -> None: ...

@final
class FlattenParameter(Message):
    DESCRIPTOR: Descriptor
    AXIS_FIELD_NUMBER: ClassVar[int]
    END_AXIS_FIELD_NUMBER: ClassVar[int]
    axis: int
    end_axis: int
    def __init__(self, *, axis: int | None = ..., end_axis: int | None = ...) -> None: ...
    def HasField(self, field_name: Literal["axis", b"axis", "end_axis", b"end_axis"]) -> bool: ...
    def ClearField(self, field_name: Literal["axis", b"axis", "end_axis", b"end_axis"]) -> None: ...

@final
class HDF5DataParameter(Message):
    DESCRIPTOR: Descriptor
    SOURCE_FIELD_NUMBER: ClassVar[int]
    BATCH_SIZE_FIELD_NUMBER: ClassVar[int]
    SHUFFLE_FIELD_NUMBER: ClassVar[int]
    source: str
    batch_size: int
    shuffle: bool
    def __init__(
        self, *, source: str | None = ..., batch_size: int | None = ..., shuffle: bool | None = ...
    ) -> None: ...
    def HasField(
        self, field_name: Literal["batch_size", b"batch_size", "shuffle", b"shuffle", "source", b"source"]
    ) -> bool: ...
    def ClearField(
        self, field_name: Literal["batch_size", b"batch_size", "shuffle", b"shuffle", "source", b"source"]
    ) -> None: ...

@final
class HDF5OutputParameter(Message):
    DESCRIPTOR: Descriptor
    FILE_NAME_FIELD_NUMBER: ClassVar[int]
    file_name: str
    def __init__(self, *, file_name: str | None = ...) -> None: ...
    def HasField(self, field_name: Literal["file_name", b"file_name"]) -> bool: ...
    def ClearField(self, field_name: Literal["file_name", b"file_name"]) -> None: ...

@final
class HingeLossParameter(Message):
    DESCRIPTOR: Descriptor
    class _Norm(EnumTypeWrapper):
        L1: int
        L2: int

    Norm: ClassVar[_Norm]
    L1: ClassVar[int]
    L2: ClassVar[int]
    NORM_FIELD_NUMBER: ClassVar[int]
    norm: int
    def __init__(self, *, norm: int | None = ...) -> None: ...
    def HasField(self, field_name: Literal["norm", b"norm"]) -> bool: ...
    def ClearField(self, field_name: Literal["norm", b"norm"]) -> None: ...

@final
class ImageDataParameter(Message):
    DESCRIPTOR: Descriptor
    class _LabelType(EnumTypeWrapper):
        NONE: int
        IMAGE: int
        PIXEL: int

    LabelType: ClassVar[_LabelType]
    NONE: ClassVar[int]
    IMAGE: ClassVar[int]
    PIXEL: ClassVar[int]
    SOURCE_FIELD_NUMBER: ClassVar[int]
    BATCH_SIZE_FIELD_NUMBER: ClassVar[int]
    RAND_SKIP_FIELD_NUMBER: ClassVar[int]
    SHUFFLE_FIELD_NUMBER: ClassVar[int]
    NEW_HEIGHT_FIELD_NUMBER: ClassVar[int]
    NEW_WIDTH_FIELD_NUMBER: ClassVar[int]
    IS_COLOR_FIELD_NUMBER: ClassVar[int]
    SCALE_FIELD_NUMBER: ClassVar[int]
    MEAN_FILE_FIELD_NUMBER: ClassVar[int]
    CROP_SIZE_FIELD_NUMBER: ClassVar[int]
    MIRROR_FIELD_NUMBER: ClassVar[int]
    ROOT_FOLDER_FIELD_NUMBER: ClassVar[int]
    IGNORE_LABEL_FIELD_NUMBER: ClassVar[int]
    LABEL_TYPE_FIELD_NUMBER: ClassVar[int]
    HAS_LABEL_FIELD_NUMBER: ClassVar[int]
    MAX_LABELS_FIELD_NUMBER: ClassVar[int]
    TRANSFORM_PARAM_FIELD_NUMBER: ClassVar[int]
    source: str
    batch_size: int
    rand_skip: int
    shuffle: bool
    new_height: int
    new_width: int
    is_color: bool
    scale: float
    mean_file: str
    crop_size: int
    mirror: bool
    root_folder: str
    ignore_label: int
    label_type: int
    has_label: bool
    max_labels: int
    @property
    def transform_param(self) -> TransformationParameter: ...
    def __init__(
        self,
        *,
        source: str | None = ...,
        batch_size: int | None = ...,
        rand_skip: int | None = ...,
        shuffle: bool | None = ...,
        new_height: int | None = ...,
        new_width: int | None = ...,
        is_color: bool | None = ...,
        scale: float | None = ...,
        mean_file: str | None = ...,
        crop_size: int | None = ...,
        mirror: bool | None = ...,
        root_folder: str | None = ...,
        ignore_label: int | None = ...,
        label_type: int | None = ...,
        has_label: bool | None = ...,
        max_labels: int | None = ...,
        transform_param: TransformationParameter | None = ...,
    ) -> None: ...
    def HasField(
        self,
        field_name: Literal[
            "batch_size",
            b"batch_size",
            "crop_size",
            b"crop_size",
            "has_label",
            b"has_label",
            "ignore_label",
            b"ignore_label",
            "is_color",
            b"is_color",
            "label_type",
            b"label_type",
            "max_labels",
            b"max_labels",
            "mean_file",
            b"mean_file",
            "mirror",
            b"mirror",
            "new_height",
            b"new_height",
            "new_width",
            b"new_width",
            "rand_skip",
            b"rand_skip",
            "root_folder",
            b"root_folder",
            "scale",
            b"scale",
            "shuffle",
            b"shuffle",
            "source",
            b"source",
            "transform_param",
            b"transform_param",
        ],
    ) -> bool: ...
    def ClearField(
        self,
        field_name: Literal[
            "batch_size",
            b"batch_size",
            "crop_size",
            b"crop_size",
            "has_label",
            b"has_label",
            "ignore_label",
            b"ignore_label",
            "is_color",
            b"is_color",
            "label_type",
            b"label_type",
            "max_labels",
            b"max_labels",
            "mean_file",
            b"mean_file",
            "mirror",
            b"mirror",
            "new_height",
            b"new_height",
            "new_width",
            b"new_width",
            "rand_skip",
            b"rand_skip",
            "root_folder",
            b"root_folder",
            "scale",
            b"scale",
            "shuffle",
            b"shuffle",
            "source",
            b"source",
            "transform_param",
            b"transform_param",
        ],
    ) -> None: ...

@final
class InfogainLossParameter(Message):
    DESCRIPTOR: Descriptor
    SOURCE_FIELD_NUMBER: ClassVar[int]
    AXIS_FIELD_NUMBER: ClassVar[int]
    source: str
    axis: int
    def __init__(self, *, source: str | None = ..., axis: int | None = ...) -> None: ...
    def HasField(self, field_name: Literal["axis", b"axis", "source", b"source"]) -> bool: ...
    def ClearField(self, field_name: Literal["axis", b"axis", "source", b"source"]) -> None: ...

@final
class InnerProductParameter(Message):
    DESCRIPTOR: Descriptor
    NUM_OUTPUT_FIELD_NUMBER: ClassVar[int]
    BIAS_TERM_FIELD_NUMBER: ClassVar[int]
    WEIGHT_FILLER_FIELD_NUMBER: ClassVar[int]
    BIAS_FILLER_FIELD_NUMBER: ClassVar[int]
    AXIS_FIELD_NUMBER: ClassVar[int]
    TRANSPOSE_FIELD_NUMBER: ClassVar[int]
    num_output: int
    bias_term: bool
    @property
    def weight_filler(self) -> FillerParameter: ...
    @property
    def bias_filler(self) -> FillerParameter: ...
    axis: int
    transpose: bool
    def __init__(
        self,
        *,
        num_output: int | None = ...,
        bias_term: bool | None = ...,
        weight_filler: FillerParameter | None = ...,
        bias_filler: FillerParameter | None = ...,
        axis: int | None = ...,
        transpose: bool | None = ...,
    ) -> None: ...
    def HasField(
        self,
        field_name: Literal[
            "axis",
            b"axis",
            "bias_filler",
            b"bias_filler",
            "bias_term",
            b"bias_term",
            "num_output",
            b"num_output",
            "transpose",
            b"transpose",
            "weight_filler",
            b"weight_filler",
        ],
    ) -> bool: ...
    def ClearField(
        self,
        field_name: Literal[
            "axis",
            b"axis",
            "bias_filler",
            b"bias_filler",
            "bias_term",
            b"bias_term",
            "num_output",
            b"num_output",
            "transpose",
            b"transpose",
            "weight_filler",
            b"weight_filler",
        ],
    ) -> None: ...

@final
class InterpParameter(Message):
    DESCRIPTOR: Descriptor
    HEIGHT_FIELD_NUMBER: ClassVar[int]
    WIDTH_FIELD_NUMBER: ClassVar[int]
    ZOOM_FACTOR_FIELD_NUMBER: ClassVar[int]
    SHRINK_FACTOR_FIELD_NUMBER: ClassVar[int]
    PAD_BEG_FIELD_NUMBER: ClassVar[int]
    PAD_END_FIELD_NUMBER: ClassVar[int]
    ALIGN_CORNERS_FIELD_NUMBER: ClassVar[int]
    height: int
    width: int
    zoom_factor: int
    shrink_factor: int
    pad_beg: int
    pad_end: int
    align_corners: bool
    def __init__(
        self,
        *,
        height: int | None = ...,
        width: int | None = ...,
        zoom_factor: int | None = ...,
        shrink_factor: int | None = ...,
        pad_beg: int | None = ...,
        pad_end: int | None = ...,
        align_corners: bool | None = ...,
    ) -> None: ...
    def HasField(
        self,
        field_name: Literal[
            "align_corners",
            b"align_corners",
            "height",
            b"height",
            "pad_beg",
            b"pad_beg",
            "pad_end",
            b"pad_end",
            "shrink_factor",
            b"shrink_factor",
            "width",
            b"width",
            "zoom_factor",
            b"zoom_factor",
        ],
    ) -> bool: ...
    def ClearField(
        self,
        field_name: Literal[
            "align_corners",
            b"align_corners",
            "height",
            b"height",
            "pad_beg",
            b"pad_beg",
            "pad_end",
            b"pad_end",
            "shrink_factor",
            b"shrink_factor",
            "width",
            b"width",
            "zoom_factor",
            b"zoom_factor",
        ],
    ) -> None: ...

@final
class InputParameter(Message):
    DESCRIPTOR: Descriptor
    SHAPE_FIELD_NUMBER: ClassVar[int]
    @property
    def shape(self) -> RepeatedCompositeFieldContainer[BlobShape]: ...
    def __init__(self, *, shape: Iterable[BlobShape] | None = ...) -> None: ...
    def ClearField(self, field_name: Literal["shape", b"shape"]) -> None: ...

@final
class LogParameter(Message):
    DESCRIPTOR: Descriptor
    BASE_FIELD_NUMBER: ClassVar[int]
    SCALE_FIELD_NUMBER: ClassVar[int]
    SHIFT_FIELD_NUMBER: ClassVar[int]
    base: float
    scale: float
    shift: float
    def __init__(self, *, base: float | None = ..., scale: float | None = ..., shift: float | None = ...) -> None: ...
    def HasField(self, field_name: Literal["base", b"base", "scale", b"scale", "shift", b"shift"]) -> bool: ...
    def ClearField(self, field_name: Literal["base", b"base", "scale", b"scale", "shift", b"shift"]) -> None: ...

@final
class LRNParameter(Message):
    DESCRIPTOR: Descriptor
    class _NormRegion(EnumTypeWrapper):
        ACROSS_CHANNELS: int
        WITHIN_CHANNEL: int

    NormRegion: ClassVar[_NormRegion]
    ACROSS_CHANNELS: ClassVar[int]
    WITHIN_CHANNEL: ClassVar[int]
    class _Engine(EnumTypeWrapper):
        DEFAULT: int
        CAFFE: int
        CUDNN: int

    Engine: ClassVar[_Engine]
    DEFAULT: ClassVar[int]
    CAFFE: ClassVar[int]
    CUDNN: ClassVar[int]
    LOCAL_SIZE_FIELD_NUMBER: ClassVar[int]
    ALPHA_FIELD_NUMBER: ClassVar[int]
    BETA_FIELD_NUMBER: ClassVar[int]
    NORM_REGION_FIELD_NUMBER: ClassVar[int]
    K_FIELD_NUMBER: ClassVar[int]
    ENGINE_FIELD_NUMBER: ClassVar[int]
    local_size: int
    alpha: float
    beta: float
    norm_region: int
    k: float
    engine: int
    def __init__(
        self,
        *,
        local_size: int | None = ...,
        alpha: float | None = ...,
        beta: float | None = ...,
        norm_region: int | None = ...,
        k: float | None = ...,
        engine: int | None = ...,
    ) -> None: ...
    def HasField(
        self,
        field_name: Literal[
            "alpha",
            b"alpha",
            "beta",
            b"beta",
            "engine",
            b"engine",
            "k",
            b"k",
            "local_size",
            b"local_size",
            "norm_region",
            b"norm_region",
        ],
    ) -> bool: ...
    def ClearField(
        self,
        field_name: Literal[
            "alpha",
            b"alpha",
            "beta",
            b"beta",
            "engine",
            b"engine",
            "k",
            b"k",
            "local_size",
            b"local_size",
            "norm_region",
            b"norm_region",
        ],
    ) -> None: ...

@final
class MatReadParameter(Message):
    DESCRIPTOR: Descriptor
    PREFIX_FIELD_NUMBER: ClassVar[int]
    SOURCE_FIELD_NUMBER: ClassVar[int]
    STRIP_FIELD_NUMBER: ClassVar[int]
    BATCH_SIZE_FIELD_NUMBER: ClassVar[int]
    prefix: str
    source: str
    strip: int
    batch_size: int
    def __init__(
        self,
        *,
        prefix: str | None = ...,
        source: str | None = ...,
        strip: int | None = ...,
        batch_size: int | None = ...,
    ) -> None: ...
    def HasField(
        self,
        field_name: Literal["batch_size", b"batch_size", "prefix", b"prefix", "source", b"source", "strip", b"strip"],
    ) -> bool: ...
    def ClearField(
        self,
        field_name: Literal["batch_size", b"batch_size", "prefix", b"prefix", "source", b"source", "strip", b"strip"],
    ) -> None: ...

@final
class MatWriteParameter(Message):
    DESCRIPTOR: Descriptor
    PREFIX_FIELD_NUMBER: ClassVar[int]
    SOURCE_FIELD_NUMBER: ClassVar[int]
    STRIP_FIELD_NUMBER: ClassVar[int]
    PERIOD_FIELD_NUMBER: ClassVar[int]
    prefix: str
    source: str
    strip: int
    period: int
    def __init__(
        self, *, prefix: str | None = ..., source: str | None = ..., strip: int | None = ..., period: int | None = ...
    ) -> None: ...
    def HasField(
        self, field_name: Literal["period", b"period", "prefix", b"prefix", "source", b"source", "strip", b"strip"]
    ) -> bool: ...
    def ClearField(
        self, field_name: Literal["period", b"period", "prefix", b"prefix", "source", b"source", "strip", b"strip"]
    ) -> None: ...

@final
class MemoryDataParameter(Message):
    DESCRIPTOR: Descriptor
    BATCH_SIZE_FIELD_NUMBER: ClassVar[int]
    CHANNELS_FIELD_NUMBER: ClassVar[int]
    HEIGHT_FIELD_NUMBER: ClassVar[int]
    WIDTH_FIELD_NUMBER: ClassVar[int]
    batch_size: int
    channels: int
    height: int
    width: int
    def __init__(
        self,
        *,
        batch_size: int | None = ...,
        channels: int | None = ...,
        height: int | None = ...,
        width: int | None = ...,
    ) -> None: ...
    def HasField(
        self,
        field_name: Literal[
            "batch_size", b"batch_size", "channels", b"channels", "height", b"height", "width", b"width"
        ],
    ) -> bool: ...
    def ClearField(
        self,
        field_name: Literal[
            "batch_size", b"batch_size", "channels", b"channels", "height", b"height", "width", b"width"
        ],
    ) -> None: ...

@final
class MVNParameter(Message):
    DESCRIPTOR: Descriptor
    NORMALIZE_VARIANCE_FIELD_NUMBER: ClassVar[int]
    ACROSS_CHANNELS_FIELD_NUMBER: ClassVar[int]
    EPS_FIELD_NUMBER: ClassVar[int]
    normalize_variance: bool
    across_channels: bool
    eps: float
    def __init__(
        self, *, normalize_variance: bool | None = ..., across_channels: bool | None = ..., eps: float | None = ...
    ) -> None: ...
    def HasField(
        self,
        field_name: Literal[
            "across_channels", b"across_channels", "eps", b"eps", "normalize_variance", b"normalize_variance"
        ],
    ) -> bool: ...
    def ClearField(
        self,
        field_name: Literal[
            "across_channels", b"across_channels", "eps", b"eps", "normalize_variance", b"normalize_variance"
        ],
    ) -> None: ...

@final
class ParameterParameter(Message):
    DESCRIPTOR: Descriptor
    SHAPE_FIELD_NUMBER: ClassVar[int]
    @property
    def shape(self) -> BlobShape: ...
    def __init__(self, *, shape: BlobShape | None = ...) -> None: ...
    def HasField(self, field_name: Literal["shape", b"shape"]) -> bool: ...
    def ClearField(self, field_name: Literal["shape", b"shape"]) -> None: ...

@final
class PoolingParameter(Message):
    DESCRIPTOR: Descriptor
    class _PoolMethod(EnumTypeWrapper):
        MAX: int
        AVE: int
        STOCHASTIC: int

    PoolMethod: ClassVar[_PoolMethod]
    MAX: ClassVar[int]
    AVE: ClassVar[int]
    STOCHASTIC: ClassVar[int]
    class _Engine(EnumTypeWrapper):
        DEFAULT: int
        CAFFE: int
        CUDNN: int

    Engine: ClassVar[_Engine]
    DEFAULT: ClassVar[int]
    CAFFE: ClassVar[int]
    CUDNN: ClassVar[int]
    class _RoundMode(EnumTypeWrapper):
        CEIL: int
        FLOOR: int

    RoundMode: ClassVar[_RoundMode]
    CEIL: ClassVar[int]
    FLOOR: ClassVar[int]
    POOL_FIELD_NUMBER: ClassVar[int]
    PAD_FIELD_NUMBER: ClassVar[int]
    PAD_H_FIELD_NUMBER: ClassVar[int]
    PAD_W_FIELD_NUMBER: ClassVar[int]
    KERNEL_SIZE_FIELD_NUMBER: ClassVar[int]
    KERNEL_H_FIELD_NUMBER: ClassVar[int]
    KERNEL_W_FIELD_NUMBER: ClassVar[int]
    STRIDE_FIELD_NUMBER: ClassVar[int]
    STRIDE_H_FIELD_NUMBER: ClassVar[int]
    STRIDE_W_FIELD_NUMBER: ClassVar[int]
    ENGINE_FIELD_NUMBER: ClassVar[int]
    GLOBAL_POOLING_FIELD_NUMBER: ClassVar[int]
    ROUND_MODE_FIELD_NUMBER: ClassVar[int]
    CEIL_MODE_FIELD_NUMBER: ClassVar[int]
    pool: int
    pad: int
    pad_h: int
    pad_w: int
    kernel_size: int
    kernel_h: int
    kernel_w: int
    stride: int
    stride_h: int
    stride_w: int
    engine: int
    global_pooling: bool
    round_mode: int
    ceil_mode: bool
    def __init__(
        self,
        *,
        pool: int | None = ...,
        pad: int | None = ...,
        pad_h: int | None = ...,
        pad_w: int | None = ...,
        kernel_size: int | None = ...,
        kernel_h: int | None = ...,
        kernel_w: int | None = ...,
        stride: int | None = ...,
        stride_h: int | None = ...,
        stride_w: int | None = ...,
        engine: int | None = ...,
        global_pooling: bool | None = ...,
        round_mode: int | None = ...,
        ceil_mode: bool | None = ...,
    ) -> None: ...
    def HasField(
        self,
        field_name: Literal[
            "ceil_mode",
            b"ceil_mode",
            "engine",
            b"engine",
            "global_pooling",
            b"global_pooling",
            "kernel_h",
            b"kernel_h",
            "kernel_size",
            b"kernel_size",
            "kernel_w",
            b"kernel_w",
            "pad",
            b"pad",
            "pad_h",
            b"pad_h",
            "pad_w",
            b"pad_w",
            "pool",
            b"pool",
            "round_mode",
            b"round_mode",
            "stride",
            b"stride",
            "stride_h",
            b"stride_h",
            "stride_w",
            b"stride_w",
        ],
    ) -> bool: ...
    def ClearField(
        self,
        field_name: Literal[
            "ceil_mode",
            b"ceil_mode",
            "engine",
            b"engine",
            "global_pooling",
            b"global_pooling",
            "kernel_h",
            b"kernel_h",
            "kernel_size",
            b"kernel_size",
            "kernel_w",
            b"kernel_w",
            "pad",
            b"pad",
            "pad_h",
            b"pad_h",
            "pad_w",
            b"pad_w",
            "pool",
            b"pool",
            "round_mode",
            b"round_mode",
            "stride",
            b"stride",
            "stride_h",
            b"stride_h",
            "stride_w",
            b"stride_w",
        ],
    ) -> None: ...

@final
class PowerParameter(Message):
    DESCRIPTOR: Descriptor
    POWER_FIELD_NUMBER: ClassVar[int]
    SCALE_FIELD_NUMBER: ClassVar[int]
    SHIFT_FIELD_NUMBER: ClassVar[int]
    power: float
    scale: float
    shift: float
    def __init__(self, *, power: float | None = ..., scale: float | None = ..., shift: float | None = ...) -> None: ...
    def HasField(self, field_name: Literal["power", b"power", "scale", b"scale", "shift", b"shift"]) -> bool: ...
    def ClearField(self, field_name: Literal["power", b"power", "scale", b"scale", "shift", b"shift"]) -> None: ...

@final
class PythonParameter(Message):
    DESCRIPTOR: Descriptor
    MODULE_FIELD_NUMBER: ClassVar[int]
    LAYER_FIELD_NUMBER: ClassVar[int]
    PARAM_STR_FIELD_NUMBER: ClassVar[int]
    SHARE_IN_PARALLEL_FIELD_NUMBER: ClassVar[int]
    module: str
    layer: str
    param_str: str
    share_in_parallel: bool
    def __init__(
        self,
        *,
        module: str | None = ...,
        layer: str | None = ...,
        param_str: str | None = ...,
        share_in_parallel: bool | None = ...,
    ) -> None: ...
    def HasField(
        self,
        field_name: Literal[
            "layer", b"layer", "module", b"module", "param_str", b"param_str", "share_in_parallel", b"share_in_parallel"
        ],
    ) -> bool: ...
    def ClearField(
        self,
        field_name: Literal[
            "layer", b"layer", "module", b"module", "param_str", b"param_str", "share_in_parallel", b"share_in_parallel"
        ],
    ) -> None: ...

@final
class RecurrentParameter(Message):
    DESCRIPTOR: Descriptor
    NUM_OUTPUT_FIELD_NUMBER: ClassVar[int]
    WEIGHT_FILLER_FIELD_NUMBER: ClassVar[int]
    BIAS_FILLER_FIELD_NUMBER: ClassVar[int]
    DEBUG_INFO_FIELD_NUMBER: ClassVar[int]
    EXPOSE_HIDDEN_FIELD_NUMBER: ClassVar[int]
    num_output: int
    @property
    def weight_filler(self) -> FillerParameter: ...
    @property
    def bias_filler(self) -> FillerParameter: ...
    debug_info: bool
    expose_hidden: bool
    def __init__(
        self,
        *,
        num_output: int | None = ...,
        weight_filler: FillerParameter | None = ...,
        bias_filler: FillerParameter | None = ...,
        debug_info: bool | None = ...,
        expose_hidden: bool | None = ...,
    ) -> None: ...
    def HasField(
        self,
        field_name: Literal[
            "bias_filler",
            b"bias_filler",
            "debug_info",
            b"debug_info",
            "expose_hidden",
            b"expose_hidden",
            "num_output",
            b"num_output",
            "weight_filler",
            b"weight_filler",
        ],
    ) -> bool: ...
    def ClearField(
        self,
        field_name: Literal[
            "bias_filler",
            b"bias_filler",
            "debug_info",
            b"debug_info",
            "expose_hidden",
            b"expose_hidden",
            "num_output",
            b"num_output",
            "weight_filler",
            b"weight_filler",
        ],
    ) -> None: ...

@final
class ReductionParameter(Message):
    DESCRIPTOR: Descriptor
    class _ReductionOp(EnumTypeWrapper):
        SUM: int
        ASUM: int
        SUMSQ: int
        MEAN: int

    ReductionOp: ClassVar[_ReductionOp]
    SUM: ClassVar[int]
    ASUM: ClassVar[int]
    SUMSQ: ClassVar[int]
    MEAN: ClassVar[int]
    OPERATION_FIELD_NUMBER: ClassVar[int]
    AXIS_FIELD_NUMBER: ClassVar[int]
    COEFF_FIELD_NUMBER: ClassVar[int]
    operation: int
    axis: int
    coeff: float
    def __init__(self, *, operation: int | None = ..., axis: int | None = ..., coeff: float | None = ...) -> None: ...
    def HasField(self, field_name: Literal["axis", b"axis", "coeff", b"coeff", "operation", b"operation"]) -> bool: ...
    def ClearField(
        self, field_name: Literal["axis", b"axis", "coeff", b"coeff", "operation", b"operation"]
    ) -> None: ...

@final
class ReLUParameter(Message):
    DESCRIPTOR: Descriptor
    class _Engine(EnumTypeWrapper):
        DEFAULT: int
        CAFFE: int
        CUDNN: int

    Engine: ClassVar[_Engine]
    DEFAULT: ClassVar[int]
    CAFFE: ClassVar[int]
    CUDNN: ClassVar[int]
    NEGATIVE_SLOPE_FIELD_NUMBER: ClassVar[int]
    ENGINE_FIELD_NUMBER: ClassVar[int]
    negative_slope: float
    engine: int
    def __init__(self, *, negative_slope: float | None = ..., engine: int | None = ...) -> None: ...
    def HasField(self, field_name: Literal["engine", b"engine", "negative_slope", b"negative_slope"]) -> bool: ...
    def ClearField(self, field_name: Literal["engine", b"engine", "negative_slope", b"negative_slope"]) -> None: ...

@final
class ReshapeParameter(Message):
    DESCRIPTOR: Descriptor
    SHAPE_FIELD_NUMBER: ClassVar[int]
    AXIS_FIELD_NUMBER: ClassVar[int]
    NUM_AXES_FIELD_NUMBER: ClassVar[int]
    @property
    def shape(self) -> BlobShape: ...
    axis: int
    num_axes: int
    def __init__(
        self, *, shape: BlobShape | None = ..., axis: int | None = ..., num_axes: int | None = ...
    ) -> None: ...
    def HasField(self, field_name: Literal["axis", b"axis", "num_axes", b"num_axes", "shape", b"shape"]) -> bool: ...
    def ClearField(self, field_name: Literal["axis", b"axis", "num_axes", b"num_axes", "shape", b"shape"]) -> None: ...

@final
class ScaleParameter(Message):
    DESCRIPTOR: Descriptor
    AXIS_FIELD_NUMBER: ClassVar[int]
    NUM_AXES_FIELD_NUMBER: ClassVar[int]
    FILLER_FIELD_NUMBER: ClassVar[int]
    BIAS_TERM_FIELD_NUMBER: ClassVar[int]
    BIAS_FILLER_FIELD_NUMBER: ClassVar[int]
    axis: int
    num_axes: int
    @property
    def filler(self) -> FillerParameter: ...
    bias_term: bool
    @property
    def bias_filler(self) -> FillerParameter: ...
    def __init__(
        self,
        *,
        axis: int | None = ...,
        num_axes: int | None = ...,
        filler: FillerParameter | None = ...,
        bias_term: bool | None = ...,
        bias_filler: FillerParameter | None = ...,
    ) -> None: ...
    def HasField(
        self,
        field_name: Literal[
            "axis",
            b"axis",
            "bias_filler",
            b"bias_filler",
            "bias_term",
            b"bias_term",
            "filler",
            b"filler",
            "num_axes",
            b"num_axes",
        ],
    ) -> bool: ...
    def ClearField(
        self,
        field_name: Literal[
            "axis",
            b"axis",
            "bias_filler",
            b"bias_filler",
            "bias_term",
            b"bias_term",
            "filler",
            b"filler",
            "num_axes",
            b"num_axes",
        ],
    ) -> None: ...

@final
class SegAccuracyParameter(Message):
    DESCRIPTOR: Descriptor
    class _AccuracyMetric(EnumTypeWrapper):
        PixelAccuracy: int
        ClassAccuracy: int
        PixelIOU: int

    AccuracyMetric: ClassVar[_AccuracyMetric]
    PixelAccuracy: ClassVar[int]
    ClassAccuracy: ClassVar[int]
    PixelIOU: ClassVar[int]
    METRIC_FIELD_NUMBER: ClassVar[int]
    IGNORE_LABEL_FIELD_NUMBER: ClassVar[int]
    RESET_FIELD_NUMBER: ClassVar[int]
    metric: int
    @property
    def ignore_label(self) -> RepeatedScalarFieldContainer[int]: ...
    reset: bool
    def __init__(
        self, *, metric: int | None = ..., ignore_label: Iterable[int] | None = ..., reset: bool | None = ...
    ) -> None: ...
    def HasField(self, field_name: Literal["metric", b"metric", "reset", b"reset"]) -> bool: ...
    def ClearField(
        self, field_name: Literal["ignore_label", b"ignore_label", "metric", b"metric", "reset", b"reset"]
    ) -> None: ...

@final
class SigmoidParameter(Message):
    DESCRIPTOR: Descriptor
    class _Engine(EnumTypeWrapper):
        DEFAULT: int
        CAFFE: int
        CUDNN: int

    Engine: ClassVar[_Engine]
    DEFAULT: ClassVar[int]
    CAFFE: ClassVar[int]
    CUDNN: ClassVar[int]
    ENGINE_FIELD_NUMBER: ClassVar[int]
    engine: int
    def __init__(self, *, engine: int | None = ...) -> None: ...
    def HasField(self, field_name: Literal["engine", b"engine"]) -> bool: ...
    def ClearField(self, field_name: Literal["engine", b"engine"]) -> None: ...

@final
class SliceParameter(Message):
    DESCRIPTOR: Descriptor
    AXIS_FIELD_NUMBER: ClassVar[int]
    SLICE_POINT_FIELD_NUMBER: ClassVar[int]
    SLICE_DIM_FIELD_NUMBER: ClassVar[int]
    axis: int
    @property
    def slice_point(self) -> RepeatedScalarFieldContainer[int]: ...
    slice_dim: int
    def __init__(
        self, *, axis: int | None = ..., slice_point: Iterable[int] | None = ..., slice_dim: int | None = ...
    ) -> None: ...
    def HasField(self, field_name: Literal["axis", b"axis", "slice_dim", b"slice_dim"]) -> bool: ...
    def ClearField(
        self, field_name: Literal["axis", b"axis", "slice_dim", b"slice_dim", "slice_point", b"slice_point"]
    ) -> None: ...

@final
class SoftmaxParameter(Message):
    DESCRIPTOR: Descriptor
    class _Engine(EnumTypeWrapper):
        DEFAULT: int
        CAFFE: int
        CUDNN: int

    Engine: ClassVar[_Engine]
    DEFAULT: ClassVar[int]
    CAFFE: ClassVar[int]
    CUDNN: ClassVar[int]
    ENGINE_FIELD_NUMBER: ClassVar[int]
    AXIS_FIELD_NUMBER: ClassVar[int]
    engine: int
    axis: int
    def __init__(self, *, engine: int | None = ..., axis: int | None = ...) -> None: ...
    def HasField(self, field_name: Literal["axis", b"axis", "engine", b"engine"]) -> bool: ...
    def ClearField(self, field_name: Literal["axis", b"axis", "engine", b"engine"]) -> None: ...

@final
class TanHParameter(Message):
    DESCRIPTOR: Descriptor
    class _Engine(EnumTypeWrapper):
        DEFAULT: int
        CAFFE: int
        CUDNN: int

    Engine: ClassVar[_Engine]
    DEFAULT: ClassVar[int]
    CAFFE: ClassVar[int]
    CUDNN: ClassVar[int]
    ENGINE_FIELD_NUMBER: ClassVar[int]
    engine: int
    def __init__(self, *, engine: int | None = ...) -> None: ...
    def HasField(self, field_name: Literal["engine", b"engine"]) -> bool: ...
    def ClearField(self, field_name: Literal["engine", b"engine"]) -> None: ...

@final
class TileParameter(Message):
    DESCRIPTOR: Descriptor
    AXIS_FIELD_NUMBER: ClassVar[int]
    TILES_FIELD_NUMBER: ClassVar[int]
    axis: int
    tiles: int
    def __init__(self, *, axis: int | None = ..., tiles: int | None = ...) -> None: ...
    def HasField(self, field_name: Literal["axis", b"axis", "tiles", b"tiles"]) -> bool: ...
    def ClearField(self, field_name: Literal["axis", b"axis", "tiles", b"tiles"]) -> None: ...

@final
class ThresholdParameter(Message):
    DESCRIPTOR: Descriptor
    THRESHOLD_FIELD_NUMBER: ClassVar[int]
    threshold: float
    def __init__(self, *, threshold: float | None = ...) -> None: ...
    def HasField(self, field_name: Literal["threshold", b"threshold"]) -> bool: ...
    def ClearField(self, field_name: Literal["threshold", b"threshold"]) -> None: ...

@final
class UniqueLabelParameter(Message):
    DESCRIPTOR: Descriptor
    MAX_LABELS_FIELD_NUMBER: ClassVar[int]
    IGNORE_LABEL_FIELD_NUMBER: ClassVar[int]
    FORCE_LABEL_FIELD_NUMBER: ClassVar[int]
    max_labels: int
    @property
    def ignore_label(self) -> RepeatedScalarFieldContainer[int]: ...
    @property
    def force_label(self) -> RepeatedScalarFieldContainer[float]: ...
    def __init__(
        self,
        *,
        max_labels: int | None = ...,
        ignore_label: Iterable[int] | None = ...,
        force_label: Iterable[float] | None = ...,
    ) -> None: ...
    def HasField(self, field_name: Literal["max_labels", b"max_labels"]) -> bool: ...
    def ClearField(
        self,
        field_name: Literal[
            "force_label", b"force_label", "ignore_label", b"ignore_label", "max_labels", b"max_labels"
        ],
    ) -> None: ...

@final
class WindowDataParameter(Message):
    DESCRIPTOR: Descriptor
    SOURCE_FIELD_NUMBER: ClassVar[int]
    SCALE_FIELD_NUMBER: ClassVar[int]
    MEAN_FILE_FIELD_NUMBER: ClassVar[int]
    BATCH_SIZE_FIELD_NUMBER: ClassVar[int]
    CROP_SIZE_FIELD_NUMBER: ClassVar[int]
    MIRROR_FIELD_NUMBER: ClassVar[int]
    FG_THRESHOLD_FIELD_NUMBER: ClassVar[int]
    BG_THRESHOLD_FIELD_NUMBER: ClassVar[int]
    FG_FRACTION_FIELD_NUMBER: ClassVar[int]
    CONTEXT_PAD_FIELD_NUMBER: ClassVar[int]
    CROP_MODE_FIELD_NUMBER: ClassVar[int]
    CACHE_IMAGES_FIELD_NUMBER: ClassVar[int]
    ROOT_FOLDER_FIELD_NUMBER: ClassVar[int]
    TRANSFORM_PARAM_FIELD_NUMBER: ClassVar[int]
    source: str
    scale: float
    mean_file: str
    batch_size: int
    crop_size: int
    mirror: bool
    fg_threshold: float
    bg_threshold: float
    fg_fraction: float
    context_pad: int
    crop_mode: str
    cache_images: bool
    root_folder: str
    @property
    def transform_param(self) -> TransformationParameter: ...
    def __init__(
        self,
        *,
        source: str | None = ...,
        scale: float | None = ...,
        mean_file: str | None = ...,
        batch_size: int | None = ...,
        crop_size: int | None = ...,
        mirror: bool | None = ...,
        fg_threshold: float | None = ...,
        bg_threshold: float | None = ...,
        fg_fraction: float | None = ...,
        context_pad: int | None = ...,
        crop_mode: str | None = ...,
        cache_images: bool | None = ...,
        root_folder: str | None = ...,
        transform_param: TransformationParameter | None = ...,
    ) -> None: ...
    def HasField(
        self,
        field_name: Literal[
            "batch_size",
            b"batch_size",
            "bg_threshold",
            b"bg_threshold",
            "cache_images",
            b"cache_images",
            "context_pad",
            b"context_pad",
            "crop_mode",
            b"crop_mode",
            "crop_size",
            b"crop_size",
            "fg_fraction",
            b"fg_fraction",
            "fg_threshold",
            b"fg_threshold",
            "mean_file",
            b"mean_file",
            "mirror",
            b"mirror",
            "root_folder",
            b"root_folder",
            "scale",
            b"scale",
            "source",
            b"source",
            "transform_param",
            b"transform_param",
        ],
    ) -> bool: ...
    def ClearField(
        self,
        field_name: Literal[
            "batch_size",
            b"batch_size",
            "bg_threshold",
            b"bg_threshold",
            "cache_images",
            b"cache_images",
            "context_pad",
            b"context_pad",
            "crop_mode",
            b"crop_mode",
            "crop_size",
            b"crop_size",
            "fg_fraction",
            b"fg_fraction",
            "fg_threshold",
            b"fg_threshold",
            "mean_file",
            b"mean_file",
            "mirror",
            b"mirror",
            "root_folder",
            b"root_folder",
            "scale",
            b"scale",
            "source",
            b"source",
            "transform_param",
            b"transform_param",
        ],
    ) -> None: ...

@final
class SPPParameter(Message):
    DESCRIPTOR: Descriptor
    class _PoolMethod(EnumTypeWrapper):
        MAX: int
        AVE: int
        STOCHASTIC: int

    PoolMethod: ClassVar[_PoolMethod]
    MAX: ClassVar[int]
    AVE: ClassVar[int]
    STOCHASTIC: ClassVar[int]
    class _Engine(EnumTypeWrapper):
        DEFAULT: int
        CAFFE: int
        CUDNN: int

    Engine: ClassVar[_Engine]
    DEFAULT: ClassVar[int]
    CAFFE: ClassVar[int]
    CUDNN: ClassVar[int]
    PYRAMID_HEIGHT_FIELD_NUMBER: ClassVar[int]
    POOL_FIELD_NUMBER: ClassVar[int]
    ENGINE_FIELD_NUMBER: ClassVar[int]
    pyramid_height: int
    pool: int
    engine: int
    def __init__(
        self, *, pyramid_height: int | None = ..., pool: int | None = ..., engine: int | None = ...
    ) -> None: ...
    def HasField(
        self, field_name: Literal["engine", b"engine", "pool", b"pool", "pyramid_height", b"pyramid_height"]
    ) -> bool: ...
    def ClearField(
        self, field_name: Literal["engine", b"engine", "pool", b"pool", "pyramid_height", b"pyramid_height"]
    ) -> None: ...

@final
class V0LayerParameter(Message):
    DESCRIPTOR: Descriptor
    class _PoolMethod(EnumTypeWrapper):
        MAX: int
        AVE: int
        STOCHASTIC: int

    PoolMethod: ClassVar[_PoolMethod]
    MAX: ClassVar[int]
    AVE: ClassVar[int]
    STOCHASTIC: ClassVar[int]
    NAME_FIELD_NUMBER: ClassVar[int]
    TYPE_FIELD_NUMBER: ClassVar[int]
    NUM_OUTPUT_FIELD_NUMBER: ClassVar[int]
    BIASTERM_FIELD_NUMBER: ClassVar[int]
    WEIGHT_FILLER_FIELD_NUMBER: ClassVar[int]
    BIAS_FILLER_FIELD_NUMBER: ClassVar[int]
    PAD_FIELD_NUMBER: ClassVar[int]
    KERNELSIZE_FIELD_NUMBER: ClassVar[int]
    GROUP_FIELD_NUMBER: ClassVar[int]
    STRIDE_FIELD_NUMBER: ClassVar[int]
    POOL_FIELD_NUMBER: ClassVar[int]
    DROPOUT_RATIO_FIELD_NUMBER: ClassVar[int]
    LOCAL_SIZE_FIELD_NUMBER: ClassVar[int]
    ALPHA_FIELD_NUMBER: ClassVar[int]
    BETA_FIELD_NUMBER: ClassVar[int]
    K_FIELD_NUMBER: ClassVar[int]
    SOURCE_FIELD_NUMBER: ClassVar[int]
    SCALE_FIELD_NUMBER: ClassVar[int]
    MEANFILE_FIELD_NUMBER: ClassVar[int]
    BATCHSIZE_FIELD_NUMBER: ClassVar[int]
    CROPSIZE_FIELD_NUMBER: ClassVar[int]
    MIRROR_FIELD_NUMBER: ClassVar[int]
    BLOBS_FIELD_NUMBER: ClassVar[int]
    BLOBS_LR_FIELD_NUMBER: ClassVar[int]
    WEIGHT_DECAY_FIELD_NUMBER: ClassVar[int]
    RAND_SKIP_FIELD_NUMBER: ClassVar[int]
    DET_FG_THRESHOLD_FIELD_NUMBER: ClassVar[int]
    DET_BG_THRESHOLD_FIELD_NUMBER: ClassVar[int]
    DET_FG_FRACTION_FIELD_NUMBER: ClassVar[int]
    DET_CONTEXT_PAD_FIELD_NUMBER: ClassVar[int]
    DET_CROP_MODE_FIELD_NUMBER: ClassVar[int]
    NEW_NUM_FIELD_NUMBER: ClassVar[int]
    NEW_CHANNELS_FIELD_NUMBER: ClassVar[int]
    NEW_HEIGHT_FIELD_NUMBER: ClassVar[int]
    NEW_WIDTH_FIELD_NUMBER: ClassVar[int]
    SHUFFLE_IMAGES_FIELD_NUMBER: ClassVar[int]
    CONCAT_DIM_FIELD_NUMBER: ClassVar[int]
    HDF5_OUTPUT_PARAM_FIELD_NUMBER: ClassVar[int]
    name: str
    type: str
    num_output: int
    biasterm: bool
    @property
    def weight_filler(self) -> FillerParameter: ...
    @property
    def bias_filler(self) -> FillerParameter: ...
    pad: int
    kernelsize: int
    group: int
    stride: int
    pool: int
    dropout_ratio: float
    local_size: int
    alpha: float
    beta: float
    k: float
    source: str
    scale: float
    meanfile: str
    batchsize: int
    cropsize: int
    mirror: bool
    @property
    def blobs(self) -> RepeatedCompositeFieldContainer[BlobProto]: ...
    @property
    def blobs_lr(self) -> RepeatedScalarFieldContainer[float]: ...
    @property
    def weight_decay(self) -> RepeatedScalarFieldContainer[float]: ...
    rand_skip: int
    det_fg_threshold: float
    det_bg_threshold: float
    det_fg_fraction: float
    det_context_pad: int
    det_crop_mode: str
    new_num: int
    new_channels: int
    new_height: int
    new_width: int
    shuffle_images: bool
    concat_dim: int
    @property
    def hdf5_output_param(self) -> HDF5OutputParameter: ...
    def __init__(
        self,
        *,
        name: str | None = ...,
        type: str | None = ...,
        num_output: int | None = ...,
        biasterm: bool | None = ...,
        weight_filler: FillerParameter | None = ...,
        bias_filler: FillerParameter | None = ...,
        pad: int | None = ...,
        kernelsize: int | None = ...,
        group: int | None = ...,
        stride: int | None = ...,
        pool: int | None = ...,
        dropout_ratio: float | None = ...,
        local_size: int | None = ...,
        alpha: float | None = ...,
        beta: float | None = ...,
        k: float | None = ...,
        source: str | None = ...,
        scale: float | None = ...,
        meanfile: str | None = ...,
        batchsize: int | None = ...,
        cropsize: int | None = ...,
        mirror: bool | None = ...,
        blobs: Iterable[BlobProto] | None = ...,
        blobs_lr: Iterable[float] | None = ...,
        weight_decay: Iterable[float] | None = ...,
        rand_skip: int | None = ...,
        det_fg_threshold: float | None = ...,
        det_bg_threshold: float | None = ...,
        det_fg_fraction: float | None = ...,
        det_context_pad: int | None = ...,
        det_crop_mode: str | None = ...,
        new_num: int | None = ...,
        new_channels: int | None = ...,
        new_height: int | None = ...,
        new_width: int | None = ...,
        shuffle_images: bool | None = ...,
        concat_dim: int | None = ...,
        hdf5_output_param: HDF5OutputParameter | None = ...,
    ) -> None: ...
    def HasField(
        self,
        field_name: Literal[
            "alpha",
            b"alpha",
            "batchsize",
            b"batchsize",
            "beta",
            b"beta",
            "bias_filler",
            b"bias_filler",
            "biasterm",
            b"biasterm",
            "concat_dim",
            b"concat_dim",
            "cropsize",
            b"cropsize",
            "det_bg_threshold",
            b"det_bg_threshold",
            "det_context_pad",
            b"det_context_pad",
            "det_crop_mode",
            b"det_crop_mode",
            "det_fg_fraction",
            b"det_fg_fraction",
            "det_fg_threshold",
            b"det_fg_threshold",
            "dropout_ratio",
            b"dropout_ratio",
            "group",
            b"group",
            "hdf5_output_param",
            b"hdf5_output_param",
            "k",
            b"k",
            "kernelsize",
            b"kernelsize",
            "local_size",
            b"local_size",
            "meanfile",
            b"meanfile",
            "mirror",
            b"mirror",
            "name",
            b"name",
            "new_channels",
            b"new_channels",
            "new_height",
            b"new_height",
            "new_num",
            b"new_num",
            "new_width",
            b"new_width",
            "num_output",
            b"num_output",
            "pad",
            b"pad",
            "pool",
            b"pool",
            "rand_skip",
            b"rand_skip",
            "scale",
            b"scale",
            "shuffle_images",
            b"shuffle_images",
            "source",
            b"source",
            "stride",
            b"stride",
            "type",
            b"type",
            "weight_filler",
            b"weight_filler",
        ],
    ) -> bool: ...
    def ClearField(
        self,
        field_name: Literal[
            "alpha",
            b"alpha",
            "batchsize",
            b"batchsize",
            "beta",
            b"beta",
            "bias_filler",
            b"bias_filler",
            "biasterm",
            b"biasterm",
            "blobs",
            b"blobs",
            "blobs_lr",
            b"blobs_lr",
            "concat_dim",
            b"concat_dim",
            "cropsize",
            b"cropsize",
            "det_bg_threshold",
            b"det_bg_threshold",
            "det_context_pad",
            b"det_context_pad",
            "det_crop_mode",
            b"det_crop_mode",
            "det_fg_fraction",
            b"det_fg_fraction",
            "det_fg_threshold",
            b"det_fg_threshold",
            "dropout_ratio",
            b"dropout_ratio",
            "group",
            b"group",
            "hdf5_output_param",
            b"hdf5_output_param",
            "k",
            b"k",
            "kernelsize",
            b"kernelsize",
            "local_size",
            b"local_size",
            "meanfile",
            b"meanfile",
            "mirror",
            b"mirror",
            "name",
            b"name",
            "new_channels",
            b"new_channels",
            "new_height",
            b"new_height",
            "new_num",
            b"new_num",
            "new_width",
            b"new_width",
            "num_output",
            b"num_output",
            "pad",
            b"pad",
            "pool",
            b"pool",
            "rand_skip",
            b"rand_skip",
            "scale",
            b"scale",
            "shuffle_images",
            b"shuffle_images",
            "source",
            b"source",
            "stride",
            b"stride",
            "type",
            b"type",
            "weight_decay",
            b"weight_decay",
            "weight_filler",
            b"weight_filler",
        ],
    ) -> None: ...

@final
class PReLUParameter(Message):
    DESCRIPTOR: Descriptor
    FILLER_FIELD_NUMBER: ClassVar[int]
    CHANNEL_SHARED_FIELD_NUMBER: ClassVar[int]
    @property
    def filler(self) -> FillerParameter: ...
    channel_shared: bool
    def __init__(self, *, filler: FillerParameter | None = ..., channel_shared: bool | None = ...) -> None: ...
    def HasField(self, field_name: Literal["channel_shared", b"channel_shared", "filler", b"filler"]) -> bool: ...
    def ClearField(self, field_name: Literal["channel_shared", b"channel_shared", "filler", b"filler"]) -> None: ...

@final
class SwishParameter(Message):
    DESCRIPTOR: Descriptor
    BETA_FIELD_NUMBER: ClassVar[int]
    beta: float
    def __init__(self, *, beta: float | None = ...) -> None: ...
    def HasField(self, field_name: Literal["beta", b"beta"]) -> bool: ...
    def ClearField(self, field_name: Literal["beta", b"beta"]) -> None: ...

@final
class ClipParameter(Message):
    DESCRIPTOR: Descriptor
    MIN_FIELD_NUMBER: ClassVar[int]
    MAX_FIELD_NUMBER: ClassVar[int]
    min: float
    max: float
    def __init__(self, *, min: float | None = ..., max: float | None = ...) -> None: ...
    def HasField(self, field_name: Literal["max", b"max", "min", b"min"]) -> bool: ...
    def ClearField(self, field_name: Literal["max", b"max", "min", b"min"]) -> None: ...

@final
class DistortionParameter(Message):
    DESCRIPTOR: Descriptor
    BRIGHTNESS_PROB_FIELD_NUMBER: ClassVar[int]
    BRIGHTNESS_DELTA_FIELD_NUMBER: ClassVar[int]
    CONTRAST_PROB_FIELD_NUMBER: ClassVar[int]
    CONTRAST_LOWER_FIELD_NUMBER: ClassVar[int]
    CONTRAST_UPPER_FIELD_NUMBER: ClassVar[int]
    HUE_PROB_FIELD_NUMBER: ClassVar[int]
    HUE_DELTA_FIELD_NUMBER: ClassVar[int]
    SATURATION_PROB_FIELD_NUMBER: ClassVar[int]
    SATURATION_LOWER_FIELD_NUMBER: ClassVar[int]
    SATURATION_UPPER_FIELD_NUMBER: ClassVar[int]
    RANDOM_ORDER_PROB_FIELD_NUMBER: ClassVar[int]
    brightness_prob: float
    brightness_delta: float
    contrast_prob: float
    contrast_lower: float
    contrast_upper: float
    hue_prob: float
    hue_delta: float
    saturation_prob: float
    saturation_lower: float
    saturation_upper: float
    random_order_prob: float
    def __init__(
        self,
        *,
        brightness_prob: float | None = ...,
        brightness_delta: float | None = ...,
        contrast_prob: float | None = ...,
        contrast_lower: float | None = ...,
        contrast_upper: float | None = ...,
        hue_prob: float | None = ...,
        hue_delta: float | None = ...,
        saturation_prob: float | None = ...,
        saturation_lower: float | None = ...,
        saturation_upper: float | None = ...,
        random_order_prob: float | None = ...,
    ) -> None: ...
    def HasField(
        self,
        field_name: Literal[
            "brightness_delta",
            b"brightness_delta",
            "brightness_prob",
            b"brightness_prob",
            "contrast_lower",
            b"contrast_lower",
            "contrast_prob",
            b"contrast_prob",
            "contrast_upper",
            b"contrast_upper",
            "hue_delta",
            b"hue_delta",
            "hue_prob",
            b"hue_prob",
            "random_order_prob",
            b"random_order_prob",
            "saturation_lower",
            b"saturation_lower",
            "saturation_prob",
            b"saturation_prob",
            "saturation_upper",
            b"saturation_upper",
        ],
    ) -> bool: ...
    def ClearField(
        self,
        field_name: Literal[
            "brightness_delta",
            b"brightness_delta",
            "brightness_prob",
            b"brightness_prob",
            "contrast_lower",
            b"contrast_lower",
            "contrast_prob",
            b"contrast_prob",
            "contrast_upper",
            b"contrast_upper",
            "hue_delta",
            b"hue_delta",
            "hue_prob",
            b"hue_prob",
            "random_order_prob",
            b"random_order_prob",
            "saturation_lower",
            b"saturation_lower",
            "saturation_prob",
            b"saturation_prob",
            "saturation_upper",
            b"saturation_upper",
        ],
    ) -> None: ...

@final
class V1LayerParameter(Message):
    DESCRIPTOR: Descriptor
    class _LayerType(EnumTypeWrapper):
        NONE: int
        ABSVAL: int
        ACCURACY: int
        ADAPTIVE_BIAS_CHANNEL: int
        ARGMAX: int
        BNLL: int
        BIAS_CHANNEL: int
        CENSOR_LABEL: int
        CHANNEL_AGGREGATOR: int
        CONCAT: int
        CONTRASTIVE_LOSS: int
        CONVOLUTION: int
        DATA: int
        DENSE_CRF: int
        DOMINANT_CHANNEL: int
        DROPOUT: int
        DUMMY_DATA: int
        EUCLIDEAN_LOSS: int
        ELTWISE: int
        EXP: int
        FLATTEN: int
        GAIN_CHANNEL: int
        HDF5_DATA: int
        HDF5_OUTPUT: int
        HINGE_LOSS: int
        HISTOGRAM: int
        IGNORE_OVERLAY: int
        IM2COL: int
        IMAGE_DATA: int
        IMAGE_SEG_DATA: int
        INFOGAIN_LOSS: int
        INNER_PRODUCT: int
        INTERP: int
        LRN: int
        MAT_READ: int
        MAT_WRITE: int
        MEMORY_DATA: int
        MULTINOMIAL_LOGISTIC_LOSS: int
        MVN: int
        ONEHOT: int
        PADDING: int
        POOLING: int
        POWER: int
        RELATIVE_ERROR: int
        RELU: int
        SEG_ACCURACY: int
        SIGMOID: int
        SIGMOID_CROSS_ENTROPY_LOSS: int
        SILENCE: int
        SOFTMAX: int
        SOFTMAX_LOSS: int
        SPLIT: int
        SLICE: int
        TANH: int
        THRESHOLD: int
        UNIQUE_LABEL: int
        WINDOW_DATA: int
        DECONVOLUTION: int

    LayerType: ClassVar[_LayerType]
    NONE: ClassVar[int]
    ABSVAL: ClassVar[int]
    ACCURACY: ClassVar[int]
    ADAPTIVE_BIAS_CHANNEL: ClassVar[int]
    ARGMAX: ClassVar[int]
    BNLL: ClassVar[int]
    BIAS_CHANNEL: ClassVar[int]
    CENSOR_LABEL: ClassVar[int]
    CHANNEL_AGGREGATOR: ClassVar[int]
    CONCAT: ClassVar[int]
    CONTRASTIVE_LOSS: ClassVar[int]
    CONVOLUTION: ClassVar[int]
    DATA: ClassVar[int]
    DENSE_CRF: ClassVar[int]
    DOMINANT_CHANNEL: ClassVar[int]
    DROPOUT: ClassVar[int]
    DUMMY_DATA: ClassVar[int]
    EUCLIDEAN_LOSS: ClassVar[int]
    ELTWISE: ClassVar[int]
    EXP: ClassVar[int]
    FLATTEN: ClassVar[int]
    GAIN_CHANNEL: ClassVar[int]
    HDF5_DATA: ClassVar[int]
    HDF5_OUTPUT: ClassVar[int]
    HINGE_LOSS: ClassVar[int]
    HISTOGRAM: ClassVar[int]
    IGNORE_OVERLAY: ClassVar[int]
    IM2COL: ClassVar[int]
    IMAGE_DATA: ClassVar[int]
    IMAGE_SEG_DATA: ClassVar[int]
    INFOGAIN_LOSS: ClassVar[int]
    INNER_PRODUCT: ClassVar[int]
    INTERP: ClassVar[int]
    LRN: ClassVar[int]
    MAT_READ: ClassVar[int]
    MAT_WRITE: ClassVar[int]
    MEMORY_DATA: ClassVar[int]
    MULTINOMIAL_LOGISTIC_LOSS: ClassVar[int]
    MVN: ClassVar[int]
    ONEHOT: ClassVar[int]
    PADDING: ClassVar[int]
    POOLING: ClassVar[int]
    POWER: ClassVar[int]
    RELATIVE_ERROR: ClassVar[int]
    RELU: ClassVar[int]
    SEG_ACCURACY: ClassVar[int]
    SIGMOID: ClassVar[int]
    SIGMOID_CROSS_ENTROPY_LOSS: ClassVar[int]
    SILENCE: ClassVar[int]
    SOFTMAX: ClassVar[int]
    SOFTMAX_LOSS: ClassVar[int]
    SPLIT: ClassVar[int]
    SLICE: ClassVar[int]
    TANH: ClassVar[int]
    THRESHOLD: ClassVar[int]
    UNIQUE_LABEL: ClassVar[int]
    WINDOW_DATA: ClassVar[int]
    DECONVOLUTION: ClassVar[int]
    class _DimCheckMode(EnumTypeWrapper):
        STRICT: int
        PERMISSIVE: int

    DimCheckMode: ClassVar[_DimCheckMode]
    STRICT: ClassVar[int]
    PERMISSIVE: ClassVar[int]
    BOTTOM_FIELD_NUMBER: ClassVar[int]
    TOP_FIELD_NUMBER: ClassVar[int]
    NAME_FIELD_NUMBER: ClassVar[int]
    INCLUDE_FIELD_NUMBER: ClassVar[int]
    EXCLUDE_FIELD_NUMBER: ClassVar[int]
    TYPE_FIELD_NUMBER: ClassVar[int]
    BLOBS_FIELD_NUMBER: ClassVar[int]
    PARAM_FIELD_NUMBER: ClassVar[int]
    BLOB_SHARE_MODE_FIELD_NUMBER: ClassVar[int]
    STRICT_DIM_FIELD_NUMBER: ClassVar[int]
    BLOBS_LR_FIELD_NUMBER: ClassVar[int]
    WEIGHT_DECAY_FIELD_NUMBER: ClassVar[int]
    LOSS_WEIGHT_FIELD_NUMBER: ClassVar[int]
    ACCURACY_PARAM_FIELD_NUMBER: ClassVar[int]
    ADAPTIVE_BIAS_CHANNEL_PARAM_FIELD_NUMBER: ClassVar[int]
    ARGMAX_PARAM_FIELD_NUMBER: ClassVar[int]
    BIAS_CHANNEL_PARAM_FIELD_NUMBER: ClassVar[int]
    CENSOR_LABEL_PARAM_FIELD_NUMBER: ClassVar[int]
    CHANNEL_AGGREGATOR_PARAM_FIELD_NUMBER: ClassVar[int]
    CONCAT_PARAM_FIELD_NUMBER: ClassVar[int]
    CONTRASTIVE_LOSS_PARAM_FIELD_NUMBER: ClassVar[int]
    CONVOLUTION_PARAM_FIELD_NUMBER: ClassVar[int]
    DATA_PARAM_FIELD_NUMBER: ClassVar[int]
    DENSE_CRF_PARAM_FIELD_NUMBER: ClassVar[int]
    DOMINANT_CHANNEL_PARAM_FIELD_NUMBER: ClassVar[int]
    DROPOUT_PARAM_FIELD_NUMBER: ClassVar[int]
    DUMMY_DATA_PARAM_FIELD_NUMBER: ClassVar[int]
    ELTWISE_PARAM_FIELD_NUMBER: ClassVar[int]
    EUCLIDEAN_LOSS_PARAM_FIELD_NUMBER: ClassVar[int]
    EXP_PARAM_FIELD_NUMBER: ClassVar[int]
    GAIN_CHANNEL_PARAM_FIELD_NUMBER: ClassVar[int]
    HDF5_DATA_PARAM_FIELD_NUMBER: ClassVar[int]
    HDF5_OUTPUT_PARAM_FIELD_NUMBER: ClassVar[int]
    HINGE_LOSS_PARAM_FIELD_NUMBER: ClassVar[int]
    HISTOGRAM_PARAM_FIELD_NUMBER: ClassVar[int]
    IGNORE_OVERLAY_PARAM_FIELD_NUMBER: ClassVar[int]
    IMAGE_DATA_PARAM_FIELD_NUMBER: ClassVar[int]
    INFOGAIN_LOSS_PARAM_FIELD_NUMBER: ClassVar[int]
    INNER_PRODUCT_PARAM_FIELD_NUMBER: ClassVar[int]
    INTERP_PARAM_FIELD_NUMBER: ClassVar[int]
    LRN_PARAM_FIELD_NUMBER: ClassVar[int]
    MAT_READ_PARAM_FIELD_NUMBER: ClassVar[int]
    MAT_WRITE_PARAM_FIELD_NUMBER: ClassVar[int]
    MEMORY_DATA_PARAM_FIELD_NUMBER: ClassVar[int]
    MVN_PARAM_FIELD_NUMBER: ClassVar[int]
    ONEHOT_PARAM_FIELD_NUMBER: ClassVar[int]
    PADDING_PARAM_FIELD_NUMBER: ClassVar[int]
    POOLING_PARAM_FIELD_NUMBER: ClassVar[int]
    POWER_PARAM_FIELD_NUMBER: ClassVar[int]
    RELU_PARAM_FIELD_NUMBER: ClassVar[int]
    SEG_ACCURACY_PARAM_FIELD_NUMBER: ClassVar[int]
    SIGMOID_PARAM_FIELD_NUMBER: ClassVar[int]
    SOFTMAX_PARAM_FIELD_NUMBER: ClassVar[int]
    SOFTMAXLOSS_PARAM_FIELD_NUMBER: ClassVar[int]
    SLICE_PARAM_FIELD_NUMBER: ClassVar[int]
    TANH_PARAM_FIELD_NUMBER: ClassVar[int]
    THRESHOLD_PARAM_FIELD_NUMBER: ClassVar[int]
    UNIQUE_LABEL_PARAM_FIELD_NUMBER: ClassVar[int]
    WINDOW_DATA_PARAM_FIELD_NUMBER: ClassVar[int]
    TRANSFORM_PARAM_FIELD_NUMBER: ClassVar[int]
    LAYER_FIELD_NUMBER: ClassVar[int]
    LOSS_PARAM_FIELD_NUMBER: ClassVar[int]
    @property
    def bottom(self) -> RepeatedScalarFieldContainer[str]: ...
    @property
    def top(self) -> RepeatedScalarFieldContainer[str]: ...
    name: str
    @property
    def include(self) -> RepeatedCompositeFieldContainer[NetStateRule]: ...
    @property
    def exclude(self) -> RepeatedCompositeFieldContainer[NetStateRule]: ...
    type: int
    @property
    def blobs(self) -> RepeatedCompositeFieldContainer[BlobProto]: ...
    @property
    def param(self) -> RepeatedScalarFieldContainer[str]: ...
    @property
    def blob_share_mode(self) -> RepeatedScalarFieldContainer[int]: ...
    strict_dim: bool
    @property
    def blobs_lr(self) -> RepeatedScalarFieldContainer[float]: ...
    @property
    def weight_decay(self) -> RepeatedScalarFieldContainer[float]: ...
    @property
    def loss_weight(self) -> RepeatedScalarFieldContainer[float]: ...
    @property
    def accuracy_param(self) -> AccuracyParameter: ...
    @property
    def adaptive_bias_channel_param(self) -> AdaptiveBiasChannelParameter: ...
    @property
    def argmax_param(self) -> ArgMaxParameter: ...
    @property
    def bias_channel_param(self) -> BiasChannelParameter: ...
    @property
    def censor_label_param(self) -> CensorLabelParameter: ...
    @property
    def channel_aggregator_param(self) -> ChannelAggregatorParameter: ...
    @property
    def concat_param(self) -> ConcatParameter: ...
    @property
    def contrastive_loss_param(self) -> ContrastiveLossParameter: ...
    @property
    def convolution_param(self) -> V1ConvolutionParameter: ...
    @property
    def data_param(self) -> DataParameter: ...
    @property
    def dense_crf_param(self) -> DenseCRFParameter: ...
    @property
    def dominant_channel_param(self) -> DominantChannelParameter: ...
    @property
    def dropout_param(self) -> DropoutParameter: ...
    @property
    def dummy_data_param(self) -> DummyDataParameter: ...
    @property
    def eltwise_param(self) -> EltwiseParameter: ...
    @property
    def euclidean_loss_param(self) -> EuclideanLossParameter: ...
    @property
    def exp_param(self) -> ExpParameter: ...
    @property
    def gain_channel_param(self) -> GainChannelParameter: ...
    @property
    def hdf5_data_param(self) -> HDF5DataParameter: ...
    @property
    def hdf5_output_param(self) -> HDF5OutputParameter: ...
    @property
    def hinge_loss_param(self) -> HingeLossParameter: ...
    @property
    def histogram_param(self) -> HistogramParameter: ...
    @property
    def ignore_overlay_param(self) -> IgnoreOverlayParameter: ...
    @property
    def image_data_param(self) -> V1ImageDataParameter: ...
    @property
    def infogain_loss_param(self) -> InfogainLossParameter: ...
    @property
    def inner_product_param(self) -> InnerProductParameter: ...
    @property
    def interp_param(self) -> InterpParameter: ...
    @property
    def lrn_param(self) -> LRNParameter: ...
    @property
    def mat_read_param(self) -> MatReadParameter: ...
    @property
    def mat_write_param(self) -> MatWriteParameter: ...
    @property
    def memory_data_param(self) -> MemoryDataParameter: ...
    @property
    def mvn_param(self) -> MVNParameter: ...
    @property
    def onehot_param(self) -> OneHotParameter: ...
    @property
    def padding_param(self) -> PaddingParameter: ...
    @property
    def pooling_param(self) -> PoolingParameter: ...
    @property
    def power_param(self) -> PowerParameter: ...
    @property
    def relu_param(self) -> ReLUParameter: ...
    @property
    def seg_accuracy_param(self) -> SegAccuracyParameter: ...
    @property
    def sigmoid_param(self) -> SigmoidParameter: ...
    @property
    def softmax_param(self) -> SoftmaxParameter: ...
    @property
    def softmaxloss_param(self) -> SoftmaxLossParameter: ...
    @property
    def slice_param(self) -> SliceParameter: ...
    @property
    def tanh_param(self) -> TanHParameter: ...
    @property
    def threshold_param(self) -> ThresholdParameter: ...
    @property
    def unique_label_param(self) -> V1UniqueLabelParameter: ...
    @property
    def window_data_param(self) -> WindowDataParameter: ...
    @property
    def transform_param(self) -> TransformationParameter: ...
    @property
    def layer(self) -> V0LayerParameter: ...
    @property
    def loss_param(self) -> LossParameter: ...
    def __init__(
        self,
        *,
        bottom: Iterable[str] | None = ...,
        top: Iterable[str] | None = ...,
        name: str | None = ...,
        include: Iterable[NetStateRule] | None = ...,
        exclude: Iterable[NetStateRule] | None = ...,
        type: int | None = ...,
        blobs: Iterable[BlobProto] | None = ...,
        param: Iterable[str] | None = ...,
        blob_share_mode: Iterable[int] | None = ...,
        strict_dim: bool | None = ...,
        blobs_lr: Iterable[float] | None = ...,
        weight_decay: Iterable[float] | None = ...,
        loss_weight: Iterable[float] | None = ...,
        accuracy_param: AccuracyParameter | None = ...,
        adaptive_bias_channel_param: AdaptiveBiasChannelParameter | None = ...,
        argmax_param: ArgMaxParameter | None = ...,
        bias_channel_param: BiasChannelParameter | None = ...,
        censor_label_param: CensorLabelParameter | None = ...,
        channel_aggregator_param: ChannelAggregatorParameter | None = ...,
        concat_param: ConcatParameter | None = ...,
        contrastive_loss_param: ContrastiveLossParameter | None = ...,
        convolution_param: V1ConvolutionParameter | None = ...,
        data_param: DataParameter | None = ...,
        dense_crf_param: DenseCRFParameter | None = ...,
        dominant_channel_param: DominantChannelParameter | None = ...,
        dropout_param: DropoutParameter | None = ...,
        dummy_data_param: DummyDataParameter | None = ...,
        eltwise_param: EltwiseParameter | None = ...,
        euclidean_loss_param: EuclideanLossParameter | None = ...,
        exp_param: ExpParameter | None = ...,
        gain_channel_param: GainChannelParameter | None = ...,
        hdf5_data_param: HDF5DataParameter | None = ...,
        hdf5_output_param: HDF5OutputParameter | None = ...,
        hinge_loss_param: HingeLossParameter | None = ...,
        histogram_param: HistogramParameter | None = ...,
        ignore_overlay_param: IgnoreOverlayParameter | None = ...,
        image_data_param: V1ImageDataParameter | None = ...,
        infogain_loss_param: InfogainLossParameter | None = ...,
        inner_product_param: InnerProductParameter | None = ...,
        interp_param: InterpParameter | None = ...,
        lrn_param: LRNParameter | None = ...,
        mat_read_param: MatReadParameter | None = ...,
        mat_write_param: MatWriteParameter | None = ...,
        memory_data_param: MemoryDataParameter | None = ...,
        mvn_param: MVNParameter | None = ...,
        onehot_param: OneHotParameter | None = ...,
        padding_param: PaddingParameter | None = ...,
        pooling_param: PoolingParameter | None = ...,
        power_param: PowerParameter | None = ...,
        relu_param: ReLUParameter | None = ...,
        seg_accuracy_param: SegAccuracyParameter | None = ...,
        sigmoid_param: SigmoidParameter | None = ...,
        softmax_param: SoftmaxParameter | None = ...,
        softmaxloss_param: SoftmaxLossParameter | None = ...,
        slice_param: SliceParameter | None = ...,
        tanh_param: TanHParameter | None = ...,
        threshold_param: ThresholdParameter | None = ...,
        unique_label_param: V1UniqueLabelParameter | None = ...,
        window_data_param: WindowDataParameter | None = ...,
        transform_param: TransformationParameter | None = ...,
        layer: V0LayerParameter | None = ...,
        loss_param: LossParameter | None = ...,
    ) -> None: ...
    def HasField(
        self,
        field_name: Literal[
            "accuracy_param",
            b"accuracy_param",
            "adaptive_bias_channel_param",
            b"adaptive_bias_channel_param",
            "argmax_param",
            b"argmax_param",
            "bias_channel_param",
            b"bias_channel_param",
            "censor_label_param",
            b"censor_label_param",
            "channel_aggregator_param",
            b"channel_aggregator_param",
            "concat_param",
            b"concat_param",
            "contrastive_loss_param",
            b"contrastive_loss_param",
            "convolution_param",
            b"convolution_param",
            "data_param",
            b"data_param",
            "dense_crf_param",
            b"dense_crf_param",
            "dominant_channel_param",
            b"dominant_channel_param",
            "dropout_param",
            b"dropout_param",
            "dummy_data_param",
            b"dummy_data_param",
            "eltwise_param",
            b"eltwise_param",
            "euclidean_loss_param",
            b"euclidean_loss_param",
            "exp_param",
            b"exp_param",
            "gain_channel_param",
            b"gain_channel_param",
            "hdf5_data_param",
            b"hdf5_data_param",
            "hdf5_output_param",
            b"hdf5_output_param",
            "hinge_loss_param",
            b"hinge_loss_param",
            "histogram_param",
            b"histogram_param",
            "ignore_overlay_param",
            b"ignore_overlay_param",
            "image_data_param",
            b"image_data_param",
            "infogain_loss_param",
            b"infogain_loss_param",
            "inner_product_param",
            b"inner_product_param",
            "interp_param",
            b"interp_param",
            "layer",
            b"layer",
            "loss_param",
            b"loss_param",
            "lrn_param",
            b"lrn_param",
            "mat_read_param",
            b"mat_read_param",
            "mat_write_param",
            b"mat_write_param",
            "memory_data_param",
            b"memory_data_param",
            "mvn_param",
            b"mvn_param",
            "name",
            b"name",
            "onehot_param",
            b"onehot_param",
            "padding_param",
            b"padding_param",
            "pooling_param",
            b"pooling_param",
            "power_param",
            b"power_param",
            "relu_param",
            b"relu_param",
            "seg_accuracy_param",
            b"seg_accuracy_param",
            "sigmoid_param",
            b"sigmoid_param",
            "slice_param",
            b"slice_param",
            "softmax_param",
            b"softmax_param",
            "softmaxloss_param",
            b"softmaxloss_param",
            "strict_dim",
            b"strict_dim",
            "tanh_param",
            b"tanh_param",
            "threshold_param",
            b"threshold_param",
            "transform_param",
            b"transform_param",
            "type",
            b"type",
            "unique_label_param",
            b"unique_label_param",
            "window_data_param",
            b"window_data_param",
        ],
    ) -> bool: ...
    def ClearField(
        self,
        field_name: Literal[
            "accuracy_param",
            b"accuracy_param",
            "adaptive_bias_channel_param",
            b"adaptive_bias_channel_param",
            "argmax_param",
            b"argmax_param",
            "bias_channel_param",
            b"bias_channel_param",
            "blob_share_mode",
            b"blob_share_mode",
            "blobs",
            b"blobs",
            "blobs_lr",
            b"blobs_lr",
            "bottom",
            b"bottom",
            "censor_label_param",
            b"censor_label_param",
            "channel_aggregator_param",
            b"channel_aggregator_param",
            "concat_param",
            b"concat_param",
            "contrastive_loss_param",
            b"contrastive_loss_param",
            "convolution_param",
            b"convolution_param",
            "data_param",
            b"data_param",
            "dense_crf_param",
            b"dense_crf_param",
            "dominant_channel_param",
            b"dominant_channel_param",
            "dropout_param",
            b"dropout_param",
            "dummy_data_param",
            b"dummy_data_param",
            "eltwise_param",
            b"eltwise_param",
            "euclidean_loss_param",
            b"euclidean_loss_param",
            "exclude",
            b"exclude",
            "exp_param",
            b"exp_param",
            "gain_channel_param",
            b"gain_channel_param",
            "hdf5_data_param",
            b"hdf5_data_param",
            "hdf5_output_param",
            b"hdf5_output_param",
            "hinge_loss_param",
            b"hinge_loss_param",
            "histogram_param",
            b"histogram_param",
            "ignore_overlay_param",
            b"ignore_overlay_param",
            "image_data_param",
            b"image_data_param",
            "include",
            b"include",
            "infogain_loss_param",
            b"infogain_loss_param",
            "inner_product_param",
            b"inner_product_param",
            "interp_param",
            b"interp_param",
            "layer",
            b"layer",
            "loss_param",
            b"loss_param",
            "loss_weight",
            b"loss_weight",
            "lrn_param",
            b"lrn_param",
            "mat_read_param",
            b"mat_read_param",
            "mat_write_param",
            b"mat_write_param",
            "memory_data_param",
            b"memory_data_param",
            "mvn_param",
            b"mvn_param",
            "name",
            b"name",
            "onehot_param",
            b"onehot_param",
            "padding_param",
            b"padding_param",
            "param",
            b"param",
            "pooling_param",
            b"pooling_param",
            "power_param",
            b"power_param",
            "relu_param",
            b"relu_param",
            "seg_accuracy_param",
            b"seg_accuracy_param",
            "sigmoid_param",
            b"sigmoid_param",
            "slice_param",
            b"slice_param",
            "softmax_param",
            b"softmax_param",
            "softmaxloss_param",
            b"softmaxloss_param",
            "strict_dim",
            b"strict_dim",
            "tanh_param",
            b"tanh_param",
            "threshold_param",
            b"threshold_param",
            "top",
            b"top",
            "transform_param",
            b"transform_param",
            "type",
            b"type",
            "unique_label_param",
            b"unique_label_param",
            "weight_decay",
            b"weight_decay",
            "window_data_param",
            b"window_data_param",
        ],
    ) -> None: ...

@final
class SoftmaxLossParameter(Message):
    DESCRIPTOR: Descriptor
    WEIGHT_SOURCE_FIELD_NUMBER: ClassVar[int]
    IGNORE_LABEL_FIELD_NUMBER: ClassVar[int]
    weight_source: str
    @property
    def ignore_label(self) -> RepeatedScalarFieldContainer[int]: ...
    def __init__(self, *, weight_source: str | None = ..., ignore_label: Iterable[int] | None = ...) -> None: ...
    def HasField(self, field_name: Literal["weight_source", b"weight_source"]) -> bool: ...
    def ClearField(
        self, field_name: Literal["ignore_label", b"ignore_label", "weight_source", b"weight_source"]
    ) -> None: ...

@final
class CensorLabelParameter(Message):
    DESCRIPTOR: Descriptor
    IGNORE_LABEL_FIELD_NUMBER: ClassVar[int]
    ignore_label: int
    def __init__(self, *, ignore_label: int | None = ...) -> None: ...
    def HasField(self, field_name: Literal["ignore_label", b"ignore_label"]) -> bool: ...
    def ClearField(self, field_name: Literal["ignore_label", b"ignore_label"]) -> None: ...

@final
class ChannelAggregatorParameter(Message):
    DESCRIPTOR: Descriptor
    LABEL_MAP_FILE_FIELD_NUMBER: ClassVar[int]
    label_map_file: str
    def __init__(self, *, label_map_file: str | None = ...) -> None: ...
    def HasField(self, field_name: Literal["label_map_file", b"label_map_file"]) -> bool: ...
    def ClearField(self, field_name: Literal["label_map_file", b"label_map_file"]) -> None: ...

@final
class V1ConvolutionParameter(Message):
    DESCRIPTOR: Descriptor
    NUM_OUTPUT_FIELD_NUMBER: ClassVar[int]
    BIAS_TERM_FIELD_NUMBER: ClassVar[int]
    PAD_FIELD_NUMBER: ClassVar[int]
    PAD_H_FIELD_NUMBER: ClassVar[int]
    PAD_W_FIELD_NUMBER: ClassVar[int]
    KERNEL_SIZE_FIELD_NUMBER: ClassVar[int]
    KERNEL_H_FIELD_NUMBER: ClassVar[int]
    KERNEL_W_FIELD_NUMBER: ClassVar[int]
    GROUP_FIELD_NUMBER: ClassVar[int]
    STRIDE_FIELD_NUMBER: ClassVar[int]
    STRIDE_H_FIELD_NUMBER: ClassVar[int]
    STRIDE_W_FIELD_NUMBER: ClassVar[int]
    HOLE_FIELD_NUMBER: ClassVar[int]
    HOLE_H_FIELD_NUMBER: ClassVar[int]
    HOLE_W_FIELD_NUMBER: ClassVar[int]
    WEIGHT_FILLER_FIELD_NUMBER: ClassVar[int]
    BIAS_FILLER_FIELD_NUMBER: ClassVar[int]
    ENGINE_FIELD_NUMBER: ClassVar[int]
    DILATION_FIELD_NUMBER: ClassVar[int]
    num_output: int
    bias_term: bool
    pad: int
    pad_h: int
    pad_w: int
    kernel_size: int
    kernel_h: int
    kernel_w: int
    group: int
    stride: int
    stride_h: int
    stride_w: int
    hole: int
    hole_h: int
    hole_w: int
    @property
    def weight_filler(self) -> FillerParameter: ...
    @property
    def bias_filler(self) -> FillerParameter: ...
    engine: int
    @property
    def dilation(self) -> RepeatedScalarFieldContainer[int]: ...
    def __init__(
        self,
        *,
        num_output: int | None = ...,
        bias_term: bool | None = ...,
        pad: int | None = ...,
        pad_h: int | None = ...,
        pad_w: int | None = ...,
        kernel_size: int | None = ...,
        kernel_h: int | None = ...,
        kernel_w: int | None = ...,
        group: int | None = ...,
        stride: int | None = ...,
        stride_h: int | None = ...,
        stride_w: int | None = ...,
        hole: int | None = ...,
        hole_h: int | None = ...,
        hole_w: int | None = ...,
        weight_filler: FillerParameter | None = ...,
        bias_filler: FillerParameter | None = ...,
        engine: int | None = ...,
        dilation: Iterable[int] | None = ...,
    ) -> None: ...
    def HasField(
        self,
        field_name: Literal[
            "bias_filler",
            b"bias_filler",
            "bias_term",
            b"bias_term",
            "engine",
            b"engine",
            "group",
            b"group",
            "hole",
            b"hole",
            "hole_h",
            b"hole_h",
            "hole_w",
            b"hole_w",
            "kernel_h",
            b"kernel_h",
            "kernel_size",
            b"kernel_size",
            "kernel_w",
            b"kernel_w",
            "num_output",
            b"num_output",
            "pad",
            b"pad",
            "pad_h",
            b"pad_h",
            "pad_w",
            b"pad_w",
            "stride",
            b"stride",
            "stride_h",
            b"stride_h",
            "stride_w",
            b"stride_w",
            "weight_filler",
            b"weight_filler",
        ],
    ) -> bool: ...
    def ClearField(
        self,
        field_name: Literal[
            "bias_filler",
            b"bias_filler",
            "bias_term",
            b"bias_term",
            "dilation",
            b"dilation",
            "engine",
            b"engine",
            "group",
            b"group",
            "hole",
            b"hole",
            "hole_h",
            b"hole_h",
            "hole_w",
            b"hole_w",
            "kernel_h",
            b"kernel_h",
            "kernel_size",
            b"kernel_size",
            "kernel_w",
            b"kernel_w",
            "num_output",
            b"num_output",
            "pad",
            b"pad",
            "pad_h",
            b"pad_h",
            "pad_w",
            b"pad_w",
            "stride",
            b"stride",
            "stride_h",
            b"stride_h",
            "stride_w",
            b"stride_w",
            "weight_filler",
            b"weight_filler",
        ],
    ) -> None: ...

@final
class DominantChannelParameter(Message):
    DESCRIPTOR: Descriptor
    TOP_K_FIELD_NUMBER: ClassVar[int]
    top_k: int
    def __init__(self, *, top_k: int | None = ...) -> None: ...
    def HasField(self, field_name: Literal["top_k", b"top_k"]) -> bool: ...
    def ClearField(self, field_name: Literal["top_k", b"top_k"]) -> None: ...

@final
class EuclideanLossParameter(Message):
    DESCRIPTOR: Descriptor
    class _Type(EnumTypeWrapper):
        L2: int
        L2sqrt: int

    Type: ClassVar[_Type]
    L2: ClassVar[int]
    L2sqrt: ClassVar[int]
    TYPE_FIELD_NUMBER: ClassVar[int]
    type: int
    def __init__(self, *, type: int | None = ...) -> None: ...
    def HasField(self, field_name: Literal["type", b"type"]) -> bool: ...
    def ClearField(self, field_name: Literal["type", b"type"]) -> None: ...

@final
class GainChannelParameter(Message):
    DESCRIPTOR: Descriptor
    NUM_OUTPUT_NZ_FIELD_NUMBER: ClassVar[int]
    DRIFT_FIELD_NUMBER: ClassVar[int]
    STDEV_FIELD_NUMBER: ClassVar[int]
    GAIN_FILLER_FIELD_NUMBER: ClassVar[int]
    NORM_MEAN_FIELD_NUMBER: ClassVar[int]
    THRESH_FIELD_NUMBER: ClassVar[int]
    num_output_nz: int
    drift: float
    stdev: float
    @property
    def gain_filler(self) -> FillerParameter: ...
    norm_mean: bool
    thresh: float
    def __init__(
        self,
        *,
        num_output_nz: int | None = ...,
        drift: float | None = ...,
        stdev: float | None = ...,
        gain_filler: FillerParameter | None = ...,
        norm_mean: bool | None = ...,
        thresh: float | None = ...,
    ) -> None: ...
    def HasField(
        self,
        field_name: Literal[
            "drift",
            b"drift",
            "gain_filler",
            b"gain_filler",
            "norm_mean",
            b"norm_mean",
            "num_output_nz",
            b"num_output_nz",
            "stdev",
            b"stdev",
            "thresh",
            b"thresh",
        ],
    ) -> bool: ...
    def ClearField(
        self,
        field_name: Literal[
            "drift",
            b"drift",
            "gain_filler",
            b"gain_filler",
            "norm_mean",
            b"norm_mean",
            "num_output_nz",
            b"num_output_nz",
            "stdev",
            b"stdev",
            "thresh",
            b"thresh",
        ],
    ) -> None: ...

@final
class HistogramParameter(Message):
    DESCRIPTOR: Descriptor
    NUM_LABELS_FIELD_NUMBER: ClassVar[int]
    IGNORE_LABEL_FIELD_NUMBER: ClassVar[int]
    num_labels: int
    @property
    def ignore_label(self) -> RepeatedScalarFieldContainer[int]: ...
    def __init__(self, *, num_labels: int | None = ..., ignore_label: Iterable[int] | None = ...) -> None: ...
    def HasField(self, field_name: Literal["num_labels", b"num_labels"]) -> bool: ...
    def ClearField(self, field_name: Literal["ignore_label", b"ignore_label", "num_labels", b"num_labels"]) -> None: ...

@final
class IgnoreOverlayParameter(Message):
    DESCRIPTOR: Descriptor
    IGNORE_LABEL_FIELD_NUMBER: ClassVar[int]
    ignore_label: int
    def __init__(self, *, ignore_label: int | None = ...) -> None: ...
    def HasField(self, field_name: Literal["ignore_label", b"ignore_label"]) -> bool: ...
    def ClearField(self, field_name: Literal["ignore_label", b"ignore_label"]) -> None: ...

@final
class V1ImageDataParameter(Message):
    DESCRIPTOR: Descriptor
    SOURCE_FIELD_NUMBER: ClassVar[int]
    BATCH_SIZE_FIELD_NUMBER: ClassVar[int]
    RAND_SKIP_FIELD_NUMBER: ClassVar[int]
    SHUFFLE_FIELD_NUMBER: ClassVar[int]
    NEW_HEIGHT_FIELD_NUMBER: ClassVar[int]
    NEW_WIDTH_FIELD_NUMBER: ClassVar[int]
    IS_COLOR_FIELD_NUMBER: ClassVar[int]
    IGNORE_LABEL_FIELD_NUMBER: ClassVar[int]
    LABEL_TYPE_FIELD_NUMBER: ClassVar[int]
    SCALE_FIELD_NUMBER: ClassVar[int]
    MEAN_FILE_FIELD_NUMBER: ClassVar[int]
    CROP_SIZE_FIELD_NUMBER: ClassVar[int]
    MIRROR_FIELD_NUMBER: ClassVar[int]
    ROOT_FOLDER_FIELD_NUMBER: ClassVar[int]
    HAS_LABEL_FIELD_NUMBER: ClassVar[int]
    MAX_LABELS_FIELD_NUMBER: ClassVar[int]
    TRANSFORM_PARAM_FIELD_NUMBER: ClassVar[int]
    source: str
    batch_size: int
    rand_skip: int
    shuffle: bool
    new_height: int
    new_width: int
    is_color: bool
    ignore_label: int
    label_type: int
    scale: float
    mean_file: str
    crop_size: int
    mirror: bool
    root_folder: str
    has_label: bool
    max_labels: int
    @property
    def transform_param(self) -> TransformationParameter: ...
    def __init__(
        self,
        *,
        source: str | None = ...,
        batch_size: int | None = ...,
        rand_skip: int | None = ...,
        shuffle: bool | None = ...,
        new_height: int | None = ...,
        new_width: int | None = ...,
        is_color: bool | None = ...,
        ignore_label: int | None = ...,
        label_type: int | None = ...,
        scale: float | None = ...,
        mean_file: str | None = ...,
        crop_size: int | None = ...,
        mirror: bool | None = ...,
        root_folder: str | None = ...,
        has_label: bool | None = ...,
        max_labels: int | None = ...,
        transform_param: TransformationParameter | None = ...,
    ) -> None: ...
    def HasField(
        self,
        field_name: Literal[
            "batch_size",
            b"batch_size",
            "crop_size",
            b"crop_size",
            "has_label",
            b"has_label",
            "ignore_label",
            b"ignore_label",
            "is_color",
            b"is_color",
            "label_type",
            b"label_type",
            "max_labels",
            b"max_labels",
            "mean_file",
            b"mean_file",
            "mirror",
            b"mirror",
            "new_height",
            b"new_height",
            "new_width",
            b"new_width",
            "rand_skip",
            b"rand_skip",
            "root_folder",
            b"root_folder",
            "scale",
            b"scale",
            "shuffle",
            b"shuffle",
            "source",
            b"source",
            "transform_param",
            b"transform_param",
        ],
    ) -> bool: ...
    def ClearField(
        self,
        field_name: Literal[
            "batch_size",
            b"batch_size",
            "crop_size",
            b"crop_size",
            "has_label",
            b"has_label",
            "ignore_label",
            b"ignore_label",
            "is_color",
            b"is_color",
            "label_type",
            b"label_type",
            "max_labels",
            b"max_labels",
            "mean_file",
            b"mean_file",
            "mirror",
            b"mirror",
            "new_height",
            b"new_height",
            "new_width",
            b"new_width",
            "rand_skip",
            b"rand_skip",
            "root_folder",
            b"root_folder",
            "scale",
            b"scale",
            "shuffle",
            b"shuffle",
            "source",
            b"source",
            "transform_param",
            b"transform_param",
        ],
    ) -> None: ...

@final
class OneHotParameter(Message):
    DESCRIPTOR: Descriptor
    NUM_LABELS_FIELD_NUMBER: ClassVar[int]
    num_labels: int
    def __init__(self, *, num_labels: int | None = ...) -> None: ...
    def HasField(self, field_name: Literal["num_labels", b"num_labels"]) -> bool: ...
    def ClearField(self, field_name: Literal["num_labels", b"num_labels"]) -> None: ...

@final
class PaddingParameter(Message):
    DESCRIPTOR: Descriptor
    PAD_BEG_FIELD_NUMBER: ClassVar[int]
    PAD_END_FIELD_NUMBER: ClassVar[int]
    pad_beg: int
    pad_end: int
    def __init__(self, *, pad_beg: int | None = ..., pad_end: int | None = ...) -> None: ...
    def HasField(self, field_name: Literal["pad_beg", b"pad_beg", "pad_end", b"pad_end"]) -> bool: ...
    def ClearField(self, field_name: Literal["pad_beg", b"pad_beg", "pad_end", b"pad_end"]) -> None: ...

@final
class V1UniqueLabelParameter(Message):
    DESCRIPTOR: Descriptor
    MAX_LABELS_FIELD_NUMBER: ClassVar[int]
    IGNORE_LABEL_FIELD_NUMBER: ClassVar[int]
    FORCE_LABEL_FIELD_NUMBER: ClassVar[int]
    max_labels: int
    @property
    def ignore_label(self) -> RepeatedScalarFieldContainer[float]: ...
    @property
    def force_label(self) -> RepeatedScalarFieldContainer[float]: ...
    def __init__(
        self,
        *,
        max_labels: int | None = ...,
        ignore_label: Iterable[float] | None = ...,
        force_label: Iterable[float] | None = ...,
    ) -> None: ...
    def HasField(self, field_name: Literal["max_labels", b"max_labels"]) -> bool: ...
    def ClearField(
        self,
        field_name: Literal[
            "force_label", b"force_label", "ignore_label", b"ignore_label", "max_labels", b"max_labels"
        ],
    ) -> None: ...
