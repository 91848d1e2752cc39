"""What all tests share."""

from __future__ import annotations

import contextlib
import gc
import importlib.util
import itertools
import secrets
import shutil
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
import sqlalchemy as sa
from hypothesis import settings
from sqlalchemy.exc import OperationalError

from tests.ports import free_port

# A property holds or not; how long a busy machine takes over an example says nothing of it.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

# What imports make is no garbage: to look for it takes a tenth of the time of collecting all tests,
# and again and again some of that of running them.
gc.disable()


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


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


SCRIPT = Path(__file__).parents[1] / "scripts" / "postgres"
PASSWORD = secrets.token_hex(8)


@dataclass
class Postgres:
    """A real server on loopback, which can be killed and started again."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def url(self, name: str) -> str:
        return f"postgresql+psycopg://atoll@127.0.0.1:{self.port}/{name}"

    def start(self) -> None:
        with (self.folder / "server.log").open("ab") as log:
            command = [SCRIPT, "run", str(self.folder), str(self.port)]
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        give_up_at = time.monotonic() + 60
        while True:
            try:
                self.execute("SELECT 1")
            except OperationalError:
                assert time.monotonic() < give_up_at, (self.folder / "server.log").read_text()
                assert self.process.poll() is None, (self.folder / "server.log").read_text()
                time.sleep(0.05)
            else:
                return

    def kill(self) -> None:
        """SIGKILL to all of its processes."""
        assert self.process is not None
        postmaster = psutil.Process(self.process.pid)
        for process in [postmaster, *postmaster.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait()

    def execute(self, statement: str, name: str = "postgres") -> None:
        engine = sa.create_engine(self.url(name), isolation_level="AUTOCOMMIT")
        try:
            with engine.connect() as connection:
                connection.exec_driver_sql(statement)
        finally:
            engine.dispose()

    def new_database(self) -> str:
        """The URL of an empty database."""
        name = f"test_{next(self.numbers)}"
        self.execute(f"CREATE DATABASE {name}")
        return self.url(name)


@pytest.fixture(scope="session")
def password() -> str:
    """What nobody may ever read."""
    return PASSWORD


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A server for all tests; its password is in the environment, as a user would give it."""
    if subprocess.run([SCRIPT, "find"], stdout=subprocess.DEVNULL, check=False).returncode:
        pytest.skip("no PostgreSQL here: as root, run scripts/postgres install")
    # Not below pytest's own folder: the server runs as another user, who may not go in there.
    server = Postgres(Path(tempfile.mkdtemp(prefix="atoll-postgres-")), free_port())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PGPASSWORD", PASSWORD)
        try:
            server.start()
            yield server
        finally:
            server.kill()
            shutil.rmtree(server.folder)


@pytest.fixture(scope="session")
def sshd() -> Iterator[Any]:
    """Two hosts on loopback, each with a home of its own; see sshd.py."""
    from tests.sshd import ThrowAwayHosts

    hosts = ThrowAwayHosts(Path(tempfile.mkdtemp(prefix="atoll-sshd-")))
    try:
        for name in ("one", "two"):
            hosts.start(name)
        yield hosts
    finally:
        hosts.stop()
    shutil.rmtree(hosts.folder)


@pytest.fixture(scope="session")
def slurm() -> Iterator[Path]:
    """A cluster found by SLURM_CONF, see scripts/slurm; the folder of its daemons."""
    script = SCRIPT.with_name("slurm")
    if subprocess.run([script, "find"], stdout=subprocess.DEVNULL, check=False).returncode:
        pytest.skip("no Slurm here: as root, run scripts/slurm install")
    ports = [str(free_port()) for _ in range(3)]
    folder = Path(tempfile.mkdtemp(prefix="atoll-slurm-"))
    with pytest.MonkeyPatch.context() as patch, (folder / "log").open("wb") as log:
        patch.setenv("SLURM_CONF", str(folder / "slurm.conf"))
        with subprocess.Popen([script, "run", folder, *ports], stdout=log, stderr=log) as daemons:
            give_up_at = time.monotonic() + 60
            asked = ["sinfo", "--noheader", "--format=%T"]
            while subprocess.run(asked, capture_output=True, check=False).stdout != b"idle\n":
                assert time.monotonic() < give_up_at, (folder / "log").read_text()
                time.sleep(0.2)
            yield folder
            daemons.terminate()
    shutil.rmtree(folder)


@pytest.fixture
def kubernetes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A cluster of this process and its API server, found by KUBECONFIG; see kubernetes/."""
    from tests.kubernetes.cluster import Cluster
    from tests.kubernetes.server import Server

    server = Server(Cluster(tmp_path / "pods"))
    monkeypatch.setenv("KUBECONFIG", str(server.kubeconfig(tmp_path / "kubeconfig")))
    yield server
    server.stop()
