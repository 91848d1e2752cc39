"""What images are conditioned on, as one tensor with a row for each image.

===== ===================================== =============================
kind  tensor                                "no condition" for a row
===== ===================================== =============================
none  None                                  always
class int64 (B,), class numbers             the number ``num_classes``
text  float32 (B, dims), captions' vectors; zeros
      or (B, tokens, dims), their tokens'
===== ===================================== =============================

A caption of fewer tokens than there is room for ends in tokens of zeros.
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
        tokens: room for a caption's tokens, for ``text``; 0 for one vector of the whole.
    """

    kind: Literal["none", "class", "text"]
    size: int = 0
    encoder: str = ""
    tokens: int = 0

    @property
    def name(self) -> str:
        """How it stands in a checkpoint's compat, e.g. ``class:10``, ``text:77x768:…``."""
        size = f"{self.tokens}x{self.size}" if self.tokens else self.size
        return ":".join(str(part) for part in (self.kind, size, self.encoder) if part)

    @property
    def row(self) -> tuple[int, ...]:
        """Shape of the condition of one image."""
        if self.kind == "text":
            return (self.tokens, self.size) if self.tokens else (self.size,)
        return ()

    def null(self, num: int, device: torch.device) -> Tensor | None:
        """The absent condition for ``num`` rows."""
        if self.kind == "class":
            return torch.full((num,), self.size, dtype=torch.int64, device=device)
        if self.kind == "text":
            return torch.zeros(num, *self.row, device=device)
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
            if cond.dim() != 1 or cond.dtype != torch.int64:
                raise BadInput(
                    "the model takes a class number for each image, but was given a tensor of "
                    f"{str(cond.dtype).removeprefix('torch.')} and shape {tuple(cond.shape)}"
                )
            low, high = int(cond.min()), int(cond.max())
            if low < 0 or high > self.size:
                worst = low if low < 0 else high
                raise BadInput(f"class {worst} does not exist; classes are 0 to {self.size - 1}")
        if (
            cond is not None
            and self.kind == "text"
            and (cond.shape[1:] != self.row or not cond.is_floating_point())
        ):
            each = f"{self.tokens} tokens of {self.size}" if self.tokens else f"{self.size}"
            raise BadInput(
                f"the model takes embeddings of {each} numbers, but was given a tensor of "
                f"{str(cond.dtype).removeprefix('torch.')} and shape {tuple(cond.shape)}"
            )
