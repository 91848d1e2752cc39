from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.config import Config
from alembic.script import ScriptDirectory

from atoll.errors import ConfigError
from orchestrator.storage import database, tables
from orchestrator.storage.database import open_database
from orchestrator.storage.urls import sqlite_url


def test_revision_of_the_tables_is_that_of_the_newest_migration():
    config = Config()
    config.set_main_option("script_location", str(Path(database.__file__).parent / "migrations"))
    assert ScriptDirectory.from_config(config).get_current_head() == tables.REVISION


def test_database_is_made_once_and_then_opened_as_it_is(tmp_path):
    url = sqlite_url(tmp_path / "orchestrator.db")
    open_database(url).dispose()
    again = (
        "import sys; from orchestrator.storage.database import open_database; "
        "open_database(sys.argv[1]); "
        "print('alembic' in sys.modules, 'sqlalchemy.dialects.postgresql' in sys.modules)"
    )
    command = [sys.executable, "-c", again, url]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert told.split() == ["False", "False"]


def test_database_of_a_later_version_is_refused(tmp_path):
    url = sqlite_url(tmp_path / "orchestrator.db")
    engine = open_database(url)
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    with pytest.raises(ConfigError, match=r"orchestrator\.database.*9999"):
        open_database(url)
