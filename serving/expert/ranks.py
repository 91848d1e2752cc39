"""One image over several processes of a server: each has some of its tokens.

The first process serves. What it is asked it passes on to the others, and all of them evaluate it
together, as the ranks of a trainer do under ``island.parallel.sequence``.

Source: see :mod:`experts.parallel.sequence`.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch
from torch import Tensor, distributed

from atoll.errors import AtollError, BadInput
from experts.flow import VelocityField
from experts.parallel.displaced import displace
from experts.parallel.sequence import share_tokens
from partition.workers import num_cores
from serving.engine.thrift import Thrift
from serving.expert.evaluator import Given
from serving.expert.rank_fit import module_of, refuse_undisplaced, refuse_unshared
from serving.expert.served import ServedExpert

Load = Callable[[], Sequence[ServedExpert]]
Rows = tuple[int, ...] | None
_Header = tuple[int, tuple[int, ...], tuple[tuple[int, ...], torch.dtype] | None, Rows, Rows]

_ANSWER = timedelta(seconds=60)  # of another rank, for its part of an evaluation
_LEAVE_S, _LOOK_S = 5.0, 0.1


@dataclass(frozen=True, slots=True, eq=False)
class Ranks:
    """The other processes.

    Attributes:
        processes: they.
        wires: to each of them.
    """

    processes: Sequence[BaseProcess]
    wires: Sequence[Connection]
    _raised: list[Exception] = field(default_factory=list)

    @property
    def are_alive(self) -> bool:
        """Whether all are there, and wait for the same: the others can do nothing without one."""
        return not self._raised and all(process.is_alive() for process in self.processes)

    def wait(self) -> None:
        """Until all have loaded their experts. Raises: AtollError, one has ended instead."""
        for process, wire in zip(self.processes, self.wires, strict=True):
            while not wire.poll(_LOOK_S):
                if not process.is_alive():
                    raise AtollError("a rank has ended before it had its experts")
            with contextlib.suppress(EOFError):
                wire.recv()

    def evaluate(self, place: int, field: Shared, given: Given, rows: Rows, gone: Rows) -> Tensor:
        """A velocity by all ranks.

        Args:
            place: of the expert among those that are served.
            field: its part here.
            given: image, time and condition.
            rows: see :class:`experts.parallel.displaced.Displaced`.
            gone: likewise.
        """
        if self._raised:
            raise AtollError("a rank has ended, or is somewhere else than the others")
        try:
            return self._evaluated(place, field, given, rows, gone)
        except Exception as error:  # the others may be anywhere by now
            self._raised.append(error)
            raise

    def _evaluated(self, place: int, field: Shared, given: Given, rows: Rows, gone: Rows) -> Tensor:
        x_t, _, cond = given
        told = None if cond is None else (tuple(cond.shape), cond.dtype)
        header: _Header = (place, tuple(x_t.shape), told, rows, gone)
        for wire in self.wires:
            wire.send(header)
        for tensor in given:
            if tensor is not None:
                distributed.broadcast(tensor.contiguous(), 0)
        return field.velocity(given, rows, gone)


class Shared:
    """This process's part of an expert."""

    def __init__(self, field: VelocityField, *, displaced: bool) -> None:
        """Share its tokens with all other ranks.

        Args:
            field: changed in place.
            displaced: whether rows that come again see the others' tokens as they were.
        """
        everybody, network = distributed.group.WORLD, module_of(field)
        assert everybody is not None
        share_tokens(network, everybody)
        self._field = field
        self._layers = displace(network, everybody) if displaced else []

    def velocity(self, given: Given, rows: Rows, gone: Rows) -> Tensor:
        """All of it, on every process; arguments as of :meth:`Ranks.evaluate`."""
        for layer in self._layers:
            layer.expect(rows, gone or ())
        return self._field(*given)


class OfRanks:
    """An expert's velocity by all ranks, see :class:`experts.flow.VelocityField`."""

    def __init__(self, ranks: Ranks, place: int, shared: Shared) -> None:
        """Of an expert at a place among those that are served."""
        self._ranks, self._place, self._shared = ranks, place, shared
        self._gone: list[int] = []

    def __call__(self, x_t: Tensor, t: Tensor, cond: Tensor | None) -> Tensor:
        """Of rows that do not come again."""
        return self._evaluated((x_t, t, cond), None)

    def _evaluated(self, given: Given, rows: Rows) -> Tensor:
        gone, self._gone = tuple(self._gone), []
        return self._ranks.evaluate(self._place, self._shared, given, rows, gone)


