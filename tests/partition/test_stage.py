import errno
import io
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from webdataset.tariterators import group_by_keys, tar_file_iterator

from atoll import layout
from atoll.blob_checks import digest_file
from atoll.blobs import open_store
from atoll.config import Config
from atoll.errors import BadInput, ConfigError, DataError, StageMissing, StorageFull
from atoll.file_store import FileStore
from atoll.node_cache import NodeCache
from experts.noising import conditioning_of
from orchestrator.cli.training import train
from partition.centroids import assign, load_centroids
from partition.listing import read_listing
from partition.manifest import Partition
from partition.reader import ShardReader
from partition.rowfile import RowFile
from partition.sources import open_source
from partition.stage import find_partition, load_partition
from tests.partition.small_run import run, settings, write_data


@dataclass(frozen=True)
class Done:
    """A partition for all tests that only look."""

    images: np.ndarray
    config: Config
    made: Partition

    @property
    def folder(self) -> Path:
        return Path(self.config.run.uri)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    folder = tmp_path_factory.mktemp("done")
    images, config = write_data(folder / "data.npz"), settings(folder)
    return Done(images, config, run(config))


def test_shards_hold_every_sample_bit_by_bit(done: Done) -> None:
    seen = {}
    for shard_set in done.made.shard_sets:
        for shard in shard_set.shards:
            path = done.folder / shard.key
            assert digest_file(path) == shard.digest
            assert path.stat().st_size == shard.size_bytes
            with path.open("rb") as file:
                members = tar_file_iterator(file)
                samples = list(group_by_keys({**m, "__url__": ""} for m in members))
            assert len(samples) == shard.num_samples
            for sample in samples:
                about = json.loads(sample["json"])
                pixels = np.asarray(Image.open(io.BytesIO(sample["png"])))
                seen[about["index"]] = (pixels, about["label"], about["caption"])
    assert sorted(seen) == list(range(90))
    for index, (pixels, label, caption) in seen.items():
        assert np.array_equal(pixels, done.images[index])
        assert (label, caption) == (index % 3, f"number {index}")


def test_partition_made_twice_at_once_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_data(tmp_path / "data.npz")
    config = settings(tmp_path, duplicates="report")
    first = run(config)
    # As it looks to a second command that begins before the first one has stored anything.
    monkeypatch.setattr(FileStore, "exists", lambda *_: False)
    assert run(config) == first


def test_manifest_tells_counts_shape_and_classes(done: Done) -> None:
    made = done.made
    assert (made.num_samples, made.shape, made.num_experts) == (90, (6, 5, 3), 3)
    assert made.class_names == ("round", "square", "star")
    assert made.has_captions
    assert made.std == pytest.approx((done.images / 127.5).std(), rel=1e-12)
    assert [s.num_samples for s in made.shard_sets] == [30, 30, 30]
    assert [[t.num_samples for t in s.shards] for s in made.shard_sets] == [[20, 10]] * 3
    assert sorted(s.label_counts for s in made.shard_sets) == [(0, 0, 30), (0, 30, 0), (30, 0, 0)]
    assert Partition.from_json(json.loads(json.dumps(made.as_json()))) == made


def test_partition_of_equal_data_has_an_equal_digest(done: Done, tmp_path: Path) -> None:
    write_data(tmp_path / "data.npz")
    assert run(settings(tmp_path)) == done.made
    assert run(settings(tmp_path, "other", num_fine=8)).digest != done.made.digest


def test_partition_done_before_is_found_not_made_again(tmp_path: Path) -> None:
    write_data(tmp_path / "data.npz")
    config = settings(tmp_path)
    assert find_partition(config) is None
    made = run(config)
    (tmp_path / "data.npz").unlink()
    assert (
        run(config) == find_partition(config) == load_partition(open_store(config.run.uri)) == made
    )


