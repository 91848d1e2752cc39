import pytest
import torch
from torch import nn

from atoll.errors import ConfigError
from atoll.sections import TrainingSection
from atoll.types import JobSpec, Role
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


def follow(divergence, step, *, loss=FINE, grad_norm=FINE, weight=FINE, leaving=False):
    network = nn.Linear(2, 3)
    nn.init.constant_(network.bias[1:2], weight)
    engine = TorchEngine(network, flow_loss, TRAINING)
    stats = Stats(torch.tensor(loss), torch.tensor(grad_norm))
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
