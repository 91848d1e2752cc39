"""The sections of the configuration file, as frozen models that refuse unknown keys.

Every field says what it is for; ``atoll init`` prints these sentences as the comments of a fresh
file, so the models below are the reference.
"""

from __future__ import annotations

from itertools import combinations
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BeforeValidator,
    Field,
    PlainSerializer,
    ValidationInfo,
    field_validator,
    model_validator,
)

from atoll.address import refuse_beyond_loopback, refuse_open
from atoll.errors import BadInput
from atoll.idle_keys import refuse_idle
from atoll.image_size import MAX_PIXELS, name_of, size_in
from atoll.passwords import UrlWithoutCredentials, UrlWithoutPassword
from atoll.section import Section
from atoll.sizes import Sizes, refuse_heads
from atoll.strategies import Strategy

OF_NPZ = ("images", "labels", "captions", "exclude")  # keys of [data] that name arrays
_LEAST_SIDE = 4  # of an image, pixels


def _bucket_in(text: Any) -> tuple[int, int]:
    try:
        width, height = size_in(text if isinstance(text, str) else repr(text))
    except BadInput as error:
        raise ValueError(str(error)) from error
    if min(width, height) < _LEAST_SIDE:
        raise ValueError(f"{text} has a side of less than {_LEAST_SIDE} pixels; make it larger")
    return height, width


# Height and width, as of all arrays; people write WIDTHxHEIGHT.
Bucket = Annotated[
    tuple[int, int], BeforeValidator(_bucket_in), PlainSerializer(lambda of: name_of(*of))
]


class RunSection(Section):
    """Where the run lives and what makes it repeatable."""

    uri: UrlWithoutPassword = Field(
        "runs/digits", min_length=1, description="everything the run makes is below"
    )
    seed: int = Field(0, ge=0, lt=2**32, description="all randomness follows from it")


class DataSection(Section):
    """The samples."""

    source: Literal["digits", "npz", "folder", "webdataset"] = Field(
        "digits", description="digits | npz | folder | webdataset"
    )
    path: UrlWithoutCredentials | None = Field(
        None,
        description="file, folder, or tar pattern like shard-{000..007}.tar, of http(s):// or s3://"
        " as well",
    )
    images: str = Field(
        "images", description="npz: array of images (N, H, W) or (N, H, W, C), uint8"
    )
    labels: str | None = Field("labels", description="npz: array of class numbers, if there is one")
    captions: str | None = Field(None, description="npz: array of captions, if there is one")
    exclude: tuple[str, ...] = Field(
        (), description="npz: boolean arrays; samples they mark are left out"
    )
    size: int | None = Field(None, ge=4, description="crop to a square and resize to it")
    buckets: tuple[Bucket, ...] | None = Field(
        None,
        min_length=1,
        description='WIDTHxHEIGHT, e.g. ["64x64", "80x48", "48x80"]: bring each image to the one '
        "nearest in proportions; the first is what is drawn unless asked otherwise",
    )
    crop: Literal["centre", "random"] = Field(
        "centre",
        description="where what data.size or data.buckets leaves of an image lies: centre | "
        "random, once for each sample",
    )
    flip: bool = Field(
        False, description="mirror images left to right at random, whenever one is learnt from"
    )
    on_error: Literal["refuse", "skip"] = Field(
        "refuse", description="an unreadable image: refuse the data set, or skip, name and count it"
    )
    workers: int | None = Field(
        None,
        ge=0,
        description="processes that decode images; 0 = none but the command's own; unset = one for "
        "each core where images are many files",
    )

    @model_validator(mode="after")
    def _keys_have_an_effect(self) -> Self:
        used_with = dict.fromkeys(OF_NPZ, ("source", ("npz",)))
        refuse_idle(self, used_with | {"path": ("source", ("npz", "folder", "webdataset"))})
        return self

    @model_validator(mode="after")
    def _crops_have_a_size(self) -> Self:
        if self.crop == "random" and self.size is None and self.buckets is None:
            raise ValueError(
                'crop = "random" has no size to crop to; set data.size, or crop to "centre"'
            )
        return self

    @model_validator(mode="after")
    def _sizes_are_told_once(self) -> Self:
        if self.buckets is None:
            return self
        if self.size is not None:
            raise ValueError(
                "size and buckets both say how large images shall be; leave one of them out"
            )
        for height, width in self.buckets:
            if height * width > MAX_PIXELS:
                raise ValueError(
                    f"buckets names {name_of(height, width)}, more than the {MAX_PIXELS:,} pixels "
                    "that an image may have; make it smaller"
                )
        for one, other in combinations(self.buckets, 2):
            if one == other:
                raise ValueError(f"buckets names {name_of(*one)} twice; name each size once")
            if one[0] * other[1] == one[1] * other[0]:
                raise ValueError(
                    f"buckets names {name_of(*one)} and {name_of(*other)}, which have the same "
                    "proportions, by which images are dealt out; name one of them"
                )
        return self


