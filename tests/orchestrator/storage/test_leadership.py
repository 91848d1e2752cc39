"""Two orchestrators at one real database: whoever leads writes, whoever led does not."""

from __future__ import annotations

import contextlib
import threading

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from atoll.errors import ConfigError, Deposed, Refused, Unreachable
from atoll.types import Event
from orchestrator.fleet.state import Change
from orchestrator.storage.sql_store import SqlStore
from orchestrator.storage.tables import leader

SAID = Change(events=(Event("orchestrator-serves", "words"),))


@pytest.fixture
def make_store(postgres):
    """Opens one new database as often as asked."""
    url, opened = postgres.new_database(), []

    def make() -> SqlStore:
        opened.append(SqlStore(url))
        return opened[-1]

    yield make
    for store in opened:
        store.close()


@pytest.fixture
def first(make_store) -> SqlStore:
    store = make_store()
    assert store.leadership.take("run") == ""
    return store


def let_a_term_pass(store: SqlStore) -> None:
    with store._engine.begin() as connection:
        connection.execute(leader.update().values(expires_at=sa.func.now()))


def test_leader_is_one_of_many_who_ask_at_once(make_store):
    stores = [make_store() for _ in range(5)]
    start, answers = threading.Barrier(5), []

    def ask(store: SqlStore) -> None:
        start.wait()
        answers.append(store.leadership.take("run"))

    threads = [threading.Thread(target=ask, args=(store,)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers.count("") == 1
    written = 0
    for store in stores:
        with contextlib.suppress(Deposed):
            store.save(SAID, 1, at=0.0)
            written += 1
    assert written == 1


def test_leader_that_lives_is_not_replaced(first, make_store):
    second = make_store()
    assert second.leadership.take("run").startswith("process ")
    with pytest.raises(Unreachable):
        second.confirm()
    with pytest.raises(Deposed):
        second.save(SAID, 1, at=0.0)
    first.save(SAID, 1, at=0.0)


def test_leader_replaced_writes_nothing_and_knows_it(first, make_store):
    second = make_store()
    let_a_term_pass(first)
    assert second.leadership.take("run") == ""
    first.confirm()  # it cannot know yet
    save, claim = (lambda: first.save(SAID, 1, at=0.0)), (lambda: first.claim("far-1", "a" * 64))
    for late in (save, claim, first.last_event, first.confirm):
        with pytest.raises(Deposed, match="another orchestrator has taken the lead"):
            late()
    assert second.last_event() == 0
    second.save(SAID, 1, at=0.0)
    assert second.claim("far-1", "b" * 64)  # the former leader has given it to nobody


def test_leader_late_but_not_replaced_goes_on(first):
    let_a_term_pass(first)
    first.leadership._move(sa.func.now() + sa.text("interval '1 minute'"))
    first.save(SAID, 1, at=0.0)


def test_leader_that_leaves_is_replaced_at_once(first, make_store):
    second = make_store()
    with first.leadership.kept():
        assert second.leadership.take("run")
    assert second.leadership.take("run") == ""
    with pytest.raises(Unreachable):
        first.confirm()


def test_leader_may_lead_again(first, make_store):
    second = make_store()
    with first.leadership.kept():
        pass
    with pytest.raises(Unreachable):
        first.confirm()
    assert second.leadership.take("run") == ""
    with second.leadership.kept():
        pass
    assert first.leadership.take("run") == ""
    first.confirm()
    first.save(SAID, 1, at=0.0)


def test_leader_frozen_inside_a_save_does_not_hold_up_its_successor(first, make_store):
    second = make_store()
    let_a_term_pass(first)
    with first._engine.connect() as connection:
        first.leadership.require(connection)  # has the row, and says no more
        assert second.leadership.take("run") == ""
        with pytest.raises(DBAPIError):
            connection.commit()
        connection.invalidate()
    second.save(SAID, 1, at=0.0)
    with pytest.raises(Deposed):
        first.save(SAID, 1, at=0.0)


def test_database_of_another_run_is_refused_by_key(first, make_store):
    let_a_term_pass(first)
    with pytest.raises(ConfigError, match=r"orchestrator\.database belongs to another run"):
        make_store().leadership.take("copy")


def test_database_that_cannot_hold_a_value_refuses_it(first):
    with pytest.raises(Refused, match="cannot hold it"):
        first.save(Change(events=(Event("x" * 41, "too long a kind"),)), 1, at=0.0)
    first.save(SAID, 1, at=0.0)


def test_database_makes_commits_durable_whatever_its_owner_set(postgres):
    url = postgres.new_database()
    name = url.rpartition("/")[2]
    postgres.execute(f"ALTER DATABASE {name} SET synchronous_commit = off")
    store = SqlStore(url)
    with store._engine.connect() as connection:
        assert connection.exec_driver_sql("SHOW synchronous_commit").scalar() == "on"
    store.close()
    postgres.execute(f"ALTER DATABASE {name} SET synchronous_commit = remote_apply")
    store = SqlStore(url)
    with store._engine.connect() as connection:
        assert connection.exec_driver_sql("SHOW synchronous_commit").scalar() == "remote_apply"
    store.close()


def test_database_whose_server_forgets_is_refused(postgres):
    url = postgres.new_database()
    postgres.execute("ALTER SYSTEM SET fsync = off")
    postgres.kill()
    postgres.start()
    try:
        with pytest.raises(ConfigError, match="fsync off"):
            SqlStore(url)
    finally:
        postgres.execute("ALTER SYSTEM RESET fsync")
        postgres.kill()
        postgres.start()


@pytest.mark.parametrize("place", ["://atoll:{}@", "://atoll:{}/x@y@"])
def test_database_that_cannot_be_opened_is_named_without_its_password(postgres, place):
    url = postgres.new_database().replace("://atoll@", place.format("shown-nowhere"))
    with pytest.raises(ConfigError, match=r"atoll:\*\*\*@127\.0\.0\.1") as caught:
        SqlStore(url)
    assert "shown-nowhere" not in str(caught.value)
