"""What an operator sees of a run as messages, and back."""

from __future__ import annotations

from dataclasses import asdict
from typing import Literal

from atoll import codec, types, views
from atoll.wire.v1 import control_pb2 as wire

_LIMITS: tuple[Literal["cost", "node_hours", "deadline"], ...] = ("cost", "node_hours", "deadline")


def encode_fleet(view: views.FleetView) -> wire.GetFleetResponse:
    """See :class:`atoll.views.FleetView`."""
    return wire.GetFleetResponse(
        jobs=[_encode_job(job) for job in view.jobs],
        islands=[
            wire.IslandView(
                name=i.name, state=i.state, job=i.job, silent_s=i.silent_s, nodes=i.nodes
            )
            for i in view.islands
        ],
        draining=view.draining,
        last_event=view.last_event,
        node_hours=view.node_hours,
        cost=view.cost,
        budget=wire.BudgetView(**asdict(view.budget)),
        servers=[_encode_server(server) for server in view.servers],
    )


def decode_fleet(message: wire.GetFleetResponse) -> views.FleetView:
    """See :class:`atoll.views.FleetView`."""
    return views.FleetView(
        jobs=tuple(_decode_job(job) for job in message.jobs),
        islands=tuple(
            views.IslandView(i.name, i.state, i.job, i.silent_s, tuple(i.nodes))
            for i in message.islands
        ),
        draining=message.draining,
        last_event=message.last_event,
        node_hours=message.node_hours,
        cost=message.cost,
        budget=_decode_budget(message.budget),
        servers=tuple(_decode_server(server) for server in message.servers),
    )


def _decode_budget(message: wire.BudgetView) -> views.BudgetView:
    said = {key: getattr(message, key) for key in _LIMITS if message.HasField(key)}
    return views.BudgetView(**said, reached=message.reached)


def _encode_server(server: views.ServerView) -> wire.ServerView:
    return wire.ServerView(**asdict(server))


def _decode_server(message: wire.ServerView) -> views.ServerView:
    rate, experts = message.rows_per_second, tuple(message.experts)
    return views.ServerView(message.address, message.process, experts, rate, message.lasts_s)


def _encode_job(job: views.JobView) -> wire.JobView:
    return wire.JobView(
        spec=codec.encode_spec(job.spec),
        state=codec.encode_enum(job.state),
        epoch=job.epoch,
        island=job.island,
        failures=job.failures,
        reason=job.reason,
        progress=codec.encode_progress(job.progress),
        checkpoint=codec.encode_checkpoint(job.checkpoint) if job.checkpoint else None,
        losses=job.losses,
        preemptions=job.preemptions,
        log=job.log,
        crash_loop=job.crash_loop,
        lease_left_s=job.lease_left_s,
    )


def _decode_job(message: wire.JobView) -> views.JobView:
    return views.JobView(
        spec=codec.decode_spec(message.spec),
        state=codec.decode_enum(types.JobState, message.state),
        epoch=message.epoch,
        island=message.island,
        failures=message.failures,
        reason=message.reason,
        progress=codec.decode_progress(message.progress),
        checkpoint=codec.optional_checkpoint(message.HasField("checkpoint"), message.checkpoint),
        losses=message.losses,
        preemptions=message.preemptions,
        log=message.log,
        crash_loop=message.crash_loop,
        lease_left_s=message.lease_left_s,
    )