class TransformersFeatures(Section):
    """Pooled features of an image model from transformers."""

    transformers: str = Field(
        min_length=1, description="hub id or folder, e.g. facebook/dinov2-large"
    )


class PartitionSection(Section):
    """How the data are split into clusters, one for each expert."""

    num_experts: int = Field(4, ge=1, description="clusters, and experts")
    num_fine: int = Field(64, ge=1, description="fine centroids before the coarse ones")
    balance: float = Field(1.0, ge=0, le=1, description="0 = free sizes, 1 = as even as possible")
    sizes: tuple[Annotated[float, Field(gt=0)], ...] | None = Field(
        None,
        description="of the clusters beside each other, in place of even ones: [4, 1, 1], say, for "
        "nodes of such speeds",
    )
    features: Literal["pca"] | TransformersFeatures = Field(
        "pca", description='"pca" or { transformers = "facebook/dinov2-large" }'
    )
    pca_dims: int = Field(
        50, ge=1, description="principal components of the pixels, or all there are"
    )
    samples_per_shard: int = Field(10_000, ge=1, description="samples in one tar")
    duplicates: Literal["keep", "report", "drop"] = Field(
        "keep",
        description="samples nearly the same as others: keep | report, in a list | drop, and list",
    )
    duplicate_epsilon: float = Field(
        0.01, ge=1e-5, le=1, description="such are those with features of a cosine above 1 less it"
    )

    @model_validator(mode="after")
    def _keys_have_an_effect(self) -> Self:
        refuse_idle(self, {"pca_dims": ("features", ("pca",))})
        return self

    @model_validator(mode="after")
    def _sizes_are_for_every_cluster(self) -> Self:
        if self.sizes is not None and len(self.sizes) != self.num_experts:
            raise ValueError(
                f"sizes has {len(self.sizes)} numbers, and num_experts = {self.num_experts}; give "
                "one for each cluster"
            )
        if self.sizes is not None and self.balance == 0:
            raise ValueError("balance = 0 leaves sizes as they come; raise it, or leave sizes out")
        return self

    @model_validator(mode="after")
    def _fine_before_coarse(self) -> Self:
        if self.num_fine < self.num_experts:
            raise ValueError(
                f"num_fine = {self.num_fine} is smaller than num_experts = {self.num_experts}; "
                "fine centroids are grouped into experts, so give at least as many"
            )
        return self


class CheckpointsSection(Section):
    """Which checkpoints of a job are kept, besides its newest and those that stages name."""

    keep_last: int = Field(5, ge=1, description="the newest so many")
    keep_every_steps: int = Field(
        0, ge=0, description="those at a multiple of so many steps; 0 = none"
    )
    keep_best: int = Field(1, ge=0, description="so many with the lowest loss")


