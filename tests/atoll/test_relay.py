"""What trainer and agent say to each other."""

import math
from pathlib import Path

from atoll.relay import (
    DRAIN,
    EVENTS,
    Broke,
    Damaged,
    Ended,
    Leapt,
    Listener,
    Overcame,
    Published,
    Speaker,
    read_assignment,
    trace_order,
    wish_of,
    write_assignment,
)
from atoll.traces import Trace, TraceWish
from atoll.types import (
    Assignment,
    CheckpointRef,
    IncidentKind,
    JobSpec,
    Lease,
    Progress,
    Role,
    Vitals,
)

REF = CheckpointRef("checkpoints/j/epoch-0001/step-00000005", "d", 5, 1)


def test_listener_hears_each_message_once_and_in_order(tmp_path: Path) -> None:
    speaker, listener = Speaker(tmp_path), Listener(tmp_path)
    said = [
        Progress(3, 0.5, 10.0, vitals=Vitals(mfu=0.4)),
        Published(REF, 0.25),
        Broke("why"),
        Ended(finished=True),
    ]
    said += [Damaged("a byte differs"), Trace("wish", "profiles/x"), Trace("wish", trouble="why")]
    said += [Leapt("step 4 leapt", 128), Overcame(IncidentKind.SKIPPED, "step 3 was odd")]
    speaker.say(said[0])
    assert list(listener.heard()) == said[:1]
    for message in said[1:]:
        speaker.say(message)
    assert list(listener.heard()) == said[1:]
    assert list(listener.heard()) == []


def test_listener_before_the_first_word_hears_nothing(tmp_path: Path) -> None:
    assert list(Listener(tmp_path).heard()) == []


def test_listener_waits_for_the_end_of_a_line(tmp_path: Path) -> None:
    listener = Listener(tmp_path)
    Speaker(tmp_path).say(Progress(1, math.inf, 0.0))
    whole = (tmp_path / EVENTS).read_bytes()
    (tmp_path / EVENTS).write_bytes(whole + whole[:-4])
    assert len(list(listener.heard())) == 1
    (tmp_path / EVENTS).write_bytes(whole + whole)
    assert list(listener.heard()) == [Progress(1, math.inf, 0.0)]


def test_assignment_round_trips(tmp_path: Path) -> None:
    spec = JobSpec("router", Role.ROUTER, 0, "runs/x", 100, "digest")
    for checkpoint in (None, REF):
        assignment = Assignment(
            Lease("router", "island", 3, 10.0), spec, checkpoint, restarts=2, passed=9
        )
        write_assignment(tmp_path, assignment)
        assert read_assignment(tmp_path) == assignment


def test_order_for_a_trace_is_a_line_unlike_others() -> None:
    wish = TraceWish("a1b2", 5)
    order = trace_order(wish)
    assert order.endswith("\n")
    assert wish_of(order.strip()) == wish
    assert wish_of(DRAIN.strip()) is None
    assert wish_of("") is None
