"""What holds of every run that has ended, whatever befell it."""

from __future__ import annotations

from pathlib import Path

from atoll.blobs import open_store
from atoll.checkpoints import download
from atoll.types import CheckpointRef, Event
from orchestrator.process import database_url
from orchestrator.sql_store import SqlStore
from tests.integration.conftest import Run


def assert_nothing_was_lost(run: Run, undisturbed: dict[str, str], cache: Path) -> None:
    """The weights are those of a run that nothing befell, and its history is one that may be.

    Args:
        run: ended.
        undisturbed: its weights, had nothing befallen it.
        cache: folder for copies of checkpoints.
    """
    assert run.weights() == undisturbed
    store = open_store(str(run.uri))
    for ref in run.results().values():
        assert ref.step == run.steps
        download(store, ref, cache)  # verifies every byte
    events = run.events()
    assert [event.number for event in events] == list(range(1, len(events) + 1))
    for job in undisturbed:
        assert_one_epoch_publishes([event for event in events if event.job == job], job)
        assert published(events, job) == [(ref.epoch, ref.step) for ref in stored(run, job)]
    assert {job: stored(run, job)[-1] for job in undisturbed} == run.results()


def assert_one_epoch_publishes(events: list[Event], job: str) -> None:
    """Epochs only grow, and none but the newest that was granted commits; so do its steps."""
    epoch, step = 0, 0
    for event in events:
        if event.kind == "lease-granted":
            assert event.epoch > epoch, event
            epoch = event.epoch
        if event.kind == "checkpoint-committed":
            assert event.epoch == epoch, event
            assert step_of(event) > step, event
            step = step_of(event)


def published(events: tuple[Event, ...], job: str) -> list[tuple[int, int]]:
    """Epoch and step of each commit of a job, in the order in which they were made."""
    return [
        (event.epoch, step_of(event))
        for event in events
        if event.kind == "checkpoint-committed" and event.job == job
    ]


def stored(run: Run, job: str) -> tuple[CheckpointRef, ...]:
    """All checkpoints that the database holds of a job."""
    store = SqlStore(database_url(run.config))
    try:
        return store.checkpoints(job)
    finally:
        store.close()


def step_of(event: Event) -> int:
    """How far a committed checkpoint is, from the words that tell of it."""
    return int(event.reason.split()[1])
