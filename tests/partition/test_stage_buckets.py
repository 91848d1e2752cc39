"""Images of several sizes, from files to shards."""

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from atoll import layout
from atoll.config import Config
from atoll.config_file import parse_config
from atoll.errors import BadInput, ConfigError, DataError
from atoll.sections import DataSection
from partition.crops import crop_place
from partition.images import cropped, squeezed
from partition.intake import Intake
from partition.manifest import Partition
from partition.sources import Sample, open_source
from partition.stage import run_partition
from tests.partition.bucketed_run import BUCKETS, NAMES, BucketedRun


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> BucketedRun:
    return BucketedRun.written(tmp_path_factory.mktemp("buckets"))


def photos(folder: Path, sizes: list[tuple[int, int]]) -> dict[str, np.ndarray]:
    generator, images = np.random.default_rng(1), {}
    folder.mkdir(parents=True)
    for number, (height, width) in enumerate(sizes):
        images[f"{number:03d}.png"] = generator.integers(0, 256, (height, width, 3), np.uint8)
        Image.fromarray(images[f"{number:03d}.png"]).save(folder / f"{number:03d}.png")
    return images


@pytest.mark.parametrize("crop", ["centre", "random"])
@pytest.mark.parametrize("workers", [0, 2])
def test_images_of_any_size_cover_their_bucket_and_are_cropped_once(
    tmp_path: Path, crop: str, workers: int
) -> None:
    images = photos(tmp_path / "data", [(20, 18), (9, 40), (30, 8), (12, 4), (5, 5)] * 5)
    keys = {"source": "folder", "path": str(tmp_path / "data"), "buckets": NAMES, "crop": crop}
    data = DataSection.model_validate({**keys, "workers": workers})
    intake = Intake(open_source(data), data, seed=3)
    assert (intake.shape, list(intake.sizes)) == ((8, 8, 3), [(8, 8), (4, 12), (12, 4)])
    wanted_sizes = [(8, 8), (4, 12), (12, 4), (12, 4), (8, 8)] * 5
    for sample, size in zip(intake, wanted_sizes, strict=True):
        place = 0.5 if crop == "centre" else crop_place(3, sample.key)
        assert np.array_equal(sample.image, cropped(images[sample.key], size, place))


def members(path: Path) -> list[tuple[dict[str, Any], np.ndarray]]:
    with tarfile.open(path) as tar:
        files = [tar.extractfile(each) for each in tar]
        data = [file.read() for file in files if file]
    return [
        (json.loads(about), np.asarray(Image.open(io.BytesIO(image))))
        for image, about in zip(data[::2], data[1::2], strict=True)
    ]


def test_each_shard_holds_images_of_one_bucket_untouched(run: BucketedRun) -> None:
    seen: dict[int, np.ndarray] = {}
    for shard_set in run.made.shard_sets:
        buckets = [shard.bucket for shard in shard_set.shards]
        assert buckets == sorted(buckets)
        assert sum(shard.num_samples for shard in shard_set.shards) == shard_set.num_samples
        for shard in shard_set.shards:
            height, width = BUCKETS[shard.bucket]
            assert f"/{width}x{height}/shard-" in shard.key
            found = members(run.folder / "run" / shard.key)
            assert len(found) == shard.num_samples <= 5
            assert {image.shape for _, image in found} == {(height, width, 3)}
            seen |= {about["index"]: image for about, image in found}
    assert all(np.array_equal(seen[at], image) for at, image in enumerate(run.images))
    nums = [[s.num_samples for s in each.shards if s.bucket == 0] for each in run.made.shard_sets]
    assert sorted(nums) == [[5, 5, 4], [5, 5, 5, 5, 3]]


def test_manifest_tells_the_buckets_and_the_shapes_that_networks_see(run: BucketedRun) -> None:
    made = run.made
    assert made.buckets == ((8, 8), (4, 12), (12, 4))
    assert made.shape == (8, 8, 3)
    assert made.shapes == ((3, 8, 8), (3, 4, 12), (3, 12, 4))
    assert Partition.from_json(json.loads(json.dumps(made.as_json()))) == made
    whole = np.stack([squeezed(image, (8, 8)) for image in run.images])
    assert made.std == pytest.approx((whole / 127.5).std(), rel=1e-12)


