"""What images are conditioned on, as one tensor with a row for each image.

===== ==================================== =============================
kind  tensor                               "no condition" for a row
===== ==================================== =============================
none  None                                 always
class int64 (B,), class numbers            the number ``num_classes``
text  float32 (B, text_dims), embeddings   a row of zeros
===== ==================================== =============================
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from atoll.errors import BadInput


@dataclass(frozen=True, slots=True)
class Conditioning:
    """Which kind of condition a network was made for.

    Attributes:
        kind: see the module's table.
        size: number of classes, or length of an embedding; 0 without a condition.
        encoder: what made the embeddings, for ``text``; "" otherwise.
    """

    kind: Literal["none", "class", "text"]
    size: int = 0
    encoder: str = ""

    @property
    def name(self) -> str:
        """How it stands in a checkpoint's compat, e.g. ``class:10``."""
        return ":".join(str(part) for part in (self.kind, self.size, self.encoder) if part)

    def null(self, num: int, device: torch.device) -> Tensor | None:
        """The absent condition for ``num`` rows."""
        if self.kind == "class":
            return torch.full((num,), self.size, dtype=torch.int64, device=device)
        if self.kind == "text":
            return torch.zeros(num, self.size, device=device)
        return None

    def drop(self, cond: Tensor | None, dropped: Tensor) -> Tensor | None:
        """Replace the condition by its absence where ``dropped`` (B,) bool says so."""
        if cond is None:
            return None
        null = self.null(len(cond), cond.device)
        assert null is not None
        return torch.where(dropped.reshape(-1, *[1] * (cond.dim() - 1)), null, cond)

    def check(self, cond: Tensor | None) -> None:
        """Refuse a condition of another kind or size.

        Raises:
            BadInput: says what was expected.
        """
        if (cond is None) != (self.kind == "none"):
            given = "no condition" if cond is None else "a condition"
            raise BadInput(f"the model takes condition {self.name!r} but was given {given}")
        if cond is not None and self.kind == "class":
            low, high = int(cond.min()), int(cond.max())
            if low < 0 or high > self.size:
                worst = low if low < 0 else high
                raise BadInput(f"class {worst} does not exist; classes are 0 to {self.size - 1}")
        if cond is not None and self.kind == "text" and cond.shape[1:] != (self.size,):
            raise BadInput(
                f"the model takes embeddings of {self.size} numbers, but was given a tensor of "
                f"shape {tuple(cond.shape)}"
            )
