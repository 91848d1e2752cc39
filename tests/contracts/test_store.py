"""What every store must keep."""

from __future__ import annotations

import contextlib
import math
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from atoll import layout
from atoll.errors import ConfigError, Deposed, LeaseLost, Unreachable
from atoll.reasons import brief
from atoll.types import CheckpointRecord, CheckpointRef, Event, JobSpec, JobState, Keeping, Role
from orchestrator.fleet.ledger import NodeUse
from orchestrator.fleet.state import NO_PROGRESS, Change, Island, Job
from orchestrator.storage import database
from orchestrator.storage.sql_store import SqlStore
from orchestrator.storage.store import Store
from orchestrator.storage.tables import REVISION, leader, metadata
from orchestrator.storage.urls import sqlite_url

SPEC = JobSpec("expert-0", Role.EXPERT, 0, "runs/test", 100, "d" * 64)
SUBMITTED = Change(jobs=(Job(SPEC),), events=(Event("job-submitted", "100 steps", "expert-0"),))

Open = Callable[[], Store]


@pytest.fixture(params=["sqlite", "postgres"])
def url(request, tmp_path: Path) -> str:
    if request.param == "postgres":
        return request.getfixturevalue("postgres").new_database()
    return sqlite_url(tmp_path / "orchestrator.db")


@pytest.fixture
def reopen(url):
    """Opens the same database again, as the next orchestrator would once the last one is gone."""
    opened: list[SqlStore] = []

    def open_again() -> Store:
        store = SqlStore(url)
        if store.leadership:
            with store._engine.begin() as connection:
                connection.execute(leader.update().values(expires_at=sa.func.now()))
            assert store.leadership.take("run") == ""
        opened.append(store)
        return store

    yield open_again
    for store in opened:
        store.close()


@pytest.fixture
def store(reopen: Open) -> Store:
    return reopen()


def leased(epoch: int, step: int = 0) -> Job:
    ref = checkpoint(epoch, step) if step else None
    progress = replace(NO_PROGRESS, step=step)
    return Job(SPEC, JobState.LEASED, epoch, "island-1", "r", checkpoint=ref, progress=progress)


def checkpoint(epoch: int, step: int) -> CheckpointRef:
    return CheckpointRef(layout.checkpoint_folder("expert-0", epoch, step), "e" * 64, step, epoch)


def recorded(ref: CheckpointRef, **about: Any) -> CheckpointRecord:
    return CheckpointRecord("expert-0", ref, **about)


def granted(epoch: int) -> Change:
    event = Event("lease-granted", "granted", "expert-0", "island-1", epoch)
    return Change(jobs=(leased(epoch),), events=(event,))


def committed(epoch: int, step: int) -> Change:
    event = Event("checkpoint-committed", "safe", "expert-0", "island-1", epoch)
    ref = checkpoint(epoch, step)
    return Change(jobs=(leased(epoch, step),), checkpoints=(recorded(ref),), events=(event,))


def test_store_when_new_is_empty(store):
    stored = store.load()
    assert (stored.jobs, stored.last_event) == ((), 0)
    assert store.events(after=0, limit=10) == ()


def test_store_knows_who_is_to_leave_until_they_have(store, reopen):
    event = Event("island-draining", "words", island="island-1")
    told = Island("island-1", 0.0, "working", "expert-0", leaving=True)
    store.save(Change(islands=(told, Island("island-2", 0.0)), events=(event,)), 1, at=0.0)
    store.save(Change(islands=(told,), events=(event,)), 2, at=0.0)
    assert reopen().load().leaving == (("island-1", ""),)
    left = replace(told, state="gone", job="", dismissed="a request")
    store = reopen()
    store.save(Change(islands=(left,), events=(event,)), 3, at=0.0)
    assert reopen().load().leaving == (("island-1", "a request"),)
    store = reopen()
    store.save(Change(islands=(told, Island("island-1", 0.0)), events=(event,)), 4, at=0.0)
    assert reopen().load().leaving == ()


