"""How a wish reaches the trainer at work, whichever that is by then."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from atoll.traces import TraceWish
from atoll.types import Lease
from cluster.tracing import Tracing
from cluster.trainer_process import TrainerProcess
from tests.fakes import ManualClock

ECHO = ("cat",)  # logs what it is ordered


@dataclass
class Wishing:
    trace_wanted: TraceWish | None = None


def logged(path: Path, text: str) -> bool:
    """Whether this is all of a log, after a while at most."""
    give_up_at = time.monotonic() + 60
    while path.read_text() != text and time.monotonic() < give_up_at:
        time.sleep(0.01)
    return path.read_text() == text


def test_wish_is_ordered_once_of_each_trainer_and_of_none_that_is_dead(tmp_path: Path) -> None:
    logs = [tmp_path / "first", tmp_path / "second"]
    control, lease = Wishing(), Lease("expert-0", "island-1", 1, 10.0)
    trainers = [TrainerProcess(ECHO, 1, log) for log in logs]
    try:
        tracing = Tracing(control, lease, lambda: trainers[0], ManualClock())
        tracing.order()  # nobody wants any
        control.trace_wanted = TraceWish("w", 5)
        tracing.order()
        tracing.order()
        assert logged(logs[0], "trace w 5\n")
        trainers[0].kill()
        tracing.order()  # before the next is started
        trainers.pop(0)
        tracing.order()
        tracing.order()
        assert logged(logs[1], "trace w 5\n")
    finally:
        for trainer in trainers:
            trainer.kill()
