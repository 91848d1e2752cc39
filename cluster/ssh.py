"""Islands on hosts that one has already, one node at a time on each, through OpenSSH.

What is known of a node lies on its host: its folder there tells run and key, and which process it
is. So a later orchestrator finds it again, on whatever machine. On each host nodes are kept as
those of this machine are, see :mod:`cluster.host`; which of them are one island, their names tell.
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
from cluster.ssh_islands import SshIslands
from cluster.ssh_link import Link

log = logging.getLogger(__name__)


class SshProvider:
    """See :class:`cluster.provider.Provider`.

    An island for which too few hosts are free waits for them, unless other providers share the run:
    those take it.
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
        self._islands = SshIslands(self._hosts, config.island.nodes)
        self._placing = threading.Lock()  # guards the queue
        self._queue: dict[str, tuple[NodeSpec, str]] = {}
        self._doubtful: dict[str, Node] = {}  # that left the queue, and may have been started

    def capabilities(self) -> Capabilities:
        """See :class:`cluster.provider.Provider`; waits for the hosts the first time."""
        return Capabilities(self._hosts.num_gpus, self._elsewhere, num_nodes=len(self._ssh.hosts))

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
        if self._num_islands * spec.num_nodes > num_hosts:
            has_one = spec.num_nodes == 1
            raise ConfigError(
                f"ssh.hosts names {num_hosts or 'none'} for {self._num_islands} islands"
                f"{'' if has_one else f' of island.nodes = {spec.num_nodes}'}, and one node works "
                f"on each at a time; name more, or lower island.count"
                f"{'' if has_one else ' or island.nodes'}"
            )
        self._hosts.check(replace(spec, token=""), self._run)  # no secret has to go there yet

    def submit(self, spec: NodeSpec, idempotency_key: str) -> Node:
        """See :class:`cluster.provider.Provider`."""
        spec = replace(spec, endpoint="") if self._elsewhere else spec
        with self._placing:
            self._hosts.look()
            try:
                return self._islands.start(spec, idempotency_key)
            except Untouched as error:
                if not self._is_alone or self._islands.has(spec.island):
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
            self._islands.tidy()
            told = {**self._doubtful, **self._islands.nodes}
            return (*told.values(), *map(_waiting, self._queue))

    def logs(self, island: str, num_lines: int) -> str:
        """See :class:`cluster.provider.Provider`; none of a host that does not answer."""
        return self._islands.logs(island, num_lines)

    def cancel(self, island: str) -> None:
        """See :class:`cluster.provider.Provider`."""
        with self._placing:
            self._queue.pop(island, None)
        self._islands.cancel(island)

    def _serve_queue(self) -> None:
        for island, (spec, key) in tuple(self._queue.items()):
            try:
                self._islands.start(spec, key)
            except Untouched:
                return
            except IslandError as error:
                reason = f"could not be started: {error}"
                self._doubtful[island] = Node(island, alive=False, reason=reason)
            del self._queue[island]


def _waiting(island: str) -> Node:
    return Node(island, alive=True, waiting=True)
