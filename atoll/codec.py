"""Between the house's values and the wire's messages, and back.

Decoding refuses what a well-behaved peer never sends, so that nothing behind it need check again.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, TypeVar

from atoll import types
from atoll.errors import Refused
from atoll.wire.v1 import control_pb2 as wire

E = TypeVar("E", bound=enum.StrEnum)


def encode_enum(value: enum.StrEnum) -> Any:
    """The wire's number for a value, e.g. ``JobState.DONE`` → ``JOB_STATE_DONE``."""
    return getattr(wire, f"{_prefix(type(value))}_{value.name}")


def decode_enum(kind: type[E], number: int) -> E:
    """The value behind a wire number.

    Raises:
        Refused: the number is unspecified, or newer than this program.
    """
    for value in kind:
        if encode_enum(value) == number:
            return value
    raise Refused(f"{kind.__name__} number {number} is not known to this version")


def encode_spec(spec: types.JobSpec) -> wire.JobSpec:
    """See :class:`atoll.types.JobSpec`."""
    return wire.JobSpec(
        name=spec.name,
        role=encode_enum(spec.role),
        index=spec.index,
        run_uri=spec.run_uri,
        steps=spec.steps,
        digest=spec.digest,
    )


def decode_spec(message: wire.JobSpec) -> types.JobSpec:
    """See :class:`atoll.types.JobSpec`."""
    return types.JobSpec(
        name=required(message.name, "job name"),
        role=decode_enum(types.Role, message.role),
        index=count(message.index, "index", 2**31 - 1),
        run_uri=required(message.run_uri, "run uri", 2000),
        steps=count(message.steps, "steps"),
        digest=required(message.digest, "settings digest", 64),
    )


def encode_checkpoint(ref: types.CheckpointRef) -> wire.CheckpointRef:
    """See :class:`atoll.types.CheckpointRef`."""
    return wire.CheckpointRef(key=ref.key, digest=ref.digest, step=ref.step, epoch=ref.epoch)


def decode_loss(message: wire.CommitRequest) -> float:
    """The loss a checkpoint is committed with; NaN where none is said, or none can be."""
    return message.loss if message.HasField("loss") and math.isfinite(message.loss) else math.nan


def decode_checkpoint(message: wire.CheckpointRef) -> types.CheckpointRef:
    """See :class:`atoll.types.CheckpointRef`."""
    return types.CheckpointRef(
        key=required(message.key, "checkpoint key", 1000),
        digest=required(message.digest, "checkpoint digest", 64),
        step=count(message.step, "step"),
        epoch=count(message.epoch, "epoch"),
    )


def encode_submission(submission: types.Submission) -> wire.Submission:
    """See :class:`atoll.types.Submission`."""
    found = submission.checkpoint
    return wire.Submission(
        spec=encode_spec(submission.spec),
        epoch=submission.epoch,
        checkpoint=encode_checkpoint(found) if found else None,
        damaged=submission.damaged,
    )


def decode_submission(message: wire.Submission) -> types.Submission:
    """See :class:`atoll.types.Submission`."""
    return types.Submission(
        spec=decode_spec(message.spec),
        epoch=count(message.epoch, "epoch"),
        checkpoint=optional_checkpoint(message.HasField("checkpoint"), message.checkpoint),
        damaged=message.damaged,
    )


def encode_lease(lease: types.Lease) -> wire.Lease:
    """See :class:`atoll.types.Lease`."""
    return wire.Lease(job=lease.job, island=lease.island, epoch=lease.epoch, term_s=lease.term_s)


def decode_lease(message: wire.Lease) -> types.Lease:
    """See :class:`atoll.types.Lease`."""
    return types.Lease(
        job=required(message.job, "job"),
        island=required(message.island, "island"),
        epoch=count(message.epoch, "epoch"),
        term_s=message.term_s,
    )


def encode_progress(progress: types.Progress) -> wire.Progress:
    """See :class:`atoll.types.Progress`."""
    return wire.Progress(
        step=progress.step,
        loss=progress.loss,
        samples_per_s=progress.samples_per_s,
        fetched_bytes=progress.fetched_bytes,
        vitals=wire.Vitals(**asdict(progress.vitals)),
    )


