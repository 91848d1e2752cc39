"""What all tests share."""

from __future__ import annotations

import importlib.util
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# A property holds or not; how long a busy machine takes over an example says nothing of it.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[Any]:
    """See s3_server.py; started where a test needs it, because its import takes a second."""
    path = Path(__file__).parent / "s3_server.py"
    spec = importlib.util.spec_from_file_location("s3_server", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    server = module.S3Server()
    yield server
    server.stop()


@pytest.fixture
def s3(s3_endpoint: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A server of S3 that boto3 finds by itself, here and in processes that a test starts."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_endpoint.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "never-shown")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    yield s3_endpoint
    s3_endpoint.reset()


@pytest.fixture
def bucket(s3: Any) -> str:
    """URL of a new bucket."""
    import boto3

    name = f"bucket-{uuid.uuid4().hex}"
    boto3.client("s3").create_bucket(Bucket=name)
    return f"s3://{name}"
