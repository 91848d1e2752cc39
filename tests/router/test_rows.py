"""Each image's random numbers follow from its seed alone."""

import pytest
import torch

from router.rows import UNBOUND, Rows

CPU = torch.device("cpu")


def test_rows_with_the_same_seed_draw_the_same_wherever_they_stand():
    alone, together = Rows.of([7], CPU), Rows.of([3, 7, 2**62], CPU)
    t = torch.tensor([0.25])

    assert alone.image_uniform() == together.image_uniform()[1]
    assert alone.step_uniform(t) == together.step_uniform(torch.tensor([0.5, 0.25, 1.0]))[1]


def test_step_numbers_differ_between_times_and_from_the_image_number():
    rows = Rows.of([5] * 4, CPU)

    numbers = rows.step_uniform(torch.tensor([0.0, 0.1, 0.2, 1.0])).tolist()

    assert len({*numbers, rows.image_uniform()[0].item()}) == 5


@pytest.mark.parametrize("kind", ["image", "step", "times"])
def test_numbers_of_neighbouring_seeds_or_times_are_evenly_spread(kind):
    num = 20_000
    if kind == "times":
        numbers = Rows.of([0] * num, CPU).step_uniform(torch.linspace(0, 1, num))
    else:
        rows = Rows.of(range(num), CPU)
        numbers = rows.image_uniform() if kind == "image" else rows.step_uniform(torch.ones(num))

    spread = (torch.arange(num) + 0.5) / num
    # Kolmogorov-Smirnov: 1.95 / sqrt(n) is exceeded by one in a thousand.
    assert (numbers.sort().values - spread).abs().max() < 1.95 / num**0.5
    correlation = torch.corrcoef(torch.stack([numbers[:-1], numbers[1:]]))[0, 1]
    assert abs(correlation) < 4 / num**0.5
    assert numbers.min() >= 0
    assert numbers.max() < 1


def test_rows_indexed_keep_seed_and_expert_together():
    rows = Rows.of([10, 11, 12], CPU).bound(torch.tensor([2, UNBOUND, 0]))

    some = rows[torch.tensor([2, 0, 2])]

    assert some.seed.tolist() == [12, 10, 12]
    assert some.expert.tolist() == [0, 2, 0]
