import math

import pytest

from atoll.training_section import TrainingSection
from experts.profiles import exponent, exponential, power, shares_of, told_in, told_of


def weights(share_of, num_steps):
    """What the weights after each step are of the average after the last."""
    found = []
    for num in range(num_steps):
        share = share_of(num)
        found = [(1 - share) * each for each in found] + [share]
    return found


@pytest.mark.parametrize(("length", "published"), [(0.05, 16.97), (0.10, 6.94), (0.25, 0.72)])
def test_exponent_of_a_length_is_the_published_one(length, published):
    power = exponent(length)
    assert power == pytest.approx(published, abs=0.005)
    assert (power + 1) / ((power + 2) ** 2 * (power + 3)) == pytest.approx(length**2, rel=1e-9)


@pytest.mark.parametrize("length", [0.01, 0.05, 0.25])
def test_power_profile_weighs_steps_by_a_power_of_their_number(length):
    found = weights(power(length), 40)
    kept = exponent(length) + 1
    expected = [((step + 1) / 40) ** kept - (step / 40) ** kept for step in range(40)]
    assert found == pytest.approx(expected, abs=1e-12)
    assert math.fsum(found) == pytest.approx(1)


@pytest.mark.parametrize("length", [0.02, 0.10, 0.25])
def test_power_profile_is_as_wide_as_its_length_however_long_it_trains(length):
    for num_steps in (1000, 3000):
        found = weights(power(length), num_steps)
        places = [(step + 0.5) / num_steps for step in range(num_steps)]
        mean = math.fsum(share * at for share, at in zip(found, places, strict=True))
        square = math.fsum(share * at**2 for share, at in zip(found, places, strict=True))
        assert math.sqrt(square - mean**2) == pytest.approx(length, rel=1e-2)


def test_exponential_profile_grows_up_to_its_decay():
    share = exponential(0.5)
    assert [share(num) for num in (0, 1, 2, 3, 8, 100)] == pytest.approx(
        [1, 9 / 11, 9 / 12, 9 / 13, 0.5, 0.5]
    )


def test_shares_are_those_that_training_asks_for():
    one = TrainingSection(ema_decay=0.5)
    assert [share(100) for share in shares_of(one)] == [0.5]
    several = TrainingSection(ema_profile="power", ema_lengths=[0.2, 0.05])
    expected = [power(length)(10) for length in (0.2, 0.05)]
    assert [share(10) for share in shares_of(several)] == expected
    assert several.num_averages == 2
    assert told_in({"role": "expert", **told_of(several)}) == {"ema_lengths": [0.2, 0.05]}
    assert told_in({"role": "expert", **told_of(one)}) == {"ema_decay": 0.5}
