"""The agents of one island's nodes, with real trainer processes and a real orchestrator."""

from __future__ import annotations

import itertools
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from atoll.clock import SystemClock
from atoll.control import ControlClient
from atoll.gangs import GangNode
from atoll.types import JobSpec, JobState, Role, Submission
from cluster import processes
from cluster.agent import Agent
from cluster.own_log import OwnLog
from cluster.tenure import Orders
from cluster.trainer_process import TrainerSettings
from cluster.trainer_run import IslandSettings
from orchestrator.fleet.state import Policy
from orchestrator.rpc.server import start_server
from orchestrator.service import FleetService
from orchestrator.storage.sql_store import SqlStore
from orchestrator.storage.urls import sqlite_url

FAKE_TRAINER = (sys.executable, str(Path(__file__).parents[1] / "fake_trainer.py"))
STEPS = 60


def wait_until(holds: Callable[[], object]) -> None:
    give_up_at = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < give_up_at
        time.sleep(0.02)


@pytest.fixture
def service(tmp_path):
    """A fleet with a job for islands of one or two nodes, whose time passes."""
    store = SqlStore(sqlite_url(tmp_path / "orchestrator.db"))
    policy = Policy(term_s=3.0, max_failures=5, backoff_s=0.1, max_nodes=2, min_nodes=1)
    serving = FleetService(store, policy, SystemClock())
    spec = JobSpec("expert-0", Role.EXPERT, 0, str(tmp_path / "run"), STEPS, "d")
    serving.submit([Submission(spec)])
    over = threading.Event()

    def pass_time() -> None:
        while not over.wait(0.1):
            serving.tick()

    ticking = threading.Thread(target=pass_time)
    ticking.start()
    yield serving
    over.set()
    ticking.join()
    store.close()


@pytest.fixture
def start(service, tmp_path):
    """Starts the agent of a node in a thread; with what it is told, and how it ends."""
    server, address = start_server(service, "127.0.0.1:0", "run")
    told, clients = [], []

    def start(name: str, *trainer: str):
        how = TrainerSettings(1, 1, (*FAKE_TRAINER, "--step-s", "0.05", *trainer))
        work, node = tmp_path / name / "work", GangNode(name, "127.0.0.1")
        work.mkdir(parents=True)
        settings = IslandSettings("island-1", work, 10.0, 60.0, how, hang_s=1.0, node=node)
        clients.append(ControlClient(address, "run"))
        told.append(Orders())
        agent = Agent(settings, clients[-1], OwnLog(), SystemClock())
        return told[-1], pool.submit(agent.work, told[-1])

    with ThreadPoolExecutor(4) as pool:
        yield start
        for orders in told:
            orders.leave("the test is over")
    for client in clients:
        client.close()
    server.stop(grace=None).wait()


def job(service):
    return service.fleet.jobs["expert-0"]


def gang(service) -> tuple[str, ...]:
    known = service.fleet.gangs.get("island-1")
    return known.gang.names if known else ()


def happened(service) -> list[tuple[str, str]]:
    return [(event.kind, event.reason) for event in service.events(0, 0)]


def worlds(tmp_path: Path, name: str) -> list[str]:
    """Which place the trainers of a node had, in the order in which they were started."""
    logs = sorted((tmp_path / name).glob("*.log"))
    lines = itertools.chain(*(log.read_text().splitlines() for log in logs))
    return [line for line in lines if line.startswith("rank")]


def pair(start, service, *followers_trainer: str):
    """Two agents, of which the first leads, once both train."""
    first = start("a")
    wait_until(lambda: "island-1" in service.fleet.gangs)
    second = start("b", *followers_trainer)
    wait_until(lambda: job(service).progress.step >= 5)
    assert gang(service) == ("a", "b")
    return first, second


def test_nodes_work_together_until_dismissed(start, service, tmp_path):
    for _, working in pair(start, service):
        working.result(timeout=60)
    assert job(service).state is JobState.DONE
    assert (job(service).epoch, job(service).failures) == (1, 0)
    assert worlds(tmp_path, "a") == ["rank 0 of 2"]
    assert worlds(tmp_path, "b") == ["rank 1 of 2"]


def test_follower_told_to_leave_is_waited_for_with_a_checkpoint(start, service, tmp_path):
    (_, leading), (orders, following) = pair(start, service)
    orders.leave("reclaimed")
    following.result(timeout=60)
    leading.result(timeout=60)
    assert job(service).state is JobState.DONE
    assert worlds(tmp_path, "a") == ["rank 0 of 2", "rank 0 of 1"]
    assert ("lease-released", "leaving: b; a goes on alone") in happened(service)
    assert (job(service).losses, job(service).failures) == (0, 0)


def test_leader_told_to_leave_hands_over_to_the_follower(start, service, tmp_path):
    (orders, leading), (_, following) = pair(start, service)
    orders.leave("reclaimed")
    leading.result(timeout=60)
    following.result(timeout=60)
    assert job(service).state is JobState.DONE
    assert worlds(tmp_path, "b") == ["rank 1 of 2", "rank 0 of 1"]
    assert ("island-preempted", "reclaimed") in happened(service)
    assert not {"leader-lost", "attempt-failed"} & {kind for kind, _ in happened(service)}


@pytest.mark.parametrize("node", ["a", "b"])
def test_trainer_killed_on_one_node_is_named_and_all_try_again(start, service, tmp_path, node):
    agents = pair(start, service)
    processes.kill(processes.working_in(tmp_path / node))
    for _, working in agents:
        working.result(timeout=60)
    assert job(service).state is JobState.DONE
    (words,) = (words for kind, words in happened(service) if kind == "attempt-failed")
    who = "the leader" if node == "a" else "b"
    assert f"{who}: killed by signal 9 (SIGKILL)" in words
    assert worlds(tmp_path, "b") == ["rank 1 of 2"] * 2


def test_trainer_that_hangs_on_a_follower_is_named_by_its_agent_and_all_try_again(start, service):
    for _, working in pair(start, service, "--fall-at", "15", "--by", "SIGSTOP"):
        working.result(timeout=60)
    assert job(service).state is JobState.DONE
    (words,) = (words for kind, words in happened(service) if kind == "attempt-failed")
    assert "b: rank 1 of 2 gave no sign of life for 1 s" in words
