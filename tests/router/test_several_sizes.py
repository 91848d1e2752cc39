"""A run whose images are of several sizes: trained, resumed, and drawn from at each of them."""

import json
from dataclasses import asdict

import numpy as np
import pytest
from PIL import Image

from atoll import stages
from atoll.__main__ import main
from atoll.config_file import save_config
from atoll.jobs import shaping_settings
from atoll.types import CheckpointRef, Role
from partition.encoding.stage import run_encode
from router.recipe import read_recipe
from tests.autoencoders import write_vae
from tests.experts.test_loop import After, assert_same, contents
from tests.partition.bucketed_run import BUCKETS, BucketedRun
from tests.trained_run import Run

SIZES = [f"{width}x{height}" for height, width in BUCKETS]
LEARNT = {
    "steps": 6,
    "batch_size": 12,
    "checkpoint_every_steps": 3,
    "held_out": 4,
    "held_out_every_steps": 2,
}
KEYS = {
    "training": {
        **LEARNT,
        "immiscible": 3,
        "route_tokens": 0.5,
        "route_after": 1,
        "route_before": 1,
    },
    "data": {"flip": True},
    "expert": {"depth": 3, "condition": "text"},
    "router": {"steps": 4, "batch_size": 12},
    "sampling": {"steps": 3, "guidance": 2.0},
    "evaluation": {"monolith": False, "strategies": ["top-1"], "extractor": {"transformers": "x"}},
}
LATENT_KEYS = {
    **KEYS,
    "training": LEARNT,
    "expert": {"preset": "MMDiT-T", "patch": 2, "condition": "text"},
}


def trained(folder, **keys):
    """Partition, encode, train and route, in this process."""
    data = BucketedRun.written(folder, **keys)
    run = Run(data.config, folder)
    run_encode(run.config, data.made, lambda *_: None)
    save_config(run.store, run.config)
    for stage, role, num in (("train", Role.EXPERT, 2), ("route", Role.ROUTER, 1)):
        specs = [run.spec(role, number) for number in range(num)]
        refs = {spec.name: asdict(run.train(spec)) for spec in specs}
        stages.finish(run.store, stage, shaping_settings(run.config, data.made.digest, role), refs)
    return data, run


@pytest.fixture(scope="module")
def pixels(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("pixels"), **KEYS)


@pytest.fixture(scope="module")
def latents(tmp_path_factory):
    folder = tmp_path_factory.mktemp("latents")
    vae = {"vae": write_vae(folder / "vae", blocks=2), "workers": 1}
    return trained(folder, **LATENT_KEYS, latents=vae)


@pytest.fixture(params=["pixels", "latents"])
def both(request):
    """The data and the run of either kind."""
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize("role", [Role.EXPERT, Role.ROUTER])
def test_training_on_several_sizes_interrupted_twice_equals_uninterrupted_to_the_bit(both, role):
    data, run = both
    stage, number, size = ("train", data.dark, 6) if role is Role.EXPERT else ("route", 0, 12)
    spec = run.spec(role, number)
    reader = data.reader([data.dark] if role is Role.EXPERT else [0, 1], held_out=4)
    seen = {reader.batch(step * size, size).images.shape[1:3] for step in range(spec.steps)}
    assert len(seen) > 1
    whole = CheckpointRef(**stages.require(run.store, stage, "test")[spec.name])

    first = run.train(spec, epoch=2, drain=After(1))
    second = run.train(spec, epoch=3, checkpoint=first, drain=After(2))
    last = run.train(spec, epoch=4, checkpoint=second)

    assert (first.step, second.step, last.step) == (1, 3, spec.steps)
    assert_same(run, whole, last)
    _, curve, _ = contents(run, last)
    assert np.isfinite([point[3] for point in curve if point[3] is not None]).all()


def drawn(run, capsys, *arguments):
    """What the command wrote: files of images."""
    with pytest.raises(SystemExit) as end:
        main(["sample", "--set", f"run.uri={run.uri}", "--json", *arguments])
    told = capsys.readouterr()
    assert not end.value.code, told.err
    return [row["image"] for row in json.loads(told.out)]


@pytest.mark.parametrize("size", SIZES)
def test_images_are_drawn_at_each_size_and_again_by_their_recipes(both, size, capsys, tmp_path):
    _, run = both
    asked = ("--size", size, "--prompt", "number 30", "-n", "2", "--seed", "4")

    images = drawn(run, capsys, *asked, "-o", str(tmp_path / "once"))

    recipes = [read_recipe(image) for image in images]
    assert {recipe.size for recipe in recipes} == {None if size == SIZES[0] else size}
    once = [np.asarray(Image.open(image)).astype(int) for image in images]
    width, height = map(int, size.split("x"))
    assert [image.shape for image in once] == [(height, width, 3)] * 2
    assert (once[0] != once[1]).any()
    (again,) = drawn(run, capsys, "--like", images[1], "-o", str(tmp_path / "again"))
    assert read_recipe(again) == recipes[1]
    assert abs(np.asarray(Image.open(again)) - once[1]).max() <= 1  # drawn in another batch
