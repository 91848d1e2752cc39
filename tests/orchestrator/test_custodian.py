"""Who looks after checkpoints: verifies what is in doubt, deletes what nobody needs."""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest

from atoll import checkpoints, layout, stages
from atoll.blobs import open_store
from atoll.checkpoints import Compat
from atoll.errors import BlobError
from atoll.types import CheckpointRef, Ending, Keeping, Lease, Outcome, Submission
from orchestrator.custodian import Custodian
from orchestrator.fleet.retention import Retention
from orchestrator.fleet.state import Job
from orchestrator.service import FleetService
from orchestrator.storage.sql_store import SqlStore

COMPAT = Compat("linear", "pixels", (1, 8, 8), "none", "p")


@dataclass
class Kept:
    """A run with one job, its files and its custodian."""

    service: FleetService
    store: SqlStore
    clock: Any
    folder: Path

    def __post_init__(self) -> None:
        self.blobs = open_store(str(self.folder / "run"))
        self.blobs.publish(layout.CONFIG, b"{}")
        retention = Retention(last=2, every_steps=0, best=0)
        self.custodian = Custodian(self.service, self.store, self.blobs, retention, self.clock)
        self.num_requests = 0

    def request(self) -> str:
        self.num_requests += 1
        return f"request-{self.num_requests}"

    def lease(self, island: str = "island-1") -> Lease:
        return self.service.acquire(island, self.request()).lease

    def put(self, lease: Lease, step: int) -> CheckpointRef:
        """A checkpoint of real files."""
        staging = self.folder / f"staging-{lease.job}-{lease.epoch}-{step}"
        staging.mkdir()
        (staging / "weights").write_text(f"{lease.job} at step {step}")
        key = layout.checkpoint_folder(lease.job, lease.epoch, step)
        return checkpoints.upload(
            self.blobs, key, staging, step=step, epoch=lease.epoch, compat=COMPAT, about={}
        )

    def commit(self, lease: Lease, step: int) -> CheckpointRef:
        ref = self.put(lease, step)
        self.service.commit(lease, ref)
        return ref

    def damage(self, ref: CheckpointRef) -> None:
        path = self.folder / "run" / ref.key / "weights"
        path.write_text(path.read_text().upper())

    def release(self, lease: Lease, ending: Ending) -> None:
        self.service.release(lease, Outcome(ending, "weights is damaged"), self.request())

    def look_later(self) -> None:
        self.clock.sleep(10)
        self.custodian.look()

    @property
    def job(self) -> Job:
        return self.service.fleet.jobs["expert-0"]

    @property
    def keeping(self) -> list[Keeping]:
        return [record.keeping for record in self.store.checkpoints("expert-0")]

    @property
    def steps(self) -> list[int]:
        """Whose files are there."""
        keys = self.blobs.list("checkpoints")
        return sorted({int(key.split("/step-")[1][:8]) for key in keys})

    def told(self, kind: str) -> list[str]:
        return [event.reason for event in self.service.events(0, 0) if event.kind == kind]


@pytest.fixture
def run(service, store, clock, tmp_path, spec):
    service.submit([Submission(spec())])
    return Kept(service, store, clock, tmp_path)


def test_checkpoints_beyond_those_asked_for_are_deleted_and_told(run):
    lease = run.lease()
    for step in (10, 20, 30, 40):
        run.commit(lease, step)
    run.custodian.look()
    assert run.steps == [10, 20, 30, 40]  # not at once after each
    freed = sum(run.blobs.sizes("checkpoints").values()) // 2
    run.look_later()
    assert run.steps == [30, 40]
    assert run.keeping == [Keeping.COLLECTED] * 2 + [Keeping.KEPT] * 2
    words = f"steps 10, 20 are kept no longer, which frees {freed:,} bytes"
    assert run.told("checkpoints-collected") == [words]


def test_job_that_made_no_checkpoint_since_is_not_listed_again(run, monkeypatch):
    run.commit(run.lease(), 10)
    run.look_later()
    monkeypatch.setattr(run.blobs, "sizes", None)  # it would be called
    run.look_later()


def test_files_left_between_registry_and_deletion_go_the_next_time(run, monkeypatch):
    lease = run.lease()
    for step in (10, 20, 30):
        run.commit(lease, step)

    def fail(_):
        raise BlobError("the network is down")

    with monkeypatch.context() as broken:
        broken.setattr(run.blobs, "delete", fail)
        with pytest.raises(BlobError):
            run.look_later()
    assert run.steps == [10, 20, 30]
    assert run.keeping[0] is Keeping.COLLECTED
    run.look_later()
    assert run.steps == [20, 30]


