"""The exponential average of a network's weights, the ones to sample from."""

from __future__ import annotations

import torch
from torch import Tensor, distributed, nn

from experts.parallel.portions import local


class Average:
    """A copy of a network that follows its weights at a distance; buffers are constants.

    Its memory grows with the steps, up to ``decay``, so that a short run is not held back by its
    first weights. Steps are counted on the CPU: torch's own ``AveragedModel`` takes the count to
    the device, which waits for the device at every step.

    Args:
        network: a copy of the one to follow, shared out as that is.
        followed: that one.
        decay: share of the old average that a step keeps, in [0, 1).

    Attributes:
        network: with averaged weights, in evaluation mode.
        num_averaged: steps that went into it.
    """

    def __init__(self, network: nn.Module, followed: nn.Module, decay: float) -> None:
        self.network, self.num_averaged = network.eval(), 0
        # To look for them in all modules takes longer than to average those of a small network.
        self._averages, self._weights = list(network.parameters()), list(followed.parameters())
        self._decay = decay

    @torch.no_grad()
    def update(self, taken: Tensor | None = None) -> None:
        """Move towards the weights after a step; those after the first are taken as they are.

        Args:
            taken: whether the step changed them, a bool scalar; None for yes.
        """
        averages: list[Tensor] = [local(each) for each in self._averages]
        currents: list[Tensor] = [local(each) for each in self._weights]
        if self.num_averaged == 0:
            torch._foreach_copy_(averages, currents)
        else:
            growing = (1 + self.num_averaged) / (10 + self.num_averaged)
            share = 1 - min(self._decay, growing)
            if taken is None:
                torch._foreach_lerp_(averages, currents, share)
            else:
                torch._foreach_lerp_(averages, currents, [share * taken] * len(averages))
        self.num_averaged += 1

    def all_finite(self) -> bool:
        """Whether every weight of every process is a finite number; all processes call."""
        own = [local(each).isfinite().all() for each in self.network.parameters()]
        finite = torch.stack(own).all().int()
        if distributed.is_initialized():
            distributed.all_reduce(finite, distributed.ReduceOp.MIN)
        return bool(finite)
