import numpy as np
import pytest

from atoll.errors import BadInput
from evaluation import neighbours as subject
from evaluation.neighbours import neighbours


def cloud(num, seed=0, width=8):
    return np.random.default_rng(seed).normal(size=(num, width)).astype(np.float32)


def test_neighbours_of_identical_sets_are_all_one():
    found = neighbours(cloud(300), cloud(300))
    assert (found.precision, found.recall, found.coverage) == (1, 1, 1)
    assert found.density == pytest.approx(1)


def test_neighbours_of_disjoint_sets_are_all_zero():
    found = neighbours(cloud(100), cloud(100, seed=1) + 100)
    assert (found.precision, found.recall, found.density, found.coverage) == (0, 0, 0, 0)


def test_neighbours_of_one_mode_of_two_are_precise_but_miss_half():
    near, far = cloud(200), cloud(200, seed=1) + 100
    found = neighbours(np.concatenate([near, far]), near)
    assert found.precision == 1
    assert found.recall == 0.5
    assert found.coverage == 0.5


def test_neighbours_on_a_line_are_counted_exactly():
    real = np.array([[0.0], [1.0], [3.0]])  # radii to the 1st neighbour: 1, 1, 2
    generated = np.array([[0.5], [2.5], [9.0]])  # radii: 2, 2, 6.5
    found = neighbours(real, generated, k=1)
    assert found.precision == pytest.approx(2 / 3)  # 9.0 lies in no ball
    assert found.recall == 1
    assert found.density == pytest.approx((2 + 1 + 0) / 3)
    assert found.coverage == 1


def test_neighbours_taken_in_blocks_are_the_same(monkeypatch):
    real, generated = cloud(150), cloud(130, seed=1)
    whole = neighbours(real, generated)
    monkeypatch.setattr(subject, "_BLOCK", 32)
    assert neighbours(real, generated) == whole


def test_neighbours_of_fewer_samples_than_k_are_refused():
    with pytest.raises(BadInput, match="more than 5 samples, got 4"):
        neighbours(cloud(50), cloud(4))
