import json
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from atoll.__main__ import main
from partition.cli import partition
from tests.partition.bucketed_run import BucketedRun

app = typer.Typer()
app.command()(partition)


def invoke(tmp_path: Path, *flags: str) -> tuple[str, str]:
    settings = (f"run.uri={tmp_path}/run", "partition.num_experts=3", "partition.num_fine=12")
    result = CliRunner().invoke(app, [*(f"--set={item}" for item in settings), *flags])
    assert result.exit_code == 0, result.output
    return result.stdout, result.stderr


def test_partition_shows_its_clusters_then_says_it_is_done(tmp_path: Path) -> None:
    said = json.loads(invoke(tmp_path, "--json")[0])
    rows = said["clusters"]
    assert (said["skipped"], said["buckets"]) == ([], [])
    assert [row["cluster"] for row in rows] == [0, 1, 2]
    assert [row["samples"] for row in rows] == [599, 599, 599]
    assert all(row["share"] == "33.3%" and row["bytes"] > 599 * 1024 for row in rows)
    table, said = invoke(tmp_path)
    assert "1,797 samples in 3 clusters" in table
    assert "already partitioned" in said
    assert f"{tmp_path}/run/partition/montage.png" in said


@pytest.mark.parametrize("num_bad", [2, 50])
def test_partition_counts_what_it_left_out_and_names_a_few(tmp_path: Path, num_bad: int) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    for index in range(40):
        pixels = np.random.default_rng(index).integers(0, 256, (4, 4, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{index:03d}.png")
    bad = [folder / f"{100 + index}.png" for index in range(num_bad)]
    for path in bad:
        path.touch()
    keys = ("data.source=folder", f"data.path={folder}", "data.on_error=skip")
    flags = [f"--set={key}" for key in (*keys, "expert.condition=none")]
    out, err = invoke(tmp_path, *flags, "--json")
    (left_out,) = [line for line in err.splitlines() if "left out" in line]
    assert left_out.startswith(f"40 samples; left out {num_bad}: {bad[0]} (it is empty), ")
    assert ("and 47 more that stand below" in left_out) == (num_bad == 50)
    assert err.count(".png (") == min(num_bad, 3)
    expected = [{"name": str(path), "reason": "it is empty"} for path in bad]
    assert json.loads(out)["skipped"] == expected
    again = left_out.replace("that stand below", "that --json names")
    assert again in invoke(tmp_path, *flags)[1].splitlines()


def test_partition_tells_of_captions_that_are_cut_whenever_it_is_asked(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for index in range(40):
        pixels = np.random.default_rng(index).integers(0, 256, (4, 4, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{index:03d}.png")
        words = "a word or two" if index < 7 else "one"
        (tmp_path / "images" / f"{index:03d}.txt").write_text(words)
    keys = ("data.source=folder", f"data.path={tmp_path}/images", "expert.condition=text")
    flags = [f"--set={key}" for key in keys]
    told = "7 captions are longer than captions.tokens = 3: their ends are not heard"
    assert told in invoke(tmp_path, *flags, "--set=captions.tokens=3")[1]
    assert told in invoke(tmp_path, *flags, "--set=captions.tokens=3")[1]  # nothing else to do
    assert "longer than" not in invoke(tmp_path, *flags)[1]  # each is heard as a whole
    assert "longer than" not in invoke(tmp_path, *flags, "--set=captions.tokens=4")[1]


def test_partition_makes_no_class_of_a_folder_without_images_and_says_so(tmp_path: Path) -> None:
    for index in range(40):
        folder = tmp_path / "images" / ("cat", "dog")[index % 2]
        folder.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(index).integers(0, 256, (4, 4, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{index:03d}.png")
    (tmp_path / "images" / "empty" / "emptier").mkdir(parents=True)
    (tmp_path / "images" / "empty" / "notes.txt").write_text("nothing to see")
    flags = [f"--set=data.{key}" for key in ("source=folder", f"path={tmp_path}/images")]
    _, err = invoke(tmp_path, *flags)
    assert f"no image is below empty in {tmp_path}/images: that makes no class" in err
    made = json.loads((tmp_path / "run" / "stages" / "partition.json").read_text())
    assert made["result"]["class_names"] == ["cat", "dog"]


def test_partition_names_classes_of_which_nothing_is_left(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (40, 4, 4), np.uint8)
    names = np.array(["cat", "dog", "unicorn"])
    np.savez(tmp_path / "d.npz", x=images, y=np.arange(40) % 2, classes=names)
    keys = ("source=npz", f"path={tmp_path}/d.npz", "images=x", "labels=y")
    _, err = invoke(tmp_path, *(f"--set=data.{key}" for key in keys))
    assert "no sample is of unicorn: what is drawn of such a class is noise" in err


def test_partition_tells_where_duplicates_are_listed(tmp_path: Path) -> None:
    flags = ("--set=partition.duplicates=report", "--set=partition.duplicate_epsilon=0.05")
    out, err = invoke(tmp_path, *flags, "--json")
    found = json.loads(out)["duplicates"]
    assert not found["dropped"]
    listed = tmp_path / "run" / found["key"]
    assert len(listed.read_text().splitlines()) == found["num"] > 0
    assert f"{found['num']} samples that are nearly the same as others, kept: see {listed}" in err


def test_partition_of_unknown_key_names_it_and_exits_with_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as leaving:
        main(["partition", f"--set=run.uri={tmp_path}/run", "--set=partition.experts=3"])
    assert leaving.value.code == 2
    assert "partition.experts" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_partition_counts_the_samples_of_each_bucket_and_names_one_without_any(
    tmp_path: Path,
) -> None:
    run = BucketedRun.written(tmp_path)
    sizes = "data.buckets=['8x8', '12x4', '4x12', '4x16']"
    keys = ("data.source=folder", f"data.path={run.folder}/data", sizes, "data.workers=0")
    flags = [f"--set={key}" for key in (*keys, "expert.condition=none")]
    out, err = invoke(tmp_path, *flags, "--json")
    found = json.loads(out)
    nums = {"8x8": 37, "12x4": 9, "4x12": 1, "4x16": 0}
    assert {row["size"]: row["samples"] for row in found["buckets"]} == nums
    assert [row["share"] for row in found["buckets"]] == ["78.7%", "19.1%", "2.1%", "0.0%"]
    assert found["buckets"][2]["clusters"] == 1
    assert "no image is nearest to 4x16 in proportions" in err
    assert err.count("nearest to") == 1
    table, _ = invoke(tmp_path, *flags)
    assert "in 4 buckets" in table
