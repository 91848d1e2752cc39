"""Where DeepSpeed keeps the moments of a parameter: in flat tensors, cut among the processes.

Source: Rajbhandari et al., ZeRO (arXiv 1910.02054), section 5.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.distributed import ProcessGroup

from experts.optimizer import parameter_of


@dataclass(frozen=True, slots=True)
class Share:
    """The part of a parameter that this process steps.

    Attributes:
        flat: what the optimizer steps, with parts of other parameters.
        start: of the part in there.
        first: of the part in the parameter itself.
        num: its elements; 0 where this process has none.
    """

    flat: Tensor
    start: int
    first: int
    num: int


def share_of(optimizer: Any, parameter: Any) -> Share:
    """This process's share of a parameter.

    Args:
        optimizer: DeepSpeed's of any stage, or torch's, which has no shares.
        parameter: of the network; DeepSpeed hangs more on it than torch knows of.
    """
    if hasattr(parameter, "ds_tensor"):  # stage 3
        group, start, num = optimizer.grad_position[optimizer.get_param_id(parameter)]
        first = min(distributed.get_rank(parameter.ds_process_group) * num, parameter.ds_numel)
        flat = optimizer.fp32_partitioned_groups_flat[group]
        return Share(flat, start, first, min(num, parameter.ds_numel - first))
    if hasattr(parameter, "_hp_mapping"):  # stages 1 and 2
        flat, place = optimizer.single_partition_of_fp32_groups[0], parameter._hp_mapping
        if place is None:
            return Share(flat, 0, 0, 0)
        within, start = place.lp_fragment_address, place.hp_fragment_address.start
        return Share(flat, start, within.start, within.numel)
    return Share(parameter, 0, 0, parameter.numel())


class Moments(Mapping[str, Tensor]):
    """The state of AdamW behind DeepSpeed, by key; see :meth:`experts.optimizer.AdamW.snapshot`.

    Each tensor is made whole when it is asked for: the processes of the group ask together.

    Args:
        adamw: torch's, which DeepSpeed steps.
        optimizer: DeepSpeed's around it.
        parameters: of this process, by name.
        every: what AdamW keeps of them, see :func:`experts.optimizer.outlines`.
        group: of the processes that share them; None if they are whole.
    """

    def __init__(
        self,
        adamw: torch.optim.AdamW,
        optimizer: Any,
        parameters: Mapping[str, nn.Parameter],
        every: Mapping[str, Tensor],
        group: ProcessGroup | None,
    ) -> None:
        self._adamw, self._every, self._group = adamw, every, group
        self._shares = {name: share_of(optimizer, each) for name, each in parameters.items()}

    def __getitem__(self, key: str) -> Tensor:
        share, kind = self._place_of(key)
        kept: Tensor = self._adamw.state[share.flat][kind]
        if kind == "step":
            return kept.clone()
        part, outline = _part(kept, share), self._every[key]
        whole = part.new_zeros(outline.numel())
        whole.narrow(0, share.first, share.num).copy_(part)
        if self._group is not None:
            distributed.all_reduce(whole, group=self._group)
        return whole.reshape(outline.shape)

    def __iter__(self) -> Iterator[str]:
        return iter(self._every)

    def __len__(self) -> int:
        return len(self._every)

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from what was asked for; every process is given the whole."""
        for key in self:
            share, kind = self._place_of(key)
            own = self._adamw.state[share.flat]
            if kind == "step":
                own[kind] = state[key].clone().to(share.flat.device)
                continue
            if kind not in own:
                own[kind] = torch.zeros_like(share.flat.detach())
            whole = state[key].flatten()
            _part(own[kind], share).copy_(whole.narrow(0, share.first, share.num))

    def _place_of(self, key: str) -> tuple[Share, str]:
        return self._shares[parameter_of(key)], key.rpartition(".")[2]


def _part(flat: Tensor, share: Share) -> Tensor:
    return flat.flatten().narrow(0, share.start, share.num)
