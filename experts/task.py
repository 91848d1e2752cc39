"""What the train loop trains: a network, its examples and its loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from atoll.checkpoints import Compat
from atoll.training_section import TrainingSection
from experts.flow import VelocityField
from partition.batch import Batch


@dataclass(frozen=True, slots=True)
class Examples:
    """Inputs of a network and what it should answer, with a row for each.

    Attributes:
        x_t: noised images, (B, C, H, W) float32.
        t: their times, (B,) float32.
        cond: their conditions, see :mod:`experts.condition`; None without one.
        target: what the task's loss compares the network's output with, (B, ...).
        kept: which tokens go through all blocks, see :mod:`experts.routing`, (B, n) int64; None
            where all do.
    """

    x_t: Tensor
    t: Tensor
    cond: Tensor | None
    target: Tensor
    kept: Tensor | None = None

    def __len__(self) -> int:
        return len(self.t)

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """What a network is given, in its order; without a condition where there is none."""
        return (self.x_t, self.t) if self.cond is None else (self.x_t, self.t, self.cond)

    @property
    def asked(self) -> tuple[Tensor | None, ...]:
        """What a whole network is given, in its order, with what is told in training alone."""
        asked = (self.x_t, self.t, self.cond)
        return asked if self.kept is None else (*asked, self.kept)

    def pinned(self) -> Examples:
        """The same examples in memory from which a GPU copies while others compute."""
        return self._changed(lambda part: part.pin_memory())

    def to(self, device: torch.device) -> Examples:
        """The same examples on another device."""
        return self._changed(lambda part: part.to(device, non_blocking=True))

    def at(self, rows: Tensor) -> Examples:
        """Some of the rows, by their numbers."""
        return self._changed(lambda part: part[rows])

    def split(self, num: int) -> list[Examples]:
        """Micro-batches of nearly equal size, at most ``num`` of them."""
        num = min(num, len(self))
        if num == 1:
            return [self]

        def pieces(part: Tensor) -> tuple[Tensor, ...]:
            return part.tensor_split(num)

        def optional(part: Tensor | None) -> Sequence[Tensor | None]:
            return [None] * num if part is None else pieces(part)

        columns = (pieces(self.x_t), pieces(self.t), optional(self.cond), pieces(self.target))
        return [Examples(*each) for each in zip(*columns, optional(self.kept), strict=True)]

    def _changed(self, change: Callable[[Tensor], Tensor]) -> Examples:
        return Examples(
            change(self.x_t),
            change(self.t),
            None if self.cond is None else change(self.cond),
            change(self.target),
            None if self.kept is None else change(self.kept),
        )


@dataclass(frozen=True, slots=True)
class Place:
    """A process's place among those that share the batch of a step.

    What is drawn at random is drawn for the whole batch and then cut, so that the result does not
    depend on how many processes there are.

    Attributes:
        rank: which process, from 0.
        world: how many there are.
    """

    rank: int = 0
    world: int = 1

    def rows(self, size: int) -> slice:
        """Which rows of a batch of ``size`` are this process's."""
        return slice(size * self.rank // self.world, size * (self.rank + 1) // self.world)


class Task(Protocol):
    """One kind of network to train, expert or router, and all the loop need not know of it."""

    @property
    def clusters(self) -> tuple[int, ...]:
        """Whose samples it learns from."""
        ...

    @property
    def training(self) -> TrainingSection:
        """How it is trained; ``batch_size`` is what this job alone works on in one step."""
        ...

    @property
    def compat(self) -> Compat:
        """What must agree with the other members of an ensemble."""
        ...

    @property
    def about(self) -> dict[str, Any]:
        """What the checkpoint's manifest says of the network, enough to build it again."""
        ...

    @property
    def flops(self) -> int:
        """Operations of one forward pass in training on one image, see :mod:`atoll.flops`.

        Of images of several shapes, their mean.
        """
        ...

    @property
    def aligns(self) -> bool:
        """Whether batches shall bring the features that samples were clustered by."""
        ...

    def build(self) -> nn.Module:
        """The network before its first step, called as ``network(x_t, t, cond)``."""
        ...

    def examples(self, batch: Batch, step: int, place: Place) -> Examples:
        """What one process learns from in a step; a function of its arguments and seeds alone.

        Args:
            batch: the samples of this process's rows.
            step: counted from 1.
            place: which rows of the step's batch they are.
        """
        ...

    def shape_of(self, batch: Batch) -> tuple[int, int, int]:
        """Channels, height and width of what networks see of a batch."""
        ...

    def examples_at(self, batch: Batch, t: Tensor, noise: Tensor) -> Examples:
        """Examples on the linear path at given times and noise, each with its condition.

        Args:
            batch: the samples.
            t: (B,) float32.
            noise: (B, C, H, W) float32.
        """
        ...

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """The loss of each row, (B,) float32."""
        ...

    def measure(self, network: VelocityField, examples: Examples) -> Tensor:
        """How far a network is off at examples of :meth:`examples_at`, (B,) float32.

        Where :meth:`loss` weighs rows, or is of something else than the path's velocity, this does
        and is not: it is what jobs are compared by.
        """
        ...

    def grid(self, network: nn.Module, batch: Batch) -> Tensor | None:
        """What a network draws during training, (N, C, H, W) as it sees samples; None for nothing.

        Args:
            network: draws them.
            batch: samples of the job's clusters, the same at every step; they lend captions.
        """
        ...
