"""The command an island's node runs."""

from __future__ import annotations

import shlex
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from atoll.control import ControlClient
    from atoll.gangs import GangNode
    from atoll.identity import Identity
    from cluster.membership import Membership

LEASE_LOST = 4
ORPHANED = 5


def agent(
    *,
    orchestrator: Annotated[
        str, typer.Option(help="Where it listens: host:port. Several with commas: one leads.")
    ],
    run: Annotated[str, typer.Option(help="The run's name, as its orchestrator knows it.")],
    island: Annotated[str, typer.Option(help="The island's name, unique for every start.")],
    work_dir: Annotated[Path, typer.Option(help="Folder for work in progress.")],
    node: Annotated[
        str, typer.Option(help="Which node of the island it is, where it has several.")
    ] = "",
    address: Annotated[
        str,
        typer.Option(
            help="Of this machine, for the island's other nodes.",
            show_default="as the orchestrator is called from",
        ),
    ] = "",
    processes: Annotated[int, typer.Option(min=1, help="Training processes.")] = 1,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads of each.")] = 1,
    drain_s: Annotated[float, typer.Option(min=0, help="Time for a last checkpoint.")] = 60.0,
    endpoint: Annotated[
        Path | None, typer.Option(help="File where a later orchestrator leaves its address.")
    ] = None,
    orphan_s: Annotated[
        float, typer.Option(min=0, help="Time to go on without orchestrator.")
    ] = 600.0,
    notices: Annotated[
        str, typer.Option(help="The cloud whose word to heed: none, aws, gcp or azure.")
    ] = "none",
    notices_url: Annotated[
        str, typer.Option(help="Where it is asked for, instead of on the node itself.")
    ] = "",
    trainer: Annotated[str, typer.Option(help="Run this command instead of Atoll's.")] = "",
    join: Annotated[
        Path | None, typer.Option(help="File with a join token; without, calls are plain text.")
    ] = None,
) -> None:
    """Work on leased jobs, as one island.

    Exit codes: 0 dismissed or drained, 1 refused, 2 bad input, 4 the lease was lost, 5 no
    orchestrator answered.
    """
    import logging

    from atoll import logs
    from atoll.clock import SystemClock
    from atoll.errors import BadInput, LeaseLost, Unreachable
    from cluster.agent import Agent
    from cluster.clouds import CLOUDS
    from cluster.following import Following
    from cluster.notices import heed_notices
    from cluster.own_log import OwnLog
    from cluster.tenure import Orders
    from cluster.trainer_process import TrainerSettings
    from cluster.trainer_run import IslandSettings

    addresses = _addresses(orchestrator, secured=join is not None)
    here = _node(node, address, addresses[0])
    who = _identity(run, island, here.name if here else "")
    _make(work_dir)
    logs.set_up()
    own_log = OwnLog()
    logging.getLogger().addHandler(own_log)
    orders = Orders()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: setattr(orders, "drain", True))
    how = TrainerSettings(processes, threads, tuple(shlex.split(trainer)))
    settings = IslandSettings(island, work_dir.absolute(), drain_s, orphan_s, how, here)
    clock = SystemClock()
    if notices not in {"none", *CLOUDS}:
        raise BadInput(f"--notices: {notices!r} is not known; give none, {', '.join(CLOUDS)}")
    if notices != "none":
        heed_notices(CLOUDS[notices](notices_url), orders, clock)
    with _client(addresses[0], who, join) as client:
        control = Following(client, addresses, run, endpoint)
        try:
            Agent(settings, control, own_log, clock).work(orders)
        except LeaseLost as error:
            typer.echo(f"{error}; stopping, nothing of that epoch is published any more", err=True)
            raise typer.Exit(LEASE_LOST) from error
        except Unreachable as error:
            typer.echo(str(error), err=True)
            raise typer.Exit(ORPHANED) from error


def _addresses(text: str, *, secured: bool) -> list[str]:
    """Those given with commas between them. Raises: BadInput for what is none."""
    from atoll.address import refuse_open, split_address
    from atoll.errors import BadInput

    addresses = [each.strip() for each in text.split(",")]
    for address in addresses:
        try:
            _, port = split_address(address)
        except ValueError as error:
            raise BadInput(f"--orchestrator: {error}") from error
        if not port:
            raise BadInput(f"--orchestrator: {address!r} names no port; give the one it listens at")
        try:
            refuse_open(address, secured=secured)
        except ValueError as error:
            raise BadInput(
                f"--orchestrator: {address!r} is on another machine, and calls would be in plain "
                "text; give the file of a join token with --join, see `atoll token`"
            ) from error
    return addresses


def _node(name: str, address: str, orchestrator: str) -> GangNode | None:
    """Which node of its island this is; None where that has but one. Raises: BadInput."""
    import secrets

    from atoll.errors import BadInput
    from atoll.gangs import GangNode
    from cluster.own_address import address_towards, addresses_of_this_machine

    if not name:
        return None
    known = addresses_of_this_machine()
    if address and address not in known:
        raise BadInput(f"--address: {address!r} is none of this machine's: {', '.join(known)}")
    # So that no two starts of one are taken for each other.
    return GangNode(f"{name}-{secrets.token_hex(2)}", address or address_towards(orchestrator))


def _identity(run: str, island: str, node: str) -> Identity:
    from atoll import identity
    from atoll.errors import BadInput

    try:
        return identity.island(run, island, node)
    except ValueError as error:
        raise BadInput(f"--island{' and --node' if node else ''}: {error}") from error


def _make(work_dir: Path) -> None:
    from atoll.errors import BadInput

    try:
        work_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"--work-dir: {work_dir} cannot be made: {error.strerror}") from error


def _client(address: str, who: Identity, join: Path | None) -> ControlClient | Membership:
    from atoll.clock import SystemClock
    from atoll.control import ControlClient

    if join is None:
        return ControlClient(address, who.run)
    # Only now, because calls in plain text do without any cryptography.
    from atoll.join_token import JoinToken
    from cluster.membership import Membership

    return Membership(
        address, who.run, who.name, JoinToken.read(join), SystemClock(), node=who.node
    )
