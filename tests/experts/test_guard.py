"""Which steps are taken, by what came before them."""

from __future__ import annotations

import json
import math

import pytest
import torch
from torch import nn

from atoll.training_section import TrainingSection
from experts.engine import Stats
from experts.flow import flow_loss
from experts.guard import Guard
from experts.profiles import exponent
from experts.task import Examples
from experts.torch_engine import TorchEngine

CPU = torch.device("cpu")
TRAINING = TrainingSection(spike_factor=4.0, ema_decay=0.9)


def judged(guard, loss=1.0, norm=1.0):
    return bool(guard.judge(Stats(torch.tensor(loss), torch.tensor(norm))))


@pytest.fixture
def guard():
    """One that knows twenty calm steps."""
    made = Guard(TRAINING, CPU, None)
    assert all(judged(made) for _ in range(20))
    return made


@pytest.mark.parametrize("odd", [math.nan, math.inf, 4.5])
@pytest.mark.parametrize("name", ["loss", "norm"])
def test_guard_refuses_what_is_not_finite_or_leaps(guard, name, odd):
    assert not judged(guard, **{name: odd})
    assert judged(guard, **{name: 3.9})  # what was refused is no measure of what follows


def test_guard_that_knows_little_calls_nothing_a_leap_but_what_is_not_finite():
    young = Guard(TRAINING, CPU, None)
    assert [judged(young, loss) for loss in (9.0, 1.0, 50.0, math.nan)] == [True, True, True, False]


def test_guard_goes_with_what_falls_slowly(guard):
    assert all(judged(guard, norm=0.99**step) for step in range(500))
    assert not judged(guard, norm=1.0)


def test_guard_out_of_a_checkpoint_judges_as_if_it_had_never_stopped(guard):
    values = [1 + 0.1 * math.sin(step) for step in range(50)]
    for value in values[:25]:
        judged(guard, value, value)
    again = Guard(TRAINING, CPU, json.loads(json.dumps(guard.as_json())))
    for value in values[25:]:
        assert judged(guard, value, value) == judged(again, value, value)
    assert guard.as_json() == again.as_json()


class Line(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList()
        self.weight = nn.Parameter(torch.ones(3))

    def forward(self, x_t, t, cond):
        return x_t * self.weight[:, None, None]


def test_engine_that_is_refused_a_step_changes_nothing_by_it():
    engine = TorchEngine(Line(), flow_loss, TRAINING)
    for step in range(3):
        x = torch.full((2, 3, 1, 1), step + 1.0)
        taken = engine.step([Examples(x, torch.zeros(2), None, -x)], lambda _: torch.tensor(True))
        assert bool(taken.taken)
    before = engine.snapshot()
    state = [
        {k: v.clone() for k, v in part.items()}
        for part in (before.network, before.optimizer, *before.averages)
    ]
    odd = torch.full((2, 3, 1, 1), math.inf)
    stats = engine.step([Examples(odd, torch.zeros(2), None, odd)], lambda s: s.loss.isfinite())
    assert not bool(stats.taken)
    after = engine.snapshot()
    for kept, part in zip(state, (after.network, after.optimizer, *after.averages), strict=True):
        assert all(torch.equal(kept[key], part[key]) for key in kept)


def test_power_profile_is_exact_with_steps_that_are_refused():
    lengths = [0.1, 0.25]
    training = TrainingSection(
        ema_profile="power", ema_lengths=lengths, on_spike="skip", learning_rate=0.1
    )
    engine, after = TorchEngine(Line(), flow_loss, training), []
    for step in range(8):
        x, is_taken = torch.full((2, 3, 1, 1), step + 1.0), torch.tensor(step not in {3, 4, 7})
        engine.step([Examples(x, torch.zeros(2), None, -x)], lambda _, taken=is_taken: taken)
        after.append(engine.snapshot().network["weight"].clone())
    assert torch.equal(after[2], after[4])
    assert not torch.equal(after[4], after[5])
    for length, average in zip(lengths, engine.snapshot().averages, strict=True):
        kept = exponent(length) + 1
        parts = [((step + 1) / 8) ** kept - (step / 8) ** kept for step in range(8)]
        expected = sum(part * each for part, each in zip(parts, after, strict=True))
        torch.testing.assert_close(average["weight"], expected, rtol=1e-6, atol=1e-6)
