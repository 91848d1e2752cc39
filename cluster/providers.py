"""The providers that a run's configuration names."""

from __future__ import annotations

import importlib
from pathlib import Path

from atoll.clock import Clock
from atoll.config import Config
from atoll.island_section import ProviderName
from cluster.background import Background
from cluster.local import LocalProvider
from cluster.provider import Provider
from cluster.several import Several

# Where each is, and the pause between two questions to it in seconds: whole labs ask the same one.
_FAR: dict[ProviderName, tuple[str, str, float]] = {
    "slurm": ("cluster.slurm", "SlurmProvider", 2.0),
    "ssh": ("cluster.ssh", "SshProvider", 2.0),
    "kubernetes": ("cluster.kubernetes.provider", "KubernetesProvider", 2.0),
    "skypilot": ("cluster.skypilot.provider", "SkypilotProvider", 20.0),
}


def provider_of(config: Config, label: str, folder: Path, clock: Clock) -> Provider:
    """What starts and stops the nodes of a run.

    Args:
        config: of the run.
        label: its name.
        folder: where local islands keep their logs.
        clock: the orchestrator's.
    """
    shares = config.island.shares
    made = [(_made(name, config, label, folder, clock), name, shares[name]) for name in shares]
    return Several(made, clock) if len(made) > 1 else made[0][0]


def requeues(config: Config) -> bool:
    """Whether nodes may be started again by what they run on, as islands of later names."""
    return "slurm" in config.island.shares and config.slurm.requeue


def _made(name: ProviderName, config: Config, label: str, folder: Path, clock: Clock) -> Provider:
    provider = bare(name, config, label, folder)
    return provider if name == "local" else Background(provider, label, _FAR[name][2], clock)


def bare(name: ProviderName, config: Config, label: str, folder: Path) -> Provider:
    """A provider that is asked directly, and takes its time to answer.

    Args:
        name: which.
        config: of the run.
        label: its name.
        folder: for logs and work of islands on this machine.
    """
    if name == "local":
        return LocalProvider(folder)
    module, kind, _ = _FAR[name]
    made: Provider = getattr(importlib.import_module(module), kind)(config, label, folder)
    return made
