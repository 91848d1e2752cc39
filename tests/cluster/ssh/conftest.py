"""Two hosts over a real ssh, a provider before them, and what is asked of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from atoll.config_file import read_config
from atoll.errors import ConfigError
from cluster import processes
from cluster.provider import Node, NodeSpec
from cluster.ssh import SshProvider
from tests.ports import free_port

PAIR = ("island.count=1", "island.nodes=2")
ONE = ('ssh.hosts=["one"]', "island.count=1")


def until(holds: Callable[[], object]) -> None:
    give_up_at = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < give_up_at
        time.sleep(0.05)


def spec_of(island: str, label: str = "run") -> NodeSpec:
    return NodeSpec(island, label, ("--orchestrator", "127.0.0.1:9", "--run", "run"), num_gpus=0)


def pair_of(island: str, min_nodes: int = 2) -> NodeSpec:
    return replace(spec_of(island), num_nodes=2, min_nodes=min_nodes)


@pytest.fixture
def settings(sshd, tmp_path) -> list[str]:
    """Of a run on both hosts, which keep the folders of this test below it."""
    for name in sshd.servers:
        (tmp_path / name).mkdir()
        (sshd.home(name) / tmp_path.name).symlink_to(tmp_path / name)
    return [*sshd.settings(), f"ssh.folder=~/{tmp_path.name}", f"run.uri={tmp_path}"]


@pytest.fixture
def make(settings, tmp_path):
    """Makes a provider, with some settings changed."""

    def make(*changed: str, label: str = "run") -> SshProvider:
        return SshProvider(read_config(None, [*settings, *changed]), label, tmp_path)

    yield make
    processes.kill(processes.working_in(tmp_path))


@pytest.fixture
def config_with(sshd, tmp_path) -> Callable[[str], str]:
    """The setting for ssh's configuration with some lines before it."""

    def write(text: str) -> str:
        (tmp_path / "config").write_text(f"{text}\n{sshd.config.read_text()}")
        return f"ssh.config={tmp_path / 'config'}"

    return write


def refusal(provider: SshProvider) -> str:
    with pytest.raises(ConfigError) as refused:
        provider.validate(spec_of("island-0"))
    return str(refused.value)


def nodes_of(provider: SshProvider) -> dict[str, Node]:
    return {node.island: node for node in provider.list("run")}


def script(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return f"ssh.python={path}"


@pytest.fixture
def gone(config_with) -> list[str]:
    """Settings with a third host, which does not answer."""
    return [config_with(f"Host gone\n HostName 127.0.0.1\n Port {free_port()}")]
