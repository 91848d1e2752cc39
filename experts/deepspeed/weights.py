"""A network's weights, whole, wherever DeepSpeed keeps them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn


def whole_weights(network: nn.Module) -> Iterable[tuple[str, Tensor]]:
    """A copy of each tensor of its state dict; all processes that share them call together."""
    from deepspeed.runtime.zero import GatheredParameters  # noqa: PLC0415 - it takes seconds

    for name, part in network.state_dict(keep_vars=True).items():
        with GatheredParameters([part]):
            whole = part.detach().clone()
        yield name, whole


@torch.no_grad()
def fill_weights(network: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Give it those of a state dict, which every process is given whole."""
    from deepspeed.runtime.zero import GatheredParameters  # noqa: PLC0415 - it takes seconds

    for name, part in network.state_dict(keep_vars=True).items():
        with GatheredParameters([part], modifier_rank=0):
            part.copy_(state[name])
