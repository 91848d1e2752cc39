"""The section of the configuration file about the network that each expert trains."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from atoll.idle_keys import refuse_idle
from atoll.section import Section
from atoll.sizes import PRESETS, Modulated, NetworkSizes, Sizes, refuse_heads


class ExpertSection(Section):
    """The network each expert trains: a DiT (arXiv 2212.09748), or an MMDiT (2403.03206)."""

    preset: str | None = Field(
        None,
        description='a named size, e.g. "DiT-XL/2", "MMDiT-3B"; or the sizes of a DiT below',
    )
    width: int = Field(64, ge=4, description="features of a token")
    depth: int = Field(3, ge=1, description="blocks")
    heads: int = Field(4, ge=1, description="attention heads; divides width")
    patch: int = Field(2, ge=1, description="pixels along the side of a token; divides the image")
    frames: int = Field(
        1, ge=1, description="of a video, one below the other in each image; 1 = images"
    )
    cross_attention: bool = Field(
        False, description="of a DiT told by text: every block looks at the caption's tokens"
    )
    modulation: Modulated = Field(
        "block",
        description="of a DiT, what shifts and scales tokens by time and condition: block, a layer "
        "in each | single, one for all (adaLN-single)",
    )
    init: str | None = Field(
        None,
        min_length=1,
        description="folder of an exported or imported expert, to begin all of them from",
    )
    condition: Literal["none", "class", "text"] = Field("class", description="none | class | text")
    condition_dropout: float = Field(
        0.1,
        ge=0,
        lt=1,
        description="share of samples trained without their condition, for guidance",
    )

    @field_validator("init")
    @classmethod
    def _trainers_work_elsewhere(cls, init: str | None) -> str | None:
        return None if init is None else str(Path(init).absolute())

    @property
    def sizes(self) -> NetworkSizes:
        """Those of the preset, or the section's own."""
        sizes: NetworkSizes = Sizes(self.width, self.depth, self.heads, self.patch)
        if self.preset is not None:
            sizes = PRESETS[self.preset]
        if not isinstance(sizes, Sizes):
            return sizes
        return replace(
            sizes,
            frames=self.frames,
            cross_attention=self.cross_attention,
            modulation=self.modulation,
        )

    @model_validator(mode="after")
    def _sizes_exist(self) -> Self:
        if self.preset is None:
            refuse_heads(self.width, self.heads)
        elif self.preset not in PRESETS:
            meant = [name for name in PRESETS if name.lower() == self.preset.lower()]
            there = f"did you mean {meant[0]}?" if meant else f"there are {', '.join(PRESETS)}"
            raise ValueError(f'preset = "{self.preset}" is not known; {there}')
        refuse_idle(self, dict.fromkeys(("width", "depth", "heads", "patch"), ("preset", (None,))))
        if self.frames > 1 and not isinstance(self.sizes, Sizes):
            raise ValueError(f"frames = {self.frames} wants a DiT; choose another preset, or 1")
        if self.frames > 1 and self.sizes.depth < 2:
            raise ValueError(
                f"frames = {self.frames} wants a block over space and one over time; raise depth"
            )
        return self

    @model_validator(mode="after")
    def _options_are_those_of_the_network(self) -> Self:
        has_options = self.cross_attention or self.modulation == "single"
        if has_options and not isinstance(self.sizes, Sizes):
            raise ValueError(
                f'preset = "{self.preset}" is no DiT: it attends to text as it is, and has '
                'modulation of its own; leave out cross_attention and modulation = "single"'
            )
        if self.cross_attention and self.condition != "text":
            raise ValueError(
                f'cross_attention = true looks at captions, and condition = "{self.condition}"; '
                'set condition to "text", or leave cross_attention out'
            )
        return self
