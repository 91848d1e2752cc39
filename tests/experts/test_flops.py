import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from atoll.flops import num_tokens
from atoll.sizes import DITS, Sizes
from experts.condition import Conditioning
from experts.dit import build_dit
from experts.flops import (
    TRAINING,
    dit_flops,
    expert_flops,
    linear_flops,
    mean_flops,
    samples_seen,
)
from partition.manifest import Partition, Shard, ShardSet

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


@pytest.mark.parametrize("modulation", ["block", "single"])
@pytest.mark.parametrize("tokens", [0, 5])
def test_dit_flops_with_options_equal_what_torch_counts(modulation, tokens):
    sizes = Sizes(16, 2, 2, 2, cross_attention=True, modulation=modulation)
    conditioning, shape = Conditioning("text", 8, "e", tokens), (3, 4, 8)
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


def test_mean_flops_of_several_shapes_weigh_each_by_its_samples():
    buckets = ((8, 8), (4, 12))
    clusters = tuple(
        ShardSet(number, sum(nums), (), tuple(_shards(*nums)))
        for number, nums in enumerate([(3, 1), (0, 4)])
    )
    several = Partition("p", 8, (8, 8, 1), (), False, None, "", "", clusters, buckets=buckets)
    square, wide = (1, 8, 8), (1, 4, 12)
    assert samples_seen(several, (0, 1)) == {square: 3, wide: 5}
    assert samples_seen(several, (1,)) == {square: 0, wide: 4}
    cost = {square: 16, wide: 8}
    assert mean_flops(cost.__getitem__, samples_seen(several, (0,))) == 14
    single = Partition("p", 8, (8, 8, 1), (), False, None, "", "", clusters)
    assert samples_seen(single, (0, 1)) == {square: 8}
    large = 10**17 + 1  # which no float holds
    assert mean_flops(lambda _: large, samples_seen(single, (0, 1))) == large


def _shards(*nums):
    for bucket, num in enumerate(nums):
        if num:
            yield Shard(f"tar-{bucket}", "", num, 1, bucket)


# Peebles & Xie, table 4 and section 5: 10^9 multiply-adds on latents of 256 x 256 pixels.
PUBLISHED = {
    "DiT-S/8": 0.36,
    "DiT-S/4": 1.41,
    "DiT-S/2": 6.06,
    "DiT-B/8": 1.42,
    "DiT-B/4": 5.56,
    "DiT-B/2": 23.01,
    "DiT-L/8": 5.01,
    "DiT-L/4": 19.70,
    "DiT-L/2": 80.71,
    "DiT-XL/8": 7.39,
    "DiT-XL/4": 29.05,
    "DiT-XL/2": 118.64,
}


@pytest.mark.parametrize(
    ("preset", "shape", "published"),
    [
        *((name, LATENTS, giga) for name, giga in PUBLISHED.items()),
        ("DiT-XL/2", (4, 64, 64), 524.60),  # of 512 x 512 pixels
    ],
)
def test_dit_flops_of_the_named_sizes_are_the_published_ones(preset, shape, published):
    sizes = DITS[preset]
    sigma = linear_flops(num_tokens(sizes, shape), sizes.width, shape[0] * sizes.patch**2)
    found = (expert_flops(sizes, IMAGENET, shape) + sigma) / 2e9
    assert found == pytest.approx(published, rel=5e-4, abs=6e-3)
