"""Continuous batching at the level of solver steps: requests join and leave at any of them."""

from __future__ import annotations

import heapq
import threading
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from atoll.clock import Clock
from experts.condition import Conditioning
from experts.dit import Shape
from experts.flow import VelocityField
from router.gate import Gate
from serving.events import Done, Event, Failed, Painted, Preview, Progress
from serving.request import Request
from serving.routes import Routes
from serving.schedule import Waiting, choose, due_at
from serving.slots import Slots
from serving.tick import Tick, Watch, nobody

Listener = Callable[[Event], None]

_CANCELLED = "it was cancelled"


class Experts(Protocol):
    """K experts, of which some may be in memory."""

    @property
    def num(self) -> int:
        """K."""
        ...

    @property
    def resident(self) -> Mapping[int, VelocityField]:
        """Those in memory as of now; whoever has taken this may call them, whatever comes."""
        ...

    @property
    def lost(self) -> Mapping[int, str]:
        """Those that cannot be had, and why."""
        ...

    def tell(self, used: Collection[int], wanted: Sequence[int]) -> None:
        """Say what happens; returns at once.

        Args:
            used: who has just been called.
            wanted: whom images were waiting for, in memory or not, the most urgent first.
        """
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """What the engine draws from.

    Attributes:
        experts: K of them.
        gate: knows them apart.
        conditioning: what all are conditioned on.
        shape: channels, height and width of the images.
        device: where it computes.
    """

    experts: Experts
    gate: Gate
    conditioning: Conditioning
    shape: Shape
    device: torch.device


@dataclass(slots=True, eq=False)
class _Order:
    """A request on its way."""

    request: Request
    listener: Listener
    arrived_at: float
    num_left: int
    is_over: bool = False


@dataclass(order=True, slots=True)
class _Image:
    """An image that waits for a slot, or has one."""

    due_at: float
    number: int
    order: _Order = field(compare=False)
    position: int = field(compare=False)


