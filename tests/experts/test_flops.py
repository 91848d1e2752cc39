import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from atoll.sizes import PRESETS, Sizes
from experts.condition import Conditioning
from experts.dit import build_dit
from experts.flops import TRAINING, dit_flops

LATENTS = (4, 32, 32)
IMAGENET = Conditioning("class", 1000)


@pytest.mark.parametrize(
    "conditioning", [Conditioning("none"), Conditioning("class", 3), Conditioning("text", 8, "e")]
)
def test_dit_flops_equal_what_torch_counts(conditioning):
    sizes, shape = Sizes(width=16, depth=2, heads=2, patch=2), (3, 4, 8)
    network = build_dit(sizes, conditioning, shape, seed=0)
    with FlopCounterMode(display=False) as counted, sdpa_kernel(SDPBackend.MATH):
        network(torch.zeros(1, *shape), torch.zeros(1), conditioning.null(1, torch.device("cpu")))
    assert counted.get_total_flops() == dit_flops(sizes, conditioning, shape)


def test_training_costs_three_forward_passes_up_to_the_first_layers():
    sizes, shape = Sizes(width=16, depth=4, heads=2, patch=2), (1, 16, 16)
    network = build_dit(sizes, Conditioning("none"), shape, seed=0)
    with FlopCounterMode(display=False) as counted, sdpa_kernel(SDPBackend.MATH):
        network(torch.zeros(1, *shape), torch.zeros(1), None).sum().backward()
    expected = TRAINING * dit_flops(sizes, Conditioning("none"), shape)
    assert counted.get_total_flops() == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize(
    ("preset", "giga_multiply_adds"),
    [("DiT-XL/2", 118.6), ("DiT-L/2", 80.7), ("DiT-B/2", 23.0), ("DiT-S/2", 6.06)],
)
def test_dit_flops_of_the_named_sizes_are_the_published_ones(preset, giga_multiply_adds):
    flops = dit_flops(PRESETS[preset], IMAGENET, LATENTS)
    assert flops / 2e9 == pytest.approx(giga_multiply_adds, rel=2e-3)
