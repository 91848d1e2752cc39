"""Room for those who read streams: each keeps a thread, for as long as it reads."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable, Iterator
from typing import TypeVar

import grpc

from atoll.clock import Clock
from atoll.errors import Busy

_STALLED_S = 30.0  # so long nobody has to be waited for who takes nothing

Message = TypeVar("Message")


class Streams:
    """Some at once. Where there is no room, those who have stopped reading make some."""

    def __init__(self, most: int, clock: Clock) -> None:
        """Let in so many.

        Args:
            most: at once.
            clock: tells how long each takes to read.
        """
        self._most, self._clock = most, clock
        self._guard = threading.Lock()
        # Of each since when it takes to read a message; inf where none waits to be read.
        self._waiting_since: dict[grpc.ServicerContext, float] = {}

    def enter(self, context: grpc.ServicerContext) -> None:
        """Keep a place until a call ends.

        Raises:
            Busy: there is none.
        """
        with self._guard:
            is_full = len(self._waiting_since) >= self._most
            if not is_full:
                self._waiting_since[context] = math.inf
        if is_full:
            self._end_who_stalls()
            raise Busy(f"{self._most} streams are read already; ask again later")
        if not context.add_callback(lambda: self._leave(context)):
            self._leave(context)

    def sent(self, context: grpc.ServicerContext, messages: Iterable[Message]) -> Iterator[Message]:
        """Messages as they are, each looked at until it is on its way."""
        for message in messages:
            self._note(context, self._clock.monotonic())
            yield message
            self._note(context, math.inf)

    def _note(self, context: grpc.ServicerContext, since: float) -> None:
        with self._guard:
            if context in self._waiting_since:
                self._waiting_since[context] = since

    def _leave(self, context: grpc.ServicerContext) -> None:
        with self._guard:
            self._waiting_since.pop(context, None)

    def _end_who_stalls(self) -> None:
        long_ago = self._clock.monotonic() - _STALLED_S
        with self._guard:
            stalled = [each for each, since in self._waiting_since.items() if since < long_ago]
        for context in stalled:
            context.cancel()
