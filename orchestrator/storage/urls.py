"""Which database holds a run's state, as a URL."""

from __future__ import annotations

from pathlib import Path

from atoll import layout
from atoll.config import Config

DATABASE = "orchestrator.db"  # file in a run's state folder, unless another database is configured


def database_url(config: Config) -> str:
    """The run's database: SQLite in its state folder unless configured."""
    return config.orchestrator.database or sqlite_url(default_database(config))


def default_database(config: Config) -> Path:
    """Where it lies unless configured."""
    return layout.state_folder(config.run.uri) / DATABASE


def sqlite_url(path: Path) -> str:
    """The URL of an SQLite file."""
    return f"sqlite:///{path.absolute()}"


def is_shared(url: str) -> bool:
    """Whether several orchestrators may keep a run's state in this database."""
    return not url.startswith("sqlite")