@pytest.mark.parametrize("what", ["shard", "centroids", "montage"])
def test_partition_that_lost_a_file_is_made_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], what: str
) -> None:
    write_data(tmp_path / "data.npz")
    config = settings(tmp_path)
    made = run(config)
    shard = made.shard_sets[1].shards[0].key
    lost = {"shard": shard, "centroids": made.centroids, "montage": layout.MONTAGE}[what]
    (tmp_path / "run" / lost).unlink()
    assert find_partition(config) is None
    assert run(config) == made
    assert "gone; making it again" in capsys.readouterr().err
    assert (tmp_path / "run" / lost).exists()


@pytest.mark.parametrize(
    ("expert", "router", "words"),
    [
        ({"patch": 2}, {"patch": 1}, r"expert\.patch = 2 does not divide images of 5x6"),
        ({"patch": 1}, {"patch": 3}, r"router\.patch = 3 does not divide images of 5x6"),
        ({"preset": "DiT-S/2"}, {"patch": 1}, r"expert\.patch = 2"),
    ],
)
def test_partition_of_data_that_the_networks_cannot_take_is_refused_by_key(
    tmp_path: Path, expert: dict[str, Any], router: dict[str, Any], words: str
) -> None:
    write_data(tmp_path / "data.npz")
    tree = {**settings(tmp_path).model_dump(), "expert": expert, "router": router}
    with pytest.raises(ConfigError, match=words):
        run(Config.model_validate(tree))
    assert open_store(tree["run"]["uri"]).list("") == []


def one_cluster(tmp_path: Path, run: str, labels: str | None, **evaluation: Any) -> Config:
    tree = settings(tmp_path, run, num_experts=1).model_dump()
    tree["data"]["labels"] = labels
    return Config.model_validate({**tree, "evaluation": evaluation})


def test_partition_that_leaves_the_classifier_nothing_to_tell_apart_is_refused_by_key(
    tmp_path: Path,
) -> None:
    write_data(tmp_path / "data.npz")
    words = r'evaluation\.extractor = "classifier" .* without labels.* raise partition\.num_experts'
    with pytest.raises(ConfigError, match=words):
        run(one_cluster(tmp_path, "one", None))
    assert open_store(str(tmp_path / "one")).list("") == []
    assert run(one_cluster(tmp_path, "one", None, extractor={"transformers": "a"})).num_experts == 1
    with pytest.raises(ConfigError, match=words):  # also where the partition is made already
        find_partition(one_cluster(tmp_path, "one", None))
    assert run(one_cluster(tmp_path, "other", "labels")).num_experts == 1


def test_partition_of_one_class_is_refused_only_where_there_is_one_cluster(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (40, 4, 4), np.uint8)
    np.savez(tmp_path / "data.npz", images=images, labels=np.zeros(40, int))
    tree = settings(tmp_path).model_dump()
    tree["data"]["captions"], tree["expert"]["condition"] = None, "class"
    assert run(Config.model_validate(tree)).class_names == ("0",)
    tree["run"]["uri"], tree["partition"]["num_experts"] = str(tmp_path / "one"), 1
    words = r"data of a single class in one cluster; set .* raise partition\.num_experts"
    with pytest.raises(ConfigError, match=words):
        run(Config.model_validate(tree))


@pytest.mark.parametrize(
    ("folder", "captioned", "condition", "words"),
    [
        ("", True, "class", 'the data have no labels; set it to "text" or "none"'),
        ("", False, "class", 'the data have no labels; set it to "none"'),
        ("a", False, "text", 'the data have no captions; set it to "class" or "none"'),
    ],
)
def test_partition_for_a_condition_that_the_data_lack_is_refused_before_features_are_looked_for(
    tmp_path: Path, folder: str, captioned: bool, condition: str, words: str
) -> None:
    (tmp_path / "data" / folder).mkdir(parents=True)
    for index, image in enumerate(write_data(tmp_path / "data.npz", 6)):
        Image.fromarray(image).save(tmp_path / "data" / folder / f"{index}.png")
        if captioned:
            (tmp_path / "data" / folder / f"{index}.txt").write_text(f"number {index}")
    tree = settings(tmp_path, features={"transformers": str(tmp_path / "nowhere")}).model_dump()
    tree["data"] = {"source": "folder", "path": str(tmp_path / "data")}
    with pytest.raises(BadInput, match="nowhere"):
        run(Config.model_validate(tree))
    tree["expert"]["condition"] = condition
    with pytest.raises(ConfigError, match=f'expert.condition = "{condition}", but {words}$'):
        run(Config.model_validate(tree))
    assert open_store(tree["run"]["uri"]).list("") == []


