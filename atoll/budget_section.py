"""The section of the configuration file that says what a run may take."""

from __future__ import annotations

from datetime import date, datetime

from pydantic import Field, field_validator

from atoll.section import Section


class BudgetSection(Section):
    """What the run may take: its islands checkpoint and leave before it takes more."""

    cost: float = Field(
        0.0, ge=0, description="in the currency of island.price_per_hour; 0 = no limit"
    )
    node_hours: float = Field(0.0, ge=0, description="of all nodes together; 0 = no limit")
    deadline: str = Field(
        "", description='with an offset from UTC, e.g. "2026-12-01T08:00:00Z"; "" = none'
    )

    @property
    def ends_at(self) -> float | None:
        """The deadline in seconds since the Unix epoch; None without one."""
        return datetime.fromisoformat(self.deadline).timestamp() if self.deadline else None

    @field_validator("deadline", mode="before")
    @classmethod
    def _deadline_is_one_moment_everywhere(cls, given: object) -> object:
        text = given.isoformat() if isinstance(given, date) else given  # TOML has dates of its own
        if not isinstance(text, str) or not text:
            return text
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            raise ValueError('is no date and time; write it like "2026-12-01T08:00:00Z"') from None
        if moment.tzinfo is None:
            raise ValueError("says no offset from UTC; put Z behind it for UTC, or +01:00, say")
        return text
