import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from partition import duplicates
from partition.duplicates import Duplicates, find_duplicates
from partition.rowfile import RowFile

GENERATOR = np.random.default_rng(0)


def found(rows: np.ndarray, tmp_path: Path, epsilon: float) -> Duplicates:
    file = RowFile(tmp_path / "rows", rows.shape[1])
    file.append(rows.astype(np.float32))
    return find_duplicates(file, epsilon, seed=0)


def brute_force(rows: np.ndarray, epsilon: float) -> set[int]:
    """SemDeDup over one group, one pair after the other."""
    units = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    centre = units.mean(0)
    nearness = np.rint(units @ centre / np.linalg.norm(centre) * 1e4)
    gone = set()
    for each in range(len(rows)):
        for other in range(len(rows)):
            before = (nearness[other], other) < (nearness[each], each)
            if before and units[each] @ units[other] > 1 - epsilon:
                gone.add(each)
    return gone


@pytest.mark.parametrize("group", [1024, 20])
def test_duplicates_planted_are_exactly_those_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, group: int
) -> None:
    monkeypatch.setattr(duplicates, "_GROUP", group)
    distinct = np.linalg.qr(GENERATOR.standard_normal((64, 64)))[0]  # cosines of 0
    copied = GENERATOR.choice(64, 20, replace=False)
    scaled = distinct[copied] * GENERATOR.uniform(0.5, 2, (20, 1))  # a cosine knows no length
    rows = np.concatenate([distinct, scaled])
    got = found(rows, tmp_path, 1e-3)
    pairs = {(min(pair), max(pair)) for pair in zip(got.indices, got.twins, strict=True)}
    assert pairs == {(original, 64 + copy) for copy, original in enumerate(copied)}
    assert got.similarities == pytest.approx(np.ones(20), abs=1e-5)
    assert np.array_equal(got.indices, np.sort(got.indices))


def test_duplicates_of_which_a_group_is_alike_leave_one(tmp_path: Path) -> None:
    rows = np.repeat(np.eye(5), 7, axis=0)
    got = found(rows, tmp_path, 1e-3)
    assert [index for index in range(35) if index not in got.indices] == [0, 7, 14, 21, 28]
    assert len(got) == 30


@pytest.mark.parametrize("block", [1024, 7, 1])
@pytest.mark.parametrize("epsilon", [0.05, 0.3, 1.0])
def test_duplicates_are_those_of_a_brute_force_however_they_are_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, epsilon: float, block: int
) -> None:
    monkeypatch.setattr(duplicates, "_BLOCK", block)
    rows = GENERATOR.standard_normal((60, 4)) + 0.3
    got = found(rows, tmp_path, epsilon)
    assert set(got.indices.tolist()) == brute_force(rows, epsilon)
    units = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    for index, twin, similarity in zip(got.indices, got.twins, got.similarities, strict=True):
        assert similarity == pytest.approx(units[index] @ units[twin], abs=1e-5)


@pytest.mark.parametrize("epsilon", [0.05, 0.3, 1.0])
def test_duplicates_where_half_the_data_are_equal_are_those_of_a_brute_force(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, epsilon: float
) -> None:
    monkeypatch.setattr(duplicates, "_BLOCK", 7)
    rows = (GENERATOR.standard_normal((60, 4)) + 0.3).astype(np.float32)
    equal = GENERATOR.choice(60, 30, replace=False)
    rows[equal] = rows[equal[0]]
    got = found(rows, tmp_path, epsilon)
    assert set(got.indices.tolist()) == brute_force(rows, epsilon)
    assert (np.diff(got.indices) > 0).all()
    units = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    for index, twin, similarity in zip(got.indices, got.twins, got.similarities, strict=True):
        assert similarity == pytest.approx(units[index] @ units[twin], abs=1e-5)


def test_equal_rows_are_compared_with_others_as_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared = []
    whole = duplicates._within

    def counted(units: np.ndarray, *rest: Any) -> Any:
        compared.append(len(units))
        return whole(units, *rest)

    monkeypatch.setattr(duplicates, "_within", counted)
    rows = np.repeat(GENERATOR.standard_normal((6, 3)), 50, axis=0)
    assert len(found(rows, tmp_path, 1e-3)) == 6 * 49
    assert compared == [6]


def test_group_of_many_rows_that_are_alike_takes_the_memory_of_two_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(duplicates, "_BLOCK", 64)
    units = np.linalg.qr(np.eye(4))[0][:1].astype(np.float32).repeat(4000, 0)
    numbers = np.arange(4000)
    tracemalloc.start()
    try:
        duplicates._within(units, numbers, np.ones_like(numbers), 1e-3)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 64 * 4000 * 4  # what one block beside all rows would be


def test_duplicates_keep_the_one_farthest_from_the_centroid(tmp_path: Path) -> None:
    angles = np.radians([0, 1, 2, 40])  # their mean points to some 11 degrees
    rows = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    got = found(rows, tmp_path, 1e-3)
    assert (got.indices.tolist(), got.twins.tolist()) == ([1, 2], [0, 1])


def test_duplicates_of_more_samples_are_looked_for_in_more_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    whole = duplicates.fine_centroids

    def counted(rows: RowFile, num: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        asked.append(num)
        return whole(rows, num, seed)

    monkeypatch.setattr(duplicates, "fine_centroids", counted)
    monkeypatch.setattr(duplicates, "_GROUP", 10)
    found(GENERATOR.standard_normal((95, 3)), tmp_path, 0.01)
    assert asked == [10]


def test_rows_without_length_are_like_nothing(tmp_path: Path) -> None:
    assert len(found(np.zeros((9, 4)), tmp_path, 0.5)) == 0
