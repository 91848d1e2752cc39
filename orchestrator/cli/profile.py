"""``atoll profile``: a trace of what a job's trainer does, wherever that runs."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Annotated, Any

import typer

from atoll.command import ConfigOption, JsonOption, SetOption, print_json, say, show
from atoll.config import Config
from atoll.config_file import run_config
from atoll.errors import BadInput, Interrupted, Refused
from atoll.traces import MOST_STEPS, OPERATORS, TRACE, Trace

_MOST_ROWS = 12


def profile(
    job: Annotated[str, typer.Argument(metavar="JOB", help="Like expert-0.")],
    config: ConfigOption = None,
    set_: SetOption = None,
    *,
    steps: Annotated[int, typer.Option("--steps", min=1, max=MOST_STEPS, help="How many.")] = 5,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Copy it here; NAME.gz leaves it as it is packed."),
    ] = None,
    json_: JsonOption = False,
) -> None:
    """Trace the next steps of a job, and tell which operators took the time.

    The first process of its island is traced by torch's profiler, and no weight changes by it. The
    trace stays in the run's store, as Chrome and Perfetto read it.
    """
    from atoll.blobs import open_store

    settings = run_config(config, set_ or ())
    if output is not None and not output.absolute().parent.is_dir():
        raise BadInput(f"-o {output}: there is no folder {output.parent}; make it first")
    say(f"asks {job} for a trace of {steps} steps (Ctrl-C leaves it alone)")
    trace = _traced(settings, job, steps)
    store = open_store(settings.run.uri)
    try:
        rows: list[dict[str, Any]] = json.loads(store.get_bytes(f"{trace.key}/{OPERATORS}"))
        shares = _shares(rows)
        if output is not None:
            packed = store.get_bytes(f"{trace.key}/{TRACE}")
            _write(output, packed if output.suffix == ".gz" else gzip.decompress(packed))
    except (ValueError, LookupError, TypeError, EOFError, gzip.BadGzipFile) as error:
        raise BadInput(f"the trace {trace.key} is damaged ({error}); ask for another") from error
    place = str(output or f"{settings.run.uri.rstrip('/')}/{trace.key}/{TRACE}")
    if json_:
        print_json(
            {"job": job, "steps": steps, "key": trace.key, "trace": place, "operators": rows}
        )
        return
    show(f"{job}: {steps} steps, by operator", shares[:_MOST_ROWS], as_json=False)
    say(f"the trace is {place}; ui.perfetto.dev shows it, on your own machine")


def _traced(config: Config, job: str, steps: int) -> Trace:
    """The trace, once it is in the store.

    Raises:
        BadInput: nobody works on the job, or it is being traced already, or left in the middle.
        Interrupted: by the user.
    """
    from orchestrator.connect import find

    client = find(config)
    if client is None:
        raise BadInput(
            f"nothing is at work in {config.run.uri}; only a job that is worked on is traced"
        )
    with client:
        try:
            trace = client.trace(job, steps)
        except Refused as error:
            raise BadInput(str(error)) from error
        except KeyboardInterrupt as error:
            raise Interrupted(f"waits no longer; {job} goes on") from error
    if trace.trouble:
        raise BadInput(trace.trouble)
    return trace


def _write(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except OSError as error:
        raise BadInput(f"-o {path} cannot be written: {error.strerror or error}") from error


def _shares(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """For people: with the part that each takes of all."""
    longest = "device_ms" if rows and "device_ms" in rows[0] else "cpu_ms"
    whole = sum(row[longest] for row in rows) or 1.0
    return [{**row, "share": f"{row[longest] / whole:.1%}"} for row in rows]
