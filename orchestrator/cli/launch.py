"""Running jobs to their end: submit, follow, drain when interrupted."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from atoll import layout
from atoll.blobs import open_store
from atoll.clock import Clock, SystemClock
from atoll.command import say
from atoll.config import Config
from atoll.config_file import save_config
from atoll.control import ControlClient
from atoll.errors import (
    BadInput,
    BlobMissing,
    Interrupted,
    JobFailed,
    OverBudget,
    Refused,
    Unreachable,
)
from atoll.types import CheckpointRef, JobState, Submission
from atoll.views import JobView
from orchestrator.cli.live import Watch
from orchestrator.connect import connect
from orchestrator.rendezvous import refuse_other_place

_LOOK_S = 0.25
_MAX_CONNECTIONS = 10
_MORE = "allow more in [budget] and give the same command again, which goes on from there"


@dataclass(frozen=True, slots=True)
class Launch:
    """What is run, and how.

    Attributes:
        config: the run.
        jobs: what is submitted.
        trainer: command that islands run in place of Atoll's trainers; () for those.
        clock: for pauses.
    """

    config: Config
    jobs: Sequence[Submission]
    trainer: Sequence[str] = ()
    clock: Clock = field(default_factory=SystemClock)


def run_jobs(launch: Launch, watch: Watch) -> dict[str, CheckpointRef]:
    """Run jobs until all are done; those done before are not run again.

    If the orchestrator dies meanwhile it is started again. If this process dies, the orchestrator
    carries on, and the same call attaches to it.

    Returns:
        The last checkpoint of each job.

    Raises:
        JobFailed: a job was given up; the others are done.
        Interrupted: by SIGINT or SIGTERM; every trainer has checkpointed.
        OverBudget: the run would take more than its budget; every trainer has checkpointed.
        BadInput: the orchestrator cannot start as configured, or a job was begun with other
            settings.
        Unreachable: the orchestrator dies again and again.
    """
    refuse_other_place(launch.config)
    tries, committed = 0, 0  # tries since more was committed than so many steps
    with _laid_down(launch.config), _interrupts() as interrupts, watch:
        while tries < _MAX_CONNECTIONS:
            tries += 1
            with connect(launch.config, launch.trainer) as client:
                try:
                    _submit(client, launch.jobs)
                    if (safe := _committed(client)) > committed:
                        tries, committed = 1, safe
                    return _results(_follow(launch, client, watch, interrupts))
                except Unreachable as error:
                    if interrupts.num:
                        raise Interrupted(f"stopped waiting, because {error}") from error
                    watch.tell(f"{error}; starting it again")
                except OverBudget:
                    raise
                except Refused as error:
                    raise BadInput(str(error)) from error
    raise Unreachable(
        f"the orchestrator died {_MAX_CONNECTIONS} times with no step committed between; its log "
        "tells why"
    )


@contextlib.contextmanager
def _laid_down(config: Config) -> Iterator[None]:
    """Inside, the run goes by this configuration; by its former one again if it is refused."""
    store = open_store(config.run.uri)
    try:
        former = store.get_bytes(layout.CONFIG)
    except BlobMissing:
        former = b""
    save_config(store, config)
    try:
        yield
    except BadInput:
        if former:
            store.publish(layout.CONFIG, former)
        raise


@dataclass(slots=True)
class _Interrupts:
    """How often the user asked to stop; set at any moment."""

    num: int = 0

    def note(self, *_: object) -> None:
        self.num += 1


@contextlib.contextmanager
def _interrupts() -> Iterator[_Interrupts]:
    """Inside, SIGINT and SIGTERM are counted instead of ending the process."""
    interrupts = _Interrupts()
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, interrupts.note) for number in numbers]
    try:
        yield interrupts
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _submit(client: ControlClient, jobs: Sequence[Submission]) -> None:
    try:
        client.submit(jobs)
    except OverBudget as error:
        raise OverBudget(f"{error}; {_MORE}") from error


def _follow(
    launch: Launch, client: ControlClient, watch: Watch, interrupts: _Interrupts
) -> list[JobView]:
    """Show the fleet until the jobs are over."""
    names = {job.spec.name for job in launch.jobs}
    asked_to_drain = False
    while True:
        view = client.fleet()
        watch.show(view)
        jobs = [job for job in view.jobs if job.spec.name in names]
        if all(job.state.is_ended or job.crash_loop for job in jobs):
            return jobs
        if not any(job.state.is_open for job in jobs):
            if view.budget.reached:
                raise OverBudget(f"{view.budget.reached}; {_steps(jobs)}; {_MORE}")
            raise Interrupted(f"stopped: {_steps(jobs)}; the same command goes on from there")
        if interrupts.num and not asked_to_drain:
            watch.tell(
                "every trainer checkpoints and leaves; interrupt again to stop waiting for them"
            )
            client.drain("interrupted by its user")
            asked_to_drain = True
        if interrupts.num > 1:
            raise Interrupted("stopped waiting; the islands go on to checkpoint and leave")
        launch.clock.sleep(_LOOK_S)


def _committed(client: ControlClient) -> int:
    """Steps that are safe, of all jobs together."""
    return sum(job.checkpoint.step for job in client.fleet().jobs if job.checkpoint)


def _results(jobs: Sequence[JobView]) -> dict[str, CheckpointRef]:
    failed = [job for job in jobs if job.state is not JobState.DONE]
    if failed:
        named: dict[str, list[str]] = {}
        for job in failed:
            if job.log:
                say(f"the last lines of {job.spec.name}:\n{job.log.rstrip()}")
            named.setdefault(job.reason, []).append(job.spec.name)
        causes = "; ".join(f"{', '.join(names)}: {reason}" for reason, names in named.items())
        raise JobFailed(f"{causes}. `atoll logs` has more; mend the cause and run the same again")
    return {job.spec.name: job.checkpoint for job in jobs if job.checkpoint}


def _steps(jobs: Sequence[JobView]) -> str:
    return ", ".join(
        f"{job.spec.name} at step {job.checkpoint.step if job.checkpoint else 0}" for job in jobs
    )
