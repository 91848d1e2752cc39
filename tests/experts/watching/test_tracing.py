"""Traces of a training in this process."""

import dataclasses
import gzip
import json

from atoll.traces import OPERATORS, TRACE, Trace, TraceWish
from tests.experts.test_loop import After, assert_same


class Wishes:
    """Wishes for traces, each made once, at the step of its turn."""

    def __init__(self, *wishes):
        self.left = list(wishes)

    def __call__(self):
        return self.left.pop(0) if self.left else None


def test_trace_names_what_took_the_time_and_leaves_every_weight_as_it_was(run):
    run.train(run.assignment(epoch=1))
    run.train(run.assignment(epoch=2), wish=Wishes(None, TraceWish("a1" * 16, 2)))
    assert_same(run, run.published(1)[-1], run.published(2)[-1])

    (trace,) = [message for message in run.said(2) if isinstance(message, Trace)]
    assert trace == Trace("a1" * 16, "profiles/expert-0/step-00000005-a1a1a1a1")
    events = json.loads(gzip.decompress(run.store.get_bytes(f"{trace.key}/{TRACE}")))["traceEvents"]
    steps = {event["name"] for event in events if event["name"].startswith("ProfilerStep")}
    assert len(steps) == 2
    operators = json.loads(run.store.get_bytes(f"{trace.key}/{OPERATORS}"))
    calls = {row["operator"]: row["calls"] for row in operators}
    assert calls["aten::_fused_adamw_"] == 2
    times = [row["cpu_ms"] for row in operators]
    assert times == sorted(times, reverse=True)


def test_trace_that_a_drain_cuts_short_is_answered_with_the_steps_it_lacks(run):
    run.train(run.assignment(), After(4), wish=Wishes(TraceWish("w", 50)))
    (trace,) = [message for message in run.said() if isinstance(message, Trace)]
    assert trace == Trace("w", trouble="expert-0 left 48 steps before its trace was whole")


def test_trace_that_cannot_be_stored_is_answered_and_training_goes_on(run):
    taken = run.folder / "run" / "profiles"
    taken.write_text("a file where the folder should be")
    assert run.train(run.assignment(), wish=Wishes(TraceWish("w", 1)))
    (trace,) = [message for message in run.said() if isinstance(message, Trace)]
    assert trace.trouble.startswith("the trace was not written: ")
    assert dataclasses.replace(trace, trouble="") == Trace("w")
