import numpy as np
import pytest

from partition.pixels import to_unit
from partition.spread import Spread


def test_std_is_that_of_all_values_as_networks_see_them_in_any_order():
    images = np.random.default_rng(0).integers(0, 256, (7, 5, 4, 3), dtype=np.uint8)
    one, other = Spread(), Spread()
    for image in images:
        one.add(image)
    for image in images[::-1]:
        other.add(image)
    assert one.std == pytest.approx(to_unit(images).astype(np.float64).std(), rel=1e-6)
    assert one.std == other.std


def test_std_of_images_of_one_grey_is_zero():
    spread = Spread()
    spread.add(np.full((2, 2, 1), 201, np.uint8))
    assert spread.std == 0
