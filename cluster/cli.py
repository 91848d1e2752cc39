"""The command an island's node runs."""

from __future__ import annotations

import shlex
import signal
from pathlib import Path
from typing import Annotated

import typer

from cluster import exits


def agent(
    *,
    orchestrator: Annotated[
        str, typer.Option(help="Where it listens: host:port. Several with commas: one leads.")
    ] = "",
    peer: Annotated[
        list[str] | None,
        typer.Option(help="Peer of a DHT that tells where it is, see atoll peer. Repeatable."),
    ] = None,
    run: Annotated[
        str, typer.Option(help="The run's name, as its orchestrator knows it; or the token's.")
    ] = "",
    island: Annotated[
        str, typer.Option(help="The island's name, unique for every start; or the token's.")
    ] = "",
    work_dir: Annotated[Path, typer.Option(help="Folder for work in progress.")] = Path("work"),
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
    parallel: Annotated[
        str,
        typer.Option(help="How they share a job, as island.parallel has it: shard=2,sequence=2."),
    ] = "",
    drain_s: Annotated[float, typer.Option(min=0, help="Time for a last checkpoint.")] = 60.0,
    endpoint: Annotated[
        Path | None, typer.Option(help="File where a later orchestrator leaves its address.")
    ] = None,
    orphan_s: Annotated[
        float, typer.Option(min=0, help="Time to go on without orchestrator.")
    ] = 600.0,
    restarts: Annotated[
        int, typer.Option(min=0, help="Times in a row to start a broken trainer anew.")
    ] = 3,
    hang_s: Annotated[
        float, typer.Option(min=5, help="Time for which nothing may move in a training step.")
    ] = 30.0,
    left_code: Annotated[
        int,
        typer.Option(min=0, max=255, help="Exit code once told to leave by a signal or its cloud."),
    ] = 0,
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
    from cluster.contact import Contact
    from cluster.notices import heed_notices
    from cluster.own_log import OwnLog
    from cluster.reaching import Reach
    from cluster.tenure import Orders
    from cluster.trainer_process import TrainerSettings
    from cluster.trainer_run import IslandSettings
    from cluster.whereabouts import Flags, whereabouts

    if parallel:  # its trainers read it; here a start without it is spared what that needs
        from atoll.parallel_section import parallel_of

        parallel_of(parallel)
    where = whereabouts(Flags(orchestrator, peer or (), run, island, node, address, endpoint, join))
    _make(work_dir)
    logs.set_up()
    own_log = OwnLog()
    logging.getLogger().addHandler(own_log)
    orders = Orders()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: setattr(orders, "drain", True))
    how = TrainerSettings(processes, threads, tuple(shlex.split(trainer)), parallel)
    settings = IslandSettings(
        where.who.name, work_dir.absolute(), drain_s, orphan_s, how, restarts, hang_s, where.node
    )
    clock = SystemClock()
    if notices not in {"none", *CLOUDS}:
        raise BadInput(f"--notices: {notices!r} is not known; give none, {', '.join(CLOUDS)}")
    if notices != "none":
        heed_notices(CLOUDS[notices](notices_url), orders, clock)
    with Reach(where, clock) as reach:
        try:
            control = reach.control(orders, Contact(orphan_s, clock))
            if control is not None:
                working = Agent(settings, control, own_log, clock)
                reach.announce(working)
                working.work(orders)
        except LeaseLost as error:
            typer.echo(f"{error}; stopping, nothing of that epoch is published any more", err=True)
            raise typer.Exit(exits.LEASE_LOST) from error
        except Unreachable as error:
            typer.echo(str(error), err=True)
            raise typer.Exit(exits.ORPHANED) from error
    if orders.drain:
        raise typer.Exit(left_code)


def _make(work_dir: Path) -> None:
    from atoll.errors import BadInput

    try:
        work_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"--work-dir: {work_dir} cannot be made: {error.strerror}") from error
