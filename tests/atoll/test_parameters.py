import pytest

from atoll.parameters import dit_parameters, router_parameters
from atoll.sizes import PRESETS, Sizes
from experts.condition import Conditioning
from experts.dit import DiT
from router.network import RouterNet

CONDITIONS = [Conditioning("none"), Conditioning("class", 10), Conditioning("text", 24, "e")]
SIZES = [Sizes(16, 2, 2, 2), Sizes(64, 3, 4, 4), Sizes(32, 1, 4, 1), PRESETS["DiT-S/2"]]


@pytest.mark.parametrize("conditioning", CONDITIONS)
@pytest.mark.parametrize("sizes", SIZES)
def test_parameters_are_those_of_the_networks(sizes, conditioning):
    shape = (3, 8, 16)
    expert = DiT(sizes, conditioning, shape)
    assert _count(expert) == dit_parameters(sizes, conditioning, shape)
    router = RouterNet(sizes, conditioning, shape, num_experts=5)
    assert _count(router) == router_parameters(sizes, conditioning, shape, 5)


@pytest.mark.parametrize(
    ("preset", "millions"), [("DiT-S/2", 33), ("DiT-B/2", 130), ("DiT-L/2", 458), ("DiT-XL/2", 675)]
)
def test_parameters_of_the_named_sizes_are_the_published_ones(preset, millions):
    # Peebles & Xie, table 4; theirs have a learned sigma, which adds some thousands.
    found = dit_parameters(PRESETS[preset], Conditioning("class", 1000), (4, 32, 32))
    assert found / 1e6 == pytest.approx(millions, rel=0.01)


def _count(network):
    return sum(parameter.numel() for parameter in network.parameters())
