"""What a server of experts tells of itself in its record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

_EXPERT = "expert "
_RATE = "rows_per_second"


def model_of(partition: str) -> str:
    """Under which name servers of a run's experts are found, wherever it was copied.

    Args:
        partition: digest of the partition that they were trained on.
    """
    return f"partition-{partition[:32]}"


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """What others may want to know before they call it.

    Attributes:
        experts: digest of the checkpoint of each expert that is served, by its number.
        queue_rows: that may wait there.
        rows_per_second: of the slowest expert, roughly; 0 before there was anything to measure.
        process: that serves, in words.
    """

    experts: Mapping[int, str]
    queue_rows: int
    rows_per_second: float = 0.0
    process: str = ""

    @property
    def facts(self) -> dict[str, str]:
        """As they stand in a record."""
        told = {f"{_EXPERT}{number}": digest for number, digest in self.experts.items()}
        told["queue_rows"] = str(self.queue_rows)
        if self.process:
            told["process"] = self.process
        if self.rows_per_second:
            told[_RATE] = f"{self.rows_per_second:.1g}"  # roughly: each change is announced
        return told

    @classmethod
    def read(cls, facts: Mapping[str, str]) -> Self:
        """As they stand in a record, as far as they are understood: anybody may say anything."""
        experts = {
            int(number): digest
            for name, digest in facts.items()
            if (number := name.removeprefix(_EXPERT)) != name and _is_number(number)
        }
        rows = facts.get("queue_rows", "")
        try:
            rate = float(facts.get(_RATE, "0"))
        except ValueError:
            rate = 0.0
        return cls(
            dict(sorted(experts.items())),
            int(rows) if _is_number(rows) else 0,
            rate if 0 <= rate < 1e12 else 0.0,
            facts.get("process", ""),
        )


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 9
