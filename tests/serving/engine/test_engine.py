"""Any mixture of requests gives each the images it would get alone."""

from __future__ import annotations

import functools

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving.engine.events import Done, Failed, Painted, Preview, Progress
from tests.serving.conftest import NUM_EXPERTS, Told, request_of, run

STRATEGIES = ["full", "top-1", "top-2", "threshold-0.3", "sample", "ancestral", "coupled"]


def mixed():
    return [
        request_of(
            f"{strategy} {solver} {guidance}",
            [place, 2**40 + place],
            solver=solver,
            steps=2 + place % 3,
            guidance=guidance,
            strategy=strategy,
        )
        for place, (strategy, solver, guidance) in enumerate(
            (strategy, solver, guidance)
            for strategy in STRATEGIES
            for solver in ("euler", "heun", "midpoint")
            for guidance in (1.0, 2.5)
        )
    ]


def submitted(engine, requests):
    told = {}
    for request in requests:
        told[request.name] = Told()
        engine.submit(request, told[request.name])
    return told


def assert_as_alone(request, told, alone):
    assert isinstance(told.events[-1], Done)
    torch.testing.assert_close(told.images, alone(request), rtol=0, atol=1e-5)


def assert_each_as_alone(requests, told, alone_once):
    for place, request in enumerate(requests):
        assert isinstance(told[request.name].events[-1], Done)
        torch.testing.assert_close(told[request.name].images, alone_once(place), rtol=0, atol=1e-5)


@pytest.fixture(scope="session")
def alone_once(alone):
    return functools.cache(lambda place: alone(mixed()[place]))


def test_any_mixture_gives_each_request_the_images_it_gets_alone(make_engine, alone_once):
    engine, requests = make_engine(num_slots=10, most_rows=7), mixed()
    told = submitted(engine, requests)
    run(engine, 100_000)
    assert_each_as_alone(requests, told, alone_once)


INDEX = st.integers(0, len(mixed()) - 1)
MOVES = st.one_of(
    st.just(("tick", 0)),
    st.tuples(st.just("ask"), INDEX),
    st.tuples(st.just("cancel"), INDEX),
)


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(MOVES, max_size=30))
def test_requests_that_come_and_go_at_any_tick_end_once_and_as_if_alone(
    make_engine, alone_once, moves
):
    engine, told = make_engine(num_slots=5, most_rows=4), {}
    cancelled = set()
    for move, place in moves:
        if move == "tick":
            engine.tick()
        elif move == "cancel":
            engine.cancel(mixed()[place].name)
            cancelled.add(place)
        elif place not in told:
            told[place] = submitted(engine, [mixed()[place]]).popitem()[1]
    run(engine)
    for place, its in told.items():
        assert its.is_over
        if place not in cancelled:
            torch.testing.assert_close(its.images, alone_once(place), rtol=0, atol=1e-5)


def test_images_are_the_same_where_experts_take_turns_in_memory(
    make_engine, memory, networks, alone_once
):
    engine, requests = make_engine(num_slots=100, most_rows=1000), mixed()
    told = submitted(engine, requests)
    for tick in range(1000):
        memory.resident = {tick % NUM_EXPERTS: networks[tick % NUM_EXPERTS]}
        engine.tick()
        if not engine.num_images:
            break
    assert_each_as_alone(requests, told, alone_once)


def test_request_is_told_of_every_step_and_shown_previews(make_engine, alone):
    engine = make_engine()
    request = request_of("a", [7, 8], steps=4, solver="heun", strategy="full", preview_every=2)
    told = submitted(engine, [request])["a"]
    run(engine)
    steps = [(each.position, each.step) for each in told.events if isinstance(each, Progress)]
    assert sorted(steps) == [(place, step) for place in (0, 1) for step in (1, 2, 3, 4)]
    for each in told.events:
        if isinstance(each, Progress):
            assert sum(each.weights) == pytest.approx(1)
    previews = [(each.position, each.step) for each in told.events if isinstance(each, Preview)]
    assert sorted(previews) == [(0, 2), (1, 2)]
    assert_as_alone(request, told, alone)


def test_cancelled_request_frees_its_slots_and_disturbs_nobody(make_engine, alone):
    engine = make_engine(num_slots=4)
    gone = request_of("gone", [1, 2, 3, 4, 5, 6], steps=50)
    stays = request_of("stays", [7, 8])
    told = submitted(engine, [gone, stays])
    engine.tick()
    engine.tick()
    engine.cancel("gone")
    assert run(engine) <= 2 * stays.sampling.steps + 2
    assert told["gone"].events[-1] == Failed("it was cancelled", is_fault=False)
    assert not any(isinstance(each, Painted) for each in told["gone"].events)
    assert_as_alone(stays, told["stays"], alone)
    engine.cancel("gone")
    engine.cancel("nobody")
    assert run(engine) == 0


