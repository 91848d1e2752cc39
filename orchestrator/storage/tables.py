"""The tables of a run's state; :mod:`orchestrator.storage.migrations` makes them."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Double,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

REVISION = "0006"  # of the newest migration

metadata = MetaData()

jobs = Table(
    "jobs",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),  # order of submission
    Column("name", String(200), nullable=False, unique=True),
    Column("role", String(20), nullable=False),
    Column("index", Integer, nullable=False),
    Column("run_uri", Text, nullable=False),
    Column("steps", BigInteger, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("state", String(20), nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("island", String(200), nullable=False),
    Column("request_id", String(64), nullable=False),
    Column("released", String(64), nullable=False),
    Column("failures", Integer, nullable=False),
    Column("losses", Integer, nullable=False),
    Column("preemptions", Integer, nullable=False),
    Column("log", Text, nullable=False),
    Column("wish", String(20), nullable=False),
    Column("reason", Text, nullable=False),
    Column("step", BigInteger, nullable=False),  # of the newest checkpoint; 0 = none
    Column("crash_loop", Boolean, nullable=False),
    Column("foreign_epoch", BigInteger, nullable=False),
)

checkpoints = Table(
    "checkpoints",
    metadata,
    Column("job", String(200), ForeignKey("jobs.name"), primary_key=True),
    Column("epoch", BigInteger, primary_key=True),
    Column("step", BigInteger, primary_key=True),
    Column("key", Text, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("keeping", String(20), nullable=False),
    Column("loss", Double, nullable=True),  # none where its writer said none
    Column("at", Double, nullable=False),
    UniqueConstraint("key"),
)

events = Table(
    "events",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("at", Double, nullable=False),
    Column("kind", String(40), nullable=False),
    Column("reason", Text, nullable=False),
    Column("job", String(200), nullable=False),
    Column("island", String(200), nullable=False),
    Column("epoch", BigInteger, nullable=False),
)

# Whose an island's name is: the first key that asked for it. See orchestrator/rpc/registrar.py.
claims = Table(
    "claims",
    metadata,
    Column("island", String(200), primary_key=True),
    Column("key", String(64), nullable=False),
)

# Islands that were told to leave, by operators; with the request that was answered so.
leaving = Table(
    "leaving",
    metadata,
    Column("island", String(200), primary_key=True),
    Column("dismissed", String(64), nullable=False),  # "" until it was
)

# What a provider was asked for, and what that costs; see orchestrator/fleet/ledger.py.
nodes = Table(
    "nodes",
    metadata,
    Column("island", String(200), primary_key=True),
    Column("started_at", Double, primary_key=True),
    Column("price_per_hour", Double, nullable=False),
    Column("paid_from", Double, nullable=True),
    Column("ended_at", Double, nullable=True),
    Column("num_nodes", Integer, nullable=False),
    Column("num_missing", Integer, nullable=False),
    Column("hours_before", Double, nullable=False),
)

# One row at most; none where the database is not shared. See orchestrator/storage/leadership.py.
leader = Table(
    "leader",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("run", String(64), nullable=False),
    Column("holder", String(300), nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("expires_at", DateTime(timezone=True), nullable=False),
)
