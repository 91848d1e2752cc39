"""Keeps islands alive: lets time pass for the fleet, and carries out what recovery decides."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence

from atoll.clock import Clock
from atoll.errors import ConfigError, IslandError
from atoll.types import Event
from cluster.provider import Node, NodeSpec, Provider
from orchestrator.fleet import mending, recovery
from orchestrator.fleet.mending import Mending
from orchestrator.fleet.recovery import FORSAKE_S, Recovery, RecoveryPolicy
from orchestrator.service import FleetService

log = logging.getLogger(__name__)

_LAST_LINES = 3


class Supervisor:
    """The loop between a fleet and the provider of its islands."""

    def __init__(
        self,
        service: FleetService,
        provider: Provider,
        spec_of: Callable[[str], NodeSpec],
        policy: RecoveryPolicy,
        clock: Clock,
        *,
        turn_out: Callable[[], None] = lambda: None,
    ) -> None:
        """Keep the islands of one run.

        Args:
            service: the fleet.
            provider: what starts and stops nodes.
            spec_of: what is to run on the node of an island with this name.
            policy: how many, how often.
            clock: the orchestrator's.
            turn_out: takes the leases of islands that were revoked.

        Raises:
            ConfigError: the provider can never run such nodes, or does not answer, and no island
                of the run may live.
        """
        self._service = service
        self._provider = provider
        self._spec_of = spec_of
        self._policy = policy
        self._clock = clock
        self._turn_out = turn_out
        self._recovery = Recovery(last_number=recovery.last_number_of(service.started))
        self._mending = Mending()
        self._last_trouble = ""
        self._forsaken: set[str] = set()
        self._stopping: set[str] = set()
        self._buried: set[str] = set()
        self._silent_since = math.inf
        self._label = spec_of("island-0").label
        self.provider_is_fit = self._validate()

    def _validate(self) -> bool:
        """Whether the provider takes such nodes, as far as anybody can tell now."""
        try:
            self._provider.validate(self._spec_of("island-0"))
        except (ConfigError, IslandError) as error:
            if self._service.has_islands:
                # Islands that live need somebody to serve them, and it may well come back.
                self._service.tell(Event("islands-refused", f"the provider: {error}"))
                return False
            if isinstance(error, ConfigError):
                raise
            raise ConfigError(f"island.provider: {error}; mend that, or name another") from error
        return True

    def look(self) -> bool:
        """Look once at the clock and at every node, and act.

        Returns:
            Whether any node is alive that can still be stopped, as far as that can be told.
        """
        self._service.tick()
        self._service.keep_within_budget()  # also where the provider does not answer
        nodes = self._listed()
        # After the look at the nodes: one that ended because it was revoked is not buried before.
        self._turn_out()
        if nodes is None:
            # Nobody is started or buried by guesswork; islands that live go on by themselves.
            return self._waits_for_answer()
        self._silent_since = math.inf
        for node in nodes:
            if not node.alive and not node.cleared:
                self._bury(node)
        self._service.reconcile(nodes)
        fleet, now = self._service.fleet, self._clock.monotonic()
        recovered, plan = recovery.look(self._recovery, fleet, nodes, self._policy, now)
        if plan.start and self._service.keep_within_budget(len(plan.start)):
            return True  # nothing of the plan holds any more
        self._recovery = recovered
        if plan.give_up:
            self._service.give_up(self._why_given_up())
        if plan.held_back:
            self._service.tell(Event("islands-held-back", plan.held_back))
        for island in plan.stop:
            self._stop(island, "nothing is left to do")
        for island in plan.hung:
            if island not in self._stopping:
                words = "it says nothing, and has not stopped itself by island.orphan_s"
                self._service.tell(Event("island-hung", words, island=island))
            self._stop(island, "it hangs")
        self._service.let_go(plan.dismiss)
        if plan.start:
            # Written down first: one that froze since it was decided is another's to start.
            self._service.nodes_started(plan.start)
        for island in plan.start:
            self._start(island)
        self._mend(nodes)
        self._forsake(set(plan.forsaken))
        return any(node.alive and node.island not in self._forsaken for node in nodes)

    def _listed(self) -> Sequence[Node] | None:
        """All nodes, as far as their provider knows; None if it does not answer."""
        try:
            return self._provider.list(self._label)
        except IslandError as error:
            if str(error) != self._last_trouble:
                self._last_trouble = str(error)
                self._service.tell(Event("islands-unknown", f"the provider: {error}"))
            return None

    def _waits_for_answer(self) -> bool:
        """Whether a provider that knows of nodes, perhaps, may still tell of them.

        While there is work it always may. After that what it has left behind stops by itself.
        """
        now = self._clock.monotonic()
        self._silent_since = min(self._silent_since, now)
        return not self._service.fleet.is_settled or now - self._silent_since < FORSAKE_S

    def _mend(self, nodes: Sequence[Node]) -> None:
        fleet, pause_s = self._service.fleet, self._policy.backoff_s
        now = self._clock.monotonic()
        self._mending, due = mending.look(self._mending, fleet, nodes, pause_s, now)
        for island in due:
            self._service.confirm()
            log.info("starting what is missing", extra={"fields": {"island": island}})
            self._start(island)

    def _forsake(self, islands: set[str]) -> None:
        for island in sorted(islands - self._forsaken):
            words = "its provider does not answer; unless it is gone, it stops by island.orphan_s"
            self._service.tell(Event("island-forsaken", words, island=island))
        self._forsaken = islands

    def _stop(self, island: str, why: str) -> None:
        self._service.confirm()
        if island not in self._stopping:  # a cloud may take minutes
            log.info("stopping what is left", extra={"fields": {"island": island}})
            self._stopping.add(island)
        self._provider.cancel(island)
        self._service.island_gone(island, f"stopped, since {why}")

    def _start(self, island: str) -> None:
        try:
            self._provider.submit(self._spec_of(island), idempotency_key=island)
        except IslandError as error:
            # Missed at the next look, like one that died at once.
            self._last_trouble = str(error)
            self._service.tell(Event("island-not-started", str(error), island=island))

    def _bury(self, node: Node) -> None:
        if node.island not in self._buried:  # a provider may list for long what it is to clear
            self._buried.add(node.island)
            last = self._provider.logs(node.island, _LAST_LINES).strip()
            self._last_trouble = f"{node.island} {node.reason}, and wrote last: {last or 'nothing'}"
        self._service.island_gone(node.island, node.reason)
        # Its trainer may have outlived it. Last, since a cleared node is never looked at again.
        self._provider.cancel(node.island)

    def _why_given_up(self) -> str:
        words = f"no island stays alive, after {self._policy.max_tries + 1} tries in a row"
        return f"{words}; {self._last_trouble}" if self._last_trouble else words
