"""The ``atoll`` command: a table of commands, each imported only when it is called."""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from atoll.command import ConfigOption, JsonOption, SetOption
from atoll.errors import AtollError, Interrupted


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a command lives, and the line that stands for it in the help."""

    target: str
    summary: str
    panel: str


MAIN, STAGES, SIGHT = "The whole way", "Stage by stage", "Look"
STEER, SERVERS = "Steer a run that is at work", "Long-running parts"
SAFETY, KEPT, EXCHANGE = "Beyond one machine", "What is kept", "Other programs"

COMMANDS = {
    "run": Entry("atoll.__main__:run", "From a data set to a sampled, judged ensemble.", MAIN),
    "init": Entry("atoll.init:init", "Write a commented configuration file.", MAIN),
    "doctor": Entry(
        "cluster.doctor:doctor", "What this machine can do, and what is missing.", MAIN
    ),
    "partition": Entry("partition.cli:partition", "Split the data set into clusters.", STAGES),
    "encode": Entry("partition.cli:encode", "Help to encode what is partitioned.", STAGES),
    "train": Entry("orchestrator.cli.runs:train", "Train the experts, and the monolith.", STAGES),
    "route": Entry("orchestrator.cli.runs:route", "Train the router.", STAGES),
    "average": Entry(
        "atoll.__main__:average", "Average weights over another length, after training.", STAGES
    ),
    "sample": Entry("router.cli:sample", "Draw images from the ensemble.", STAGES),
    "generate": Entry("atoll.generate:generate", "Have images drawn by a service.", STAGES),
    "evaluate": Entry("evaluation.cli:evaluate", "Judge every selection strategy.", STAGES),
    "report": Entry("evaluation.cli:report", "Write the HTML report.", STAGES),
    "certs": Entry("atoll.certs:certs", "Make certificates for a lab.", SAFETY),
    "token": Entry("orchestrator.cli.token:token", "Let a node become an island.", SAFETY),
    "revoke": Entry(
        "orchestrator.cli.revoke:revoke", "Shut out who has stolen a certificate.", SAFETY
    ),
    "key": Entry("serving.cli:key", "Let somebody use a served ensemble.", SAFETY),
    "status": Entry("orchestrator.cli.runs:status", "Jobs and islands of a run.", SIGHT),
    "peers": Entry("orchestrator.cli.peers:peers", "Who of a run the DHT tells of.", SIGHT),
    "logs": Entry("orchestrator.cli.logs:logs", "What a job or an island wrote.", SIGHT),
    "profile": Entry("orchestrator.cli.profile:profile", "Trace what a job's trainer does.", SIGHT),
    "watch": Entry("orchestrator.cli.watch:watch", "Jobs, islands and events, live.", SIGHT),
    "events": Entry("orchestrator.cli.events:events", "What happened, and why.", SIGHT),
    "pause": Entry("orchestrator.cli.steering:pause", "Checkpoint jobs, and hold them.", STEER),
    "resume": Entry("orchestrator.cli.steering:resume", "Let paused jobs go on.", STEER),
    "retry": Entry("orchestrator.cli.steering:retry", "Try again what was given up.", STEER),
    "cancel": Entry("orchestrator.cli.steering:cancel", "End jobs without finishing.", STEER),
    "drain": Entry("orchestrator.cli.steering:drain", "Let an island go, or all.", STEER),
    "checkpoints": Entry(
        "orchestrator.cli.checkpoints:checkpoints", "Those of each job, and why.", KEPT
    ),
    "collect": Entry("orchestrator.cli.checkpoints:collect", "Delete what need not be kept.", KEPT),
    "import": Entry(
        "experts.exchange.cli:import_", "Make an expert of another's checkpoint.", EXCHANGE
    ),
    "export": Entry("experts.exchange.cli:export", "Write an expert for others to use.", EXCHANGE),
    "bench": Entry("serving.bench.cli:bench", "Measure what serves.", SIGHT),
    "inspect": Entry("partition.inspecting.cli:inspect", "What is in a data set or shards.", SIGHT),
    "plan": Entry("orchestrator.cli.plan:plan", "Foretell what a run needs.", SIGHT),
    "simulate": Entry(
        "orchestrator.simulator.cli:simulate", "Foretell a run on spot nodes.", SIGHT
    ),
    "orchestrator": Entry("orchestrator.cli.runs:serve", "Serve the control plane.", SERVERS),
    "serve": Entry("serving.cli:serve", "Serve a trained ensemble.", SERVERS),
    "serve-expert": Entry("serving.cli:serve_expert", "Serve experts to gateways.", SERVERS),
    "agent": Entry("cluster.cli:agent", "Work on leased jobs, as one island.", SERVERS),
    "peer": Entry("membership.cli:peer", "Help runs to be found on any host.", SERVERS),
}


class LazyGroup(TyperGroup):
    """Lists commands from the table, and imports a command's module only to run it."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command; Ctrl-C ends it with a sentence rather than nothing."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise Interrupted(
                "interrupted; what was finished is kept, and the same command goes on from there"
            ) from error

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - click's signature
        """The names, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002
        """A stand-in that knows the summary; enough for the help."""
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        stand_in = typer.main.get_command(_app_of(lambda: None, entry, cmd_name))
        stand_in.name = cmd_name
        return stand_in

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The real command, for running it or completing its options."""
        name, stand_in, rest = super().resolve_command(ctx, args)
        if name is None or stand_in is None:
            return name, stand_in, rest
        module, _, function = COMMANDS[name].target.partition(":")
        loaded = getattr(importlib.import_module(module), function)
        is_group = isinstance(loaded, typer.Typer)
        command = typer.main.get_command(
            loaded if is_group else _app_of(loaded, COMMANDS[name], name)
        )
        return name, command, rest


