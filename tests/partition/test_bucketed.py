from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from partition.bucketed import BucketedOrder
from partition.order import EndlessOrder

SIZES = st.lists(st.integers(0, 20), min_size=2, max_size=5).filter(any)


def batches(sizes: list[int], num: int, size: int, seed: int = 0) -> list[tuple[int, np.ndarray]]:
    order = BucketedOrder(sizes, seed)
    return [order.rows(step * size, size, 0, size) for step in range(num)]


def begins(sizes: list[int], size: int, epochs: int) -> list[int]:
    """The steps at which epochs begin, by their definition."""
    return [sum(epoch * each // size for each in sizes) for epoch in range(epochs + 1)]


@settings(max_examples=40)
@given(sizes=SIZES, size=st.integers(1, 12), seed=st.integers(0, 2**32 - 1))
def test_bucketed_order_holds_each_sample_once_in_each_epoch_of_its_bucket(
    sizes: list[int], size: int, seed: int
) -> None:
    epochs = 4
    seen: dict[int, list[np.ndarray]] = {bucket: [] for bucket in range(len(sizes))}
    steps = begins(sizes, size, epochs)
    for first, last in pairwise(steps):
        order = BucketedOrder(sizes, seed)
        epoch = [order.rows(step * size, size, 0, size) for step in range(first, last)]
        for bucket, rows in epoch:
            assert len(rows) == size
            seen[bucket].append(rows)
    for bucket, num in enumerate(sizes):
        assert len(seen[bucket]) == epochs * num // size  # in proportion, to less than a batch
        wanted = EndlessOrder(num, seed, bucket).span(0, len(seen[bucket]) * size)
        # Batches of an epoch come in whatever order; together they are the bucket's endless order.
        assert sorted(map(tuple, seen[bucket])) == sorted(map(tuple, wanted.reshape(-1, size)))
        for start in range(0, len(wanted) - num + 1, max(num, 1)):
            assert sorted(wanted[start : start + num]) == list(range(num))


@given(
    sizes=SIZES, size=st.integers(1, 12), step=st.integers(0, 10**9), world=st.sampled_from([1, 3])
)
def test_bucketed_order_of_all_ranks_is_the_batch_and_needs_no_memory(
    sizes: list[int], size: int, step: int, world: int
) -> None:
    long_used = BucketedOrder(sizes, 7)
    for before in range(5):
        long_used.rows(before * size, size, 0, size)
    bucket, whole = long_used.rows(step * size, size, 0, size)
    cuts = [size * rank // world for rank in range(world + 1)]
    parts = [
        BucketedOrder(sizes, 7).rows(step * size, size, first, last)
        for first, last in pairwise(cuts)
    ]
    assert {each for each, _ in parts} == {bucket}
    assert np.array_equal(np.concatenate([rows for _, rows in parts]), whole)


@given(num=st.integers(1, 50), cursor=st.integers(0, 500), size=st.integers(1, 60))
def test_bucketed_order_of_a_single_bucket_is_its_endless_order(
    num: int, cursor: int, size: int
) -> None:
    bucket, rows = BucketedOrder([num], 3).rows(cursor, size, 0, size)
    assert bucket == 0
    assert np.array_equal(rows, EndlessOrder(num, 3).span(cursor, cursor + size))


def test_bucketed_order_mixes_the_buckets_of_an_epoch_anew_each_time() -> None:
    sizes, size = [400, 400], 10
    visits = [bucket for bucket, _ in batches(sizes, 160, size)]
    first, second = visits[:80], visits[80:]
    assert first != second
    assert first != [bucket for bucket, _ in batches(sizes, 80, size, seed=1)]
    # Neighbours are of one bucket about as often as in a shuffled deck, not in two blocks.
    alike = sum(a == b for a, b in pairwise(first))
    assert 20 < alike < 60


def test_bucketed_order_shows_a_bucket_of_one_sample_once_an_epoch_on_average() -> None:
    sizes, size = [1, 20], 7
    seen = batches(sizes, begins(sizes, size, 7)[-1], size)
    assert [rows.tolist() for bucket, rows in seen if bucket == 0] == [[0] * size]
    assert sum(bucket == 1 for bucket, _ in seen) == 20


def test_bucketed_order_from_within_a_batch_is_refused() -> None:
    with pytest.raises(ValueError, match="17 samples are no whole number of batches of 8"):
        BucketedOrder([9, 9], 0).rows(17, 8, 0, 8)
