from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import replace

import psutil
import pytest

from cluster.processes import Detached, ProcessId


@pytest.fixture
def child() -> Iterator[psutil.Popen]:
    started = psutil.Popen(["sleep", "1000"])
    yield started
    with contextlib.suppress(psutil.NoSuchProcess):
        started.kill()
    started.wait()


def test_process_is_found_while_it_lives_and_not_as_a_zombie(child):
    process = ProcessId.of(child.pid)
    assert process.find() == psutil.Process(child.pid)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert process.find() is None
    child.wait()
    assert process.find() is None


# Its first thread ends, another goes on.
HALF_DEAD = """
import ctypes, threading, time
threading.Thread(target=time.sleep, args=(1000,)).start()
ctypes.CDLL(None).pthread_exit(None)
"""


def test_process_is_dead_once_all_its_threads_are_and_it_can_be_told_how(tmp_path):
    child = Detached([sys.executable, "-c", HALF_DEAD], tmp_path / "log")
    process, seen = ProcessId.of(child.pid), psutil.Process(child.pid)
    while seen.status() != psutil.STATUS_ZOMBIE:
        assert child.poll() is None
        time.sleep(0.01)
    assert process.find() == seen
    seen.kill()
    while process.find():
        time.sleep(0.01)
    assert child.poll() == -signal.SIGKILL


def test_process_is_found_after_the_wall_clock_was_set(child, monkeypatch):
    process = ProcessId.of(child.pid)
    created = child.create_time()
    monkeypatch.setattr(psutil.Process, "create_time", lambda _: created + 3600)
    assert process.find() is not None


def test_process_is_not_taken_for_a_later_one_with_its_number(child):
    process = ProcessId.of(child.pid)
    assert process == ProcessId.of(child.pid)
    assert replace(ProcessId.of(os.getpid()), pid=child.pid).find() is None


def test_process_of_a_free_number_is_no_process():
    with pytest.raises(psutil.NoSuchProcess):
        ProcessId.of(2**22 + 1)
