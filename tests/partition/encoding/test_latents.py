import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, AutoencoderTiny
from safetensors.torch import load_file, save_file

from atoll.blobs import open_store
from atoll.config import Config
from atoll.errors import BadInput, ConfigError
from atoll.jobs import job_specs
from atoll.node_cache import NodeCache
from atoll.types import Role
from experts.expert import expert_task
from experts.task import Place
from partition.batch import Batch
from partition.encoding.stage import run_encode, series_of
from partition.manifest import Latents
from partition.reader import ShardReader
from partition.stage import load_partition, run_partition
from tests.autoencoders import write_vae

Make = Callable[..., Any]


def read(config: Config, *, pixels: bool = False) -> Batch:
    """All samples, in the order of the run's seed."""
    store = open_store(config.run.uri)
    partition = load_partition(store)
    cache = NodeCache(Path(config.run.uri) / "cache")
    reader = ShardReader(store, partition, None, cache, config.run.seed, pixels=pixels)
    return reader.batch(0, partition.num_samples)


def encoded(config: Config, made: Any) -> Latents:
    run_encode(config, made, lambda *_: None)
    latents = load_partition(open_store(config.run.uri)).latents
    assert latents is not None
    return latents


def moments_of(vae: str, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and logarithm of the variance, as diffusers itself gives them."""
    x = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.no_grad():
        found = AutoencoderKL.from_pretrained(vae).eval().encode(x).latent_dist
    return found.mean.numpy(), found.logvar.numpy()


def test_moments_are_those_of_diffusers_to_sixteen_bits(partitioned: Make, vae: str) -> None:
    config, made = partitioned()
    latents = encoded(config, made)
    batch, images = read(config), read(config, pixels=True)
    assert np.array_equal(batch.labels, images.labels)
    assert np.array_equal(batch.indices, images.indices)
    expected = np.concatenate(moments_of(vae, images.images), axis=1)
    assert (batch.images.dtype, batch.images.shape) == (np.float16, (60, 8, 4, 4))
    np.testing.assert_allclose(batch.images, expected, rtol=2**-10, atol=1e-6)
    assert (latents.shape, latents.scale, latents.shift) == ((4, 4, 4), 0.18215, 0)
    mean, log_variance = np.split(expected, 2, axis=1)
    spread = np.sqrt((mean**2 + np.exp(log_variance)).mean() - mean.mean() ** 2)
    assert latents.std == pytest.approx(0.18215 * spread, rel=1e-4)


def test_samples_are_drawn_once_from_those_moments(partitioned: Make, vae: str) -> None:
    config, made = partitioned(kind="samples", scale=3.0, shift=0.5)
    latents = encoded(config, made)
    assert (latents.kind, latents.scale, latents.shift) == ("samples", 3.0, 0.5)
    images = read(config, pixels=True).images
    mean, log_variance = moments_of(vae, images)
    drawn = (read(config).images - mean) / np.exp(log_variance / 2)
    error = 1 / np.sqrt(drawn.size)
    assert abs(drawn.mean()) < 4 * error
    assert abs(drawn.var() - 1) < 4 * error * np.sqrt(2)
    assert np.abs(drawn[0] - drawn[1]).max() > 0.1  # no noise serves twice

    other, again = partitioned("other", kind="samples", batch_size=7)
    encoded(other, again)
    np.testing.assert_allclose(read(other).images, read(config).images, rtol=2**-9, atol=2e-3)


def test_autoencoder_that_draws_nothing_gives_samples_alone(
    partitioned: Make, settings: Make, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    model = AutoencoderTiny(
        encoder_block_out_channels=(8, 8),
        decoder_block_out_channels=(8, 8),
        num_encoder_blocks=(1, 1),
        num_decoder_blocks=(1, 1),
    )
    model.save_pretrained(tmp_path / "tiny")
    tiny = str(tmp_path / "tiny")
    with pytest.raises(BadInput, match=r'it has none; set latents\.kind to "samples"'):
        run_partition(settings(vae=tiny), lambda *_: None)
    config, made = partitioned(vae=tiny, kind="samples")
    assert encoded(config, made).shape == (4, 4, 4)
    x = torch.from_numpy(read(config, pixels=True).images).permute(0, 3, 1, 2) / 127.5 - 1
    with torch.no_grad():
        expected = model.eval().encode(x).latents
    np.testing.assert_allclose(read(config).images, expected, rtol=2**-10, atol=2e-4)


@pytest.mark.parametrize("kind", ["moments", "samples"])
def test_scale_that_nobody_tells_is_measured(
    partitioned: Make, vae: str, tmp_path: Path, kind: str
) -> None:
    write_vae(tmp_path / "vae", blocks=2)
    told = json.loads((tmp_path / "vae" / "config.json").read_text())
    del told["scaling_factor"]
    (tmp_path / "vae" / "config.json").write_text(json.dumps(told))
    config, made = partitioned(vae=str(tmp_path / "vae"), kind=kind)
    latents = encoded(config, made)
    mean, log_variance = moments_of(vae, read(config, pixels=True).images)
    spread = np.sqrt((mean**2 + np.exp(log_variance)).mean() - mean.mean() ** 2)
    if kind == "samples":
        spread = read(config).images.astype(np.float64).std()
    assert latents.scale * spread == pytest.approx(1, abs=1e-3)
    assert latents.std == pytest.approx(1)
    assert not latents.shift


@pytest.mark.parametrize("kind", ["moments", "samples"])
def test_flipped_data_hold_latents_of_both_an_image_and_its_mirror_image(
    settings: Make, vae: str, kind: str
) -> None:
    tree = settings(kind=kind).model_dump()
    config = Config.model_validate({**tree, "data": {**tree["data"], "flip": True}})
    latents = encoded(config, run_partition(config, lambda *_: None))
    assert latents.mirrored
    batch, images = read(config), read(config, pixels=True).images
    pair = [moments_of(vae, turned) for turned in (images, images[:, :, ::-1].copy())]
    if kind == "moments":
        expected = np.stack([np.concatenate(each, axis=1) for each in pair], axis=1)
        np.testing.assert_allclose(batch.images, expected, rtol=2**-10, atol=1e-6)
    else:
        assert batch.images.shape == (60, 2, 4, 4, 4)
        drawn = [
            (batch.images[:, at] - mean) / np.exp(log_variance / 2)
            for at, (mean, log_variance) in enumerate(pair)
        ]
        for each in drawn:
            assert abs(each.var() - 1) < 4 * np.sqrt(2 / each.size)
        assert np.abs(drawn[0] - drawn[1]).max() > 0.1  # each has a noise of its own

    store = open_store(config.run.uri)
    task = expert_task(config, job_specs(config, "", [Role.MONOLITH])[0], load_partition(store))
    first, turned = task.noising.clean(batch), torch.ones(60, dtype=torch.bool)
    assert torch.equal(first, task.noising.clean(batch, mirrored=~turned))
    channels = batch.images[:, 1, :4].astype(np.float32)  # of moments, the means
    mirrored = torch.from_numpy(channels) * latents.scale
    assert torch.equal(task.noising.clean(batch, mirrored=turned), mirrored)
    point, _ = task.noising.draw(batch, 1, 60, Place())
    assert point.x_t.shape == (60, 4, 4, 4)


def refused(settings: Make, tmp_path: Path, told: str, images: Any = None, **sections: Any) -> None:
    """Partitioning says so in one sentence, before it has begun."""
    tree = settings().model_dump()
    if images is not None:
        np.savez(tmp_path / "other.npz", images=images, labels=np.arange(len(images)) % 3)
        tree["data"]["path"] = str(tmp_path / "other.npz")
    for name, keys in sections.items():
        tree[name] |= keys
    with pytest.raises(BadInput, match=told) as error:
        run_partition(Config.model_validate(tree), lambda *_: None)
    assert "\n" not in str(error.value)
    assert not list((tmp_path / "run" / "partition").glob("*"))


def grey(side: int = 8) -> np.ndarray:
    return np.zeros((30, side, side, 1), np.uint8)


def test_images_of_other_channels_are_refused(settings: Make, tmp_path: Path) -> None:
    told = r"latents\.vae = .* takes images of 3 channels, and those of the data have 1; .* image"
    refused(settings, tmp_path, told, grey())


def test_size_that_the_factor_does_not_divide_is_refused(settings: Make, tmp_path: Path) -> None:
    images = np.zeros((30, 7, 7, 3), np.uint8)
    told = r"2 x 2 pixels, .* images of 7x7; set data\.size to a multiple of 2"
    refused(settings, tmp_path, told, images)


def test_patch_that_does_not_divide_the_latent_is_refused(settings: Make, tmp_path: Path) -> None:
    told = (
        r"expert\.patch = 8 does not divide latents of 4x4, 2 pixels to a side of each place; "
        r".* multiple of 16"
    )
    refused(settings, tmp_path, told, expert={"patch": 8})


def test_model_that_is_no_autoencoder_is_refused(settings: Make, tmp_path: Path) -> None:
    folder = Path(write_vae(tmp_path / "vae"))
    config = json.loads((folder / "config.json").read_text())
    for kind, told in {"UNet2DModel": "is a UNet2DModel", None: "is no model of diffusers"}.items():
        (folder / "config.json").write_text(json.dumps({**config, "_class_name": kind}))
        refused(settings, tmp_path, told, latents={"vae": str(folder)})


def test_autoencoder_of_other_images_out_than_in_is_refused(settings: Make, tmp_path: Path) -> None:
    folder = write_vae(tmp_path / "vae", out_channels=1)
    told = r"gives images of 1 channels, and takes those of 3; choose another autoencoder"
    refused(settings, tmp_path, told, latents={"vae": folder})


@pytest.mark.parametrize(
    ("key", "value"), [("norm_num_groups", 3), ("block_out_channels", 8), ("norm_num_groups", 0)]
)
def test_autoencoder_whose_config_describes_none_is_refused(
    settings: Make, tmp_path: Path, key: str, value: int
) -> None:
    folder = Path(write_vae(tmp_path / "vae"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, key: value}))
    told = r"latents\.vae = .* has a config\.json that describes no model \("
    refused(settings, tmp_path, told, latents={"vae": str(folder)})


def test_missing_library_names_its_extra(
    settings: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "diffusers", None)
    refused(settings, tmp_path, r"run `pip install 'atoll\[latents\]'`")


def test_weights_that_are_cut_off_are_refused_before_the_images_are_read(
    partitioned: Make, tmp_path: Path
) -> None:
    folder = Path(write_vae(tmp_path / "vae", blocks=2))
    weights = next(folder.glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(BadInput, match=r"^latents\.vae = .* that is cut off or no file .*; fetch"):
        partitioned(vae=str(folder))


def test_autoencoder_whose_file_lacks_weights_is_refused_before_the_images_are_read(
    partitioned: Make, tmp_path: Path
) -> None:
    folder = Path(write_vae(tmp_path / "vae"))
    path = next(folder.glob("*.safetensors"))
    weights = load_file(path)
    del weights["decoder.conv_in.bias"]
    save_file(weights, path, {"format": "pt"})
    with pytest.raises(BadInput, match=r"lack decoder\.conv_in\.bias\); give latents\.vae one"):
        partitioned(vae=str(folder))


def test_numbers_that_sixteen_bits_cannot_hold_are_refused_by_sample(
    partitioned: Make, tmp_path: Path
) -> None:
    folder = write_vae(tmp_path / "vae", blocks=2)
    model = AutoencoderKL.from_pretrained(folder)
    with torch.no_grad():
        model.quant_conv.bias.fill_(1e6)
    model.save_pretrained(folder)
    config, made = partitioned(vae=folder)
    with pytest.raises(BadInput, match=r'16 bits cannot hold.* set latents\.precision to "fp32"'):
        encoded(config, made)


@pytest.mark.parametrize(
    ("sections", "told"),
    [
        ({"latents": {"scale": 0.0}}, r"latents\.scale.*is 0, and latents are multiplied by it"),
        ({"latents": {"scale": "own"}}, r"latents\.scale"),
        ({"expert": {"frames": 2}}, r"expert\.frames = 2, and latents\.vae would blur"),
        ({"sampling": {"gate": "centroid"}}, r'sampling\.gate = "centroid" compares noised pixels'),
    ],
)
def test_settings_that_latents_cannot_have_are_refused_by_key(
    vae: str, sections: dict[str, Any], told: str
) -> None:
    from atoll.config_file import parse_config

    tree = {"latents": {"vae": vae}, **{k: v for k, v in sections.items() if k != "latents"}}
    tree["latents"] = {"vae": vae, **sections.get("latents", {})}
    with pytest.raises(ConfigError, match=told):
        parse_config(tree, "atoll.toml")


def test_plan_of_a_series_can_be_sent_to_other_processes(partitioned: Make) -> None:
    import pickle

    config, made = partitioned()
    (series,) = series_of(config, made)
    assert pickle.loads(pickle.dumps(series)) == series  # noqa: S301 - its own


def test_scales_that_differ_in_the_last_place_are_of_other_spaces() -> None:
    one = Latents("m" * 64, "moments", (4, 4, 4), 0.18215, 0.0, mirrored=False, std=1.0, shards=())
    assert dataclasses.replace(one, scale=0.18215000001).space != one.space
    assert dataclasses.replace(one, scale=1, shift=0).space.name.endswith(":1.0:0.0")