def test_store_knows_exactly_what_was_committed(store):
    store.save(SUBMITTED, 1, at=0.0)
    store.save(committed(1, 40), 2, at=0.0)
    assert store.is_committed("expert-0", checkpoint(1, 40))
    for other in (checkpoint(1, 50), checkpoint(2, 40), replace(checkpoint(1, 40), digest="x")):
        assert not store.is_committed("expert-0", other)
    assert not store.is_committed("expert-1", checkpoint(1, 40))


def test_store_reopened_knows_jobs_checkpoints_and_events(store, reopen):
    store.save(SUBMITTED, 1, at=5.0)
    store.save(granted(1), 2, at=6.5)
    store.save(committed(1, 40), 3, at=7.0)
    again = reopen()
    assert again.load().jobs == (leased(1, 40),)
    assert again.load().last_event == 3
    assert [record.ref for record in again.checkpoints("expert-0")] == [checkpoint(1, 40)]
    assert again.events(after=1, limit=1) == (
        Event("lease-granted", "granted", "expert-0", "island-1", 1, number=2, at=6.5),
    )


def test_store_reopened_knows_what_each_node_has_cost(store, reopen):
    event = Event("island-started", "its node is asked for", island="island-1")
    first, second = NodeUse("island-1", 5.0, 0.5), NodeUse("island-2", 6.25, 0.0, num_nodes=2)
    store.save(Change(nodes=(first, second), events=(event,)), 1, at=5.0)
    there = replace(first, price_per_hour=0.25, paid_from=7.0)
    store.save(Change(nodes=(there,), events=(event,)), 2, at=7.0)
    assert store.load().nodes == (there, second)
    ended = replace(there, ended_at=9.0, num_missing=1, hours_before=0.125)
    store.save(Change(nodes=(ended,), events=(event,)), 3, at=9.0)
    assert reopen().load().nodes == (ended, second)


def test_store_tells_its_last_event_and_that_its_orchestrator_may_decide(store):
    assert store.last_event() == 0
    store.save(SUBMITTED.then(granted(1)), 1, at=0.0)
    assert store.last_event() == 2
    store.confirm()


def test_store_keeps_reasons_with_any_character_that_the_fleet_lets_through(store):
    words = brief("\0 null, \x1b[0m escape, \u2028 line, 😀 and 'quotes\" %s :x ${y}")
    event = Event("attempt-failed", words, "expert-0")
    store.save(Change(jobs=(Job(SPEC, reason=words),), events=(event,)), 1, at=0.0)
    assert store.load().jobs[0].reason == words
    assert store.events(0, 1)[0].reason == words


def test_store_keeps_jobs_in_order_of_submission(store):
    names = ["router", "expert-1", "expert-0"]
    jobs = tuple(Job(replace(SPEC, name=name)) for name in names)
    store.save(Change(jobs=jobs), 1, at=0.0)
    store.save(Change(jobs=(replace(jobs[2], epoch=1),)), 1, at=0.0)
    assert [job.spec.name for job in store.load().jobs] == names


def test_store_keeps_every_checkpoint_and_serves_the_newest(store):
    store.save(SUBMITTED, 1, at=0.0)
    for number, step in enumerate((10, 20, 30), start=2):
        store.save(committed(1, step), number, at=0.0)
    assert [record.ref.step for record in store.checkpoints("expert-0")] == [10, 20, 30]
    assert store.load().jobs[0].checkpoint == checkpoint(1, 30)


def test_store_keeps_loss_and_time_of_a_checkpoint_exactly(store, reopen):
    store.save(SUBMITTED, 1, at=0.0)
    for number, loss in enumerate((0.1 + 0.2, math.nan), start=2):
        ref = checkpoint(1, number)
        change = committed(1, number)._replace(checkpoints=(recorded(ref, loss=loss),))
        store.save(change, number, at=1.5)
    said, unsaid = reopen().checkpoints("expert-0")
    assert said == recorded(checkpoint(1, 2), loss=0.1 + 0.2, at=1.5)
    assert math.isnan(unsaid.loss)


