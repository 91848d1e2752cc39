"""The real images of a run whose images are of several sizes."""

from pathlib import Path

import pytest
import torch

from atoll.errors import BadInput
from evaluation import real
from evaluation.real import read_real
from experts.condition import Conditioning
from partition.encoding.stage import run_encode
from partition.stage import run_partition
from tests.autoencoders import write_vae
from tests.partition.bucketed_run import BucketedRun
from tests.partition.encoding.test_latents import moments_of

NOTHING = Conditioning("none", 0)


def test_real_images_are_those_of_the_first_bucket_and_latents_are_theirs(tmp_path: Path) -> None:
    vae = write_vae(tmp_path / "vae", blocks=2)
    run = BucketedRun.written(tmp_path, latents={"vae": vae, "workers": 1})
    run_encode(run.config, run_partition(run.config, lambda *_: None), lambda *_: None)
    found = read_real(run.config, run.store, run.made, NOTHING)
    wanted = {image.tobytes() for image in run.images if image.shape == (8, 8, 3)}
    assert len(found) == len(wanted) == 37
    assert {image.tobytes() for image in found.images} == wanted
    assert found.num_clusters == 2
    assert (found.images.mean((1, 2, 3)) < 128).tolist() == (found.clusters == run.dark).tolist()
    assert run.made.latents
    means = torch.from_numpy(moments_of(vae, found.images)[0]) * run.made.latents.scale
    torch.testing.assert_close(found.seen(slice(None)), means, rtol=2**-10, atol=1e-5)


def test_too_few_real_images_of_the_first_bucket_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(real, "_LEAST", 38)
    run = BucketedRun.written(tmp_path)
    told = r"hold 37 images of 8x8, first of data\.buckets, and an evaluation needs at least 38"
    with pytest.raises(BadInput, match=told):
        read_real(run.config, run.store, run.made, NOTHING)
