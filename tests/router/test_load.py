"""A run's stages give an ensemble, or a sentence that says what is missing or does not fit."""

import json

import pytest
import torch

from atoll import layout, stages
from atoll.errors import CheckpointDamaged, CheckpointMismatch, StageMissing
from atoll.sections import SamplingSection
from atoll.types import Role
from experts.converted import Converted
from experts.dit import DiT
from router.centroid import CentroidGate
from router.gate import LearnedGate, PriorGate
from router.load import load_ensemble
from router.sampling import Wanted
from tests.trained_run import SETTINGS, run_below, train_run

CPU = torch.device("cpu")


def loaded_from(run, **sampling):
    config = run.config.model_copy(update={"sampling": SamplingSection(**sampling)})
    return load_ensemble(run.store, config, run.folder / "cache", CPU)


def test_loaded_ensemble_has_every_expert_and_draws_images(trained):
    loaded = loaded_from(trained)

    assert list(loaded.checkpoints) == ["expert-0", "expert-1", "router"]
    assert loaded.conditioning.name == "class:10"
    assert not any(parameter.requires_grad for parameter in loaded.router.parameters())
    images = loaded.sampler("top-2").draw(
        Wanted(range(3), torch.arange(3)), SamplingSection(steps=2)
    )
    assert images.shape == (3, 8, 8, 1)


def test_experts_that_learned_to_tell_different_things_are_drawn_from_together(tmp_path):
    training = {**SETTINGS["training"], "steps": 1, "objectives": ["epsilon", "velocity"]}
    train_run(tmp_path, training=training)
    loaded = loaded_from(run_below(tmp_path, training=training))

    first, second = loaded.experts
    assert (type(first), type(second)) == (Converted, DiT)
    images = loaded.sampler("full").draw(
        Wanted(range(3), torch.arange(3)), SamplingSection(steps=2)
    )
    assert images.shape == (3, 8, 8, 1)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("learned", LearnedGate),
        ("centroid", CentroidGate),
        ("prior", PriorGate),
        ("uniform", PriorGate),
    ],
)
def test_gate_is_the_one_the_configuration_asks_for(trained, name, kind):
    loaded = loaded_from(trained, gate=name)

    p = loaded.gate(torch.randn(4, 1, 8, 8), torch.rand(4), torch.arange(4))

    assert isinstance(loaded.gate, kind)
    assert (loaded.router is not None) == (name == "learned")
    torch.testing.assert_close(p.sum(1), torch.ones(4))


@pytest.mark.parametrize(
    ("stage", "command"),
    [("partition", "atoll partition"), ("train", "atoll train"), ("route", "atoll route")],
)
def test_missing_stage_is_named_with_its_command(trained, stage, command):
    (trained.folder / "run" / layout.stage_manifest(stage)).unlink()

    with pytest.raises(StageMissing, match=f"`atoll sample` builds on .* run `{command}`"):
        loaded_from(trained)


def test_gate_without_a_router_does_not_need_the_route_stage(trained):
    (trained.folder / "run" / layout.stage_manifest("route")).unlink()

    assert loaded_from(trained, gate="prior").router is None


def test_damaged_router_is_refused(trained):
    key = stages.require(trained.store, "route", "sample")["router"]["key"]
    weights = trained.folder / "run" / key / "ema.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")

    with pytest.raises(CheckpointDamaged, match=r"checkpoint at step \d+: .*checkpoints/router"):
        loaded_from(trained)


def test_experts_that_do_not_fit_together_are_refused_by_name(trained):
    other = trained.config.model_copy(
        update={"expert": trained.config.expert.model_copy(update={"condition": "none"})}
    )
    stranger = type(trained)(other, trained.folder)
    train = stages.require(trained.store, "train", "sample")
    train["expert-1"] = as_json(stranger.train(stranger.spec(Role.EXPERT, 1), epoch=2))
    stages.finish(trained.store, "train", {}, train)

    with pytest.raises(CheckpointMismatch, match=r"do not fit together: condition is 'class:10'"):
        loaded_from(trained)


def test_experts_of_another_partition_are_refused(trained):
    path = trained.folder / "run" / layout.stage_manifest("partition")
    manifest = json.loads(path.read_text())
    manifest["result"]["digest"] = "0" * 64
    path.write_text(json.dumps(manifest))

    with pytest.raises(CheckpointMismatch, match="another partition"):
        loaded_from(trained)


def test_router_stopped_and_continued_is_the_router_never_stopped(trained):
    spec, steps = trained.spec(Role.ROUTER), iter([False, False, True])
    begun = trained.train(spec, epoch=2, drain=lambda: next(steps))
    continued = trained.train(spec, epoch=3, checkpoint=begun)
    whole = stages.require(trained.store, "route", "sample")["router"]

    def averaged(key):
        return trained.store.get_bytes(f"{key}/ema.safetensors")

    assert begun.step == 3
    assert continued.step == whole["step"] == 6
    assert averaged(continued.key) == averaged(whole["key"])


def as_json(ref):
    return {"key": ref.key, "digest": ref.digest, "step": ref.step, "epoch": ref.epoch}
