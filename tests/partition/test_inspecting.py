import io
import json
import re
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from atoll.__main__ import main
from atoll.config import Config
from partition.inspecting.cli import inspect
from partition.inspecting.findings import Thinned
from partition.stage import run_partition
from tests.partition.bucketed_run import BucketedRun
from tests.partition.tars import image, png, tar_members, write_tar

app = typer.Typer()
app.command()(inspect)


def invoke(*flags: str) -> tuple[str, str]:
    result = CliRunner().invoke(app, list(flags))
    assert result.exit_code == 0, result.output
    return result.stdout, result.stderr


def told(*flags: str) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(invoke(*flags, "--json")[0])
    return answer


@pytest.fixture
def tars(tmp_path: Path) -> Path:
    """Two tars: of eleven samples one is broken, one a copy, one nearly, and one wider."""
    members = tar_members(8)
    pixels = image()
    members["0003.png"] = b"broken"
    members["0004.png"] = png(pixels)
    members["0006.png"] = png(pixels)
    near = pixels.copy()
    near[2, 2] ^= 1
    members["0007.png"] = png(near)
    write_tar(tmp_path / "a.tar", members)
    write_tar(
        tmp_path / "b.tar",
        tar_members(2, first=8) | {"wide.png": png(image(6, 9)), "wide.cls": b"0"},
    )
    return tmp_path


def test_inspect_of_tars_counts_and_names_what_is_in_them(tars: Path) -> None:
    found = told(str(tars))
    assert found["samples"] == 10
    assert found["sizes"] == {"6x6": 9, "9x6": 1}
    assert found["labels"] == {"0": 4, "1": 3, "2": 3}
    assert found["captions"]["samples"] == 9
    assert found["captions"]["some"][0] == {"name": "a.tar/0000", "caption": "number 0"}
    assert [item["name"] for item in found["broken"]] == ["a.tar/0003"]
    assert found["same"] == [{"name": "a.tar/0006", "like": "a.tar/0004", "similarity": 1.0}]
    pairs = [{item["name"], item["like"]} for item in found["near"]]
    assert pairs in ([{"a.tar/0007", twin}] for twin in ("a.tar/0004", "a.tar/0006"))


def test_inspect_of_tars_for_a_person_says_the_same_in_a_table(tars: Path) -> None:
    table, _ = invoke(f"{tars}/a.tar")
    words = " ".join(table.split())
    assert "samples 7" in words
    assert "broken 1 a.tar/0003 (it is not an image of kind PNG, JPEG or WebP)" in words
    assert "a.tar/0006 = a.tar/0004" in words


def test_inspect_draws_samples_above_their_captions(tars: Path, tmp_path: Path) -> None:
    out = tmp_path / "montage.png"
    _, err = invoke(str(tars), "--montage", str(out))
    assert str(out) in err
    drawn = np.asarray(Image.open(out))
    # Ten in a square: four columns of 128 pixels, three rows of 128 and a line of text.
    gap = (128 + 18) // 16
    assert drawn.shape == (3 * (128 + 18 + gap) - gap, 4 * (128 + gap) - gap, 3)


