from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DataType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DATA_TYPE_UNSPECIFIED: _ClassVar[DataType]
    DATA_TYPE_FLOAT32: _ClassVar[DataType]
    DATA_TYPE_BFLOAT16: _ClassVar[DataType]
    DATA_TYPE_FLOAT16: _ClassVar[DataType]
    DATA_TYPE_INT64: _ClassVar[DataType]

class Refusal(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    REFUSAL_UNSPECIFIED: _ClassVar[Refusal]
    REFUSAL_BUSY: _ClassVar[Refusal]
    REFUSAL_LATE: _ClassVar[Refusal]
    REFUSAL_NOT_HERE: _ClassVar[Refusal]
    REFUSAL_UNUSABLE: _ClassVar[Refusal]
    REFUSAL_FAILED: _ClassVar[Refusal]
    REFUSAL_LEAVING: _ClassVar[Refusal]
    REFUSAL_WITHDRAWN: _ClassVar[Refusal]
    REFUSAL_UNTOLD: _ClassVar[Refusal]
DATA_TYPE_UNSPECIFIED: DataType
DATA_TYPE_FLOAT32: DataType
DATA_TYPE_BFLOAT16: DataType
DATA_TYPE_FLOAT16: DataType
DATA_TYPE_INT64: DataType
REFUSAL_UNSPECIFIED: Refusal
REFUSAL_BUSY: Refusal
REFUSAL_LATE: Refusal
REFUSAL_NOT_HERE: Refusal
REFUSAL_UNUSABLE: Refusal
REFUSAL_FAILED: Refusal
REFUSAL_LEAVING: Refusal
REFUSAL_WITHDRAWN: Refusal
REFUSAL_UNTOLD: Refusal

class Tensor(_message.Message):
    __slots__ = ("type", "shape", "data")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    type: DataType
    shape: _containers.RepeatedScalarFieldContainer[int]
    data: bytes
    def __init__(self, type: _Optional[_Union[DataType, str]] = ..., shape: _Optional[_Iterable[int]] = ..., data: _Optional[bytes] = ...) -> None: ...

class DescribeRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class DescribeResponse(_message.Message):
    __slots__ = ("run", "experts", "batch_rows", "queue_rows", "waiting_rows", "conditions_bytes")
    RUN_FIELD_NUMBER: _ClassVar[int]
    EXPERTS_FIELD_NUMBER: _ClassVar[int]
    BATCH_ROWS_FIELD_NUMBER: _ClassVar[int]
    QUEUE_ROWS_FIELD_NUMBER: _ClassVar[int]
    WAITING_ROWS_FIELD_NUMBER: _ClassVar[int]
    CONDITIONS_BYTES_FIELD_NUMBER: _ClassVar[int]
    run: str
    experts: _containers.RepeatedCompositeFieldContainer[ServedExpert]
    batch_rows: int
    queue_rows: int
    waiting_rows: int
    conditions_bytes: int
    def __init__(self, run: _Optional[str] = ..., experts: _Optional[_Iterable[_Union[ServedExpert, _Mapping]]] = ..., batch_rows: _Optional[int] = ..., queue_rows: _Optional[int] = ..., waiting_rows: _Optional[int] = ..., conditions_bytes: _Optional[int] = ...) -> None: ...

class ServedExpert(_message.Message):
    __slots__ = ("expert", "checkpoint", "shape", "rows_per_second")
    EXPERT_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    ROWS_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    expert: int
    checkpoint: str
    shape: _containers.RepeatedScalarFieldContainer[int]
    rows_per_second: float
    def __init__(self, expert: _Optional[int] = ..., checkpoint: _Optional[str] = ..., shape: _Optional[_Iterable[int]] = ..., rows_per_second: _Optional[float] = ...) -> None: ...

class EvaluateRequest(_message.Message):
    __slots__ = ("number", "expert", "checkpoint", "x_t", "t", "cond", "row_by_row", "deadline_s", "stretch", "withdrawn", "conditions", "cond_keys")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    EXPERT_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    X_T_FIELD_NUMBER: _ClassVar[int]
    T_FIELD_NUMBER: _ClassVar[int]
    COND_FIELD_NUMBER: _ClassVar[int]
    ROW_BY_ROW_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_S_FIELD_NUMBER: _ClassVar[int]
    STRETCH_FIELD_NUMBER: _ClassVar[int]
    WITHDRAWN_FIELD_NUMBER: _ClassVar[int]
    CONDITIONS_FIELD_NUMBER: _ClassVar[int]
    COND_KEYS_FIELD_NUMBER: _ClassVar[int]
    number: int
    expert: int
    checkpoint: str
    x_t: Tensor
    t: Tensor
    cond: Tensor
    row_by_row: bool
    deadline_s: float
    stretch: Stretch
    withdrawn: bool
    conditions: Tensor
    cond_keys: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, number: _Optional[int] = ..., expert: _Optional[int] = ..., checkpoint: _Optional[str] = ..., x_t: _Optional[_Union[Tensor, _Mapping]] = ..., t: _Optional[_Union[Tensor, _Mapping]] = ..., cond: _Optional[_Union[Tensor, _Mapping]] = ..., row_by_row: _Optional[bool] = ..., deadline_s: _Optional[float] = ..., stretch: _Optional[_Union[Stretch, _Mapping]] = ..., withdrawn: _Optional[bool] = ..., conditions: _Optional[_Union[Tensor, _Mapping]] = ..., cond_keys: _Optional[_Iterable[bytes]] = ...) -> None: ...

