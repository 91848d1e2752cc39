from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Priority(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PRIORITY_UNSPECIFIED: _ClassVar[Priority]
    PRIORITY_HIGH: _ClassVar[Priority]
    PRIORITY_NORMAL: _ClassVar[Priority]
    PRIORITY_LOW: _ClassVar[Priority]

class Outcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OUTCOME_UNSPECIFIED: _ClassVar[Outcome]
    OUTCOME_DONE: _ClassVar[Outcome]
    OUTCOME_FAILED: _ClassVar[Outcome]
    OUTCOME_CANCELLED: _ClassVar[Outcome]
PRIORITY_UNSPECIFIED: Priority
PRIORITY_HIGH: Priority
PRIORITY_NORMAL: Priority
PRIORITY_LOW: Priority
OUTCOME_UNSPECIFIED: Outcome
OUTCOME_DONE: Outcome
OUTCOME_FAILED: Outcome
OUTCOME_CANCELLED: Outcome

class AboutRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class AboutResponse(_message.Message):
    __slots__ = ("edition", "condition", "class_names", "width", "height", "channels", "num_experts", "solvers", "solver", "steps", "guidance", "strategy", "max_images", "max_steps", "checkpoints", "strategies", "max_guidance", "max_queue", "sizes")
    class CheckpointsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    EDITION_FIELD_NUMBER: _ClassVar[int]
    CONDITION_FIELD_NUMBER: _ClassVar[int]
    CLASS_NAMES_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    CHANNELS_FIELD_NUMBER: _ClassVar[int]
    NUM_EXPERTS_FIELD_NUMBER: _ClassVar[int]
    SOLVERS_FIELD_NUMBER: _ClassVar[int]
    SOLVER_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    GUIDANCE_FIELD_NUMBER: _ClassVar[int]
    STRATEGY_FIELD_NUMBER: _ClassVar[int]
    MAX_IMAGES_FIELD_NUMBER: _ClassVar[int]
    MAX_STEPS_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINTS_FIELD_NUMBER: _ClassVar[int]
    STRATEGIES_FIELD_NUMBER: _ClassVar[int]
    MAX_GUIDANCE_FIELD_NUMBER: _ClassVar[int]
    MAX_QUEUE_FIELD_NUMBER: _ClassVar[int]
    SIZES_FIELD_NUMBER: _ClassVar[int]
    edition: str
    condition: str
    class_names: _containers.RepeatedScalarFieldContainer[str]
    width: int
    height: int
    channels: int
    num_experts: int
    solvers: _containers.RepeatedScalarFieldContainer[str]
    solver: str
    steps: int
    guidance: float
    strategy: str
    max_images: int
    max_steps: int
    checkpoints: _containers.ScalarMap[str, str]
    strategies: _containers.RepeatedScalarFieldContainer[str]
    max_guidance: float
    max_queue: int
    sizes: _containers.RepeatedCompositeFieldContainer[ImageSize]
    def __init__(self, edition: _Optional[str] = ..., condition: _Optional[str] = ..., class_names: _Optional[_Iterable[str]] = ..., width: _Optional[int] = ..., height: _Optional[int] = ..., channels: _Optional[int] = ..., num_experts: _Optional[int] = ..., solvers: _Optional[_Iterable[str]] = ..., solver: _Optional[str] = ..., steps: _Optional[int] = ..., guidance: _Optional[float] = ..., strategy: _Optional[str] = ..., max_images: _Optional[int] = ..., max_steps: _Optional[int] = ..., checkpoints: _Optional[_Mapping[str, str]] = ..., strategies: _Optional[_Iterable[str]] = ..., max_guidance: _Optional[float] = ..., max_queue: _Optional[int] = ..., sizes: _Optional[_Iterable[_Union[ImageSize, _Mapping]]] = ...) -> None: ...

class ImageSize(_message.Message):
    __slots__ = ("width", "height")
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    width: int
    height: int
    def __init__(self, width: _Optional[int] = ..., height: _Optional[int] = ...) -> None: ...

class GenerateRequest(_message.Message):
    __slots__ = ("conditions", "num", "seed", "width", "height", "solver", "steps", "guidance", "strategy", "previews", "priority", "deadline_s", "cancel_on_disconnect", "exact")
    CONDITIONS_FIELD_NUMBER: _ClassVar[int]
    NUM_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    SOLVER_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    GUIDANCE_FIELD_NUMBER: _ClassVar[int]
    STRATEGY_FIELD_NUMBER: _ClassVar[int]
    PREVIEWS_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_S_FIELD_NUMBER: _ClassVar[int]
    CANCEL_ON_DISCONNECT_FIELD_NUMBER: _ClassVar[int]
    EXACT_FIELD_NUMBER: _ClassVar[int]
    conditions: _containers.RepeatedScalarFieldContainer[str]
    num: int
    seed: int
    width: int
    height: int
    solver: str
    steps: int
    guidance: float
    strategy: str
    previews: int
    priority: Priority
    deadline_s: float
    cancel_on_disconnect: bool
    exact: bool
    def __init__(self, conditions: _Optional[_Iterable[str]] = ..., num: _Optional[int] = ..., seed: _Optional[int] = ..., width: _Optional[int] = ..., height: _Optional[int] = ..., solver: _Optional[str] = ..., steps: _Optional[int] = ..., guidance: _Optional[float] = ..., strategy: _Optional[str] = ..., previews: _Optional[int] = ..., priority: _Optional[_Union[Priority, str]] = ..., deadline_s: _Optional[float] = ..., cancel_on_disconnect: _Optional[bool] = ..., exact: _Optional[bool] = ...) -> None: ...

class GenerateResponse(_message.Message):
    __slots__ = ("event",)
    EVENT_FIELD_NUMBER: _ClassVar[int]
    event: JobEvent
    def __init__(self, event: _Optional[_Union[JobEvent, _Mapping]] = ...) -> None: ...

class WatchRequest(_message.Message):
    __slots__ = ("job",)
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: str
    def __init__(self, job: _Optional[str] = ...) -> None: ...

class WatchResponse(_message.Message):
    __slots__ = ("event",)
    EVENT_FIELD_NUMBER: _ClassVar[int]
    event: JobEvent
    def __init__(self, event: _Optional[_Union[JobEvent, _Mapping]] = ...) -> None: ...

class CancelRequest(_message.Message):
    __slots__ = ("job",)
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: str
    def __init__(self, job: _Optional[str] = ...) -> None: ...

class CancelResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class JobEvent(_message.Message):
    __slots__ = ("accepted", "progress", "preview", "image", "ended")
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    PREVIEW_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    ENDED_FIELD_NUMBER: _ClassVar[int]
    accepted: JobAccepted
    progress: ImageProgress
    preview: ImagePreview
    image: ImageDone
    ended: JobEnded
    def __init__(self, accepted: _Optional[_Union[JobAccepted, _Mapping]] = ..., progress: _Optional[_Union[ImageProgress, _Mapping]] = ..., preview: _Optional[_Union[ImagePreview, _Mapping]] = ..., image: _Optional[_Union[ImageDone, _Mapping]] = ..., ended: _Optional[_Union[JobEnded, _Mapping]] = ...) -> None: ...

class JobAccepted(_message.Message):
    __slots__ = ("job", "ahead", "num")
    JOB_FIELD_NUMBER: _ClassVar[int]
    AHEAD_FIELD_NUMBER: _ClassVar[int]
    NUM_FIELD_NUMBER: _ClassVar[int]
    job: str
    ahead: int
    num: int
    def __init__(self, job: _Optional[str] = ..., ahead: _Optional[int] = ..., num: _Optional[int] = ...) -> None: ...

class ImageProgress(_message.Message):
    __slots__ = ("index", "step", "steps", "weights", "without")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    WITHOUT_FIELD_NUMBER: _ClassVar[int]
    index: int
    step: int
    steps: int
    weights: _containers.RepeatedCompositeFieldContainer[StepWeights]
    without: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, index: _Optional[int] = ..., step: _Optional[int] = ..., steps: _Optional[int] = ..., weights: _Optional[_Iterable[_Union[StepWeights, _Mapping]]] = ..., without: _Optional[_Iterable[int]] = ...) -> None: ...

