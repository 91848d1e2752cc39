import pytest

from atoll.networks import expert_parameters
from atoll.parameters import (
    dit_block_parameters,
    dit_parameters,
    linear_parameters,
    router_parameters,
)
from atoll.sizes import DITS, Sizes
from experts.condition import Conditioning
from experts.dit import DiT
from router.network import RouterNet

CONDITIONS = [Conditioning("none"), Conditioning("class", 10), Conditioning("text", 24, "e")]
SIZES = [Sizes(16, 2, 2, 2), Sizes(64, 3, 4, 4), Sizes(32, 1, 4, 1), DITS["DiT-S/2"]]
SHARED = Sizes(16, 3, 2, 2, modulation="single")


@pytest.mark.parametrize("conditioning", CONDITIONS)
@pytest.mark.parametrize("sizes", [*SIZES, SHARED])
def test_parameters_are_those_of_the_networks(sizes, conditioning):
    shape = (3, 8, 16)
    expert = DiT(sizes, conditioning, shape)
    assert _count(expert) == dit_parameters(sizes, conditioning, shape)
    router = RouterNet(sizes, conditioning, shape, num_experts=5)
    assert _count(router) == router_parameters(sizes, conditioning, shape, 5)


@pytest.mark.parametrize("tokens", [0, 7])
@pytest.mark.parametrize("modulation", ["block", "single"])
def test_parameters_with_cross_attention_are_those_of_the_network_and_of_its_blocks(
    modulation, tokens
):
    sizes = Sizes(16, 3, 2, 2, cross_attention=True, modulation=modulation)
    conditioning, shape = Conditioning("text", 24, "e", tokens), (3, 8, 16)
    expert = DiT(sizes, conditioning, shape)
    assert _count(expert) == dit_parameters(sizes, conditioning, shape)
    assert _count(expert.blocks[0]) == dit_block_parameters(sizes)


@pytest.mark.parametrize("patch", [2, 4, 8])
@pytest.mark.parametrize(
    ("body", "millions"),
    [
        ("S", (33, 33, 33)),
        ("B", (130, 130, 131)),
        ("L", (458, 458, 459)),
        ("XL", (675, 675, 676)),
    ],
)
def test_parameters_of_the_named_sizes_are_the_published_ones(body, millions, patch):
    # Peebles & Xie, table 4; theirs have a learned sigma, another half of the last layer.
    sizes = DITS[f"DiT-{body}/{patch}"]
    found = expert_parameters(sizes, Conditioning("class", 1000), (4, 32, 32))
    sigma = linear_parameters(sizes.width, 4 * patch**2)
    assert round((found + sigma) / 1e6) == millions[(2, 4, 8).index(patch)]


def _count(network):
    return sum(parameter.numel() for parameter in network.parameters())
