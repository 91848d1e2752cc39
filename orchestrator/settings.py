"""What a run's configuration asks of its control plane, as the values that each part goes by."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from atoll import layout
from atoll.config import Config
from cluster.provider import NodeSpec
from cluster.providers import requeues
from orchestrator.endpoint import ENDPOINT_FILE
from orchestrator.fleet.budget import LEAVE_S, Budget
from orchestrator.fleet.ledger import Prices
from orchestrator.fleet.recovery import RecoveryPolicy, number_of
from orchestrator.fleet.retention import Retention
from orchestrator.fleet.state import Policy

if TYPE_CHECKING:
    from orchestrator.rpc.security import Security


def islands_folder(config: Config) -> Path:
    """Where local islands keep their logs, one folder each."""
    return layout.state_folder(config.run.uri) / "islands"


def fleet_policy(config: Config) -> Policy:
    """What leases and setbacks go by."""
    island = config.island
    return Policy(
        term_s=island.lease_s,
        max_failures=island.max_failures,
        backoff_s=island.backoff_s,
        max_losses=island.max_losses,
        max_preemptions=island.max_preemptions,
        stuck_s=island.stuck_s,
        prices=Prices(island.prices, island.nodes),
        speeds=island.speeds,
        max_nodes=island.nodes,
        min_nodes=island.fewest_nodes,
        gather_s=island.gather_s,
        requeues=requeues(config),
    )


def budget_of(config: Config) -> Budget:
    """What the run may take."""
    budget = config.budget
    return Budget(
        cost=budget.cost or math.inf,
        node_hours=budget.node_hours or math.inf,
        deadline=math.inf if budget.ends_at is None else budget.ends_at,
        ahead_s=config.island.drain_s + LEAVE_S,
        num_islands=config.island.count,
    )


def recovery_policy(config: Config) -> RecoveryPolicy:
    """How many islands are kept alive."""
    island = config.island
    return RecoveryPolicy(
        num_islands=island.count,
        max_tries=island.max_failures,
        backoff_s=island.backoff_s,
        young_s=3 * island.lease_s,
        orphan_s=island.orphan_s,
    )


def retention_of(config: Config) -> Retention:
    """Which checkpoints are kept."""
    keep = config.checkpoints
    return Retention(keep.keep_last, keep.keep_every_steps, keep.keep_best)


def spec_of(
    config: Config,
    run: str,
    address: str,
    trainer: Sequence[str],
    security: Security | None,
    *,
    elsewhere: bool = False,
) -> Callable[[str], NodeSpec]:
    """What is to run on the node of an island, by its name.

    Args:
        config: of the run.
        run: its name, see :func:`orchestrator.naming.name_of`.
        address: where its orchestrator is called.
        trainer: command that islands run in place of Atoll's trainers; () for those.
        security: what gives islands their tokens; None for plain text.
        elsewhere: whether islands may be on other machines; those of this one have the file in
            which orchestrators leave their address, and need no DHT.
    """
    island = config.island
    settings = {
        "--orchestrator": address,
        "--run": run,
        "--processes": str(island.processes),
        "--threads": str(island.threads),
        "--drain-s": str(island.drain_s),
        "--orphan-s": str(island.orphan_s),
        "--restarts": str(island.restarts),
        "--hang-s": str(island.hang_s),
        "--notices": island.notices,
        "--trainer": shlex.join(trainer),
    }
    peers = [("--peer", peer) for peer in config.membership.peers if elsewhere]
    arguments = tuple(word for option in [*settings.items(), *peers] for word in option)
    num_gpus = island.processes if island.device == "cuda" else 0
    endpoint = str((layout.state_folder(config.run.uri) / ENDPOINT_FILE).absolute())

    def named(name: str) -> NodeSpec:
        parallel = island.parallel[(number_of(name) - 1) % len(island.parallel)]
        token = "" if security is None else security.token_for(name)
        return NodeSpec(
            island=name,
            label=run,
            agent=(*arguments, "--parallel", str(parallel)),
            num_gpus=num_gpus,
            token=token,
            num_nodes=island.nodes,
            min_nodes=island.fewest_nodes,
            endpoint=endpoint,
        )

    return named