def decode_progress(message: wire.Progress) -> types.Progress:
    """See :class:`atoll.types.Progress`."""
    step = count(message.step, "step")
    fetched_bytes = count(message.fetched_bytes, "fetched_bytes")
    vitals = _decode_vitals(message.vitals)
    return types.Progress(step, message.loss, message.samples_per_s, fetched_bytes, vitals)


def _decode_vitals(message: wire.Vitals) -> types.Vitals:
    told = {field.name: value for field, value in message.ListFields()}
    count(message.memory_bytes, "memory_bytes")
    return types.Vitals(**told)


def encode_incident(incident: types.Incident) -> wire.Incident:
    """See :class:`atoll.types.Incident`."""
    kind = encode_enum(incident.kind)
    return wire.Incident(number=incident.number, kind=kind, reason=incident.reason)


def decode_incidents(messages: Sequence[wire.Incident]) -> list[types.Incident]:
    """See :class:`atoll.types.Incident`. Raises: Refused, they are too many."""
    count(len(messages), "number of incidents", types.MOST_INCIDENTS)
    return [
        types.Incident(
            number=count(message.number, "incident number"),
            kind=decode_enum(types.IncidentKind, message.kind),
            reason=message.reason,
        )
        for message in messages
    ]


def encode_acquired(answer: types.Assignment | types.Wait) -> wire.AcquireResponse:
    """An answer to a request for work."""
    if isinstance(answer, types.Wait):
        wait = wire.Wait(retry_after_s=answer.retry_after_s, dismissed=answer.dismissed)
        return wire.AcquireResponse(wait=wait)
    return wire.AcquireResponse(assignment=encode_assignment(answer))


def decode_acquired(message: wire.AcquireResponse) -> types.Assignment | types.Wait:
    """An answer to a request for work."""
    if message.HasField("wait"):
        return types.Wait(message.wait.retry_after_s, message.wait.dismissed)
    return decode_assignment(message.assignment)


def encode_assignment(assignment: types.Assignment) -> wire.Assignment:
    """See :class:`atoll.types.Assignment`."""
    found = assignment.checkpoint
    return wire.Assignment(
        lease=encode_lease(assignment.lease),
        spec=encode_spec(assignment.spec),
        checkpoint=encode_checkpoint(found) if found else None,
    )


def decode_assignment(message: wire.Assignment) -> types.Assignment:
    """See :class:`atoll.types.Assignment`."""
    return types.Assignment(
        lease=decode_lease(message.lease),
        spec=decode_spec(message.spec),
        checkpoint=optional_checkpoint(message.HasField("checkpoint"), message.checkpoint),
    )


def encode_event(event: types.Event) -> wire.Event:
    """See :class:`atoll.types.Event`."""
    return wire.Event(
        number=event.number,
        at=event.at,
        kind=event.kind,
        reason=event.reason,
        job=event.job,
        island=event.island,
        epoch=event.epoch,
    )


def decode_event(message: wire.Event) -> types.Event:
    """See :class:`atoll.types.Event`."""
    return types.Event(
        kind=message.kind,
        reason=message.reason,
        job=message.job,
        island=message.island,
        epoch=message.epoch,
        number=message.number,
        at=message.at,
    )


def optional_checkpoint(present: bool, message: wire.CheckpointRef) -> types.CheckpointRef | None:
    """A checkpoint, where the message that has it says so; absent otherwise."""
    return decode_checkpoint(message) if present else None


def required(text: str, name: str, most: int = 200) -> str:
    """A text that has to be there, and is one line of at most so many characters.

    Raises:
        Refused: it is not; names it.
    """
    if not text:
        raise Refused(f"the message has no {name}")
    if len(text) > most or any(character < " " for character in text):
        raise Refused(f"the message's {name} is no line of at most {most} characters")
    return text


def count(number: int, name: str, most: int = 2**53) -> int:
    """A number that every database, and every reader of JSON, can hold.

    Raises:
        Refused: it is larger; names it.
    """
    if number > most:
        raise Refused(f"the message's {name} is {number}, and {most} is the most")
    return number


def _prefix(kind: type[enum.StrEnum]) -> str:
    """``JobState`` → ``JOB_STATE``, as the protobuf style guide names enum values."""
    letters = (f"_{c}" if c.isupper() else c for c in kind.__name__)
    return "".join(letters).lstrip("_").upper()
