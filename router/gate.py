"""Gates: which clusters a noised input may have come from.

A row whose cluster is known needs no gate: it is bound to its expert (:class:`router.rows.Rows`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from partition.manifest import Partition

Logits = Callable[[Tensor, Tensor, Tensor | None], Tensor]


class Gate(Protocol):
    """p(k | x_t, t, c), the probability of each cluster."""

    def __call__(self, x_t: Tensor, t: Tensor, cond: Tensor | None) -> Tensor:
        """The posterior over clusters.

        Args:
            x_t: noised images, (B, C, H, W), float.
            t: times in [0, 1], (B,), float.
            cond: what each row is conditioned on; rows without a condition get p(k | x_t, t).

        Returns:
            (B, K) float, rows summing to 1.
        """
        ...


@dataclass(frozen=True, slots=True)
class LearnedGate:
    """A trained router.

    Attributes:
        network: gives logits (B, K), as :class:`router.network.RouterNet` does.
    """

    network: Logits

    def __call__(self, x_t: Tensor, t: Tensor, cond: Tensor | None) -> Tensor:
        """See :class:`Gate`."""
        return self.network(x_t, t, cond).float().softmax(1)


@dataclass(frozen=True, slots=True, eq=False)
class PriorGate:
    """Knows the condition alone: p(k | c), which is also every gate's exact answer at t = 1.

    Attributes:
        table: (num_classes + 1, K), p(k | c) for each class and p(k) in the last row, which serves
            rows without a class; the last row alone if the classes tell nothing.
    """

    table: Tensor

    def __call__(self, x_t: Tensor, t: Tensor, cond: Tensor | None) -> Tensor:  # noqa: ARG002
        """See :class:`Gate`."""
        if cond is None or cond.is_floating_point():
            return self.table[-1:].expand(len(x_t), -1)
        return self.table[cond.clamp(max=len(self.table) - 1)]


def prior_gate(partition: Partition, device: torch.device) -> PriorGate:
    """Natural frequencies: how a class, and the whole data set, are spread over the clusters."""
    sizes = [float(shard_set.num_samples) for shard_set in partition.shard_sets]
    total = torch.tensor([sizes], device=device)
    counts = torch.tensor(
        [shard_set.label_counts for shard_set in partition.shard_sets],
        dtype=torch.float32,
        device=device,
    ).T  # (num_classes, K)
    # A class without a sample says nothing about the cluster.
    counts = torch.where(counts.sum(1, keepdim=True) > 0, counts, total)
    table = torch.cat([counts, total])
    return PriorGate(table / table.sum(1, keepdim=True))


def uniform_gate(num_experts: int, device: torch.device) -> PriorGate:
    """Every expert alike, whatever is asked."""
    return PriorGate(torch.full((1, num_experts), 1 / num_experts, device=device))
