"""Finding the orchestrator of a run, or starting it as a process of its own."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from atoll import layout
from atoll.clock import Clock, SystemClock
from atoll.config import Config
from atoll.control import ControlClient
from atoll.errors import BadInput, Unreachable
from cluster.local import last_lines
from cluster.processes import Detached
from orchestrator.endpoint import Endpoint

LOG = "orchestrator.log"
_START_S = 60.0


def attach(config: Config) -> ControlClient | None:
    """A client of the run's orchestrator if one lives and answers."""
    endpoint = Endpoint.read(layout.state_folder(config.run.uri))
    if endpoint is None or not endpoint.is_alive:
        return None
    client = ControlClient(endpoint.address)
    try:
        client.fleet()
    except Unreachable:
        client.close()
        return None
    return client


def connect(config: Config, trainer: Sequence[str] = ()) -> ControlClient:
    """A client of the run's orchestrator, which is started if none lives.

    Args:
        config: the run; its configuration is in its store already.
        trainer: see :func:`orchestrator.process.serve`.

    Raises:
        BadInput: the orchestrator cannot start as configured.
        Unreachable: it did not come up in time.
    """
    clock: Clock = SystemClock()
    log = layout.state_folder(config.run.uri) / LOG
    child: Detached | None = None
    give_up_at = clock.monotonic() + _START_S
    while clock.monotonic() < give_up_at:
        client = attach(config)
        if client is not None:
            return client
        if child is None:
            child = _start(config.run.uri, trainer, log)
        elif child.poll() is not None:
            raise BadInput(_last_sentence(log))
        clock.sleep(0.1)
    raise Unreachable(f"the orchestrator did not come up in {_START_S:g} s; see {log}")


def _start(run_uri: str, trainer: Sequence[str], log: Path) -> Detached:
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-P", "-m", "atoll", "orchestrator", "--run-uri", run_uri]
    return Detached([*command, "--trainer", shlex.join(trainer)], log)


def _last_sentence(log: Path) -> str:
    """What a program that could not start said last, without its name."""
    lines = last_lines(log, 1).strip()
    return lines.removeprefix("atoll: ") or f"the orchestrator ended at once; see {log}"
