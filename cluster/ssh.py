"""Islands on hosts that one has already, one at a time on each, through OpenSSH.

What is known of a node lies on its host: its folder there tells run and key, and which process it
is. So a later orchestrator finds it again, on whatever machine. On each host nodes are kept as
those of this machine are, see :mod:`cluster.host`.
"""

from __future__ import annotations

import functools
import logging
import shutil
import threading
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from atoll.blobs import local_path
from atoll.clock import SystemClock
from atoll.config import Config
from atoll.errors import ConfigError, IslandError
from cluster.host import Untouched
from cluster.probation import Probation
from cluster.provider import Capabilities, Node, NodeSpec
from cluster.ssh_command import leads_here
from cluster.ssh_host import SshHost
from cluster.ssh_hosts import SshHosts
from cluster.ssh_link import Link

log = logging.getLogger(__name__)

_ENDPOINT = "--endpoint"


class SshProvider:
    """See :class:`cluster.provider.Provider`.

    An island for which no host is free waits for one, unless other providers share the run: those
    take it.
    """

    def __init__(self, config: Config, label: str, _folder: Path) -> None:
        """Connect to hosts once they are asked for something.

        Args:
            config: of the run.
            label: its name; islands of others are called alike, and are none of its business.
            _folder: of this machine, where nothing is kept.
        """
        self._ssh, self._label = config.ssh, label
        self._num_islands = config.island.shares.get("ssh", 0)
        self._is_alone = len(config.island.shares) == 1
        place = local_path(config.run.uri)
        self._run = "" if place is None else str(place.absolute())
        clock = SystemClock()
        self._hosts = SshHosts(
            [
                SshHost(name, Link(config.ssh, name, label), Probation(clock))
                for name in config.ssh.hosts
            ]
        )
        self._placing = threading.Lock()  # guards the queue
        self._queue: dict[str, tuple[NodeSpec, str]] = {}
        self._doubtful: dict[str, Node] = {}  # that left the queue, and may have been started

    def capabilities(self) -> Capabilities:
        """See :class:`cluster.provider.Provider`; waits for the hosts the first time."""
        return Capabilities(self._hosts.num_gpus, self._elsewhere, len(self._ssh.hosts))

    @functools.cached_property
    def _elsewhere(self) -> bool:
        """Whether any host is another machine, as one is of which nobody can tell."""
        with suppress(OSError, UnicodeError):
            return not all(leads_here(self._ssh, name) for name in self._ssh.hosts)
        return True

    def validate(self, spec: NodeSpec) -> None:
        """See :class:`cluster.provider.Provider`; hosts that do not answer hold up none."""
        if shutil.which("ssh") is None:
            raise ConfigError(
                'island.provider = "ssh" needs the program ssh here; install OpenSSH\'s client'
            )
        num_hosts = len(self._ssh.hosts)
        if self._num_islands > num_hosts:
            raise ConfigError(
                f"ssh.hosts names {num_hosts or 'none'} for {self._num_islands} islands, and one "
                "works on each at a time; name more, or lower island.count"
            )
        self._hosts.check(replace(spec, token=""), self._run)  # no secret has to go there yet

    def submit(self, spec: NodeSpec, idempotency_key: str) -> Node:
        """See :class:`cluster.provider.Provider`."""
        spec = _without_endpoint(spec) if self._elsewhere else spec
        with self._placing:
            self._hosts.look()
            try:
                return self._hosts.start(spec, idempotency_key)
            except Untouched as error:
                if not self._is_alone:
                    raise
                fields = {"island": spec.island, "why": str(error)}
                log.warning("waits for a host", extra={"fields": fields})
            self._queue[spec.island] = spec, idempotency_key
            return _waiting(spec.island)

    def list(self, label: str) -> tuple[Node, ...]:
        """See :class:`cluster.provider.Provider`; of hosts that do not answer as they told last."""
        if label != self._label:
            return ()
        with self._placing:
            self._hosts.look()
            if trouble := self._hosts.trouble:
                raise IslandError(trouble)
            self._serve_queue()
            told = {node.island: node for node in self._hosts.nodes}
            return (*(self._doubtful | told).values(), *map(_waiting, self._queue))

    def logs(self, island: str, num_lines: int) -> str:
        """See :class:`cluster.provider.Provider`; none if its host does not answer."""
        host = self._hosts.home_of(island)
        with suppress(IslandError):
            return str(host.call("logs", island, num_lines)) if host else ""
        return ""

    def drain(self, island: str) -> None:
        """See :class:`cluster.provider.Provider`."""
        if host := self._hosts.home_of(island):
            host.call("drain", island)

    def cancel(self, island: str) -> None:
        """See :class:`cluster.provider.Provider`."""
        with self._placing:
            self._queue.pop(island, None)
        if host := self._hosts.home_of(island):
            host.call("cancel", island)

    def _serve_queue(self) -> None:
        for island, (spec, key) in tuple(self._queue.items()):
            try:
                self._hosts.start(spec, key)
            except Untouched:
                return
            except IslandError as error:
                reason = f"could not be started: {error}"
                self._doubtful[island] = Node(island, alive=False, reason=reason)
            del self._queue[island]


def _without_endpoint(spec: NodeSpec) -> NodeSpec:
    """Without the file in which orchestrators leave the address at which their machine calls them.

    A host that mounts it would call itself.
    """
    if _ENDPOINT not in spec.agent:
        return spec
    at = spec.agent.index(_ENDPOINT)
    return replace(spec, agent=(*spec.agent[:at], *spec.agent[at + 2 :]))


def _waiting(island: str) -> Node:
    return Node(island, alive=True, waiting=True)
