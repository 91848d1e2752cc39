"""Row by row, an image has the same bits whatever is drawn beside it, and whoever is in memory."""

from __future__ import annotations

import pytest
import torch

from serving.engine.alone import row_by_row
from tests.serving.conftest import NUM_EXPERTS, Told, request_of, run

ASKED = [
    request_of("full", [1, 2], solver="heun", guidance=2.5, strategy="full"),
    request_of("two", [3], guidance=1.5, strategy="top-2"),
    request_of("one", [4, 5], solver="midpoint"),
    request_of("bound", [6], strategy="ancestral", guidance=2.0),
    request_of("drawn", [7], strategy="sample"),
]


@pytest.fixture
def exact(make_engine, memory, gate):
    """An engine in deterministic mode."""
    memory.resident = {k: row_by_row(it) for k, it in memory.resident.items()}
    return lambda **more: make_engine(gate=row_by_row(gate), **more)


def drawn(engine, requests, before_tick=lambda tick: None):
    told = {request.name: Told() for request in requests}
    for request in requests:
        engine.submit(request, told[request.name])
    for tick in range(10_000):
        before_tick(tick)
        if not engine.tick() and not engine.num_images:
            return {name: its.images for name, its in told.items()}
    raise AssertionError("it never ends")


def test_images_have_the_same_bits_alone_together_and_with_experts_taking_turns(exact, memory):
    alone = {request.name: drawn(exact(), [request])[request.name] for request in ASKED}
    together = drawn(exact(num_slots=16, most_rows=16), ASKED)
    all_experts = memory.resident

    def take_turns(tick):
        memory.resident = {k: all_experts[k] for k in range(NUM_EXPERTS) if (tick // 2 + k) % 3}

    in_turns = drawn(exact(num_slots=3, most_rows=3), ASKED, take_turns)
    for name, image in alone.items():
        assert image.dtype == torch.float32
        assert torch.equal(together[name], image), name
        assert torch.equal(in_turns[name], image), name


def test_plain_mode_needs_no_order_and_agrees_within_rounding(exact, make_engine):
    for request in ASKED:
        plain, its = drawn(make_engine(), [request]), drawn(exact(), [request])
        torch.testing.assert_close(plain[request.name], its[request.name], rtol=0, atol=1e-5)
    assert run(make_engine()) == 0
