from __future__ import annotations

import socket
from contextlib import ExitStack

import pytest

from atoll.errors import Busy, Unreachable
from atoll.log_types import LogPiece, LogPlace
from atoll.types import Wait
from cluster import state_file
from cluster.following import Following


class Client:
    """A control plane that is answered at one address only; notes where it called."""

    def __init__(self, address: str, leader: str) -> None:
        self.address = address
        self.leader = leader
        self.error: type[Unreachable] = Unreachable
        self.called: list[str] = []

    def move(self, address: str) -> None:
        self.address = address

    def acquire(self, *_: str) -> Wait:
        self.called.append(self.address)
        if self.address != self.leader:
            raise self.error(f"nobody at {self.address}")
        return Wait(1.0, dismissed=False)

    def send_log(self, _: LogPiece) -> bool:
        self.acquire()
        return True


@pytest.fixture
def machines():
    """Three addresses at which somebody listens, so that they are worth a call."""
    with ExitStack() as stack:
        servers = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(3)]
        yield [f"127.0.0.1:{server.getsockname()[1]}" for server in servers]


def ask(control: Following) -> None:
    control.acquire("island-1", "r")


def test_following_goes_to_whoever_answers_within_the_call_and_stays_there(machines):
    a, b, c = machines
    client = Client(a, leader=c)
    control = Following(client, machines, "run", None)
    ask(control)
    assert client.called == [a, b, c]
    ask(control)
    assert client.called[3:] == [c]
    client.leader = a
    ask(control)
    assert client.called[4:] == [c, a]


def test_following_stays_with_a_leader_that_misses_a_call(machines):
    a, b, _ = machines
    client = Client(a, leader="nobody")
    control = Following(client, [a, b, "127.0.0.1:1"], "run", None)
    with pytest.raises(Unreachable, match=a):
        ask(control)
    assert client.called == [a, b]  # at the third nobody listens
    client.leader = a
    ask(control)
    assert client.called[2:] == [a]


def test_following_seeks_nobody_else_for_a_busy_leader_or_an_unsent_log(machines):
    client = Client(machines[0], leader="nobody")
    control = Following(client, machines, "run", None)
    with pytest.raises(Unreachable):
        control.send_log(LogPiece(LogPlace("island-1", 0, 0), "", b""))
    client.error = Busy
    with pytest.raises(Busy):
        ask(control)
    assert client.called == [machines[0]] * 2


def test_following_goes_where_the_file_says_and_finds_back_to_it(machines, tmp_path):
    a, b, c = machines
    file, client = tmp_path / "orchestrator.json", Client(a, leader=c)
    control = Following(client, [a, b], "run", file)
    state_file.write(file, {"run": "another", "address": c})
    with pytest.raises(Unreachable):
        ask(control)
    state_file.write(file, {"run": "run", "address": c})
    client.called.clear()
    ask(control)
    assert client.called == [c]
    client.leader = b
    ask(control)
    client.leader = c
    ask(control)
    assert client.called == [c, c, a, b, b, c]


def test_following_goes_where_a_dht_says_once_no_address_it_was_given_answers(machines):
    a, b, c = machines
    told: list[list[str]] = [[], [a, c]]
    client = Client(a, leader=c)
    control = Following(client, [a, b], "run", None, lambda: told.pop(0))
    with pytest.raises(Unreachable):
        ask(control)  # it is looked for meanwhile
    ask(control)
    assert client.called == [a, b, a, b, c]
    ask(control)
    assert client.called[5:] == [c]
    assert told == []
