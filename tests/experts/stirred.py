"""Networks away from their start, where blocks do nothing and most gradients are zero."""

from typing import TypeVar

import torch
from torch import nn

_Network = TypeVar("_Network", bound=nn.Module)


def stirred(network: _Network, by: float = 0.1, seed: int = 0) -> _Network:
    """Move every weight of a network by noise of a standard deviation; return the network."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(by * torch.randn(parameter.shape, generator=generator))
    return network