class OrchestratorSection(Section):
    """The control plane."""

    tls: str = Field(
        "", description='folder of certificates, see atoll certs; "" = plain text, on loopback only'
    )
    listen: str = Field("127.0.0.1:0", description="address; port 0 takes any free one")
    web: str = Field(
        "", description='dashboard and /metrics: loopback address, e.g. 127.0.0.1:8080; "" = none'
    )
    reflection: bool = Field(
        False, description="tell tools such as grpcurl what can be called; operators alone with tls"
    )
    database: UrlWithoutPassword = Field(
        "", description='"" = SQLite in the run; or postgresql+psycopg://USER@HOST/NAME'
    )

    @field_validator("database")
    @classmethod
    def _some_database_is_meant(cls, url: str) -> str:
        if url and not url.startswith(("sqlite:////", "postgresql://", "postgresql+psycopg://")):
            raise ValueError(
                "is no database that can be used; write postgresql+psycopg://USER@HOST/NAME or "
                'sqlite:////PATH, or "" for SQLite in the run'
            )
        return url

    @field_validator("web")
    @classmethod
    def _nobody_else_looks(cls, web: str) -> str:
        if web:
            refuse_beyond_loopback(web)
        return web

    @field_validator("listen")
    @classmethod
    def _nobody_listens_in(cls, listen: str, info: ValidationInfo) -> str:
        refuse_open(listen, secured=bool(info.data.get("tls")))
        return listen


class RouterSection(Section):
    """The network that learns which expert a noised input belongs to."""

    width: int = Field(64, ge=4, description="features of a token")
    depth: int = Field(2, ge=1, description="blocks")
    heads: int = Field(4, ge=1, description="attention heads; divides width")
    patch: int = Field(2, ge=1, description="pixels along the side of a token")
    steps: int = Field(500, ge=1, description="optimizer steps")
    batch_size: int = Field(128, ge=1, description="over the whole data set")
    learning_rate: float = Field(1e-3, gt=0, description="AdamW's")
    ema_decay: float = Field(0.99, ge=0, lt=1, description="of the averaged weights")
    condition: bool = Field(True, description="the gate sees the condition; false = prompt-blind")

    @property
    def sizes(self) -> Sizes:
        """Its sizes as one value."""
        return Sizes(self.width, self.depth, self.heads, self.patch)

    @model_validator(mode="after")
    def _sizes_exist(self) -> Self:
        refuse_heads(self.width, self.heads)
        return self


class SamplingSection(Section):
    """How images are drawn from the ensemble."""

    solver: Literal["euler", "heun", "midpoint", "dopri5"] = Field(
        "euler", description="euler | heun | midpoint | dopri5 (adaptive, needs torchdiffeq)"
    )
    steps: int = Field(25, ge=1, description="solver steps from noise to image")
    guidance: float = Field(1.0, ge=0, description="classifier-free guidance; 1 = none")
    gate: Literal["learned", "centroid", "prior", "uniform"] = Field(
        "learned",
        description="who knows the clusters apart: learned (the router) | centroid | prior | "
        "uniform",
    )
    ema_length: float | None = Field(
        None,
        gt=0,
        le=0.28,
        description="of the experts' averaged weights, made by atoll average; without it, as they "
        "were trained",
    )
    strategy: Strategy = Field(
        "top-1",
        description="full | top-N | threshold-P | nucleus-P | sample | ancestral | coupled",
    )
    batch_size: int = Field(256, ge=1, description="images denoised together")


class EvaluationSection(Section):
    """How the ensemble is judged."""

    num_samples: int = Field(1797, ge=10, description="generated images for each row of the table")
    strategies: tuple[Strategy, ...] = Field(
        ("full", "top-1", "ancestral"),
        min_length=1,
        description="rows of the table besides monolith and oracle",
    )
    monolith: bool = Field(True, description="train the FLOP-matched baseline too")
    extractor: Literal["classifier"] | TransformersFeatures = Field(
        "classifier",
        description='"classifier" (small, trained on the real data) or { transformers = "…" }',
    )

    @field_validator("strategies")
    @classmethod
    def _each_once(cls, strategies: tuple[str, ...]) -> tuple[str, ...]:
        for place, strategy in enumerate(strategies):
            if strategy in strategies[:place]:
                raise ValueError(f'"{strategy}" stands here twice; name each strategy once')
        return strategies
