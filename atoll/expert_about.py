"""What an expert's file has to tell of its network, before anything is built by it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    field_validator,
)

from atoll.sizes import refuse_heads, sizes_from


class _Told(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Condition(_Told):
    """As :class:`experts.condition.Conditioning` has it."""

    kind: Literal["none", "class", "text"]
    size: NonNegativeInt = 0
    encoder: str = ""
    tokens: NonNegativeInt = 0


class Dialect(_Told):
    """As :class:`experts.dialect.Dialect` has it, which keeps what is unlike ours alone."""

    scale: float | None = None
    offset: float | None = None
    divisor: PositiveInt | None = None
    mlp_eps: float | None = None


class Latents(_Told):
    """What the network paints, see :class:`partition.manifest.Latents`, and ``latents.vae``."""

    model: str
    vae: str | None
    scale: PositiveFloat
    shift: float


class About(BaseModel):
    """All that is read of it; whoever wrote the file may have told more."""

    sizes: dict[str, PositiveInt]
    shape: tuple[PositiveInt, PositiveInt, PositiveInt]
    conditioning: Condition
    dialect: Dialect = Dialect()
    objective: Literal["velocity", "epsilon"]
    class_names: list[str]
    made: dict[str, Any]
    latents: Latents | None = None

    @field_validator("sizes")
    @classmethod
    def _are_of_a_network(cls, fields: dict[str, int]) -> dict[str, int]:
        try:
            sizes = sizes_from(fields)
        except TypeError as error:
            raise ValueError(str(error)) from error
        refuse_heads(sizes.width, sizes.heads)
        return fields