def test_partition_of_one_bucket_is_that_of_its_size_in_another_folder(tmp_path: Path) -> None:
    photos(tmp_path / "data", [(20, 18), (9, 40), (30, 8), (8, 8)] * 8)
    tree = BucketedRun(tmp_path, [], {"data": {"buckets": ["8x8"]}}).config.model_dump()
    one = run_partition(Config.model_validate(tree), lambda *_: None)
    tree["data"] |= {"buckets": None, "size": 8}
    tree["run"]["uri"] = str(tmp_path / "other")
    other = run_partition(Config.model_validate(tree), lambda *_: None)

    def digests(made: Partition) -> list[list[str]]:
        return [[shard.digest for shard in each.shards] for each in made.shard_sets]

    assert digests(one) == digests(other)
    assert one.digest == other.digest
    assert (one.buckets, other.buckets) == (((8, 8),), ())


def test_montage_shows_all_images_at_the_size_of_the_first_bucket(run: BucketedRun) -> None:
    montage = np.asarray(Image.open(run.folder / "run" / layout.MONTAGE))
    enlarged = 48  # 8 pixels, each six times
    assert montage.shape == (2 * (enlarged + 4) + 4, 150 + 16 * (enlarged + 4) + 4, 3)


def test_buckets_of_other_settings_are_refused_by_key(run: BucketedRun) -> None:
    tree = run.config.model_dump()
    tree["data"]["buckets"] = ["8x8", "12x4"]
    assert run.made.num_samples == 47
    with pytest.raises(BadInput, match=r"data\.buckets = \['8x8', '12x4', '4x12'\]"):
        run_partition(Config.model_validate(tree), lambda *_: None)


class Mixed:
    """A source of images of other channels."""

    class_names = ()

    def __iter__(self) -> Any:
        for channels in (3, 1):
            yield Sample(f"with {channels}", np.zeros((9, 7, channels), np.uint8), None, None)


@pytest.mark.parametrize("first", ["far from all", "of one that is dropped"])
def test_first_bucket_without_images_is_refused_before_clustering(
    tmp_path: Path, first: str
) -> None:
    keys: dict[str, Any] = {"data": {"buckets": ["4x16", *NAMES]}}
    if first == "of one that is dropped":
        keys["partition"] = {"duplicates": "drop"}
    run = BucketedRun.written(tmp_path, **keys)
    if first == "of one that is dropped":
        for name, size in (("998", (8, 8)), ("999", (16, 4))):
            Image.fromarray(np.full((*size, 3), 120, np.uint8)).save(tmp_path / f"data/{name}.png")
    words = r"no image is nearest to 4x16, the first of data\.buckets, .*; put another first"
    with pytest.raises(DataError, match=words):
        run_partition(run.config, lambda *_: None)
    assert not list((tmp_path / "run" / "partition").glob("*"))


def test_images_of_other_channels_are_refused_by_name() -> None:
    data = DataSection.model_validate({"buckets": NAMES})
    with pytest.raises(DataError, match=r"with 1 is 8x8 with 1 channel but .* same channels"):
        list(Intake(Mixed(), data))


@pytest.mark.parametrize(
    ("buckets", "told"),
    [
        (["8x8", "16x16"], "8x8 and 16x16, which have the same proportions"),
        (["4x8", "8x4", "6x12"], "4x8 and 6x12, which have the same proportions"),
        (["8x8", "8x8"], "8x8 twice"),
        (["8x8", "10000x10001"], "10000x10001, more than the 100,000,000 pixels"),
        (["8x8", "8x"], "'8x' is no size; give WIDTHxHEIGHT in pixels, such as 64x48"),
        (["8x8", "8x3"], "8x3 has a side of less than 4 pixels"),
        ([[8, 8]], r"'\[8, 8\]' is no size; give WIDTHxHEIGHT"),
    ],
)
def test_buckets_no_image_would_go_to_are_refused(buckets: list[Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        DataSection.model_validate({"buckets": buckets})


def test_bucket_may_have_as_many_pixels_as_an_image() -> None:
    data = DataSection.model_validate({"buckets": ["10000x10000", "200000x500"]})
    assert data.buckets == ((10_000, 10_000), (500, 200_000))
    assert DataSection.model_validate(data.model_dump(mode="json")) == data


@pytest.mark.parametrize("section", ["expert", "router"])
def test_patch_that_does_not_divide_a_bucket_is_refused_before_anything_is_read(
    tmp_path: Path, section: str
) -> None:
    keys = {section: {"patch": 4}, "data": {"buckets": ["8x8", "12x8", "6x12"]}}
    tree = BucketedRun.written(tmp_path, **keys).tree
    told = rf"{section}\.patch = 4 does not divide images of 6x12 pixels; .* data\.buckets"
    with pytest.raises(ConfigError, match=told):
        run_partition(parse_config(tree, "atoll.toml"), lambda *_: None)
    assert not list((tmp_path / "run" / "partition").glob("*"))
