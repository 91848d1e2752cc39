import itertools
from dataclasses import asdict

import pytest
import torch

from atoll import stages
from atoll.errors import BadInput
from atoll.training_section import TrainingSection
from atoll.types import Role
from experts.exchange.card import card
from experts.exchange.exporting import expert_model, write_diffusers, write_ours
from experts.exchange.field import expert_of
from experts.exchange.model import read_model
from experts.expert import expert_task
from experts.load import load_expert
from experts.objectives import VELOCITY, Diffusion, objective_in, objective_of
from experts.solvers import integrate

CPU = torch.device("cpu")
NAMES = {"epsilon": "the noise", "v": "v"}
DIFFUSIONS = [
    Diffusion(*each) for each in itertools.product(("epsilon", "v"), ("linear", "cosine"))
]


@pytest.mark.parametrize("objective", [VELOCITY, *DIFFUSIONS])
def test_answer_that_is_the_target_becomes_the_velocity_of_the_linear_path(objective):
    generator = torch.Generator().manual_seed(0)
    x0, noise = torch.randn(2, 30, 1, 2, 2, generator=generator)
    t = torch.linspace(0.02, 0.98, 30)
    point = objective.point(x0, noise, t)
    asked = []

    def network(z, s, cond):
        asked.append((z, s))
        return point.target

    # The same point on the linear path: of the same ratio, and of another length.
    if objective is VELOCITY:
        at = t.reshape(-1, 1, 1, 1)
    else:
        found = torch.linalg.lstsq(
            torch.stack([x0.flatten(1), noise.flatten(1)], dim=2), point.x_t.flatten(1).unsqueeze(2)
        ).solution.flatten(1)
        at = (found[:, 1] / found.sum(1)).reshape(-1, 1, 1, 1)
    x_t = (1 - at) * x0 + at * noise
    field = objective.field(network, CPU)
    torch.testing.assert_close(field(x_t, at.flatten(), None), noise - x0, rtol=0, atol=3e-3)
    torch.testing.assert_close(asked[0][0], point.x_t, rtol=0, atol=1e-4)
    torch.testing.assert_close(asked[0][1], point.t, rtol=0, atol=1e-4)


@pytest.mark.parametrize("objective", DIFFUSIONS)
def test_points_of_a_schedule_keep_the_variance_from_the_image_to_the_noise(objective):
    x0, noise = torch.ones(3, 1, 1, 1), torch.zeros(3, 1, 1, 1)
    t = torch.tensor([0.0, 0.3, 1.0])
    alpha = objective.point(x0, noise, t).x_t
    sigma = objective.point(noise, x0, t).x_t
    torch.testing.assert_close(alpha**2 + sigma**2, torch.ones(3, 1, 1, 1))
    assert alpha[0] > 0.99
    assert sigma[-1] > 0.99
    assert objective.point(x0, noise, t).t.tolist() == pytest.approx([0, 0.2997, 0.999])


@pytest.mark.parametrize("objective", [VELOCITY, *DIFFUSIONS])
def test_objective_told_in_a_checkpoint_is_understood(objective):
    assert objective_in(objective.told) == objective


def test_objectives_are_of_the_experts_in_turn_and_not_of_the_monolith(make_run):
    run = make_run(training={"objectives": ["v", "velocity"], "noise_schedule": "cosine"})
    training = run.config.training
    of = [objective_of(training, run.assignment(number=number).spec) for number in (0, 1)]
    assert of == [Diffusion("v", "cosine"), VELOCITY]
    assert objective_of(training, run.assignment(Role.MONOLITH).spec) == VELOCITY


def test_snr_times_of_a_schedule_are_refused():
    with pytest.raises(
        ValueError, match=r"linear path, and objectives = .\"epsilon\", \"velocity\"."
    ):
        TrainingSection(times="snr", objectives=("epsilon", "velocity"))
    with pytest.raises(ValueError, match=r"times of the linear path, and objective = \"epsilon\""):
        TrainingSection(times="snr", objective="epsilon")


@pytest.mark.parametrize("told", ["epsilon", "v"])
def test_expert_trained_to_tell_something_else_is_a_velocity_field_loaded_or_exported(
    make_run, told
):
    run = make_run(training={"objective": told, "steps": 2, "grid_every_steps": 2, "held_out": 8})
    assignment = run.assignment()
    assert run.train(assignment)
    ref = run.published()[-1]
    loaded = load_expert(run.store, ref, run.folder / "cache", CPU)
    assert loaded.checkpoint.about["objective"] == told
    field, network = loaded.model, loaded.model.network
    x_t, t, cond = torch.randn(2, 1, 8, 8), torch.tensor([0.3, 0.6]), torch.tensor([3, 10])
    answer = Diffusion(told, "linear").field(network, CPU)(x_t, t, cond)
    assert torch.equal(field(x_t, t, cond), answer)
    images = integrate(field, torch.randn(2, 1, 8, 8), cond, steps=4)
    assert images.isfinite().all()
    stages.finish(run.store, "train", {}, {"expert-0": asdict(ref)})
    model = expert_model(run.store, run.config, "expert-0", ref, run.folder / "cache")
    write_ours(run.folder / "out", model)
    again = read_model(run.folder / "out")
    assert torch.equal(expert_of(again).field(x_t, t, cond), answer)
    assert f"| gives | {NAMES[told]}, on DDPM's schedule (linear) |" in card(again)
    with pytest.raises(BadInput, match=f"tells {NAMES[told]}, and that a velocity"):
        write_diffusers(run.folder / "theirs", model)
    velocity = make_run(training={"steps": 2})
    other = expert_task(velocity.config, velocity.assignment().spec, velocity.partition)
    task = expert_task(run.config, assignment.spec, run.partition)
    assert task.compat == other.compat  # they mix


def test_schedule_of_points_is_made_once(monkeypatch):
    objective, t = Diffusion("v", "cosine"), torch.tensor([0.5])
    x0, noise = torch.zeros(2, 1, 1, 1, 1)
    before = objective.point(x0, noise, t), objective.weights(t, 5.0)
    monkeypatch.setattr("experts.objectives.NoiseSchedule", None)
    after = objective.point(x0, noise, t), objective.weights(t, 5.0)
    assert before == after
