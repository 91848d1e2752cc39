from __future__ import annotations

from atoll.types import CheckpointRecord, CheckpointRef
from orchestrator.planning.measured import Measured, measured


def record(step: int, epoch: int, at: float) -> CheckpointRecord:
    return CheckpointRecord("expert-0", CheckpointRef("k", "d", step, epoch), at=at)


def test_pace_is_that_between_checkpoints_of_one_lease_over_all_jobs_of_a_kind():
    first = [record(10, 1, 100.0), record(20, 1, 120.0), record(30, 2, 500.0), record(50, 2, 540.0)]
    second = [record(10, 1, 100.0), record(40, 1, 160.0)]
    found = measured([("expert", first), ("expert", second), ("router", [record(5, 1, 9.0)])])
    assert found == {"expert": Measured(steps=60, seconds=120.0)}
    assert found["expert"].step_s == 2.0


def test_clock_that_was_set_back_between_two_checkpoints_tells_no_pace():
    assert measured([("expert", [record(10, 1, 100.0), record(20, 1, 90.0)])]) == {}
