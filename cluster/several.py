"""Several providers as one: each keeps its share of the islands, and stands in for those that fail.

A provider that does not answer, or whose islands die as soon as they are started, is left alone for
a while that doubles; what it should have started is started by the others, in proportion to their
shares. Nobody is moved back: an island that works is worth more than an even spread.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from atoll.clock import Clock
from atoll.errors import IslandError
from cluster.background import Background
from cluster.probation import Probation
from cluster.provider import Capabilities, Node, NodeSpec, Provider

log = logging.getLogger(__name__)

_FIRST_ANSWER_S = 30.0  # for which a new orchestrator waits before it goes on without a provider


@dataclass(slots=True)
class _Member:
    """What is known of one provider.

    Attributes:
        share: islands it is to keep.
        probation: whether it is fit to start islands.
        nodes: as listed last, by island.
    """

    provider: Provider
    share: int
    probation: Probation
    nodes: dict[str, Node] = field(default_factory=dict)

    @property
    def num_alive(self) -> int:
        return sum(node.alive for node in self.nodes.values())

    def has_room(self, spec: NodeSpec) -> bool:
        """Whether it may have nodes enough for one island more."""
        room = self.provider.capabilities().num_nodes
        return room is None or self.num_alive * spec.num_nodes + spec.min_nodes <= room

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
        self._members = {
            name: _Member(provider, share, Probation(clock)) for provider, name, share in providers
        }
        self._clock = clock
        self._began_at = clock.monotonic()

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
        for name, member in self._by_need(spec):
            try:
                node = member.provider.submit(spec, idempotency_key)
            except IslandError as error:
                troubles.append(f"{name}: {error}")
                self._failed(name, member, str(error))
            else:
                member.nodes[spec.island] = node
                member.probation.started(spec.island)
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
            for words in member.probation.ended_young(member.nodes):
                self._failed(name, member, words)
            found += (replace(node, provider=name) for node in listed)
        return tuple(found)

    def logs(self, island: str, num_lines: int) -> str:
        """See :class:`cluster.provider.Provider`."""
        words = (member.provider.logs(island, num_lines) for _, member in self._owners(island))
        return next(words, "")

    def cancel(self, island: str) -> None:
        """See :class:`cluster.provider.Provider`."""
        for _, member in self._owners(island):
            member.provider.cancel(island)

    def _owners(self, island: str) -> Iterator[tuple[str, _Member]]:
        """The one that knows an island, if any does."""
        return ((name, each) for name, each in self._members.items() if island in each.nodes)

    def _by_need(self, spec: NodeSpec) -> Sequence[tuple[str, _Member]]:
        """Whom to ask for the next island: the emptiest that answers and has not failed of late."""

        def need(named: tuple[str, _Member]) -> tuple[bool, bool, float]:
            member = named[1]
            fails = member.is_silent or member.probation.is_on
            return fails, not member.has_room(spec), (member.num_alive + 1) / member.share

        return sorted(self._members.items(), key=need)

    def _failed(self, name: str, member: _Member, reason: str) -> None:
        fields = {"provider": name, "why": reason, "pause_s": member.probation.failed()}
        log.warning("others take over from a provider", extra={"fields": fields})
