from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Role(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ROLE_UNSPECIFIED: _ClassVar[Role]
    ROLE_EXPERT: _ClassVar[Role]
    ROLE_ROUTER: _ClassVar[Role]
    ROLE_MONOLITH: _ClassVar[Role]

class JobState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    JOB_STATE_UNSPECIFIED: _ClassVar[JobState]
    JOB_STATE_WAITING: _ClassVar[JobState]
    JOB_STATE_LEASED: _ClassVar[JobState]
    JOB_STATE_DONE: _ClassVar[JobState]
    JOB_STATE_FAILED: _ClassVar[JobState]
    JOB_STATE_PAUSED: _ClassVar[JobState]
    JOB_STATE_CANCELLED: _ClassVar[JobState]

class Directive(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DIRECTIVE_UNSPECIFIED: _ClassVar[Directive]
    DIRECTIVE_CONTINUE: _ClassVar[Directive]
    DIRECTIVE_DRAIN: _ClassVar[Directive]
    DIRECTIVE_RESTART: _ClassVar[Directive]
    DIRECTIVE_CANCEL: _ClassVar[Directive]

class Action(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ACTION_UNSPECIFIED: _ClassVar[Action]
    ACTION_PAUSE: _ClassVar[Action]
    ACTION_RESUME: _ClassVar[Action]
    ACTION_CANCEL: _ClassVar[Action]
    ACTION_RETRY: _ClassVar[Action]

class Ending(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ENDING_UNSPECIFIED: _ClassVar[Ending]
    ENDING_FINISHED: _ClassVar[Ending]
    ENDING_DRAINED: _ClassVar[Ending]
    ENDING_FAILED: _ClassVar[Ending]
    ENDING_REFUSED: _ClassVar[Ending]
    ENDING_PREEMPTED: _ClassVar[Ending]
    ENDING_DAMAGED: _ClassVar[Ending]
    ENDING_NODE_LOST: _ClassVar[Ending]

class IncidentKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    INCIDENT_KIND_UNSPECIFIED: _ClassVar[IncidentKind]
    INCIDENT_KIND_RESTARTED: _ClassVar[IncidentKind]
    INCIDENT_KIND_SKIPPED: _ClassVar[IncidentKind]
    INCIDENT_KIND_ROLLED_BACK: _ClassVar[IncidentKind]
ROLE_UNSPECIFIED: Role
ROLE_EXPERT: Role
ROLE_ROUTER: Role
ROLE_MONOLITH: Role
JOB_STATE_UNSPECIFIED: JobState
JOB_STATE_WAITING: JobState
JOB_STATE_LEASED: JobState
JOB_STATE_DONE: JobState
JOB_STATE_FAILED: JobState
JOB_STATE_PAUSED: JobState
JOB_STATE_CANCELLED: JobState
DIRECTIVE_UNSPECIFIED: Directive
DIRECTIVE_CONTINUE: Directive
DIRECTIVE_DRAIN: Directive
DIRECTIVE_RESTART: Directive
DIRECTIVE_CANCEL: Directive
ACTION_UNSPECIFIED: Action
ACTION_PAUSE: Action
ACTION_RESUME: Action
ACTION_CANCEL: Action
ACTION_RETRY: Action
ENDING_UNSPECIFIED: Ending
ENDING_FINISHED: Ending
ENDING_DRAINED: Ending
ENDING_FAILED: Ending
ENDING_REFUSED: Ending
ENDING_PREEMPTED: Ending
ENDING_DAMAGED: Ending
ENDING_NODE_LOST: Ending
INCIDENT_KIND_UNSPECIFIED: IncidentKind
INCIDENT_KIND_RESTARTED: IncidentKind
INCIDENT_KIND_SKIPPED: IncidentKind
INCIDENT_KIND_ROLLED_BACK: IncidentKind

class JobSpec(_message.Message):
    __slots__ = ("name", "role", "index", "run_uri", "steps", "digest")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    RUN_URI_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    name: str
    role: Role
    index: int
    run_uri: str
    steps: int
    digest: str
    def __init__(self, name: _Optional[str] = ..., role: _Optional[_Union[Role, str]] = ..., index: _Optional[int] = ..., run_uri: _Optional[str] = ..., steps: _Optional[int] = ..., digest: _Optional[str] = ...) -> None: ...

class CheckpointRef(_message.Message):
    __slots__ = ("key", "digest", "step", "epoch")
    KEY_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    key: str
    digest: str
    step: int
    epoch: int
    def __init__(self, key: _Optional[str] = ..., digest: _Optional[str] = ..., step: _Optional[int] = ..., epoch: _Optional[int] = ...) -> None: ...

class Lease(_message.Message):
    __slots__ = ("job", "island", "epoch", "term_s")
    JOB_FIELD_NUMBER: _ClassVar[int]
    ISLAND_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    TERM_S_FIELD_NUMBER: _ClassVar[int]
    job: str
    island: str
    epoch: int
    term_s: float
    def __init__(self, job: _Optional[str] = ..., island: _Optional[str] = ..., epoch: _Optional[int] = ..., term_s: _Optional[float] = ...) -> None: ...

class Progress(_message.Message):
    __slots__ = ("step", "loss", "samples_per_s", "fetched_bytes", "vitals")
    STEP_FIELD_NUMBER: _ClassVar[int]
    LOSS_FIELD_NUMBER: _ClassVar[int]
    SAMPLES_PER_S_FIELD_NUMBER: _ClassVar[int]
    FETCHED_BYTES_FIELD_NUMBER: _ClassVar[int]
    VITALS_FIELD_NUMBER: _ClassVar[int]
    step: int
    loss: float
    samples_per_s: float
    fetched_bytes: int
    vitals: Vitals
    def __init__(self, step: _Optional[int] = ..., loss: _Optional[float] = ..., samples_per_s: _Optional[float] = ..., fetched_bytes: _Optional[int] = ..., vitals: _Optional[_Union[Vitals, _Mapping]] = ...) -> None: ...

class Vitals(_message.Message):
    __slots__ = ("tflops_per_s", "mfu", "memory_bytes", "wait_share", "grad_norm", "held_out")
    TFLOPS_PER_S_FIELD_NUMBER: _ClassVar[int]
    MFU_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    WAIT_SHARE_FIELD_NUMBER: _ClassVar[int]
    GRAD_NORM_FIELD_NUMBER: _ClassVar[int]
    HELD_OUT_FIELD_NUMBER: _ClassVar[int]
    tflops_per_s: float
    mfu: float
    memory_bytes: int
    wait_share: float
    grad_norm: float
    held_out: float
    def __init__(self, tflops_per_s: _Optional[float] = ..., mfu: _Optional[float] = ..., memory_bytes: _Optional[int] = ..., wait_share: _Optional[float] = ..., grad_norm: _Optional[float] = ..., held_out: _Optional[float] = ...) -> None: ...

class Incident(_message.Message):
    __slots__ = ("number", "kind", "reason")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    number: int
    kind: IncidentKind
    reason: str
    def __init__(self, number: _Optional[int] = ..., kind: _Optional[_Union[IncidentKind, str]] = ..., reason: _Optional[str] = ...) -> None: ...

class Assignment(_message.Message):
    __slots__ = ("lease", "spec", "checkpoint")
    LEASE_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    lease: Lease
    spec: JobSpec
    checkpoint: CheckpointRef
    def __init__(self, lease: _Optional[_Union[Lease, _Mapping]] = ..., spec: _Optional[_Union[JobSpec, _Mapping]] = ..., checkpoint: _Optional[_Union[CheckpointRef, _Mapping]] = ...) -> None: ...

class Wait(_message.Message):
    __slots__ = ("retry_after_s", "dismissed")
    RETRY_AFTER_S_FIELD_NUMBER: _ClassVar[int]
    DISMISSED_FIELD_NUMBER: _ClassVar[int]
    retry_after_s: float
    dismissed: bool
    def __init__(self, retry_after_s: _Optional[float] = ..., dismissed: _Optional[bool] = ...) -> None: ...

class AcquireRequest(_message.Message):
    __slots__ = ("island", "request_id", "node", "generation")
    ISLAND_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    island: str
    request_id: str
    node: str
    generation: int
    def __init__(self, island: _Optional[str] = ..., request_id: _Optional[str] = ..., node: _Optional[str] = ..., generation: _Optional[int] = ...) -> None: ...

class AcquireResponse(_message.Message):
    __slots__ = ("assignment", "wait", "log_wanted")
    ASSIGNMENT_FIELD_NUMBER: _ClassVar[int]
    WAIT_FIELD_NUMBER: _ClassVar[int]
    LOG_WANTED_FIELD_NUMBER: _ClassVar[int]
    assignment: Assignment
    wait: Wait
    log_wanted: bool
    def __init__(self, assignment: _Optional[_Union[Assignment, _Mapping]] = ..., wait: _Optional[_Union[Wait, _Mapping]] = ..., log_wanted: _Optional[bool] = ...) -> None: ...

class HeartbeatRequest(_message.Message):
    __slots__ = ("lease", "progress", "incidents")
    LEASE_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    INCIDENTS_FIELD_NUMBER: _ClassVar[int]
    lease: Lease
    progress: Progress
    incidents: _containers.RepeatedCompositeFieldContainer[Incident]
    def __init__(self, lease: _Optional[_Union[Lease, _Mapping]] = ..., progress: _Optional[_Union[Progress, _Mapping]] = ..., incidents: _Optional[_Iterable[_Union[Incident, _Mapping]]] = ...) -> None: ...

class HeartbeatResponse(_message.Message):
    __slots__ = ("directive", "log_wanted", "trainer_log_wanted", "trace_wanted")
    DIRECTIVE_FIELD_NUMBER: _ClassVar[int]
    LOG_WANTED_FIELD_NUMBER: _ClassVar[int]
    TRAINER_LOG_WANTED_FIELD_NUMBER: _ClassVar[int]
    TRACE_WANTED_FIELD_NUMBER: _ClassVar[int]
    directive: Directive
    log_wanted: bool
    trainer_log_wanted: bool
    trace_wanted: TraceWish
    def __init__(self, directive: _Optional[_Union[Directive, str]] = ..., log_wanted: _Optional[bool] = ..., trainer_log_wanted: _Optional[bool] = ..., trace_wanted: _Optional[_Union[TraceWish, _Mapping]] = ...) -> None: ...

class CommitRequest(_message.Message):
    __slots__ = ("lease", "checkpoint", "loss")
    LEASE_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    LOSS_FIELD_NUMBER: _ClassVar[int]
    lease: Lease
    checkpoint: CheckpointRef
    loss: float
    def __init__(self, lease: _Optional[_Union[Lease, _Mapping]] = ..., checkpoint: _Optional[_Union[CheckpointRef, _Mapping]] = ..., loss: _Optional[float] = ...) -> None: ...

class CommitResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ReleaseRequest(_message.Message):
    __slots__ = ("lease", "ending", "reason", "request_id", "log")
    LEASE_FIELD_NUMBER: _ClassVar[int]
    ENDING_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    LOG_FIELD_NUMBER: _ClassVar[int]
    lease: Lease
    ending: Ending
    reason: str
    request_id: str
    log: str
    def __init__(self, lease: _Optional[_Union[Lease, _Mapping]] = ..., ending: _Optional[_Union[Ending, str]] = ..., reason: _Optional[str] = ..., request_id: _Optional[str] = ..., log: _Optional[str] = ...) -> None: ...

class ReleaseResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Submission(_message.Message):
    __slots__ = ("spec", "epoch", "checkpoint", "damaged")
    SPEC_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    DAMAGED_FIELD_NUMBER: _ClassVar[int]
    spec: JobSpec
    epoch: int
    checkpoint: CheckpointRef
    damaged: bool
    def __init__(self, spec: _Optional[_Union[JobSpec, _Mapping]] = ..., epoch: _Optional[int] = ..., checkpoint: _Optional[_Union[CheckpointRef, _Mapping]] = ..., damaged: _Optional[bool] = ...) -> None: ...

class SubmitRequest(_message.Message):
    __slots__ = ("jobs",)
    JOBS_FIELD_NUMBER: _ClassVar[int]
    jobs: _containers.RepeatedCompositeFieldContainer[Submission]
    def __init__(self, jobs: _Optional[_Iterable[_Union[Submission, _Mapping]]] = ...) -> None: ...

class SubmitResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetFleetRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class JobView(_message.Message):
    __slots__ = ("spec", "state", "epoch", "island", "failures", "reason", "progress", "checkpoint", "losses", "preemptions", "log", "crash_loop", "lease_left_s")
    SPEC_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    ISLAND_FIELD_NUMBER: _ClassVar[int]
    FAILURES_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    LOSSES_FIELD_NUMBER: _ClassVar[int]
    PREEMPTIONS_FIELD_NUMBER: _ClassVar[int]
    LOG_FIELD_NUMBER: _ClassVar[int]
    CRASH_LOOP_FIELD_NUMBER: _ClassVar[int]
    LEASE_LEFT_S_FIELD_NUMBER: _ClassVar[int]
    spec: JobSpec
    state: JobState
    epoch: int
    island: str
    failures: int
    reason: str
    progress: Progress
    checkpoint: CheckpointRef
    losses: int
    preemptions: int
    log: str
    crash_loop: bool
    lease_left_s: float
    def __init__(self, spec: _Optional[_Union[JobSpec, _Mapping]] = ..., state: _Optional[_Union[JobState, str]] = ..., epoch: _Optional[int] = ..., island: _Optional[str] = ..., failures: _Optional[int] = ..., reason: _Optional[str] = ..., progress: _Optional[_Union[Progress, _Mapping]] = ..., checkpoint: _Optional[_Union[CheckpointRef, _Mapping]] = ..., losses: _Optional[int] = ..., preemptions: _Optional[int] = ..., log: _Optional[str] = ..., crash_loop: _Optional[bool] = ..., lease_left_s: _Optional[float] = ...) -> None: ...

class IslandView(_message.Message):
    __slots__ = ("name", "state", "job", "silent_s", "nodes")
    NAME_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    JOB_FIELD_NUMBER: _ClassVar[int]
    SILENT_S_FIELD_NUMBER: _ClassVar[int]
    NODES_FIELD_NUMBER: _ClassVar[int]
    name: str
    state: str
    job: str
    silent_s: float
    nodes: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: _Optional[str] = ..., state: _Optional[str] = ..., job: _Optional[str] = ..., silent_s: _Optional[float] = ..., nodes: _Optional[_Iterable[str]] = ...) -> None: ...

class ServerView(_message.Message):
    __slots__ = ("address", "process", "experts", "rows_per_second", "lasts_s")
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    PROCESS_FIELD_NUMBER: _ClassVar[int]
    EXPERTS_FIELD_NUMBER: _ClassVar[int]
    ROWS_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    LASTS_S_FIELD_NUMBER: _ClassVar[int]
    address: str
    process: str
    experts: _containers.RepeatedScalarFieldContainer[int]
    rows_per_second: float
    lasts_s: float
    def __init__(self, address: _Optional[str] = ..., process: _Optional[str] = ..., experts: _Optional[_Iterable[int]] = ..., rows_per_second: _Optional[float] = ..., lasts_s: _Optional[float] = ...) -> None: ...

class GetFleetResponse(_message.Message):
    __slots__ = ("jobs", "islands", "draining", "last_event", "node_hours", "cost", "budget", "servers")
    JOBS_FIELD_NUMBER: _ClassVar[int]
    ISLANDS_FIELD_NUMBER: _ClassVar[int]
    DRAINING_FIELD_NUMBER: _ClassVar[int]
    LAST_EVENT_FIELD_NUMBER: _ClassVar[int]
    NODE_HOURS_FIELD_NUMBER: _ClassVar[int]
    COST_FIELD_NUMBER: _ClassVar[int]
    BUDGET_FIELD_NUMBER: _ClassVar[int]
    SERVERS_FIELD_NUMBER: _ClassVar[int]
    jobs: _containers.RepeatedCompositeFieldContainer[JobView]
    islands: _containers.RepeatedCompositeFieldContainer[IslandView]
    draining: bool
    last_event: int
    node_hours: float
    cost: float
    budget: BudgetView
    servers: _containers.RepeatedCompositeFieldContainer[ServerView]
    def __init__(self, jobs: _Optional[_Iterable[_Union[JobView, _Mapping]]] = ..., islands: _Optional[_Iterable[_Union[IslandView, _Mapping]]] = ..., draining: _Optional[bool] = ..., last_event: _Optional[int] = ..., node_hours: _Optional[float] = ..., cost: _Optional[float] = ..., budget: _Optional[_Union[BudgetView, _Mapping]] = ..., servers: _Optional[_Iterable[_Union[ServerView, _Mapping]]] = ...) -> None: ...

class BudgetView(_message.Message):
    __slots__ = ("cost", "node_hours", "deadline", "reached")
    COST_FIELD_NUMBER: _ClassVar[int]
    NODE_HOURS_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_FIELD_NUMBER: _ClassVar[int]
    REACHED_FIELD_NUMBER: _ClassVar[int]
    cost: float
    node_hours: float
    deadline: float
    reached: str
    def __init__(self, cost: _Optional[float] = ..., node_hours: _Optional[float] = ..., deadline: _Optional[float] = ..., reached: _Optional[str] = ...) -> None: ...

class WatchEventsRequest(_message.Message):
    __slots__ = ("after",)
    AFTER_FIELD_NUMBER: _ClassVar[int]
    after: int
    def __init__(self, after: _Optional[int] = ...) -> None: ...

class Event(_message.Message):
    __slots__ = ("number", "at", "kind", "reason", "job", "island", "epoch")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    JOB_FIELD_NUMBER: _ClassVar[int]
    ISLAND_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    number: int
    at: float
    kind: str
    reason: str
    job: str
    island: str
    epoch: int
    def __init__(self, number: _Optional[int] = ..., at: _Optional[float] = ..., kind: _Optional[str] = ..., reason: _Optional[str] = ..., job: _Optional[str] = ..., island: _Optional[str] = ..., epoch: _Optional[int] = ...) -> None: ...

class WatchEventsResponse(_message.Message):
    __slots__ = ("event",)
    EVENT_FIELD_NUMBER: _ClassVar[int]
    event: Event
    def __init__(self, event: _Optional[_Union[Event, _Mapping]] = ...) -> None: ...

class DrainRequest(_message.Message):
    __slots__ = ("reason", "island")
    REASON_FIELD_NUMBER: _ClassVar[int]
    ISLAND_FIELD_NUMBER: _ClassVar[int]
    reason: str
    island: str
    def __init__(self, reason: _Optional[str] = ..., island: _Optional[str] = ...) -> None: ...

class DrainResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class SteerRequest(_message.Message):
    __slots__ = ("action", "jobs", "reason")
    ACTION_FIELD_NUMBER: _ClassVar[int]
    JOBS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    action: Action
    jobs: _containers.RepeatedScalarFieldContainer[str]
    reason: str
    def __init__(self, action: _Optional[_Union[Action, str]] = ..., jobs: _Optional[_Iterable[str]] = ..., reason: _Optional[str] = ...) -> None: ...

class SteerResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class SendLogRequest(_message.Message):
    __slots__ = ("island", "job", "epoch", "offset", "text", "node")
    ISLAND_FIELD_NUMBER: _ClassVar[int]
    JOB_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    island: str
    job: str
    epoch: int
    offset: int
    text: bytes
    node: str
    def __init__(self, island: _Optional[str] = ..., job: _Optional[str] = ..., epoch: _Optional[int] = ..., offset: _Optional[int] = ..., text: _Optional[bytes] = ..., node: _Optional[str] = ...) -> None: ...

class SendLogResponse(_message.Message):
    __slots__ = ("wanted",)
    WANTED_FIELD_NUMBER: _ClassVar[int]
    wanted: bool
    def __init__(self, wanted: _Optional[bool] = ...) -> None: ...

class WatchLogRequest(_message.Message):
    __slots__ = ("name", "lines", "follow", "after")
    NAME_FIELD_NUMBER: _ClassVar[int]
    LINES_FIELD_NUMBER: _ClassVar[int]
    FOLLOW_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    name: str
    lines: int
    follow: bool
    after: LogPlace
    def __init__(self, name: _Optional[str] = ..., lines: _Optional[int] = ..., follow: _Optional[bool] = ..., after: _Optional[_Union[LogPlace, _Mapping]] = ...) -> None: ...

class LogPlace(_message.Message):
    __slots__ = ("island", "epoch", "offset")
    ISLAND_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    island: str
    epoch: int
    offset: int
    def __init__(self, island: _Optional[str] = ..., epoch: _Optional[int] = ..., offset: _Optional[int] = ...) -> None: ...

class WatchLogResponse(_message.Message):
    __slots__ = ("lines", "end", "note")
    LINES_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    lines: _containers.RepeatedScalarFieldContainer[str]
    end: LogPlace
    note: str
    def __init__(self, lines: _Optional[_Iterable[str]] = ..., end: _Optional[_Union[LogPlace, _Mapping]] = ..., note: _Optional[str] = ...) -> None: ...

class GangNode(_message.Message):
    __slots__ = ("name", "address")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    name: str
    address: str
    def __init__(self, name: _Optional[str] = ..., address: _Optional[str] = ...) -> None: ...

class Gang(_message.Message):
    __slots__ = ("generation", "nodes", "others", "why")
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    NODES_FIELD_NUMBER: _ClassVar[int]
    OTHERS_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    generation: int
    nodes: _containers.RepeatedCompositeFieldContainer[GangNode]
    others: _containers.RepeatedScalarFieldContainer[str]
    why: str
    def __init__(self, generation: _Optional[int] = ..., nodes: _Optional[_Iterable[_Union[GangNode, _Mapping]]] = ..., others: _Optional[_Iterable[str]] = ..., why: _Optional[str] = ...) -> None: ...

class Meeting(_message.Message):
    __slots__ = ("generation", "epoch", "port")
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    PORT_FIELD_NUMBER: _ClassVar[int]
    generation: int
    epoch: int
    port: int
    def __init__(self, generation: _Optional[int] = ..., epoch: _Optional[int] = ..., port: _Optional[int] = ...) -> None: ...

class Trouble(_message.Message):
    __slots__ = ("node", "epoch", "ending", "reason", "log")
    NODE_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    ENDING_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    LOG_FIELD_NUMBER: _ClassVar[int]
    node: str
    epoch: int
    ending: Ending
    reason: str
    log: str
    def __init__(self, node: _Optional[str] = ..., epoch: _Optional[int] = ..., ending: _Optional[_Union[Ending, str]] = ..., reason: _Optional[str] = ..., log: _Optional[str] = ...) -> None: ...

class GatherRequest(_message.Message):
    __slots__ = ("island", "node", "address", "gang", "leaving", "meeting", "trouble")
    ISLAND_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    GANG_FIELD_NUMBER: _ClassVar[int]
    LEAVING_FIELD_NUMBER: _ClassVar[int]
    MEETING_FIELD_NUMBER: _ClassVar[int]
    TROUBLE_FIELD_NUMBER: _ClassVar[int]
    island: str
    node: str
    address: str
    gang: Gang
    leaving: bool
    meeting: Meeting
    trouble: Trouble
    def __init__(self, island: _Optional[str] = ..., node: _Optional[str] = ..., address: _Optional[str] = ..., gang: _Optional[_Union[Gang, _Mapping]] = ..., leaving: _Optional[bool] = ..., meeting: _Optional[_Union[Meeting, _Mapping]] = ..., trouble: _Optional[_Union[Trouble, _Mapping]] = ...) -> None: ...

class GatherResponse(_message.Message):
    __slots__ = ("gang", "assignment", "meeting", "troubles", "dismissed", "log_wanted", "trainer_log_wanted")
    GANG_FIELD_NUMBER: _ClassVar[int]
    ASSIGNMENT_FIELD_NUMBER: _ClassVar[int]
    MEETING_FIELD_NUMBER: _ClassVar[int]
    TROUBLES_FIELD_NUMBER: _ClassVar[int]
    DISMISSED_FIELD_NUMBER: _ClassVar[int]
    LOG_WANTED_FIELD_NUMBER: _ClassVar[int]
    TRAINER_LOG_WANTED_FIELD_NUMBER: _ClassVar[int]
    gang: Gang
    assignment: Assignment
    meeting: Meeting
    troubles: _containers.RepeatedCompositeFieldContainer[Trouble]
    dismissed: bool
    log_wanted: bool
    trainer_log_wanted: bool
    def __init__(self, gang: _Optional[_Union[Gang, _Mapping]] = ..., assignment: _Optional[_Union[Assignment, _Mapping]] = ..., meeting: _Optional[_Union[Meeting, _Mapping]] = ..., troubles: _Optional[_Iterable[_Union[Trouble, _Mapping]]] = ..., dismissed: _Optional[bool] = ..., log_wanted: _Optional[bool] = ..., trainer_log_wanted: _Optional[bool] = ...) -> None: ...

class TraceWish(_message.Message):
    __slots__ = ("id", "steps")
    ID_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    id: str
    steps: int
    def __init__(self, id: _Optional[str] = ..., steps: _Optional[int] = ...) -> None: ...

class Trace(_message.Message):
    __slots__ = ("wish", "key", "trouble")
    WISH_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    TROUBLE_FIELD_NUMBER: _ClassVar[int]
    wish: str
    key: str
    trouble: str
    def __init__(self, wish: _Optional[str] = ..., key: _Optional[str] = ..., trouble: _Optional[str] = ...) -> None: ...

class ProfileRequest(_message.Message):
    __slots__ = ("job", "steps")
    JOB_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    job: str
    steps: int
    def __init__(self, job: _Optional[str] = ..., steps: _Optional[int] = ...) -> None: ...

class ProfileResponse(_message.Message):
    __slots__ = ("trace",)
    TRACE_FIELD_NUMBER: _ClassVar[int]
    trace: Trace
    def __init__(self, trace: _Optional[_Union[Trace, _Mapping]] = ...) -> None: ...

class SendTraceRequest(_message.Message):
    __slots__ = ("lease", "trace")
    LEASE_FIELD_NUMBER: _ClassVar[int]
    TRACE_FIELD_NUMBER: _ClassVar[int]
    lease: Lease
    trace: Trace
    def __init__(self, lease: _Optional[_Union[Lease, _Mapping]] = ..., trace: _Optional[_Union[Trace, _Mapping]] = ...) -> None: ...

class SendTraceResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
