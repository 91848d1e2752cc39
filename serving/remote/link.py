"""One stream to one expert server: many requests on their way, each answered by its number."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import grpc
import grpc.aio

from atoll.errors import Unreachable
from atoll.reasons import brief
from atoll.wire.v1 import experts_pb2 as wire
from atoll.wire.v1 import experts_pb2_grpc as rpc
from serving.remote.tensors import MAX_MESSAGE_BYTES

_ASK_AGAIN_MS = 5_000  # whether the server is there, which may have gone without a word
_OPTIONS = [
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.keepalive_time_ms", _ASK_AGAIN_MS),
    ("grpc.keepalive_timeout_ms", _ASK_AGAIN_MS),
    ("grpc.http2.max_pings_without_data", 0),
    # Whoever comes back is found at once: whether to call them is decided elsewhere.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 1000),
    ("grpc.max_reconnect_backoff_ms", 2000),
    # One connection for each link, so that what befalls one server's befalls no other's.
    ("grpc.use_local_subchannel_pool", 1),
]


class Link:
    """For the event loop it is made in alone."""

    def __init__(self, address: str, credentials: grpc.ChannelCredentials | None) -> None:
        """Call nobody yet.

        Args:
            address: ``host:port``.
            credentials: as whom to call, and whom to trust; None for plain text.
        """
        if credentials is None:
            self._channel = grpc.aio.insecure_channel(address, options=_OPTIONS)
        else:
            self._channel = grpc.aio.secure_channel(address, credentials, options=_OPTIONS)
        self._stub: Any = rpc.ExpertsStub(self._channel)
        self._numbers = itertools.count(1)
        self._stream: _Stream | None = None

    async def describe(self, seconds: float) -> wire.DescribeResponse:
        """Ask whom the server speaks for. Raises: Unreachable, there is no answer in time."""
        try:
            told: wire.DescribeResponse = await self._stub.Describe(
                wire.DescribeRequest(), timeout=seconds
            )
        except grpc.aio.AioRpcError as error:
            raise Unreachable(_said(error)) from error
        return told

    async def ask(
        self, make: Callable[[], Sequence[wire.EvaluateRequest]], *, is_heavy: bool = False
    ) -> wire.EvaluateResponse:
        """Send rows, and wait for their answer, for as long as the caller does.

        Args:
            make: makes the request, whose number is set here, and what is to be sent before it; by
                what was sent before that.
            is_heavy: whether it takes so long that nobody on other streams should wait for it.

        Raises:
            Unreachable: the stream broke off.
        """
        if self._stream is None or self._stream.is_over:
            self._stream = _Stream(self._stub.Evaluate())
        return await self._stream.ask(next(self._numbers), make, is_heavy=is_heavy)

    async def close(self) -> None:
        """Hang up; what was asked is answered with Unreachable."""
        if self._stream is not None:
            await self._stream.end()
        await self._channel.close()


class _Stream:
    def __init__(self, call: Any) -> None:
        self._call = call
        self._asked: dict[int, asyncio.Future[wire.EvaluateResponse]] = {}
        self._writing = asyncio.Lock()  # gRPC takes one at a time
        self._sent: set[int] = set()  # numbers of requests that have gone, or are about to
        self._works: set[asyncio.Task[None]] = set()
        self._reading = asyncio.get_running_loop().create_task(self._read())

    @property
    def is_over(self) -> bool:
        return bool(self._call.done())

    async def ask(
        self, number: int, make: Callable[[], Sequence[wire.EvaluateRequest]], *, is_heavy: bool
    ) -> wire.EvaluateResponse:
        answer: asyncio.Future[wire.EvaluateResponse]
        answer = self._asked[number] = asyncio.get_running_loop().create_future()
        try:
            # gRPC ends the whole stream, and so all that others have asked, with a write that is
            # cancelled: it goes on by itself.
            await asyncio.shield(self._begun(self._send(number, make, is_heavy=is_heavy)))
            return await answer
        except asyncio.CancelledError:
            if number in self._sent:
                self._begun(self._withdraw(number))
            raise
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError) as error:
            raise Unreachable(_said(error)) from error
        finally:
            self._asked.pop(number, None)
            self._sent.discard(number)
            answer.cancel()

    async def _send(
        self, number: int, make: Callable[[], Sequence[wire.EvaluateRequest]], *, is_heavy: bool
    ) -> None:
        async with self._writing:  # what is made goes by what was sent before
            if number not in self._asked:  # whoever asked has left while others were writing
                return
            self._sent.add(number)
            messages = await asyncio.to_thread(make) if is_heavy else make()
            messages[-1].number = number
            for message in messages:
                await self._write(message)

    async def _withdraw(self, number: int) -> None:
        async with self._writing:
            await self._write(wire.EvaluateRequest(number=number, withdrawn=True))

    async def _write(self, message: wire.EvaluateRequest) -> None:
        try:
            await self._call.write(message)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            # gRPC says so of a stream that was ended from here.
            raise Unreachable("the stream was ended") from None

    def _begun(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Work that goes on whoever waits for it; a loop by itself keeps no task."""
        task = asyncio.get_running_loop().create_task(work)
        self._works.add(task)

        def over(task: asyncio.Task[None]) -> None:
            self._works.discard(task)
            if not task.cancelled():
                task.exception()  # a stream that broke off tells it as well

        task.add_done_callback(over)
        return task

    async def end(self) -> None:
        self._call.cancel()
        await asyncio.wait([self._reading])

    async def _read(self) -> None:
        why = "the server has ended the stream"
        try:
            async for response in self._call:
                answer = self._asked.get(response.number)
                if answer and not answer.done():
                    answer.set_result(response)
        except (grpc.aio.AioRpcError, asyncio.CancelledError) as error:
            why = _said(error)
        for answer in self._asked.values():
            if not answer.done():
                answer.set_exception(Unreachable(why))


def _said(error: BaseException) -> str:
    if isinstance(error, grpc.aio.AioRpcError):
        return brief(error.details() or str(error.code()))
    return brief(str(error)) or "the stream broke off"
