"""The store on SQLAlchemy: SQLite in the run's folder by default, any other database by URL."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa

from atoll.clock import SystemClock
from atoll.errors import LeaseLost
from atoll.types import CheckpointRecord, CheckpointRef, Event, JobSpec, JobState, Keeping, Role
from orchestrator.fleet.frozen import replace
from orchestrator.fleet.ledger import NodeUse
from orchestrator.fleet.state import NO_PROGRESS, Change, Job
from orchestrator.storage.database import open_database, transaction
from orchestrator.storage.leadership import Leadership
from orchestrator.storage.store import Stored
from orchestrator.storage.tables import checkpoints, claims, events, jobs, leaving, nodes
from orchestrator.storage.urls import is_shared

# The one way to write it that SQLite and PostgreSQL share. Never a look first: in SQLite another
# writer between the two would be an error.
_CLAIM = sa.text(
    "INSERT INTO claims (island, key) VALUES (:island, :key) ON CONFLICT (island) DO NOTHING"
)
_LEAVES = sa.text(
    "INSERT INTO leaving (island, dismissed) VALUES (:island, :dismissed) "
    "ON CONFLICT (island) DO UPDATE SET dismissed = excluded.dismissed"
)


class SqlStore:
    """See :class:`orchestrator.storage.store.Store`.

    Attributes:
        leadership: what must be taken before anything is saved; None where the database is not
            shared, and a lock of the run's folder lets only one orchestrator in.
    """

    def __init__(self, url: str) -> None:
        """Open the database, see :func:`orchestrator.storage.database.open_database`.

        Raises:
            ConfigError: it cannot be opened.
        """
        self._engine = open_database(url)
        self.leadership = Leadership(self._engine, SystemClock()) if is_shared(url) else None

    def load(self) -> Stored:
        """See :class:`orchestrator.storage.store.Store`."""
        newest = sa.and_(
            checkpoints.c.job == jobs.c.name,
            checkpoints.c.step == jobs.c.step,
            checkpoints.c.keeping == Keeping.KEPT.value,
        )
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
        with transaction(self._engine) as connection:
            last = connection.scalar(sa.select(sa.func.max(events.c.number)))
            uses = connection.execute(nodes.select().order_by(nodes.c.started_at))
            used = tuple(NodeUse(**row._mapping) for row in uses)
            told = tuple(
                (row.island, row.dismissed) for row in connection.execute(leaving.select())
            )
            found = tuple(_job(row) for row in connection.execute(query))
        return Stored(found, last or 0, used, told)

    def save(self, change: Change, first_number: int, at: float) -> None:
        """See :class:`orchestrator.storage.store.Store`."""
        newest = {job.spec.name: job for job in change.jobs}
        with transaction(self._engine) as connection:
            self._require_lead(connection)
            # First those that are kept no longer: a job may go back where its newest is lost.
            gone = [record for record in change.checkpoints if record.keeping is not Keeping.KEPT]
            for record in gone:
                _write_keeping(connection, record)
            _write_jobs(connection, newest)
            kept = [record for record in change.checkpoints if record.keeping is Keeping.KEPT]
            _insert(connection, checkpoints, [_checkpoint_row(record, at) for record in kept])
            numbered = enumerate(change.events, start=first_number)
            _insert(connection, events, [_event_row(event, n, at) for n, event in numbered])
            for use in change.nodes:
                _write_node(connection, use)
            _write_leaving(connection, change)

    def last_event(self) -> int:
        """See :class:`orchestrator.storage.store.Store`."""
        with transaction(self._engine) as connection:
            self._require_lead(connection)
            return connection.scalar(sa.select(sa.func.max(events.c.number))) or 0

    def confirm(self) -> None:
        """See :class:`orchestrator.storage.store.Store`."""
        if self.leadership:
            self.leadership.confirm()

    def events(self, after: int, limit: int) -> tuple[Event, ...]:
        """See :class:`orchestrator.storage.store.Store`."""
        query = events.select().where(events.c.number > after).order_by(events.c.number)
        with transaction(self._engine) as connection:
            return tuple(Event(**row._mapping) for row in connection.execute(query.limit(limit)))

    def is_committed(self, job: str, checkpoint: CheckpointRef) -> bool:
        """See :class:`orchestrator.storage.store.Store`."""
        there = checkpoints.select().where(
            checkpoints.c.job == job,
            checkpoints.c.step == checkpoint.step,
            checkpoints.c.epoch == checkpoint.epoch,
            checkpoints.c.key == checkpoint.key,
            checkpoints.c.digest == checkpoint.digest,
        )
        with transaction(self._engine) as connection:
            return connection.execute(there).first() is not None

    def checkpoints(self, job: str) -> tuple[CheckpointRecord, ...]:
        """See :class:`orchestrator.storage.store.Store`."""
        query = checkpoints.select().where(checkpoints.c.job == job)
        query = query.order_by(checkpoints.c.step, checkpoints.c.epoch)
        with transaction(self._engine) as connection:
            return tuple(_record(row) for row in connection.execute(query))

    def claim(self, island: str, key: str) -> bool:
        """See :class:`orchestrator.storage.store.Store`."""
        with transaction(self._engine) as connection:
            self._require_lead(connection)
            connection.execute(_CLAIM, {"island": island, "key": key})
            whose = sa.select(claims.c.key).where(claims.c.island == island)
            return connection.scalar(whose) == key

    def close(self) -> None:
        """See :class:`orchestrator.storage.store.Store`."""
        self._engine.dispose()

    def _require_lead(self, connection: sa.Connection) -> None:
        if self.leadership:
            self.leadership.require(connection)


def _write_keeping(connection: sa.Connection, record: CheckpointRecord) -> None:
    mine = (checkpoints.c.job == record.job) & (checkpoints.c.key == record.ref.key)
    connection.execute(checkpoints.update().where(mine).values(keeping=record.keeping.value))


# Unless that would take the job's epoch or its steps back; its steps may go back once the
# checkpoint that they stand for is kept no longer.
_UPDATE_JOB = jobs.update().where(
    jobs.c.name == sa.bindparam("of"),
    jobs.c.epoch <= sa.bindparam("most_epoch"),
    (jobs.c.step <= sa.bindparam("most_step"))
    | ~sa.exists().where(
        checkpoints.c.job == jobs.c.name,
        checkpoints.c.step == jobs.c.step,
        checkpoints.c.keeping == Keeping.KEPT.value,
    ),
)


def _write_jobs(connection: sa.Connection, changed: dict[str, Job]) -> None:
    """Update jobs within what fences them; insert new ones, in their order."""
    if not changed:
        return
    rows = {name: _job_row(job) for name, job in changed.items()}
    fences = [
        {"of": name, "most_epoch": job.epoch, "most_step": job.step}
        for name, job in changed.items()
    ]
    updates = [row | fence for row, fence in zip(rows.values(), fences, strict=True)]
    if connection.execute(_UPDATE_JOB, updates).rowcount == len(rows):
        return
    known = sa.select(jobs.c.name, jobs.c.epoch, jobs.c.step).where(jobs.c.name.in_(rows))
    for stands in connection.execute(known):
        job = changed[stands.name]
        if stands.epoch > job.epoch or stands.step > job.step:
            raise LeaseLost(
                f"{stands.name} stands at step {stands.step} under epoch {stands.epoch}; "
                f"step {job.step} under epoch {job.epoch} comes too late"
            )
        del rows[stands.name]
    _insert(connection, jobs, list(rows.values()))


def _insert(connection: sa.Connection, table: sa.Table, rows: list[dict[str, Any]]) -> None:
    if rows:
        connection.execute(table.insert(), rows)


def _write_node(connection: sa.Connection, use: NodeUse) -> None:
    mine = (nodes.c.island == use.island) & (nodes.c.started_at == use.started_at)
    if not connection.execute(nodes.update().where(mine).values(asdict(use))).rowcount:
        connection.execute(nodes.insert(), asdict(use))


def _write_leaving(connection: sa.Connection, change: Change) -> None:
    newest = {island.name: island for island in change.islands}.values()
    told = [{"island": it.name, "dismissed": it.dismissed} for it in newest if it.leaving]
    if told:
        connection.execute(_LEAVES, told)
    others = [island.name for island in newest if not island.leaving]
    if others:
        connection.execute(leaving.delete().where(leaving.c.island.in_(others)))


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
        "crash_loop": job.crash_loop,
        "foreign_epoch": job.foreign_epoch,
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
        crash_loop=row.crash_loop,
        foreign_epoch=row.foreign_epoch,
    )


def _checkpoint_row(record: CheckpointRecord, at: float) -> dict[str, Any]:
    return {
        "job": record.job,
        **asdict(record.ref),
        "keeping": record.keeping.value,
        "loss": None if math.isnan(record.loss) else record.loss,
        "at": at,
    }


def _record(row: Any) -> CheckpointRecord:
    loss = math.nan if row.loss is None else row.loss
    ref = CheckpointRef(row.key, row.digest, row.step, row.epoch)
    return CheckpointRecord(row.job, ref, Keeping(row.keeping), loss, row.at)


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
