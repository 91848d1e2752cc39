"""Averages of a network's weights, the ones to sample from."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, distributed, nn

from experts.parallel.portions import local
from experts.profiles import Share


class Averages:
    """Copies of a network, each of which follows its weights at a distance; buffers are constants.

    Steps are counted on the CPU: torch's own ``AveragedModel`` takes the count to the device, which
    waits for the device at every step.

    Args:
        networks: a copy of the one to follow for each average, shared out as that is.
        followed: that one.
        shares: of each average, see :mod:`experts.profiles`.
        counts_refused: whether a step that changed nothing is averaged as any other, with the
            weights as they are. Profiles that are of the number of a step want that.

    Attributes:
        network: the first, in evaluation mode.
        num_averaged: steps that went into all of them.
    """

    def __init__(
        self,
        networks: Sequence[nn.Module],
        followed: nn.Module,
        shares: Sequence[Share],
        *,
        counts_refused: bool = False,
    ) -> None:
        self.network, self.num_averaged = networks[0].eval(), 0
        # To look for them in all modules takes longer than to average those of a small network.
        self._averages = [list(network.parameters()) for network in networks]
        self._weights, self._shares = list(followed.parameters()), shares
        self._counts_refused = counts_refused

    @torch.no_grad()
    def update(self, taken: Tensor | None = None) -> None:
        """Move towards the weights after a step.

        Args:
            taken: whether the step changed them, a bool scalar; None for yes.
        """
        currents: list[Tensor] = [local(each) for each in self._weights]
        for average, share_of in zip(self._averages, self._shares, strict=True):
            own: list[Tensor] = [local(each) for each in average]
            share = share_of(self.num_averaged)
            if self.num_averaged == 0:
                torch._foreach_copy_(own, currents)
            elif taken is None or self._counts_refused:
                torch._foreach_lerp_(own, currents, share)
            else:
                torch._foreach_lerp_(own, currents, [share * taken] * len(own))
        self.num_averaged += 1

    def all_finite(self) -> bool:
        """Whether every weight of every process is a finite number; all processes call.

        The first average is asked alone: what one of them has met, all have.
        """
        own = [local(each).isfinite().all() for each in self.network.parameters()]
        finite = torch.stack(own).all().int()
        if distributed.is_initialized():
            distributed.all_reduce(finite, distributed.ReduceOp.MIN)
        return bool(finite)
