"""Images of several shapes in progress at once: each is the one it would be alone."""

from __future__ import annotations

import functools
import itertools

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving.engine.alone import row_by_row
from serving.engine.events import Done, Failed, Painted, Preview
from tests.serving.conftest import NUM_EXPERTS, SHAPE, Told, most_skipped, request_of, run
from tests.serving.engine.test_engine import assert_as_alone, assert_each_as_alone, submitted
from tests.serving.engine.test_engine_faults import BAD, GOOD, break_, exhaust

WIDE, HIGH = (1, 2, 6), (1, 6, 4)  # of fewer values than the main shape, and of more
OTHERS = (WIDE, HIGH)
DRAWN = [  # strategy, solver, guidance
    ("full", "heun", 2.5),
    ("top-1", "euler", 1.0),
    ("sample", "midpoint", 2.5),
    ("ancestral", "euler", 2.5),
]


def asked():
    return [
        request_of(
            f"{shape} {strategy}",
            [place, 2**40 + place],
            shape=shape,
            strategy=strategy,
            solver=solver,
            guidance=guidance,
            steps=2 + place % 3,
        )
        for place, (shape, (strategy, solver, guidance)) in enumerate(
            itertools.product((None, *OTHERS), DRAWN)
        )
    ]


@pytest.fixture
def engine_of(make_engine):
    """Makes engines of three shapes."""
    return functools.partial(make_engine, others=OTHERS)


@pytest.fixture
def exact_engine_of(engine_of, memory, gate):
    """Likewise, in deterministic mode."""
    memory.resident = {k: row_by_row(it) for k, it in memory.resident.items()}
    return functools.partial(engine_of, gate=row_by_row(gate))


@pytest.fixture(scope="session")
def alone_once(alone):
    return functools.cache(lambda place: alone(asked()[place]))


def drawn(engine, requests):
    told = submitted(engine, requests)
    run(engine)
    return {name: its.images for name, its in told.items()}


def test_images_of_three_shapes_at_once_are_those_that_the_sampler_draws(engine_of, alone_once):
    engine, requests = engine_of(num_slots=10, most_rows=7), asked()
    told = submitted(engine, requests)
    run(engine)
    assert_each_as_alone(requests, told, alone_once)


def test_images_of_three_shapes_have_the_same_bits_alone_and_together(exact_engine_of):
    requests = asked()
    alone = {each.name: drawn(exact_engine_of(), [each])[each.name] for each in requests}
    for limits in ({"num_slots": 24, "most_rows": 48}, {"num_slots": 3, "most_rows": 3}):
        together = drawn(exact_engine_of(**limits), requests)
        for request in requests:
            assert alone[request.name].shape[1:] == (request.shape or SHAPE)
            assert torch.equal(together[request.name], alone[request.name]), request.name


def test_main_shape_has_the_same_bits_whether_or_not_there_are_others(make_engine, engine_of):
    requests = [each for each in asked() if each.shape is None]
    several, only = drawn(engine_of(), requests), drawn(make_engine(), requests)
    for name, images in only.items():
        assert torch.equal(several[name], images), name


MOVES = st.one_of(
    st.just(("tick", 0)),
    st.tuples(st.just("ask"), st.integers(0, len(asked()) - 1)),
    st.tuples(st.just("cancel"), st.integers(0, len(asked()) - 1)),
    st.tuples(st.just("reside"), st.integers(0, NUM_EXPERTS - 1)),
)


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(MOVES, max_size=30))
def test_slots_that_pass_from_shape_to_shape_at_any_tick_keep_each_image_as_if_alone(
    engine_of, memory, networks, alone_once, moves
):
    engine, told, cancelled = engine_of(num_slots=3, most_rows=4), {}, set()
    for move, which in moves:
        if move == "tick":
            engine.tick()
        elif move == "reside":
            memory.resident = {which: networks[which]}
        elif move == "cancel":
            engine.cancel(asked()[which].name)
            cancelled.add(which)
        elif which not in told:
            told[which] = submitted(engine, [asked()[which]]).popitem()[1]
    memory.resident = dict(enumerate(networks))
    run(engine)
    for which, its in told.items():
        assert its.is_over
        if which not in cancelled:
            torch.testing.assert_close(its.images, alone_once(which), rtol=0, atol=1e-5)


