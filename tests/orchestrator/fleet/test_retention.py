"""Which checkpoints are kept, and which files may go."""

from __future__ import annotations

import math
from dataclasses import replace

import hypothesis.strategies as st
import pytest
from hypothesis import given

from atoll import layout
from atoll.types import CheckpointRecord, CheckpointRef, JobSpec, JobState, Keeping, Role
from orchestrator.fleet.retention import Retention, garbage_of, reasons
from orchestrator.fleet.state import Job

SPEC = JobSpec("expert-0", Role.EXPERT, 0, "runs/test", 1000, "d")
LAST_TWO = Retention(last=2, every_steps=0, best=0)


def record(step, epoch=1, keeping=Keeping.KEPT, loss=math.nan):
    key = layout.checkpoint_folder("expert-0", epoch, step)
    return CheckpointRecord("expert-0", CheckpointRef(key, "", step, epoch), keeping, loss)


def files_of(*records):
    names = ("manifest.json", "ema.safetensors", "state/part-1.safetensors")
    return {f"{each.ref.key}/{name}": 10 for each in records for name in names}


def job_at(newest, state=JobState.WAITING, epoch=3):
    return Job(SPEC, state, epoch, checkpoint=newest and newest.ref)


def kept_steps(records, retention, referenced=frozenset()):
    why = reasons(records, referenced, retention)
    return [each.ref.step for each in records if why.get(each.ref.key)]


def test_newest_so_many_are_kept():
    assert kept_steps([record(step) for step in (10, 20, 30, 40)], LAST_TWO) == [30, 40]


def test_one_is_always_kept():
    retention = Retention(last=1, every_steps=0, best=0)
    assert kept_steps([record(10), record(20)], retention) == [20]
    assert kept_steps([record(10)], retention) == [10]


def test_every_so_many_steps_one_is_kept():
    retention = Retention(last=1, every_steps=20, best=0)
    steps = [record(step) for step in (10, 20, 25, 30, 40, 50)]
    assert kept_steps(steps, retention) == [20, 40, 50]


def test_best_are_those_with_the_lowest_loss_where_one_is_known():
    records = [record(10, loss=0.5), record(20, loss=0.1), record(30), record(40, loss=0.2)]
    assert kept_steps(records, Retention(last=1, every_steps=0, best=1)) == [20, 40]
    assert kept_steps(records, Retention(last=1, every_steps=0, best=3)) == [10, 20, 40]


def test_what_a_stage_names_is_kept_and_says_so():
    records = [record(10), record(20), record(30)]
    why = reasons(records, {records[0].ref.key}, Retention(1, 0, 0))
    assert why == {
        records[0].ref.key: ["stage"],
        records[1].ref.key: [],
        records[2].ref.key: ["newest"],
    }


def test_garbage_is_what_is_kept_no_longer_and_its_size():
    records = [record(step) for step in (10, 20, 30)]
    found = garbage_of(job_at(records[2]), records, files_of(*records), set(), LAST_TWO)
    assert found.records == (records[0],)
    assert set(found.keys) == set(files_of(records[0]))
    assert found.num_bytes == 30


def test_files_a_crash_left_of_a_collected_checkpoint_are_garbage():
    gone, newest = record(10, keeping=Keeping.COLLECTED), record(20)
    found = garbage_of(job_at(newest), [gone, newest], files_of(gone, newest), set(), LAST_TWO)
    assert (found.records, set(found.keys)) == ((), set(files_of(gone)))


def test_damaged_checkpoint_stays_until_its_job_has_come_as_far_again():
    lost, before, again = record(40, 1, Keeping.DAMAGED), record(20), record(40, epoch=2)
    files = files_of(lost, before)
    assert garbage_of(job_at(before), [before, lost], files, set(), LAST_TWO).keys == ()
    found = garbage_of(job_at(again), [before, lost, again], files, set(), LAST_TWO)
    assert set(found.keys) == set(files_of(lost))


@pytest.mark.parametrize(
    ("state", "epoch", "goes"),
    [
        (JobState.LEASED, 3, False),  # it may be committed at any moment
        (JobState.LEASED, 4, True),
        (JobState.WAITING, 3, True),  # the lease was given back: nobody can commit it
        (JobState.DONE, 3, True),
        (JobState.WAITING, 2, False),  # of a lease that is not known here yet
    ],
)
def test_unpublished_files_go_once_nobody_can_publish_them(state, epoch, goes):
    newest, unpublished = record(20), record(30, epoch=3)
    files = files_of(newest, unpublished)
    found = garbage_of(job_at(newest, state, epoch), [newest], files, set(), LAST_TWO)
    assert set(found.keys) == (set(files_of(unpublished)) if goes else set())


def test_files_of_a_database_that_is_gone_are_left_alone():
    job = replace(job_at(None, epoch=5), foreign_epoch=4)
    theirs, ours = record(30, epoch=4), record(30, epoch=5)
    found = garbage_of(job, [], files_of(theirs, ours), set(), LAST_TWO)
    assert set(found.keys) == set(files_of(ours))


def test_files_that_are_no_checkpoint_are_left_alone():
    files = {"checkpoints/expert-0/notes.txt": 5, "checkpoints/expert-0/epoch-0001/x": 5}
    assert garbage_of(job_at(None), [], files, set(), LAST_TWO).keys == ()


@given(
    steps=st.lists(st.integers(1, 50), unique=True, min_size=1, max_size=12),
    referenced=st.integers(1, 50),
    retention=st.builds(Retention, st.integers(1, 4), st.sampled_from([0, 5]), st.integers(0, 3)),
    losses=st.lists(st.floats(0, 1), min_size=12, max_size=12),
)
def test_nothing_that_is_referenced_ever_goes(steps, referenced, retention, losses):
    records = [record(step, loss=loss) for step, loss in zip(sorted(steps), losses, strict=False)]
    named = {each.ref.key for each in records if each.ref.step == referenced}
    found = garbage_of(job_at(records[-1]), records, files_of(*records), named, retention)
    left = [each for each in records if each not in found.records]
    assert records[-1] in left
    assert named <= {each.ref.key for each in left}
    assert len(left) >= min(retention.last, len(records))
    assert {layout.checkpoint_of(key) for key in found.keys} == {
        each.ref.key for each in found.records
    }
    again = garbage_of(job_at(records[-1]), left, files_of(*left), named, retention)
    assert (again.records, again.keys) == ((), ())
