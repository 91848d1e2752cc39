"""What can be asked of an ensemble, and within which limits."""

from __future__ import annotations

import math
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from atoll.errors import BadInput
from atoll.flops import Shape
from atoll.image_size import Size, size_name
from atoll.sections import SamplingSection
from atoll.serving_section import ServingSection
from experts.condition import Conditioning
from experts.decoding import Decoder, decode_pixels
from partition.text import TextEncoder
from router.asking import asked_for
from router.recipe import Recipe
from router.selection import Selection, parse_strategy
from serving.engine.request import Request, Sampling
from serving.engine.tableau import TABLEAUX
from serving.engine.thrift import Thrift
from serving.service.order import Order, Unusable

MOST_GUIDANCE = 100.0
MOST_PREVIEWS = 1000  # whatever the steps are: there is never more than one a step
_MOST_SEED = 2**63 - 1
_PATIENCE = {"high": 0.1, "normal": 1.0, "low": 10.0}


@dataclass(frozen=True, slots=True)
class Planned:
    """An order that can be had.

    Attributes:
        request: for the engine.
        recipes: of each image, as its PNG will carry it.
    """

    request: Request
    recipes: tuple[Recipe, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Menu:
    """What one generation of checkpoints can draw.

    Attributes:
        conditioning: what it is to be told.
        class_names: of the data.
        encoder: of prompts; None where it is told none.
        num_experts: K.
        shape: channels, height and width of an image in pixels, unless another size is asked for.
        sizes: that can be asked for, this one first, and the shape of what is painted for each.
        defaults: what an order leaves open.
        limits: of one order.
        checkpoints: digests by name of the job, for recipes.
        decode: makes images of what is painted.
    """

    conditioning: Conditioning
    class_names: tuple[str, ...]
    encoder: TextEncoder | None
    num_experts: int
    shape: Shape
    sizes: Mapping[Size, Shape]
    defaults: SamplingSection
    limits: ServingSection
    checkpoints: Mapping[str, str]
    decode: Decoder = decode_pixels

    @property
    def size(self) -> Size:
        """Of an image, unless another is asked for."""
        _, height, width = self.shape
        return width, height

    @property
    def thrift(self) -> Thrift:
        """What is reused between the steps of an image."""
        limits = self.limits
        change = math.inf if limits.reuse_change is None else limits.reuse_change
        return Thrift(limits.reuse_blocks, change, limits.reuse_routes, limits.experts_displaced)

    @property
    def most_images(self) -> int:
        """Of one order: no more than there is ever room for."""
        return min(self.limits.max_images, self.limits.max_queue_of_one)

    @property
    def most_steps(self) -> int:
        """Of one image; the run's own number of them is served in any case."""
        return max(self.limits.max_steps, self.defaults.steps)

    def planned(self, order: Order, name: str) -> Planned:
        """What an order comes to.

        Args:
            order: in a user's words.
            name: for the request, unique.

        Raises:
            Unusable: it cannot be had; names the field, and what can.
        """
        size = self._size(order)
        self._refuse_beyond(order)
        sampling = self._sampling(order)
        with _about("wanted"):
            cond, words = asked_for(
                self.conditioning, self.class_names, self.encoder, order.wanted, order.num
            )
        first = secrets.randbelow(2**32) if order.seed is None else order.seed
        seeds = range(first, first + order.num)
        recipes = tuple(
            Recipe(
                seed=seed,
                condition=word,
                solver=sampling.solver,
                steps=sampling.steps,
                guidance=sampling.guidance,
                strategy=order.strategy or self.defaults.strategy,
                gate=self.defaults.gate,
                checkpoints=dict(self.checkpoints),
                ema_length=self.defaults.ema_length,
                size=None if size == self.size else size_name(size),
                reused=self.thrift.told,
            )
            for seed, word in zip(seeds, words, strict=True)
        )
        request = Request(
            name=name,
            seeds=seeds,
            cond=cond,
            sampling=sampling,
            patience_s=self.limits.patience_s * _PATIENCE[order.priority],
            deadline_s=math.inf if order.deadline_s is None else order.deadline_s,
            preview_every=-(-sampling.steps // (order.previews + 1)) if order.previews else 0,
            exact=order.exact,
            shape=self.sizes[size],
        )
        return Planned(request, recipes)

    def _size(self, order: Order) -> Size:
        size = order.size or self.size
        if size not in self.sizes:
            *others, last = map(size_name, self.sizes)
            known = f"{', '.join(others)} or {last}" if others else last
            raise Unusable(
                f"size {size_name(size)} is not this model's; leave it out, or give {known}", "size"
            )
        return size

    def _refuse_beyond(self, order: Order) -> None:
        _within("n", order.num, 1, self.most_images)
        _within("previews", order.previews, 0, MOST_PREVIEWS)
        if order.seed is not None:
            _within("seed", order.seed, 0, _MOST_SEED - self.limits.max_images)
        if order.deadline_s is not None and not order.deadline_s > 0:  # nor is NaN
            raise Unusable(
                f"deadline_s = {order.deadline_s:g} leaves no time; give more than 0", "deadline_s"
            )

    def _sampling(self, order: Order) -> Sampling:
        solver = order.solver or self.defaults.solver
        if solver not in TABLEAUX:
            raise Unusable(
                f"solver {solver!r} is not served; there are {', '.join(TABLEAUX)}", "solver"
            )
        steps = self.defaults.steps if order.steps is None else order.steps
        _within("steps", steps, 1, self.most_steps)
        is_free = self.conditioning.kind == "none"
        guidance = order.guidance
        if guidance is None:
            guidance = 1.0 if is_free else self.defaults.guidance
        _within("guidance", guidance, 0, MOST_GUIDANCE)
        if is_free and guidance != 1:
            raise Unusable(
                "guidance needs a condition, and this model has none; leave it out", "guidance"
            )
        return Sampling(solver, steps, guidance, self._selection(order))

    def _selection(self, order: Order) -> Selection:
        with _about("strategy"):
            selection = parse_strategy(order.strategy or self.defaults.strategy)
        if selection.name == "top" and selection.parameter > self.num_experts:
            raise Unusable(
                f"strategy top-{selection.parameter:g} needs more experts than there are; "
                f"give at most top-{self.num_experts}",
                "strategy",
            )
        return selection


@contextmanager
def _about(field: str) -> Iterator[None]:
    try:
        yield
    except BadInput as error:
        raise Unusable(str(error), field) from error


def _within(field: str, value: float, least: float, most: float) -> None:
    """Refuse what lies outside; NaN does."""
    if not least <= value <= most:
        told, low, high = (
            f"{it:g}" if isinstance(it, float) else str(it) for it in (value, least, most)
        )
        raise Unusable(f"{field} = {told} is out of range; give {low} to {high}", field)
