import numpy as np

from partition.pixels import to_uint8, to_unit


def test_pixels_every_level_comes_back() -> None:
    images = np.arange(256, dtype=np.uint8).reshape(2, 8, 8, 2)
    unit = to_unit(images)
    assert unit.shape == (2, 2, 8, 8)
    assert unit.dtype == np.float32
    assert (unit.min(), unit.max()) == (-1, 1)
    assert np.array_equal(to_uint8(unit), images)


def test_pixels_outside_the_range_are_clipped() -> None:
    x = np.array([-3.0, 0.0, 3.0], np.float32).reshape(3, 1, 1, 1)
    assert to_uint8(x).ravel().tolist() == [0, 128, 255]
