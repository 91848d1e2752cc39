"""How experts and monolith are trained: the section ``[training]`` of the configuration file."""

from __future__ import annotations

import json
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from atoll.idle_keys import ANY, refuse_idle
from atoll.passwords import UrlWithoutPassword
from atoll.routing import Routing
from atoll.schedule_fit import refuse_schedule
from atoll.section import Section

Objective = Literal["velocity", "epsilon", "v"]

_USED_WITH = {
    "ema_decay": ("ema_profile", ("exponential",)),
    "ema_lengths": ("ema_profile", ("power",)),
    "times_mean": ("times", ("logit-normal", "snr")),
    "times_std": ("times", ("logit-normal", "snr")),
    "times_shift": ("times", ("shifted",)),
    "route_after": ("route_tokens", (ANY,)),
    "route_before": ("route_tokens", (ANY,)),
    "align_depth": ("align", (ANY,)),
    "held_out_every_steps": ("held_out", (ANY,)),
}


class TrainingSection(Section):
    """How experts and monolith are trained."""

    steps: int = Field(
        1000, ge=1, description="optimizer steps of every expert and of the monolith"
    )
    batch_size: int = Field(128, ge=1, description="over all experts: the monolith uses all of it")
    share: Literal["equal", "proportional"] = Field(
        "equal", description="an expert's part of the batch: equal, or as its cluster's size"
    )
    accumulation: int = Field(1, ge=1, description="micro-batches to one optimizer step")
    learning_rate: float = Field(5e-4, gt=0, description="AdamW's, after warm-up")
    warmup_steps: int = Field(0, ge=0, description="steps of linear warm-up")
    schedule: Literal["constant", "linear", "cosine", "refined"] = Field(
        "constant",
        description="of the learning rate after warm-up: constant | linear or cosine, down to zero "
        "with the last step | refined, to the gradients of an earlier run",
    )
    refined_from: UrlWithoutPassword | None = Field(
        None, min_length=1, description="uri of the run whose curves a refined schedule is made of"
    )
    weight_decay: float = Field(0.0, ge=0, description="AdamW's")
    clip_norm: float = Field(1.0, gt=0, description="gradients are scaled down to this norm")
    on_spike: Literal["stop", "skip", "rollback"] = Field(
        "stop",
        description="stop once a loss or gradient is not finite | skip such steps, and those that "
        "leap up | rollback to the last checkpoint instead, and pass over the samples since",
    )
    spike_factor: float = Field(
        10.0, gt=1, description="times the mean of the steps before that is a leap"
    )
    ema_profile: Literal["exponential", "power"] = Field(
        "exponential",
        description="of the averaged weights used to sample: exponential, of one decay | power, of "
        "several lengths, of which atoll average makes any other",
    )
    ema_decay: float = Field(
        0.999, ge=0, lt=1, description="for exponential: kept of the average by a step"
    )
    ema_lengths: tuple[Annotated[float, Field(gt=0, le=0.28)], ...] = Field(
        (0.05, 0.10),
        min_length=1,
        description="for power: of memories, as parts of the training; the first is sampled from",
    )
    times: Literal["uniform", "logit-normal", "shifted", "snr"] = Field(
        "uniform",
        description="density of training times: uniform | logit-normal | shifted | snr, a "
        "logit-normal that the spread of the data is reckoned into",
    )
    times_mean: float = Field(
        0.0, description="for logit-normal and snr: of the logit of a time; above 0 favours noise"
    )
    times_std: float = Field(1.0, gt=0, description="for logit-normal and snr: of that logit")
    times_shift: float = Field(3.0, gt=0, description="for shifted: more than 1 favours noise")
    objective: Objective = Field(
        "velocity",
        description="what networks learn to tell: velocity, on the linear path | epsilon, the "
        "noise, or v, on a schedule of DDPM's",
    )
    objectives: tuple[Objective, ...] = Field(
        (), description='of the experts in turn, in place of objective: ["epsilon", "velocity"]'
    )
    noise_schedule: Literal["linear", "cosine"] = Field(
        "linear", description="of 1000 steps, for epsilon and v: linear (DDPM) | cosine"
    )
    min_snr: float = Field(
        0.0, ge=0, description="errors of the image count min(SNR, this); 0 = as they are, 5 usual"
    )
    immiscible: int = Field(
        0, ge=0, description="rows among which noises go to the nearest images; 0 = to any"
    )
    perturb_condition: float = Field(
        0.0, ge=0, description="length of the noise on embedded conditions; 0 = none, 1 usual"
    )
    route_tokens: float = Field(
        0.0, ge=0, lt=1, description="share of tokens that pass by the blocks in the middle"
    )
    route_after: int = Field(2, ge=0, description="blocks before those that tokens pass by")
    route_before: int = Field(4, ge=0, description="blocks behind those that tokens pass by")
    align: float = Field(
        0.0, ge=0, description="weight of hidden states' alignment with the images' features"
    )
    align_depth: int = Field(
        0, ge=0, description="blocks before the states that are aligned; 0 = a third of all"
    )
    precision: Literal["fp32", "bf16"] = Field("fp32", description="of forward and backward")
    compile: bool = Field(False, description="torch.compile the network")
    checkpoint_every_steps: int = Field(200, ge=1, description="work lost by a crash, at most")
    log_every_steps: int = Field(20, ge=1, description="steps between two points of a curve")
    grid_every_steps: int = Field(500, ge=1, description="steps between two sample grids")
    held_out: int = Field(
        0, ge=0, description="samples of each cluster kept out of training, to measure the loss on"
    )
    held_out_every_steps: int = Field(
        500, ge=1, description="steps between two losses on the samples held out"
    )
    board: Literal["tensorboard", "wandb", "none"] = Field(
        "tensorboard", description="where curves and grids are drawn: tensorboard | wandb | none"
    )

    @property
    def routing(self) -> Routing | None:
        """Of tokens; None if all go through all blocks."""
        rate = self.route_tokens
        return Routing(rate, self.route_after, self.route_before) if rate else None

    def aligned_after(self, depth: int) -> int:
        """Blocks before the states that are aligned, of a network of so many."""
        return self.align_depth or max(1, depth // 3)

    @property
    def num_averages(self) -> int:
        """Copies of the weights that are averaged."""
        return len(self.ema_lengths) if self.ema_profile == "power" else 1

    @model_validator(mode="after")
    def _snr_is_that_of_the_linear_path(self) -> Self:
        others = {self.objective, *self.objectives} - {"velocity"}
        if self.times == "snr" and others:
            of_all = self.objective in others
            key = "objective" if of_all else "objectives"
            told = f'"{self.objective}"' if of_all else json.dumps(self.objectives)
            raise ValueError(
                f'times = "snr" chooses times of the linear path, and {key} = {told} has the steps '
                'of a schedule; set times to "uniform"'
            )
        return self

    @model_validator(mode="after")
    def _keys_have_an_effect(self) -> Self:
        refuse_idle(self, _USED_WITH)
        if self.noise_schedule != "linear" and {self.objective, *self.objectives} == {"velocity"}:
            raise ValueError(
                f'noise_schedule = "{self.noise_schedule}" has no effect with objective = '
                '"velocity"; leave it out, or set objective to "epsilon" or "v"'
            )
        return self

    @field_validator("immiscible")
    @classmethod
    def _one_row_has_no_choice(cls, rows: int) -> int:
        if rows == 1:
            raise ValueError(
                "is 1, and one row has but one noise to choose; give at least 2, or 0 for none"
            )
        return rows

    @field_validator("held_out")
    @classmethod
    def _every_quarter_of_the_times_has_one(cls, num: int) -> int:
        if 0 < num < 4:
            raise ValueError(
                f"is {num}, and the loss is measured in four parts of the time from data to noise; "
                "give at least 4, or 0 for none"
            )
        return num

    @field_validator("ema_lengths")
    @classmethod
    def _each_length_once(cls, lengths: tuple[float, ...]) -> tuple[float, ...]:
        if len(set(lengths)) < len(lengths):
            raise ValueError(f"names a length twice: {list(lengths)}; name each once")
        return lengths

    @model_validator(mode="after")
    def _schedule_can_be_followed(self) -> Self:
        refuse_schedule(self.schedule, self.refined_from, self.steps, self.warmup_steps)
        return self
