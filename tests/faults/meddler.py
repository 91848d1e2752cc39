"""Who stands between agents and orchestrator and does to their calls what no wire does."""

from __future__ import annotations

import contextlib
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from atoll.control import RUN_KEY

_DEADLINE_S = 10.0
_LATE_S = 0.5  # by which a call may be overtaken
_MOST_ACQUIRES = 2  # that are replayed: each ends the lease of a healthy island

Call = Callable[[], bytes]


@dataclass
class Meddler(grpc.GenericRpcHandler):
    """Hands each call on, as bytes, in its own manner.

    Attributes:
        endpoint: file in which the orchestrator says where it serves.
        manner: what is done to a call, given the method's name.
        answers: how often which status answered what was sent besides, by method.
        num_outrun: calls whose caller went on while a copy of them was still on its way.
    """

    endpoint: Path
    manner: Callable[[Meddler, str, Call], bytes]
    answers: Counter[tuple[str, str]] = field(default_factory=Counter)
    num_outrun: int = 0

    def __post_init__(self) -> None:
        self._random = random.Random(0)
        self._threads = ThreadPoolExecutor(16)
        self._former: dict[str, Call] = {}  # the first of each
        self._lock = threading.Lock()
        self._channels: dict[str, grpc.Channel] = {}
        self._server = grpc.server(ThreadPoolExecutor(16), handlers=[self])
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def close(self) -> None:
        self._server.stop(grace=None).wait()
        self._threads.shutdown()
        for channel in self._channels.values():
            channel.close()

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        """Every method of every service, its messages unread."""
        path = details.method

        def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
            metadata = [pair for pair in context.invocation_metadata() if pair[0] == RUN_KEY]

            def call() -> bytes:
                method = self._channel().unary_unary(path)
                return method(request, timeout=_DEADLINE_S, metadata=metadata)

            try:
                return self.manner(self, path.rpartition("/")[2], call)
            except grpc.RpcError as error:
                context.abort(error.code(), error.details())

        return grpc.unary_unary_rpc_method_handler(answer)

    def _channel(self) -> grpc.Channel:
        address = json.loads(self.endpoint.read_text())["address"]
        with self._lock:
            if address not in self._channels:
                self._channels[address] = grpc.insecure_channel(address)
            return self._channels[address]

    def besides(self, name: str, call: Call) -> None:
        """Send what nobody waits for, and note how it was answered."""
        try:
            call()
            status = "OK"
        except grpc.RpcError as error:
            status = error.code().name
        self.answers[name, status] += 1

    def twice(self, name: str, call: Call) -> bytes:
        """The second answer counts."""
        self.besides(name, call)
        return call()

    def overtaken(self, name: str, call: Call) -> bytes:
        """Two of each, both late; the caller goes on after one, and may overtake the other."""

        def late(pause_s: float) -> bytes:
            time.sleep(pause_s)
            return call()

        pauses_s = [self._random.uniform(0, _LATE_S) for _ in range(2)]
        copies = [self._threads.submit(late, pause_s) for pause_s in pauses_s]
        copies[1].add_done_callback(lambda copy: self.besides(name, copy.result))
        done, on_their_way = wait(copies, return_when=FIRST_COMPLETED)
        self.num_outrun += bool(on_their_way)
        return done.pop().result()

    def followed_by_old_ones(self, name: str, call: Call) -> bytes:
        """After each commit come the first heartbeat, commit, release and acquire once more."""
        answer = call()
        with self._lock:
            self._former.setdefault(name, call)
            again = dict(self._former) if name == "Commit" else {}
        if self.answers["Acquire", "OK"] >= _MOST_ACQUIRES:
            again.pop("Acquire", None)
        for former, old in again.items():
            self.besides(former, old)
        return answer


@contextlib.contextmanager
def meddler(endpoint: Path, manner: Callable[[Meddler, str, Call], bytes]) -> Iterator[Meddler]:
    """Inside, somebody meddles."""
    made = Meddler(endpoint, manner)
    try:
        yield made
    finally:
        made.close()
