import itertools

import pytest
import torch

from experts.immiscible import assigned


def drawn(num, seed=0):
    return torch.randn(2, num, 1, 2, 3, generator=torch.Generator().manual_seed(seed))


def distance(images, noise):
    return (images - noise).flatten(1).norm(dim=1).sum()


@pytest.mark.parametrize("size", [1, 2, 3, 5, 6, 8])
def test_assigned_noises_are_the_same_ones_within_each_group(size):
    images, noise = drawn(8)
    found = assigned(images, noise, size)
    for before, after in zip(noise.split(size), found.split(size), strict=True):
        rows = [[row.tolist() for row in part.flatten(1)] for part in (before, after)]
        assert sorted(rows[0]) == sorted(rows[1])


@pytest.mark.parametrize("seed", range(5))
def test_assigned_noises_have_the_least_sum_of_distances_of_all_orders(seed):
    images, noise = drawn(6, seed)
    found = distance(images, assigned(images, noise, 6))
    orders = itertools.permutations(range(6))
    least = min(distance(images, noise[list(order)]) for order in orders)
    assert found == pytest.approx(float(least), rel=1e-6)
    assert found < distance(images, noise)


def test_groups_do_not_exchange_noises():
    images, noise = drawn(8)
    parts = [assigned(images[rows], noise[rows], 4) for rows in (slice(0, 4), slice(4, 8))]
    assert torch.equal(assigned(images, noise, 4), torch.cat(parts))


def test_noises_are_assigned_by_distances_that_are_not_rounded_away():
    # So far from zero, together, that squares have no digits left for the differences.
    images, noise = drawn(32) + 1000
    found, exact = assigned(images, noise, 32), assigned(images.double(), noise.double(), 32)
    assert distance(images, found) == pytest.approx(float(distance(images, exact)), rel=1e-5)
