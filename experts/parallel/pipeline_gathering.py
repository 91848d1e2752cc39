"""What the stages of a pipeline have, whole on the first process."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, distributed

from experts.parallel.mesh import Mesh
from experts.parallel.pipeline_stages import Stages
from experts.parallel.portions import Portions


class Gathering:
    """Brings tensors to the island's first process, one after the other.

    Args:
        stages: of the network.
        portions: what a process has of a stage's tensors.
        mesh: where this process stands.
        device: of this process's stages.
    """

    def __init__(
        self, stages: Stages, portions: Portions, mesh: Mesh, device: torch.device
    ) -> None:
        self._stages, self._portions, self._mesh = stages, portions, mesh
        self._device = device

    def whole(
        self,
        every: Mapping[str, Tensor],
        own: Mapping[str, Tensor],
        name_of: Callable[[str], str] = str,
    ) -> dict[str, Tensor]:
        """All tensors, by key; all processes call.

        Args:
            every: their outlines, in an order that is the same everywhere.
            own: what this process has; each is asked for once.
            name_of: the tensor of the network that a key belongs to.

        Returns:
            Of no use on any but the first process, where those that have to be brought together
            are off its device: they may not fit there.
        """
        group, num = self._mesh.group("pipeline"), self._mesh.size("pipeline")
        speaks = self._mesh.rank in self._mesh.members("pipeline")[0]  # others have the same
        found = {}
        for key, outline in every.items():
            name = name_of(key)
            process = self._stages.number(name) % num
            if process != self._mesh.index("pipeline"):
                if self._mesh.rank == 0:
                    tensor = torch.empty_like(outline, device=self._device)
                    distributed.recv(tensor, group=group, group_src=process)
                    found[key] = tensor.cpu()
            elif process == 0:
                found[key] = self._portions.first(name, own[key])
            else:
                tensor = self._portions.whole(name, own[key])
                if speaks:
                    # A step's count may be on the CPU, where NCCL sends nothing from.
                    distributed.send(tensor.to(self._device), group=group, group_dst=0)
        return found
