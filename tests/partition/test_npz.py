from pathlib import Path
from typing import Any

import numpy as np
import pytest

from atoll.errors import DataError
from atoll.sections import DataSection
from partition.intake import Intake
from partition.sources import open_source

GENERATOR = np.random.default_rng(0)


def intake(**settings: Any) -> Intake:
    data = DataSection(source="npz", **settings)
    return Intake(open_source(data), data)


def save_npz(path: Path, compressed: bool = True, **arrays: np.ndarray) -> str:
    (np.savez_compressed if compressed else np.savez)(path, **arrays)
    return str(path)


@pytest.mark.parametrize("compressed", [True, False])
def test_npz_gives_rows_without_the_excluded(tmp_path: Path, compressed: bool) -> None:
    x = GENERATOR.integers(0, 256, (600, 4, 4), np.uint8)
    out = np.arange(600) % 3 == 0
    path = save_npz(
        tmp_path / "d.npz",
        compressed,
        x=x,
        y=np.arange(600) % 2,
        text=np.array([f"number {i}" for i in range(600)]),
        out=out,
        classes=np.array(["even", "odd"]),
    )
    got = intake(path=path, images="x", labels="y", captions="text", exclude=("out",))
    samples = list(got)
    kept = np.flatnonzero(~out)
    assert np.array_equal(np.stack([s.image[..., 0] for s in samples]), x[kept])
    assert [s.label for s in samples] == [i % 2 for i in kept]
    assert [s.caption for s in samples] == [f"number {i}" for i in kept]
    assert open_source(DataSection(source="npz", path=path, images="x")).class_names == ()
    assert got.num_labels == 2


def test_npz_class_names_come_from_the_file(tmp_path: Path) -> None:
    x, y = np.zeros((2, 4, 4), np.uint8), np.array([0, 1])
    path = save_npz(tmp_path / "d.npz", images=x, labels=y, classes=np.array(["cat", "dog"]))
    assert open_source(DataSection(source="npz", path=path)).class_names == ("cat", "dog")


def test_npz_without_labels_under_the_default_name_is_unlabelled(tmp_path: Path) -> None:
    path = save_npz(tmp_path / "d.npz", images=np.zeros((2, 4, 4), np.uint8))
    assert [s.label for s in intake(path=path)] == [None, None]


def test_npz_videos_are_read_with_their_frames_one_below_the_other(tmp_path: Path) -> None:
    videos = GENERATOR.integers(0, 256, (2, 3, 4, 5, 1), np.uint8)
    samples = list(intake(path=save_npz(tmp_path / "d.npz", images=videos)))
    for sample, video in zip(samples, videos, strict=True):
        assert sample.image.shape == (12, 5, 1)
        assert np.array_equal(sample.image.reshape(3, 4, 5, 1), video)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (
            {"images": "pictures"},
            "no array 'pictures'; it has floats, images, labels, odd, pickled",
        ),
        ({"labels": "y"}, "no array 'y'"),
        ({"images": "floats"}, "is float64; images must be uint8"),
        ({"images": "odd"}, r"has shape \(2, 4, 4, 2\)"),
        ({"labels": "floats"}, "must hold class numbers"),
        ({"captions": "labels"}, "must hold text"),
        ({"exclude": ("labels",)}, "must hold boolean marks"),
        ({"captions": "pickled"}, "pickled objects"),
    ],
)
def test_npz_unusable_array_is_refused_by_name(
    tmp_path: Path, settings: dict[str, Any], reason: str
) -> None:
    path = save_npz(
        tmp_path / "d.npz",
        images=np.zeros((2, 4, 4), np.uint8),
        labels=np.zeros(2, int),
        floats=np.zeros((2, 4, 4)),
        odd=np.zeros((2, 4, 4, 2), np.uint8),
        pickled=np.array(["a", None], object),
    )
    with pytest.raises(DataError, match=reason):
        list(intake(path=path, **settings))


def test_npz_missing_file_or_other_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        intake(path=str(tmp_path / "none.npz"))
    with pytest.raises(DataError, match=r'is a folder; set data\.source to "folder"'):
        intake(path=str(tmp_path))
    (tmp_path / "text.npz").write_text("hello")
    with pytest.raises(DataError, match=r"is not an \.npz file"):
        intake(path=str(tmp_path / "text.npz"))


def test_npz_damaged_array_is_refused(tmp_path: Path) -> None:
    path = Path(save_npz(tmp_path / "d.npz", images=GENERATOR.integers(0, 9, (99, 8, 8), np.uint8)))
    data = bytearray(path.read_bytes())
    data[600:700] = bytes(100)
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"array 'images' .* cannot be read"):
        list(intake(path=str(path)))
    data[:4] = b"none"  # where zip says that a member begins
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"array 'images' .* cannot be read"):
        list(intake(path=str(path)))


def test_npz_class_names_that_are_no_list_are_refused(tmp_path: Path) -> None:
    x, y = np.zeros((2, 4, 4), np.uint8), np.zeros(2, int)
    path = save_npz(tmp_path / "d.npz", images=x, labels=y, classes=np.array("cat"))
    with pytest.raises(DataError, match="list of texts"):
        open_source(DataSection(source="npz", path=path))


def test_npz_label_without_class_name_is_refused(tmp_path: Path) -> None:
    x, y = np.zeros((2, 4, 4), np.uint8), np.array([0, 1])
    path = save_npz(tmp_path / "d.npz", images=x, labels=y, classes=np.array(["cat"]))
    with pytest.raises(DataError, match="has label 1; labels begin at 0 and there are 1 class"):
        list(intake(path=path))
