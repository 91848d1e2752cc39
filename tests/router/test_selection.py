"""Selections renormalise, keep what they promise, and draw by the gate's probabilities."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from atoll.errors import ConfigError
from router.selection import Selection, drawn, nucleus, parse_strategy, select, threshold, top

STRATEGIES = ("full", "top-2", "threshold-0.3", "nucleus-0.8", "sample", "ancestral", "coupled")

masses = st.lists(st.floats(0.001, 1.0), min_size=1, max_size=9)


def probabilities(mass):
    p = torch.tensor([mass], dtype=torch.float64)
    return p / p.sum()


@pytest.mark.parametrize("strategy", STRATEGIES)
@given(mass=masses, uniform=st.floats(0, 1, exclude_max=True))
def test_selection_of_any_probabilities_sums_to_one(strategy, mass, uniform):
    p = probabilities(mass)

    weights = select(parse_strategy(strategy), p, torch.tensor([uniform], dtype=torch.float64))

    assert weights.shape == p.shape
    assert (weights >= 0).all()
    torch.testing.assert_close(weights.sum(1), torch.ones(1, dtype=torch.float64))


@given(mass=masses, num=st.integers(1, 12))
def test_top_keeps_the_likeliest_in_proportion(mass, num):
    p = probabilities(mass)

    weights = top(p, num)

    kept = weights > 0
    assert kept.sum() == min(num, len(mass))
    assert p[kept].min() >= p[~kept].max() if (~kept).any() else True
    torch.testing.assert_close(weights[kept], p[kept] / p[kept].sum())


@given(mass=masses, share=st.floats(0.01, 1.0))
def test_nucleus_is_the_smallest_set_that_holds_the_mass(mass, share):
    p = probabilities(mass)

    kept = nucleus(p, share) > 0

    assert p[kept].sum() >= share - 1e-9
    assert kept.sum() == 1 or p[kept].sum() - p[kept].min() < share + 1e-9


@given(mass=masses, least=st.floats(0.0, 1.0))
def test_threshold_keeps_all_above_it_or_else_the_likeliest(mass, least):
    p = probabilities(mass)

    kept = threshold(p, least) > 0

    if (p >= least).any():
        assert torch.equal(kept, p >= least)
    else:
        assert kept.sum() == 1
        assert p[kept] == p.max()


def test_top_among_equals_takes_the_lower_numbers():
    p = torch.full((3, 4), 0.25)

    assert torch.equal(top(p, 2), torch.tensor([[0.5, 0.5, 0.0, 0.0]]).expand(3, -1))


def test_threshold_and_nucleus_among_equals_take_the_lower_numbers():
    p = torch.full((1, 4), 0.25)

    assert torch.equal(threshold(p, 0.3), torch.tensor([[1.0, 0, 0, 0]]))
    assert torch.equal(nucleus(p, 0.5), torch.tensor([[0.5, 0.5, 0, 0]]))


def test_nucleus_of_no_mass_keeps_the_likeliest():
    assert torch.equal(nucleus(torch.tensor([[0.2, 0.8]]), 0.0), torch.tensor([[0.0, 1.0]]))


def test_drawn_over_evenly_spread_numbers_hits_each_expert_by_its_probability():
    p = torch.tensor([[0.5, 0.0, 0.125, 0.375]])
    uniform = (torch.arange(8000, dtype=torch.float64) + 0.5) / 8000

    counts = drawn(p.expand(8000, -1), uniform).bincount(minlength=4)

    assert counts.tolist() == [4000, 0, 1000, 3000]


@pytest.mark.parametrize("uniform", [0.0, 1 - 2**-53])
def test_drawn_at_the_ends_never_hits_an_impossible_expert(uniform):
    p = torch.tensor([[0.0, 0.3, 0.7, 0.0]])

    assert p[0, drawn(p, torch.tensor([uniform], dtype=torch.float64))] > 0


def test_drawn_moves_by_little_when_the_probabilities_do():
    uniform = torch.rand(10_000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    before = drawn(torch.tensor([[0.30, 0.70]]).expand(10_000, -1), uniform)
    after = drawn(torch.tensor([[0.31, 0.69]]).expand(10_000, -1), uniform)

    assert 0.005 < (before != after).double().mean() < 0.015


@pytest.mark.parametrize(
    ("text", "selection"),
    [
        ("full", Selection("full")),
        ("top-2", Selection("top", 2)),
        ("threshold-.1", Selection("threshold", 0.1)),
        ("nucleus-0.9", Selection("nucleus", 0.9)),
        ("ancestral", Selection("ancestral")),
    ],
)
def test_strategy_by_name_gives_its_selection(text, selection):
    assert parse_strategy(text) == selection


@pytest.mark.parametrize("text", ["", "top", "top-0", "best", "nucleus-2"])
def test_strategy_of_unknown_name_is_refused_with_the_names_there_are(text):
    with pytest.raises(ConfigError, match=r"top-N, threshold-P"):
        parse_strategy(text)
