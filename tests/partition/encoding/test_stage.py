import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from atoll import layout, stages
from atoll.__main__ import main
from atoll.blobs import open_store
from atoll.config_file import save_config
from atoll.encoded import inputs_of, refuse_unencoded, stage_of
from atoll.errors import BadInput, StageMissing
from orchestrator.cli.training import train
from partition.encoding import stage
from partition.encoding.stage import is_encoded, run_encode, series_of
from partition.manifest import Latents
from partition.stage import load_partition, run_partition
from tests.autoencoders import write_vae

Make = Callable[..., Any]


def encode(config: Any, made: Any) -> Latents:
    run_encode(config, made, lambda *_: None)
    found = load_partition(open_store(config.run.uri)).latents
    assert found is not None
    return found


def digests(latents: Latents) -> list[list[str]]:
    return [[shard.digest for shard in shards] for shards in latents.shards]


def test_every_tar_of_images_gets_one_beside_it(partitioned: Make) -> None:
    config, made = partitioned()
    latents = encode(config, made)
    assert [[shard.num_samples for shard in each.shards] for each in made.shard_sets] == [
        [shard.num_samples for shard in shards] for shards in latents.shards
    ]
    for shard in (shard for shards in latents.shards for shard in shards):
        path = Path(config.run.uri) / shard.key
        assert path.stat().st_size == shard.size_bytes


def test_encoding_that_was_killed_goes_on_to_the_same_bytes(
    partitioned: Make, killed: Callable[[Callable[[], object]], list[Any]]
) -> None:
    whole = digests(encode(*partitioned("whole")))
    config, made = partitioned("killed")
    done = killed(lambda: encode(config, made))
    assert not is_encoded(config, made)
    assert digests(encode(config, made)) == whole
    assert len(done) == sum(map(len, whole))  # none a second time
    assert is_encoded(config, made)
    encode(config, made)
    assert len(done) == sum(map(len, whole))


def test_several_processes_make_the_bytes_of_one(partitioned: Make) -> None:
    one, two = encode(*partitioned("one")), encode(*partitioned("two", workers=2))
    assert one == two


def test_tar_that_is_gone_is_made_again(partitioned: Make) -> None:
    config, made = partitioned()
    latents = encode(config, made)
    gone = latents.shards[0][0].key
    (Path(config.run.uri) / gone).unlink()
    assert not is_encoded(config, made)
    assert encode(config, made) == latents
    assert is_encoded(config, made)


def test_machine_without_the_model_takes_what_others_have_done_and_no_more(
    partitioned: Make, tmp_path: Path
) -> None:
    config, made = partitioned(vae=write_vae(tmp_path / "vae", blocks=2))
    latents = encode(config, made)
    (tmp_path / "run" / layout.stage_manifest(stage_of("latents", made.digest))).unlink()
    gone = latents.shards[0][0].key
    (tmp_path / "run" / gone).unlink()
    (tmp_path / "vae").rename(tmp_path / "elsewhere")
    kept = sorted((tmp_path / "run" / gone).parent.glob("*.json"))
    before = [path.stat().st_mtime_ns for path in kept]
    assert encode(config, made) == latents
    after = [path.stat().st_mtime_ns for path in kept]
    assert sum(old != new for old, new in zip(before, after, strict=True)) == 1


