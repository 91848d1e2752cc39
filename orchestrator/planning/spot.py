"""What reclaims of spot nodes do to a run, by the simulator's own functions."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from atoll.config import Config
from atoll.errors import BadInput
from orchestrator.fleet.state import Policy
from orchestrator.planning.work import Part
from orchestrator.simulator.islands import Islands
from orchestrator.simulator.world import World

_PATIENCE = 10  # a run that takes so many times longer than its work is given up
_MOST_ISLANDS = 1000
_MOST_RECLAIMS = 300_000  # some seconds of simulation


@dataclass(frozen=True, slots=True)
class Spot:
    """The experts on nodes that are taken back, each on an island of its own.

    Attributes:
        done: whether they were, within ten times their work.
        days: until then.
        calm_days: the same without reclaims.
        work_lost: share of the training that had to be done again.
        reclaims: interruptions of work.
        paid_hours: of all nodes.
        overhead: paid time over that of the work.
        read_bytes: checkpoints loaded again.
    """

    done: bool
    days: float
    calm_days: float
    work_lost: float
    reclaims: int
    paid_hours: float
    overhead: float
    read_bytes: float


def simulate_spot(
    config: Config, experts: Part, step_s: float, lifetime_h: float, bytes_per_s: float
) -> Spot:
    """Play the experts' training under a virtual clock.

    Reclaims are the only fault; a node takes five minutes to come and a trainer one to start, as
    ``atoll simulate`` has them, which plays all the other faults as well. An island of several
    nodes is interrupted when any of them is taken back.

    Args:
        config: of the run: steps, checkpoints, lease, budgets and seed.
        experts: to train.
        step_s: seconds of one step.
        lifetime_h: mean hours until a node is reclaimed.
        bytes_per_s: at which checkpoints are uploaded and loaded.

    Raises:
        BadInput: nodes live too shortly, or are too many, for a quick answer.
    """
    if experts.count > _MOST_ISLANDS:
        raise BadInput(
            f"partition.num_experts = {experts.count} is too many to simulate quickly; leave out "
            "--lifetime-h, or ask `atoll simulate`"
        )
    work_s, island = experts.steps * step_s, config.island
    max_s, lifetime_s = _PATIENCE * work_s + 86400, lifetime_h * 3600 / island.nodes
    if experts.count * max_s / lifetime_s > _MOST_RECLAIMS:
        raise BadInput(
            f"--lifetime-h {lifetime_h:g} may mean more than {_MOST_RECLAIMS:,} reclaims, too many "
            "for a quick answer; raise it, or ask `atoll simulate`"
        )
    calm = World(
        num_islands=experts.count,
        steps=experts.steps,
        checkpoint_every_steps=config.training.checkpoint_every_steps,
        step_s=step_s,
        checkpoint_bytes=experts.checkpoint_bytes,
        bandwidth_bytes_per_s=bytes_per_s,
        provision_s=300.0,
        start_s=60.0,
        orphan_s=island.orphan_s,
        max_s=math.inf,
        policy=Policy(
            island.lease_s,
            island.max_failures,
            island.backoff_s,
            island.max_losses,
            island.max_preemptions,
        ),
        max_tries=island.max_failures,
    )
    rough = replace(calm, lifetime_s=lifetime_s, max_s=max_s)
    found = Islands(rough, config.run.seed).run().summary(rough)
    without = Islands(calm, config.run.seed).run().summary(calm)
    reclaims, paid_hours = sum(found["recoveries"].values()), found["cost"]  # at a price of 1
    return Spot(
        done=found["done"],
        days=found["days"],
        calm_days=without["days"],
        work_lost=found["work_lost"] or 0.0,
        reclaims=reclaims,
        paid_hours=island.nodes * paid_hours,
        overhead=paid_hours * 3600 / (experts.count * work_s),
        read_bytes=reclaims * calm.checkpoint_bytes,
    )
