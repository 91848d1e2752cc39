"""What an island's objects are called, and by what labels they are found."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

# Names go into those of pods, with 15 characters and more behind them, and no host's has over 63.
_MOST = 28
_SAFE = re.compile(rf"[a-z0-9]([a-z0-9-]{{0,{_MOST - 2}}}[a-z0-9])?")

RUN, ISLAND = "atoll/run", "atoll/island"  # labels, and the latter an annotation besides
LABEL, KEY = "atoll/label", "atoll/key"  # annotations


@dataclass(frozen=True, slots=True)
class Names:
    """The names of one island.

    Attributes:
        label: of its run, as the orchestrator knows it.
        island: likewise.
    """

    label: str
    island: str

    @property
    def name(self) -> str:
        """Of its JobSet and of its Secret: a DNS label, like no other run's or island's."""
        return f"atoll-{_digest(self.label)}-{self._part}"

    @property
    def labels(self) -> dict[str, str]:
        """Of all its objects."""
        return {
            "app.kubernetes.io/name": "atoll",
            "app.kubernetes.io/component": "island",
            RUN: _digest(self.label),
            ISLAND: self._part,
        }

    @property
    def selector(self) -> str:
        """Of all its objects, and of no others."""
        return f"{selector_of(self.label)},{ISLAND}={self._part}"

    @property
    def _part(self) -> str:
        """The island as part of a name."""
        if _SAFE.fullmatch(self.island):
            return self.island
        plain, mark = re.sub(r"[^a-z0-9]+", "-", self.island.lower()), _digest(self.island)
        return f"{plain[: _MOST - len(mark) - 1].strip('-')}-{mark}"


def selector_of(label: str) -> str:
    """Of all objects of a run."""
    return f"{RUN}={_digest(label)}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:10]
