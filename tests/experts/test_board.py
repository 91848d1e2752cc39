import numpy as np

from experts.board import tiled


def test_tiled_puts_images_row_by_row_and_enlarges_small_ones():
    images = np.arange(4, dtype=np.uint8).reshape(4, 1, 1, 1).repeat(16, 1).repeat(16, 2)
    grid = tiled(images)
    assert grid.shape == (68, 68, 1)
    assert [[grid[row, column, 0] for column in (1, 66)] for row in (1, 66)] == [[0, 1], [2, 3]]


def test_tiled_leaves_large_images_their_size():
    images = np.random.default_rng(0).integers(0, 256, (4, 40, 48, 3), dtype=np.uint8)
    grid = tiled(images)
    assert grid.shape == (84, 100, 3)
    assert np.array_equal(grid[43:83, 1:49], images[2])