def test_inspect_of_a_folder_takes_sub_folders_for_classes(tmp_path: Path) -> None:
    for name in ("cat/1.png", "cat/2.png", "dog/1.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(png(image()))
    (tmp_path / "dog" / "2.gif").write_bytes(b"")
    found = told(str(tmp_path))
    assert found["labels"] == {"cat": 2, "dog": 1}
    assert [item["name"] for item in found["broken"]] == [str(tmp_path / "dog" / "2.gif")]


@pytest.fixture
def run(tmp_path: Path) -> Config:
    config = Config.model_validate(
        {
            "run": {"uri": str(tmp_path / "run")},
            "partition": {"num_experts": 3, "num_fine": 8, "samples_per_shard": 300},
        }
    )
    run_partition(config, lambda *_: None)
    return config


def test_inspect_of_a_run_looks_at_its_shards_and_verifies_them(run: Config) -> None:
    flag = f"--set=run.uri={run.run.uri}"
    found = told(flag)
    assert found["samples"] == 1797
    assert found["sizes"] == {"8x8": 1797}
    assert found["labels"] == told(flag, "--source")["labels"]
    assert found["broken"] == []
    first, second, *_ = sorted(Path(run.run.uri).rglob("*.tar"))
    first.unlink()
    with second.open("r+b") as file:
        file.write(b"\1")
    broken = told(flag)
    assert broken["samples"] < 1797
    assert [item["name"] for item in broken["broken"]] == [
        path.relative_to(run.run.uri).as_posix() for path in (first, second)
    ]
    missing, damaged = (item["reason"] for item in broken["broken"])
    assert "is missing" in missing
    assert "is damaged" in damaged


def test_inspect_of_a_run_of_several_sizes_counts_each_in_shards_and_source(tmp_path: Path) -> None:
    run = BucketedRun.written(tmp_path)
    assert run.made.num_samples == 47
    shards = told(f"--set=run.uri={tmp_path}/run", "--montage", str(tmp_path / "montage.png"))
    assert shards["sizes"] == {"8x8": 37, "12x4": 9, "4x12": 1}
    assert shards["captions"]["samples"] == 47
    assert (shards["broken"], shards["same"]) == ([], [])
    assert told(str(tmp_path / "data"))["sizes"] == shards["sizes"]


def test_inspect_of_a_run_in_a_bucket_copies_a_shard_at_a_time(bucket: str) -> None:
    config = Config.model_validate(
        {"run": {"uri": f"{bucket}/run"}, "partition": {"num_experts": 2, "num_fine": 4}}
    )
    run_partition(config, lambda *_: None)
    assert told(f"--set=run.uri={bucket}/run")["samples"] == 1797


def test_inspect_of_a_run_names_samples_as_the_data_did(tmp_path: Path) -> None:
    for number in range(20):
        (tmp_path / "images").mkdir(exist_ok=True)
        (tmp_path / "images" / f"{number:02d}.png").write_bytes(png(image()))
        (tmp_path / "images" / f"{number:02d}.txt").write_text(f"number {number}")
    tree = {
        "run": {"uri": str(tmp_path / "run")},
        "data": {"source": "folder", "path": str(tmp_path / "images")},
        "expert": {"condition": "text"},
        "evaluation": {"extractor": {"transformers": "none"}},
        "partition": {"num_experts": 2, "num_fine": 4},
    }
    run_partition(Config.model_validate(tree), lambda *_: None)
    some = told(f"--set=run.uri={tmp_path}/run")["captions"]["some"]
    assert {item["name"]: item["caption"] for item in some} == {
        f"{number:02d}.png": f"number {number}" for number in range(20)
    }


def test_inspect_counts_two_broken_items_of_one_name_twice(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for name in ("1.png", "2.png", "1.png", "3.png"):
            data = png(image()) if name == "3.png" else b"bad"
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    names = [item["name"] for item in told(f"{tmp_path}/a.tar")["broken"]]
    assert names == ["a.tar/1", "a.tar/2", "a.tar/1"]


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        (
            "a.tar",
            b"<html></html>",
            "; .*a.tar: it is no tar, or cut off, or compressed in an unknown way",
        ),
        ("a.tar", b"", "; .*a.tar: it is no tar, or cut off, or compressed in an unknown way"),
        ("data/readme", b"x", ""),
    ],
)
def test_inspect_of_what_holds_no_sample_ends_with_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, content: bytes, why: str
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / name).write_bytes(content)
    path = tmp_path / name.partition("/")[0]
    with pytest.raises(SystemExit) as leaving:
        main(["inspect", str(path)])
    assert leaving.value.code == 2
    assert re.search(f"{path} holds no sample that can be read{why}\n", capsys.readouterr().err)


def test_inspect_of_arrays_of_other_names_takes_them_beside_the_path(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", x=np.stack([image()] * 3), y=np.arange(3))
    keys = ("--set=data.images=x", "--set=data.labels=y")
    assert told(str(tmp_path / "data.npz"), *keys)["labels"] == {"0": 1, "1": 1, "2": 1}


def test_inspect_of_a_path_passes_over_the_arrays_of_the_configurations_own_data(
    tars: Path, tmp_path: Path
) -> None:
    data = '[data]\nsource = "npz"\npath = "x.npz"\nimages = "x"\n'
    (tmp_path / "run.toml").write_text(data)
    assert told(str(tars), "--config", str(tmp_path / "run.toml"))["samples"] == 10


def test_inspect_of_what_is_not_there_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as leaving:
        main(["inspect", str(tmp_path / "none.tar")])
    assert leaving.value.code == 2
    assert "none.tar does not exist" in capsys.readouterr().err


def test_inspect_that_finds_nothing_to_draw_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "1.png").touch()
    with pytest.raises(SystemExit) as leaving:
        main(["inspect", str(tmp_path), "--montage", str(tmp_path / "montage.png")])
    assert leaving.value.code == 2
    assert "no sample that can be read" in capsys.readouterr().err


@pytest.mark.parametrize("num", [0, 1, 4, 5, 63, 1000])
def test_thinned_stream_keeps_a_few_in_order_and_always_the_same(num: int) -> None:
    kept = []
    for _ in range(2):
        thinned: Thinned[int] = Thinned(4)
        for number in range(num):
            thinned.add(number)
        kept.append(thinned.items)
    assert kept[0] == kept[1] == sorted(set(kept[0]))
    assert len(kept[0]) == min(num, 4)


def test_thinned_stream_of_kinds_that_take_turns_has_all_of_them() -> None:
    thinned: Thinned[int] = Thinned(64)
    for number in range(205):
        thinned.add(number % 4)
    assert {thinned.items.count(kind) > 8 for kind in range(4)} == {True}
