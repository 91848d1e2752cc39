import torch

from experts.rotary import grid_rotations, rotate


def test_rotations_of_a_grid_hold_the_rows_angles_then_the_columns():
    grid = grid_rotations(2, 3, 8).reshape(2, 3, 2, 4)
    frequencies = torch.tensor([1.0, 0.01])
    cosines, sines = grid[1, 2]
    assert torch.allclose(cosines, torch.cat([frequencies.cos(), (2 * frequencies).cos()]))
    assert torch.allclose(sines, torch.cat([frequencies.sin(), (2 * frequencies).sin()]))


def test_rotate_leaves_tokens_without_a_position_and_keeps_every_length():
    x = torch.randn(2, 3, 2 + 6, 8)
    turned = rotate(x, grid_rotations(2, 3, 8))
    assert torch.equal(turned[:, :, :2], x[:, :, :2])
    assert torch.equal(turned[:, :, 2], x[:, :, 2])  # the first patch lies at 0, too
    assert torch.allclose(turned.norm(dim=3), x.norm(dim=3), atol=1e-5)
    assert (turned[:, :, 3:] - x[:, :, 3:]).abs().amax() > 0.1


def test_rotate_makes_scores_depend_on_the_way_between_tokens_alone():
    query, key = torch.randn(2, 16)
    rows, columns = 4, 5
    places = grid_rotations(rows, columns, 16)
    queries, keys = (
        rotate(each.expand(1, 1, len(places), -1), places)[0, 0].reshape(rows, columns, -1)
        for each in (query, key)
    )
    one, same = (queries[0, 1] @ keys[2, 4], queries[1, 0] @ keys[3, 3])
    other = queries[0, 1] @ keys[2, 3]
    assert torch.allclose(one, same, atol=1e-4)
    assert not torch.allclose(one, other, atol=1e-2)
