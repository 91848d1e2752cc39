"""A control plane in a process of its own, and who calls it."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import psutil
from google.protobuf.message import Message

from atoll import authority
from atoll.authority import Pair
from atoll.control import RUN_KEY, ControlClient
from atoll.credentials import CA, SERVER, client_credentials, write_pair
from atoll.identity import Identity
from tests.faults.hostile_messages import method_of, path_of

RUN = "run"
OURS = ((RUN_KEY, RUN),)


@dataclass
class Served:
    """A control plane as a process."""

    folder: Path
    ca: Pair | None
    process: subprocess.Popen[str]
    address: str

    @property
    def memory(self) -> int:
        """Bytes it holds."""
        return psutil.Process(self.process.pid).memory_info().rss

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    def credentials(self, who: Identity | Pair) -> grpc.ChannelCredentials | None:
        if self.ca is None:
            return None
        pair = who if isinstance(who, Pair) else self.pair(who)
        return client_credentials(pair, self.ca.certificate)

    def pair(self, who: Identity, begin: float = 0.0, seconds: float = 36000.0) -> Pair:
        assert self.ca is not None
        return authority.for_identity(self.ca, who, time.time() + begin, seconds)

    def client(self, who: Identity | Pair) -> ControlClient:
        return ControlClient(self.address, RUN, self.credentials(who))

    @contextlib.contextmanager
    def sender(self, who: Identity | Pair) -> Iterator[Sender]:
        """Sends bytes as they are."""
        credentials = self.credentials(who)
        with (
            grpc.insecure_channel(self.address)
            if credentials is None
            else grpc.secure_channel(self.address, credentials)
        ) as channel:
            yield Sender(channel)


@dataclass
class Sender:
    """Sends bytes as they are, and says what was answered."""

    channel: grpc.Channel

    def __call__(self, name: str, data: bytes | Message) -> tuple[grpc.StatusCode, str]:
        method = method_of(name)
        data = data.SerializeToString() if isinstance(data, Message) else data
        try:
            if method.server_streaming:
                stream = self.channel.unary_stream(path_of(method))(data, metadata=OURS, timeout=20)
                next(stream)
                stream.cancel()
            else:
                self.channel.unary_unary(path_of(method))(data, metadata=OURS, timeout=20)
        except grpc.RpcError as error:
            return error.code(), error.details() or ""
        return grpc.StatusCode.OK, ""


@contextlib.contextmanager
def serving(folder: Path, *, secured: bool) -> Iterator[Served]:
    settings, ca = [f"run.uri={folder / 'run'}"], None
    if secured:
        ca = authority.new_authority(time.time(), 36000.0)
        write_pair(folder / "tls", CA, ca)
        server = authority.for_hosts(ca, ["127.0.0.1"], time.time(), 36000.0)
        write_pair(folder / "tls", SERVER, server)
        settings.append(f"orchestrator.tls={folder / 'tls'}")
    program = Path(__file__).parent / "hostile_server.py"
    with (folder / "log").open("w") as log:
        command = [sys.executable, str(program), str(folder), *settings]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
    with process:
        try:
            yield Served(folder, ca, process, process.stdout.readline().strip())
            assert process.poll() is None, "the server has died"
        finally:
            process.kill()
