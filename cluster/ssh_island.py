"""One island, as the hosts tell of it on which its nodes are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cluster.provider import Node
from cluster.ssh_host import SshHost


@dataclass(frozen=True, slots=True)
class SshIsland:
    """What is known of one island.

    A host that does not answer is taken for lost where that lets another take its place, and for
    alive where that keeps an island from being started twice. Once it is back, the island may have
    a node too many.

    Attributes:
        name: of it.
        nodes: one of each host that ever told of it.
        num_nodes: that it is to have.
    """

    name: str
    nodes: Sequence[tuple[SshHost, Node]]
    num_nodes: int

    @property
    def is_cancelled(self) -> bool:
        """Whether any of its hosts was told to stop it: then all are to."""
        return any(node.cleared for _, node in self.nodes)

    @property
    def there(self) -> Sequence[SshHost]:
        """Hosts on which it lives for certain, first those that answer for longest."""
        hosts = [host for host, node in self.nodes if node.alive and not node.stale]
        return sorted(hosts, key=lambda host: host.answers_since)

    @property
    def surplus(self) -> Sequence[SshHost]:
        """Hosts of nodes that it has too many: of those that were replaced while they were away."""
        return self.there[self.num_nodes :]

    @property
    def num_lacking(self) -> int:
        """How many nodes another try may start; none where nobody knows whether it lives at all."""
        if self.is_cancelled or not self.there:
            return 0
        return max(0, self.num_nodes - len(self.there))

    def as_node(self, num_free: int) -> Node:
        """As a provider tells of it.

        Args:
            num_free: hosts that could take a node.
        """
        alive = [node for _, node in self.nodes if node.alive]
        if not alive:
            reasons = dict.fromkeys(node.reason for _, node in self.nodes)
            cleared = all(node.cleared for _, node in self.nodes)
            return Node(self.name, alive=False, reason="; ".join(reasons), cleared=cleared)
        is_stale = all(node.stale for node in alive)
        missing = min(self.num_lacking, num_free)
        return Node(self.name, alive=True, stale=is_stale, missing=missing)
