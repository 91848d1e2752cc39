"""One optimizer step, behind a small seam: every way in which an island may share a network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from torch import Tensor, nn

from experts.task import Examples

Made = TypeVar("Made")


@dataclass(frozen=True, slots=True)
class Stats:
    """What a step tells of itself, as scalars on the device, so that asking costs no wait.

    Attributes:
        loss: mean over all rows of all processes, before the step.
        grad_norm: of all gradients together, before clipping.
        taken: whether it changed anything; None for a step that nobody judged.
    """

    loss: Tensor
    grad_norm: Tensor
    taken: Tensor | None = None


Judge = Callable[[Stats], Tensor]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything the next step depends on, by name, whole: another layout can go on from it.

    Attributes:
        network: its state dict.
        optimizer: its moments and step counts, ``state.<parameter>.<name>``.
        averages: state dict of each averaged network, first the one to sample from.
        num_averaged: steps that went into the averages, int64 scalar.
    """

    network: Mapping[str, Tensor]
    optimizer: Mapping[str, Tensor]
    averages: tuple[Mapping[str, Tensor], ...]
    num_averaged: Tensor


class Engine(Protocol):
    """What makes the steps. All processes of an island call its methods together."""

    def step(self, micro_batches: Sequence[Examples], judge: Judge | None = None) -> Stats:
        """Learn from this process's part of a batch, in pieces that fit into memory.

        Every process is told the same.

        Args:
            micro_batches: the pieces.
            judge: says of what the step came to whether it may change weights, moments and
                averages, a bool scalar on the device; it counts as done all the same. None takes
                it.
        """
        ...

    def with_average(
        self, use: Callable[[nn.Module], Made], *, everywhere: bool = False
    ) -> Made | None:
        """Use the network with averaged weights, the one to sample from.

        Args:
            use: is given the network, called as ``network(x_t, t, cond)``. Others may have to lend
                their parts, so that it must call the network alike on all.
            everywhere: whether every process shall make something, of its own rows of a batch;
                otherwise what the first one makes counts alone.

        Returns:
            What it made; None on a process that is not needed.
        """
        ...

    def all_finite(self) -> bool:
        """Whether every averaged weight of every process is a finite number.

        A weight that was ever infinite has an average that still is.
        """
        ...

    def snapshot(self) -> Snapshot:
        """The state after at least one step, whole on the first process and of no use on others.

        It is a copy, in the CPU's memory: the next step does not change it.
        """
        ...

    def restore(self, snapshot: Snapshot) -> None:
        """Go on from a snapshot, exactly; every process is given the whole of it."""
        ...
