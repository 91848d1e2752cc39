"""What is reused between evaluations of an image, instead of being asked for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Thrift:
    """What is reused between evaluations; as it stands nothing is.

    Attributes:
        blocks: evaluations of an image by an expert for which its blocks are asked once.
        change: of the image since then, relative to its length, beyond which they are asked sooner;
            inf for never.
        routes: evaluations of an image for which the router is asked once.
        displaced: whether ranks of an expert elsewhere may see each other's tokens as they were at
            the evaluation before, see :mod:`experts.parallel.displaced`.
    """

    blocks: int = 1
    change: float = float("inf")
    routes: int = 1
    displaced: bool = False

    @property
    def told(self) -> str:
        """For the recipe of an image; "" where nothing is reused."""
        blocks = f"blocks {self.blocks}" if self.blocks > 1 else ""
        change = f"change {self.change:g}" if blocks and self.change < float("inf") else ""
        routes = f"routes {self.routes}" if self.routes > 1 else ""
        displaced = "tokens of other ranks" if self.displaced else ""
        return ", ".join(filter(None, (blocks, change, routes, displaced)))


THRIFTLESS = Thrift()
