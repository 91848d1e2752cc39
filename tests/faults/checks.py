"""What holds of every run that has ended, whatever befell it."""

from __future__ import annotations

from pathlib import Path

from atoll.blobs import open_store
from atoll.checkpoints import download
from atoll.types import CheckpointRef, Event
from tests.integration.runs import Run


def assert_nothing_was_lost(run: Run, undisturbed: dict[str, str], cache: Path) -> None:
    """The weights are those of a run that nothing befell, and its history is one that may be.

    Args:
        run: ended.
        undisturbed: its weights, had nothing befallen it.
        cache: folder for copies of checkpoints.
    """
    assert run.weights() == undisturbed
    events = run.events()
    assert [event.number for event in events] == list(range(1, len(events) + 1))
    for job, ref in run.results().items():
        assert ref.step == run.steps
        download(open_store(str(run.uri)), ref, cache)  # verifies every byte
        assert_one_epoch_publishes([event for event in events if event.job == job], ref)


def assert_one_epoch_publishes(events: list[Event], last: CheckpointRef) -> None:
    """Epochs only grow, and none but the newest that was granted commits; so do a job's steps."""
    granted, committed = 0, 0
    for event in events:
        if event.kind == "lease-granted":
            assert event.epoch > granted, event
            granted = event.epoch
        if event.kind == "checkpoint-committed":
            assert event.epoch == granted, event
            assert step_of(event) > committed, event
            committed = step_of(event)
    assert (granted, committed) == (last.epoch, last.step)


def step_of(event: Event) -> int:
    """How far a committed checkpoint is, from the words that tell of it."""
    return int(event.reason.split()[1])
