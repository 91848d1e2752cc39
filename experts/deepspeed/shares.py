"""Where DeepSpeed keeps the moments of a parameter: in flat tensors, cut among the processes.

Source: Rajbhandari et al., ZeRO (arXiv 1910.02054), section 5.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.distributed import ProcessGroup

_MOMENTS = ("exp_avg", "exp_avg_sq")


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


class Moments:
    """The state of AdamW behind DeepSpeed, by the names of the network's parameters.

    Args:
        adamw: torch's, which DeepSpeed steps.
        optimizer: DeepSpeed's around it.
        parameters: of this process, by name.
        shapes: of all parameters of the network; DeepSpeed may hide them.
        group: of the processes that share them; None if they are whole.
    """

    def __init__(
        self,
        adamw: torch.optim.AdamW,
        optimizer: Any,
        parameters: Mapping[str, nn.Parameter],
        shapes: Mapping[str, torch.Size],
        group: ProcessGroup | None,
    ) -> None:
        self._adamw, self._shapes, self._group = adamw, shapes, group
        self._shares = {name: share_of(optimizer, each) for name, each in parameters.items()}

    def keys_of(self, name: str) -> dict[str, torch.Size]:
        """What AdamW keeps of a parameter, of this process or not, and the shapes."""
        moments = {f"state.{name}.{key}": self._shapes[name] for key in _MOMENTS}
        return {f"state.{name}.step": torch.Size(), **moments}

    def snapshot(self) -> Iterable[tuple[str, Tensor]]:
        """All of it, whole, one after the other; the processes of the group call together."""
        for name, share in self._shares.items():
            step, *moments = self.keys_of(name)
            state = self._adamw.state[share.flat]
            yield step, state["step"]
            for key, moment in zip(moments, _MOMENTS, strict=True):
                part = _part(state[moment], share)
                whole = part.new_zeros(self._shapes[name].numel())
                whole.narrow(0, share.first, share.num).copy_(part)
                if self._group is not None:
                    distributed.all_reduce(whole, group=self._group)
                yield key, whole.reshape(self._shapes[name])

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from what :meth:`snapshot` gave; every process is given the whole."""
        for name, share in self._shares.items():
            own = self._adamw.state[share.flat]
            own["step"] = state[f"state.{name}.step"].clone().to(share.flat.device)
            for key in _MOMENTS:
                if key not in own:
                    own[key] = torch.zeros_like(share.flat.detach())
                whole = state[f"state.{name}.{key}"].flatten()
                _part(own[key], share).copy_(whole.narrow(0, share.first, share.num))


def _part(flat: Tensor, share: Share) -> Tensor:
    return flat.flatten().narrow(0, share.start, share.num)
