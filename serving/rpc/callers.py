"""Who may call, how often, and who hears of those that are sent away."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from atoll.rates import Rates
from serving.keys import OwnerOf


@dataclass(frozen=True, slots=True)
class Callers:
    """All who call a service, whichever way they come.

    Attributes:
        owner_of: who shows an API key.
        rates: how often one of them may ask for images; None for any number.
        refused: told why each is sent away who is: ``stranger``, ``hasty``, ``busy``, ``unusable``.
    """

    owner_of: OwnerOf
    rates: Rates | None
    refused: Callable[[str], None]
