"""Which part of each whole tensor of a network a process has, so that any layout can go on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, distributed
from torch.distributed.tensor import DTensor

from experts.parallel.mesh import Mesh


@dataclass(frozen=True, slots=True)
class Cut:
    """How a weight is cut among the processes along ``tensor``.

    Attributes:
        dim: that is cut.
        num_parts: equal parts along it, each of which is cut; 3 where a weight is queries', keys'
            and values' in one.
    """

    dim: int
    num_parts: int = 1

    def part(self, whole: Tensor, index: int, num: int) -> Tensor:
        """What the process ``index`` of ``num`` has of it."""
        parts = whole.tensor_split(self.num_parts, self.dim)
        return torch.cat([part.tensor_split(num, self.dim)[index] for part in parts], self.dim)

    def whole(self, parts: list[Tensor]) -> Tensor:
        """The whole again, from what each process has of it."""
        split = [part.tensor_split(self.num_parts, self.dim) for part in parts]
        return torch.cat([piece for same in zip(*split, strict=True) for piece in same], self.dim)


class Portions:
    """What this process has of each tensor.

    Args:
        mesh: where it stands.
        cuts: by the name of a parameter; those that are not named are not cut.
    """

    def __init__(self, mesh: Mesh, cuts: Mapping[str, Cut]) -> None:
        self._mesh, self._cuts = mesh, cuts

    def is_cut(self, name: str) -> bool:
        """Whether a parameter is another on each process along ``tensor``."""
        return name in self._cuts

    def whole(self, name: str, own: Tensor) -> Tensor:
        """A parameter, or what an optimizer keeps of it; all along ``shard`` and ``tensor`` call.

        Args:
            name: of the parameter.
            own: what this process has.
        """
        own = own.detach()
        full = own.full_tensor() if isinstance(own, DTensor) else own
        if name not in self._cuts or full.dim() == 0:
            return full
        parts = [torch.empty_like(full) for _ in range(self._mesh.size("tensor"))]
        distributed.all_gather(parts, full.contiguous(), group=self._mesh.group("tensor"))
        return self._cuts[name].whole(parts)

    def first(self, name: str, own: Tensor) -> Tensor:
        """As :meth:`whole`, a copy in the CPU's memory of the first process alone.

        A network that has to be shared out may not fit any device whole.
        """
        whole = self.whole(name, own)
        if self._mesh.rank:
            return torch.empty(0)
        is_live = whole.data_ptr() == local(own).data_ptr()  # what was gathered is a copy already
        return whole.clone() if is_live and whole.is_cpu else whole.cpu()

    def fill(self, name: str, own: Tensor, whole: Tensor) -> None:
        """Give ``own`` its part of a whole tensor; nobody else has to be there.

        Args:
            name: of the parameter.
            own: what this process has; changed in place.
            whole: on any device.
        """
        if name in self._cuts and whole.dim() > 0:
            index, num = self._mesh.index("tensor"), self._mesh.size("tensor")
            whole = self._cuts[name].part(whole, index, num)
        mine = local(own.detach())
        if isinstance(own, DTensor):  # FSDP cuts the first dimension, as evenly as chunks can be
            parts = whole.chunk(self._mesh.size("shard"))
            index = self._mesh.index("shard")
            whole = parts[index] if index < len(parts) else whole[:0]
        mine.copy_(whole)

    def fill_all(self, own: Mapping[str, Tensor], whole: Mapping[str, Tensor]) -> None:
        """The same for several, by their names."""
        for name, part in own.items():
            self.fill(name, part, whole[name])


def local(tensor: Tensor) -> Tensor:
    """The part of a tensor that lies in this process."""
    if isinstance(tensor, DTensor):
        return tensor.to_local()
    part: Tensor = getattr(tensor, "ds_tensor", tensor)  # where DeepSpeed's ZeRO-3 has it
    return part
