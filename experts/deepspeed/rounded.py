"""bf16 as plain torch has it: products are rounded, weights, gradients and moments are not."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


class Rounded(nn.Module):
    """A network under autocast, which DeepSpeed switches off outside of its own forward.

    Args:
        network: to call.
        precision: of forward and backward, fp32 or bf16.
    """

    def __init__(self, network: nn.Module, precision: str) -> None:
        super().__init__()
        self.network, self._rounds = network, precision == "bf16"

    def forward(self, *inputs: Any) -> Any:
        """Call the network."""
        device = next(self.parameters()).device
        with torch.autocast(device.type, torch.bfloat16, enabled=self._rounds):
            return self.network(*inputs)