def lost(ref: CheckpointRef, before: CheckpointRef | None) -> Change:
    event = Event("checkpoint-damaged", "a byte differs", "expert-0")
    job = replace(leased(3, before.step if before else 0), checkpoint=before)
    return Change(
        jobs=(job,), checkpoints=(recorded(ref, keeping=Keeping.DAMAGED),), events=(event,)
    )


def test_store_goes_back_in_steps_where_the_newest_checkpoint_is_damaged(store, reopen):
    store.save(SUBMITTED, 1, at=0.0)
    store.save(committed(1, 20), 2, at=0.0)
    store.save(committed(2, 40), 3, at=0.0)
    store.save(lost(checkpoint(2, 40), checkpoint(1, 20)), 4, at=0.0)
    job = reopen().load().jobs[0]
    assert (job.checkpoint, job.epoch) == (checkpoint(1, 20), 3)
    # The same steps are made again under the newer epoch, and cannot be taken back any more.
    again = reopen()
    again.save(committed(4, 40), 5, at=0.0)
    assert again.load().jobs[0].checkpoint == checkpoint(4, 40)
    with pytest.raises(LeaseLost):
        again.save(committed(4, 30), 6, at=0.0)
    assert [record.keeping for record in again.checkpoints("expert-0")] == [
        Keeping.KEPT,
        Keeping.DAMAGED,
        Keeping.KEPT,
    ]


def test_store_begins_anew_where_the_only_checkpoint_is_damaged(store, reopen):
    store.save(SUBMITTED, 1, at=0.0)
    store.save(committed(2, 40), 2, at=0.0)
    store.save(lost(checkpoint(2, 40), None), 3, at=0.0)
    assert reopen().load().jobs[0].checkpoint is None


def test_store_knows_which_checkpoints_were_collected(store, reopen):
    store.save(SUBMITTED, 1, at=0.0)
    for number, step in enumerate((10, 20), start=2):
        store.save(committed(1, step), number, at=0.0)
    gone = recorded(checkpoint(1, 10), keeping=Keeping.COLLECTED)
    event = Event("checkpoints-collected", "step 10", "expert-0")
    store.save(Change(checkpoints=(gone,), events=(event,)), 4, at=0.0)
    first, newest = reopen().checkpoints("expert-0")
    assert (first.keeping, newest.keeping) == (Keeping.COLLECTED, Keeping.KEPT)
    assert reopen().is_committed("expert-0", checkpoint(1, 10))
    assert reopen().load().jobs[0].checkpoint == checkpoint(1, 20)


def test_store_takes_the_later_of_two_versions_in_one_change(store):
    store.save(SUBMITTED.then(granted(1)).then(granted(2)), 1, at=0.0)
    assert store.load().jobs[0].epoch == 2
    assert store.load().last_event == 3


@pytest.mark.parametrize("late", [granted(2), committed(2, 90), committed(3, 30), committed(3, 40)])
def test_store_refuses_what_goes_back_in_epochs_or_steps_and_writes_none_of_it(store, late):
    store.save(SUBMITTED, 1, at=0.0)
    store.save(committed(3, 40), 2, at=0.0)
    with pytest.raises(LeaseLost):
        store.save(late, 3, at=0.0)
    assert store.load().jobs == (leased(3, 40),)
    assert store.load().last_event == 2
    assert [record.ref for record in store.checkpoints("expert-0")] == [checkpoint(3, 40)]


def test_store_refuses_a_second_writer_of_the_same_event(store, reopen):
    store.save(SUBMITTED, 1, at=0.0)
    reopen().save(granted(1), 2, at=0.0)
    with pytest.raises((LeaseLost, Deposed), match="another orchestrator"):
        store.save(granted(1), 2, at=0.0)


