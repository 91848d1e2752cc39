"""The stages of a pipeline, called as one network."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, distributed, nn

from experts.parallel.mesh import Mesh
from experts.parallel.pipeline_stages import Stages


class PipelinedNetwork(nn.Module):
    """One stage works after the other, and every process of the pipeline is told the answer.

    Without gradients: it draws images.

    Args:
        parts: stages of this process, by number.
        stages: all of them.
        mesh: where this process stands.
    """

    def __init__(self, parts: Mapping[int, nn.Module], stages: Stages, mesh: Mesh) -> None:
        super().__init__()
        self.parts = nn.ModuleDict({str(number): part for number, part in parts.items()})
        self._stages, self._mesh = stages, mesh

    def forward(self, x_t: Tensor, t: Tensor, cond: Tensor | None) -> Tensor:
        """See :class:`experts.flow.VelocityField`; all processes call it, with the same."""
        group, num = self._mesh.group("pipeline"), self._mesh.size("pipeline")
        given: tuple[Tensor, ...] = (x_t, t) if cond is None else (x_t, t, cond)
        streams, outline = self._stages.passed(*given)
        answer = torch.empty_like(outline, device=x_t.device)
        for name, part in self.parts.items():
            number = int(name)
            if number > 0:
                given = tuple(torch.empty_like(each, device=x_t.device) for each in streams)
                for each in given:
                    distributed.recv(each, group=group, group_src=(number - 1) % num)
            if number == self._stages.num - 1:
                answer = part(*given).float().contiguous()
                break
            given = part(*given)
            for each in given:
                distributed.send(each, group=group, group_dst=(number + 1) % num)
        distributed.broadcast(answer, group=group, group_src=(self._stages.num - 1) % num)
        return answer
