"""An accepted order, and how far it is. Readers see where it stands, however seldom they look."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from atoll.clock import Clock
from experts.decoding import Decoder, decode_pixels
from router.recipe import Recipe
from serving.engine.events import Done, Event, Failed, Painted, Preview, Progress
from serving.engine.schedule import due_at

_GIVEN_UP = "the service ended before it was done; ask again"
State = Literal["queued", "running", "done", "failed", "cancelled"]
Stop = Literal["cancelled", "given up"]
Pixels = NDArray[np.uint8]

_log = logging.getLogger(__name__)
_WEIGHT_BYTES = 32  # a float of Python's, and its place in a tuple
_RECIPE_BYTES = 2048  # about, with all that is small


@dataclass(frozen=True, slots=True, eq=False)
class ImageView:
    """One image of a job.

    Attributes:
        recipe: that it is drawn by.
        step: how many are done.
        weights: of each expert in each of those steps, K numbers that sum to 1.
        preview: what it would become from here, (H, W, C); None before the first, and once the
            image is there.
        preview_step: the step of that preview.
        image: (H, W, C); None while it is not there.
    """

    recipe: Recipe
    step: int = 0
    weights: tuple[tuple[float, ...], ...] = ()
    preview: Pixels | None = None
    preview_step: int = 0
    image: Pixels | None = None

    @property
    def num_bytes(self) -> int:
        """That it takes in memory, about, but for its condition, which others may have, too."""
        pixels = sum(each.nbytes for each in (self.image, self.preview) if each is not None)
        return pixels + _WEIGHT_BYTES * sum(map(len, self.weights)) + _RECIPE_BYTES


@dataclass(frozen=True, slots=True, eq=False)
class JobView:
    """Where a job stands.

    Attributes:
        name: of the job.
        version: grows with every change.
        state: ends as ``done``, ``failed`` or ``cancelled``.
        reason: why it failed; "" if it did not.
        is_late: whether it failed because its deadline went by.
        is_without: whether it failed because an expert could not be had.
        is_given_up: whether it failed because the service ended before.
        images: in the order that was asked for.
        created_at: in seconds since the Unix epoch.
        queued_s: from then to its first step, or until now.
        seconds: from then to its end, or until now.
    """

    name: str
    version: int
    state: State
    reason: str
    is_late: bool
    is_without: bool
    is_given_up: bool
    images: tuple[ImageView, ...]
    created_at: float
    queued_s: float
    seconds: float

    @property
    def is_over(self) -> bool:
        """Whether nothing follows."""
        return self.state in {"done", "failed", "cancelled"}


@dataclass(slots=True, eq=False)
class Job:
    """Told by the engine what happens to it; asked by any thread where it stands.

    A slow reader costs no memory: it misses what lies between two looks.

    Attributes:
        name: unique among all jobs.
        owner: who asked for it.
        recipes: of its images.
        clock: for its times.
        patience_s: after which its first image is due, see :mod:`serving.engine.schedule`.
        decode: makes images of what the engine has painted.
    """

    name: str
    owner: str
    recipes: tuple[Recipe, ...]
    clock: Clock
    patience_s: float
    decode: Decoder = decode_pixels
    _images: list[ImageView] = field(init=False)
    _state: State = field(init=False, default="queued")
    _reason: str = field(init=False, default="")
    _version: int = field(init=False, default=0)
    _created_at: float = field(init=False)
    _asked_at: float = field(init=False)
    _begun_at: float | None = field(init=False, default=None)
    _ended_at: float | None = field(init=False, default=None)
    _changed: threading.Condition = field(init=False, default_factory=threading.Condition)
    _watchers: list[Callable[[], None]] = field(init=False, default_factory=list)
    _stop: Stop | None = field(init=False, default=None)
    _is_late: bool = field(init=False, default=False)
    _is_without: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        self._images = [ImageView(recipe) for recipe in self.recipes]
        self._created_at, self._asked_at = self.clock.wall(), self.clock.monotonic()

    def hear(self, event: Event) -> None:
        """Take in what the engine tells; watchers are not told yet."""
        picture = self._pictured(event)
        with self._changed:
            match event:
                case Progress(position, step, _, weights, without):
                    image = self._images[position]
                    known = (*image.weights, weights)
                    recipe = image.recipe.missing(without)
                    self._images[position] = replace(image, recipe=recipe, step=step, weights=known)
                    self._begin()
                case Preview(position, step):
                    self._images[position] = replace(
                        self._images[position], preview=picture, preview_step=step
                    )
                case Painted(position):
                    self._images[position] = replace(
                        self._images[position], image=picture, preview=None
                    )
                case Done():
                    self._end("done")
                case Failed(reason, is_fault, is_without):
                    self._is_without = is_without
                    self._reason = _GIVEN_UP if self._stop == "given up" else reason
                    self._is_late = not is_fault and self._stop is None
                    self._end("cancelled" if self._stop == "cancelled" else "failed")
            self._version += 1
            self._changed.notify_all()

    def tell(self) -> None:
        """Call who watches."""
        with self._changed:
            watchers = list(self._watchers)
        for watcher in watchers:
            try:
                watcher()
            except Exception:  # whatever it is, the job goes on
                _log.exception("a watcher raised", extra={"fields": {"job": self.name}})

    def mark_stopped(self, stop: Stop) -> None:
        """Its end, if it comes before it is done, is because of that."""
        with self._changed:
            self._stop = self._stop or stop

    def watch(self, watcher: Callable[[], None]) -> Callable[[], None]:
        """Have a function called after every change, in the thread that made it: it must not block.

        Returns:
            What ends that.
        """
        with self._changed:
            self._watchers.append(watcher)

        def end() -> None:
            with self._changed:
                self._watchers.remove(watcher)

        return end

    def wait(self, version: int, seconds: float) -> JobView:
        """Where it stands once that is newer than a version, or it is over, or after so long."""
        with self._changed:
            self._changed.wait_for(lambda: self._version > version or self._ended_at, seconds)
            return self.view()

    def view(self) -> JobView:
        """Where it stands."""
        with self._changed:
            now = self.clock.monotonic()
            ended_at = now if self._ended_at is None else self._ended_at
            begun_at = ended_at if self._begun_at is None else self._begun_at
            return JobView(
                name=self.name,
                version=self._version,
                state=self._state,
                reason=self._reason,
                is_late=self._is_late,
                is_without=self._is_without,
                is_given_up=self._state == "failed" and self._stop == "given up",
                images=tuple(self._images),
                created_at=self._created_at,
                queued_s=begun_at - self._asked_at,
                seconds=ended_at - self._asked_at,
            )

    @property
    def is_queued(self) -> bool:
        """Whether nothing of it is drawn yet."""
        with self._changed:
            return self._state == "queued"

    @property
    def is_stopped(self) -> bool:
        """Whether nobody waits for the rest of it."""
        with self._changed:
            return self._stop is not None

    @property
    def due(self) -> list[float]:
        """When each of its images is due that is still to be drawn, the first of them first."""
        with self._changed:
            if self._ended_at is not None:
                return []
            return [
                due_at(self._asked_at, self.patience_s, position)
                for position, image in enumerate(self._images)
                if image.image is None
            ]

    @property
    def num_bytes(self) -> int:
        """That its images take in memory, about."""
        conditions = {recipe.condition for recipe in self.recipes}  # a prompt may be the most of it
        with self._changed:
            images = sum(image.num_bytes for image in self._images)
        return images + sum(map(sys.getsizeof, conditions))

    @property
    def ended_at(self) -> float | None:
        """On the monotonic clock; None before its end."""
        with self._changed:
            return self._ended_at

    def _begin(self) -> None:
        if self._begun_at is None:
            self._begun_at = self.clock.monotonic()
            self._state = "running"

    def _end(self, state: State) -> None:
        self._state, self._ended_at = state, self.clock.monotonic()

    def _pictured(self, event: Event) -> Pixels | None:
        """(H, W, C) uint8 of what an event shows, if it does; before anybody has to wait for it."""
        if not isinstance(event, Preview | Painted):
            return None
        pixels: Pixels = self.decode(event.image[None])[0]
        return pixels