def _app_of(function: Any, entry: Entry, name: str) -> typer.Typer:
    app = typer.Typer(add_completion=False)
    app.command(
        name, help=None if function.__doc__ else entry.summary, rich_help_panel=entry.panel
    )(function)
    return app


def _version(wanted: bool) -> None:
    if wanted:
        from atoll import __version__

        typer.echo(__version__)
        raise typer.Exit


app = typer.Typer(cls=LazyGroup, no_args_is_help=True, pretty_exceptions_enable=False)


@app.callback()
def atoll(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version."
    ),
) -> None:
    """Decentralized diffusion models, from a data set to a judged ensemble.

    Begin with [bold]atoll init[/bold], then [bold]atoll run --config atoll.toml[/bold].
    """


def run(config: ConfigOption = None, set_: SetOption = None, json_: JsonOption = False) -> None:
    """Go the whole way: partition, train, route, sample, evaluate, report.

    What is done already is found and kept. Ctrl-C lets every trainer checkpoint; the same command
    goes on from there.
    """
    from evaluation.cli import evaluate, report
    from orchestrator.cli.runs import refuse_unusable, train_and_route
    from partition.cli import partition
    from router.cli import sample

    # A program that reads JSON gets one document; the other stages speak to people.
    for_people = sys.stderr if json_ else sys.stdout
    with contextlib.redirect_stdout(for_people):
        refuse_unusable(config, set_)
        partition(config, set_)
        train_and_route(config, set_)
        sample(config, set_)
    evaluate(config, set_, json_=json_)
    with contextlib.redirect_stdout(for_people):
        report(config, set_)


def average(
    length: Annotated[
        list[float],
        typer.Option(
            min=0.001,
            max=0.28,
            help="Of the average, as a part of the training. Repeatable: sampling.ema_length and "
            "evaluation tell which is best.",
        ),
    ],
    config: ConfigOption = None,
    set_: SetOption = None,
    json_: JsonOption = False,
) -> None:
    """Make averages of other lengths than those that were tracked, for experts and monolith.

    They are mixed from the averages in all checkpoints that are left, as exactly as the table
    says. What samples, judges, serves or exports by sampling.ema_length takes them.
    """
    from atoll import layout
    from atoll.blobs import open_store
    from atoll.command import show
    from atoll.config_file import run_config
    from experts.averaging import make_averages
    from orchestrator.cli.kept import kept_checkpoints

    settings = run_config(config, set_ or ())
    store, kept = open_store(settings.run.uri), kept_checkpoints(settings)
    cache = layout.state_folder(settings.run.uri) / "cache"
    rows = [
        {"length": each, **asdict(made)}
        for each in length
        for made in make_averages(store, each, kept, cache)
    ]
    show("averages", rows, as_json=json_)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; errors become one sentence and an exit code."""
    try:
        app(args=arguments, prog_name="atoll")
    except AtollError as error:
        typer.echo(f"atoll: {error}", err=True)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
