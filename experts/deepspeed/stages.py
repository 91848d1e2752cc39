"""Which process of a pipeline has which weights, and how the first one comes to see all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor, distributed

from experts.parallel.mesh import Mesh


class Stages:
    """The processes of one pipeline.

    Args:
        mesh: where this process stands.
        own: names of its parameters.
        every: those of the whole network, in an order that is the same everywhere.
    """

    def __init__(self, mesh: Mesh, own: Iterable[str], every: Iterable[str]) -> None:
        own, every, stage = set(own), list(every), mesh.index("pipeline")
        owners = torch.tensor([stage if name in own else -1 for name in every])
        distributed.all_reduce(owners, distributed.ReduceOp.MAX, mesh.group("pipeline"))
        pipelines = mesh.members("pipeline")
        ranks = pipelines[(pipelines == mesh.rank).any(1)][0]
        self._rank, self._first = mesh.rank, int(ranks[0])
        self._owners = dict(zip(every, ranks[owners].tolist(), strict=True))

    def gathered(
        self,
        parts: Iterable[tuple[str, Tensor]],
        keys_of: Callable[[str], Mapping[str, torch.Size]],
    ) -> dict[str, Tensor]:
        """All of something, on the CPU of the island's first process; nothing on the others.

        Args:
            parts: this process's, by key.
            keys_of: those that belong to a parameter, by its name, and their shapes.
        """
        needed = self._first == 0  # other pipelines have the same
        own = {key: part.detach().cpu() for key, part in parts if needed}
        if not needed:
            return {}
        for name, owner in self._owners.items():
            for key, shape in keys_of(name).items():
                if self._rank == 0 != owner:
                    own[key] = torch.empty(shape)
                    distributed.recv(own[key], owner)
                elif self._rank == owner != 0:
                    distributed.send(own[key].contiguous(), 0)
        return own if self._rank == 0 else {}
