"""The hosts of a run, asked at once: which of them answer, and which are free."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, wait

from atoll.errors import ConfigError, IslandError
from cluster.provider import NodeSpec
from cluster.ssh_host import SshHost, begun

_PATIENCE_S = 10.0  # with a host that answered last time
_FIRST_PATIENCE_S = 60.0  # who cannot be reached is told of sooner; Python may start slowly


class SshHosts:
    """All hosts together; those that do not answer hold up none of the others."""

    def __init__(self, hosts: Sequence[SshHost]) -> None:
        """Ask none of them yet."""
        self._hosts = hosts
        self._looking = threading.Lock()
        self._looked = False

    def __iter__(self) -> Iterator[SshHost]:
        return iter(self._hosts)

    @property
    def free(self) -> Sequence[SshHost]:
        """Those on which a node may be tried."""
        return [host for host in self._hosts if host.is_free]

    @property
    def trouble(self) -> str:
        """Why none answers; "" while one does."""
        troubles = [host.trouble for host in self._hosts]
        return "; ".join(map(str, troubles)) if all(troubles) else ""

    @property
    def num_gpus(self) -> int:
        """What each has that ever answered, at least."""
        self.look_once()
        return min((host.greeting["num_gpus"] for host in self._hosts if host.greeting), default=0)

    def look(self) -> None:
        """Ask what they have; nobody waits for those that did not answer last time."""
        with self._looking:
            asked = [(host, host.look()) for host in self._hosts]
            self._wait(asked, _PATIENCE_S if self._looked else _FIRST_PATIENCE_S)
            self._looked = True

    def look_once(self) -> None:
        """Ask them, unless that was done before."""
        if not self._looked:
            self.look()

    def check(self, spec: NodeSpec, run: str) -> None:
        """Ask all whether they could run something, see :meth:`cluster.host.Host.check`.

        Raises:
            ConfigError: one cannot, or two are the same.
            IslandError: none answers.
        """
        asked = [(host, begun(host.check, spec, run)) for host in self._hosts]
        self._wait(asked, _FIRST_PATIENCE_S)
        silent = []
        for host, answer in asked:
            error = answer.exception() if answer.done() else host.trouble
            if isinstance(error, IslandError):
                host.note(error)
                silent.append(str(error))
            elif error is not None:
                raise error
        if len(silent) == len(self._hosts):
            raise IslandError("; ".join(silent))
        names: dict[str, str] = {}
        for host in self._hosts:
            machine = host.greeting.get("machine", host.name)
            if (twin := names.setdefault(machine, host.name)) != host.name:
                raise ConfigError(
                    f"ssh.hosts: {twin} and {host.name} are one machine, and one island works on "
                    "it at a time; leave one of them out"
                )

    def _wait(self, asked: Sequence[tuple[SshHost, Future[None]]], patience_s: float) -> None:
        """For answers of those that were in no trouble; who gives none by then is now."""
        wait([answer for host, answer in asked if not host.trouble], patience_s)
        for host, answer in asked:
            if not answer.done() and not host.trouble:
                host.note(IslandError(f"{host.name} has not answered for {patience_s:g} s"))
