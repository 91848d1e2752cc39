import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from atoll import layout
from atoll.blobs import open_store
from atoll.errors import BadInput, BlobDamaged, BlobMissing
from partition.model_files import ModelFiles, fetch_model, find_model, keep_model, kept_model

KEY, EXTRA = "latents.vae", "latents"


def write_model(folder: Path, value: float = 0.0) -> Path:
    (folder / "1_Pooling").mkdir(parents=True)
    (folder / "config.json").write_text('{"a": 1}')
    (folder / "1_Pooling" / "config.json").write_text('{"b": 2}')
    (folder / "README.md").write_text("for people")
    save_file({"weight": np.full(3, value, np.float32)}, folder / "model.safetensors")
    return folder


def found(folder: Path) -> ModelFiles:
    return find_model(str(folder), KEY, EXTRA)


def test_digest_follows_names_and_contents_and_nothing_else(tmp_path: Path) -> None:
    one, other = found(write_model(tmp_path / "one")), found(write_model(tmp_path / "other"))
    assert sorted(one.files) == ["1_Pooling/config.json", "config.json", "model.safetensors"]
    assert one.digest == other.digest
    (tmp_path / "one" / "README.md").write_text("for other people")
    assert found(tmp_path / "one").digest == other.digest
    assert found(write_model(tmp_path / "third", 1.0)).digest != other.digest
    pooling = tmp_path / "one" / "1_Pooling"
    (pooling / "config.json").rename(pooling / "other.json")
    assert found(tmp_path / "one").digest != other.digest


@pytest.mark.parametrize("place", ["folder", "s3"])
def test_model_kept_in_a_run_comes_back_in_the_same_bytes(
    tmp_path: Path, place: str, request: pytest.FixtureRequest
) -> None:
    uri = str(tmp_path / "run") if place == "folder" else request.getfixturevalue("bucket")
    model = found(write_model(tmp_path / "model"))
    digest = keep_model(open_store(uri), model)
    assert digest == keep_model(open_store(uri), model) == model.digest
    for _ in range(2):
        folder = fetch_model(open_store(uri), digest, tmp_path / "cache")
        assert ModelFiles(folder, found(folder).files).digest == digest
        assert not (folder / "README.md").exists()


def test_model_of_a_run_that_was_moved_is_found_where_it_is(tmp_path: Path) -> None:
    digest = keep_model(open_store(str(tmp_path / "run")), found(write_model(tmp_path / "model")))
    fetch_model(open_store(str(tmp_path / "run")), digest, tmp_path / "cache")
    (tmp_path / "run").rename(tmp_path / "moved")
    folder = fetch_model(open_store(str(tmp_path / "moved")), digest, tmp_path / "cache")
    assert found(folder).digest == digest


def test_model_that_was_written_to_is_refused(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "run"))
    digest = keep_model(store, found(write_model(tmp_path / "model")))
    with (tmp_path / "run" / layout.model_file(digest, "config.json")).open("a") as file:
        file.write(" ")
    with pytest.raises(BlobDamaged, match=r"config\.json"):
        fetch_model(store, digest, tmp_path / "cache")
    store.publish(layout.model_manifest(digest), json.dumps({"config.json": "0" * 64}).encode())
    with pytest.raises(BlobDamaged, match=r"models/\w+\.json is damaged"):
        fetch_model(store, digest, tmp_path / "cache")
    with pytest.raises(BlobMissing):
        fetch_model(store, "0" * 64, tmp_path / "cache")


@pytest.mark.parametrize(
    "name", ["../../../x", "/x", "..", "1_a/..", "1_a/b/c", "a/b", "1_a/../../x", "..\\x", ""]
)
def test_manifest_that_names_files_of_other_folders_is_refused(tmp_path: Path, name: str) -> None:
    store, files = open_store(str(tmp_path / "run")), {name: "0" * 64}
    digest = ModelFiles(tmp_path, files).digest
    store.publish(layout.model_manifest(digest), json.dumps(files).encode())
    with pytest.raises(BlobDamaged, match=r"which is no file of a model's own folder"):
        fetch_model(store, digest, tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_name_stands_for_what_it_stood_for_where_its_folder_is_not(tmp_path: Path) -> None:
    store, folder = open_store(str(tmp_path / "run")), write_model(tmp_path / "model")
    digest = kept_model(store, str(folder), KEY, EXTRA)
    folder.rename(tmp_path / "elsewhere")
    assert kept_model(store, str(folder), KEY, EXTRA) == digest
    other = found(write_model(folder, 1.0)).digest
    assert kept_model(store, str(folder), KEY, EXTRA) == other != digest


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("/no/such/folder", "is no folder here, nor an id of the hub; give either"),
        ("a--b", "is no folder here, nor an id of the hub; give either"),
        ("owner/model", r"cannot be had from the hub \(.*\); give a folder with config.json"),
        ("pickled", "has no weights but pytorch_model.bin, a pickle, which could run code"),
        ("bare", "has no weights; give a model with safetensors"),
        (
            "pipeline",
            "has no config.json; give the folder of one model: of a pipeline, the one inside",
        ),
    ],
)
def test_model_that_cannot_be_had_is_refused_by_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, told: str
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.chdir(tmp_path)
    for each in ("pickled", "bare", "pipeline"):
        Path(each).mkdir()
        Path(each, "model_index.json" if each == "pipeline" else "config.json").write_text("{}")
    Path("pickled/pytorch_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(BadInput, match=rf"^latents\.vae = '{name}' .*{told}"):
        find_model(name, KEY, EXTRA)


@pytest.mark.parametrize("told", ["{", "[]", "[" * 100_000])
def test_model_whose_configuration_cannot_be_read_is_refused(tmp_path: Path, told: str) -> None:
    folder = write_model(tmp_path / "model")
    (folder / "config.json").write_text(told)
    with pytest.raises(BadInput, match=r"^latents\.vae = '.*' has a config\.json that .* again$"):
        found(folder)


def test_model_in_a_numbered_folder_alone_is_refused(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model" / "0_Transformer").parent
    (folder / "modules.json").write_text("[]")
    with pytest.raises(BadInput, match=r"has no config\.json; give the folder of one model"):
        found(folder)


def test_hub_without_its_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    with pytest.raises(BadInput, match=r"pip install 'atoll\[latents\]'"):
        find_model("owner/model", KEY, EXTRA)
