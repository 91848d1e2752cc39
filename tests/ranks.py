"""Processes that talk to each other as those of an island do, kept for many checks."""

from __future__ import annotations

import contextlib
import pickle
import traceback
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from torch import distributed

from tests.warm import forked

_ANSWER_S = 240.0  # for hangs


class Ranks:
    """A group of processes that call functions together."""

    def __init__(self, wires: list[Connection]) -> None:
        self._wires = wires

    def call(self, function: Callable[..., Any], *given: Any) -> list[Any]:
        """What each of them answers, in order of rank.

        Args:
            function: at the top of a module that can be imported by its name.
            given: to the function.
        """
        for wire in self._wires:
            send(wire, (function, given))
        answers = []
        for rank, wire in enumerate(self._wires):
            assert wire.poll(_ANSWER_S), f"rank {rank} does not answer"
            fine, answer = receive(wire)
            assert fine, f"rank {rank}: {answer}"
            answers.append(answer)
        return answers


@contextlib.contextmanager
def ranks(num: int, folder: Path) -> Iterator[Ranks]:
    """So many of them, until the end."""
    started = [forked(serve, rank, num, folder / "meeting") for rank in range(num)]
    try:
        yield Ranks([wire for _, wire in started])
    finally:
        for process, wire in started:
            wire.close()
            process.join(10)
            process.kill()


def send(wire: Connection, what: Any) -> None:
    """Send something, with all numbers of its tensors.

    A connection's own way leaves them in shared memory, whose manager gives up on busy machines.
    """
    wire.send_bytes(pickle.dumps(what))


def receive(wire: Connection) -> Any:
    """What was sent."""
    return pickle.loads(wire.recv_bytes())  # noqa: S301 - from the other end of these tests


def serve(wire: Connection, rank: int, num: int, meeting: Path) -> None:
    """Call what is asked for over the wire, as one of a group of processes."""
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", init_method=f"file://{meeting}", rank=rank, world_size=num
    )
    with contextlib.suppress(EOFError, ConnectionResetError):
        while True:
            function, given = receive(wire)
            try:
                send(wire, (True, function(*given)))
            except Exception:
                send(wire, (False, traceback.format_exc()))
    distributed.destroy_process_group()