def files_below(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_changed_encoder_is_refused_by_key_and_nothing_is_changed(
    partitioned: Make, tmp_path: Path
) -> None:
    vae = write_vae(tmp_path / "vae", blocks=2)
    config, made = partitioned(vae=vae)
    encode(config, made)
    models = files_below(tmp_path / "run" / "models")
    (tmp_path / "vae").rename(tmp_path / "first")
    write_vae(tmp_path / "vae", blocks=2, seed=1)
    words = (
        r"made with latents\.vae = other files of '.*/vae' \(\w+\.safetensors\); give .* put back"
    )
    with pytest.raises(BadInput, match=words):
        encode(config, made)
    assert files_below(tmp_path / "run" / "models") == models
    shutil.rmtree(tmp_path / "vae")
    refuse_unencoded(open_store(config.run.uri), config, made.digest, "train")
    (tmp_path / "first").rename(tmp_path / "vae")
    encode(config, made)


def test_model_of_another_name_that_is_refused_is_not_kept(
    partitioned: Make, tmp_path: Path
) -> None:
    config, made = partitioned(vae=write_vae(tmp_path / "vae", blocks=2))
    encode(config, made)
    models = files_below(tmp_path / "run" / "models")
    other = write_vae(tmp_path / "other", blocks=2, seed=1)
    latents = config.latents.model_copy(update={"vae": other})
    words = r"made with latents\.vae = '.*/vae', and the configuration now says '.*/other'"
    with pytest.raises(BadInput, match=words):
        encode(config.model_copy(update={"latents": latents}), made)
    assert files_below(tmp_path / "run" / "models") == models


def test_run_that_is_not_encoded_as_wanted_names_command_or_key(partitioned: Make) -> None:
    config, made = partitioned()
    store = open_store(config.run.uri)
    with pytest.raises(
        StageMissing, match=r"`atoll train` .* latents\.vae .* `atoll encode` first"
    ):
        refuse_unencoded(store, config, made.digest, "train")
    encode(config, made)
    refuse_unencoded(store, config, made.digest, "train")
    pixels = config.model_copy(update={"latents": config.latents.model_copy(update={"vae": None})})
    with pytest.raises(BadInput, match=r"has no latents\.vae now; set it back"):
        refuse_unencoded(store, pixels, made.digest, "train")


@pytest.mark.parametrize(
    ("key", "value"), [("scale", 2.0), ("shift", 1.0), ("kind", "samples"), ("precision", "bf16")]
)
def test_training_on_what_other_settings_encode_is_refused_by_key(
    partitioned: Make, key: str, value: Any
) -> None:
    config, made = partitioned()
    encode(config, made)
    other = config.latents.model_copy(update={key: value})
    told = rf"made with latents\.{key} = .*, and the configuration now says {value!r}; give"
    with pytest.raises(BadInput, match=told):
        train(config.model_copy(update={"latents": other}), "train")


def test_training_on_what_another_encoder_makes_is_refused_by_key(
    partitioned: Make, tmp_path: Path
) -> None:
    config, made = partitioned()
    encode(config, made)
    vae = write_vae(tmp_path / "vae", blocks=2, seed=1)
    other = config.latents.model_copy(update={"vae": vae})
    words = (
        f"made with latents.vae = {config.latents.vae!r}, and the configuration now says {vae!r}"
    )
    with pytest.raises(BadInput, match=words):
        train(config.model_copy(update={"latents": other}), "route")


def test_partition_that_was_made_anew_is_encoded_anew(partitioned: Make) -> None:
    config, made = partitioned()
    latents, store = encode(config, made), open_store(config.run.uri)
    fewer = dataclasses.replace(made.shard_sets[0], shards=made.shard_sets[0].shards[1:])
    other = dataclasses.replace(made, digest="0" * 64, shard_sets=(fewer, *made.shard_sets[1:]))
    stages.finish(store, "partition", {}, other.as_json())
    assert load_partition(store).latents is None
    with pytest.raises(StageMissing, match="`atoll encode` first"):
        refuse_unencoded(store, config, other.digest, "train")
    assert encode(config, other).shards == (latents.shards[0][1:], *latents.shards[1:])


@pytest.mark.parametrize("differs", [False, True])
def test_machine_that_is_done_second_keeps_what_the_first_has_recorded(
    partitioned: Make, monkeypatch: pytest.MonkeyPatch, differs: bool
) -> None:
    config, made = partitioned()
    store, encoded = open_store(config.run.uri), stage.encoded
    stage_name = stage_of("latents", made.digest)
    model = series_of(config, made)[0].model
    first = Latents(model, "moments", (4, 4, 4), 3.0, 0.0, mirrored=False, std=1.0, shards=())

    def meanwhile(*given: Any) -> Any:
        yield from encoded(*given)
        inputs = inputs_of(config, "latents", model)
        inputs["latents"]["scale"] = 3.0 if differs else None
        stages.finish(store, stage_name, inputs, dataclasses.asdict(first))

    monkeypatch.setattr(stage, "encoded", meanwhile)
    if differs:
        with pytest.raises(BadInput, match=r"made with latents\.scale = 3\.0"):
            encode(config, made)
    else:
        assert encode(config, made) == first


def test_what_bytes_follow_from_is_in_their_place(partitioned: Make) -> None:
    config, made = partitioned()
    found = {}
    for key, value in {
        "kind": "samples",
        "precision": "bf16",
        "scale": 2.0,
        "batch_size": 7,
    }.items():
        other = config.model_copy(
            update={"latents": config.latents.model_copy(update={key: value})}
        )
        found[key] = series_of(other, made)[0].digest != series_of(config, made)[0].digest
    assert found == {"kind": True, "precision": True, "scale": False, "batch_size": False}


def test_encode_command_helps_says_what_is_done_and_wants_something_to_do(
    partitioned: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    config, made = partitioned()
    save_config(open_store(config.run.uri), config)
    here = ["encode", "--set", f"run.uri={config.run.uri}"]

    def ended(*flags: str) -> tuple[Any, str]:
        with pytest.raises(SystemExit) as end:
            main([*here, *flags])
        return end.value.code, capsys.readouterr().err

    assert not ended()[0]
    assert is_encoded(config, made)
    assert "already encoded: " in ended()[1]
    code, told = ended("--set", "data.size=16")
    assert code == 2
    assert "this run was made with data.size = None, and the configuration now says 16" in told
    nothing = config.latents.model_copy(update={"vae": None})
    save_config(open_store(config.run.uri), config.model_copy(update={"latents": nothing}))
    code, told = ended()
    assert code == 2
    assert "asks for nothing to be encoded; give the file" in told


def test_run_in_a_bucket_is_encoded_into_the_bytes_of_one_in_a_folder(
    partitioned: Make,
    settings: Make,
    bucket: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)  # where copies of a bucket's shards go
    here = settings()
    there = here.model_copy(update={"run": here.run.model_copy(update={"uri": f"{bucket}/run"})})
    made = run_partition(there, lambda *_: None)
    assert encode(there, made) == encode(*partitioned())
    assert is_encoded(there, made)
