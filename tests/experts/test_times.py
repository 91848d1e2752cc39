"""Each density against its distribution function in closed form."""

import dataclasses
import math

import pytest
import torch
from scipy.special import logit
from scipy.stats import kstest, norm

from atoll.errors import ConfigError
from atoll.training_section import TrainingSection
from experts.flow import seeded
from experts.times import TimeDensity, times_of
from partition.manifest import Latents, Partition, ShardSet

NUM = 200_000
PARTITION = Partition(
    "p", 4, (4, 4, 1), (), False, None, "", "", (ShardSet(0, 4, (), ()),), std=0.3
)


def drawn(density):
    return density.sample(NUM, seeded(torch.device("cpu"), 0)).double().numpy()


def assert_distributed(t, cdf):
    """Kolmogorov and Smirnov's distance; by chance it is above this one time in a thousand."""
    assert kstest(t, cdf).statistic < 1.95 / math.sqrt(NUM)


def test_uniform_times_are_distributed_evenly():
    assert_distributed(drawn(TimeDensity("uniform")), lambda t: t)


@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (-0.6, 1.7), (1.0, 0.4)])
def test_logit_normal_times_are_normal_in_the_logit(mean, std):
    t = drawn(TimeDensity("logit-normal", mean=mean, std=std))
    assert_distributed(t, lambda t: norm.cdf(logit(t), mean, std))


@pytest.mark.parametrize("shift", [0.5, 3.0])
def test_shifted_times_are_distributed_as_the_inverse_of_the_shift(shift):
    # t = s u / (1 + (s - 1) u) where u is uniform; solved for u, that is P(T <= t).
    t = drawn(TimeDensity("shifted", shift))
    assert_distributed(t, lambda t: t / (shift - (shift - 1) * t))


def test_times_shifted_by_one_are_the_uniform_ones():
    assert (drawn(TimeDensity("shifted", 1.0)) == drawn(TimeDensity("uniform"))).all()


@pytest.mark.parametrize("kind", ["uniform", "logit-normal", "shifted"])
def test_times_lie_between_data_and_noise(kind):
    t = drawn(TimeDensity(kind, 3.0))
    assert t.min() >= 0
    assert t.max() <= 1


@pytest.mark.parametrize("spread", [0.02, 0.3, 1.0])
def test_snr_times_give_the_same_log_snr_to_data_of_any_spread(spread):
    training = TrainingSection(times="snr", times_mean=0.3, times_std=0.8)
    t = drawn(times_of(training, dataclasses.replace(PARTITION, std=spread)))
    log_snr = 2 * (math.log(spread) - logit(t))
    assert_distributed(log_snr, lambda value: norm.cdf(value, -2 * 0.3, 2 * 0.8))


def test_snr_times_of_latents_are_of_the_spread_that_their_scale_leaves():
    latents = Latents("m", "samples", (4, 2, 2), 0.18, 0.0, mirrored=False, std=0.6, shards=())
    training = TrainingSection(times="snr", times_mean=0.3)
    found = times_of(training, dataclasses.replace(PARTITION, latents=latents))
    assert found == TimeDensity("logit-normal", mean=0.3 + math.log(0.6))


def test_snr_times_of_a_partition_that_tells_no_spread_are_refused():
    with pytest.raises(ConfigError, match=r"training\.times = .snr. wants images whose values"):
        times_of(TrainingSection(times="snr"), dataclasses.replace(PARTITION, std=0.0))
