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
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch
from torch import Tensor, distributed, nn

from atoll.errors import BadInput
from experts.converted import Converted
from experts.dit import DiT
from experts.flow import VelocityField
from experts.parallel.sequence import share_tokens
from partition.workers import num_cores
from serving.expert.served import ServedExpert

Load = Callable[[], Sequence[ServedExpert]]
_Header = tuple[int, tuple[int, ...], tuple[tuple[int, ...], torch.dtype] | None]

_ANSWER = timedelta(seconds=60)  # of another rank, for its part of an evaluation
_LEAVE_S = 5.0


@dataclass(frozen=True, slots=True, eq=False)
class Ranks:
    """The other processes.

    Attributes:
        processes: they.
        wires: to each of them.
    """

    processes: Sequence[BaseProcess]
    wires: Sequence[Connection]

    @property
    def are_alive(self) -> bool:
        """Whether none has ended: the others can do nothing without it."""
        return all(process.is_alive() for process in self.processes)

    def field(self, place: int, own: VelocityField) -> VelocityField:
        """An expert's velocity by all ranks.

        Args:
            place: of the expert among those that are served.
            own: its network here, whose tokens are shared.
        """

        def evaluated(x_t: Tensor, t: Tensor, cond: Tensor | None) -> Tensor:
            told = None if cond is None else (tuple(cond.shape), cond.dtype)
            header: _Header = (place, tuple(x_t.shape), told)
            for wire in self.wires:
                wire.send(header)
            for tensor in (x_t, t, cond):
                if tensor is not None:
                    distributed.broadcast(tensor.contiguous(), 0)
            return own(x_t, t, cond)

        return evaluated


@contextlib.contextmanager
def ranks(
    experts: Sequence[ServedExpert], load: Load, num: int, device: torch.device
) -> Iterator[tuple[Ranks, list[ServedExpert]]]:
    """Inside, so many processes evaluate the same experts together.

    Args:
        experts: here; what shares their tokens is changed in place.
        load: loads the same in another process; can be pickled.
        num: of processes, with this one; at least 2.
        device: of the networks.

    Returns:
        The other processes, and the experts, whose fields are evaluated by all.

    Raises:
        BadInput: the number divides no network's heads, or no image's tokens.
    """
    for expert in experts:
        refuse_unshared(expert, num)
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        meeting = Path(folder) / "meeting"
        pipes = [context.Pipe() for _ in range(1, num)]
        others = [
            context.Process(
                target=_work, args=(load, rank, num, meeting, device, theirs), daemon=True
            )
            for rank, (_, theirs) in enumerate(pipes, start=1)
        ]
        for process, (_, theirs) in zip(others, pipes, strict=True):
            process.start()
            theirs.close()
        it = Ranks(others, [ours for ours, _ in pipes])
        stack.callback(_leave, it)
        _join(0, num, meeting, device)
        for expert in experts:
            _share(expert.field)
        yield it, [expert.by(it.field(k, expert.field)) for k, expert in enumerate(experts)]


def refuse_unshared(expert: ServedExpert, num: int) -> None:
    """Refuse a number of ranks that an expert's heads and tokens cannot be dealt out to.

    Raises:
        BadInput: names the key.
    """
    network = _network(expert.field)
    heads, patch = int(network.sizes.heads), int(network.sizes.patch)  # type: ignore[union-attr, arg-type]
    tokens = [height * width // patch**2 for _, height, width in expert.shapes]
    for what, of in (("heads", [heads]), ("tokens of an image", tokens)):
        if odd := [each for each in of if each % num]:
            raise BadInput(
                f"expert_server.ranks = {num} does not divide the {odd[0]} {what} of expert "
                f"{expert.number}; choose one that does"
            )
    if len(expert.shapes) > 1 and not isinstance(network, DiT):
        raise BadInput(
            f"expert_server.ranks = {num} shares out images of one size alone by an MMDiT, and "
            f"this run's are of {len(expert.shapes)}; set it to 1"
        )


def _share(field: VelocityField) -> None:
    everybody = distributed.group.WORLD
    assert everybody is not None
    share_tokens(_network(field), everybody)


def _network(field: VelocityField) -> nn.Module:
    network = field.network if isinstance(field, Converted) else field
    assert isinstance(network, nn.Module)
    return network


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
    load: Load, rank: int, num: int, meeting: Path, device: torch.device, wire: Connection
) -> None:
    """Evaluate what the first process is asked, until it leaves."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # for the first, which says when to leave
    if device.type == "cuda":
        torch.cuda.set_device(rank)
    fields = [expert.field for expert in load()]
    _join(rank, num, meeting, device)
    for field in fields:
        _share(field)
    with contextlib.suppress(EOFError, ConnectionError), torch.inference_mode():
        while True:
            place, shape, told = wire.recv()
            x_t, t = torch.empty(shape, device=device), torch.empty(shape[0], device=device)
            cond = None if told is None else torch.empty(told[0], dtype=told[1], device=device)
            for tensor in (x_t, t, cond):
                if tensor is not None:
                    distributed.broadcast(tensor, 0)
            fields[place](x_t, t, cond)
    distributed.destroy_process_group()
