"""An agent with a real trainer process and a real orchestrator, in odd situations."""

from __future__ import annotations

import math
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from atoll.clock import SystemClock
from atoll.control import ControlClient
from atoll.errors import LeaseLost, Unreachable
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
from tests.fake_trainer import weights_after

FAKE_TRAINER = (sys.executable, str(Path(__file__).parents[1] / "fake_trainer.py"))
SAY = (
    "import pathlib, sys; work = pathlib.Path(sys.argv[-1]); "
    "(work / 'events.jsonl').write_text(sys.argv[1])"
)


def wait_until(holds: Callable[[], object]) -> None:
    give_up_at = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < give_up_at
        time.sleep(0.02)


@pytest.fixture
def service(tmp_path):
    store = SqlStore(sqlite_url(tmp_path / "orchestrator.db"))
    policy = Policy(term_s=5.0, max_failures=0, backoff_s=0.1)
    serving = FleetService(store, policy, SystemClock())
    spec = JobSpec("expert-0", Role.EXPERT, 0, str(tmp_path / "run"), 20, "d")
    serving.submit([Submission(spec)])
    yield serving
    store.close()


@pytest.fixture
def server(service):
    server, address = start_server(service, "127.0.0.1:0", "run")
    server.address = address
    yield server
    server.stop(grace=None).wait()


@pytest.fixture
def agent(server, tmp_path):
    """Makes an agent that runs a trainer command."""
    clients = []

    def make(
        *trainer: str, orphan_s: float = 60.0, restarts: int = 0, hang_s: float = math.inf
    ) -> Agent:
        how = TrainerSettings(1, 1, tuple(trainer))
        settings = IslandSettings(
            "island-1", tmp_path / "work", 5.0, orphan_s, how, restarts, hang_s
        )
        clients.append(ControlClient(server.address, "run"))
        return Agent(settings, clients[-1], OwnLog(), SystemClock())

    yield make
    for client in clients:
        client.close()


def job(service):
    return service.fleet.jobs["expert-0"]


def test_agent_works_until_dismissed_and_leaves_the_log_only(agent, service, tmp_path):
    agent(*FAKE_TRAINER, "--step-s", "0.001").work(Orders())
    assert job(service).state is JobState.DONE
    assert list((tmp_path / "work").iterdir()) == []
    assert "left at step 20" in (tmp_path / "expert-0.epoch-0001.log").read_text()


def test_agent_whose_trainer_cannot_be_started_says_so(agent, service):
    agent("/no/such/program").work(Orders())
    assert job(service).crash_loop
    assert "the trainer cannot be started" in job(service).reason
    assert "/no/such/program" in job(service).reason


def test_agent_whose_trainer_ends_without_a_word_sends_its_last_line(agent, service):
    agent(sys.executable, "-c", "raise SystemExit('the GPU fell off')").work(Orders())
    assert job(service).reason.endswith("exited with code 1: the GPU fell off")


def test_agent_whose_trainer_claims_an_end_it_never_reached_reports_a_failure(agent, service):
    said = '{"kind": "Ended", "finished": true}\n'
    agent(sys.executable, "-c", SAY, said).work(Orders())
    assert "step 20 was never committed" in job(service).reason


def test_agent_whose_trainer_others_told_to_leave_hands_over_as_preempted(agent, service, tmp_path):
    def tell_trainer() -> None:
        wait_until(lambda: job(service).progress.step >= 2)
        for process in processes.working_in(tmp_path):
            process.terminate()

    telling = threading.Thread(target=tell_trainer)
    telling.start()
    agent(*FAKE_TRAINER, "--step-s", "0.3").work(Orders())
    telling.join()
    told = {event.kind: event.reason for event in service.events(0, 0)}
    assert told["island-preempted"] == "its trainer was told to leave, not by its agent"
    assert job(service).state is JobState.DONE  # the same island took it again


def test_agent_whose_checkpoint_is_refused_stops_its_trainer(agent, service):
    ref = '{"key": "elsewhere", "digest": "d", "step": 5, "epoch": 1}'
    said = f'{{"kind": "Published", "checkpoint": {ref}, "loss": 1}}\n'
    agent(sys.executable, "-c", f"{SAY}; import time; time.sleep(1000)", said).work(Orders())
    assert "elsewhere (epoch 1) is not where a checkpoint of expert-0" in job(service).reason


def test_agent_that_loses_its_lease_kills_the_trainer(agent, service, tmp_path):
    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(agent(*FAKE_TRAINER, "--step-s", "1").work, Orders())
        wait_until(lambda: processes.working_in(tmp_path))
        service.island_gone("island-1", "so the provider thought")
        with pytest.raises(LeaseLost, match="so the provider thought"):
            working.result(timeout=30)
    assert processes.working_in(tmp_path) == []


def test_agent_without_an_orchestrator_for_too_long_kills_the_trainer(
    agent, server, service, tmp_path
):
    with ThreadPoolExecutor(1) as pool:
        lonely = agent(*FAKE_TRAINER, "--step-s", "1", orphan_s=0.5)
        working = pool.submit(lonely.work, Orders())
        wait_until(lambda: processes.working_in(tmp_path))
        server.stop(grace=None).wait()
        with pytest.raises(Unreachable, match="stopping"):
            working.result(timeout=30)
    assert processes.working_in(tmp_path) == []


def test_agent_tells_what_piled_up_when_the_orchestrator_is_back(agent, server, service, tmp_path):
    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(agent(*FAKE_TRAINER, "--every", "5").work, Orders())
        wait_until(lambda: processes.working_in(tmp_path))
        server.stop(grace=None).wait()
        last = tmp_path / "run" / "checkpoints" / "expert-0" / "epoch-0001" / "step-00000020"
        wait_until((last / "manifest.json").exists)
        again, _ = start_server(service, server.address, "run")
        working.result(timeout=30)
        again.stop(grace=None).wait()
    commits = [e.reason for e in service.events(0, 0) if e.kind == "checkpoint-committed"]
    assert commits == [f"step {step} is safe" for step in (5, 10, 15, 20)]
    assert job(service).state is JobState.DONE


