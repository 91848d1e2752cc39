"""Finding the orchestrator of a run, or starting it as a process of its own."""

from __future__ import annotations

import contextlib
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import grpc
import psutil

from atoll import layout
from atoll.blobs import absolute
from atoll.clock import Clock, SystemClock
from atoll.command import say
from atoll.config import Config
from atoll.config_file import parse_config
from atoll.control import ControlClient
from atoll.errors import BadInput, BlobError, ConfigError, Unreachable
from atoll.rendezvous import Rendezvous
from cluster import state_file
from cluster.local import ending, last_lines
from cluster.processes import Detached
from orchestrator.endpoint import Endpoint, is_taken, settings_of
from orchestrator.storage.urls import database_url, is_shared

LOG = "orchestrator.log"
HANDED = "handed-over.json"
_START_S = 60.0
_ASKING_S = 300.0  # for one that was started and lives: it may wait for its provider's answers
_LEAVE_S = 20.0
_LEAVING_S = 5.0  # from closing its port to its process's end


def find(config: Config) -> ControlClient | None:
    """A client of the run's orchestrator, on whatever machine; None if none is known to live.

    Raises:
        Unreachable: one may live, and does not answer.
        ConfigError: it asks for a certificate, and none can be had.
    """
    try:
        client = attach(config)
    except Unreachable:
        # It may have lost the lead to one elsewhere, and stand by.
        client = _elsewhere(config)
        if client is None:
            raise
    return client or _noted(config)


def _noted(config: Config) -> ControlClient | None:
    """A client of the orchestrator on another machine; None if none is known to live.

    Raises:
        Unreachable: one may live, and does not answer.
        ConfigError: it asks for a certificate, and none can be had.
    """
    try:
        note = Rendezvous.read(config.run.uri)
    except BlobError as error:
        raise Unreachable(
            f"whether an orchestrator runs elsewhere is not known: {error}"
        ) from error
    # The file beside its state knows better whether an orchestrator of this machine lives.
    if note is None or not note.address or note.is_from(config.run.uri):
        return None
    note.refuse_downgrade(config.run.uri, "orchestrator.tls", config.orchestrator.tls)
    client = ControlClient(note.address, note.run, _credentials(config, secured=note.secured))
    try:
        client.fleet()
    except Unreachable as error:
        client.close()
        raise Unreachable(
            f"the run's orchestrator serves on {note.host}, or did until it was killed: {error}"
        ) from error
    return client


def attach(config: Config) -> ControlClient | None:
    """A client of the run's orchestrator on this machine; None if none lives.

    Raises:
        Unreachable: one lives and does not answer.
        ConfigError: it asks for a certificate, and none can be had.
    """
    endpoint = Endpoint.read(layout.state_folder(config.run.uri))
    if endpoint is None or not endpoint.is_alive:
        return None
    client = ControlClient(
        endpoint.address, endpoint.run, _credentials(config, secured=endpoint.secured)
    )
    try:
        client.fleet()
    except Unreachable as error:
        client.close()
        if endpoint.ends_within(_LEAVING_S, SystemClock()):
            return None
        raise Unreachable(
            f"the run's orchestrator (process {endpoint.process.pid}) lives and does not answer: "
            f"{error}"
        ) from error
    return client


