"""Throw-away hosts: real servers of OpenSSH, each with keys and a home of its own."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from cluster import processes
from tests.namespaces import Network
from tests.ports import free_port

SCRIPT = Path(__file__).parents[1] / "scripts" / "sshd"


class ThrowAwayHosts:
    """Hosts that this machine plays, called by their names with one configuration of ssh."""

    def __init__(self, folder: Path) -> None:
        """Begin with none, or skip the test where there is no server."""
        if subprocess.run([SCRIPT, "find"], stdout=subprocess.DEVNULL, check=False).returncode:
            pytest.skip("no OpenSSH server here: as root, run scripts/sshd install")
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.servers: dict[str, subprocess.Popen[bytes]] = {}
        self.ports: dict[str, int] = {}

    @property
    def config(self) -> Path:
        """Of ssh."""
        return self.folder / "config"

    def settings(self, *names: str) -> list[str]:
        """What a run is told of some hosts, or of all."""
        listed = ", ".join(f'"{name}"' for name in names or self.servers)
        return [
            'island.provider="ssh"',
            f"ssh.hosts=[{listed}]",
            f"ssh.config={self.config}",
            f"ssh.python={sys.executable}",
        ]

    def home(self, name: str) -> Path:
        """Where a host's user is at home."""
        return self.folder / name / "home"

    def start(self, name: str, address: str = "127.0.0.1", within: Sequence[str] = ()) -> None:
        """Let a host come up.

        Args:
            name: of the host.
            address: where it listens.
            within: command that runs its server somewhere else, e.g. in a namespace.
        """
        if name not in self.ports:
            self.ports[name] = free_port()
        log = self.folder / f"{name}.log"
        command = [*within, SCRIPT, "run", self.folder / name, address, str(self.ports[name])]
        with log.open("wb") as output:
            self.servers[name] = subprocess.Popen(command, stdout=output, stderr=output)
        give_up_at = time.monotonic() + 30
        while "Server listening" not in log.read_text():
            assert self.servers[name].poll() is None, log.read_text()
            assert time.monotonic() < give_up_at, log.read_text()
            time.sleep(0.02)
        configs = [self.folder / each / "config" for each in self.servers]
        self.config.write_text("\n".join(path.read_text() for path in configs))

    def kill(self, name: str) -> None:
        """The server and all connections to it, at once; what was started there goes on."""
        server = psutil.Process(self.servers[name].pid)
        children = server.children(recursive=True)
        sessions = [each for each in children if each.name() == "sshd"]
        processes.kill([server, *sessions])
        self.servers[name].wait()

    def stop(self) -> None:
        for name, server in self.servers.items():
            if server.poll() is None:
                self.kill(name)
            for process in processes.working_in(self.home(name)):
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()


@contextmanager
def hosts_within(net: Network, folder: Path, *names: str) -> Iterator[ThrowAwayHosts]:
    """Hosts of a network that take ssh, until the end."""
    made = ThrowAwayHosts(folder)
    try:
        for name in names:
            made.start(name, net.addresses[name], net.within(name))
        yield made
    finally:
        made.stop()