def test_networks_are_asked_once_a_tick_for_all_rows_of_a_shape(engine_of, memory):
    seen = []

    def watched(field):
        def asked(x, t, cond):
            seen.append(tuple(x.shape))
            return field(x, t, cond)

        return asked

    memory.resident = {k: watched(it) for k, it in memory.resident.items()}
    engine = engine_of(num_slots=8, most_rows=16)
    for name, num, shape in (("main", 2, None), ("wide", 3, WIDE), ("high", 1, HIGH)):
        request = request_of(name, list(range(num)), strategy="full", guidance=2.0, shape=shape)
        engine.submit(request, Told())
    engine.tick()
    assert sorted(seen) == sorted(NUM_EXPERTS * [(4, *SHAPE), (6, *WIDE), (2, *HIGH)])


@pytest.mark.parametrize("solver", ["euler", "heun"])
def test_large_image_gives_way_to_an_urgent_one_of_another_shape_and_goes_on(
    exact_engine_of, solver
):
    patient = request_of("patient", [1, 2], steps=5, solver=solver, guidance=2.0, shape=HIGH)
    urgent = request_of("urgent", [60, 61], steps=3, patience_s=1, shape=WIDE)
    engine = exact_engine_of(num_slots=2)
    told = submitted(engine, [patient])
    for _ in range(3):
        engine.tick()
    told |= submitted(engine, [urgent])
    for _ in range(3):
        engine.tick()
    assert isinstance(told["urgent"].events[-1], Done)
    assert not told["patient"].is_over
    run(engine)
    for request in (patient, urgent):
        alone = drawn(exact_engine_of(), [request])[request.name]
        assert torch.equal(told[request.name].images, alone)


def test_previews_are_of_the_shape_of_their_image(engine_of):
    engine = engine_of()
    request = request_of("a", [7], steps=4, preview_every=2, shape=HIGH)
    told = submitted(engine, [request, request_of("beside", [8], steps=9, shape=WIDE)])["a"]
    run(engine)
    shown = [
        (type(each), tuple(each.image.shape)) for each in told.events if hasattr(each, "image")
    ]
    assert shown == [(Preview, HIGH), (Painted, HIGH)]


@pytest.mark.parametrize("raise_", [break_, exhaust])
def test_shape_that_networks_cannot_take_fails_alone(engine_of, memory, alone, raise_):
    def narrow(field):
        def asked(x, t, cond):
            if x.shape[1:] == WIDE:
                raise_()
            return field(x, t, cond)

        return asked

    memory.resident = {k: narrow(it) for k, it in memory.resident.items()}
    engine = engine_of()
    bad = request_of("bad", BAD, shape=WIDE)
    good = [request_of("good", GOOD), request_of("high", GOOD, shape=HIGH)]
    told = submitted(engine, [bad, *good])
    run(engine)
    assert isinstance(told["bad"].events[-1], Failed)
    for request in good:
        assert_as_alone(request, told[request.name], alone)


def test_shape_that_the_model_does_not_draw_fails_alone(engine_of, alone):
    bad, good = request_of("bad", BAD, shape=(1, 8, 8)), request_of("good", GOOD, shape=WIDE)
    engine = engine_of()
    told = submitted(engine, [bad, good])
    run(engine)
    assert isinstance(told["bad"].events[-1], Failed)
    assert_as_alone(good, told["good"], alone)


def test_image_whose_shape_nobody_else_has_makes_its_steps_beside_a_long_request(engine_of):
    """Those of the other shape are all due before it, and would fill every batch."""
    engine = engine_of(num_slots=8, most_rows=5)
    told = submitted(
        engine,
        [
            request_of("long", list(range(7)), steps=300),
            request_of("lonely", [1], steps=3, patience_s=11, shape=HIGH),
        ],
    )
    for _ in range(3 * (most_skipped(8, 5) + 1)):
        engine.tick()
    assert isinstance(told["lonely"].events[-1], Done)
    assert not told["long"].is_over


def test_one_shortage_halves_batches_once_whatever_shapes_are_in_them(engine_of, memory):
    seen, most = [], 4

    def narrow(field):
        def asked(x, t, cond):
            seen.append(tuple(x.shape))
            if len(x) > most:
                exhaust()
            return field(x, t, cond)

        return asked

    memory.resident = {k: narrow(it) for k, it in memory.resident.items()}
    engine = engine_of(num_slots=24, most_rows=24)
    requests = [
        request_of(f"{shape}", list(range(8)), strategy="full", shape=shape)
        for shape in (None, *OTHERS)
    ]
    told = submitted(engine, requests)
    engine.tick()
    assert len(seen) == 1  # the first shape's; the other two wait for smaller batches
    assert len(memory.spared) == 1
    most = 24
    seen.clear()
    engine.tick()
    assert sum(rows for rows, *_ in seen) == 12 * NUM_EXPERTS
    run(engine)
    assert all(isinstance(its.events[-1], Done) for its in told.values())