class StepWeights(_message.Message):
    __slots__ = ("experts",)
    EXPERTS_FIELD_NUMBER: _ClassVar[int]
    experts: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, experts: _Optional[_Iterable[float]] = ...) -> None: ...

class ImagePreview(_message.Message):
    __slots__ = ("index", "step", "png")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    PNG_FIELD_NUMBER: _ClassVar[int]
    index: int
    step: int
    png: bytes
    def __init__(self, index: _Optional[int] = ..., step: _Optional[int] = ..., png: _Optional[bytes] = ...) -> None: ...

class ImageDone(_message.Message):
    __slots__ = ("index", "png", "recipe")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    PNG_FIELD_NUMBER: _ClassVar[int]
    RECIPE_FIELD_NUMBER: _ClassVar[int]
    index: int
    png: bytes
    recipe: str
    def __init__(self, index: _Optional[int] = ..., png: _Optional[bytes] = ..., recipe: _Optional[str] = ...) -> None: ...

class JobEnded(_message.Message):
    __slots__ = ("outcome", "reason", "queued_s", "seconds")
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    QUEUED_S_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    outcome: Outcome
    reason: str
    queued_s: float
    seconds: float
    def __init__(self, outcome: _Optional[_Union[Outcome, str]] = ..., reason: _Optional[str] = ..., queued_s: _Optional[float] = ..., seconds: _Optional[float] = ...) -> None: ...