class Engine:
    """Draws the images of many requests together. One thread ticks; any may submit and cancel."""

    def __init__(
        self,
        model: Model,
        clock: Clock,
        bell: threading.Event,
        *,
        num_slots: int,
        most_rows: int,
        watch: Watch = nobody,
    ) -> None:
        """Draw nothing yet.

        Args:
            model: what is drawn from.
            clock: for urgency.
            bell: is rung when there is something to tick for.
            num_slots: images in progress, at most.
            most_rows: of one batch, at least 2; a guided image takes two.
            watch: is told of every tick, in the thread that ticks.
        """
        self._model, self._clock, self._bell, self._most_rows = model, clock, bell, most_rows
        self._watch = watch
        self._images = Slots.empty(num_slots, model.shape, model.conditioning, model.device)
        self._routes = Routes.empty(num_slots, model.experts.num, model.shape, model.device)
        self._free = deque(range(num_slots))
        self._active: dict[int, _Image] = {}  # by slot
        self._queue: list[_Image] = []  # a heap of those without a slot
        self._orders: dict[str, _Order] = {}
        self._number = 0
        self._guard = threading.Lock()  # of what follows
        self._inbox: deque[_Order] = deque()
        self._cancelled: set[str] = set()

    def submit(self, request: Request, listener: Listener) -> None:
        """Ask for images.

        Args:
            request: for which.
            listener: is told what becomes of it, in the thread that ticks.
        """
        order = _Order(request, listener, self._clock.monotonic(), len(request.seeds))
        with self._guard:
            self._inbox.append(order)
        self._bell.set()

    def cancel(self, name: str) -> None:
        """Draw the images of a request no further; nothing happens if it is over."""
        with self._guard:
            self._cancelled.add(name)
        self._bell.set()

    @property
    def num_images(self) -> int:
        """Asked for and not finished; to be read by the thread that ticks."""
        return sum(order.num_left for order in [*self._orders.values(), *self._inbox])

    @torch.inference_mode()
    def tick(self) -> bool:
        """Route all images that wait, and evaluate some of them.

        Returns:
            Whether any was evaluated.
        """
        began_at = self._clock.monotonic()
        self._take_in()
        self._end_the_late()
        self._fill_slots()
        num_gated = self._route()
        self._end_the_unservable()
        experts = self._model.experts
        resident = experts.resident
        choice = choose(self._waiting(), resident.keys(), self._most_rows)
        rows, num_stepped = (0,) * experts.num, 0
        if choice.slots:
            slots = torch.tensor(choice.slots, device=self._model.device)
            rows, num_stepped = self._evaluate(slots, resident)
        experts.tell(choice.experts, choice.wanted)
        self._watch(
            Tick(
                seconds=self._clock.monotonic() - began_at,
                rows=rows,
                num_gated=num_gated,
                num_stepped=num_stepped,
                num_drawn=len(self._active),
                num_queued=sum(not image.order.is_over for image in self._queue),
            )
        )
        return bool(choice.slots)

    def _take_in(self) -> None:
        with self._guard:
            came, cancelled = list(self._inbox), set(self._cancelled)
            self._inbox.clear()
            self._cancelled.clear()
        for order in came:
            self._orders[order.request.name] = order
            for position in range(len(order.request.seeds)):
                at = due_at(order.arrived_at, order.request.patience_s, position)
                self._number += 1
                heapq.heappush(self._queue, _Image(at, self._number, order, position))
        for name in cancelled & self._orders.keys():
            self._end(self._orders[name], Failed(_CANCELLED))

    def _end_the_late(self) -> None:
        now = self._clock.monotonic()
        for order in list(self._orders.values()):
            if now - order.arrived_at > order.request.deadline_s:
                self._end(order, Failed(f"it was not done in {order.request.deadline_s:g} s"))

    def _fill_slots(self) -> None:
        while self._free and self._queue:
            image = heapq.heappop(self._queue)
            if image.order.is_over:
                continue
            slot = self._free.popleft()
            self._images.fill(slot, image.order.request, image.position)
            self._routes.known[slot] = False
            self._active[slot] = image

    def _route(self) -> int:
        active = torch.tensor(sorted(self._active), dtype=torch.int64, device=self._model.device)
        slots = active[~self._routes.known[active]]
        if len(slots) == 0:
            return 0
        selections = [
            self._active[slot].order.request.sampling.selection for slot in slots.tolist()
        ]
        model = self._model
        return self._routes.route(self._images, slots, selections, model.gate, model.conditioning)

    def _end_the_unservable(self) -> None:
        lost = self._model.experts.lost
        if not lost:
            return
        for each in self._waiting():
            for expert in each.experts & lost.keys():
                reason = f"expert {expert} cannot be had: {lost[expert]}"
                self._end(self._active[each.slot].order, Failed(reason))

    def _waiting(self) -> list[Waiting]:
        slots = sorted(self._active)
        unheard = self._routes.unheard[slots].any(dim=1).cpu()
        guided = (self._images.guidance[slots] != 1).tolist()
        return [
            Waiting(
                slot,
                self._active[slot].due_at,
                frozenset(unheard[row].nonzero().squeeze(1).tolist()),
                2 if guided[row] else 1,
            )
            for row, slot in enumerate(slots)
        ]

    def _evaluate(
        self, slots: Tensor, resident: Mapping[int, VelocityField]
    ) -> tuple[tuple[int, ...], int]:
        """Rows that each expert was given, and images that have made a step."""
        rows = self._routes.hear(self._images, slots, resident, self._model.conditioning)
        heard = slots[self._routes.finished(slots)]
        if len(heard) == 0:
            return rows, 0
        velocity = self._routes.velocity(self._images, heard)
        sound = velocity.flatten(1).isfinite().all(1)
        stepped = self._images.advance(heard, velocity)
        weights = self._routes.weights[heard, 0]
        for row, slot in enumerate(heard.tolist()):
            image = self._active.get(slot)
            if image is None:  # its request has just ended with another of its images
                continue
            if not sound[row]:
                self._end(image.order, Failed("its numbers are finite no more; lower its guidance"))
            elif stepped[row]:
                self._tell_step(slot, image, tuple(weights[row].tolist()))
        return rows, int(stepped.sum())

    def _tell_step(self, slot: int, image: _Image, weights: tuple[float, ...]) -> None:
        order, request = image.order, image.order.request
        step, steps = int(self._images.step[slot]), request.sampling.steps
        order.listener(Progress(image.position, step, steps, weights))
        if step == steps:
            painted = self._images.x[slot].to("cpu", copy=True)
            self._release(slot)
            order.listener(Painted(image.position, painted))
            order.num_left -= 1
            if order.num_left == 0:
                self._end(order, Done())
        elif request.preview_every and step % request.preview_every == 0:
            at = torch.tensor([slot], device=self._model.device)
            estimate = self._images.estimate(at)[0].to("cpu", copy=True)
            order.listener(Preview(image.position, step, estimate))

    def _end(self, order: _Order, last: Done | Failed) -> None:
        if order.is_over:
            return
        order.is_over = True
        del self._orders[order.request.name]
        for slot in [slot for slot, image in self._active.items() if image.order is order]:
            self._release(slot)
        order.listener(last)

    def _release(self, slot: int) -> None:
        del self._active[slot]
        self._free.append(slot)
