import pytest

from partition.crops import bucket_of


@pytest.mark.parametrize(
    ("size", "bucket"),
    [
        ((100, 100), 0),
        ((1, 3), 1),
        ((900, 300), 2),
        ((577, 1000), 1),  # 1 : 1.733, and the border is at 1 : 1.732
        ((578, 1000), 0),
        ((1000, 577), 2),
        ((10_000, 1), 2),
    ],
)
def test_bucket_is_the_one_nearest_in_the_logarithm_of_proportions(
    size: tuple[int, int], bucket: int
) -> None:
    assert bucket_of(size, [(8, 8), (4, 12), (12, 4)]) == bucket


def test_of_two_buckets_equally_near_the_first_is_taken() -> None:
    assert bucket_of((7, 7), [(6, 10), (10, 6)]) == 0  # in floating point they are not equal
    assert bucket_of((7, 7), [(10, 6), (6, 10)]) == 0
    assert bucket_of((14, 7), [(9, 9), (28, 7), (20, 10)]) == 2
    assert bucket_of((14, 7), [(9, 9), (28, 7)]) == 0
