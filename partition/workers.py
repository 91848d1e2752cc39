"""A function over a stream on every core: results in order, few of them in memory."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Self, TypeVar

from atoll.errors import OutOfMemory

_ALONE = 512  # items, in less time than processes take to start
_CHUNK = 16  # items that go to a process together
_AHEAD = 2  # chunks that wait while every process has one

_In = TypeVar("_In")
_Out = TypeVar("_Out")


class Workers:
    """Processes that share work with each other, from the first call on until they are let go.

    They are spawned, because whoever calls may have threads, and end with it, however it ends.

    Args:
        num: processes; 0 = this one does everything; None = one for each core, once there is work
            for them.
    """

    def __init__(self, num: int | None) -> None:
        cores = num_cores()
        # One core works best alone.
        by_default = cores if cores > 1 else 0
        self._num = by_default if num is None else num
        # How many items this process does by itself before others are started; None = all.
        self._alone: int | None = None
        if self._num:
            self._alone = 0 if num else _ALONE
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Let the processes go."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def map(self, function: Callable[[_In], _Out], items: Iterable[_In]) -> Iterator[_Out]:
        """The function of each item, in their order.

        Args:
            function: of a module, so that other processes find it; its errors are raised here.
            items: drawn from no faster than results are taken, a few for each process ahead.

        Raises:
            OutOfMemory: a process was killed.
        """
        waiting = iter(items)
        yield from map(function, itertools.islice(waiting, self._alone))
        running: deque[Future[list[_Out]]] = deque()
        try:
            while True:
                for _ in range(self._num + _AHEAD - len(running)):
                    if chunk := list(itertools.islice(waiting, _CHUNK)):
                        running.append(self._started().submit(_apply, function, chunk))
                if not running:
                    return
                yield from running.popleft().result()
        except BrokenProcessPool as error:
            raise OutOfMemory(
                "a process that decodes images was killed, as happens where memory runs out; give "
                "the machine more of it, or lower data.workers"
            ) from error
        finally:
            for future in running:
                future.cancel()

    def _started(self) -> ProcessPoolExecutor:
        if self._pool is None:
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self._num, context, settle)
        return self._pool


def settle() -> None:
    """Of a new process: leave Ctrl-C to the one that has started it, and end with that."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _apply(function: Callable[[_In], _Out], chunk: Sequence[_In]) -> list[_Out]:
    return list(map(function, chunk))


def num_cores() -> int:
    """Those of this machine that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
