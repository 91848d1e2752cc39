"""The databases a run's state may be kept in: SQLite, and PostgreSQL by URL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError

from atoll.errors import ConfigError, LeaseLost, Refused, Unreachable
from atoll.passwords import hidden
from orchestrator.storage.tables import REVISION, metadata

_MIGRATIONS = Path(__file__).parent / "migrations"
_VERSION = sa.table("alembic_version", sa.column("version_num"))
_MIGRATING = 0x41746F6C6C  # whoever holds this advisory lock makes the tables

# A transaction whose client froze or was cut off in the middle holds the leader's row: it ends
# after so long, and another orchestrator can lead.
_ABANDONED_S = 5
# A server that vanished without a word is noticed after so long.
_VANISHED = {
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}


def open_database(url: str) -> sa.Engine:
    """Open a database, and bring its tables to this version.

    Args:
        url: ``sqlite:////path/to/file`` or ``postgresql+psycopg://user@host/name``.

    Raises:
        ConfigError: there is no such database, no driver for it, or nothing in it that this
            version knows; or it does not keep what it commits.
    """
    engine = None
    try:
        engine = _engine(url)
        _migrate(engine)
    except (SQLAlchemyError, ImportError, ValueError) as error:
        if engine is not None:
            engine.dispose()
        if isinstance(error, ImportError):
            mend = "pip install 'atoll[postgres]'"
        elif url.startswith("postgresql"):
            mend = "see that it is up, exists (createdb) and takes your password (PGPASSWORD)"
        else:
            mend = "restore it from a copy"
        raise ConfigError(
            f"orchestrator.database: {hidden(url)} cannot be opened ({first_line(error)}); {mend}, "
            'give another URL (postgresql+psycopg://USER@HOST/NAME, sqlite:////PATH), or "" for '
            "SQLite in the run's folder"
        ) from error
    return engine


@contextmanager
def transaction(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A transaction that is on the disk when it was left without an error.

    Raises:
        LeaseLost: somebody else wrote the same.
        Refused: a value is of no kind that the database can hold.
        Unreachable: the database cannot be used just now.
    """
    try:
        with engine.begin() as connection:
            yield connection
    except IntegrityError as error:
        raise LeaseLost(
            f"another orchestrator has written to this run ({first_line(error)})"
        ) from error
    except DataError as error:
        raise Refused(
            f"the orchestrator's database cannot hold it ({first_line(error)})"
        ) from error
    except DBAPIError as error:
        raise Unreachable(
            f"the orchestrator's database cannot be used ({first_line(error)})"
        ) from error


def first_line(error: Exception) -> str:
    """What a database said, in short, without passwords."""
    cause = getattr(error, "orig", None) or error
    return hidden(str(cause).partition("\n")[0])


def _engine(url: str) -> sa.Engine:
    parsed = sa.make_url(url)
    match parsed.drivername:
        case "sqlite":
            engine = sa.create_engine(parsed)
            _make_sqlite_durable(engine)
        case "postgresql" | "postgresql+psycopg":
            engine = sa.create_engine(
                parsed.set(drivername="postgresql+psycopg"),
                connect_args=_VANISHED,
                isolation_level="READ COMMITTED",
                pool_pre_ping=True,
            )
            _make_postgres_durable(engine)
        case other:
            raise sa.exc.ArgumentError(f"{other} is neither sqlite nor postgresql+psycopg")
    return engine


def _migrate(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            _refuse_unsafe(connection)
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATING)))
        match _revision(connection):
            case None if not sa.inspect(connection).get_table_names():
                _create(connection)
            case revision if revision != REVISION:
                _upgrade(connection)


def _revision(connection: sa.Connection) -> str | None:
    """What the tables are at; None where there are none."""
    if not sa.inspect(connection).has_table(_VERSION.name):
        return None
    return connection.scalar(sa.select(_VERSION.c.version_num))


def _create(connection: sa.Connection) -> None:
    """All tables at once; what the revisions would come to, without the time that Alembic takes."""
    metadata.create_all(connection)
    version = sa.Table(
        _VERSION.name, sa.MetaData(), sa.Column("version_num", sa.String(32), primary_key=True)
    )
    version.create(connection)
    connection.execute(version.insert().values(version_num=REVISION))


def _upgrade(connection: sa.Connection) -> None:
    # Imported here, because that takes longer than all else a restart does about its database.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config as AlembicConfig  # noqa: PLC0415
    from alembic.util import CommandError  # noqa: PLC0415

    config = AlembicConfig()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:  # made by a later version
        raise ValueError(str(error)) from error


def _make_sqlite_durable(engine: sa.Engine) -> None:
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


def _make_postgres_durable(engine: sa.Engine) -> None:
    """Every transaction is on the disk when it returns, whatever role and database ask for."""

    @sa.event.listens_for(engine, "connect")
    def connect(connection: Any, _: Any) -> None:
        abandoned = f"SET idle_in_transaction_session_timeout = '{_ABANDONED_S}s'"
        connection.execute(abandoned)
        # More than `on`, such as remote_apply, is as its owner wants it.
        connection.execute(
            "SELECT set_config('synchronous_commit', 'on', false) "
            "WHERE current_setting('synchronous_commit') IN ('off', 'local')"
        )
        connection.commit()


def _refuse_unsafe(connection: sa.Connection) -> None:
    if connection.exec_driver_sql("SHOW fsync").scalar() != "on":
        raise sa.exc.ArgumentError("its server has fsync off and may lose what it committed")