def test_store_of_a_process_killed_between_two_writes_has_the_first_only(url, reopen):
    script = f"""
import os, signal
from orchestrator.storage import sql_store
from tests_store import SUBMITTED, committed
store = sql_store.SqlStore({url!r})
assert not store.leadership or not store.leadership.take("run")
store.save(SUBMITTED, 1, at=0.0)
write = sql_store._event_row
def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)  # job and checkpoint are written, the event is not
sql_store._event_row = die
store.save(committed(1, 40), 2, at=0.0)
"""
    load = (
        "import importlib.util, sys; "
        f"spec = importlib.util.spec_from_file_location('tests_store', {__file__!r}); "
        "module = importlib.util.module_from_spec(spec); sys.modules['tests_store'] = module; "
        "spec.loader.exec_module(module)"
    )
    ended = subprocess.run([sys.executable, "-c", f"{load}\n{script}"], check=False)
    assert ended.returncode == -9
    stored = reopen().load()
    assert stored.jobs[0].step == 0
    assert stored.last_event == 1


def test_store_is_read_while_another_thread_writes(store):
    store.save(SUBMITTED, 1, at=0.0)
    writer = threading.Thread(
        target=lambda: [store.save(committed(1, step), step + 1, at=0.0) for step in range(1, 30)]
    )
    writer.start()
    steps = []
    while writer.is_alive():
        job = store.load().jobs[0]
        steps.append(job.step)
        assert (job.checkpoint is None) == (job.step == 0)
    writer.join()
    assert steps == sorted(steps)
    assert store.load().jobs[0].step == 29


def test_store_gives_a_name_to_the_first_key_for_good(store, reopen):
    assert store.claim("far-1", "a" * 64)
    assert store.claim("far-1", "a" * 64)
    assert not store.claim("far-1", "b" * 64)
    assert store.claim("Far-1", "b" * 64)
    again = reopen()
    assert again.claim("far-1", "a" * 64)
    assert not again.claim("far-1", "b" * 64)


def test_store_asked_for_a_name_by_many_at_once_gives_it_to_one(store):
    start, answers = threading.Barrier(8), []

    def ask(key: str) -> None:
        start.wait()
        answers.append(store.claim("far-1", key * 64))

    threads = [threading.Thread(target=ask, args=(key,)) for key in "abcdefgh"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [False] * 7 + [True]


def test_migrations_make_the_tables_a_new_database_has(url, monkeypatch):
    monkeypatch.setattr(database, "_create", database._upgrade)
    engine = database.open_database(url)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    engine.dispose()


def test_new_database_counts_as_migrated(store, url):
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        assert MigrationContext.configure(connection).get_current_revision() == REVISION
        database._upgrade(connection)
    engine.dispose()


def test_sqlite_store_writes_durably(tmp_path):
    path = tmp_path / "orchestrator.db"
    store = SqlStore(sqlite_url(path))
    with store._engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
    store.close()


def test_sqlite_store_on_a_full_disk_changes_nothing_and_recovers(tmp_path):
    path = tmp_path / "orchestrator.db"
    store = SqlStore(sqlite_url(path))
    store.save(SUBMITTED, 1, at=0.0)
    long = Event("lease-granted", "x" * 100_000)
    with store._engine.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(Unreachable, match="full"):
        store.save(Change(jobs=(leased(1),), events=(long,)), 2, at=0.0)
    assert store.load().jobs == (Job(SPEC),)
    with store._engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count = 100000")
    store.save(Change(jobs=(leased(1),), events=(long,)), 2, at=0.0)
    assert store.load().jobs == (leased(1),)
    store.close()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.mark.parametrize(
    "url",
    [
        "nonsense",
        "oracle9://x/y",
        "sqlite:////no/such/folder/x.db",
        "postgresql+psycopg2://x/y",
        "postgresql+psycopg://user@127.0.0.1:1/y",
        "postgresql+psycopg://user@127.0.0.1:port/y",
    ],
)
def test_store_that_cannot_be_opened_names_the_key(url):
    with pytest.raises(ConfigError, match=r"orchestrator\.database"):
        SqlStore(url)
