"""The islands of a run on its hosts: each takes as many hosts as it has nodes, one node on each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import islice

from atoll.errors import IslandError
from cluster.host import Untouched
from cluster.provider import Node, NodeSpec
from cluster.ssh_host import SshHost, begun
from cluster.ssh_hosts import SshHosts
from cluster.ssh_island import SshIsland


class SshIslands:
    """What is known of all islands of a run, and what is done about one of them."""

    def __init__(self, hosts: SshHosts, num_nodes: int) -> None:
        """Know nothing yet.

        Args:
            hosts: of the run.
            num_nodes: of an island.
        """
        self._hosts = hosts
        self._num_nodes = num_nodes
        self._doubtful: dict[str, set[SshHost]] = defaultdict(set)  # where they may be, too
        self._cancelled: set[str] = set()

    @property
    def nodes(self) -> Mapping[str, Node]:
        """All of them by name, each as the provider tells of it."""
        num_free = len(self._hosts.free)
        return {name: island.as_node(num_free) for name, island in self._all().items()}

    def start(self, spec: NodeSpec, key: str) -> Node:
        """Start an island, or as much as there is room for of what a living one lacks.

        Raises:
            Untouched: too few hosts take it, and nothing was started anywhere.
            IslandError: it may have been started, and has to be cancelled.
        """
        island = self._one(spec.island)
        if island.nodes and not island.there:
            return island.as_node(0)  # it has ended, or nobody knows
        for host in island.there:
            host.submit(spec, key)  # refused under another key
        if not island.nodes:
            self._start_some(self._enough_for(spec), spec.num_nodes, spec, key)
        elif island.num_lacking:
            takers = sorted(self._hosts.free, key=lambda host: not host.has(spec.island))
            self._start_some(takers, island.num_lacking, spec, key)
        return self._one(spec.island).as_node(len(self._hosts.free))

    def has(self, name: str) -> bool:
        """Whether any host told of an island."""
        return any(host.has(name) for host in self._hosts)

    def cancel(self, name: str) -> None:
        """Stop an island on all of its hosts. Raises: IslandError, one does not answer."""
        self._cancelled.add(name)
        if troubles := _ask(self._homes(name), "cancel", name):
            raise IslandError("; ".join(troubles))

    def logs(self, name: str, num_lines: int) -> str:
        """The last lines of an island, each after its host's name where there are several."""
        homes = self._homes(name)
        told: dict[str, str] = {}
        for host in homes:
            with suppress(IslandError):
                told[host.name] = host.call("logs", name, -(-num_lines // len(homes)))
        if len(homes) == 1:
            return "".join(told.values())
        lines = [(host, line) for host, text in told.items() for line in text.splitlines()]
        return "".join(f"{host}: {line}\n" for host, line in lines)

    def tidy(self) -> None:
        """Stop what hosts that were away still have of cancelled islands, or have too much."""
        for island in self._all().values():
            if island.is_cancelled or island.name in self._cancelled:
                _ask(island.there, "cancel", island.name)
            else:
                _ask(island.surplus, "drain", island.name)

    def _enough_for(self, spec: NodeSpec) -> Sequence[SshHost]:
        """Hosts to start an island on. Raises: Untouched, they are too few."""
        free = self._hosts.free
        if spec.min_nodes > 1:
            # Hosts do not tell unasked of other runs' islands, and one node would wait in vain.
            free = list(islice((host for host in free if host.is_idle()), spec.num_nodes))
        if len(free) < spec.min_nodes:
            raise Untouched(_too_few(len(free), spec.min_nodes))
        return free

    def _start_some(self, takers: Sequence[SshHost], num: int, spec: NodeSpec, key: str) -> None:
        """Start so many nodes, at most. Raises: as :meth:`start`, if none is known to be."""
        started, doubts, reasons = 0, list[IslandError](), list[str]()
        for host in takers:
            if started + len(doubts) == num:  # what may have been started counts
                break
            try:
                host.submit(spec, key)
            except Untouched as error:
                reasons.append(str(error))
            except IslandError as error:
                self._doubtful[spec.island].add(host)
                doubts.append(error)
            else:
                started += 1
        if not started and doubts:
            raise doubts[0]
        if not started:
            raise Untouched("; ".join(reasons) or _too_few(0, 1))

    def _homes(self, name: str) -> Sequence[SshHost]:
        """The hosts that an island is on, was, or may be."""
        self._hosts.look_once()
        may_have = self._doubtful.get(name, set())
        return [host for host in self._hosts if host.has(name) or host in may_have]

    def _all(self) -> Mapping[str, SshIsland]:
        told: dict[str, list[tuple[SshHost, Node]]] = defaultdict(list)
        for host in self._hosts:
            for node in host.nodes:
                told[node.island].append((host, node))
        return {name: SshIsland(name, nodes, self._num_nodes) for name, nodes in told.items()}

    def _one(self, name: str) -> SshIsland:
        """As hosts tell of it; without nodes where none does."""
        return self._all().get(name) or SshIsland(name, (), self._num_nodes)


def _ask(hosts: Iterable[SshHost], call: str, name: str) -> list[str]:
    """Call several hosts at once about an island; why any of them could not be asked."""
    asked = [begun(host.call, call, name) for host in hosts]
    return [str(error) for error in (answer.exception() for answer in asked) if error]


def _too_few(num_free: int, num_needed: int) -> str:
    if num_needed == 1:
        return "each host has an island, or was in trouble of late"
    return f"{num_free} hosts are free, and an island needs {num_needed}"
