"""Several providers as one: each keeps its share of the islands, and stands in for those that fail.

A provider that does not answer, or whose islands die as soon as they are started, is left alone for
a while that doubles; what it should have started is started by the others, in proportion to their
shares. Nobody is moved back: an island that works is worth more than an even spread.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from atoll.clock import Clock
from atoll.errors import IslandError
from cluster.background import Background
from cluster.provider import Capabilities, Node, NodeSpec, Provider

log = logging.getLogger(__name__)

_FIRST_ANSWER_S = 30.0  # for which a new orchestrator waits before it goes on without a provider
_YOUNG_S = 60.0  # an island that ends by itself before this age has failed to start
_PAUSE_S = 10.0
_MOST_PAUSE_S = 600.0


@dataclass(slots=True)
class _Member:
    """What is known of one provider.

    Attributes:
        share: islands it is to keep.
        nodes: as listed last, by island.
        failures: in a row.
        not_before: nothing is started here earlier.
    """

    provider: Provider
    share: int
    nodes: dict[str, Node]
    failures: int = 0
    not_before: float = 0.0

    @property
    def num_alive(self) -> int:
        return sum(node.alive for node in self.nodes.values())

    @property
    def is_full(self) -> bool:
        room = self.provider.capabilities().num_nodes
        return room is not None and self.num_alive >= room

    @property
    def is_silent(self) -> bool:
        return isinstance(self.provider, Background) and bool(self.provider.trouble)


class Several:
    """See :class:`cluster.provider.Provider`."""

    def __init__(self, providers: Iterable[tuple[Provider, str, int]], clock: Clock) -> None:
        """Divide islands among providers.

        Args:
            providers: each with its name, and the number of islands it is to keep alive.
            clock: for pauses.
        """
        self._members = {name: _Member(provider, share, {}) for provider, name, share in providers}
        self._clock = clock
        self._began_at = clock.monotonic()
        self._started_at: dict[str, float] = {}  # of islands that may still turn out to be young

    def capabilities(self) -> Capabilities:
        """See :class:`cluster.provider.Provider`; what every one of them can give."""
        all_ = [member.provider.capabilities() for member in self._members.values()]
        rooms = [each.num_nodes for each in all_]
        return Capabilities(
            num_gpus=min(each.num_gpus for each in all_),
            elsewhere=any(each.elsewhere for each in all_),
            num_nodes=None if None in rooms else sum(room or 0 for room in rooms),
        )

    def validate(self, spec: NodeSpec) -> None:
        """See :class:`cluster.provider.Provider`; one that does not answer holds up none."""
        silent = []
        for name, member in self._members.items():
            try:
                member.provider.validate(spec)
            except IslandError as error:
                silent.append(f"{name}: {error}")
                self._failed(name, member, str(error))
        if len(silent) == len(self._members):
            raise IslandError("; ".join(silent))

    def submit(self, spec: NodeSpec, idempotency_key: str) -> Node:
        """See :class:`cluster.provider.Provider`."""
        for name, member in self._owners(spec.island):
            return replace(member.provider.submit(spec, idempotency_key), provider=name)
        troubles = []
        for name, member in self._by_need():
            try:
                node = member.provider.submit(spec, idempotency_key)
            except IslandError as error:
                troubles.append(f"{name}: {error}")
                self._failed(name, member, str(error))
            else:
                member.nodes[spec.island] = node
                self._started_at[spec.island] = self._clock.monotonic()
                return replace(node, provider=name)
        raise IslandError("; ".join(troubles))

    def list(self, label: str) -> tuple[Node, ...]:
        """See :class:`cluster.provider.Provider`; of one that never answered, none after a while.

        Raises:
            IslandError: one has not answered yet, and may know of nodes.
        """
        waits = self._clock.monotonic() - self._began_at < _FIRST_ANSWER_S
        found: list[Node] = []
        for name, member in self._members.items():
            try:
                listed = member.provider.list(label)
            except IslandError as error:
                if waits:
                    raise IslandError(f"{name}: {error}") from error
                listed = ()
            member.nodes = {node.island: node for node in listed}
            self._judge(name, member)
            found += (replace(node, provider=name) for node in listed)
        return tuple(found)

    def logs(self, island: str, num_lines: int) -> str:
        """See :class:`cluster.provider.Provider`."""
        words = (member.provider.logs(island, num_lines) for _, member in self._owners(island))
        return next(words, "")

    def drain(self, island: str) -> None:
        """See :class:`cluster.provider.Provider`."""
        for _, member in self._owners(island):
            member.provider.drain(island)

    def cancel(self, island: str) -> None:
        """See :class:`cluster.provider.Provider`."""
        for _, member in self._owners(island):
            member.provider.cancel(island)

    def _owners(self, island: str) -> Iterator[tuple[str, _Member]]:
        """The one that knows an island, if any does."""
        return ((name, each) for name, each in self._members.items() if island in each.nodes)

    def _by_need(self) -> Sequence[tuple[str, _Member]]:
        """Whom to ask for the next island: the emptiest that answers and has not failed of late."""
        now = self._clock.monotonic()

        def need(named: tuple[str, _Member]) -> tuple[bool, bool, float]:
            member = named[1]
            fails = member.is_silent or now < member.not_before
            return fails, member.is_full, (member.num_alive + 1) / member.share

        return sorted(self._members.items(), key=need)

    def _judge(self, name: str, member: _Member) -> None:
        """Note which of the islands that were started have failed to, and which have not."""
        now = self._clock.monotonic()
        for island in self._started_at.keys() & member.nodes.keys():
            node = member.nodes[island]
            if node.waiting:
                self._started_at[island] = now
            elif now - self._started_at[island] >= _YOUNG_S:
                member.failures = 0
                del self._started_at[island]
            elif not node.alive:
                if not node.cleared:
                    self._failed(name, member, f"{island} {node.reason}")
                del self._started_at[island]

    def _failed(self, name: str, member: _Member, reason: str) -> None:
        pause_s = min(_PAUSE_S * 2.0**member.failures, _MOST_PAUSE_S)
        member.failures = min(member.failures + 1, 10)
        member.not_before = self._clock.monotonic() + pause_s
        fields = {"provider": name, "why": reason, "pause_s": pause_s}
        log.warning("others take over from a provider", extra={"fields": fields})
