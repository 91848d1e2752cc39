"""Latents and vectors of captions beside images of several sizes."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from atoll.errors import BadInput
from orchestrator.cli.training import train
from partition.batch import Batch
from partition.encoding.stage import run_encode
from partition.reader import ShardReader
from partition.stage import load_partition, run_partition
from partition.text_model import TextModel
from tests import text_models
from tests.partition.bucketed_run import BucketedRun, numbers
from tests.partition.encoding.conftest import quiet
from tests.partition.encoding.test_latents import moments_of

SIZE = 6  # of a batch


def encoded(run: BucketedRun) -> BucketedRun:
    run_encode(run.config, run_partition(run.config, quiet), quiet)
    assert run.made.latents or run.made.texts
    return run


@pytest.fixture
def written(tmp_path: Path, vae: str) -> Any:
    def make(latents: dict[str, Any], **keys: Any) -> BucketedRun:
        told = {"vae": vae, "workers": 1, "batch_size": 4, **latents}
        return BucketedRun.written(tmp_path, latents=told, **keys)

    return make


def batches(reader: ShardReader) -> Iterator[Batch]:
    return (reader.batch(step * SIZE, SIZE) for step in range(60))


def moments(run: BucketedRun, vae: str) -> list[np.ndarray]:
    """Of each image, as diffusers itself gives them."""
    found: dict[int, np.ndarray] = {}
    for shape in {image.shape for image in run.images}:
        same = [number for number, image in enumerate(run.images) if image.shape == shape]
        pair = moments_of(vae, np.stack([run.images[number] for number in same]))
        found |= dict(zip(same, np.concatenate(pair, axis=1), strict=True))
    return [found[number] for number in range(len(run.images))]


@pytest.mark.parametrize("flip", [False, True])
def test_moments_of_every_bucket_are_those_of_diffusers(written: Any, vae: str, flip: bool) -> None:
    run = encoded(written({}, data={"flip": flip}))
    assert run.made.shapes == ((4, 4, 4), (4, 2, 6), (4, 6, 2))
    assert run.made.latents
    for latents, tars in zip(run.made.latents.shards, run.made.shard_sets, strict=True):
        assert [shard.bucket for shard in latents] == [shard.bucket for shard in tars.shards]
    turned = dataclasses.replace(run, images=[image[:, ::-1].copy() for image in run.images])
    pair = list(zip(moments(run, vae), moments(turned, vae), strict=True))
    pixels, seen = run.reader(pixels=True), set()
    for step, batch in enumerate(batches(run.reader())):
        images = np.stack([run.images[number] for number in numbers(batch)])
        assert np.array_equal(pixels.batch(step * SIZE, SIZE).images, images)
        expected = [np.stack(pair[each]) if flip else pair[each][0] for each in numbers(batch)]
        np.testing.assert_allclose(batch.images, np.stack(expected), rtol=2**-10, atol=1e-6)
        seen.add(batch.images.shape[-2:])
    assert seen == {(4, 4), (2, 6), (6, 2)}


def test_samples_of_every_bucket_are_drawn_from_its_moments(written: Any, vae: str) -> None:
    run = encoded(written({"kind": "samples"}))
    wanted, noise = moments(run, vae), {}
    for batch in batches(run.reader()):
        for number, drawn in zip(numbers(batch), batch.images, strict=True):
            mean, log_variance = np.split(wanted[number], 2)
            noise[number] = (drawn - mean) / np.exp(log_variance / 2)
    assert len(noise) == 47
    every = np.concatenate([each.ravel() for each in noise.values()])
    error = 1 / np.sqrt(every.size)
    assert abs(every.mean()) < 4 * error
    assert abs(every.var() - 1) < 4 * error * np.sqrt(2)


def test_vectors_of_captions_lie_beside_their_images(tmp_path: Path) -> None:
    encoder = text_models.write_bert(tmp_path / "bert")
    told = {"encoder": {"transformers": encoder}, "tokens": 5, "workers": 1, "batch_size": 4}
    run = encoded(
        BucketedRun.written(
            tmp_path,
            captions=told,
            expert={"condition": "text"},
            data={"workers": 0},
        )
    )
    texts = run.made.texts
    assert texts
    model = TextModel(Path(encoder), texts.model, 5, torch.device("cpu"))
    for batch in batches(run.reader()):
        assert batch.captions
        assert batch.texts is not None
        np.testing.assert_allclose(batch.texts, model.encode(batch.captions), rtol=2e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        (
            {"data": {"buckets": ["8x8", "12x4", "14x7"]}},
            r"2 x 2 pixels, .* divide images of 14x7; set each side in data\.buckets to .* of 2",
        ),
        (
            {"data": {"buckets": ["8x8", "12x4", "12x6"]}},
            r"expert\.patch = 2 does not divide latents of 6x3, .* data\.buckets to .* of 4",
        ),
    ],
)
def test_bucket_that_does_not_fit_autoencoder_or_patch_is_refused_before_work(
    written: Any, tmp_path: Path, keys: dict[str, Any], told: str
) -> None:
    with pytest.raises(BadInput, match=told):
        run_partition(written({}, **keys).config, quiet)
    assert not list((tmp_path / "run" / "partition").glob("*"))


def test_patch_that_misses_one_bucket_is_refused_before_training(written: Any) -> None:
    run = encoded(written({}))
    assert load_partition(run.store).latents
    run.keys["expert"] = {"patch": 4}
    with pytest.raises(BadInput, match=r"expert\.patch = 4 does not divide latents of 6x2"):
        train(run.config, "train")
