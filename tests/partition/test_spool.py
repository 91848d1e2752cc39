import io
import json
import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from webdataset.tariterators import tar_file_iterator

from atoll.sections import DataSection
from partition.images import decode_png
from partition.intake import Intake, _prepared
from partition.sources import Sample, Unreadable
from partition.spool import Spool
from partition.workers import Workers

IMAGES = np.random.default_rng(0).integers(0, 256, (23, 4, 5, 3), np.uint8)


class Given:
    """A source of images, every third of them broken."""

    class_names = ()

    def __iter__(self) -> Iterator[Sample | Unreadable]:
        for index, image in enumerate(IMAGES):
            yield Sample(f"number {index}", image, index % 4, f"a {index}")
            if index % 3 == 0:
                yield Unreadable(f"broken {index}", "it is broken")


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    intake = Intake(Given(), DataSection(on_error="skip"))
    done: list[int] = []
    spool = Spool(intake, tmp_path / "samples", Workers(0), done.append)
    assert done == list(range(1, 24))
    return spool


def test_spool_gives_images_back_in_batches_as_often_as_asked(spool: Spool) -> None:
    assert (len(spool), spool.shape) == (23, (4, 5, 3))
    for _ in range(2):
        batches = list(spool.images(10))
        assert list(map(len, batches)) == [10, 10, 3]
        assert np.array_equal(np.concatenate(batches), IMAGES)


@pytest.mark.parametrize("most", [1, 2, 5, 22, 23, 100])
def test_spool_gives_some_images_spread_evenly(spool: Spool, most: int) -> None:
    shown = np.concatenate(list(spool.images(10, most)))
    every = [image.tobytes() for image in IMAGES]
    places = [every.index(image.tobytes()) for image in shown]
    assert len(places) == min(most, 23)
    gaps = np.diff(places)
    assert not len(gaps) or (gaps.min() >= 1 and gaps.max() - gaps.min() <= 1)


def test_image_that_is_a_png_is_not_sent_from_a_process_as_pixels_too() -> None:
    sample = Sample("grey", np.full((300, 200, 3), 128, np.uint8))
    sent = _prepared(sample, sizes=(), crop_seed=None, with_png=True)
    assert len(pickle.dumps(sent)) < len(sent[2]) + 1000 < 300 * 200
    (told, png), *_ = Intake(Given(), DataSection(on_error="skip")).with_pngs()
    assert told.image.shape == decode_png(png).shape == (4, 5, 3)


def test_spooled_samples_are_members_of_a_tar(spool: Spool) -> None:
    samples = list(spool)
    assert [(s.index, s.key, s.label) for s in samples] == [
        (index, f"number {index}", index % 4) for index in range(23)
    ]
    assert all(np.array_equal(decode_png(s.png), IMAGES[s.index]) for s in samples)
    whole = io.BytesIO(b"".join(s.members for s in samples) + bytes(1024))
    found = list(tar_file_iterator(whole))
    assert [f["fname"] for f in found[:3]] == ["000000000.png", "000000000.json", "000000001.png"]
    assert [f["data"] for f in found[::2]] == [s.png for s in samples]
    assert json.loads(found[3]["data"])["caption"] == "a 1"
