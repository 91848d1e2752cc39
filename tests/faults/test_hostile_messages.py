"""Whatever bytes are sent to whichever call, by whomever: refused with the right status.

Nothing breaks, nothing that counts is changed, and memory does not grow with what was sent.
``ATOLL_HOSTILE=1000000 make test`` sends a million messages instead of some thousand.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import struct
import time
from collections import Counter
from collections.abc import Iterator

import grpc
import grpc.aio
import pytest
from google.protobuf.descriptor import MethodDescriptor

from atoll import identity
from atoll.identity import Identity, Kind
from atoll.types import JobSpec, Role, Submission
from tests.faults.hostile_messages import METHODS, Generator, path_of
from tests.faults.served import OURS, RUN, Served, serving

NUM_MESSAGES = int(os.environ.get("ATOLL_HOSTILE", "4000"))
AT_ONCE = 48  # calls on their way
MOST_GROWTH = 24 << 20  # bytes more after the second half of the messages than the first
RARE = {"WatchEvents", "WatchLog"}  # a stream keeps a thread of the server for a second
CALLERS = {
    "Islands": {Kind.ISLAND},
    "Operators": {Kind.OPERATOR},
    "Identities": {Kind.ISLAND, Kind.JOIN},
}
# What may be said to a caller whose message makes no sense. UNKNOWN, INTERNAL and UNAVAILABLE are
# none.
FITTING = {
    grpc.StatusCode.OK,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
}
UNREADABLE = (grpc.StatusCode.INVALID_ARGUMENT, "the message cannot be read")

pytestmark = pytest.mark.timeout(120 + NUM_MESSAGES // 100)


@pytest.fixture
def served(tmp_path) -> Iterator[Served]:
    with serving(tmp_path, secured=True) as made:
        yield made


class Flood:
    """Many callers, each with an identity and a connection of its own, all at once.

    Attributes:
        seen: how often each status was answered.
    """

    def __init__(self, served: Served) -> None:
        numbers = range(1, 21)
        self._served = served
        self._make = Generator()
        self._who = [identity.island(RUN, f"island-{number}") for number in numbers]
        self._who += [identity.operator(f"operator-{number}") for number in numbers]
        self._who += [identity.joining(RUN, f"far-{number}") for number in numbers]
        self._who += [identity.joining(RUN)] * 4
        self.seen: Counter[grpc.StatusCode] = Counter()

    async def send(self, num_messages: int) -> None:
        """Send so many, and look at each answer."""
        options = [("grpc.use_local_subchannel_pool", 1)]  # a connection for each
        address, ways = self._served.address, [self._served.credentials(who) for who in self._who]
        channels = [
            grpc.aio.secure_channel(address, way, options)
            if way
            else grpc.aio.insecure_channel(address, options)
            for way in ways
        ]
        left = iter(range(num_messages))
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(AT_ONCE):
                    group.create_task(self._send_some(left, channels))
        finally:
            for channel in channels:
                await channel.close(None)

    async def _send_some(self, left: Iterator[int], channels: list[grpc.aio.Channel]) -> None:
        for _ in left:
            place, method = self._pick()
            who = self._who[place]
            made = self._make.message(method, who)
            data = self._make.mutated(made.SerializeToString(), method)
            status, told = await _answer(channels[place], method, data)
            self.seen[status] += 1
            assert (status, told) == UNREADABLE or status in self._fitting(who, method), (
                f"{who} calls {method.name}: {status} {told!r}, to {made}"
            )
            assert len(told) < 8000

    def _pick(self) -> tuple[int, MethodDescriptor]:
        """A caller and a call, more often than not one that may be made."""
        rng = self._make.rng
        while True:
            place, method = rng.randrange(len(self._who)), rng.choice(METHODS)
            if method.name in RARE and rng.random() < 0.95:
                continue
            if self._may(self._who[place], method) or rng.random() < 0.3:
                return place, method

    def _fitting(self, who: Identity, method: MethodDescriptor) -> set[grpc.StatusCode]:
        # A stream of events has no end of its own.
        late = {grpc.StatusCode.DEADLINE_EXCEEDED} if method.server_streaming else set()
        if self._served.ca is None:
            served = method.containing_service.name != "Identities"
            return FITTING | late if served else {grpc.StatusCode.UNIMPLEMENTED}
        if self._may(who, method):
            return FITTING | late | {grpc.StatusCode.PERMISSION_DENIED}
        return {grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.RESOURCE_EXHAUSTED} | late

    def _may(self, who: Identity, method: MethodDescriptor) -> bool:
        return who.kind in CALLERS[method.containing_service.name]


async def _answer(
    channel: grpc.aio.Channel, method: MethodDescriptor, data: bytes
) -> tuple[grpc.StatusCode, str]:
    try:
        if method.server_streaming:
            stream = channel.unary_stream(path_of(method))(data, metadata=OURS, timeout=0.5)
            await stream.read()
            stream.cancel()
        else:
            await channel.unary_unary(path_of(method))(data, metadata=OURS, timeout=60)
    except grpc.aio.AioRpcError as error:
        return error.code(), error.details() or ""
    return grpc.StatusCode.OK, ""


@pytest.mark.parametrize("secured", [True, False], ids=["tls", "plain"])
def test_hostile_messages_are_refused_and_leave_nothing_behind(tmp_path, secured, capsys):
    with serving(tmp_path, secured=secured) as served:
        operator = identity.operator("local")
        spec = JobSpec("expert-0", Role.EXPERT, 0, "runs/test", 100, "d")
        with served.client(operator) as client:
            client.submit([Submission(spec)])
        flood, memory, begin = Flood(served), [], time.monotonic()
        for _ in range(2):
            asyncio.run(flood.send(NUM_MESSAGES // 4))
            memory.append(served.memory)
        with served.client(operator) as client:
            view = client.fleet()
        log = served.log
    with capsys.disabled():
        pace = 2 * (NUM_MESSAGES // 4) / (time.monotonic() - begin)
        held = " → ".join(f"{bytes_ / 2**20:.0f} MiB" for bytes_ in memory)
        told = {status.name: num for status, num in flood.seen.most_common()}
        print(f"\n{pace:.0f} messages a second; server {held}; {told}")
    assert memory[1] - memory[0] < MOST_GROWTH
    assert "unexpected error" not in log
    assert "Traceback" not in log
    assert {grpc.StatusCode.OK, grpc.StatusCode.FAILED_PRECONDITION} <= flood.seen.keys()
    assert (grpc.StatusCode.PERMISSION_DENIED in flood.seen) == secured
    # What is in the database is whole, and what it told.
    with contextlib.closing(sqlite3.connect(tmp_path / "orchestrator.db")) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        last, num = database.execute("SELECT max(number), count(*) FROM events").fetchone()
        assert last == num
        stored = dict(database.execute("SELECT name, state FROM jobs").fetchall())
    assert {job.spec.name: job.state.value for job in view.jobs} == stored


def test_message_over_the_limit_is_refused_by_size_for_every_call(served):
    operator = served.pair(identity.operator("local"))
    with served.sender(operator) as send:
        for method in METHODS:
            status, _ = send(method.name, bytes(5 << 20))
            assert status is grpc.StatusCode.RESOURCE_EXHAUSTED
        for _ in range(20):
            send("Drain", bytes(5 << 20))
        before = served.memory
        for _ in range(40):
            send("Drain", bytes(5 << 20))
        assert served.memory - before < MOST_GROWTH


def test_nested_groups_and_endless_lengths_are_unreadable(served):
    with served.sender(identity.operator("local")) as send:
        for data in (b"\x0b" * 5000, b"\x0a" + b"\xff" * 9 + b"\x01", struct.pack(">Q", 2**64 - 1)):
            assert send("Submit", data) == UNREADABLE
