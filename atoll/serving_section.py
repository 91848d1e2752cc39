"""The section of the configuration file about the ensemble as a service."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from atoll.address import is_loopback, refuse_open, split_address
from atoll.idle_keys import ANY, refuse_idle
from atoll.section import Section

DHT, ORCHESTRATOR = "dht", "orchestrator"
FOUND_IN = frozenset({DHT, ORCHESTRATOR})  # in place of addresses


class ServingSection(Section):
    """How the ensemble is served."""

    tls: str = Field(
        "", description='folder of certificates, see atoll certs; "" = plain text, on loopback only'
    )
    api_keys: str = Field(
        "", description='file of who may call, see atoll key; "" = anyone, on loopback only'
    )
    listen: str = Field(
        "127.0.0.1:8000", description="address of REST and the web page; port 0 takes any free one"
    )
    grpc_listen: str = Field(
        "127.0.0.1:8001", description='address of gRPC; port 0 takes any free one; "" = none'
    )
    requests_per_minute: int = Field(
        0, ge=0, description="for images, of each key; more are refused (429); 0 = no limit"
    )
    drain_s: float = Field(
        30.0, gt=0, description="for so long it finishes what it has, once it is told to leave"
    )
    slots: int = Field(64, ge=1, description="images in progress at once")
    batch_rows: int = Field(
        32, ge=2, description="rows of one batch, at most; an image with guidance takes two"
    )
    memory_gb: float = Field(
        0.0, ge=0, description="most that experts take of the device's memory; 0 = all of them fit"
    )
    host_memory_gb: float = Field(
        0.0,
        ge=0,
        description="most of the host's memory for experts that have left a GPU's, page-locked; "
        "0 = all of them fit",
    )
    deterministic: bool = Field(
        False,
        description="row by row, so that an image is the same to the bit whatever is drawn beside "
        "it; several times slower",
    )
    max_queue: int = Field(
        256, ge=1, description="images that are accepted and not finished; more are refused (429)"
    )
    queue_share: float = Field(
        0.5,
        gt=0,
        le=1,
        description="of max_queue, for the images of one key, where keys are asked for; 1 = all",
    )
    max_images: int = Field(16, ge=1, description="of one request")
    max_steps: int = Field(250, ge=1, description="of one image")
    patience_s: float = Field(
        10.0, gt=0, description="after which an image is overdue; a tenth of it with priority high"
    )
    keep_s: float = Field(
        600.0, gt=0, description="for so long images can be fetched once they are finished"
    )
    keep_mb: float = Field(
        256.0,
        gt=0,
        description="memory that finished images take at most; the oldest are forgotten first",
    )

    follow_s: float = Field(
        10.0,
        ge=0,
        description="how often it looks for newer checkpoints of the run, once their stage has "
        "finished; 0 = never",
    )
    canary: float = Field(
        0.1,
        ge=0,
        le=1,
        description="share of new requests that newer checkpoints get first; 0 = all at once",
    )
    canary_s: float = Field(
        300.0,
        gt=0,
        description="for so long; then they get all, unless more requests fail than with the old",
    )

    experts: tuple[str, ...] = Field(
        (),
        description='addresses of servers of experts, see atoll serve-expert; "dht" = those that '
        'the peers in [membership] know; "orchestrator" = those that the one of the run knows; '
        "none = they are in this process",
    )
    experts_tls: str = Field(
        "",
        description='folder of certificates to call them by, see atoll certs; "" = plain text',
    )
    experts_wire: Literal["float32", "bfloat16", "float16"] = Field(
        "float32", description="of images and velocities on the way; the shorter ones are rounded"
    )
    experts_steps: int = Field(
        1,
        ge=1,
        le=64,
        description="of an image, at most, that one of them draws in one go while the router sends "
        "it nowhere else; 1 = each is asked for",
    )
    experts_displaced: bool = Field(
        False,
        description="in what they draw in one go ranks of a server see each other's tokens as they "
        "were a step before, if it is set up so; images are not quite the same",
    )
    experts_deadline_s: float = Field(
        10.0, gt=0, description="for the answer about some rows, whoever gives it"
    )
    experts_wait_s: float = Field(
        5.0,
        ge=0,
        description="for an expert that no server has; then images are drawn by the others",
    )

    reuse_blocks: int = Field(
        1,
        ge=1,
        description="evaluations of an image by an expert for which its blocks are asked once; "
        "1 = each time",
    )
    reuse_change: float | None = Field(
        None,
        gt=0,
        description="relative change of the image since then, beyond which they are asked sooner",
    )
    reuse_routes: int = Field(
        1,
        ge=1,
        description="evaluations of an image for which the router is asked once; 1 = each time",
    )

    @property
    def max_queue_of_one(self) -> int:
        """Images of one caller that are accepted and not finished."""
        return max(1, int(self.max_queue * self.queue_share)) if self.api_keys else self.max_queue

    @model_validator(mode="after")
    def _keys_go_together(self) -> Self:
        used_with = {
            "reuse_change": ("reuse_blocks", (ANY,)),
            "experts_steps": ("experts", (ANY,)),
            "experts_tls": ("experts", (ANY,)),
        }
        refuse_idle(self, used_with)
        open_ = [it for it in self.experts if it not in FOUND_IN and not is_loopback(it)]
        if open_ and not self.experts_tls:
            raise ValueError(
                f"experts: {open_[0]} is on another machine, and calls would be in plain text; set "
                "serving.experts_tls to a folder that `atoll certs --gateway` made"
            )
        for key in ("reuse_blocks", "reuse_routes"):
            if getattr(self, key) > 1 and self.deterministic:
                raise ValueError(
                    f"{key} = {getattr(self, key)} does not go with serving.deterministic: set it "
                    "to 1, or leave the other out"
                )
        if self.experts_displaced and (self.deterministic or self.experts_steps == 1):
            raise ValueError(
                "experts_displaced = true is for what is drawn in one go, and not to the bit; set "
                "serving.experts_steps above 1 and deterministic to false, or leave it out"
            )
        if self.reuse_blocks > 1 and self.experts and self.experts_steps == 1:
            raise ValueError(
                f"reuse_blocks = {self.reuse_blocks}: servers of experts reuse blocks within what "
                "they draw in one go; set serving.experts_steps above 1, or this to 1"
            )
        return self

    @field_validator("experts")
    @classmethod
    def _each_can_be_called(cls, experts: tuple[str, ...]) -> tuple[str, ...]:
        for address in experts:
            if address not in FOUND_IN:
                try:
                    split_address(address)
                except ValueError as error:
                    raise ValueError(
                        f"{address!r} is neither an address, e.g. 192.0.2.8:8210, nor one of "
                        f"{', '.join(sorted(FOUND_IN))}"
                    ) from error
        return experts

    @field_validator("listen", "grpc_listen")
    @classmethod
    def _callers_are_known(cls, listen: str, info: ValidationInfo) -> str:
        if info.field_name == "grpc_listen" and not listen:
            return listen
        refuse_open(
            listen,
            secured=bool(info.data.get("tls") and info.data.get("api_keys")),
            mend="set serving.tls to a folder that `atoll certs` made and serving.api_keys to a "
            "file that `atoll key` made",
        )
        return listen
