"""Whose process is ended for a port, with real processes that listen."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys

import pytest

from atoll.errors import Deposed
from cluster.processes import ProcessId
from orchestrator.endpoint import Endpoint
from orchestrator.vacating import vacate

LISTENS = """
import socket, sys, threading, time
for _ in range(200):
    threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
with socket.create_server(("127.0.0.1", 0)) as server:
    print(server.getsockname()[1], flush=True)
    server.accept()
"""


@pytest.fixture
def holder():
    """A process that listens, and its port."""
    command = [sys.executable, "-c", LISTENS]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        yield process, int(process.stdout.readline())
        process.kill()


def endpoint(pid: int, born: str = "") -> Endpoint:
    process = ProcessId.of(pid)
    return Endpoint("127.0.0.1:1", "run", "s", ProcessId(pid, born or process.born))


def leads() -> None:
    """Nobody else does."""


def test_former_leader_that_holds_the_port_is_ended_even_if_it_is_frozen(holder):
    process, port = holder
    process.send_signal(signal.SIGSTOP)
    vacate(f"127.0.0.1:{port}", endpoint(process.pid), leads)
    with socket.create_server(("127.0.0.1", port)):
        assert process.wait(timeout=30) == -signal.SIGKILL


@pytest.mark.parametrize("other", ["another port", "any port", "no port", "nobody", "namesake"])
def test_who_is_not_in_the_way_is_let_be(holder, other):
    process, port = holder
    address = {"another port": f"127.0.0.1:{port % 60000 + 1}", "any port": "127.0.0.1:0"}
    former = {"nobody": None, "namesake": endpoint(process.pid, "earlier")}
    asked = "" if other == "no port" else address.get(other, f"127.0.0.1:{port}")
    vacate(asked, former.get(other, endpoint(process.pid)), leads)
    assert process.poll() is None


def test_who_holds_the_port_and_never_led_is_let_be(holder):
    process, port = holder
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as former:
        vacate(f"127.0.0.1:{port}", endpoint(former.pid), leads)
        assert former.poll() is None
        former.kill()
    assert process.poll() is None


def test_who_leads_no_more_ends_nobody(holder):
    process, port = holder

    def deposed() -> None:
        raise Deposed("another orchestrator has taken the lead")

    with pytest.raises(Deposed):
        vacate(f"127.0.0.1:{port}", endpoint(process.pid), deposed)
    assert process.poll() is None
