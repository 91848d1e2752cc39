"""Two real processes that train together, and what their beats say once one of them hangs."""

from __future__ import annotations

import signal
import time
from contextlib import ExitStack, contextmanager

import pytest

from atoll.beats import Phase, read_beats
from atoll.clock import SystemClock
from cluster.watch import Watch
from experts.task import Place
from experts.watching import flight_recorder
from experts.watching.pulse import Pulse
from tests.warm import Warm

HANG_S = 12.0
RANK = """
import sys, time
from pathlib import Path

import torch
from torch import distributed

from atoll.node_place import NodePlace
from experts.meeting import joined
from experts.watching.pulse import Pulse
from experts.task import Place

work_dir, rank, how = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
place = Place(rank, 2)
pulse = Pulse()
pulse.beat(work_dir, place)

def nap():
    time.sleep(1000)

with joined(place, NodePlace(), work_dir):
    for step in range(1, 10000):
        distributed.all_reduce(torch.ones(1))
        if step == 5 and how == "receives":
            distributed.recv(torch.ones(1), 1) if rank == 0 else nap()
        if step == 5 and how == "elsewhere" and rank == 1:
            nap()
        pulse.stepped(step)
        time.sleep(0.01)
"""


@contextmanager
def two_ranks(tmp_path, how):
    work_dir = tmp_path / "work"
    work_dir.mkdir()
    with ExitStack() as stack:
        ranks = []
        for rank in (0, 1):
            ranks.append(Warm(RANK, [str(work_dir), str(rank), how], tmp_path / "log"))
            stack.callback(ranks[-1].stdin.close)
            stack.callback(ranks[-1].wait, timeout=240)
            stack.callback(ranks[-1].send_signal, signal.SIGKILL)
        yield work_dir, ranks


def named(*work_dirs):
    """What the agents there hear first."""
    watches = {Watch(each, HANG_S, SystemClock()): "" for each in work_dirs}
    give_up_at = time.monotonic() + 240
    while not all(watches.values()):
        assert time.monotonic() < give_up_at, [list(read_beats(each)) for each in work_dirs]
        time.sleep(0.1)
        watches = {watch: words or watch.look() for watch, words in watches.items()}
    return list(watches.values())


def of_its_node(work_dir, rank):
    """The folder, as if that rank alone were on its node."""
    beats = work_dir.with_name(f"work-{rank}") / "beats"
    beats.mkdir(parents=True)
    name = f"rank-{rank}.json"
    (beats / name).symlink_to(work_dir / "beats" / name)
    return beats.parent


def test_rank_that_is_stopped_is_named_and_what_the_other_waits_in(tmp_path):
    with two_ranks(tmp_path, "steps") as (work_dir, ranks):
        give_up_at = time.monotonic() + 240
        while sum(beat.phase is Phase.STEP for beat, _ in read_beats(work_dir)) < 2:
            assert time.monotonic() < give_up_at
            time.sleep(0.05)
        ranks[1].send_signal(signal.SIGSTOP)
        assert named(work_dir) == [
            "rank 1 of 2 gave no sign of life for 12 s; rank 0 of 2 waits in gloo:all_reduce"
        ]


@pytest.mark.parametrize(("how", "call"), [("elsewhere", "gloo:all_reduce"), ("receives", "recv")])
def test_rank_that_is_stuck_elsewhere_is_named_with_its_line(tmp_path, how, call):
    with two_ranks(tmp_path, how) as (work_dir, _):
        first, second = (of_its_node(work_dir, rank) for rank in (0, 1))
        words, leaders, followers = named(work_dir, first, second)
    assert words.startswith(f"rank 1 of 2 did not come to {call} for 12 s after step 4, and is at")
    assert words.endswith(f"in nap; rank 0 of 2 waits in {call}")
    assert leaders.startswith("nothing moved for 12 s after step ")
    assert leaders.endswith(f"; rank 0 of 2 waits in {call}")
    assert followers.startswith("rank 1 of 2 came to no collective for 12 s after step 4, and is")
    assert followers.endswith("in nap")


def test_process_that_cannot_tell_where_it_is_beats_all_the_same(tmp_path, monkeypatch):
    def unlike_itself():
        raise KeyError("retired")

    monkeypatch.setattr(flight_recorder, "come_to", unlike_itself)
    pulse = Pulse()
    monkeypatch.setattr(pulse, "_told", (tmp_path, Place(1, 2)))
    pulse.stepped(7)
    pulse.end()
    ((beat, _),) = read_beats(tmp_path)
    assert (beat.rank, beat.step, beat.phase, beat.inside) == (1, 7, Phase.END, ())
