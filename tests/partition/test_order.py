import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from partition.order import EndlessOrder, permuted


@given(num=st.integers(1, 5000), seed=st.integers(0, 2**63), epoch=st.integers(0, 2**31))
def test_permuted_any_length_and_key_is_a_bijection(num: int, seed: int, epoch: int) -> None:
    images = permuted(np.arange(num), num, seed, epoch)
    assert np.array_equal(np.sort(images), np.arange(num))


def test_permuted_alone_equals_permuted_together() -> None:
    together = permuted(np.arange(1000), 1000, 3, 1)
    assert [int(permuted(np.array([i]), 1000, 3, 1)[0]) for i in (0, 17, 999)] == [
        *together[[0, 17, 999]]
    ]


def test_permuted_other_key_gives_unrelated_order() -> None:
    first = permuted(np.arange(10_000), 10_000, 0, 0)
    for key in ((0, 1), (1, 0), (2**40, 0)):
        other = permuted(np.arange(10_000), 10_000, *key)
        assert abs(np.corrcoef(first, other)[0, 1]) < 0.05
        assert np.count_nonzero(first == other) < 20


def test_permuted_many_epochs_send_every_position_everywhere_alike() -> None:
    num, epochs = 10, 3000
    positions = np.arange(num)
    hits = np.zeros((num, num))
    for epoch in range(epochs):
        hits[positions, permuted(positions, num, 5, epoch)] += 1
    # Rows and columns have fixed sums, as those of permutations do: (num - 1)² degrees of freedom,
    # and chi-squared with 81 of them is below 126.1 with probability 0.999.
    expected = epochs / num
    assert (num - 1) / num * ((hits - expected) ** 2 / expected).sum() < 126.1


@pytest.mark.parametrize("num", [1, 7, 70_000])
def test_endless_order_each_epoch_holds_each_sample_once(num: int) -> None:
    order = EndlessOrder(num, seed=1)
    for epoch in range(2):
        indices = order.span(epoch * num, (epoch + 1) * num)
        assert np.array_equal(np.sort(indices), np.arange(num))


@given(
    num=st.integers(1, 50),
    cuts=st.lists(st.integers(0, 120), min_size=2, max_size=6).map(sorted),
)
def test_endless_order_in_parts_equals_in_one(num: int, cuts: list[int]) -> None:
    whole = EndlessOrder(num, seed=2).span(cuts[0], cuts[-1])
    again = EndlessOrder(num, seed=2)
    parts = [again.span(a, b) for a, b in itertools.pairwise(cuts)]
    assert np.array_equal(np.concatenate(parts), whole)
