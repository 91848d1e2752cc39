import numpy as np

from experts.board import tiled


def test_tiled_puts_images_row_by_row_and_enlarges_small_ones():
    images = np.arange(4, dtype=np.uint8).reshape(4, 1, 1, 1).repeat(16, 1).repeat(16, 2)
    grid = tiled(images)
    assert grid.shape == (64, 64, 1)
    assert [[grid[row, column, 0] for column in (0, 63)] for row in (0, 63)] == [[0, 1], [2, 3]]


def test_tiled_leaves_large_images_their_size():
    images = np.random.default_rng(0).integers(0, 256, (4, 40, 48, 3), dtype=np.uint8)
    grid = tiled(images)
    assert grid.shape == (80, 96, 3)
    assert np.array_equal(grid[40:, :48], images[2])
