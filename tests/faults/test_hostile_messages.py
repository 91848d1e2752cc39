"""Whatever bytes are sent to whichever call: refused with the right status, and nothing breaks.

``ATOLL_HOSTILE=1000000 make test`` sends a million messages instead of some thousand.
"""

from __future__ import annotations

import logging
import os
import random
import struct
from collections.abc import Iterator

import grpc
import pytest
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from atoll.clock import SystemClock
from atoll.control import RUN_KEY, ControlClient
from atoll.types import JobSpec, JobState, Role, Submission
from atoll.wire.v1 import control_pb2
from orchestrator.database import sqlite_url
from orchestrator.fleet import Policy
from orchestrator.server import start_server
from orchestrator.service import FleetService
from orchestrator.sql_store import SqlStore

RUN = "run"
NUM_MESSAGES = int(os.environ.get("ATOLL_HOSTILE", "4000"))
SERVICES = control_pb2.DESCRIPTOR.services_by_name.values()
METHODS = [method for service in SERVICES for method in service.methods]
TEXTS = ["", "expert-0", "island-1", "\x00", "../../etc/passwd", "é" * 300, "x" * 100_000]
NUMBERS = [0, 1, 2, 99, 2**31 - 1, 2**32 - 1, 2**63, 2**64 - 1]
REALS = [0.0, -1.0, 1e308, float("nan"), float("inf"), float("-inf")]
# What may be said to a caller whose message makes no sense. UNKNOWN and UNAVAILABLE are none.
FITTING = {
    grpc.StatusCode.OK,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.DEADLINE_EXCEEDED,  # a stream of events has no end
}
UNREADABLE = (grpc.StatusCode.INVALID_ARGUMENT, "the message cannot be read")

pytestmark = pytest.mark.timeout(60 + NUM_MESSAGES // 200)


@pytest.fixture
def service(tmp_path) -> Iterator[FleetService]:
    store = SqlStore(sqlite_url(tmp_path / "orchestrator.db"))
    policy = Policy(term_s=600.0, max_failures=2, backoff_s=1.0)
    yield FleetService(store, policy, SystemClock())
    store.close()


@pytest.fixture
def address(service) -> Iterator[str]:
    server, address = start_server(service, "127.0.0.1:0", RUN)
    yield address
    server.stop(grace=None).wait()


class Sender:
    """Sends bytes as they are."""

    def __init__(self, address: str) -> None:
        self._channel = grpc.insecure_channel(address)

    def __call__(self, method: MethodDescriptor, data: bytes) -> tuple[grpc.StatusCode, str]:
        path = f"/{method.containing_service.full_name}/{method.name}"
        metadata = ((RUN_KEY, RUN),)
        try:
            if method.server_streaming:
                stream = self._channel.unary_stream(path)(data, timeout=0.2, metadata=metadata)
                next(stream, None)
                stream.cancel()
            else:
                self._channel.unary_unary(path)(data, timeout=20, metadata=metadata)
        except grpc.RpcError as error:
            return error.code(), error.details() or ""
        return grpc.StatusCode.OK, ""

    def close(self) -> None:
        self._channel.close()


@pytest.fixture
def send(address) -> Iterator[Sender]:
    sender = Sender(address)
    yield sender
    sender.close()


def filled(message: Message, rng: random.Random, depth: int = 0) -> Message:
    """Fields of the right kind with values nobody would send."""
    for field in message.DESCRIPTOR.fields:
        if rng.random() < 0.3:
            continue
        values = [value_of(field, rng, depth) for _ in range(rng.randint(1, 3))]
        if field.message_type is not None:
            places = getattr(message, field.name)
            for value in values if field.is_repeated else values[:1]:
                (places.add() if field.is_repeated else places).MergeFrom(value)
        elif field.is_repeated:
            getattr(message, field.name).extend(values)
        else:
            setattr(message, field.name, values[0])
    return message


def value_of(field: FieldDescriptor, rng: random.Random, depth: int):
    if field.message_type is not None:
        made = GetMessageClass(field.message_type)()
        return filled(made, rng, depth + 1) if depth < 4 else made
    if field.enum_type is not None:
        return rng.choice([0, 1, 2, 99])
    choices = {
        FieldDescriptor.TYPE_STRING: TEXTS,
        FieldDescriptor.TYPE_BOOL: [True, False],
        FieldDescriptor.TYPE_DOUBLE: REALS,
        FieldDescriptor.TYPE_UINT32: [number for number in NUMBERS if number < 2**32],
    }
    return rng.choice(choices.get(field.type, NUMBERS))


def mutated(data: bytes, rng: random.Random) -> bytes:
    """The same bytes with something wrong."""
    match rng.randrange(5):
        case 0:
            return data[: rng.randint(0, len(data))]
        case 1:
            return data + rng.randbytes(rng.randint(1, 40))
        case 2:
            return rng.randbytes(rng.randint(0, 200))
        case 3 if data:
            broken = bytearray(data)
            for _ in range(rng.randint(1, 4)):
                broken[rng.randrange(len(broken))] ^= 1 << rng.randrange(8)
            return bytes(broken)
    return data


def test_hostile_messages_are_refused_and_change_nothing_that_counts(
    service, address, send, caplog
):
    rng, seen = random.Random(0), set()
    spec = JobSpec("expert-0", Role.EXPERT, 0, "runs/test", 100, "d")
    with ControlClient(address, RUN) as client:
        client.submit([Submission(spec)])
        caplog.set_level(logging.ERROR, logger="orchestrator")
        for _ in range(NUM_MESSAGES):
            method = rng.choice(METHODS)
            made = filled(GetMessageClass(method.input_type)(), rng)
            status, told = send(method, mutated(made.SerializeToString(), rng))
            seen.add(status)
            if (status, told) != UNREADABLE:
                assert status in FITTING, (method.name, status, told, made)
            assert len(told) < 8000
        assert "unexpected error" not in caplog.text
        # It still serves, and the one job that anybody may know of is none the worse.
        job = next(job for job in client.fleet().jobs if job.spec.name == "expert-0")
    assert job.checkpoint is None
    assert job.state in JobState
    assert {grpc.StatusCode.OK, grpc.StatusCode.FAILED_PRECONDITION} <= seen


def test_message_over_the_limit_is_refused_by_size(send):
    huge = control_pb2.DrainRequest(reason="x" * (5 << 20)).SerializeToString()
    method = next(method for method in METHODS if method.name == "Drain")
    status, _ = send(method, huge)
    assert status is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_nested_groups_and_endless_lengths_are_unreadable(send):
    method = next(method for method in METHODS if method.name == "Submit")
    for data in (b"\x0b" * 5000, b"\x0a" + b"\xff" * 9 + b"\x01", struct.pack(">Q", 2**64 - 1)):
        assert send(method, data) == UNREADABLE
