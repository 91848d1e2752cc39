"""What raises in a tick harms the request that it is due to, and no other."""

from __future__ import annotations

import threading

import pytest
import torch

from serving.engine.events import Done, Failed, Progress
from serving.service.worker import Worker
from tests.serving.conftest import Told, request_of, run
from tests.serving.engine.test_engine import assert_as_alone, submitted

BAD_CLASS = 2
BAD, GOOD = [2, 5], [3, 4]  # seeds, whose classes follow from them
NOBODY_HAS_BYTES = 2**50


def poisoned(field, raise_):
    """A field that raises on command: where a row of the bad class is among its rows."""

    def asked(x, t, cond):
        if (cond == BAD_CLASS).any():
            raise_()
        return field(x, t, cond)

    return asked


def break_():
    raise ValueError("so it was commanded")


def exhaust():
    torch.empty(NOBODY_HAS_BYTES)


def assert_fails_alone(engine, bad, good, alone):
    told = submitted(engine, [bad, good])
    run(engine)
    assert isinstance(told[bad.name].events[-1], Failed)
    assert_as_alone(good, told[good.name], alone)


@pytest.fixture
def mixed():
    """Requests of which one image of a batch in two is bad."""
    return {
        "bad": request_of("bad", BAD, strategy="full", steps=4),
        "good": request_of("good", GOOD, strategy="full", steps=4, solver="heun"),
        "guided": request_of("guided", GOOD, strategy="top-2", guidance=2.0),
        "bound": request_of("bound", GOOD, strategy="ancestral"),
    }


@pytest.mark.parametrize("where", ["expert", "gate"])
@pytest.mark.parametrize("raise_", [break_, exhaust])
def test_request_at_which_networks_raise_fails_alone(  # noqa: PLR0917 - fixtures
    make_engine, memory, gate, mixed, alone, where, raise_
):
    if where == "expert":
        memory.resident = {k: poisoned(it, raise_) for k, it in memory.resident.items()}
        engine = make_engine()
    else:
        engine = make_engine(gate=poisoned(gate, raise_))
    told = submitted(engine, mixed.values())
    run(engine)
    (last,) = told["bad"].events
    assert isinstance(last, Failed)
    assert ("memory ran out" if raise_ is exhaust else "so it was commanded") in last.reason
    for name in ("good", "guided", "bound"):
        assert_as_alone(mixed[name], told[name], alone)
        steps = [it for it in told[name].events if isinstance(it, Progress)]
        assert len(steps) == 2 * mixed[name].sampling.steps


def test_shortage_halves_batches_and_spares_experts_before_anyone_fails(
    make_engine, memory, clock, alone
):
    most, seen = 2, []

    def narrow(field):
        def asked(x, t, cond):
            seen.append(len(x))
            if len(x) > most:
                torch.empty(NOBODY_HAS_BYTES)
            return field(x, t, cond)

        return asked

    memory.resident = {k: narrow(it) for k, it in memory.resident.items()}
    engine = make_engine(num_slots=16, most_rows=16)
    request = request_of("wide", list(range(16)), strategy="ancestral")
    told = submitted(engine, [request])
    run(engine)
    assert_as_alone(request, told["wide"], alone)
    assert memory.spared
    assert all(needed <= set(range(memory.num)) for needed in memory.spared)
    clock.now += 61
    seen.clear()
    most = 16
    told = submitted(engine, [request_of("again", [0] * 16, strategy="ancestral", steps=1)])
    run(engine)
    assert isinstance(told["again"].events[-1], Done)
    assert max(seen) == 4  # twice what had fitted


def test_gate_that_says_nothing_finite_fails_its_request_alone(make_engine, gate, alone):
    def unsound(x, t, cond):
        return torch.where((cond == BAD_CLASS)[:, None], torch.nan, gate(x, t, cond))

    engine = make_engine(gate=unsound)
    bad, good = (request_of(name, [seed], strategy="full") for name, seed in (("b", 2), ("g", 3)))
    assert_fails_alone(engine, bad, good, alone)


def test_request_that_cannot_begin_fails_alone(make_engine, alone):
    engine = make_engine()
    bad, good = request_of("bad", [1, 2]), request_of("good", GOOD)
    object.__setattr__(bad, "cond", bad.cond[:1])  # an image without a row
    assert_fails_alone(engine, bad, good, alone)


def test_listener_that_raises_ends_its_own_request(make_engine, alone):
    engine = make_engine()
    deaf, heard = request_of("deaf", [1, 2], steps=50), request_of("heard", GOOD)

    ends = []

    def raises(event):
        if isinstance(event, Failed):
            ends.append(event.reason)
        else:
            raise OSError("gone")

    engine.submit(deaf, raises)
    told = submitted(engine, [heard])
    assert run(engine) < 50
    assert ends == ["what was drawn of it could not be handed over; ask again"]
    assert_as_alone(heard, told["heard"], alone)


def test_worker_fails_what_was_under_way_where_a_tick_itself_raises_and_goes_on(
    make_engine, memory
):
    engine, told = make_engine(), [Told(), Told()]
    worker = Worker(lambda: [engine], threading.Event())
    memory.tell = lambda *_: break_()
    engine.submit(request_of("first", [1], steps=100), told[0])
    worker.start()
    while not told[0].is_over:
        assert worker.is_alive
    memory.tell = lambda *_: None
    engine.submit(request_of("second", [1]), told[1])
    while not told[1].is_over:
        assert worker.is_alive
    worker.stop()
    assert "broke off with ValueError" in told[0].events[-1].reason
    assert isinstance(told[1].events[-1], Done)
