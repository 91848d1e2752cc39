"""What a tenure says, and in which order, to an orchestrator that takes its time."""

from __future__ import annotations

import itertools
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from atoll.errors import Unreachable
from atoll.log_types import LogsWanted
from atoll.traces import Trace, TraceWish
from atoll.types import (
    Assignment,
    CheckpointRef,
    Directive,
    Ending,
    Incident,
    JobSpec,
    Lease,
    Outcome,
    Progress,
    Role,
)
from cluster.contact import Contact
from cluster.leading import NoPeers
from cluster.log_sender import LogSender
from cluster.own_log import OwnLog
from cluster.tenure import Orders, Tenure
from cluster.trainer_process import TrainerSettings
from cluster.trainer_run import IslandSettings

TERM_S = 10.0
SAY = (
    "import pathlib, sys; work = pathlib.Path(sys.argv[-1]); "
    "(work / 'events.jsonl').write_text(sys.argv[1])"
)

# Says of each of two orders for a trace what it was, and ends.
TRACES = """
import json, pathlib, sys
events = pathlib.Path(sys.argv[-1]) / "events.jsonl"
def say(**line):
    with events.open("a") as file:
        file.write(json.dumps(line) + chr(10))
for _ in range(2):
    order = sys.stdin.readline().strip()
    say(kind="Trace", wish=order.split()[1], key="orders: " + order, trouble="")
say(kind="Ended", finished=True)
"""


@dataclass
class SlowControl:
    """Takes half a term for every commit, on its own clock; remembers what it was told."""

    now: float = 0.0
    calls: list[str] = field(default_factory=list)
    logs_wanted: LogsWanted = field(default_factory=LogsWanted)
    wishes: list[TraceWish] = field(default_factory=list)
    traces: list[Trace] = field(default_factory=list)

    @property
    def trace_wanted(self) -> TraceWish | None:
        """The next one that nothing was heard of."""
        return self.wishes[len(self.traces)] if len(self.traces) < len(self.wishes) else None

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def heartbeat(
        self, lease: Lease, progress: Progress, incidents: Sequence[Incident] = ()
    ) -> Directive:
        self.calls.append("heartbeat")
        return Directive.CONTINUE

    def send_trace(self, lease: Lease, trace: Trace) -> None:
        self.calls.append("send_trace")
        if self.calls.count("send_trace") == 1:
            raise Unreachable("it restarts")
        self.traces.append(trace)

    def commit(self, lease: Lease, checkpoint: CheckpointRef, loss: float = math.nan) -> None:
        self.calls.append("commit")
        self.now += TERM_S / 2


def make_tenure(control: SlowControl, folder: Path, *command: str) -> Tenure:
    how = TrainerSettings(1, 1, (sys.executable, "-c", *command))
    settings = IslandSettings("island-1", folder / "work", 5.0, 600.0, how)
    spec = JobSpec("expert-0", Role.EXPERT, 0, str(folder / "run"), 30, "d")
    return Tenure(
        Assignment(Lease("expert-0", "island-1", 1, TERM_S), spec, None),
        settings,
        control,
        contact=Contact(600.0, control),
        logs=LogSender(control, "island-1", OwnLog(), control),
        clock=control,
        peers=NoPeers(),
    )


def test_tenure_beats_between_commits_that_piled_up(tmp_path: Path) -> None:
    lines = [
        {"kind": "Published", "checkpoint": asdict(ref(step)), "loss": 0.5} for step in (10, 20, 30)
    ]
    said = "".join(
        f"{json.dumps(line)}\n" for line in [*lines, {"kind": "Ended", "finished": True}]
    )
    control = SlowControl()
    tenure = make_tenure(control, tmp_path, SAY, said)
    assert tenure.serve(Orders()) == Outcome(Ending.FINISHED)
    assert control.calls.count("commit") == 3
    assert ("commit", "commit") not in set(itertools.pairwise(control.calls))


def test_tenure_orders_a_trace_once_and_tells_of_it_until_it_is_heard(tmp_path: Path) -> None:
    control = SlowControl(wishes=[TraceWish("w", 5), TraceWish("next", 1)])
    tenure = make_tenure(control, tmp_path, TRACES)
    assert tenure.serve(Orders()) == Outcome(Ending.FINISHED)
    assert control.traces == [
        Trace("w", "orders: trace w 5"),
        Trace("next", "orders: trace next 1"),
    ]


def ref(step: int) -> CheckpointRef:
    return CheckpointRef(f"checkpoints/expert-0/epoch-0001/step-{step:08d}", "d", step, 1)
