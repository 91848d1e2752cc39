"""What a service of images tells, as a client has it; decoded from the wire."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from atoll.errors import BadInput, NotDrawn
from atoll.image_size import Size
from atoll.wire.v1 import images_pb2 as wire

MAX_REQUEST_BYTES = 64 << 10  # a service reads no larger message


@dataclass(frozen=True, slots=True)
class About:
    """What can be asked for, and what is drawn where a request leaves something open.

    Attributes:
        edition: of the checkpoints; another one may draw another image.
        condition: ``none``, ``class`` or ``text``.
        class_names: those there are.
        size: width and height in pixels, where it is left open.
        sizes: those there are.
        channels: of an image.
        num_experts: K.
        strategies: those there are; N is a number of experts, P a probability.
        solvers: those there are.
        solver: where it is left open.
        steps: where they are left open.
        guidance: where it is left open.
        strategy: where it is left open.
        max_images: of one request.
        max_steps: of one image.
        max_guidance: of one image.
        max_queue: images of one caller that are not finished.
        checkpoints: digests by name of the job.
    """

    edition: str
    condition: str
    class_names: tuple[str, ...]
    size: Size
    sizes: tuple[Size, ...]
    channels: int
    num_experts: int
    strategies: tuple[str, ...]
    solvers: tuple[str, ...]
    solver: str
    steps: int
    guidance: float
    strategy: str
    max_images: int
    max_steps: int
    max_guidance: float
    max_queue: int
    checkpoints: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Accepted:
    """A request is a job now.

    Attributes:
        job: its name, by which it can be watched again and cancelled.
        ahead: images of others that are due before the first of its own.
        num: images of the job.
    """

    job: str
    ahead: int
    num: int


@dataclass(frozen=True, slots=True)
class Progress:
    """An image has made steps.

    Attributes:
        index: of the image in its job.
        step: how many are done.
        steps: how many there are.
        weights: of each expert, in each of the steps since the last such event.
        without: experts that could not be had in some step so far.
    """

    index: int
    step: int
    steps: int
    weights: tuple[tuple[float, ...], ...]
    without: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Preview:
    """What an image would become from here.

    Attributes:
        index: of the image in its job.
        step: how many are done.
        png: the picture.
    """

    index: int
    step: int
    png: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Generated:
    """An image.

    Attributes:
        index: of the image in its job.
        png: with the recipe inside.
        recipe: all that the image follows from.
    """

    index: int
    png: bytes = field(repr=False)
    recipe: Mapping[str, Any]

    @property
    def seed(self) -> int:
        """Of its noise and draws."""
        seed: int = self.recipe["seed"]
        return seed

    @property
    def condition(self) -> str:
        """Name of its class, or its prompt; "" without one."""
        condition: str = self.recipe["condition"]
        return condition

    def save(self, path: str | Path) -> None:
        """Write the PNG. Raises: BadInput, it cannot be written there."""
        try:
            Path(path).write_bytes(self.png)
        except OSError as error:
            Path(path).unlink(missing_ok=True)
            raise BadInput(f"{path} cannot be written: {error.strerror}") from error


ImageEvent = Accepted | Progress | Preview | Generated


def decode_about(message: wire.AboutResponse) -> About:
    """What can be asked for."""
    return About(
        edition=message.edition,
        condition=message.condition,
        class_names=tuple(message.class_names),
        size=(message.width, message.height),
        sizes=tuple((each.width, each.height) for each in message.sizes),
        channels=message.channels,
        num_experts=message.num_experts,
        strategies=tuple(message.strategies),
        solvers=tuple(message.solvers),
        solver=message.solver,
        steps=message.steps,
        guidance=message.guidance,
        strategy=message.strategy,
        max_images=message.max_images,
        max_steps=message.max_steps,
        max_guidance=message.max_guidance,
        max_queue=message.max_queue,
        checkpoints=dict(message.checkpoints),
    )


def decode_event(message: wire.JobEvent) -> ImageEvent | None:
    """What has happened; None for what is of no use here: the end of a job that is done.

    Raises:
        NotDrawn: the job failed, or was cancelled.
    """
    match message.WhichOneof("event"):
        case "accepted":
            it = message.accepted
            return Accepted(it.job, it.ahead, it.num)
        case "progress":
            now = message.progress
            weights = tuple(tuple(each.experts) for each in now.weights)
            return Progress(now.index, now.step, now.steps, weights, tuple(now.without))
        case "preview":
            return Preview(message.preview.index, message.preview.step, message.preview.png)
        case "image":
            image = message.image
            return Generated(image.index, image.png, json.loads(image.recipe))
        case "ended" if message.ended.outcome != wire.OUTCOME_DONE:
            raise NotDrawn(f"the request failed: {message.ended.reason}")
    return None  # also what a newer service tells
