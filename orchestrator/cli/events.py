"""``atoll events``: what happened in a run, and why."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import Annotated

import typer

from atoll.command import ConfigOption, JsonOption, SetOption
from atoll.config import Config
from atoll.config_file import run_config
from atoll.errors import StageMissing, Unreachable
from atoll.types import Event

_AT_ONCE = 1000
_RETRY_S = 1.0


def events(
    config: ConfigOption = None,
    set_: SetOption = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with each new one, until Ctrl-C.")
    ] = False,
    after: Annotated[int, typer.Option(min=0, help="Only those with a larger number.")] = 0,
    json_: JsonOption = False,
) -> None:
    """Print every event of a run: when, what, on which job and island, and why.

    With --json each is an object on a line of its own.
    """
    settings = run_config(config, set_ or ())
    for event in _followed(settings, after) if follow else _known(settings, after):
        typer.echo(json.dumps(asdict(event)) if json_ else line_of(event))


def line_of(event: Event) -> str:
    """An event for people: local time, number, kind, whom it is about, and the reason."""
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(event.at))
    whom = " ".join(part for part in (event.job, event.island) if part)
    about = f"{event.kind} {whom}".rstrip()
    return f"{when}  {event.number:>5}  {about}: {event.reason}"


def _known(config: Config, after: int) -> Iterator[Event]:
    """Those in the database, or where that is another machine's, those its orchestrator tells."""
    from orchestrator.connect import find

    try:
        yield from _stored(config, after)
    except StageMissing:
        client = find(config)
        if client is None:
            raise
        with client:
            last = client.fleet().last_event
            if after < last:
                for event in client.events(after):
                    yield event
                    if event.number >= last:
                        return


def _stored(config: Config, after: int) -> Iterator[Event]:
    """What the database holds; it can be read beside a living orchestrator."""
    from orchestrator.stored import stored_events

    while found := stored_events(config, after, _AT_ONCE):
        yield from found
        after = found[-1].number


def _followed(config: Config, after: int) -> Iterator[Event]:
    """The stored ones, then each as the orchestrator tells it, whichever serves at the time."""
    from orchestrator.connect import find

    while True:
        try:
            for event in _known(config, after):
                after = event.number
                yield event
            client = find(config)
            if client is not None:
                with client:
                    for event in client.events(after):
                        after = event.number
                        yield event
        except Unreachable:
            pass  # it left, or was killed; another may come
        time.sleep(_RETRY_S)