def test_request_whose_numbers_run_away_fails_alone(make_engine, memory, alone):
    engine = make_engine()
    plain = memory.resident[0]

    def poisoned(x, t, cond):
        said = plain(x, t, cond)
        said[x.flatten(1).abs().amax(1) > 1e3] = float("nan")
        return said

    memory.resident[0] = poisoned
    bad = request_of("bad", [1, 2], guidance=1e6, steps=6, strategy="full")
    good = request_of("good", [3, 4], strategy="full")
    told = submitted(engine, [bad, good])
    run(engine)
    assert isinstance(told["bad"].events[-1], Failed)
    assert "finite" in told["bad"].events[-1].reason
    assert_as_alone(good, told["good"], alone)


def test_request_that_is_late_is_given_up(make_engine, clock):
    engine = make_engine()
    told = submitted(engine, [request_of("a", [1], steps=100, deadline_s=5)])["a"]
    engine.tick()
    clock.now += 6
    run(engine)
    assert told.events[-1] == Failed("it was not done in 5 s", is_fault=False)


@pytest.mark.parametrize("haste", [{"patience_s": 1}, {"patience_s": 90, "deadline_s": 1}])
def test_urgent_request_overtakes_a_patient_one(make_engine, haste):
    engine = make_engine(num_slots=2, most_rows=2)
    patient = request_of("patient", list(range(20)), steps=2, patience_s=60)
    urgent = request_of("urgent", [30], steps=2, **haste)
    told = submitted(engine, [patient])
    engine.tick()
    told |= submitted(engine, [urgent])
    run_until = 0
    while not told["urgent"].is_over:
        engine.tick()
        run_until += 1
    assert run_until <= 5
    assert not told["patient"].is_over
    run(engine)
    assert isinstance(told["patient"].events[-1], Done)


@pytest.mark.parametrize("solver", ["euler", "heun"])
def test_urgent_image_has_the_slot_of_the_last_at_once_which_goes_on_later(
    make_engine, alone, solver
):
    engine = make_engine(num_slots=3, most_rows=5)
    patient = request_of(
        "patient", [1, 2, 3, 4], steps=5, solver=solver, guidance=2.0, strategy="sample"
    )
    told = submitted(engine, [patient])
    for _ in range(3):
        engine.tick()
    urgent = request_of("urgent", [60, 61], steps=3, patience_s=1)
    told |= submitted(engine, [urgent])
    for _ in range(3):
        engine.tick()
    assert isinstance(told["urgent"].events[-1], Done)
    assert not told["patient"].is_over
    run(engine)
    assert_as_alone(urgent, told["urgent"], alone)
    assert_as_alone(patient, told["patient"], alone)
    steps = [(it.position, it.step) for it in told["patient"].events if isinstance(it, Progress)]
    assert sorted(steps) == [(place, step) for place in range(4) for step in range(1, 6)]


def test_image_that_cannot_be_kept_fails_alone(make_engine, alone, monkeypatch):
    def keep(self, slot):
        raise MemoryError

    monkeypatch.setattr("serving.engine.slots.Slots.keep", keep)
    engine = make_engine(num_slots=2)
    told = submitted(engine, [request_of("patient", [1], steps=9), request_of("last", [2, 3])])
    engine.tick()
    urgent = request_of("urgent", [4], patience_s=1)
    told |= submitted(engine, [urgent])
    run(engine)
    assert "memory ran out" in told["last"].events[-1].reason
    assert isinstance(told["patient"].events[-1], Done)
    assert_as_alone(urgent, told["urgent"], alone)


def test_watch_is_told_of_rows_steps_and_images_of_every_tick(make_engine):
    ticks = []
    engine = make_engine(num_slots=3, watch=ticks.append)
    requests = [
        request_of("guided", [1, 2], guidance=2.0, strategy="full", steps=2),
        request_of("bound", [3, 4], strategy="ancestral", steps=2),
    ]
    submitted(engine, requests)
    run(engine)
    assert (ticks[0].num_drawn, ticks[0].num_queued) == (3, 1)
    assert (ticks[-1].num_drawn, ticks[-1].num_queued) == (0, 0)
    assert sum(tick.num_stepped for tick in ticks) == 4 * 2
    guided, bound = 2 * 2 * 2, 2 * 2  # rows: images, branches, steps
    assert sum(sum(tick.rows) for tick in ticks) == NUM_EXPERTS * guided + bound
    assert sum(tick.num_gated for tick in ticks) == guided + 2
