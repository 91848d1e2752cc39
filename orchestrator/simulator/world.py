"""What a simulation assumes of nodes, network and work."""

from __future__ import annotations

import math
from dataclasses import dataclass

from orchestrator.fleet.recovery import RecoveryPolicy
from orchestrator.fleet.state import Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """The assumptions; times in seconds unless the name says otherwise.

    Attributes:
        num_islands: islands wanted alive, each one node; also the number of jobs.
        steps: optimizer steps of every job.
        checkpoint_every_steps: steps between two checkpoints.
        step_s: one step on a node of full speed.
        lifetime_s: mean life of a node until it is reclaimed; exponential.
        crashes_per_day: trainer crashes of a node; Poisson.
        cuts_per_day: network cuts of a node; Poisson.
        cut_s: mean length of a cut; exponential.
        num_zones: zones that nodes are spread over.
        outages_per_day: outages of a zone, each of which takes all its nodes; Poisson.
        outage_s: mean length of an outage; exponential.
        slow_share: share of nodes that are slow.
        slow_speed: their speed; that of the others is 1.
        checkpoint_bytes: size of a checkpoint.
        bandwidth_bytes_per_s: at which a node uploads and downloads checkpoints.
        provision_s: from asking for a node to its agent's first word; paid from then on.
        start_s: from a lease to the first step, besides the download of a checkpoint.
        price_per_h: of a node.
        look_s: pause between two looks of the supervisor.
        orphan_s: an island that reaches no orchestrator for so long stops itself.
        max_s: the simulation ends here, whatever is done.
        policy: what the fleet goes by.
        max_tries: see :class:`orchestrator.fleet.recovery.RecoveryPolicy`.
    """

    num_islands: int
    steps: int
    checkpoint_every_steps: int
    step_s: float
    lifetime_s: float = math.inf
    crashes_per_day: float = 0.0
    cuts_per_day: float = 0.0
    cut_s: float = 60.0
    num_zones: int = 1
    outages_per_day: float = 0.0
    outage_s: float = 3600.0
    slow_share: float = 0.0
    slow_speed: float = 0.5
    checkpoint_bytes: float = 0.0
    bandwidth_bytes_per_s: float = math.inf
    provision_s: float = 0.0
    start_s: float = 0.0
    price_per_h: float = 1.0
    look_s: float = 1.0
    orphan_s: float = 600.0
    max_s: float = math.inf
    policy: Policy
    max_tries: int = 5

    @property
    def transfer_s(self) -> float:
        """Time to upload, or download, one checkpoint."""
        return self.checkpoint_bytes / self.bandwidth_bytes_per_s

    @property
    def beat_s(self) -> float:
        """Pause between two heartbeats of an agent, as :mod:`cluster.tenure` has it."""
        return min(max(self.policy.term_s / 10, 0.2), 3.0)

    @property
    def recovery(self) -> RecoveryPolicy:
        """What recovery goes by: an island that is still being provisioned is not late."""
        young_s = self.provision_s + 3 * self.policy.term_s
        backoff_s = self.policy.backoff_s
        return RecoveryPolicy(self.num_islands, self.max_tries, backoff_s, young_s, self.orphan_s)

    def restart_s(self, step: int) -> float:
        """From a lease to the first step, for a job with so many committed steps."""
        return self.start_s + (self.transfer_s if step else 0.0)

    def noticed_at(self, at: float) -> float:
        """When the supervisor looks next; at once if it looks just then."""
        return math.ceil(round(at / self.look_s, 6)) * self.look_s
