"""Row by row: slower, and the same to the bit whatever else is in the batch."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor


class Batched(Protocol):
    """A velocity field, or a gate."""

    def __call__(self, x_t: Tensor, t: Tensor, cond: Tensor | None) -> Tensor:
        """What it says of each row."""
        ...


def row_by_row(field: Batched) -> Batched:
    """A field, or a gate, that is asked about one row at a time.

    Matrix products add up in another order in batches of another size; so all are of one here.
    """

    def evaluated(x_t: Tensor, t: Tensor, cond: Tensor | None) -> Tensor:
        rows = range(len(x_t))
        parts = [
            field(x_t[i : i + 1], t[i : i + 1], None if cond is None else cond[i : i + 1])
            for i in rows
        ]
        return torch.cat(parts)

    return evaluated
