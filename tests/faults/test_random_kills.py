"""A run whose processes are killed at random, again and again.

``ATOLL_CHAOS_S=300 make test`` goes on with it for minutes, ``ATOLL_CHAOS_SEED=1`` by other dice.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections import Counter

import psutil
import pytest

from tests.faults.checks import assert_nothing_was_lost
from tests.integration.runs import words_of

CHAOS_S = float(os.environ.get("ATOLL_CHAOS_S", "15"))
SEED = int(os.environ.get("ATOLL_CHAOS_SEED", "0"))
MEAN_S = 5.0  # between two kills
STEP_S = 0.05

pytestmark = pytest.mark.timeout(120 + 3 * CHAOS_S)


# What a command says whose orchestrator was killed while it was starting.
_TOO_EARLY = "the orchestrator killed by signal 9 (SIGKILL) before it served"


def living(run, command: subprocess.Popen[str]) -> dict[str, list[psutil.Process]]:
    """The processes of a run by what they are; none of a kind that has none."""
    found: dict[str, list[psutil.Process]] = {"command": [psutil.Process(command.pid)]}
    for process in run.processes():
        words = words_of(process)
        kinds = [kind for kind in ("orchestrator", "agent") if kind in words] or ["trainer"]
        found.setdefault(kinds[0], []).append(process)
    return found


def test_run_killed_at_random_for_long_ends_as_if_nothing_had_happened(scene, undisturbed):
    run, dice, killed = scene.run, random.Random(SEED), Counter()
    run.steps, run.options = int(CHAOS_S / STEP_S), f"--step-s {STEP_S} --every 10"
    command = run.launch()
    over_at = time.monotonic() + CHAOS_S
    next_at = time.monotonic() + dice.expovariate(1 / MEAN_S)
    while time.monotonic() < over_at:
        time.sleep(0.1)
        if command.poll() is not None:  # its user gives it again
            told = command.communicate()[1]
            assert command.returncode == -signal.SIGKILL or _TOO_EARLY in told, told
            command = run.launch()
        if time.monotonic() >= next_at:
            kinds = living(run, command)
            kind = dice.choice(sorted(kinds))
            dice.choice(kinds[kind]).kill()
            killed[kind] += 1
            next_at += dice.expovariate(1 / MEAN_S)
    if command.poll() is not None:
        command = run.launch()
    told = run.finish(command, timeout_s=120 + 2 * CHAOS_S)  # it makes up for what was lost
    assert command.returncode == 0, told
    assert killed.total() >= CHAOS_S / MEAN_S / 3
    assert_nothing_was_lost(run, undisturbed(run), scene.folder / "cache")
