import numpy as np
import pytest

from partition.sheet import enlarged, labelled, tiled


def images(num: int, height: int, width: int, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 200, (num, height, width, channels), np.uint8)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_tiled_holds_the_images_row_by_row(channels: int) -> None:
    five = images(5, 32, 40, channels)
    grid = tiled(five)
    assert grid.shape == (2 * 34 - 2, 3 * 42 - 2, channels)
    for index, image in enumerate(five):
        top, left = index // 3 * 34, index % 3 * 42
        assert np.array_equal(grid[top : top + 32, left : left + 40], image)
    assert (grid[32:34] == 255).all()
    assert (grid[:, 40:42] == 255).all()
    assert (grid[34:, 84:] == 255).all()


def test_tiled_takes_columns_and_paper() -> None:
    grid = tiled(images(3, 4, 4), columns=4, paper=7)
    assert grid.shape == (4, 4 * 5 - 1, 3)
    assert (grid[:, 15:] == 7).all()
    assert np.array_equal(tiled(images(1, 4, 4)), images(1, 4, 4)[0])


def test_enlarged_repeats_the_pixels_of_small_images_alone() -> None:
    small = images(2, 24, 30)
    assert enlarged(small).shape == (2, 48, 60, 3)
    assert np.array_equal(enlarged(small)[:, 1::2, ::2], small)
    assert np.array_equal(enlarged(images(2, 50, 60)), images(2, 50, 60))
    assert enlarged(small, 96).shape == (2, 96, 120, 3)


@pytest.mark.parametrize("channels", [1, 3])
def test_labelled_writes_below_each_image_and_leaves_it_alone(channels: int) -> None:
    two = images(2, 40, 60, channels)
    shown = labelled(two, ["a", "a rather long description that ends nowhere"])
    assert shown.shape == (2, 58, 60, channels)
    assert np.array_equal(shown[:, :40], two)
    darkness = 255 - shown[:, 40:].astype(int).mean((1, 2, 3))
    assert 0 < darkness[0] < darkness[1]
