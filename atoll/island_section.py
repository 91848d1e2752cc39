"""The section of the configuration file that says where the jobs run."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Literal, Self, TypeGuard, get_args

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from atoll.parallel_section import ParallelSection
from atoll.section import Section

ProviderName = Literal["local", "slurm", "ssh", "skypilot", "kubernetes"]


class IslandSection(Section):
    """Where the jobs run."""

    provider: ProviderName | dict[ProviderName, int] = Field(
        "local",
        description="local | slurm | ssh | skypilot | kubernetes; or several, with the islands of "
        "each: { local = 1, ssh = 3 }",
    )
    count: int = Field(2, ge=1, description="islands alive at once; of several providers their sum")
    nodes: int = Field(1, ge=1, le=1024, description="machines of an island, at most")
    min_nodes: int = Field(
        0, ge=0, description="machines with which an island still works; 0 = all of island.nodes"
    )
    gather_s: float = Field(
        600.0, gt=0, description="time for which too few nodes of an island wait for others"
    )
    processes: int = Field(1, ge=1, description="training processes of a node")
    parallel: tuple[ParallelSection, ...] = Field(
        (ParallelSection(),), description="of several, islands take one in turn"
    )
    threads: int = Field(1, ge=1, description="CPU threads of a training process")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto | cpu | cuda")
    lease_s: float = Field(10.0, gt=0, description="silence after which an island is given up")
    max_failures: int = Field(
        5, ge=0, description="failed tries in a row that a job is forgiven; the next ends it"
    )
    max_losses: int = Field(
        20, ge=0, description="lost islands in a row that a job is forgiven; the next ends it"
    )
    max_preemptions: int = Field(
        100, ge=0, description="reclaimed islands in a row that a job is forgiven"
    )
    stuck_s: float = Field(
        600.0,
        gt=0,
        description="time without a step, or a byte of shards; then a trainer is started anew",
    )
    restarts: int = Field(
        3,
        ge=0,
        description="times in a row that an island of one node starts a broken trainer anew by "
        "itself; then its job has failed a try",
    )
    hang_s: float = Field(
        30.0,
        ge=5,
        description="time for which nothing may move in a training step, longer than any part of "
        "one takes; then whoever hangs is named, and the trainer started anew",
    )
    backoff_s: float = Field(
        1.0, gt=0, description="pause before the second try; doubles each time"
    )
    price_per_hour: float | dict[ProviderName, float] = Field(
        0.0,
        description="of an island's node, in your currency; 0 = costs are not counted; or a price "
        "for each provider: { local = 0, slurm = 1.5 }",
    )
    speed: dict[ProviderName, float] = Field(
        {},
        description="of an island of each provider beside the others, e.g. { local = 1, slurm = 4 }"
        ": the faster gets the larger job; {} = all alike",
    )
    orphan_s: float = Field(
        600.0, gt=0, description="an island that reaches no orchestrator for so long stops itself"
    )
    drain_s: float = Field(60.0, gt=0, description="time a trainer has for its last checkpoint")
    notices: Literal["none", "aws", "gcp", "azure"] = Field(
        "none", description="heed this cloud's word that it takes a node back: aws | gcp | azure"
    )

    @property
    def fewest_nodes(self) -> int:
        """With how many nodes an island still works."""
        return self.min_nodes or self.nodes

    @property
    def shares(self) -> dict[ProviderName, int]:
        """How many islands each provider is to keep alive."""
        return self.provider if isinstance(self.provider, dict) else {self.provider: self.count}

    @property
    def prices(self) -> dict[str, float]:
        """Of an hour of a node, for each provider that islands are asked of."""
        price = self.price_per_hour
        return {name: price[name] if isinstance(price, dict) else price for name in self.shares}

    @property
    def speeds(self) -> dict[str, float]:
        """Of an island, for each provider that islands are asked of; none where all are alike."""
        return {name: self.speed[name] for name in self.shares if self.speed}

    @field_validator("parallel", mode="before")
    @classmethod
    def _one_layout_may_stand_alone(cls, given: object) -> object:
        layouts = given if isinstance(given, list | tuple) else (given,)
        if not layouts or not all(isinstance(each, dict | ParallelSection) for each in layouts):
            raise ValueError("is no layout; give a table such as { shard = 2 }, or several")
        return layouts

    @field_validator("price_per_hour", mode="before")
    @classmethod
    def _price_is_one_or_one_for_each(cls, given: object) -> object:
        if not isinstance(given, dict):
            if not _is_number(given) or given < 0:
                raise ValueError("is no price; give a number from 0, or a table of them")
        else:
            _refuse_unknown(given)
            for name, price in given.items():
                if not _is_number(price) or price < 0:
                    raise ValueError(f"{name} = {price!r} is no price; give a number from 0")
        return given

    @field_validator("speed", mode="before")
    @classmethod
    def _speeds_are_above_nothing(cls, given: object) -> object:
        table = given if isinstance(given, dict) else {}
        _refuse_unknown(table)
        for name, speed in table.items():
            if not _is_number(speed) or speed <= 0:
                raise ValueError(f"{name} = {speed!r} is no speed; give a number above 0")
        return given

    @field_validator("provider", mode="before")
    @classmethod
    def _provider_is_known(cls, given: object) -> object:
        """One sentence, where the types alone would complain once for every form."""
        shares = given if isinstance(given, dict) else {given: 1}
        _refuse_unknown(shares)
        for name, share in shares.items():
            if not isinstance(share, int) or isinstance(share, bool) or share < 1:
                raise ValueError(f"{name} = {share!r} islands cannot be; give at least 1")
        if not shares:
            raise ValueError("names no provider; give at least one, e.g. { local = 2 }")
        return given

    @model_validator(mode="after")
    def _no_provider_is_left_out(self) -> Self:
        for key, table in (("price_per_hour", self.price_per_hour), ("speed", self.speed)):
            if isinstance(table, dict) and (table or key == "price_per_hour"):
                lacking = [name for name in self.shares if name not in table]
                if lacking:
                    raise ValueError(f"{key} has no number for {', '.join(lacking)}; add it")
        return self

    @model_validator(mode="before")
    @classmethod
    def _count_is_their_sum(cls, tree: Any) -> Any:
        provider = tree.get("provider") if isinstance(tree, dict) else None
        numbers = list(provider.values()) if isinstance(provider, dict) else []
        if not numbers or not all(isinstance(number, int) and number > 0 for number in numbers):
            return tree  # told of with the provider
        if tree.setdefault("count", sum(numbers)) != sum(numbers):
            raise ValueError(
                f"count = {tree['count']}, and the islands in provider are {sum(numbers)}; "
                f"leave count out, or set it to {sum(numbers)} as well"
            )
        return tree

    @model_validator(mode="after")
    def _fewest_are_no_more(self) -> Self:
        if self.min_nodes > self.nodes:
            raise ValueError(
                f"min_nodes = {self.min_nodes} is more than nodes = {self.nodes}, the most an "
                "island has; lower it, or raise nodes"
            )
        return self

    @model_serializer(mode="wrap")
    def _as_given(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """So that keys can be set over those of a saved one: its sum must not speak against it."""
        tree: dict[str, Any] = handler(self)
        if len(self.parallel) == 1 and "parallel" in tree:
            tree["parallel"] = tree["parallel"][0]
        if isinstance(self.provider, dict):
            del tree["count"]
        return tree


def _refuse_unknown(names: Iterable[object]) -> None:
    for name in names:
        if name not in get_args(ProviderName):
            raise ValueError(
                f"{name!r} is not known; there are {', '.join(get_args(ProviderName))}"
            )


def _is_number(given: object) -> TypeGuard[float]:
    return isinstance(given, int | float) and not isinstance(given, bool) and abs(given) < math.inf
