"""Sampling follows from seeds, and ends in the data's distribution."""

import numpy as np
import pytest
import torch

from atoll.errors import BadInput
from atoll.sections import SamplingSection
from atoll.sizes import Sizes
from experts.condition import Conditioning
from experts.dit import build_dit
from router.cost import Meter
from router.ensemble import Ensemble
from router.gate import LearnedGate
from router.network import build_router
from router.sampling import Sampler, Wanted, noise_of
from router.selection import parse_strategy

CPU = torch.device("cpu")
SHAPE = (1, 4, 4)
CLASSES = Conditioning("class", 3)
SIZES = Sizes(width=16, depth=1, heads=2, patch=2)


def shaken(network, seed):
    """Weights large enough that every input matters; a fresh DiT is the zero field."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator))
    return network.eval()


def network_sampler(strategy, shape=SHAPE):
    experts = [shaken(build_dit(SIZES, CLASSES, shape, k), k) for k in range(3)]
    gate = LearnedGate(shaken(build_router(SIZES, CLASSES, shape, 3, seed=9), 9))
    return Sampler(Ensemble(experts, gate, parse_strategy(strategy)), CLASSES, shape, CPU)


def mixture_sampler(mixture, strategy, **changes):
    ensemble = Ensemble(mixture.experts(), mixture.gate, parse_strategy(strategy), **changes)
    return Sampler(ensemble, mixture.conditioning, (1, 1, mixture.dims), CPU)


def drawn(sampler, wanted, **settings):
    return torch.cat(list(sampler.batches(wanted, SamplingSection(**settings))))


@pytest.mark.parametrize("strategy", ["full", "top-1", "sample", "ancestral", "coupled"])
@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_image_of_a_seed_is_the_same_in_any_batch(strategy, guidance):
    sampler = network_sampler(strategy)
    seeds, cond = [11, 5, 7, 5, 2**40, 0, 3], torch.tensor([0, 1, 2, 1, 0, 2, 2])
    settings = {"steps": 6, "guidance": guidance}

    together = drawn(sampler, Wanted(seeds, cond), batch_size=7, **settings)

    apart = drawn(sampler, Wanted(seeds, cond), batch_size=1, **settings)
    backwards = drawn(sampler, Wanted(seeds[::-1], cond.flip(0)), batch_size=3, **settings)
    torch.testing.assert_close(together, apart, rtol=0, atol=1e-5)
    torch.testing.assert_close(together, backwards.flip(0), rtol=0, atol=1e-5)
    torch.testing.assert_close(together[1], together[3], rtol=0, atol=1e-5)
    assert (together[0] - together[4]).abs().max() > 0.1


def test_same_seeds_in_the_same_batches_give_the_same_bits():
    sampler = network_sampler("coupled")
    wanted = Wanted(range(10), torch.arange(10) % 3)
    settings = SamplingSection(steps=5, batch_size=4)

    assert np.array_equal(sampler.draw(wanted, settings), sampler.draw(wanted, settings))


def test_drawn_images_are_uint8_with_channels_last():
    images = network_sampler("top-1").draw(
        Wanted(range(5), torch.zeros(5, dtype=torch.int64)), SamplingSection(steps=2, batch_size=2)
    )

    assert images.shape == (5, 4, 4, 1)
    assert images.dtype == np.uint8


def test_noise_depends_on_the_seed_alone_and_is_standard_normal():
    noise = noise_of(range(4000), SHAPE)

    assert torch.equal(noise[17], noise_of([17], SHAPE)[0])
    assert abs(noise.mean()) < 4 / noise.numel() ** 0.5
    assert abs(noise.std() - 1) < 4 / noise.numel() ** 0.5
    neighbours = (noise[1:] * noise[:-1]).mean()
    assert abs(neighbours) < 4 / noise.numel() ** 0.5


def test_images_wanted_of_another_shape_are_those_of_networks_built_for_it():
    shape = (1, 2, 8)
    sampler, other = network_sampler("top-2"), network_sampler("top-2", shape)
    wanted = Wanted(range(3), torch.arange(3), shape=shape)

    drawn = sampler.draw(wanted, SamplingSection(steps=3, batch_size=2))

    assert drawn.shape == (3, 2, 8, 1)
    same = other.draw(Wanted(range(3), torch.arange(3)), SamplingSection(steps=3, batch_size=2))
    assert np.array_equal(drawn, same)


def test_wanted_condition_of_another_kind_is_refused():
    with pytest.raises(BadInput, match="takes condition 'class:3'"):
        drawn(network_sampler("top-1"), Wanted([0], None))


@pytest.mark.parametrize("strategy", ["full", "ancestral"])
def test_images_have_the_moments_of_the_data(mixture, strategy):
    num = 6000
    cond = torch.full((num,), mixture.conditioning.size)

    x0 = drawn(
        mixture_sampler(mixture, strategy),
        Wanted(range(num), cond),
        steps=40,
        solver="heun",
        batch_size=num,
    ).reshape(num, -1)

    mean, covariance = mixture.moments()
    spread = covariance.diagonal().sqrt()
    assert ((x0.mean(0) - mean).abs() < 4 * spread / num**0.5).all()
    torch.testing.assert_close(torch.cov(x0.T).double(), covariance, rtol=0.06, atol=0.25)


def test_ancestral_images_of_a_class_come_from_its_clusters_in_proportion(mixture):
    num = 4000
    sampler = mixture_sampler(mixture, "ancestral")

    x0 = drawn(sampler, Wanted(range(num), torch.zeros(num, dtype=torch.int64)), batch_size=num)

    arrived = sampler.ensemble.gate(x0.double(), torch.zeros(num), None).argmax(1)
    share = arrived.bincount(minlength=3) / num
    assert (share - mixture.prior(0)).abs().max() < 0.03


def test_images_wanted_of_a_cluster_come_from_it(mixture):
    experts = torch.arange(300) % 3
    sampler = mixture_sampler(mixture, "full")

    x0 = drawn(
        sampler,
        Wanted(range(300), torch.full((300,), mixture.conditioning.size), experts),
        batch_size=128,
    )

    arrived = sampler.ensemble.gate(x0.double(), torch.zeros(300), None).argmax(1)
    assert (arrived == experts).double().mean() > 0.98


@pytest.mark.parametrize(
    ("strategy", "guidance", "solver", "experts", "gates"),
    [
        ("full", 1.0, "euler", 3 * 5, 5),
        ("top-1", 1.0, "euler", 5, 5),
        ("top-2", 1.0, "heun", 2 * 10, 10),
        ("top-1", 3.0, "euler", 2 * 5, 2 * 5),
        ("ancestral", 1.0, "euler", 5, 1),
        ("ancestral", 3.0, "euler", 2 * 5, 1),
    ],
)
def test_meter_counts_what_an_image_costs(strategy, guidance, solver, experts, gates):
    sampler, meter = network_sampler(strategy), Meter()
    ensemble = Ensemble(
        sampler.ensemble.experts, sampler.ensemble.gate, sampler.ensemble.selection, meter
    )
    wanted = Wanted(range(4), torch.zeros(4, dtype=torch.int64))

    drawn(Sampler(ensemble, CLASSES, SHAPE, CPU), wanted, steps=5, guidance=guidance, solver=solver)

    work = meter.per_image(4)
    assert work.expert_evaluations == experts
    assert work.gate_evaluations == gates
    assert work.flops(100.0, 10.0) == experts * 100 + gates * 10


def test_meter_of_an_oracle_counts_no_gate():
    sampler, meter = network_sampler("ancestral"), Meter()
    ensemble = Ensemble(
        sampler.ensemble.experts, sampler.ensemble.gate, sampler.ensemble.selection, meter
    )
    classes = torch.zeros(4, dtype=torch.int64)

    drawn(Sampler(ensemble, CLASSES, SHAPE, CPU), Wanted(range(4), classes, classes), steps=5)

    assert meter.per_image(4).gate_evaluations == 0
