"""The provider that a run's configuration names."""

from __future__ import annotations

from pathlib import Path

from atoll.clock import Clock
from atoll.config import Config
from cluster.local import LocalProvider
from cluster.provider import Provider

_SLURM_POLL_S = 2.0  # each question costs the controller, which a whole lab asks


def provider_of(config: Config, label: str, folder: Path, clock: Clock) -> Provider:
    """What starts and stops the nodes of a run.

    Args:
        config: of the run.
        label: its name.
        folder: where local islands keep their logs.
        clock: the orchestrator's.
    """
    if config.island.provider == "local":
        return LocalProvider(folder)
    from cluster.background import Background  # noqa: PLC0415 - local runs do without
    from cluster.slurm import SlurmProvider  # noqa: PLC0415

    return Background(SlurmProvider(config, label, folder), label, _SLURM_POLL_S, clock)
