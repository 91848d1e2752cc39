"""The published run, from first principles."""

from __future__ import annotations

import pytest

from atoll.config_file import read_config
from atoll.errors import BadInput, ConfigError
from orchestrator.planning.hardware import gpu_named
from orchestrator.planning.means import Means
from orchestrator.planning.models import model_named
from orchestrator.planning.plan import Plan, plan_run
from orchestrator.planning.subject import Data, Subject, subject_of

DDM = model_named("ddm-3b")


def planned(*settings: str, gpu: str = "H100", num_gpus: int = 8, mfu: float | None = None) -> Plan:
    config = read_config(None, [*DDM.settings, *settings])
    subject = Subject(DDM.expert, DDM.router, None, ())
    return plan_run(config, subject, Means(gpu_named(gpu), num_gpus, mfu))


def days(plan: Plan) -> float:
    return plan.planned[0].hours / 24


def test_the_papers_large_model_takes_about_as_long_as_published():
    plan = planned()
    expert = plan.planned[0].part
    assert (expert.count, expert.steps) == (8, 1_000_000)
    assert expert.network.parameters == pytest.approx(3e9, rel=0.05)
    assert days(plan) == pytest.approx(6.5, rel=0.15)


def test_its_days_are_its_operations_over_eight_gpus_at_the_assumed_share_of_their_peak():
    flops = 3 * 128 * DDM.expert.forward_flops * 1_000_000
    assert days(planned()) == pytest.approx(flops / (8 * 989e12 * 0.40) / 86400)


@pytest.mark.parametrize("mfu", [0.2, 0.5, 0.8])
def test_its_days_scale_with_one_over_mfu(mfu):
    assert days(planned(mfu=mfu)) == pytest.approx(days(planned()) * 0.40 / mfu)


def test_its_days_follow_batch_steps_and_peak():
    longer = planned("training.batch_size=2048", "training.accumulation=4")
    assert days(longer) == pytest.approx(2 * days(planned()))
    assert days(planned("training.steps=500000")) == pytest.approx(days(planned()) / 2)
    assert days(planned(gpu="A100-80")) == pytest.approx(days(planned()) * 989 / 312)


def test_its_operations_are_about_six_to_a_parameter_that_a_token_passes_and_attention():
    # A token passes 12 width² in each of 36 blocks, of which the attention's scores are besides.
    width, tokens, blocks = 1920, 1280, 36
    by_hand = 2 * tokens * blocks * 12 * width**2 + blocks * 4 * tokens**2 * width
    assert DDM.expert.forward_flops == pytest.approx(by_hand, rel=0.01)


def test_its_expert_is_that_of_the_preset_with_the_same_captions():
    settings = ("expert.preset=MMDiT-3B", "expert.condition=text", "captions.dims=4096")
    data = ("data.source=folder", "data.path=latents")
    config = read_config(None, [*DDM.settings, *settings, *data])
    assert subject_of(config, Data(64, 16, caption_tokens=256)).expert == DDM.expert


def test_plan_of_buckets_is_of_the_first_and_refuses_a_patch_that_misses_another() -> None:
    keys = ["data.source=folder", "data.path=x", "expert.patch=4", "router.patch=4"]
    plain = read_config(None, [*keys, "expert.condition=none"])
    config = read_config(None, [*keys, "expert.condition=none", "data.buckets=['48x64', '64x48']"])
    subject = subject_of(config, Data(samples=10))
    assert subject.expert.num_tokens == 16 * 12
    assert subject.data_bytes == 10 * 3 * 64 * 48
    assert "images of 3 x 64 x 48" in subject.assumed
    assert "all images of the size of the first of data.buckets" in subject.assumed
    square = subject_of(config, Data(64, samples=10))  # --size
    assert square.expert == subject_of(plain, Data(64, samples=10)).expert
    latents = [*keys, "expert.condition=none", "latents.vae=any"]
    odd = read_config(None, [*latents, "data.buckets=['64x64', '80x48']"])
    with pytest.raises(ConfigError, match=r"4 does not divide latents of 10x6, .* data\.buckets"):
        subject_of(odd, Data())


def test_plan_names_what_says_how_large_images_are() -> None:
    keys = ["data.source=folder", "data.path=x", "expert.condition=none", "expert.patch=4"]
    buckets = read_config(None, [*keys, "data.buckets=['48x64', '64x48']"])
    with pytest.raises(ConfigError, match=r"images of 30x30 pixels; .* or set --size to a mult"):
        subject_of(buckets, Data(30))
    latents = read_config(None, [*keys, "data.buckets=['48x64', '64x48']", "latents.vae=any"])
    with pytest.raises(BadInput, match=r"images of 30x30; set --size to a multiple of 8"):
        subject_of(latents, Data(30))
    with pytest.raises(ConfigError, match=r"latents of 6x6, .* or set --size to a multiple of 32"):
        subject_of(latents, Data(48))
    with pytest.raises(BadInput, match=r"neither data\.size nor data\.buckets is set, .* --size"):
        subject_of(read_config(None, keys), Data())
