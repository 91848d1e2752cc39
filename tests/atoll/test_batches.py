import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.batches import divided


@given(st.lists(st.integers(1, 10_000), min_size=1, max_size=20), st.integers(0, 500))
def test_divided_adds_up_and_leaves_nobody_out(weights, extra):
    total = len(weights) + extra
    parts = divided(total, weights)
    assert sum(parts) == total
    assert min(parts) >= 1


@pytest.mark.parametrize(
    ("total", "weights", "parts"),
    [
        (128, [1] * 4, [32] * 4),
        (10, [1] * 4, [3, 3, 2, 2]),
        (10, [5, 3, 2], [5, 3, 2]),
        (4, [1000, 1, 1, 1], [1, 1, 1, 1]),
        (6, [1000, 1, 1], [4, 1, 1]),
    ],
)
def test_divided_follows_the_weights(total, weights, parts):
    assert divided(total, weights) == parts
