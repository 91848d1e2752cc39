"""Connections that say nothing, and too many of them."""

from __future__ import annotations

import logging
import socket
import time
from contextlib import suppress

import pytest

from serving.rest import connection

LOOK = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
WISH = (
    b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\n"
    b"Content-Type: application/json\r\nContent-Length: 9\r\n\r\n"
)


@pytest.fixture
def call(served):
    """Connects to the service."""
    made = []

    port = int(served.address.rpartition(":")[2])

    def connect():
        made.append(socket.create_connection(("127.0.0.1", port), timeout=60))
        return made[-1]

    yield connect
    for each in made:
        each.close()


def answered(caller, then=b""):
    """Asks for something small, and reads the answer; what is sent besides was taken in by then."""
    caller.sendall(LOOK + then)
    told = b""
    while not told.endswith(b"}"):
        told += caller.recv(4096)
    return told


def is_hung_up_on(caller, said):
    """Says something, and waits."""
    with suppress(ConnectionError):
        caller.sendall(said)
        return caller.recv(1) == b""
    return True


@pytest.mark.parametrize("said", [b"", LOOK[:-3], WISH, WISH + b"{"])
def test_caller_that_does_not_come_to_the_point_is_hung_up_on(call, monkeypatch, said):
    monkeypatch.setattr(connection, "SILENT_S", 0.05)
    silent = call()
    assert is_hung_up_on(silent, said)


def test_caller_that_begins_another_request_and_stops_is_hung_up_on(call, monkeypatch):
    caller = call()
    monkeypatch.setattr(connection, "SILENT_S", 0.3)
    with suppress(ConnectionError):
        answered(caller)
    assert is_hung_up_on(caller, LOOK[:1])


def test_caller_that_has_asked_may_wait_for_the_answer(served, call, monkeypatch):
    served.built.valve.let(0)
    with served.client() as client:
        place = client.post("/v1/jobs", json={"prompt": "3"}).headers["Location"]
    monkeypatch.setattr(connection, "SILENT_S", 0.05)
    told = b""
    while not told:  # however slow this machine is, it is in time at last
        caller = call()
        with suppress(ConnectionError):
            caller.sendall(f"GET {place}/events HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
            told = caller.recv(1)
    assert call().recv(1) == b""  # who came later is hung up on by now
    served.built.valve.let(None)
    with caller.makefile("rb") as rest:
        assert b'"state":"done"' in rest.read()


def test_caller_that_reads_none_of_its_answers_is_hung_up_on(served, call, monkeypatch):
    monkeypatch.setattr(connection, "STUCK_S", 0.05)
    stuck = call()
    stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    answered(stuck)
    with suppress(ConnectionError):
        stuck.sendall(LOOK.replace(b"healthz", b"openapi.json") * 500)
    while served.server._server.server_state.connections:
        time.sleep(0.01)


def test_caller_beyond_the_most_connections_is_refused_and_those_before_are_served(
    served, call, monkeypatch
):
    monkeypatch.setattr(connection, "MOST_CONNECTIONS", 1)
    first = call()
    assert answered(first).startswith(b"HTTP/1.1 200 OK")
    call()  # one too many, which keeps its place for now
    with served.client() as client:
        answer = client.get("/v1/models")
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "unavailable")
        assert answer.headers["Retry-After"] == "5"
        assert answered(first).startswith(b"HTTP/1.1 200 OK")


def test_service_that_leaves_waits_for_no_body(served, call, caplog):
    caller = call()
    answered(caller, then=WISH)
    with caplog.at_level(logging.ERROR):
        served.server.stop(60)
    assert caller.recv(1) == b""
    assert not caplog.records


def test_service_that_leaves_hangs_up_on_who_is_not_told_in_time(served, call, caplog):
    served.built.valve.let(0)
    caller = call()
    caller.sendall(WISH.replace(b"jobs", b"images/generations").replace(b": 9", b": 2") + b"{}")
    while not served.service.num_waiting:
        time.sleep(0.01)
    with caplog.at_level(logging.ERROR):
        served.server.stop(0)
    assert not caplog.records
