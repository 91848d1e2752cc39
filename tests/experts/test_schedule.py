import pytest
import torch
from diffusers import DDPMScheduler

from experts.schedule import NoiseSchedule


@pytest.mark.parametrize(
    ("name", "theirs"), [("linear", "linear"), ("cosine", "squaredcos_cap_v2")]
)
def test_schedule_leaves_as_much_of_the_image_as_diffusers_has_it(name, theirs):
    remaining = DDPMScheduler(1000, beta_schedule=theirs).alphas_cumprod.double()
    found = torch.sigmoid(2 * NoiseSchedule(name).signals.double())
    torch.testing.assert_close(found, remaining, rtol=2e-4, atol=1e-9)


@pytest.mark.parametrize("name", ["linear", "cosine"])
def test_steps_and_signals_are_each_others_inverse_between_steps_too(name):
    schedule = NoiseSchedule(name)
    steps = torch.linspace(0, 999, 5000)
    found = schedule.step_of(schedule.signal_at(steps))
    torch.testing.assert_close(found, steps, rtol=0, atol=2e-3)