class Stretch(_message.Message):
    __slots__ = ("evaluations", "step", "steps", "reach", "weight", "guidance", "reuse_blocks", "reuse_change", "displaced")
    EVALUATIONS_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    REACH_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    GUIDANCE_FIELD_NUMBER: _ClassVar[int]
    REUSE_BLOCKS_FIELD_NUMBER: _ClassVar[int]
    REUSE_CHANGE_FIELD_NUMBER: _ClassVar[int]
    DISPLACED_FIELD_NUMBER: _ClassVar[int]
    evaluations: int
    step: _containers.RepeatedScalarFieldContainer[int]
    steps: _containers.RepeatedScalarFieldContainer[int]
    reach: _containers.RepeatedScalarFieldContainer[float]
    weight: _containers.RepeatedScalarFieldContainer[float]
    guidance: _containers.RepeatedScalarFieldContainer[float]
    reuse_blocks: int
    reuse_change: float
    displaced: bool
    def __init__(self, evaluations: _Optional[int] = ..., step: _Optional[_Iterable[int]] = ..., steps: _Optional[_Iterable[int]] = ..., reach: _Optional[_Iterable[float]] = ..., weight: _Optional[_Iterable[float]] = ..., guidance: _Optional[_Iterable[float]] = ..., reuse_blocks: _Optional[int] = ..., reuse_change: _Optional[float] = ..., displaced: _Optional[bool] = ...) -> None: ...

class EvaluateResponse(_message.Message):
    __slots__ = ("number", "velocity", "refusal", "reason", "waited_s", "evaluated_s", "waiting_rows")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    VELOCITY_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    WAITED_S_FIELD_NUMBER: _ClassVar[int]
    EVALUATED_S_FIELD_NUMBER: _ClassVar[int]
    WAITING_ROWS_FIELD_NUMBER: _ClassVar[int]
    number: int
    velocity: Tensor
    refusal: Refusal
    reason: str
    waited_s: float
    evaluated_s: float
    waiting_rows: int
    def __init__(self, number: _Optional[int] = ..., velocity: _Optional[_Union[Tensor, _Mapping]] = ..., refusal: _Optional[_Union[Refusal, str]] = ..., reason: _Optional[str] = ..., waited_s: _Optional[float] = ..., evaluated_s: _Optional[float] = ..., waiting_rows: _Optional[int] = ...) -> None: ...
