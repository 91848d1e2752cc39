"""The section of the configuration file that says how the processes of an island share a job."""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass
from typing import Literal, Self

from pydantic import Field, ValidationError, model_validator

from atoll.errors import ConfigError
from atoll.section import Section

_ALL_ALIKE = "shares the state out among all processes that have a part of the batch"
_MEND = "set shard to 0, for all"


@dataclass(frozen=True, slots=True)
class Layout:
    """So many processes along each way to share a job; their product is all of them.

    Rank by rank the last one changes first, so that those who talk most are neighbours.

    Attributes:
        pipeline: each has some of the blocks, and images pass through all.
        data: each has a part of the batch, and all of the weights.
        shard: each has a part of the batch, and a part of every weight's state.
        sequence: each has a part of the tokens of an image.
        tensor: each has some heads, and some features of the MLPs.
    """

    pipeline: int = 1
    data: int = 1
    shard: int = 1
    sequence: int = 1
    tensor: int = 1

    @property
    def rows(self) -> int:
        """Into how many parts a batch is cut."""
        return self.data * self.shard

    @property
    def num(self) -> int:
        """All processes."""
        return math.prod(astuple(self))


class ParallelSection(Section):
    """How the processes of an island share an expert."""

    data: int = Field(0, ge=0, description="parts of the batch; 0 = as many as processes are left")
    shard: int = Field(
        1, ge=0, description="parts of the batch and of each weight's state; 0 = as are left"
    )
    sequence: int = Field(1, ge=1, description="parts of an image's tokens")
    pipeline: int = Field(1, ge=1, description="parts of the network, block after block")
    tensor: int = Field(1, ge=1, description="parts of every attention and MLP")
    sharding: Literal["fsdp", "zero-1", "zero-2", "zero-3"] = Field(
        "fsdp", description="fsdp | zero-1 | zero-2 | zero-3 (DeepSpeed's)"
    )
    schedule: Literal["1f1b", "interleaved", "zero-bubble", "deepspeed"] = Field(
        "1f1b",
        description="of a pipeline's micro-batches (training.accumulation): 1f1b | interleaved | "
        "zero-bubble | deepspeed",
    )
    stages: int = Field(1, ge=1, description="of a process in a pipeline, for interleaved")
    recompute: bool = Field(
        False, description="compute activations again in the backward pass, to keep fewer"
    )

    @model_validator(mode="after")
    def _one_takes_what_is_left(self) -> Self:
        if self.shard == 0 and self.data > 0:
            raise ValueError(
                f"shard = 0 takes all processes that are left, and data = {self.data} some of "
                "them; set one of both"
            )
        if self.stages > 1 and self.schedule != "interleaved":
            raise ValueError(
                f'stages = {self.stages} needs schedule = "interleaved"; set it, or stages to 1'
            )
        return self

    @model_validator(mode="after")
    def _deepspeed_can_do_it(self) -> Self:
        sharding = f'sharding = "{self.sharding}"'
        by_deepspeed = self.pipeline > 1 and self.schedule == "deepspeed"
        if self.zero and self.shard == 1:
            raise ValueError(
                f"{sharding} shares nothing out with shard = 1; raise it, or set it to 0"
            )
        if self.zero and self.data > 1:
            raise ValueError(f"{sharding} {_ALL_ALIKE}, and data = {self.data} would not; {_MEND}")
        if (self.zero or by_deepspeed) and self.sequence * self.tensor > 1:
            which = sharding if self.zero else 'schedule = "deepspeed"'
            raise ValueError(f"{which} goes without sequence and tensor; set them to 1")
        if self.zero and self.pipeline > 1 and not (self.zero == 1 and by_deepspeed):
            raise ValueError(
                f'{sharding} does not go with this pipeline; set it to "fsdp", or to "zero-1" '
                'with schedule = "deepspeed"'
            )
        if by_deepspeed and self.shard != 1 and not self.zero:
            raise ValueError(
                'schedule = "deepspeed" does not go with FSDP; set sharding to "zero-1", or shard '
                "to 1"
            )
        return self

    @property
    def ways(self) -> bool:
        """Whether anything but the batch is shared out, or it in a number that is given."""
        shared = self.shard != 1 or self.data > 0
        return shared or self.sequence * self.pipeline * self.tensor > 1

    @property
    def zero(self) -> int:
        """The stage of DeepSpeed's ZeRO; 0 for none."""
        return 0 if self.sharding == "fsdp" else int(self.sharding.removeprefix("zero-"))

    def over(self, num: int) -> Layout:
        """The layout of so many processes.

        Raises:
            ConfigError: they cannot be laid out so; names the keys and the mend.
        """
        fixed = self.pipeline * (self.shard or 1) * self.sequence * self.tensor * (self.data or 1)
        left = num // fixed
        if num % fixed or (left > 1 and self.data and self.shard):
            raise ConfigError(
                f"island.parallel lays out {'' if self.data else 'a multiple of '}{fixed} "
                f"processes ({self}), and the island has {num}; change it, or island.processes and "
                "island.nodes"
            )
        if self.zero and left > 1 and self.shard:
            raise ConfigError(
                f'island.parallel.sharding = "{self.sharding}" {_ALL_ALIKE}, and {num} processes '
                f"({self}) leave {left} along data; {_MEND}"
            )
        return Layout(
            pipeline=self.pipeline,
            data=self.data or (1 if self.shard == 0 else left),
            shard=self.shard or left,
            sequence=self.sequence,
            tensor=self.tensor,
        )

    def __str__(self) -> str:
        """As ``atoll agent --parallel`` takes it: what differs from the defaults."""
        values = self.model_dump(exclude_defaults=True)
        return ",".join(f"{key}={str(value).lower()}" for key, value in values.items())


def parallel_of(text: str) -> ParallelSection:
    """What ``str`` of a section says.

    Raises:
        ConfigError: it cannot be read, in a sentence.
    """
    written = [word.partition("=") for word in text.split(",") if word]
    pairs = [(key.strip(), value) for key, _, value in written]
    keys = [key for key, _ in pairs]
    if twice := next((key for key in keys if keys.count(key) > 1), None):
        raise ConfigError(f"--parallel {text}: {twice} is given twice; leave one of the two out")
    try:
        return ParallelSection.model_validate(dict(pairs))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        words = first["msg"].removeprefix("Value error, ")
        raise ConfigError(
            f"--parallel {text}: {where}{': ' if where else ''}{words}; write it as "
            "shard=2,sequence=2"
        ) from error
