"""A network of hosts on this machine: namespaces with addresses of their own, behind a bridge."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import psutil
import pytest

from cluster import processes


class Network:
    """Hosts that share all but the network with this machine: files, users, process numbers.

    Attributes:
        address: of this machine, as hosts call it.
        addresses: of the hosts, by name.
    """

    def __init__(self, undo: ExitStack) -> None:
        """Begin with this machine alone. Raises: CalledProcessError; OSError, there is no ``ip``.

        Args:
            undo: takes it all away in the end, with whatever still runs on a host.
        """
        number = os.getpid()  # nobody else's names and addresses, while this lives
        self._undo = undo
        self._bridge = f"atoll-{number}"
        self._subnet = f"10.{64 + number // 256 % 128}.{number % 256}"
        self.address = f"{self._subnet}.1"
        self.addresses: dict[str, str] = {}
        _ip("link", "add", self._bridge, "type", "bridge")
        undo.callback(_ip, "link", "delete", self._bridge)
        _ip("address", "add", f"{self.address}/24", "dev", self._bridge)
        _ip("link", "set", self._bridge, "up")

    def add(self, name: str) -> None:
        """Let there be a host."""
        address = self.addresses[name] = f"{self._subnet}.{len(self.addresses) + 2}"
        place, cable = self._place(name), self._cable(name)
        _ip("netns", "add", place)
        self._undo.callback(_remove, place)
        _ip("link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", place)
        self._undo.callback(_ip, "link", "delete", cable)  # with its host it would go, some time
        _ip("link", "set", cable, "master", self._bridge, "up")
        _ip("-n", place, "address", "add", f"{address}/24", "dev", "eth0")
        for device in ("lo", "eth0"):
            _ip("-n", place, "link", "set", device, "up")

    def within(self, name: str) -> list[str]:
        """What stands before a command that is to run on a host."""
        return ["nsenter", f"--net=/run/netns/{self._place(name)}", "--"]

    def cut(self, name: str) -> None:
        """From now on nothing goes to a host or comes from it."""
        _ip("link", "set", self._cable(name), "down")

    def heal(self, name: str) -> None:
        """Undo a cut."""
        _ip("link", "set", self._cable(name), "up")

    def lose(self, name: str, percent: int) -> None:
        """Lose so many of the packets that go to a host or come from it, from now on.

        Skips the test where there is no ``nft``, or the kernel has no random numbers for it.
        """
        rules = ["add table inet weather", "flush table inet weather"]
        for hook, other in (("input", "iifname"), ("output", "oifname")):
            chain = f"inet weather {hook}"
            rules += [
                f"add chain {chain} {{ type filter hook {hook} priority 0; }}",
                f'add rule {chain} {other} != "lo" numgen random mod 100 < {percent} counter drop',
            ]
        try:
            self._nft(name, "-f-", given="".join(f"{rule}\n" for rule in rules))
        except (OSError, subprocess.CalledProcessError) as error:
            told = str(getattr(error, "stderr", None) or error).strip()
            pytest.skip(f"no packets are lost here, which takes nftables: {told}")

    def num_lost(self, name: str) -> int:
        """Packets that a host has lost so."""
        told = self._nft(name, "list", "table", "inet", "weather")
        return sum(int(number) for number in re.findall(r"packets (\d+)", told))

    def _nft(self, name: str, *words: str, given: str = "") -> str:
        nft = ["env", f"PATH={os.environ['PATH']}:/usr/sbin", "nft", *words]
        asked = [*self.within(name), *nft]
        done = subprocess.run(asked, input=given, check=True, capture_output=True, text=True)
        return done.stdout

    def _place(self, name: str) -> str:
        return f"{self._bridge}-{name}"

    def _cable(self, name: str) -> str:
        return f"at{os.getpid()}-{self.addresses[name].rpartition('.')[2]}"


@contextmanager
def network(*names: str) -> Iterator[Network]:
    """A network with some hosts; skips the test where namespaces are not permitted."""
    with ExitStack() as undo:
        try:
            made = Network(undo)
            for name in names:
                made.add(name)
        except (OSError, subprocess.CalledProcessError) as error:
            told = str(getattr(error, "stderr", None) or error).strip()
            pytest.skip(f"no network namespaces here, which take root and iproute2: {told}")
        yield made


def _remove(place: str) -> None:
    for pid in _ip("netns", "pids", place).split():
        with contextlib.suppress(psutil.NoSuchProcess):
            processes.kill([psutil.Process(int(pid))])
    _ip("netns", "delete", place)


def _ip(*words: str) -> str:
    asked = ["ip", *words]
    return subprocess.run(asked, check=True, capture_output=True, text=True).stdout
