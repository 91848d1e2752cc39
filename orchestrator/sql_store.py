"""The store on SQLAlchemy: SQLite in the run's folder by default, any other database by URL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config as AlembicConfig
from alembic.util import CommandError
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    IntegrityError,
    NoSuchModuleError,
)

from atoll.errors import ConfigError, LeaseLost, Unreachable
from atoll.types import CheckpointRef, Event, JobSpec, JobState, Role
from orchestrator.fleet import NO_PROGRESS, Change, Job
from orchestrator.store import Stored
from orchestrator.tables import checkpoints, events, jobs

_MIGRATIONS = Path(__file__).parent / "migrations"


class SqlStore:
    """See :class:`orchestrator.store.Store`."""

    def __init__(self, url: str) -> None:
        """Open the database, and bring its tables to this version.

        Args:
            url: an SQLAlchemy URL, e.g. ``sqlite:////path/to/file``.

        Raises:
            ConfigError: there is no such database, no driver for it, or nothing in it that this
                version knows.
        """
        try:
            self._engine = sa.create_engine(url)
            if self._engine.dialect.name == "sqlite":
                _make_durable(self._engine)
            _migrate(self._engine)
        except (ArgumentError, NoSuchModuleError, ImportError, DBAPIError, CommandError) as error:
            raise ConfigError(
                f"orchestrator.database: {url} cannot be opened ({_first_line(error)}); restore it "
                'from a copy, give another SQLAlchemy URL, or "" for SQLite in the run\'s folder'
            ) from error

    def load(self) -> Stored:
        """See :class:`orchestrator.store.Store`."""
        newest = sa.and_(checkpoints.c.job == jobs.c.name, checkpoints.c.step == jobs.c.step)
        query = (
            sa.select(
                jobs,
                checkpoints.c.key.label("ref_key"),
                checkpoints.c.digest.label("ref_digest"),
                checkpoints.c.epoch.label("ref_epoch"),
            )
            .select_from(jobs.outerjoin(checkpoints, newest))
            .order_by(jobs.c.id)
        )
        with self._transaction() as connection:
            last = connection.scalar(sa.select(sa.func.max(events.c.number)))
            return Stored(tuple(_job(row) for row in connection.execute(query)), last or 0)

    def save(self, change: Change, first_number: int, at: float) -> None:
        """See :class:`orchestrator.store.Store`."""
        newest = {job.spec.name: job for job in change.jobs}
        with self._transaction() as connection:
            for job in newest.values():
                _write_job(connection, job)
            for name, ref in change.commits:
                row = {"job": name, "step": ref.step, "epoch": ref.epoch}
                row |= {"key": ref.key, "digest": ref.digest}
                connection.execute(checkpoints.insert(), row)
            for number, event in enumerate(change.events, start=first_number):
                connection.execute(events.insert(), _event_row(event, number, at))

    def events(self, after: int, limit: int) -> tuple[Event, ...]:
        """See :class:`orchestrator.store.Store`."""
        query = events.select().where(events.c.number > after).order_by(events.c.number)
        with self._transaction() as connection:
            return tuple(Event(**row._mapping) for row in connection.execute(query.limit(limit)))

    def is_committed(self, job: str, checkpoint: CheckpointRef) -> bool:
        """See :class:`orchestrator.store.Store`."""
        there = checkpoints.select().where(
            checkpoints.c.job == job,
            checkpoints.c.step == checkpoint.step,
            checkpoints.c.epoch == checkpoint.epoch,
            checkpoints.c.key == checkpoint.key,
            checkpoints.c.digest == checkpoint.digest,
        )
        with self._transaction() as connection:
            return connection.execute(there).first() is not None

    def checkpoints(self, job: str) -> tuple[CheckpointRef, ...]:
        """See :class:`orchestrator.store.Store`."""
        columns = [checkpoints.c[name] for name in ("key", "digest", "step", "epoch")]
        query = sa.select(*columns).where(checkpoints.c.job == job).order_by(checkpoints.c.step)
        with self._transaction() as connection:
            return tuple(CheckpointRef(**row._mapping) for row in connection.execute(query))

    def close(self) -> None:
        """See :class:`orchestrator.store.Store`."""
        self._engine.dispose()

    @contextmanager
    def _transaction(self) -> Iterator[sa.Connection]:
        try:
            with self._engine.begin() as connection:
                yield connection
        except IntegrityError as error:
            raise LeaseLost(
                f"another orchestrator has written to this run ({_first_line(error)})"
            ) from error
        except DBAPIError as error:
            raise Unreachable(
                f"the orchestrator's database cannot be used ({_first_line(error)})"
            ) from error


def sqlite_url(path: Path) -> str:
    """The URL of an SQLite file."""
    return f"sqlite:///{path.absolute()}"


def _migrate(engine: sa.Engine) -> None:
    config = AlembicConfig()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _make_durable(engine: sa.Engine) -> None:
    """Every transaction is on the disk when it returns; readers never wait for the writer."""

    @sa.event.listens_for(engine, "connect")
    def connect(connection: Any, _: Any) -> None:
        # The driver would begin transactions late, and not at all before it changes a table.
        connection.isolation_level = None
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
            connection.execute(f"PRAGMA {pragma}")

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN")


def _write_job(connection: sa.Connection, job: Job) -> None:
    """Update a job unless that would take its epoch or its steps back; insert a new one."""
    row = _job_row(job)
    fenced = (jobs.c.epoch <= job.epoch) & (jobs.c.step <= job.step)
    mine = jobs.c.name == job.spec.name
    if connection.execute(jobs.update().where(mine, fenced).values(row)).rowcount:
        return
    stands = connection.execute(sa.select(jobs.c.epoch, jobs.c.step).where(mine)).one_or_none()
    if stands is not None:
        raise LeaseLost(
            f"{job.spec.name} stands at step {stands.step} under epoch {stands.epoch}; "
            f"step {job.step} under epoch {job.epoch} comes too late"
        )
    connection.execute(jobs.insert(), row)


def _job_row(job: Job) -> dict[str, Any]:
    spec = job.spec
    return {
        "name": spec.name,
        "role": spec.role.value,
        "index": spec.index,
        "run_uri": spec.run_uri,
        "steps": spec.steps,
        "digest": spec.digest,
        "state": job.state.value,
        "epoch": job.epoch,
        "island": job.island,
        "request_id": job.request_id,
        "released": job.released,
        "failures": job.failures,
        "losses": job.losses,
        "preemptions": job.preemptions,
        "log": job.log,
        "wish": job.wish.value if job.wish else "",
        "reason": job.reason,
        "step": job.step,
    }


def _job(row: Any) -> Job:
    ref = CheckpointRef(row.ref_key, row.ref_digest, row.step, row.ref_epoch) if row.step else None
    spec = JobSpec(
        row.name, Role(row.role), row._mapping["index"], row.run_uri, row.steps, row.digest
    )
    return Job(
        spec,
        JobState(row.state),
        row.epoch,
        row.island,
        row.request_id,
        row.released,
        checkpoint=ref,
        progress=replace(NO_PROGRESS, step=row.step),
        failures=row.failures,
        losses=row.losses,
        preemptions=row.preemptions,
        log=row.log,
        wish=JobState(row.wish) if row.wish else None,
        reason=row.reason,
    )


def _event_row(event: Event, number: int, at: float) -> dict[str, Any]:
    return {
        "number": number,
        "at": at,
        "kind": event.kind,
        "reason": event.reason,
        "job": event.job,
        "island": event.island,
        "epoch": event.epoch,
    }


def _first_line(error: Exception) -> str:
    cause = getattr(error, "orig", None) or error
    return str(cause).partition("\n")[0]
