from dataclasses import replace

import pytest
import torch

from atoll.config_file import read_config
from atoll.errors import ConfigError
from atoll.sizes import Sizes
from experts.condition import Conditioning
from experts.networks import build_network
from tests.experts.test_cross_attention import inputs, stirred

APART = Sizes(width=16, depth=3, heads=2, patch=2)
SHARED = replace(APART, modulation="single")
TOLD = Conditioning("class", 3)
SHAPE = (1, 8, 8)
LABELS = torch.tensor([0, 1, 3])


def as_apart(shared):
    """The network whose blocks have modulation of their own, equal to what that one's come to."""
    weights = shared.state_dict()
    given = {key: each for key, each in weights.items() if not key.startswith("modulation.")}
    for block in range(SHARED.depth):
        offset = given.pop(f"blocks.{block}.adaLN_modulation.offset")
        own = f"blocks.{block}.adaLN_modulation.1"
        given[f"{own}.weight"] = weights["modulation.1.weight"]
        given[f"{own}.bias"] = weights["modulation.1.bias"] + offset
    network = build_network(APART, TOLD, SHAPE, seed=0)
    network.load_state_dict(given)
    return network


def test_shared_modulation_equals_that_of_each_block_with_the_same_parts():
    shared = stirred(build_network(SHARED, TOLD, SHAPE, seed=0))
    x, t = inputs()
    torch.testing.assert_close(shared(x, t, LABELS), as_apart(shared)(x, t, LABELS))


def test_network_with_shared_modulation_begins_with_zero_velocity_and_trains_every_weight():
    network = build_network(SHARED, TOLD, SHAPE, seed=0)
    x, t = inputs()
    assert torch.equal(network(x, t, LABELS), torch.zeros_like(x))
    stirred(network)(x, t, LABELS).square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad.abs().amax() > 0, name


def test_blocks_with_shared_modulation_have_offsets_alone():
    own = build_network(SHARED, TOLD, SHAPE, seed=0).blocks[1].adaLN_modulation
    assert {name: tuple(each.shape) for name, each in own.named_parameters()} == {"offset": (96,)}


def test_shared_modulation_of_an_mmdit_is_refused():
    with pytest.raises(ConfigError, match=r'is no DiT.*leave out .*modulation = "single"'):
        read_config(None, ["expert.preset=MMDiT-T", "expert.modulation=single"])