def happened(service, *kinds: str) -> list[str]:
    return [event.reason for event in service.events(0, 0) if event.kind in kinds]


def weights(tmp_path: Path, key: str) -> str:
    return (tmp_path / "run" / key / "weights").read_text()


@pytest.mark.parametrize("how", [("--fall-at", "15"), ("--fall-at", "20", "--untold")])
def test_agent_whose_trainer_is_killed_starts_it_anew_under_the_same_lease(
    agent, service, tmp_path, how
):
    agent(*FAKE_TRAINER, *how, "--step-s", "0.001", restarts=1).work(Orders())
    (restarted,) = happened(service, "trainer-restarted")
    assert restarted.startswith("killed by signal 9 (SIGKILL); its trainer is started anew")
    assert "from step 10" in restarted
    assert len(happened(service, "lease-granted")) == 1
    assert not happened(service, "attempt-failed", "job-crash-loop")
    # What the first one left of the last checkpoint is not in the way of the second.
    assert job(service).checkpoint.key == "checkpoints/expert-0/epoch-0001/step-00000020.1"
    assert weights(tmp_path, job(service).checkpoint.key) == weights_after("expert-0", 20)
    assert list((tmp_path / "work").iterdir()) == []
    assert (tmp_path / "expert-0.epoch-0001.log").read_text().count("falls") == 1


def test_agent_whose_trainer_breaks_again_and_again_gives_the_lease_back(agent, service):
    falling = ("--fall-at", "15", "--fall", "9", "--step-s", "0.001")
    agent(*FAKE_TRAINER, *falling, restarts=2).work(Orders())
    assert len(happened(service, "trainer-restarted")) == 2
    (reason,) = happened(service, "job-crash-loop")
    assert "killed by signal 9 (SIGKILL); its island had started it anew 2 times" in reason
    assert job(service).failures == 1


def test_agent_told_to_leave_while_its_trainer_is_to_be_started_anew_leaves_at_once(
    agent, service, tmp_path
):
    orders = Orders()
    with ThreadPoolExecutor(1) as pool:
        falling = ("--fall-at", "15", "--fall", "9", "--step-s", "0.001")
        working = pool.submit(agent(*FAKE_TRAINER, *falling, restarts=20).work, orders)
        wait_until(lambda: len(happened(service, "trainer-restarted")) == 3)
        wait_until(lambda: not processes.working_in(tmp_path))
        orders.leave("its cloud wants it back")
        working.result(timeout=240)
    assert happened(service, "island-preempted") == ["its cloud wants it back"]
    assert 10 <= job(service).step <= 15  # one more may have begun on a busy machine


def test_agent_whose_input_is_at_fault_starts_nothing_anew(agent, service):
    said = '{"kind": "Broke", "reason": "no such data", "final": true}\n'
    agent(sys.executable, "-c", SAY, said, restarts=3).work(Orders())
    assert happened(service, "job-failed") == ["no such data"]
    assert not happened(service, "trainer-restarted")


def test_agent_restarts_from_what_was_uploaded_while_its_orchestrator_was_away(
    agent, server, service, tmp_path
):
    marker = tmp_path / "falls"
    marker.touch()
    with ThreadPoolExecutor(1) as pool:
        falling = ("--break-at", "15", "--while-exists", str(marker))
        working = pool.submit(agent(*FAKE_TRAINER, *falling, restarts=100).work, Orders())
        wait_until(lambda: processes.working_in(tmp_path))
        server.stop(grace=None).wait()
        log = tmp_path / "expert-0.epoch-0001.log"
        wait_until(lambda: "published step 10" in log.read_text())
        marker.unlink()
        wait_until(lambda: "left at step 20" in log.read_text())
        again, _ = start_server(service, server.address, "run")
        working.result(timeout=240)
        again.stop(grace=None).wait()
    commits = [key.removeprefix("step ") for key in happened(service, "checkpoint-committed")]
    assert commits == ["10 is safe", "20 is safe"]
    assert weights(tmp_path, job(service).checkpoint.key) == weights_after("expert-0", 20)


def test_agent_whose_trainer_is_frozen_starts_it_anew(agent, service):
    frozen = ("--fall-at", "15", "--by", "SIGSTOP", "--step-s", "0.001")
    agent(*FAKE_TRAINER, *frozen, restarts=1, hang_s=1.0).work(Orders())
    (restarted,) = happened(service, "trainer-restarted")
    assert restarted.startswith("rank 0 of 1 gave no sign of life for 1 s; its trainer is started")
    assert job(service).state is JobState.DONE


LEAPS = """
import sys, time
from pathlib import Path
from atoll.relay import Broke, Leapt, Speaker, read_assignment

work_dir = Path(sys.argv[-1])
assignment = read_assignment(work_dir)
if assignment.restarts:
    Speaker(work_dir).say(Broke(f"passes over {assignment.passed}", final=True))
else:
    Speaker(work_dir).say(Leapt("expert-0 leapt: at step 9 the loss is nan", 144))
    time.sleep(1000)
"""


def test_agent_whose_training_leapt_rolls_it_back_past_the_samples_to_blame(agent, service):
    agent(sys.executable, "-c", LEAPS, restarts=1).work(Orders())
    (told,) = happened(service, "training-rolled-back")
    assert told.startswith("expert-0 leapt: at step 9 the loss is nan; its trainer is started anew")
    assert happened(service, "job-failed") == ["passes over 144"]
