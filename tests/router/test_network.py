"""The router sees what it is made to see."""

import pytest
import torch

from atoll.errors import ConfigError
from atoll.sizes import Sizes
from experts.condition import Conditioning
from router.network import build_router

SIZES = Sizes(width=16, depth=2, heads=2, patch=2)
SHAPE = (3, 4, 6)
CLASSES = Conditioning("class", 4)


def router(conditioning=CLASSES, seed=0, sizes=SIZES):
    return build_router(sizes, conditioning, SHAPE, num_experts=5, seed=seed)


def trained_by_chance(network):
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return network


X, T = torch.randn(6, *SHAPE), torch.rand(6)
COND = torch.tensor([0, 1, 2, 3, 4, 4])


def test_fresh_routers_of_one_seed_are_equal_and_leave_the_global_generator_alone():
    before = torch.random.get_rng_state()

    first, again, other = router().state_dict(), router().state_dict(), router(seed=1).state_dict()

    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not all(torch.equal(first[key], other[key]) for key in first)
    assert torch.equal(before, torch.random.get_rng_state())


def test_router_logits_depend_on_image_time_and_condition():
    network = trained_by_chance(router())

    logits = network(X, T, COND)

    for other in (network(-X, T, COND), network(X, 1 - T, COND), network(X, T, COND.flip(0))):
        assert (logits - other).abs().max() > 1e-3


def test_prompt_blind_router_looks_away_from_the_condition():
    network = trained_by_chance(router(Conditioning("none")))

    assert torch.equal(network(X, T, COND), network(X, T, None))


def test_router_whose_patch_does_not_divide_the_image_is_refused():
    with pytest.raises(ConfigError, match="patch = 4"):
        router(sizes=Sizes(width=16, depth=1, heads=2, patch=4))
