"""``atoll logs``: what a job's trainer, or an island's agent, writes, wherever that runs."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from atoll.command import ConfigOption, JsonOption, SetOption, say
from atoll.config import Config
from atoll.config_file import run_config
from atoll.errors import BadInput, Busy, Refused, StageMissing, Unreachable
from atoll.log_types import LogLines, LogPlace
from atoll.types import JobState
from atoll.views import FleetView

_RETRY_S = 1.0
_TRIES = 15  # an idle island is unknown to a new orchestrator until it asks for work
_STYLE = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")


def logs(
    name: Annotated[str, typer.Argument(help="A job, like expert-0, or an island: island-1.")],
    config: ConfigOption = None,
    set_: SetOption = None,
    *,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with each new line, to the end.")
    ] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, max=10_000, help="How many.")] = 50,
    json_: JsonOption = False,
) -> None:
    """Print the last lines a job's trainer, or an island's agent, wrote.

    They come through the orchestrator from where they are written now; those of who has left, from
    the files of this machine. With --json each line is an object, and so is each note on the log.
    """
    settings = run_config(config, set_ or ())
    for said in _said(settings, name, lines, follow=follow):
        if json_:
            _print_json(said)
            continue
        for line in said.lines:
            typer.echo(printable(line))
        if said.note:
            say(f"-- {printable(said.note)}")


def printable(line: str) -> str:
    """What is left of a line where nothing may move the cursor or dye what follows."""
    shown = _STYLE.sub("", line).rstrip("\r").rpartition("\r")[2]  # a bar overwrites itself
    return "".join(
        c if c.isprintable() or c == "\t" else "\N{REPLACEMENT CHARACTER}" for c in shown
    )


def _print_json(said: LogLines) -> None:
    where = {"island": said.end.island, "epoch": said.end.epoch} if said.end else {}
    for line in said.lines:
        typer.echo(json.dumps({**where, "line": line}))
    if said.note:
        typer.echo(json.dumps({"note": said.note}))


def _said(config: Config, name: str, num: int, *, follow: bool) -> Iterator[LogLines]:
    from orchestrator.connect import find

    client = find(config)
    if client is None:
        yield _on_file(config, name, num)
        if follow:
            yield LogLines(note=f"nothing is at work in {config.run.uri}")
        return
    with client:
        view = client.fleet()
    if follow or name.partition("/")[0] in _writing(view):
        yield from _streamed(config, name, num, follow=follow)
        return
    told = {job.spec.name: job.log for job in view.jobs}.get(name)
    if told and not _files(config, name):
        yield LogLines(tuple(told.splitlines()[-num:]), note=f"what {name} failed with last")
    else:
        yield _on_file(config, name, num)


def _writing(view: FleetView) -> set[str]:
    """The jobs and islands that write a log now."""
    islands = {each.name for each in view.islands if each.state in {"idle", "working"}}
    return islands | {job.spec.name for job in view.jobs if job.state is JobState.LEASED}


def _streamed(config: Config, name: str, num: int, *, follow: bool) -> Iterator[LogLines]:
    """As the orchestrator tells it, whichever serves at the time.

    Raises:
        BadInput: neither a job nor an island is called so.
        Unreachable: it does not answer, and nobody follows; or too many read along.
    """
    from orchestrator.connect import find

    place: LogPlace | None = None
    num_missed = 0
    while True:
        try:
            client = find(config)
            if client is None and (words := _ended(config, name)):
                yield LogLines(note=words)
                return
            if client is not None:
                with client:
                    for said in client.log(name, num, follow=follow, after=place):
                        num_missed, place = 0, said.end or place
                        yield said
                return
        except Refused as error:
            if place is None or num_missed > _TRIES:
                raise BadInput(str(error)) from error
        except Unreachable as error:
            if not follow or isinstance(error, Busy):
                raise
        if not num_missed:
            yield LogLines(note="no orchestrator answers; waiting for one (Ctrl-C ends this)")
        num_missed += 1
        time.sleep(_RETRY_S)


def _ended(config: Config, name: str) -> str:
    """How a job, or the whole run, ended that has no orchestrator any more; "" if it did not."""
    from orchestrator.stored import stored_view

    try:
        jobs = {job.spec.name: job for job in stored_view(config).jobs}
    except StageMissing:
        return ""  # written down on another machine
    if name in jobs and not jobs[name].state.is_open:
        return f"{name} is {jobs[name].state}: {jobs[name].reason}"
    return "" if any(job.state.is_open for job in jobs.values()) else "the run is over"


def _on_file(config: Config, name: str, num: int) -> LogLines:
    """The end of the newest log of this name on this machine.

    Raises:
        BadInput: there is none.
    """
    from cluster.local import last_lines

    files = _files(config, name)
    if not files:
        raise BadInput(_nothing(config, name))
    path = files[-1]
    epoch = path.stem.partition(".epoch-")[2]
    place = LogPlace(path.parent.name, int(epoch or 0), path.stat().st_size)
    return LogLines(tuple(last_lines(path, num).splitlines()), place)


def _files(config: Config, name: str) -> list[Path]:
    """An island's agent's log, or those of a job's trainers from the oldest to the newest."""
    from cluster.local import AGENT_LOG
    from orchestrator.settings import islands_folder

    folder = islands_folder(config)
    plain, _, node = name.partition("/")
    node = node.rpartition("-")[0]  # without what tells its starts apart
    homes = [node] if node else ["", "node-*"]  # of islands of one node, and of several
    agents = [path for home in homes for path in folder.glob(f"{Path(plain, home)}/{AGENT_LOG}")]
    logs = [
        path for home in homes for path in folder.glob(f"{Path('*', home)}/{plain}.epoch-*.log")
    ]
    return sorted(agents) + sorted(logs, key=lambda path: path.name)


def _nothing(config: Config, name: str) -> str:
    from cluster.local import AGENT_LOG
    from orchestrator.settings import islands_folder

    folder = islands_folder(config)
    known = sorted(
        {path.name.partition(".epoch-")[0] for path in folder.glob("*/*.epoch-*.log")}
        | {path.parent.name for path in folder.glob(f"*/{AGENT_LOG}")}
    )
    there = f"there is {', '.join(known)}" if known else "no job or island wrote anything here"
    return f"nothing is logged on this machine for {name!r}; {there}"
