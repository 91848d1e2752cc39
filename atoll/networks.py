"""The count of an expert's network, of whichever kind it is."""

from __future__ import annotations

from atoll.flops import Condition, Shape, dit_flops
from atoll.mmdit import mmdit_flops, mmdit_parameters
from atoll.parameters import dit_parameters
from atoll.sizes import MMDiTSizes, NetworkSizes


def expert_parameters(sizes: NetworkSizes, conditioning: Condition, shape: Shape) -> int:
    """Parameters of an expert."""
    if isinstance(sizes, MMDiTSizes):
        return mmdit_parameters(sizes, conditioning, shape)
    return dit_parameters(sizes, conditioning, shape)


def expert_flops(sizes: NetworkSizes, conditioning: Condition, shape: Shape) -> int:
    """Operations of one forward pass of an expert on one image."""
    if isinstance(sizes, MMDiTSizes):
        return mmdit_flops(sizes, conditioning, shape)
    return dit_flops(sizes, conditioning, shape)