def test_what_a_stage_names_stays(run):
    lease = run.lease()
    stages.finish(run.blobs, "train", {}, {"expert-0": asdict(run.commit(lease, 10))})
    stages.finish(run.blobs, "route", {}, {})
    for step in (20, 30, 40):
        run.commit(lease, step)
    run.look_later()
    assert run.steps == [10, 30, 40]


def test_unpublished_files_of_a_lease_that_is_over_go_and_of_a_living_one_stay(run):
    lease = run.lease()
    run.commit(lease, 10)
    run.put(lease, 15)
    run.release(lease, Ending.DRAINED)
    run.put(run.lease("island-2"), 20)
    run.look_later()
    assert run.steps == [10, 20]


def test_damaged_checkpoint_is_told_loudly_and_the_one_before_is_granted(run, caplog):
    lease = run.lease()
    before = run.commit(lease, 10)
    run.damage(run.commit(lease, 20))
    run.release(lease, Ending.DAMAGED)
    run.custodian.look()
    assert run.service.acquire("island-2", "r").checkpoint == before
    assert run.keeping == [Keeping.KEPT, Keeping.DAMAGED]
    (reason,) = run.told("checkpoint-damaged")
    assert reason.startswith("step 20 is lost, the job goes on from step 10 of epoch 1: ")
    assert "weights is damaged" in reason
    loud = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert loud == ["checkpoint-damaged"]


def test_several_damaged_checkpoints_lead_back_to_the_first_whole_one(run):
    lease = run.lease()
    whole = run.commit(lease, 10)
    for step in (20, 30):
        run.damage(run.commit(lease, step))
    for _ in range(2):
        run.release(lease, Ending.DAMAGED)
        run.custodian.look()
        lease = run.lease()
    assert run.job.checkpoint == whole


def test_checkpoint_that_only_an_island_cannot_read_stays(run):
    lease = run.lease()
    ref = run.commit(lease, 10)
    run.release(lease, Ending.DAMAGED)
    run.custodian.look()
    assert (run.job.checkpoint, run.job.failures) == (ref, 1)
    assert "is whole; an island could not load it" in run.job.reason


def test_store_that_lost_everything_loses_no_checkpoint(run):
    lease = run.lease()
    ref = run.commit(lease, 10)
    (run.folder / "run").rename(run.folder / "unmounted")
    run.release(lease, Ending.DAMAGED)
    for _ in range(4):
        with pytest.raises(BlobError):
            run.custodian.look()
        assert run.job.doubted == ref
    run.custodian.look()  # the islands shall see for themselves
    assert (run.job.checkpoint, run.job.failures, run.job.doubted) == (ref, 1, None)
    assert "cannot be verified" in run.job.reason


def test_checkpoint_that_storage_cannot_read_holds_up_no_other(run, spec, monkeypatch):
    run.service.submit([Submission(spec("expert-1"))])
    unread, damaged = run.lease("island-1"), run.lease("island-2")
    refs = [run.commit(lease, 10) for lease in (unread, damaged)]
    run.damage(refs[1])
    for lease in (unread, damaged):
        run.release(lease, Ending.DAMAGED)
    get_bytes = run.blobs.get_bytes

    def fail(key, digest=None):
        if key.startswith(refs[0].key):
            raise BlobError("the storage hangs")
        return get_bytes(key, digest)

    monkeypatch.setattr(run.blobs, "get_bytes", fail)
    with pytest.raises(BlobError, match="hangs"):
        run.custodian.look()
    assert run.job.doubted == refs[0]
    assert run.service.fleet.jobs["expert-1"].doubted is None
    assert run.told("checkpoint-damaged")


def test_predecessor_of_a_doubted_checkpoint_is_not_collected(run, monkeypatch):
    lease = run.lease()
    for step in (10, 20, 30):
        run.commit(lease, step)
    run.release(lease, Ending.DAMAGED)

    def fail(*_):
        raise BlobError("the storage hangs")

    monkeypatch.setattr(checkpoints, "require_sound", fail)
    run.clock.sleep(10)
    with pytest.raises(BlobError, match="hangs"):
        run.custodian.look()
    assert run.steps == [10, 20, 30]


def test_custodian_works_by_itself_until_it_is_left(run):
    lease = run.lease()
    run.damage(run.commit(lease, 10))
    run.release(lease, Ending.DAMAGED)
    with run.custodian.at_work():
        run.service.events(run.service.events(0, 0)[-1].number, 60)  # waits for what it says
    assert run.told("checkpoint-damaged")
    assert run.job.checkpoint is None


def test_checkpoint_needed_by_now_is_not_collected(run):
    run.commit(run.lease(), 10)
    assert not run.service.collected("expert-0", run.store.checkpoints("expert-0"), 10)
    assert run.keeping == [Keeping.KEPT]
