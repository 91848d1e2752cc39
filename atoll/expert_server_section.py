"""The section of the configuration file about serving experts to gateways elsewhere."""

from __future__ import annotations

from typing import Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from atoll.address import refuse_open
from atoll.section import Section


class ExpertServerSection(Section):
    """How `atoll serve-expert` serves."""

    tls: str = Field(
        "", description='folder of certificates, see atoll certs; "" = plain text, on loopback only'
    )
    listen: str = Field("127.0.0.1:8002", description="address of gRPC; port 0 takes any free one")
    batch_rows: int = Field(32, ge=1, description="rows of one batch, at most")
    queue_rows: int = Field(
        256, ge=1, description="rows that wait, at most; more are refused, and asked elsewhere"
    )
    conditions_mb: float = Field(
        1024.0, ge=0, description="memory for captions' embeddings that need not be sent again"
    )
    ranks: int = Field(
        1, ge=1, description="processes that share the tokens of each image, a GPU or cores each"
    )
    displaced: bool = Field(
        False,
        description="for whom asks for it, see serving.experts_displaced, ranks see each other's "
        "tokens as they were a step before, and wait for none",
    )
    drain_s: float = Field(
        10.0, gt=0, description="for so long it finishes what it has, once it is told to leave"
    )

    @model_validator(mode="after")
    def _keys_have_an_effect(self) -> Self:
        if self.displaced and self.ranks == 1:
            raise ValueError("displaced = true has no effect with ranks = 1; leave it out")
        return self

    @field_validator("listen")
    @classmethod
    def _callers_are_known(cls, listen: str, info: ValidationInfo) -> str:
        refuse_open(
            listen,
            secured=bool(info.data.get("tls")),
            mend="set expert_server.tls to a folder that `atoll certs` made",
        )
        return listen
