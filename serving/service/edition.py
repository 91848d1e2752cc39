"""One generation of a run's checkpoints, ready to draw; several may stand side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from atoll.digests import digest_of
from serving.engine.engine import Engine
from serving.memory.holder import Holder, Share
from serving.service.menu import Menu


@dataclass(frozen=True, slots=True, eq=False)
class Edition:
    """An engine of its own, so that what was begun is finished on the same checkpoints.

    Attributes:
        menu: what can be asked of it.
        engine: draws it.
        holder: of its experts, and of other editions'.
        share: its own of that.
    """

    menu: Menu
    engine: Engine
    holder: Holder
    share: Share

    @property
    def name(self) -> str:
        """See :func:`name_of`."""
        return name_of(self.menu.checkpoints)


def name_of(checkpoints: Mapping[str, str]) -> str:
    """What an edition of some checkpoints, digests by name of the job, is called."""
    return digest_of(dict(checkpoints))[:12]
