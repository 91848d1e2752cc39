"""Places where islands can be started on this machine, each with a job that does nothing.

Slurm is served by scripts/slurm and the host by scripts/sshd. Kubernetes and SkyPilot are those of
the tests: a server that checks every request and runs pods as processes, and a program that prints
what SkyPilot prints. They tell what Atoll adds, and nothing of a cluster's or a cloud's own time.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from atoll.config_file import read_config
from cluster.kubernetes.api import Api
from cluster.kubernetes.manifests import jobset_of
from cluster.provider import NodeSpec
from cluster.skypilot.task import task_of
from tests.kubernetes.cluster import Cluster
from tests.kubernetes.objects import ends_of
from tests.kubernetes.server import Server
from tests.skypilot import scripted

SCRIPTS = Path(__file__).parents[1] / "scripts"
NOTHING = NodeSpec("nothing", "floor", (), num_gpus=0)
# The settings of a run there, and what does nothing there and returns once that is done.
Place = tuple[Sequence[str], Callable[[], None]]


@contextmanager
def local(_: Path) -> Iterator[Place]:
    """This machine itself."""
    yield [], commanded("true")


@contextmanager
def slurm(folder: Path) -> Iterator[Place]:
    """A cluster of one node."""
    port = free_port()
    os.environ["SLURM_CONF"] = str(folder / "slurm.conf")
    daemons = subprocess.Popen([SCRIPTS / "slurm", "run", folder, str(port)], **quiet)
    try:
        asked = ["sinfo", "--noheader", "--format=%T"]
        until(lambda: out(asked) == b"idle\n", daemons)
        yield (
            ['island.provider="slurm"'],
            commanded("sbatch", "--wait", "--output=/dev/null", "--wrap=true"),
        )
    finally:
        subprocess.run(["scancel", "--me"], check=False)
        daemons.terminate()
        daemons.wait()


@contextmanager
def ssh(folder: Path) -> Iterator[Place]:
    """A host, which is this machine."""
    home = folder / "host"
    server = subprocess.Popen(
        [SCRIPTS / "sshd", "run", home, "127.0.0.1", str(free_port())], **quiet
    )
    config = home / "config"
    call = ["ssh", "-F", str(config), "host", "true"]
    try:
        until(lambda: config.exists() and ends_well(call), server)
        settings = [f"ssh.config={config}", f"ssh.python={sys.executable}", 'ssh.hosts=["host"]']
        yield ['island.provider="ssh"', *settings], commanded(*call)
    finally:
        server.terminate()
        server.wait()


@contextmanager
def kubernetes(folder: Path) -> Iterator[Place]:
    """The cluster of the tests, of this process."""
    server = Server(Cluster(folder / "pods"))
    os.environ["KUBECONFIG"] = str(server.kubeconfig(folder / "kubeconfig"))
    settings = [
        *('island.provider="kubernetes"', "kubernetes.image=any", "kubernetes.namespace=atoll"),
        f"kubernetes.python={sys.executable}",
        f'kubernetes.claims={{shared="{folder}"}}',
    ]

    def nothing() -> None:
        config = read_config(None, settings)
        jobset = jobset_of(config, NOTHING, "key")
        (replicated,) = jobset["spec"]["replicatedJobs"]
        pod = replicated["template"]["spec"]["template"]["spec"]
        pod["containers"][0]["command"] = ["true"]
        api, name = Api(config.kubernetes), jobset["metadata"]["name"]
        api.create_jobset(jobset)
        until(lambda: bool(ends_of(api.jobset(name))))
        api.delete_jobset(name)
        until(lambda: name not in server.cluster.of("jobsets"))

    try:
        yield [*settings, *secured(folder)], nothing
    finally:
        server.stop()


@contextmanager
def skypilot(folder: Path) -> Iterator[Place]:
    """The scripted SkyPilot of the tests."""
    sky = scripted.install(folder / "sky")
    settings = ['island.provider="skypilot"', f"skypilot.command={sky}"]
    task = {**task_of(read_config(None, settings), NOTHING, "key", None), "run": "true"}
    path = folder / "nothing.yaml"
    path.write_text(json.dumps(task))

    def nothing() -> None:
        subprocess.run([sky, "launch", "--yes", "--cluster", "nothing", path], check=True, **quiet)
        until(lambda: b"SUCCEEDED" in out([str(sky), "queue", "nothing", "--output", "json"]))
        subprocess.run([sky, "down", "--yes", "nothing"], check=True, **quiet)

    try:
        yield [*settings, f"skypilot.python={sys.executable}", *secured(folder)], nothing
    finally:
        scripted.stop(sky.parent)


quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
PROVIDERS = {each.__name__: each for each in (local, slurm, ssh, kubernetes, skypilot)}


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def out(command: Sequence[str]) -> bytes:
    return subprocess.run(command, check=False, capture_output=True).stdout


def ends_well(command: Sequence[str]) -> bool:
    return subprocess.run(command, check=False, **quiet).returncode == 0


def until(holds: Callable[[], bool], needed: subprocess.Popen[bytes] | None = None) -> None:
    """Wait; for nothing that cannot come any more, because a process has ended."""
    while not holds():
        if needed is not None and needed.poll() is not None:
            raise SystemExit(f"{needed.args} ended; are its packages installed?")
        time.sleep(0.02)


def commanded(*command: str) -> Callable[[], None]:
    return lambda: subprocess.run(command, check=True, **quiet) and None


def secured(folder: Path) -> Sequence[str]:
    """Settings by which islands elsewhere could call."""
    addresses = (each for found in psutil.net_if_addrs().values() for each in found)
    own = next(
        each.address
        for each in addresses
        if each.family == socket.AF_INET and not each.address.startswith("127.")
    )
    tls = folder / "tls"
    certs = [sys.executable, "-m", "atoll", "certs", str(tls), "--host", own]
    subprocess.run(certs, check=True, **quiet)
    return [f"orchestrator.listen={own}:0", f"orchestrator.tls={tls}"]
