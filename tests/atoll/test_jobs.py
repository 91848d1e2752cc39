from __future__ import annotations

import re
from pathlib import Path

import pytest

from atoll import stages
from atoll.blobs import open_store
from atoll.config_file import read_config
from atoll.errors import BadInput
from atoll.jobs import job_specs, shaping_settings
from atoll.types import Role

ALL = (Role.EXPERT, Role.MONOLITH, Role.ROUTER)


def digests(*overrides: str, partition: str = "p") -> dict[str, str]:
    config = read_config(None, ["partition.num_experts=3", *overrides])
    return {spec.name: spec.digest for spec in job_specs(config, partition, ALL)}


def test_job_specs_name_every_job_once_with_its_steps():
    config = read_config(None, ["partition.num_experts=2", "training.steps=7", "router.steps=9"])
    specs = job_specs(config, "p", ALL)
    assert [(spec.name, spec.role, spec.index, spec.steps) for spec in specs] == [
        ("expert-0", Role.EXPERT, 0, 7),
        ("expert-1", Role.EXPERT, 1, 7),
        ("monolith", Role.MONOLITH, 0, 7),
        ("router", Role.ROUTER, 0, 9),
    ]
    # Whoever reads it works in another folder.
    assert {spec.run_uri for spec in specs} == {str(Path("runs/digits").absolute())}


TEXT = ["data.source=folder", "data.path=x", "expert.condition=text"]


@pytest.mark.parametrize(
    ("before", "now", "told"),
    [
        (["data.flip=true"], [], "data.flip = True, and the configuration now says False"),
        ([], ["data.flip=true"], "data.flip = False, and the configuration now says True"),
        (["latents.vae=a"], [], "latents.vae = 'a', and the configuration now says None"),
        (TEXT, TEXT[:2], "expert.condition = 'text', and the configuration now says 'class'"),
    ],
)
def test_shaping_settings_that_differ_are_told_by_the_value_of_each(tmp_path, before, now, told):
    store = open_store(str(tmp_path))
    made, wanted = (
        shaping_settings(read_config(None, overrides), "p", Role.EXPERT)
        for overrides in (before, now)
    )
    stages.finish(store, "train", made, {})
    with pytest.raises(BadInput, match=re.escape(f"this run was made with {told}; give new")):
        stages.finished(store, "train", wanted)


def test_job_digests_differ_between_jobs():
    assert len(set(digests().values())) == 5


@pytest.mark.parametrize(
    "cadence",
    [
        "training.steps=5000",
        "router.steps=5000",
        "training.checkpoint_every_steps=1",
        "training.log_every_steps=1",
        "training.grid_every_steps=1",
        ("training.held_out=8", "training.held_out_every_steps=1"),
        "training.board=none",
        "island.count=9",
        "sampling.steps=3",
        "run.uri=elsewhere",
    ],
)
def test_job_digests_stay_when_the_weights_do(cadence):
    *shaping, last = (cadence,) if isinstance(cadence, str) else cadence
    assert digests(*shaping, last) == digests(*shaping)


@pytest.mark.parametrize(
    "shaping",
    [
        "run.seed=1",
        "expert.width=128",
        "training.held_out=8",
        "training.compile=true",
        "training.schedule=linear",
    ],
)
def test_job_digests_change_when_the_weights_would(shaping):
    before, after = digests(), digests(shaping)
    assert not set(before.values()) & set(after.values())


@pytest.mark.parametrize(
    "recipe",
    [
        'training.objectives=["epsilon","velocity"]',
        ("training.objective=v", "training.noise_schedule=cosine"),
        "training.min_snr=5",
        "training.times=logit-normal",
        "training.immiscible=8",
        "training.perturb_condition=1",
        "training.route_tokens=0.5",
        "training.align=0.5",
        "training.ema_profile=power",
        "training.share=proportional",
        "training.batch_size=64",
        "training.learning_rate=1e-4",
        "training.ema_decay=0.5",
    ],
)
def test_what_is_of_experts_alone_leaves_the_router_as_it_is(recipe):
    deep = "expert.depth=8"
    keys = (recipe,) if isinstance(recipe, str) else recipe
    before, after = digests(deep), digests(deep, *keys)
    assert [job for job in before if after[job] == before[job]] == ["router"]


def test_job_digests_change_with_the_partition():
    assert not set(digests().values()) & set(digests(partition="q").values())


def test_job_digests_of_experts_do_not_know_the_router():
    before, after = digests(), digests("router.width=128")
    assert before.pop("router") != after.pop("router")
    assert before == after


def test_job_digests_change_with_the_steps_that_a_learning_rate_decays_over():
    decays = "training.schedule=cosine"
    before = digests(decays)
    experts, router = digests(decays, "training.steps=2000"), digests(decays, "router.steps=600")
    assert [job for job in before if experts[job] == before[job]] == ["router"]
    assert [job for job in before if router[job] != before[job]] == ["router"]
