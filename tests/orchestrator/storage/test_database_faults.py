"""A service whose database is killed, or whose answers are lost, in the middle of its work."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from dataclasses import dataclass

import pytest

from atoll.errors import Unreachable
from atoll.types import JobState, Submission
from orchestrator.service import FleetService
from orchestrator.storage import leadership
from orchestrator.storage.sql_store import SqlStore

NUM_STEPS = 200


@dataclass
class Proxy:
    """Between a store and its server; can lose the answer to one of the next COMMITs.

    Attributes:
        port: of the server.
        lose: which of them, from 1; 0 for none.
    """

    port: int
    lose: int = 0

    def __post_init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.listener.getsockname()[1]}"

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        with self.listener, contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                server = socket.create_connection(("127.0.0.1", self.port))
                for ends in ((client, server, True), (server, client, False)):
                    threading.Thread(target=self._pump, args=ends, daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, asks: bool) -> None:
        with source, contextlib.suppress(OSError):
            while data := source.recv(65536):
                if asks and self.lose and data.endswith(b"COMMIT\0"):
                    self.lose -= 1
                    if not self.lose:
                        source.shutdown(socket.SHUT_RDWR)  # the one who asked hears no more
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def proxy(postgres):
    made = Proxy(postgres.port)
    yield made
    made.close()


@pytest.fixture
def serve(postgres, policy, clock, monkeypatch):
    """A service whose database is a new one, asked at an address."""
    monkeypatch.setattr(leadership, "_TERM_S", 600.0)  # no renewal comes between
    with contextlib.ExitStack() as opened:

        def make(address: str) -> FleetService:
            url = postgres.new_database()
            store = SqlStore(url.replace(f"127.0.0.1:{postgres.port}", address))
            opened.callback(store.close)
            assert store.leadership.take("run") == ""
            return FleetService(store, policy, clock)

        yield make


@pytest.mark.parametrize("num_lost", [1, 3])
def test_service_whose_commit_was_written_but_not_answered_goes_on_from_it(
    serve, proxy, spec, ref, num_lost
):
    service = serve(proxy.address)
    service.submit([Submission(spec())])
    lease = service.acquire("island-1", "r").lease
    for step in range(1, num_lost + 1):
        proxy.lose = 2  # the first is of the look whether it was published before
        with pytest.raises(Unreachable):
            service.commit(lease, ref(lease, step))
        service.commit(lease, ref(lease, step))  # as an agent does
    assert service.fleet.jobs["expert-0"].step == num_lost
    events = service.events(0, 0)
    assert [event.number for event in events] == list(range(1, len(events) + 1))
    assert [event.kind for event in events].count("checkpoint-committed") == num_lost


def test_service_whose_grant_was_written_but_not_answered_grants_the_same_again(serve, proxy, spec):
    service = serve(proxy.address)
    service.submit([Submission(spec())])
    proxy.lose = 1
    with pytest.raises(Unreachable):
        service.acquire("island-1", "r")
    assert service.view().jobs[0].state is JobState.LEASED
    assert service.acquire("island-1", "r").lease.epoch == 1


def test_service_whose_database_is_killed_amid_saves_loses_nothing_committed(
    serve, postgres, password, spec, ref
):
    service = serve(f"127.0.0.1:{postgres.port}")
    service.submit([Submission(spec(steps=NUM_STEPS))])
    lease = service.acquire("island-1", "r").lease
    acknowledged, unreachable = [], []

    def agent() -> None:
        for step in range(1, NUM_STEPS + 1):
            while True:
                try:
                    service.commit(lease, ref(lease, step))
                except Unreachable as error:
                    unreachable.append(str(error))
                else:
                    acknowledged.append(step)
                    break

    working = threading.Thread(target=agent, daemon=True)
    working.start()
    for killed_after in (NUM_STEPS // 8, NUM_STEPS // 4, NUM_STEPS // 2):
        while len(acknowledged) < killed_after:
            assert working.is_alive()
            time.sleep(0.01)
        postgres.kill()
        known, told = len(acknowledged), len(unreachable)
        while len(unreachable) == told:
            assert working.is_alive()
            time.sleep(0.01)
        postgres.start()
        assert service.view().jobs[0].checkpoint.step >= known
    working.join(timeout=60)
    assert acknowledged == list(range(1, NUM_STEPS + 1))
    events = service.events(0, 0)
    committed = [event for event in events if event.kind == "checkpoint-committed"]
    assert [event.reason for event in committed] == [f"step {n} is safe" for n in acknowledged]
    assert [event.number for event in events] == list(range(1, len(events) + 1))
    assert all(password not in text for text in unreachable)
