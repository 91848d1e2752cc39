"""``atoll checkpoints`` and ``atoll collect``: the registry, and what need not be kept of it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from atoll.command import ConfigOption, JsonOption, SetOption, say, show
from atoll.config import Config
from atoll.config_file import run_config


def checkpoints(
    job: Annotated[
        str, typer.Argument(metavar="JOB", help="Like expert-0.", show_default="all")
    ] = "",
    config: ConfigOption = None,
    set_: SetOption = None,
    verify: Annotated[bool, typer.Option("--verify", help="Read every byte of each.")] = False,
    json_: JsonOption = False,
) -> None:
    """Show the committed checkpoints of a run: where they are, and why they are kept.

    With --verify, exit code 1 if one is damaged.
    """
    from atoll.blobs import open_store
    from orchestrator.collection import referenced_in
    from orchestrator.settings import retention_of
    from orchestrator.stored import stored

    settings = run_config(config, set_ or ())
    blobs = open_store(settings.run.uri)
    referenced, rows, damaged = referenced_in(blobs), list[dict[str, Any]](), list[str]()
    with stored(settings) as store:
        names = [known.spec.name for known in store.load().jobs]
        _refuse_unknown(job, names)
        for name in [job] if job else names:
            for row in _rows(store.checkpoints(name), blobs, referenced, retention_of(settings)):
                if verify and row["kept_as"] != "damaged":
                    row["verified"], finding = _verified(blobs, row)
                    damaged += [finding] if finding else []
                rows.append(row)
    for row in rows if not json_ else []:
        del row["key"], row["digest"]  # long, and for programs
        at = datetime.fromisoformat(row["committed"]).astimezone()
        row["committed"] = f"{at:%m-%d %H:%M:%S}"
    show(f"checkpoints below {settings.run.uri}", rows, as_json=json_)
    if damaged:
        for finding in damaged:
            say(finding)
        say(
            "`atoll train --verify`, or `atoll route --verify`, trains again what a stage ends with"
        )
        raise typer.Exit(1)


def collect(
    config: ConfigOption = None,
    set_: SetOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would go; works at any time.")
    ] = False,
    json_: JsonOption = False,
) -> None:
    """Delete the checkpoints of a stopped run that its configuration does not ask to keep.

    A run at work does so by itself. What a finished stage names, and the newest of each job, stay.
    """
    from atoll.blobs import open_store
    from atoll.clock import SystemClock
    from orchestrator import collection
    from orchestrator.fleet import registry
    from orchestrator.settings import retention_of
    from orchestrator.stored import stored

    settings, clock = run_config(config, set_ or ()), SystemClock()
    blobs = open_store(settings.run.uri)
    with (stored if dry_run else _stopped)(settings) as store:
        jobs = store.load().jobs
        found = collection.find_garbage(jobs, store, blobs, retention_of(settings))

        def mark(job: str, records: Any, freed_bytes: int) -> bool:
            change = registry.collected(job, records, freed_bytes)
            store.save(change, store.last_event() + 1, clock.wall())
            return True

        for job, garbage in found.items():
            if not dry_run:
                collection.collect(job, garbage, blobs, mark)
    rows = [
        {
            "job": job,
            "steps": ", ".join(str(record.ref.step) for record in garbage.records) or "–",
            "files": len(garbage.keys),
            "bytes": garbage.num_bytes,
        }
        for job, garbage in found.items()
    ]
    show("would go" if dry_run else "gone", rows, as_json=json_)


@contextlib.contextmanager
def _stopped(config: Config) -> Iterator[Any]:
    """The store of a run that no orchestrator works on, and none can begin to.

    Raises:
        BadInput: one does.
    """
    from atoll import layout
    from atoll.clock import SystemClock
    from atoll.errors import BadInput
    from orchestrator.endpoint import Endpoint, only_one
    from orchestrator.naming import name_of
    from orchestrator.stored import stored

    folder = layout.state_folder(config.run.uri)
    serving = Endpoint.read(folder)
    busy = f"the orchestrator of {config.run.uri} is at work, and collects by itself; --dry-run "
    busy += "shows what it will take next"
    if serving is not None and serving.is_alive:
        raise BadInput(busy)
    with only_one(folder, SystemClock()), stored(config) as store:
        if store.leadership is None:
            yield store
            return
        if store.leadership.take(name_of(config)):
            raise BadInput(busy)
        with store.leadership.kept():
            yield store


def _rows(records: Any, blobs: Any, referenced: set[str], retention: Any) -> list[dict[str, Any]]:
    from atoll import layout
    from atoll.types import Keeping
    from orchestrator.fleet.retention import reasons

    present = [record for record in records if record.keeping is not Keeping.COLLECTED]
    if not present:
        return []
    sizes: dict[str, int] = {}
    for key, num_bytes in blobs.sizes(layout.job_folder(present[0].job)).items():
        folder = layout.checkpoint_of(key)
        sizes[folder] = sizes.get(folder, 0) + num_bytes
    why = reasons(present, referenced, retention)
    return [
        {
            "job": record.job,
            "step": record.ref.step,
            "epoch": record.ref.epoch,
            "loss": record.loss if record.loss == record.loss else None,
            "bytes": sizes.get(record.ref.key, 0),
            "committed": datetime.fromtimestamp(record.at, UTC).isoformat(timespec="seconds"),
            "kept_as": ", ".join(why.get(record.ref.key, ["damaged"])) or "to be collected",
            "key": record.ref.key,
            "digest": record.ref.digest,
        }
        for record in present
    ]


def _verified(blobs: Any, row: dict[str, Any]) -> tuple[str, str]:
    """Whether a checkpoint is whole, in a word; and what is wrong with it, in a sentence."""
    from atoll.checkpoints import require_sound
    from atoll.errors import CheckpointDamaged
    from atoll.types import CheckpointRef

    try:
        require_sound(blobs, CheckpointRef(row["key"], row["digest"], row["step"], row["epoch"]))
    except CheckpointDamaged as error:
        return "damaged", str(error)
    return "whole", ""


def _refuse_unknown(job: str, names: list[str]) -> None:
    from atoll.errors import BadInput

    if job and job not in names:
        raise BadInput(f"no job is called {job!r}; there is {', '.join(names) or 'none'}")
