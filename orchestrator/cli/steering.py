"""``atoll pause``, ``resume``, ``retry``, ``cancel`` and ``drain``: steering a run at work."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from atoll.command import ConfigOption, JsonOption, SetOption, print_json, say
from atoll.config_file import run_config
from atoll.control import ControlClient
from atoll.errors import BadInput, Refused
from atoll.types import Action

T = TypeVar("T")

JobsArgument = Annotated[
    list[str] | None, typer.Argument(metavar="JOB", help="Like expert-0.", show_default="all")
]
ReasonOption = Annotated[str, typer.Option("--reason", "-m", help="Kept in the run's events.")]


def _on_jobs(action: Action, words: str) -> Callable[..., None]:
    """A command that does something to the jobs named, or to all that it can be done to."""

    def command(
        jobs: JobsArgument = None,
        config: ConfigOption = None,
        set_: SetOption = None,
        reason: ReasonOption = "",
        json_: JsonOption = False,
    ) -> None:
        _steer(action, jobs, config, set_, reason, json_=json_)

    command.__doc__ = words
    return command


pause = _on_jobs(
    Action.PAUSE,
    """Let jobs checkpoint and hold them; their islands take others.

    `atoll resume` lets them go on, and so does the command that trains them.
    """,
)
resume = _on_jobs(Action.RESUME, "Let paused jobs go on from their last checkpoint.")
retry = _on_jobs(
    Action.RETRY, "Try jobs again that were given up or cancelled, from their last checkpoint."
)


def cancel(
    jobs: Annotated[list[str], typer.Argument(metavar="JOB", help="Like expert-0.")],
    config: ConfigOption = None,
    set_: SetOption = None,
    reason: ReasonOption = "",
    json_: JsonOption = False,
) -> None:
    """End jobs at once, without another checkpoint; what was committed stays."""
    _steer(Action.CANCEL, jobs, config, set_, reason, json_=json_)


def drain(
    island: Annotated[
        str | None, typer.Argument(metavar="ISLAND", help="Like island-1.", show_default="all")
    ] = None,
    config: ConfigOption = None,
    set_: SetOption = None,
    reason: ReasonOption = "",
    json_: JsonOption = False,
) -> None:
    """Let an island checkpoint and leave; another takes its place. Without a name: all of them.

    With all islands the run stops; the command that trains it goes on from there.
    """
    if island == "":
        raise BadInput("ISLAND is empty; name one, or leave it out to drain all of them")
    _ask(config, set_, lambda client: client.drain(reason, island or ""))
    if json_:
        print_json({"drained": island or "all", "reason": reason})
    else:
        say(
            f"{island or 'every island'} checkpoints and leaves; `atoll status` shows how far it is"
        )


def _steer(
    action: Action,
    jobs: list[str] | None,
    config: Path | None,
    set_: list[str] | None,
    reason: str,
    *,
    json_: bool,
) -> None:
    names = jobs or []
    states = _ask(config, set_, lambda client: _steered(client, action, names, reason))
    if json_:
        print_json([{"job": job, "state": state, "why": why} for job, state, why in states])
        return
    for job, _, why in states:
        typer.echo(f"{job}: {why}")


def _steered(
    client: ControlClient, action: Action, names: list[str], reason: str
) -> list[tuple[str, str, str]]:
    before = {job.spec.name: job.reason for job in client.fleet().jobs}
    client.steer(action, names, reason)
    jobs = [
        job
        for job in client.fleet().jobs
        if job.spec.name in names or (not names and job.reason != before.get(job.spec.name))
    ]
    return [(job.spec.name, job.state.value, job.reason) for job in jobs]


def _ask(config: Path | None, set_: list[str] | None, question: Callable[[ControlClient], T]) -> T:
    """Ask the run's orchestrator for something.

    Raises:
        BadInput: none lives, or it refused.
    """
    from orchestrator.connect import find

    settings = run_config(config, set_ or ())
    client = find(settings)
    if client is None:
        raise BadInput(
            f"nothing is at work in {settings.run.uri}; `atoll train` and `atoll route` go on with "
            "jobs that are paused or were given up; name another run by --config or --set run.uri"
        )
    with client:
        try:
            return question(client)
        except Refused as error:
            raise BadInput(str(error)) from error
