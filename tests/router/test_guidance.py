"""Guidance mixes two branches, each with its own posterior, and only where it is asked for."""

import pytest
import torch

from router.ensemble import Ensemble
from router.guidance import Guided
from router.rows import Rows
from router.selection import parse_strategy

CPU = torch.device("cpu")


def guided(mixture, scale, strategy="full", num=64, gate=None):
    ensemble = Ensemble(mixture.experts(), gate or mixture.gate, parse_strategy(strategy))
    scale = torch.as_tensor(scale, dtype=torch.float64).expand(num)
    return Guided(ensemble, mixture.conditioning, scale)


def test_guided_ensemble_is_the_closed_form_with_a_posterior_for_each_branch(mixture, batch):
    x_t, t, cond = batch

    velocity = guided(mixture, 3.0)(x_t, t, cond, Rows.of(range(64), CPU))

    exact = -2 * mixture.velocity(x_t, t) + 3 * mixture.velocity(x_t, t, cond)
    torch.testing.assert_close(velocity, exact, rtol=0, atol=1e-9)


def test_guided_ensemble_with_a_blind_gate_is_not_the_closed_form(mixture, batch):
    x_t, t, cond = batch

    def blind(x_t, t, cond):
        return mixture.gate(x_t, t, None)

    velocity = guided(mixture, 3.0, gate=blind)(x_t, t, cond, Rows.of(range(64), CPU))

    exact = -2 * mixture.velocity(x_t, t) + 3 * mixture.velocity(x_t, t, cond)
    assert (velocity - exact).abs().max() > 0.1


def test_guidance_for_each_row_is_that_row_s_own(mixture, batch):
    x_t, t, cond = batch
    scale = torch.tensor([1.0, 0.0, 2.5, 7.0], dtype=torch.float64).repeat(16)

    velocity = guided(mixture, scale)(x_t, t, cond, Rows.of(range(64), CPU))

    s = scale.reshape(-1, 1, 1, 1)
    exact = (1 - s) * mixture.velocity(x_t, t) + s * mixture.velocity(x_t, t, cond)
    torch.testing.assert_close(velocity, exact, rtol=0, atol=1e-9)


@pytest.mark.parametrize(("scale", "num_rows"), [(1.0, [64]), (2.0, [128])])
def test_guidance_runs_both_branches_as_one_batch_and_none_at_scale_1(
    mixture, batch, scale, num_rows
):
    seen = []

    def gate(x_t, t, cond):
        seen.append(len(x_t))
        return mixture.gate(x_t, t, cond)

    guided(mixture, scale, gate=gate)(*batch, Rows.of(range(64), CPU))

    assert seen == num_rows


def test_guidance_of_rows_at_scale_1_adds_only_the_others_to_the_batch(mixture, batch):
    seen = []

    def gate(x_t, t, cond):
        seen.append(cond)
        return mixture.gate(x_t, t, cond)

    scale = torch.ones(64)
    scale[[3, 5]] = 2.0
    guided(mixture, scale, gate=gate)(*batch, Rows.of(range(64), CPU))

    assert seen[0][64:].tolist() == [mixture.conditioning.size] * 2


def test_guidance_under_ancestral_selection_keeps_one_expert_in_both_branches(mixture, batch):
    x_t, t, cond = batch
    rows = Rows.of(range(64), CPU).bound(torch.arange(64) % 3)

    velocity = guided(mixture, 2.0, "ancestral")(x_t, t, cond, rows)

    for k in range(3):
        mine = rows.expert == k
        x, s, c = x_t[mine], t[mine], cond[mine]
        exact = 2 * mixture.velocity(x, s, c, k) - mixture.velocity(x, s, None, k)
        torch.testing.assert_close(velocity[mine], exact)


def test_guidance_without_a_condition_is_the_field_itself(mixture, batch):
    x_t, t, _ = batch

    velocity = guided(mixture, 4.0)(x_t, t, None, Rows.of(range(64), CPU))

    torch.testing.assert_close(velocity, mixture.velocity(x_t, t))
