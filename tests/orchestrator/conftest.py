"""A fleet to play with: transitions applied one after the other, at a time of the test's choice."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import pytest

from atoll import authority, layout
from atoll.authority import Pair
from atoll.clock import SystemClock
from atoll.control import ControlClient
from atoll.credentials import CA, SERVER, client_credentials, write_pair
from atoll.identity import Identity
from atoll.revocations import Revocations
from atoll.types import (
    Assignment,
    CheckpointRef,
    Directive,
    Ending,
    Event,
    Incident,
    JobSpec,
    Lease,
    Outcome,
    Progress,
    Role,
    Submission,
    Wait,
)
from orchestrator.fleet import leases, operations
from orchestrator.fleet.state import Change, Fleet, Job, Policy
from orchestrator.rpc.admission import Admission
from orchestrator.rpc.registrar import Registrar
from orchestrator.rpc.security import Security
from orchestrator.rpc.server import start_server
from orchestrator.rpc.server_certificate import ServerCertificate
from orchestrator.service import FleetService
from orchestrator.storage.sql_store import SqlStore
from orchestrator.storage.urls import sqlite_url
from tests.fakes import ManualClock

POLICY = Policy(term_s=10.0, max_failures=2, backoff_s=1.0)


def make_spec(name: str = "expert-0", steps: int = 100, digest: str = "d") -> JobSpec:
    return JobSpec(name, Role.EXPERT, 0, "runs/test", steps, digest)


def make_ref(lease: Lease, step: int) -> CheckpointRef:
    key = layout.checkpoint_folder(lease.job, lease.epoch, step)
    return CheckpointRef(key, f"digest-{lease.job}-{lease.epoch}-{step}", step, lease.epoch)


@dataclass
class Game:
    """A fleet, the time, and everything that was said."""

    fleet: Fleet = field(default_factory=lambda: Fleet(POLICY))
    now: float = 1000.0
    events: list[Event] = field(default_factory=list)
    num_requests: int = 0

    def apply(self, change: Change) -> Change:
        self.fleet = self.fleet.after(change)
        self.events += change.events
        return change

    def job(self, name: str = "expert-0") -> Job:
        return self.fleet.jobs[name]

    def request(self) -> str:
        self.num_requests += 1
        return f"request-{self.num_requests}"

    def submit(self, *specs: JobSpec) -> Change:
        return self.submit_found(*(Submission(spec) for spec in specs or (make_spec(),)))

    def submit_found(self, *jobs: Submission) -> Change:
        return self.apply(operations.submit(self.fleet, jobs, self.now))

    def ask(self, island: str, request_id: str = "") -> Assignment | Wait:
        answer, change = leases.acquire(self.fleet, island, request_id or self.request(), self.now)
        self.apply(change)
        return answer

    def lease(self, island: str = "island-1") -> Lease:
        answer = self.ask(island)
        assert isinstance(answer, Assignment)
        return answer.lease

    def beat(
        self,
        lease: Lease,
        step: int = 0,
        fetched_bytes: int = 0,
        incidents: Sequence[Incident] = (),
    ) -> Directive:
        progress = Progress(step, 1.0, 2.0, fetched_bytes)
        answer, change = leases.heartbeat(self.fleet, lease, progress, self.now, incidents)
        self.apply(change)
        return answer

    def commit(self, lease: Lease, step: int) -> Change:
        return self.apply(leases.commit(self.fleet, lease, make_ref(lease, step), self.now))

    def release(
        self, lease: Lease, ending: Ending, reason: str = "", request_id: str = ""
    ) -> Change:
        request_id = request_id or self.request()
        outcome = Outcome(ending, reason)
        return self.apply(leases.release(self.fleet, lease, outcome, request_id, self.now))

    def tick(self, seconds: float = 0.0) -> Change:
        """Let time pass in steps an attentive orchestrator would take, then once more."""
        while seconds > 1:
            self.tick_once(1.0)
            seconds -= 1
        return self.tick_once(seconds)

    def tick_once(self, seconds: float) -> Change:
        self.now += seconds
        return self.apply(operations.tick(self.fleet, self.now))


@pytest.fixture
def spec():
    return make_spec


@pytest.fixture
def ref():
    return make_ref


@pytest.fixture
def game() -> Game:
    started = Game()
    started.tick()
    return started


@pytest.fixture
def policy() -> Policy:
    return POLICY


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def store(tmp_path):
    opened = SqlStore(sqlite_url(tmp_path / "orchestrator.db"))
    yield opened
    opened.close()


@pytest.fixture
def service(store, clock) -> FleetService:
    return FleetService(store, POLICY, clock)


@dataclass
class AheadClock(SystemClock):
    """The machine's, with a wall clock that the test may put forward."""

    ahead_s: float = 0.0

    def wall(self) -> float:
        return time.time() + self.ahead_s


class Lab:
    """An authority, and those it vouches for."""

    def __init__(self, folder: Path, claim: Callable[[str, str], bool]) -> None:
        self.folder = folder
        self.folder.mkdir()
        self.clock = AheadClock()
        self.ca = authority.new_authority(time.time(), 3600)
        self.server = authority.for_hosts(self.ca, ["127.0.0.1"], time.time(), 3600)
        self.registrar = Registrar(self.ca, "run", claim, self.clock)
        self.address = ""
        self.security: Security | None = None

    def pair(self, who: Identity, seconds: float = 600) -> Pair:
        return authority.for_identity(self.ca, who, time.time(), seconds)

    def channel_as(self, pair: Pair) -> grpc.Channel:
        credentials = client_credentials(pair, self.ca.certificate)
        return grpc.secure_channel(self.address, credentials)

    def client(self, who: Identity | Pair, run: str = "run") -> ControlClient:
        pair = who if isinstance(who, Pair) else self.pair(who)
        return ControlClient(self.address, run, client_credentials(pair, self.ca.certificate))


@pytest.fixture
def fleet(store):
    return FleetService(store, Policy(10.0, 2, 1.0), SystemClock())


@pytest.fixture
def reflection() -> bool:
    """Whether the lab's server tells what can be called; some tests say yes."""
    return False


@pytest.fixture
def lab(tmp_path, fleet, store, reflection):
    made = Lab(tmp_path / "lab", store.claim)
    write_pair(made.folder, CA, made.ca)
    write_pair(made.folder, SERVER, made.server)
    revoked = Revocations(made.folder).known
    made.security = Security(
        ServerCertificate(made.folder, "127.0.0.1:0", made.clock).credentials,
        Admission("run", made.clock, revoked),
        made.registrar,
        revoked,
    )
    server, made.address = start_server(
        fleet, "127.0.0.1:0", "run", made.security, reflection=reflection
    )
    yield made
    server.stop(grace=None).wait()
