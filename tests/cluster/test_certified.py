"""An island that joins, and stays, by certificates, against a real server."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from dataclasses import dataclass

import pytest

from atoll import authority
from atoll.clock import SystemClock
from atoll.credentials import server_credentials
from atoll.errors import Forbidden, Unreachable
from atoll.types import Wait
from cluster.certified import Certified
from orchestrator.fleet.state import Policy
from orchestrator.rpc.admission import Admission
from orchestrator.rpc.registrar import Registrar
from orchestrator.rpc.security import Security
from orchestrator.rpc.server import start_server
from orchestrator.service import FleetService
from orchestrator.storage.sql_store import SqlStore
from orchestrator.storage.urls import sqlite_url

LASTS_S = 3600.0


@dataclass
class Clock(SystemClock):
    """The machine's, put forward by the test."""

    ahead_s: float = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead_s

    def wall(self) -> float:
        return time.time() + self.ahead_s


class Lab:
    def __init__(self, folder) -> None:
        self.ca = authority.new_authority(time.time(), 10 * LASTS_S)
        self.server_pair = authority.for_hosts(self.ca, ["127.0.0.1"], time.time(), 10 * LASTS_S)
        self.store = SqlStore(sqlite_url(folder / "orchestrator.db"))
        self.service = FleetService(self.store, Policy(10.0, 2, 1.0), SystemClock())
        self.registrar = Registrar(self.ca, "run", self.store.claim, SystemClock(), LASTS_S)
        self.address = "127.0.0.1:0"
        self.start()

    def start(self) -> None:
        credentials = server_credentials(self.server_pair, self.ca.certificate)
        security = Security(credentials, Admission("run", SystemClock()), self.registrar)
        self.server, self.address = start_server(self.service, self.address, "run", security)

    def stop(self) -> None:
        self.server.stop(grace=None).wait()


@pytest.fixture
def lab(tmp_path):
    made = Lab(tmp_path)
    yield made
    made.stop()
    made.store.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def member(lab, clock):
    token = lab.registrar.token("island-1", 60)
    with Certified(lab.address, "run", "island-1", token, clock) as made:
        yield made


def ask(member: Certified) -> bool:
    return isinstance(member.acquire("island-1", "r"), Wait)


def logged(caplog) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.name == "cluster.certified"]


def test_member_joins_once_with_its_first_call(lab, member, caplog):
    caplog.set_level("INFO")
    assert ask(member)
    assert ask(member)
    assert logged(caplog) == ["joined"]
    assert [island.name for island in lab.service.view().islands] == ["island-1"]


def test_member_renews_once_half_of_the_time_is_over(member, clock, caplog):
    caplog.set_level("INFO")
    ask(member)
    clock.ahead_s = LASTS_S * 0.49
    ask(member)
    assert logged(caplog) == ["joined"]
    clock.ahead_s = LASTS_S * 0.51
    ask(member)
    ask(member)
    assert logged(caplog) == ["joined", "certificate renewed"]


def test_member_goes_on_and_tries_again_if_it_cannot_renew(lab, member, clock, caplog, tmp_path):
    caplog.set_level("INFO")
    ask(member)
    clock.ahead_s = LASTS_S * 0.51
    with contextlib.closing(sqlite3.connect(tmp_path / "orchestrator.db")) as other:
        other.execute("BEGIN EXCLUSIVE")  # nothing can be written down meanwhile
        assert ask(member)
        other.rollback()
    assert ask(member)
    assert logged(caplog) == ["joined", "certificate not renewed"]
    clock.ahead_s += 31
    assert ask(member)
    assert logged(caplog)[2:] == ["certificate renewed"]


def test_member_joins_when_the_orchestrator_is_back(lab, member):
    lab.stop()
    with pytest.raises(Unreachable):
        ask(member)
    lab.start()
    assert ask(member)


def test_member_keeps_its_name_when_the_orchestrator_starts_anew(lab, member, clock):
    ask(member)
    lab.stop()
    lab.start()
    clock.ahead_s = LASTS_S * 0.51
    assert ask(member)


def test_member_with_a_token_that_has_ended_is_told(lab, clock):
    token = lab.registrar.token("island-1", -10)
    with (
        Certified(lab.address, "run", "island-1", token, clock) as late,
        pytest.raises(Forbidden, match=r"the join token has ended at .* ask an operator"),
    ):
        ask(late)


def test_member_with_a_token_that_was_used_is_refused(lab, member, clock):
    ask(member)
    stolen = member._token
    with (
        Certified(lab.address, "run", "island-1", stolen, clock) as thief,
        pytest.raises(Forbidden, match="island-1 is another's name already"),
    ):
        ask(thief)


def test_member_speaks_to_its_own_lab_only(lab, clock):
    other = authority.new_authority(time.time(), LASTS_S)
    token = Registrar(other, "run", lab.store.claim, SystemClock()).token("island-1", 60)
    with (
        Certified(lab.address, "run", "island-1", token, clock) as stranger,
        pytest.raises(Unreachable),
    ):
        ask(stranger)


def test_member_is_no_operator(lab, member):
    ask(member)
    with pytest.raises(Forbidden, match="island-1 may not call Operators"):
        member._client.fleet()
