"""Experts that cannot be had: the others draw, and say so, unless that is not good enough."""

from __future__ import annotations

import pytest
import torch

from atoll.sections import SamplingSection
from router.ensemble import Ensemble
from router.sampling import Sampler, Wanted, noise_of
from serving.engine.events import Done, Failed, Progress
from tests.serving.conftest import CLASSES, CPU, SHAPE, request_of, run
from tests.serving.engine.test_engine import assert_as_alone, submitted


def test_request_that_is_to_be_exact_and_needs_a_lost_expert_fails_with_the_reason(
    make_engine, memory, gate
):
    engine = make_engine()
    del memory.resident[2]
    memory.lost = {2}
    needs = request_of("needs", [1], strategy="full", exact=True)
    does_not = request_of("does not", [2], exact=True)
    p = gate(noise_of([2], SHAPE), torch.ones(1), does_not.cond)
    assert int(p.argmax()) != 2
    told = submitted(engine, [needs, does_not])
    run(engine)
    reason = "expert 2 cannot be had; the service's log says why"
    assert told["needs"].events == [Failed(reason, is_without=True)]


def without(gate, expert):
    """A gate that has never heard of an expert."""

    def others(x_t, t, cond):
        p = gate(x_t, t, cond).clone()
        p[:, expert] = 0
        return p / p.sum(1, keepdim=True)

    return others


@pytest.mark.parametrize("strategy", ["full", "top-2", "top-1", "ancestral", "sample"])
def test_requests_are_drawn_by_the_others_where_an_expert_is_lost_and_told_so(
    make_engine, memory, networks, gate, strategy
):
    request = request_of("a", [1, 2, 3], strategy=strategy, guidance=1.5, solver="heun", steps=4)
    ensemble = Ensemble(networks, without(gate, 1), request.sampling.selection)
    settings = SamplingSection(solver="heun", steps=4, guidance=1.5)
    wanted = Wanted(request.seeds, request.cond)
    (expected,) = Sampler(ensemble, CLASSES, SHAPE, CPU).batches(wanted, settings)
    del memory.resident[1]
    memory.lost = {1}
    engine = make_engine()
    told = submitted(engine, [request])["a"]
    run(engine)
    steps = [it for it in told.events if isinstance(it, Progress)]
    assert all(it.weights[1] == 0 and sum(it.weights) == pytest.approx(1) for it in steps)
    torch.testing.assert_close(told.images, expected, rtol=0, atol=1e-5)
    assert {it.without for it in steps} <= {(), (1,)}
    assert any(it.without for it in steps) or strategy != "full"


def test_image_in_which_a_lost_expert_has_no_part_is_what_it_would_be(make_engine, memory, alone):
    plain = make_engine()
    seeds = list(range(24))
    requests = {seed: request_of(str(seed), [seed]) for seed in seeds}
    there = submitted(plain, requests.values())
    run(plain)
    del memory.resident[2]
    memory.lost = {2}
    engine = make_engine()
    told = submitted(engine, requests.values())
    run(engine)
    spared = 0
    for seed, request in requests.items():
        was = [it for it in there[str(seed)].events if isinstance(it, Progress)]
        now = [it for it in told[str(seed)].events if isinstance(it, Progress)]
        if not any(it.weights[2] for it in was):
            spared += 1
            assert not any(it.without for it in now)
            assert_as_alone(request, told[str(seed)], alone)
        else:
            assert any(it.without == (2,) for it in now)
    assert 0 < spared < len(seeds)


def test_request_whose_expert_is_lost_on_the_way_goes_on_with_the_others(make_engine, memory):
    engine = make_engine()
    told = submitted(engine, [request_of("a", [1, 2], strategy="full", steps=4)])["a"]
    engine.tick()
    del memory.resident[1]
    engine.tick()
    memory.lost = {1}
    run(engine)
    steps = [it for it in told.events if isinstance(it, Progress) and it.position == 0]
    assert [it.without for it in steps] == [(), (1,), (1,), (1,)]
    assert isinstance(told.events[-1], Done)


def test_request_fails_where_all_experts_are_lost(make_engine, memory):
    engine = make_engine()
    memory.resident, memory.lost = {}, {0, 1, 2}
    told = submitted(engine, [request_of("a", [1])])["a"]
    run(engine)
    assert isinstance(told.events[-1], Failed)
