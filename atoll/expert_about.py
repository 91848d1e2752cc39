"""What an expert's file has to tell of its network, before anything is built by it."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Tag,
    model_validator,
)

from atoll.sizes import Modulated, refuse_heads


class _Told(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Heads(_Told):
    width: PositiveInt
    heads: PositiveInt
    patch: PositiveInt

    @model_validator(mode="after")
    def _share_the_width(self) -> Self:
        refuse_heads(self.width, self.heads)
        return self


class DiT(_Heads):
    """As :class:`atoll.sizes.Sizes` has it."""

    depth: PositiveInt
    frames: PositiveInt = 1
    cross_attention: bool = False
    modulation: Modulated = "block"


class MMDiT(_Heads):
    """As :class:`atoll.sizes.MMDiTSizes` has it."""

    double: PositiveInt
    single: PositiveInt


KINDS = ("DiT", "MMDiT")  # which of them sizes are of, their names say


def _kind(sizes: Any) -> str:
    return KINDS[isinstance(sizes, dict) and "double" in sizes]


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

    sizes: Annotated[
        Annotated[DiT, Tag(KINDS[0])] | Annotated[MMDiT, Tag(KINDS[1])], Discriminator(_kind)
    ]
    shape: tuple[PositiveInt, PositiveInt, PositiveInt]
    conditioning: Condition
    dialect: Dialect = Dialect()
    objective: Literal["velocity", "epsilon", "v"]
    noise_schedule: Literal["linear", "cosine"] = "linear"
    class_names: list[str]
    made: dict[str, Any]
    latents: Latents | None = None
