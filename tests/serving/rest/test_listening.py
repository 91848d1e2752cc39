"""A port that takes no more connections than it may, and no silent ones."""

from __future__ import annotations

import resource
import socket
from contextlib import contextmanager

import pytest

from atoll.__main__ import main
from serving.rest import connection, listening, server
from serving.rest.app import make_app
from serving.rest.connection import most_connections
from serving.rest.listening import listen_on
from serving.rest.server import RestServer


@contextmanager
def handles_up_to(soft):
    """So many files may be open."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def call(port):
    return socket.create_connection(("127.0.0.1", port), timeout=60)


def test_one_too_many_is_hung_up_on_until_somebody_goes():
    with listen_on("127.0.0.1:0", 1) as port:
        number = port.getsockname()[1]
        with call(number), port.accept()[0], call(number) as late:
            with pytest.raises(ConnectionAbortedError):
                port.accept()
            assert late.recv(1) == b""
        with call(number), port.accept()[0]:
            pass


def test_service_takes_no_handle_for_who_is_one_too_many(serve, monkeypatch):
    monkeypatch.setattr(connection, "MOST_CONNECTIONS", 1)
    monkeypatch.setattr(server, "MORE", 0)
    number = int(serve().address.rpartition(":")[2])
    with call(number) as first, call(number) as late:
        assert late.recv(1) == b""
        first.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert first.recv(15) == b"HTTP/1.1 200 OK"


def test_connections_leave_half_of_the_handles_to_the_service(monkeypatch):
    with handles_up_to(300):
        assert most_connections() == 150
        monkeypatch.setattr(connection, "MOST_CONNECTIONS", 100)
        assert most_connections() == 100


def test_caller_that_does_not_shake_hands_is_hung_up_on(served, monkeypatch, tmp_path):
    monkeypatch.setattr(listening, "SILENT_S", 0.05)
    with pytest.raises(SystemExit):
        main(["certs", str(tmp_path / "tls")])
    guarded = RestServer(make_app(served.service), "127.0.0.1:0", str(tmp_path / "tls"))
    number = int(guarded.start().rpartition(":")[2])
    try:
        with call(number) as silent:
            assert silent.recv(1) == b""
    finally:
        guarded.stop(1)
