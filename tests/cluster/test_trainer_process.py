from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from atoll.types import Role
from cluster.trainer_process import TrainerProcess, TrainerSettings

TORCHRUN_KILLED = """\
step 12
E1121 07:05:08.728000 41 torch/distributed/elastic/multiprocessing/api.py:882] failed (exitcode: -9)
Traceback (most recent call last):
torch.distributed.elastic.multiprocessing.errors.ChildFailedError:
Root Cause (first observed failure):
[0]:
  time      : 2026-11-21_07:05:08
  host      : localhost
  rank      : 1 (local_rank: 1)
  exitcode  : -9 (pid: 4711)  (SIGKILL)
  error_file: <N/A>
  traceback : Signal 9 (SIGKILL) received by PID 4711
"""
TORCHRUN_BROKE_BOTH = """\
RuntimeError: Read error: Connection reset by peer
E1121 07:05:08.728000 41 torch/distributed/elastic/multiprocessing/api.py:882] failed (exitcode: 1)
torch.distributed.elastic.multiprocessing.errors.ChildFailedError:
Failures:
[1]:
  time      : 2026-11-21_07:05:{second}
  host      : localhost
  rank      : 1 (local_rank: 1)
  exitcode  : {code} (pid: 4711)  ({name})
  error_file: <N/A>
  traceback : Signal {number} ({name}) received by PID 4711
------------------------------------------------------------
Root Cause (first observed failure):
[0]:
  time      : 2026-11-21_07:05:08
  host      : localhost
  rank      : 0 (local_rank: 0)
  exitcode  : 1 (pid: 4710)
  error_file: <N/A>
  traceback : To enable traceback see: https://pytorch.org/docs/stable/elastic/errors.html
"""
KILL = {"code": -9, "number": 9, "name": "SIGKILL"}
TERM = {"code": -15, "number": 15, "name": "SIGTERM"}
SEEN_LATE = TORCHRUN_BROKE_BOTH.format(second="08", **KILL)
ENDED_BY_TORCHRUN = TORCHRUN_BROKE_BOTH.format(second="08", **TERM)
KILLED_BY_TORCHRUN = TORCHRUN_BROKE_BOTH.format(second="38", **KILL)
MISSED = "exited with code 1: RuntimeError: Read error: Connection reset by peer"
TORCHRUN_FAILED = """\
Traceback (most recent call last):
  File "trainer.py", line 3, in <module>
MemoryError: no room for 8 GiB
E1121 07:05:08.728000 41 torch/distributed/elastic/multiprocessing/api.py:882] failed (exitcode: 1)
Traceback (most recent call last):
torch.distributed.elastic.multiprocessing.errors.ChildFailedError:
"""


@pytest.fixture
def start(tmp_path: Path):
    """Starts a Python program as a trainer; kills it in the end."""
    started: list[TrainerProcess] = []

    def start(program: str) -> TrainerProcess:
        command = [sys.executable, "-c", program]
        started.append(TrainerProcess(command, threads=3, log=tmp_path / "trainer.log"))
        return started[-1]

    yield start
    for trainer in started:
        trainer.kill()


def wait_until(holds: Callable[[], object]) -> None:
    give_up_at = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < give_up_at
        time.sleep(0.02)


def ended(trainer: TrainerProcess) -> TrainerProcess:
    wait_until(lambda: trainer.poll() is not None)
    return trainer


def test_trainer_drains_on_a_line(start):
    trainer = start("import sys; sys.exit(7 if sys.stdin.readline() == 'drain\\n' else 1)")
    trainer.drain()
    assert ended(trainer).poll() == 7
    trainer.drain()  # too late, and no harm
    trainer.kill()
    trainer.drain()


def test_trainer_is_told_its_threads(start):
    assert ended(start("import os, sys; sys.exit(int(os.environ['OMP_NUM_THREADS']))")).poll() == 3


def test_trainer_killed_takes_the_sessions_it_started_with_it(start, tmp_path):
    pid_file = tmp_path / "pid"
    sleeper = "[sys.executable, '-c', 'import time; time.sleep(1000)']"
    trainer = start(
        "import subprocess, sys, time, pathlib\n"
        f"child = subprocess.Popen({sleeper}, start_new_session=True)\n"
        f"pathlib.Path({str(pid_file)!r}).write_text(str(child.pid) + '.')\n"
        "time.sleep(1000)"
    )
    wait_until(lambda: pid_file.exists() and pid_file.read_text().endswith("."))
    worker = psutil.Process(int(pid_file.read_text()[:-1]))
    trainer.kill()
    assert not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE
    assert trainer.poll() == -9


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("import os; os.kill(os.getpid(), 9)", "killed by signal 9 (SIGKILL)"),
        ("raise ValueError('no such shape')", "exited with code 1: ValueError: no such shape"),
        (f"print('''{TORCHRUN_KILLED}'''); exit(1)", "rank 1 was killed by signal 9 (SIGKILL)"),
        (f"print('''{SEEN_LATE}'''); exit(1)", "rank 1 was killed by signal 9 (SIGKILL)"),
        (f"print('''{ENDED_BY_TORCHRUN}'''); exit(1)", MISSED),
        (f"print('''{KILLED_BY_TORCHRUN}'''); exit(1)", MISSED),
        (
            f"print('''{TORCHRUN_FAILED}'''); exit(1)",
            "exited with code 1: MemoryError: no room for 8 GiB",
        ),
    ],
)
def test_trainer_last_words_say_how_it_ended(start, program, words):
    assert ended(start(program)).last_words() == words


def test_trainer_started_anew_answers_for_its_own_words_alone(start):
    ended(start(f"print('''{TORCHRUN_KILLED}'''); exit(1)"))
    second = ended(start("raise ValueError('no such shape')"))
    assert second.last_words() == "exited with code 1: ValueError: no such shape"
    assert "SIGKILL" not in second.last_lines()


@pytest.mark.parametrize(
    ("role", "module"),
    [
        (Role.EXPERT, "experts.trainer"),
        (Role.MONOLITH, "experts.trainer"),
        (Role.ROUTER, "router.trainer"),
    ],
)
def test_settings_run_the_trainer_of_each_role(role, module):
    alone, pair = (TrainerSettings(num, 1).command_for(role, Path("/w")) for num in (1, 2))
    assert alone[1:] == ["-m", module, "--work-dir", "/w"]
    assert pair[1:5] == ["-m", "torch.distributed.run", "--nproc-per-node", "2"]
    assert pair[-4:] == ["-m", module, "--work-dir", "/w"]


def test_settings_with_a_command_run_that():
    settings = TrainerSettings(1, 1, command=("python", "mine.py"))
    assert settings.command_for(Role.EXPERT, Path("/w")) == [
        "python",
        "mine.py",
        "--work-dir",
        "/w",
    ]
