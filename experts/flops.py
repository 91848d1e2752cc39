"""What a network costs, in floating-point operations: the kernel's count, which needs no torch."""

from __future__ import annotations

from atoll.flops import TRAINING, block_flops, dit_flops, linear_flops, vector_flops
from atoll.networks import expert_flops

__all__ = [
    "TRAINING",
    "block_flops",
    "dit_flops",
    "expert_flops",
    "linear_flops",
    "vector_flops",
]
