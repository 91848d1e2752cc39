"""The section of the configuration file about copies of the data on the nodes."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from atoll.section import Section


class CacheSection(Section):
    """Where an island keeps copies of its shards."""

    folder: str = Field(
        "",
        description="on every node's own disk, ~ is the home there; "
        '"" = .atoll/cache of the working folder',
    )
    size_gb: float = Field(
        0.0,
        ge=0,
        description="most that copies take on a node: the least recently used go; 0 = no limit",
    )
    copy_always: bool = Field(
        False, description="copy shards of a run.uri that is a folder too: one on a network"
    )

    @property
    def size_bytes(self) -> int:
        """The limit; 0 for none."""
        return round(self.size_gb * 1e9)

    @model_validator(mode="after")
    def _copies_lie_elsewhere(self) -> Self:
        if self.copy_always and not self.folder:
            raise ValueError(
                "copy_always needs cache.folder, a folder on the nodes' own disks; give one, or "
                "let the shards be read where they lie"
            )
        return self
