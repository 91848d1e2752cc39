"""Which blocks some tokens pass by while a network is trained, and how many do.

Source: Krause et al., TREAD (arXiv 2501.04765), section 3.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Routing:
    """A way around the blocks in the middle.

    Attributes:
        rate: share of an image's tokens that take it, less than 1.
        after: blocks before it, which see all tokens.
        before: blocks behind it, which do, too.
    """

    rate: float
    after: int
    before: int

    def num_kept(self, num_tokens: int) -> int:
        """Tokens of an image that do not take it; at least one."""
        return num_tokens - int(self.rate * num_tokens)

    def blocks(self, depth: int) -> slice:
        """Of a network of so many blocks, those that it leads around."""
        return slice(self.after, depth - self.before)