def test_partition_of_a_folder_without_captions_for_text_is_refused_by_key(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for index, image in enumerate(write_data(tmp_path / "data.npz")):
        Image.fromarray(image).save(tmp_path / "data" / f"{index:03d}.png")
    tree = settings(tmp_path).model_dump()
    tree["data"] = {"source": "folder", "path": str(tmp_path / "data")}
    tree["expert"]["condition"] = "text"
    with pytest.raises(ConfigError, match='"text", but the data have no captions'):
        run(Config.model_validate(tree))


def test_partition_for_another_condition_is_not_taken_for_text_where_captions_are_missing(
    tmp_path: Path,
) -> None:
    (tmp_path / "data").mkdir()
    for index, image in enumerate(write_data(tmp_path / "data.npz")):
        Image.fromarray(image).save(tmp_path / "data" / f"{index:03d}.png")
        if index % 30:
            (tmp_path / "data" / f"{index:03d}.txt").write_text(f"number {index}")
    tree = settings(tmp_path).model_dump()
    tree["data"] = {"source": "folder", "path": str(tmp_path / "data"), "on_error": "skip"}
    made = run(Config.model_validate(tree))
    assert (made.num_samples, made.num_without_caption) == (90, 3)
    tree["expert"]["condition"] = "text"
    with pytest.raises(ConfigError, match="3 samples of this run's shards have no caption"):
        run(Config.model_validate(tree))
    with pytest.raises(ConfigError, match="3 samples of this run's shards have no caption"):
        train(Config.model_validate(tree), "train")
    with pytest.raises(ConfigError, match="3 samples of this run's shards have no caption"):
        conditioning_of(Config.model_validate(tree), made)
    tree["run"]["uri"] = f"{tmp_path}/other"
    made = run(Config.model_validate(tree))
    assert (made.num_samples, made.num_without_caption, made.skipped.num) == (87, 0, 3)


def test_partition_where_no_folder_can_be_made_is_refused_by_key(tmp_path: Path) -> None:
    write_data(tmp_path / "data.npz")
    with pytest.raises(BadInput, match=r"run\.uri = .*data\.npz/run' cannot be used"):
        run(settings(tmp_path, "data.npz/run"))


def test_partition_of_other_settings_is_refused_by_key(tmp_path: Path) -> None:
    write_data(tmp_path / "data.npz")
    run(settings(tmp_path))
    with pytest.raises(BadInput, match=r"partition\.num_experts = 3"):
        run(settings(tmp_path, num_experts=2))


def test_partition_is_of_runs_that_flip_and_of_runs_that_do_not(tmp_path: Path) -> None:
    write_data(tmp_path / "data.npz")
    tree = settings(tmp_path).model_dump()
    made = run(Config.model_validate(tree))
    tree["data"] |= {"flip": True, "workers": 1}
    assert find_partition(Config.model_validate(tree)) == made


def test_partition_not_made_yet_names_its_command(tmp_path: Path) -> None:
    with pytest.raises(StageMissing, match="run `atoll partition`"):
        load_partition(open_store(str(tmp_path)))


def test_partition_interrupted_by_a_full_store_goes_on(
    done: Done, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_data(tmp_path / "data.npz")
    config = settings(tmp_path)
    put_file, puts = FileStore.put_file, []

    def put_three(self: FileStore, key: str, path: Path) -> Any:
        if len(puts) == 3:
            raise StorageFull("no space left")
        puts.append(key)
        return put_file(self, key, path)

    with monkeypatch.context() as patch:
        patch.setattr(FileStore, "put_file", put_three)
        with pytest.raises(StorageFull):
            run(config)
    assert find_partition(config) is None
    assert run(config) == done.made
    assert open_store(config.run.uri).list("local") == []


def test_partition_without_room_for_features_says_so_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_data(tmp_path / "data.npz")
    config = settings(tmp_path)

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(RowFile, "append", full)
    with pytest.raises(StorageFull, match=r"no space or quota left in .*local; free some"):
        run(config)
    assert open_store(config.run.uri).list("") == []


def test_partition_interrupted_then_made_of_other_data_is_of_the_other(tmp_path: Path) -> None:
    write_data(tmp_path / "data.npz")
    config = settings(tmp_path)
    run(config)
    (tmp_path / "run" / layout.stage_manifest("partition")).unlink()  # as if cut off just before
    images = write_data(tmp_path / "data.npz", seed=1)
    reader = ShardReader(open_store(config.run.uri), run(config), None, NodeCache(tmp_path), 0)
    batch = reader.batch(0, 90)
    order = [int(caption.split()[1]) for caption in batch.captions or ()]
    assert np.array_equal(batch.images, images[order])


def test_centroids_assign_the_data_as_they_were_partitioned(done: Done, tmp_path: Path) -> None:
    made, store = done.made, open_store(done.config.run.uri)
    model = load_centroids(store, made)
    batch = ShardReader(store, made, None, NodeCache(tmp_path / "cache"), 0).batch(0, 90)
    features = model.features.transform(batch.images)
    found = assign(features, model.coarse, model.offsets)
    assert np.array_equal(found, batch.clusters)
    away = np.square(features.astype(np.float64) - model.coarse[found]).sum(1)
    assert model.scatter == pytest.approx(away.mean(), rel=1e-5)


def test_montage_has_a_row_of_samples_for_each_cluster(done: Done) -> None:
    montage = np.asarray(Image.open(done.folder / layout.MONTAGE))
    rows = np.split(montage[4:, 200:], 3)
    levels = {int(np.median(row[row.min(-1) < 200])) // 60 for row in rows}
    assert levels == {0, 1, 2}


def test_partition_of_unlabelled_grey_data_has_no_classes(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (40, 4, 4), np.uint8)
    np.savez(tmp_path / "data.npz", images=images)
    config = settings(tmp_path)
    data = config.data.model_copy(update={"captions": None})
    made = run(config.model_copy(update={"data": data}))
    assert (made.class_names, made.has_captions, made.shape) == ((), False, (4, 4, 1))


def test_partition_names_what_it_skipped_in_a_file_of_the_run(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for index, image in enumerate(write_data(tmp_path / "data.npz")):
        Image.fromarray(image).save(tmp_path / "data" / f"{index:03d}.png")
    (tmp_path / "data" / "050.png").write_bytes(b"")
    data = {"source": "folder", "path": str(tmp_path / "data"), "on_error": "skip"}
    config = Config.model_validate({**settings(tmp_path).model_dump(), "data": data})
    made = run(config)
    store = open_store(config.run.uri)
    assert "050.png" not in json.dumps(made.as_json())  # which holds no more for a million
    assert made.skipped is not None
    assert list(read_listing(store, made.skipped)) == [
        {"name": str(tmp_path / "data" / "050.png"), "reason": "it is empty"}
    ]
    assert load_partition(store) == made
    assert made.num_samples == 89
    (tmp_path / "run" / made.skipped.key).unlink()
    assert find_partition(config) is None


def test_shards_are_a_source_themselves(done: Done) -> None:
    shards = str(done.folder / layout.shard_folder(0))
    data = done.config.data.model_copy(update={"source": "webdataset", "path": shards})
    assert len(list(open_source(data))) == 30


@pytest.mark.parametrize(
    ("tars", "mend"), [(0, ""), (1, '; tars are read with data.source = "web')]
)
def test_data_without_samples_are_refused_and_leave_nothing(
    tmp_path: Path, tars: int, mend: str
) -> None:
    (tmp_path / "empty").mkdir()
    for number in range(tars):
        (tmp_path / "empty" / f"{number}.tar").touch()
    data = {"source": "folder", "path": str(tmp_path / "empty")}
    config = Config.model_validate({**settings(tmp_path).model_dump(), "data": data})
    words = f"gives no samples: there are none in data.path = '{tmp_path}/empty'{mend}"
    with pytest.raises(DataError, match=re.escape(words)):
        run(config)
    assert not Path(config.run.uri).exists()
