"""What nodes cost, from a file of prices."""

from __future__ import annotations

import tomllib
from pathlib import Path

from pydantic import Field, ValidationError

from atoll.errors import BadInput
from atoll.section import Section


class Price(Section):
    """One ``[[price]]``: a node of a provider."""

    provider: str = Field(min_length=1, description="who lends it")
    gpu: str = Field(min_length=1, description="as --gpu names it")
    gpus: int = Field(ge=1, description="of the node")
    on_demand: float = Field(ge=0, description="of the node for an hour")
    spot: float | None = Field(None, ge=0, description="the same, if it may be taken back")
    currency: str = Field("USD", min_length=1, description="of both")


class _File(Section):
    price: tuple[Price, ...] = Field(min_length=1)


def read_prices(path: Path) -> tuple[Price, ...]:
    """The prices in a TOML file.

    Raises:
        BadInput: it cannot be read, or a key of it cannot be used; names both.
    """
    try:
        return _File.model_validate(tomllib.loads(path.read_text(encoding="utf-8"))).price
    except OSError as error:
        raise BadInput(f"--prices {path} cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise BadInput(f"--prices {path} is no text; give a TOML file") from error
    except tomllib.TOMLDecodeError as error:
        raise BadInput(f"--prices {path} is not valid TOML: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(place) for place in first["loc"])
        message = first["msg"].replace("Input should", "must")
        raise BadInput(f"--prices {path}: {key}: {message}; see docs/plan.md") from error


def offers_in(path: Path, gpu: str, num_gpus: int) -> tuple[Price, ...]:
    """The prices in a file, of nodes like an island's.

    Raises:
        BadInput: see :func:`read_prices`; or the file has none: says what it has.
    """
    prices = read_prices(path)
    found = tuple(
        price for price in prices if price.gpu.lower() == gpu.lower() and price.gpus == num_gpus
    )
    if not found:
        has = ", ".join(sorted({f"{price.gpus} x {price.gpu}" for price in prices}))
        raise BadInput(f"--prices {path} has no price of {num_gpus} x {gpu}; it has {has}")
    return found
