"""Connections that say nothing, and too many of them."""

from __future__ import annotations

import socket

import pytest

from serving.rest import connection


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


@pytest.mark.parametrize("said", [b"", b"GET /healthz HTTP/1.1\r\nHost: "])
def test_caller_that_does_not_come_to_the_point_is_hung_up_on(call, monkeypatch, said):
    monkeypatch.setattr(connection, "SILENT_S", 0.05)
    silent = call()
    silent.sendall(said)
    assert silent.recv(1) == b""


def test_caller_that_has_asked_may_wait_for_the_answer(served, call, monkeypatch):
    monkeypatch.setattr(connection, "SILENT_S", 0.05)
    served.built.valve.let(0)
    with served.client() as client:
        place = client.post("/v1/jobs", json={"prompt": "3"}).headers["Location"]
        with client.stream("GET", f"{place}/events") as answer:
            lines = answer.iter_lines()
            next(lines)
            assert call().recv(1) == b""  # who came later is hung up on by now
            served.built.valve.let(None)
            assert '"state":"done"' in [line for line in lines if line][-1]


def test_caller_beyond_the_most_connections_is_refused_in_openais_shape(served, call, monkeypatch):
    monkeypatch.setattr(connection, "MOST_CONNECTIONS", 1)
    first = call()
    first.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert first.recv(15) == b"HTTP/1.1 200 OK"
    with served.client() as client:
        answer = client.get("/v1/models")
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "unavailable")
    assert answer.headers["Retry-After"] == "5"