def connect(config: Config, trainer: Sequence[str] = ()) -> ControlClient:
    """A client of the run's orchestrator, which is started if none lives.

    One that was started with other settings and has nothing left to do is dismissed: its successor
    goes by the new ones.

    Args:
        config: the run; its configuration is in its store already.
        trainer: see :func:`orchestrator.process.serve`.

    Raises:
        BadInput: the orchestrator cannot start as configured.
        Unreachable: it did not come up in time, or ended at once.
    """
    clock: Clock = SystemClock()
    folder, shared = layout.state_folder(config.run.uri), is_shared(database_url(config))
    child: Detached | None = None
    began_at, patience_s, trouble = clock.monotonic(), _START_S, "nothing more is known"
    while clock.monotonic() < began_at + patience_s:
        try:
            if shared and (client := _elsewhere(config)) is not None:
                return client
            client = attach(config)
            if client is not None and _goes_by(config, client, folder):
                return client
        except Unreachable as error:  # it hangs, or leaves at this moment
            trouble = str(error)
        else:
            if client is not None:
                client.close()
                _dismiss(folder, clock)
            elif (child is None or child.poll() is not None) and is_taken(folder):
                # One comes, goes, or stands by: another command's was quicker, perhaps.
                child, trouble = None, "the one on this machine does not serve"
                patience_s = _START_S if shared else _ASKING_S
            elif child is None:
                child = _start(config, trainer, folder)
                began_at, patience_s = clock.monotonic(), _ASKING_S
            else:
                _refuse_ended(child, folder / LOG)
        clock.sleep(0.1)
    raise Unreachable(
        f"no orchestrator could be reached in {patience_s:g} s: {trouble}; see {folder / LOG}"
    )


def _elsewhere(config: Config) -> ControlClient | None:
    """A client of an orchestrator that leads from another machine; None if none is known to."""
    try:
        return _noted(config)
    except Unreachable:
        return None  # lost with its machine, perhaps: the one here takes over


def _credentials(config: Config, *, secured: bool) -> grpc.ChannelCredentials | None:
    """As whom to call an orchestrator, which may have been started with other settings."""
    if not secured:
        return None
    if not config.orchestrator.tls:
        raise ConfigError(
            "the run's orchestrator asks for certificates; set orchestrator.tls to the folder that "
            "holds yours"
        )
    from atoll.credentials import operator_credentials  # noqa: PLC0415 - plain runs need none

    return operator_credentials(Path(config.orchestrator.tls))


def _goes_by(config: Config, client: ControlClient, folder: Path) -> bool:
    """Whether to work with this orchestrator: it has our settings, or work it cannot leave."""
    endpoint = Endpoint.read(folder)
    if endpoint is None or endpoint.settings == settings_of(config):
        return True
    if not any(job.state.is_open for job in client.fleet().jobs):
        return False
    say(
        "the run's orchestrator is at work with the [island], [budget] and [orchestrator] settings "
        "it was started with; interrupt this command and give it again to have the new ones"
    )
    return True


def _dismiss(folder: Path, clock: Clock) -> None:
    """End an orchestrator without work; those who still look at it would keep it for long."""
    endpoint = Endpoint.read(folder)
    process = None if endpoint is None else endpoint.process.find()
    if endpoint is None or process is None:
        return
    with contextlib.suppress(psutil.NoSuchProcess):
        process.terminate()
    endpoint.ends_within(_LEAVE_S, clock)


def handed_over(run_uri: str) -> Config:
    """The configuration that a command of this machine has started an orchestrator with.

    Raises:
        BadInput: none has; what a bucket says of its orchestrator anybody may have written.
    """
    tree = state_file.read(layout.state_folder(run_uri) / HANDED)
    if tree is None:
        raise BadInput(
            f"--run-uri: {run_uri} was never served from here, and what a bucket says of its own "
            "orchestrator is not gone by; give the run's file with --config"
        )
    return parse_config(tree, HANDED)


def _start(config: Config, trainer: Sequence[str], folder: Path) -> Detached:
    folder.mkdir(parents=True, exist_ok=True)
    state_file.write(folder / HANDED, config.model_dump(mode="json"))
    command = [sys.executable, "-P", "-m", "atoll", "orchestrator"]
    command += ["--run-uri", absolute(config.run.uri), "--trainer", shlex.join(trainer)]
    return Detached(command, folder / LOG)


def _refuse_ended(child: Detached, log: Path) -> None:
    """Say why an orchestrator that was just started ended, if it did."""
    code = child.poll()
    if code is None:
        return
    if code == BadInput.exit_code:
        raise BadInput(last_lines(log, 1).strip().removeprefix("atoll: "))
    raise Unreachable(f"the orchestrator {ending(code)} before it served; see {log}")
