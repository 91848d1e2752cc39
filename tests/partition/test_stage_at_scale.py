import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from atoll.blobs import open_store
from atoll.config import Config
from atoll.node_cache import NodeCache
from partition.listing import read_listing
from partition.manifest import Partition
from partition.reader import ShardReader
from partition.sources.tars import Members
from partition.stage import find_partition
from tests.partition.small_run import run, settings, write_data
from tests.partition.tars import tar_members, write_tar


@pytest.fixture
def tars(tmp_path: Path) -> Config:
    """Images in tars, some of them broken, to be cropped."""
    for number in range(2):
        members = tar_members(30, first=30 * number)
        members[f"{30 * number + 7:04d}.png"] = b"broken"
        write_tar(tmp_path / f"s-{number}.tar", members)
    data = {"source": "webdataset", "path": str(tmp_path / "s-{0..1}.tar"), "size": 5}
    tree = settings(tmp_path).model_dump()
    tree["data"] = {**data, "on_error": "skip"}
    return Config.model_validate(tree)


def test_partition_is_the_same_whatever_the_number_of_processes(tars: Config) -> None:
    def made_by(workers: int) -> Partition:
        run_of = tars.run.model_copy(update={"uri": f"{tars.run.uri}-{workers}"})
        data = tars.data.model_copy(update={"workers": workers})
        return run(tars.model_copy(update={"run": run_of, "data": data}))

    alone = made_by(0)
    assert made_by(2) == alone
    assert (alone.num_samples, alone.skipped.num) == (58, 2)
    folders = [Path(f"{tars.run.uri}-{workers}/partition") for workers in (0, 2)]
    files = [sorted(path.relative_to(folder) for path in folder.rglob("*")) for folder in folders]
    assert files[0] == files[1]
    for name in files[0]:
        one, other = (folder / name for folder in folders)
        assert one.is_dir() or one.read_bytes() == other.read_bytes()


def test_partition_is_found_again_with_another_number_of_processes(tars: Config) -> None:
    made = run(tars)
    data = tars.data.model_copy(update={"workers": 1})
    assert find_partition(tars.model_copy(update={"data": data})) == made


def test_partition_reads_its_source_once(tars: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    whole = Members.__iter__

    def counted(self: Members) -> Any:
        for member in whole(self):
            read.append(member[0])
            yield member

    monkeypatch.setattr(Members, "__iter__", counted)
    run(tars)
    # Besides, the first two samples told the shape of all.
    assert len(read) <= 60 * 3 + 2 * 3


def with_copies(tmp_path: Path) -> Config:
    """Ninety images, and after every third of them another one that is the same."""
    images = write_data(tmp_path / "data.npz")
    places = np.sort(np.concatenate([np.arange(90), np.arange(0, 90, 3)]))
    arrays = dict(np.load(tmp_path / "data.npz"))
    for name in ("images", "labels", "captions"):
        arrays[name] = arrays[name][places]
    arrays["captions"] = np.array([f"number {i}" for i in range(120)])
    np.savez(tmp_path / "data.npz", **arrays)
    assert len(images) == 90
    return settings(tmp_path)


def test_partition_without_duplicates_is_balanced_and_lists_what_it_dropped(tmp_path: Path) -> None:
    config = with_copies(tmp_path)
    section = config.partition.model_copy(
        update={"duplicates": "drop", "duplicate_epsilon": 1e-5, "pca_dims": 20}
    )
    config = config.model_copy(update={"partition": section})
    made = run(config)
    assert [s.num_samples for s in made.shard_sets] == [30, 30, 30]
    assert made.num_samples == 90
    assert made.duplicates is not None
    assert (made.duplicates.num, made.duplicates.dropped) == (30, True)
    store = open_store(config.run.uri)
    lines = list(read_listing(store, made.duplicates))
    dropped = {line["index"] for line in lines}
    for line in lines:
        twin = int(line["like"].removeprefix("images[").removesuffix("]"))
        assert line["name"] == f"images[{line['index']}]"
        assert abs(line["index"] - twin) == 1
        assert line["similarity"] == 1
    reader = ShardReader(store, made, None, NodeCache(tmp_path / "cache"), 0)
    captions = reader.batch(0, 90).captions or ()
    assert {int(each.split()[1]) for each in captions} == set(range(120)) - dropped
    assert Partition.from_json(json.loads(json.dumps(made.as_json()))) == made
    (tmp_path / "run" / made.duplicates.key).unlink()
    assert find_partition(config) is None


def test_partition_that_reports_duplicates_keeps_them(tmp_path: Path) -> None:
    config = with_copies(tmp_path)

    def made_with(duplicates: str) -> Partition:
        section = {"duplicates": duplicates, "duplicate_epsilon": 1e-5, "pca_dims": 20}
        return run(
            config.model_copy(
                update={
                    "partition": config.partition.model_copy(update=section),
                    "run": config.run.model_copy(update={"uri": f"{config.run.uri}-{duplicates}"}),
                }
            )
        )

    kept, reported = made_with("keep"), made_with("report")
    assert kept.duplicates is None
    assert reported.duplicates is not None
    assert (reported.duplicates.num, reported.duplicates.dropped) == (30, False)
    assert (reported.digest, reported.num_samples) == (kept.digest, 120)
