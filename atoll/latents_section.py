"""The section of the configuration file about latents."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from atoll.idle_keys import ANY, refuse_idle
from atoll.section import Section


class LatentsSection(Section):
    """What an autoencoder makes of the images, once, for networks to work on in place of pixels."""

    vae: str | None = Field(
        None,
        min_length=1,
        description="folder or hub id of a diffusers autoencoder, e.g. stabilityai/sd-vae-ft-mse",
    )
    kind: Literal["moments", "samples"] = Field(
        "moments",
        description="moments: mean and variance, a latent drawn whenever one is read | samples: "
        "drawn once, half as large",
    )
    scale: float | Literal["measured"] | None = Field(
        None,
        description="networks see (latent - shift) * scale; the autoencoder's own where it is left "
        'out; "measured" = 1 / standard deviation of the data\'s latents',
    )
    shift: float | None = Field(None, description="the autoencoder's own where it is left out")
    batch_size: int = Field(16, ge=1, description="images encoded together")
    workers: int = Field(
        0, ge=0, description="processes that encode; 0 = one for each GPU, else for each core"
    )
    precision: Literal["fp32", "bf16"] = Field("fp32", description="of the autoencoder")

    @field_validator("scale")
    @classmethod
    def _something_is_left(cls, scale: float | str | None) -> float | str | None:
        if isinstance(scale, float) and scale <= 0:
            raise ValueError(
                f"is {scale:g}, and latents are multiplied by it; give a number above 0, or leave "
                "it out for the autoencoder's own"
            )
        return scale

    @model_validator(mode="after")
    def _keys_have_an_effect(self) -> Self:
        refuse_idle(self, dict.fromkeys(("kind", "scale", "shift", "precision"), ("vae", (ANY,))))
        return self