class OfDisplacedRanks(OfRanks):
    """The same, of ranks that remember; see :class:`serving.expert.evaluator.Remembering`."""

    def heeds(self, thrift: Thrift) -> bool:
        """See :class:`serving.expert.evaluator.Remembering`."""
        return thrift.displaced

    def again(
        self,
        given: Given,
        rows: tuple[int, ...],
        thrift: Thrift,  # noqa: ARG002 - its blocks are asked each time
    ) -> Tensor:
        """Of rows that do."""
        return self._evaluated(given, rows)

    def forget(self, rows: tuple[int, ...]) -> None:
        """These come no more."""
        self._gone += rows


@contextlib.contextmanager
def ranks(
    experts: Sequence[ServedExpert],
    load: Load,
    num: int,
    device: torch.device,
    *,
    displaced: bool = False,
) -> Iterator[tuple[Ranks, list[ServedExpert]]]:
    """Inside, so many processes evaluate the same experts together.

    Args:
        experts: here; what shares their tokens is changed in place.
        load: loads the same in another process; can be pickled.
        num: of processes, with this one; at least 2.
        device: of the networks.
        displaced: see :class:`Shared`.

    Returns:
        The other processes, and the experts, whose fields are evaluated by all.

    Raises:
        BadInput: the number divides no network's heads, or no image's tokens; or such a network
            cannot be displaced.
    """
    if device.type == "cuda" and num > torch.cuda.device_count():
        raise BadInput(
            f"expert_server.ranks = {num}, and there are {torch.cuda.device_count()} GPUs here; "
            "set it to that or less"
        )
    for expert in experts:
        refuse_unshared(expert, num)
        if displaced:
            refuse_undisplaced(expert)
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        meeting = Path(folder) / "meeting"
        pipes = [context.Pipe() for _ in range(1, num)]
        given = (load, num, meeting, device, displaced)
        others = [
            context.Process(target=_work, args=(rank, *given, theirs), daemon=True)
            for rank, (_, theirs) in enumerate(pipes, start=1)
        ]
        for process, (_, theirs) in zip(others, pipes, strict=True):
            process.start()
            theirs.close()
        it = Ranks(others, [ours for ours, _ in pipes])
        stack.callback(_leave, it)
        it.wait()
        _join(0, num, meeting, device)
        kind = OfDisplacedRanks if displaced else OfRanks
        fields = [
            kind(it, place, Shared(expert.field, displaced=displaced))
            for place, expert in enumerate(experts)
        ]
        yield it, [expert.by(field) for expert, field in zip(experts, fields, strict=True)]


def _join(rank: int, num: int, meeting: Path, device: torch.device) -> None:
    torch.set_num_threads(max(1, num_cores() // num))
    distributed.init_process_group(
        "nccl" if device.type == "cuda" else "gloo",
        init_method=f"file://{meeting}",
        rank=rank,
        world_size=num,
        timeout=_ANSWER,
    )


def _leave(it: Ranks) -> None:
    for wire in it.wires:
        wire.close()  # the word to leave
    for process in it.processes:
        process.join(_LEAVE_S)
        process.kill()
    if distributed.is_initialized():
        distributed.destroy_process_group()


def _work(  # noqa: PLR0917 - a process's arguments
    rank: int,
    load: Load,
    num: int,
    meeting: Path,
    device: torch.device,
    displaced: bool,
    wire: Connection,
) -> None:
    """Evaluate what the first process is asked, until it leaves."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # for the first, which says when to leave
    if device.type == "cuda":
        torch.cuda.set_device(rank)
    experts = load()
    wire.send("ready")
    _join(rank, num, meeting, device)
    shared = [Shared(expert.field, displaced=displaced) for expert in experts]
    with contextlib.suppress(EOFError, ConnectionError), torch.inference_mode():
        while True:
            place, shape, told, rows, gone = wire.recv()
            x_t, t = torch.empty(shape, device=device), torch.empty(shape[0], device=device)
            cond = None if told is None else torch.empty(told[0], dtype=told[1], device=device)
            for tensor in (x_t, t, cond):
                if tensor is not None:
                    distributed.broadcast(tensor, 0)
            shared[place].velocity((x_t, t, cond), rows, gone)
    distributed.destroy_process_group()
