"""``atoll token``: what an operator gives a node, so that it becomes an island."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from atoll.address import split_address
from atoll.clock import SystemClock
from atoll.command import ConfigOption, SetOption, say
from atoll.config import Config
from atoll.config_file import run_config
from atoll.credentials import CA, read_pair
from atoll.errors import BadInput, ConfigError
from atoll.outward import outward
from atoll.private_files import write_private
from atoll.rendezvous import Rendezvous
from atoll.revocations import read_revocations
from orchestrator.naming import name_of
from orchestrator.rpc.registrar import token_of
from orchestrator.rpc.security import certificates_of

_STDOUT = Path("-")


def token(
    file: Annotated[Path, typer.Argument(help="Where to write it; - for standard output.")],
    config: ConfigOption = None,
    set_: SetOption = None,
    island: Annotated[
        str, typer.Option(help="For this island alone, once; without, for any free name.")
    ] = "",
    minutes: Annotated[int, typer.Option(min=1, max=10080, help="How long it lasts.")] = 60,
) -> None:
    """Make a join token, with which `atoll agent --join FILE` becomes an island of a run.

    It is a secret: hand it over as a file, or through a pipe (`--join /dev/stdin`).
    """
    settings = run_config(config, set_ or ())
    tls = certificates_of(settings)
    run = name_of(settings)
    try:
        ca, revoked = read_pair(tls, CA), read_revocations(tls)
    except ConfigError as error:
        raise ConfigError(f"orchestrator.tls: {error}") from error
    try:
        made = token_of(ca, run, island, SystemClock().wall(), minutes * 60.0)
        if made.identity.shut_out_as(island) & revoked.keys():
            raise BadInput(f"--island: {island} was revoked; give the node another name")
    except ValueError as error:
        raise BadInput(f"--island: {error}") from error
    if file == _STDOUT:
        sys.stdout.write(made.text)
        return
    try:
        write_private(file, made.text.encode())
    except OSError as error:
        raise BadInput(f"{file} cannot be written: {error.strerror}") from error
    words = ["atoll", "agent"]
    if settings.membership.peers:  # they tell where it is, also after it moved
        words += [word for peer in settings.membership.peers for word in ("--peer", peer)]
    else:
        words += ["--orchestrator", _address(settings) or "HOST:PORT", "--run", run]
    words += ["--island", island or "NAME", "--work-dir", "work", "--join", file.name]
    say(f"wrote {file}; on the node: {shlex.join(words)}")


def _address(config: Config) -> str:
    """Where nodes call the run's orchestrator, if one serves or the configuration tells."""
    note = Rendezvous.read(config.run.uri)
    if note is not None and note.address:
        return note.address
    port = split_address(config.orchestrator.listen)[1]
    return outward(config.orchestrator, config.orchestrator.listen) if port else ""
