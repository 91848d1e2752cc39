"""How much each row counts, told to every engine inside the target.

An engine knows a loss of output and target alone, and cuts both along rows; so a row's weight goes
with its target, as one plane more.
"""

from __future__ import annotations

import torch
from torch import Tensor

from experts.flow import flow_loss, per_row


def with_weights(target: Tensor, weights: Tensor) -> Tensor:
    """A target (B, C, H, W) and the weights of its rows (B,), as (B, C + 1, H, W)."""
    return torch.cat([target, per_row(weights, target).expand_as(target[:, :1])], dim=1)


def weighted_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """The loss (B,) of answers (B, C, H, W), times the weights that the target has with it."""
    return flow_loss(predicted, target[:, :-1]) * target[:, -1, 0, 0]
