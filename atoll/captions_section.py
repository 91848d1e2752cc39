"""The section of the configuration file that says how captions become numbers."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from atoll.idle_keys import refuse_idle
from atoll.section import Section


class TransformersCaptions(Section):
    """A text model from transformers."""

    transformers: str = Field(
        min_length=1,
        description="hub id or folder of a CLIP, a T5, or a sentence-embedding model",
    )


class CaptionsSection(Section):
    """What networks are told of a caption, where expert.condition = "text"."""

    encoder: Literal["ngrams"] | TransformersCaptions = Field(
        "ngrams",
        description='"ngrams" (of letters, hashed: no model) or '
        '{ transformers = "openai/clip-vit-large-patch14" }',
    )
    tokens: int = Field(
        0,
        ge=0,
        description="of a caption, at most, each a vector (n-grams: words); 0 = one vector of the "
        "whole",
    )
    dims: int = Field(256, ge=8, description="length of a vector of n-grams; a model's is its own")
    batch_size: int = Field(64, ge=1, description="captions that a model encodes together")
    workers: int = Field(
        0, ge=0, description="processes that encode; 0 = one for each GPU, else for each core"
    )

    @model_validator(mode="after")
    def _keys_have_an_effect(self) -> Self:
        refuse_idle(self, {"dims": ("encoder", ("ngrams",))})
        return self
