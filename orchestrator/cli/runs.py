"""``atoll train``, ``route``, ``status`` and ``orchestrator``."""

from __future__ import annotations

import shlex
from dataclasses import fields
from pathlib import Path
from typing import Annotated

import typer

from atoll.command import ConfigOption, JsonOption, SetOption, print_json, say, show
from atoll.config import Config
from atoll.config_file import run_config
from atoll.types import Vitals
from atoll.views import FleetView

VerifyOption = Annotated[
    bool,
    typer.Option(
        "--verify", help="Read every byte of finished checkpoints; train again what is damaged."
    ),
]


def train(
    config: ConfigOption = None,
    set_: SetOption = None,
    verify: VerifyOption = False,
    json_: JsonOption = False,
) -> None:
    """Train every expert on its cluster, and the monolith to compare them with.

    Ctrl-C lets every trainer checkpoint, and so does a budget that is reached (exit code 3); the
    same command goes on from there.
    """
    _train(config, set_, "train", verify=verify, json_=json_)


def route(
    config: ConfigOption = None,
    set_: SetOption = None,
    verify: VerifyOption = False,
    json_: JsonOption = False,
) -> None:
    """Train the router: which expert does a noised image belong to?

    Ctrl-C lets it checkpoint; the same command goes on from there.
    """
    _train(config, set_, "route", verify=verify, json_=json_)


def train_and_route(
    config: ConfigOption = None, set_: SetOption = None, json_: JsonOption = False
) -> None:
    """Train experts, monolith and router in one fleet, so that no island waits for a stage."""
    _train(config, set_, "train", "route", verify=False, json_=json_)


_DETAILS = {"lease_left_s", "failures", "losses", "preemptions", "why", "samples_per_s"} | {
    field.name for field in fields(Vitals)
}


def status(config: ConfigOption = None, set_: SetOption = None, json_: JsonOption = False) -> None:
    """Show how far each job of a run is, and on which island."""
    from orchestrator.cli.rows import (
        island_row,
        islands_of,
        job_row,
        server_row,
        spent_in_words,
        spent_row,
        vitals_in_words,
    )
    from orchestrator.fleet.stragglers import lagging

    settings = run_config(config, set_ or ())
    view, who = _view(settings)
    jobs = [job_row(job) for job in view.jobs]
    islands = [island_row(island) for island in islands_of(view)]
    servers = [server_row(server) for server in view.servers]
    if json_:
        rest = {"servers": servers, **spent_row(view)}
        print_json({"run": settings.run.uri, "jobs": jobs, "islands": islands, **rest})
        return
    say(who)
    # Reasons are sentences: a column would break them into words.
    plain = [{name: cell for name, cell in row.items() if name not in _DETAILS} for row in jobs]
    show(f"jobs of {settings.run.uri}", plain, as_json=False)
    slow = lagging(view.jobs)
    for row in jobs:
        pace = slow.get(row["job"])
        behind = f"; it makes only {pace:.0%} of its peers' pace" if pace else ""
        typer.echo(f"{row['job']}: {row['why']}{behind}")
    for job in view.jobs:
        if words := vitals_in_words(job):
            typer.echo(f"{job.spec.name}: {words}")
    if islands:
        show("islands", islands, as_json=False)
    if servers:
        show("servers of experts", servers, as_json=False)
    typer.echo(spent_in_words(view))
    if view.budget.reached:
        typer.echo(f"paused: {view.budget.reached}")


def serve(
    config: ConfigOption = None,
    set_: SetOption = None,
    run_uri: Annotated[
        str, typer.Option(help="A run as it was started last, in place of --config and --set.")
    ] = "",
    trainer: Annotated[
        str, typer.Option(help="Islands run this instead of Atoll's trainers.")
    ] = "",
) -> None:
    """Serve a run's control plane in the foreground; Ctrl-C drains the islands first."""
    from atoll import logs as logging_setup
    from atoll.blobs import local_path, make_place, open_store
    from atoll.config_file import load_config
    from atoll.errors import BadInput, BlobMissing
    from orchestrator.cli.training import refuse_other_settings
    from orchestrator.connect import handed_over
    from orchestrator.process import serve as process

    logging_setup.set_up()
    if run_uri and (config is not None or set_):
        raise BadInput("--run-uri: a run goes on as it was started; leave out --config and --set")
    if run_uri:
        try:
            in_folder = local_path(run_uri) is not None
            found = load_config(open_store(run_uri)) if in_folder else handed_over(run_uri)
        except BlobMissing as error:
            raise BadInput(f"--run-uri: no run was ever started at {run_uri}") from error
        # It may have been spelled from another folder.
        here = found.run.model_copy(update={"uri": run_uri})
        settings = found.model_copy(update={"run": here})
    else:
        settings = run_config(config, set_ or ())
        make_place(settings.run.uri)
        refuse_other_settings(settings)
    process(settings, shlex.split(trainer))


def refuse_unusable(config: Path | None, set_: list[str] | None) -> None:
    """Look, before long work, whether an orchestrator could serve afterwards.

    Raises:
        ConfigError: its database cannot be opened.
        BadInput: another orchestrator serves the run, or its state is elsewhere.
    """
    from orchestrator.rendezvous import refuse_other_place
    from orchestrator.storage.sql_store import SqlStore

    settings = run_config(config, set_ or ())
    refuse_other_place(settings)
    if settings.orchestrator.database:
        SqlStore(settings.orchestrator.database).close()


def _train(
    config: Path | None, set_: list[str] | None, *stages: str, verify: bool, json_: bool
) -> None:
    from orchestrator.cli.training import train as train_stages

    settings = run_config(config, set_ or ())
    rows = [
        {"job": name, "step": ref.step, "epoch": ref.epoch, "checkpoint": ref.key}
        for name, ref in train_stages(settings, *stages, verify=verify).items()
    ]
    show(f"checkpoints below {settings.run.uri}", rows, as_json=json_)


def _view(config: Config) -> tuple[FleetView, str]:
    """The fleet as its orchestrator tells it; as the database does, if none lives."""
    from atoll.errors import Unreachable
    from orchestrator.connect import find
    from orchestrator.stored import stored_view

    try:
        client = find(config)
    except Unreachable as error:
        return stored_view(config), f"{error}; this is what it wrote down last"
    if client is None:
        return stored_view(config), "no orchestrator runs; this is what the last one wrote down"
    with client:
        return client.fleet(), "as the orchestrator tells it now"
