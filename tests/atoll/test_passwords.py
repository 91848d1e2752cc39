from __future__ import annotations

import traceback

import pytest

from atoll.config_file import read_config
from atoll.errors import ConfigError
from atoll.passwords import hidden

URLS = [
    "postgresql+psycopg://me:s3cret@db/run",
    "postgresql+psycopg://me:s3cret@s3cret@db/run",
    "postgresql+psycopg://me:s3cret/s3cret@db:5432/run",
    "postgresql+psycopg://:s3cret@db/run",
    "postgresql+psycopg://me@db/run?password=s3cret",
    "postgresql+psycopg://me@db/run?sslmode=require&sslpassword=s3cret",
]


@pytest.mark.parametrize("url", URLS)
def test_password_in_the_databases_url_is_refused_by_key_and_shown_nowhere(url):
    for override in (
        f"orchestrator.database={url}",
        f'orchestrator.database=["{url}"]',
        f"orchestrator.databse={url}",
        f"orchestrator={url}",
        f"{url}",
    ):
        with pytest.raises(ConfigError) as caught:
            read_config(None, [override])
        assert "s3cret" not in "".join(traceback.format_exception(caught.value.__cause__))
        assert "s3cret" not in str(caught.value)
    with pytest.raises(ConfigError, match=r"orchestrator\.database.*PGPASSWORD"):
        read_config(None, [f"orchestrator.database={url}"])


@pytest.mark.parametrize(
    "url",
    [
        "",
        "sqlite:////tmp/run.db",
        "postgresql+psycopg://me@db:5432/run?sslmode=verify-full",
        "postgresql+psycopg://db/run?passfile=/home/me/.pgpass",
    ],
)
def test_url_without_password_is_taken_and_shown_as_it_is(url):
    assert read_config(None, [f"orchestrator.database={url}"]).orchestrator.database == url
    assert hidden(url) == url
