"""The names of the selection strategies; :mod:`router.selection` does what they say."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

STRATEGIES = ("full", "top-N", "threshold-P", "nucleus-P", "sample", "ancestral", "coupled")
_PATTERN = re.compile(
    r"full|top-(?P<num>[1-9]\d*)|threshold-(0?\.\d+|1\.0)|nucleus-(0?\.\d+|1\.0)"
    r"|sample|ancestral|coupled"
)


def known_strategy(text: str) -> str:
    """The name itself, if a strategy goes by it.

    Raises:
        ValueError: none does; lists those there are.
    """
    if not _PATTERN.fullmatch(text):
        known = f"{', '.join(STRATEGIES[:-1])} and {STRATEGIES[-1]}"
        raise ValueError(
            f"no strategy is called {text!r}; there are {known}, e.g. top-2 or nucleus-0.9"
        )
    return text


def num_experts_of(strategy: str) -> int:
    """How many experts a strategy cannot do without: N for ``top-N``, else 1."""
    match = _PATTERN.fullmatch(strategy)
    return int(match["num"]) if match and match["num"] else 1


Strategy = Annotated[str, AfterValidator(known_strategy)]
