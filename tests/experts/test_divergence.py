import math

import pytest
import torch
from torch import nn

from atoll.errors import ConfigError, Leapt
from atoll.relay import Listener, Overcame, Speaker
from atoll.training_section import TrainingSection
from atoll.types import IncidentKind, JobSpec, Role
from experts.cadence import due_after
from experts.checkpointing import Position
from experts.divergence import Divergence
from experts.engine import Stats
from experts.flow import flow_loss
from experts.torch_engine import TorchEngine

FINE = 1.0
TRAINING = TrainingSection(
    learning_rate=0.5, log_every_steps=4, grid_every_steps=5, checkpoint_every_steps=6
)


def following(role=Role.EXPERT):
    return Divergence(JobSpec("job-7", role, 0, 20, "run", "digest"), TRAINING)


def follow(divergence, step, *, loss=FINE, grad_norm=FINE, weight=FINE, leaving=False, taken=None):
    network = nn.Linear(2, 3)
    nn.init.constant_(network.bias[1:2], weight)
    engine = TorchEngine(network, flow_loss, TRAINING)
    taken = None if taken is None else torch.tensor(taken)
    stats = Stats(torch.tensor(loss), torch.tensor(grad_norm), taken)
    due = due_after(step, TRAINING, 20, drained=leaving)
    divergence.follow(Position(step, 12 * step), stats, engine, due)


@pytest.mark.parametrize("bad", [{"loss": torch.nan}, {"grad_norm": torch.inf}])
@pytest.mark.parametrize("last", [4, 5, 6])
def test_step_that_is_not_finite_is_named_when_something_is_next_due(bad, last):
    divergence = following()
    for step in range(1, 3):
        follow(divergence, step)
    follow(divergence, 3, **bad)
    with pytest.raises(
        ConfigError, match=r"job-7 diverged: at step 3 the (loss is nan|gradient is inf)"
    ):
        follow(divergence, last)


def test_weight_that_is_not_finite_never_reaches_a_checkpoint():
    divergence = following()
    follow(divergence, 5, weight=torch.inf)
    with pytest.raises(ConfigError, match="at step 6 a weight is no finite number"):
        follow(divergence, 6, weight=torch.inf)
    with pytest.raises(ConfigError, match="at step 7 a weight"):
        follow(following(), 7, weight=torch.nan, leaving=True)


def test_router_is_told_its_own_key():
    with pytest.raises(ConfigError, match=r"lower router\.learning_rate = 0\.5"):
        follow(following(Role.ROUTER), 4, loss=torch.nan)


def guarded(on_spike, tmp_path):
    training = TRAINING.model_copy(update={"on_spike": on_spike})
    spec = JobSpec("job-7", Role.EXPERT, 0, 20, "run", "digest")
    return Divergence(spec, training, Speaker(tmp_path))


def refuse(divergence, *steps, last=4):
    for step in range(1, last + 1):
        follow(divergence, step, loss=math.nan if step in steps else FINE, taken=step not in steps)


def test_skipped_steps_are_told_with_what_was_wrong(tmp_path):
    refuse(guarded("skip", tmp_path), 2, 3)
    (told,) = Listener(tmp_path).heard()
    assert told == Overcame(
        IncidentKind.SKIPPED,
        "passed over: at step 2 the loss is nan and the gradient 1, "
        "at step 3 the loss is nan and the gradient 1",
    )


def test_steps_that_are_all_skipped_end_the_training(tmp_path):
    divergence = guarded("skip", tmp_path)
    with pytest.raises(ConfigError, match=r"diverged: at step 20 20 steps in a row went wrong"):
        refuse(divergence, *range(1, 21), last=20)


def test_leap_that_is_to_be_rolled_back_names_the_samples_to_pass_over(tmp_path):
    with pytest.raises(Leapt, match=r"job-7 leapt: at step 2 the loss is nan") as leapt:
        refuse(guarded("rollback", tmp_path), 2)
    assert leapt.value.passed == 48  # all that were learnt from by the time it was seen
    assert not list(Listener(tmp_path).heard())
