"""When requests arrive, and what they ask for: drawn, or as it was recorded."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from atoll.errors import BadInput

Body = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request.

    Attributes:
        at_s: since the beginning of the trace.
        body: what it asks for, as JSON has it.
    """

    at_s: float
    body: Body

    def asking(self, model: str) -> Arrival:
        """The same request of a model."""
        return Arrival(self.at_s, {**self.body, "model": model})


def poisson(rate: float, duration_s: float, seed: int, body: Body) -> list[Arrival]:
    """Requests of many who know nothing of each other.

    Args:
        rate: a second, on average.
        duration_s: after which none arrives.
        seed: equal ones give equal traces.
        body: of every request.
    """
    drawn = random.Random(seed)  # noqa: S311 - a trace is no secret
    arrivals = []
    at_s = drawn.expovariate(rate)
    while at_s < duration_s:
        arrivals.append(Arrival(at_s, body))
        at_s += drawn.expovariate(rate)
    return arrivals


class _Line(BaseModel):
    """A line of a recorded trace."""

    model_config = ConfigDict(extra="forbid", strict=True)

    at_s: float = Field(ge=0, allow_inf_nan=False)
    body: dict[str, Any]


def recorded(path: Path) -> list[Arrival]:
    """The requests in a file of JSON lines, in the order of their times.

    Raises:
        BadInput: it cannot be read, or a line of it cannot be used; names both.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise BadInput(f"--trace {path} cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise BadInput(f"--trace {path} is no text; give a file of JSON lines") from error
    arrivals = [
        _arrival(line, f"--trace {path}, line {number}")
        for number, line in enumerate(lines, 1)
        if line.strip()
    ]
    if not arrivals:
        raise BadInput(f"--trace {path} holds no request")
    return sorted(arrivals, key=lambda arrival: arrival.at_s)


def _arrival(text: str, place: str) -> Arrival:
    try:
        line = _Line.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        message = first["msg"].replace("Input should", "must")
        raise BadInput(
            f"{place}: {key}{': ' if key else ''}{message}; "
            'write it as {"at_s": 0.5, "body": {"prompt": "a cat"}}'
        ) from error
    if line.body.get("stream"):
        raise BadInput(f"{place}: streamed answers are not timed; leave stream out of its body")
    refuse_unsendable(line.body, place)
    return Arrival(line.at_s, line.body)


def refuse_unsendable(body: Body, place: str) -> None:
    """Refuse a body that no request can carry. Raises: BadInput, names the place."""
    try:
        json.dumps(body, allow_nan=False, ensure_ascii=False).encode()
    except ValueError as error:  # NaN, or half a character
        raise BadInput(f"{place} cannot be sent as JSON: {error}") from error
