"""A process asked through pipes: a small one here, which has no torch to import."""

from __future__ import annotations

import sys
import threading

import psutil
import pytest

from atoll.errors import Unreachable
from membership import piped
from membership.piped import Piped

ANSWERS = """
import json, os, sys, time
print("{}", flush=True)
for line in sys.stdin:
    request = json.loads(line)
    if request["do"] == "end":
        break
    if request["do"] == "hang":
        time.sleep(60)
    said = {"error": "no peer answers"} if request["do"] == "fail" else {"pid": os.getpid()}
    print(json.dumps(said), flush=True)
"""
HAS_ENDED = "the process that speaks to the DHT has ended"


@pytest.fixture
def process():
    made = Piped([sys.executable, "-c", ANSWERS])
    yield made
    made.close()


def pid_of(process: Piped) -> int:
    return process.ask({"do": "tell"})["pid"]


def test_piped_process_answers_until_it_is_closed(process):
    pid = pid_of(process)
    with pytest.raises(Unreachable, match="no peer answers"):
        process.ask({"do": "fail"})
    assert pid_of(process) == pid
    process.close()
    assert not psutil.pid_exists(pid)
    with pytest.raises(Unreachable):
        pid_of(process)


def test_piped_process_that_has_ended_is_started_again(process):
    pid = pid_of(process)
    with pytest.raises(Unreachable, match=HAS_ENDED):
        process.ask({"do": "end"})
    again = pid_of(process)
    assert again != pid
    psutil.Process(again).kill()
    with pytest.raises(Unreachable, match=HAS_ENDED):
        pid_of(process)
    assert pid_of(process) not in {pid, again}


def test_piped_process_that_hangs_is_started_again(process, monkeypatch):
    pid = pid_of(process)
    monkeypatch.setattr(piped, "_ANSWER_S", 0.1)
    with pytest.raises(Unreachable, match=HAS_ENDED):
        process.ask({"do": "hang"})
    assert not psutil.pid_exists(pid)
    monkeypatch.undo()
    assert pid_of(process) != pid


def test_piped_process_that_cannot_start_is_not_waited_for():
    with pytest.raises(Unreachable):
        Piped([sys.executable, "-c", "raise SystemExit(1)"]).ask({"do": "tell"})


def test_piped_process_is_closed_in_the_middle_of_a_request(process, monkeypatch):
    pid_of(process)
    monkeypatch.setattr(piped, "_LEAVE_S", 0.1)
    failed = threading.Event()

    def ask() -> None:
        with pytest.raises(Unreachable):
            process.ask({"do": "hang"})
        failed.set()

    asking = threading.Thread(target=ask)
    asking.start()
    process.close()
    asking.join(30)
    assert failed.is_set()
