from __future__ import annotations

import threading

import pytest

from atoll import layout
from atoll.clock import SystemClock
from atoll.config_file import read_config
from atoll.errors import BadInput
from cluster.processes import Detached, ProcessId
from orchestrator import connect
from orchestrator.endpoint import Endpoint, identity, only_one
from tests.ports import free_address


def test_connect_waits_for_what_an_orchestrator_tells_of_a_slow_provider(tmp_path, monkeypatch):
    log = layout.state_folder(str(tmp_path)) / connect.LOG
    log.parent.mkdir()
    asking = ["sh", "-c", "sleep 1; echo atoll: island.provider: squeue does not answer; exit 2"]
    monkeypatch.setattr(connect, "_start", lambda *_: Detached(asking, log))
    monkeypatch.setattr(connect, "_START_S", 0.2)
    with pytest.raises(BadInput, match=r"^island\.provider: squeue does not answer$"):
        connect.connect(read_config(None, [f"run.uri={tmp_path}"]))


def test_connect_starts_none_beside_one_that_comes_or_goes(tmp_path, monkeypatch):
    folder = layout.state_folder(str(tmp_path))
    folder.mkdir()
    started, others = threading.Event(), threading.Event()

    def serve_for_a_while():
        with only_one(folder, SystemClock()):
            others.set()
            assert not started.wait(0.5)

    def start(*_):
        started.set()
        return Detached(["sh", "-c", "echo atoll: ours; exit 2"], folder / connect.LOG)

    monkeypatch.setattr(connect, "_start", start)
    other = threading.Thread(target=serve_for_a_while)
    other.start()
    assert others.wait(10)
    with pytest.raises(BadInput, match="ours"):
        connect.connect(read_config(None, [f"run.uri={tmp_path}"]))
    assert started.is_set()
    other.join()


def test_attach_takes_one_that_has_closed_its_port_and_ends_for_gone(tmp_path):
    folder = layout.state_folder(str(tmp_path))
    folder.mkdir()
    leaving = Detached(["sleep", "3"], folder / connect.LOG)
    who = ProcessId.of(leaving.pid)
    Endpoint(free_address(), identity(folder), "settings", who).publish(folder)
    assert connect.attach(read_config(None, [f"run.uri={tmp_path}"])) is None
    assert who.find() is None
