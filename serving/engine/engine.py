"""Continuous batching at the level of solver steps: requests join and leave at any of them."""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from atoll.clock import Clock
from experts.flow import VelocityField
from serving.engine.events import Failed, Preview, Progress
from serving.engine.model import Model
from serving.engine.queue import Entry, Image, Listener, Queue
from serving.engine.request import Request
from serving.engine.routes import Routes
from serving.engine.schedule import Waiting, choose
from serving.engine.shortage import BatchRows, is_shortage
from serving.engine.slots import Slots
from serving.engine.tick import Tick, Watch, nobody

_log = logging.getLogger(__name__)

_numbers = itertools.count()
_NOT_FINITE = "its numbers are finite no more; lower its guidance"


@dataclass(slots=True)
class _Counted:
    """In one tick, see :class:`serving.engine.tick.Tick`."""

    rows: list[int]
    num_gated: int = 0
    num_stepped: int = 0


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
        in_order: bool = False,
    ) -> None:
        """Draw nothing yet.

        Args:
            model: what is drawn from.
            clock: for urgency.
            bell: is rung when there is something to tick for.
            num_slots: images in progress, at most.
            most_rows: of one batch, at least 2; a guided image takes two.
            watch: is told of every tick, in the thread that ticks.
            in_order: see :class:`serving.engine.routes.Routes`.
        """
        self._model, self._clock, self._bell, self._watch = model, clock, bell, watch
        self._number = next(_numbers)
        self._queue = Queue(num_slots, clock)
        self._rows = BatchRows(most_rows, clock)
        self._images = Slots.empty(num_slots, model.shapes, model.conditioning, model.device)
        self._routes = Routes.empty(
            num_slots,
            model.experts.num,
            self._images.num_values,
            model.device,
            in_order=in_order,
        )
        self._skipped = [0] * num_slots  # see Waiting
        self._counted = _Counted([0] * model.experts.num)

    def submit(self, request: Request, listener: Listener) -> None:
        """Ask for images.

        Args:
            request: for which.
            listener: is told what becomes of it, in the thread that ticks.
        """
        self._queue.submit(request, listener)
        self._bell.set()

    def cancel(self, name: str) -> None:
        """Draw the images of a request no further; nothing happens if it is over."""
        self._queue.cancel(name)
        self._bell.set()

    def fail_all(self, reason: str) -> None:
        """End every request, for a reason in words; to be called by the thread that ticks."""
        self._queue.end_all(reason)

    @property
    def num_images(self) -> int:
        """Asked for and not finished; to be read by the thread that ticks."""
        return self._queue.num_images

    @torch.inference_mode()
    def tick(self) -> bool:
        """Route all images that wait, and evaluate some of them.

        Returns:
            Whether any was evaluated.
        """
        began_at, experts = self._clock.monotonic(), self._model.experts
        self._counted = _Counted([0] * experts.num)
        self._queue.update()
        self._fill_slots()
        for part in self._unrouted():
            if not self._attempt(self._route, part):
                break
        resident = experts.resident
        choice = choose(self._servable(), resident.keys(), self._rows.most)
        self._note_skipped(self._serve(choice.slots, resident), choice.skipped)
        experts.tell(choice.experts, choice.wanted, choice.later, self._soon(resident))
        self._watch(
            Tick(
                engine=self._number,
                seconds=self._clock.monotonic() - began_at,
                rows=tuple(self._counted.rows),
                num_gated=self._counted.num_gated,
                num_stepped=self._counted.num_stepped,
                num_drawn=len(self._queue.active),
                num_queued=self._queue.num_waiting,
            )
        )
        return bool(choice.slots)

    def _fill_slots(self) -> None:
        for slot, image, last in self._queue.seated():
            if last:
                self._give_way(slot, last)
            try:
                self._begin(slot, image)
            except Exception as error:  # what is wrong with it is wrong with it alone
                self._fail(image.entry, error)
            self._routes.forget(self._tensor([slot]))
            self._skipped[slot] = 0

    def _give_way(self, slot: int, last: Image) -> None:
        try:
            last.kept = self._images.keep(slot)
        except Exception as error:  # there may be no memory to keep it in
            self._fail(last.entry, error)

    def _begin(self, slot: int, image: Image) -> None:
        if image.kept:
            self._images.go_on(slot, image.kept)
            image.kept = None
        else:
            self._images.fill(slot, image.entry.request, image.position)

    def _unrouted(self) -> tuple[Tensor, ...]:
        """All images to be routed, those of one shape at once where there is memory for it."""
        active = self._tensor(sorted(self._queue.active))
        slots = active[~self._routes.known[active]]
        if len(slots) == 0:
            return ()
        batches = self._images.by_shape(slots)
        if not self._rows.is_short:
            return batches
        return tuple(part for each in batches for part in torch.split(each, self._rows.most))

    def _route(self, slots: Tensor) -> None:
        active, model = self._queue.active, self._model
        # A request may have just ended with another of its images.
        left = [slot for slot in slots.tolist() if slot in active]
        if not left:
            return
        selections = [active[slot].entry.request.sampling.selection for slot in left]
        self._counted.num_gated += self._routes.route(
            self._images, self._tensor(left), selections, model.gate, model.conditioning
        )

    def _servable(self) -> list[Waiting]:
        """Images that wait for experts; those who wait in vain are ended."""
        waiting, lost = self._waiting(), frozenset(self._model.experts.lost)
        for each in waiting:
            image = self._queue.active.get(each.slot)
            if image is None:  # its request has just ended with another of its images
                continue
            if not each.experts:
                self._queue.end(image.entry, Failed(_NOT_FINITE))
            for expert in each.experts & lost:
                reason = f"expert {expert} cannot be had; the service's log says why"
                self._queue.end(image.entry, Failed(reason))
        return [each for each in waiting if each.slot in self._queue.active]

    def _waiting(self) -> list[Waiting]:
        active = self._queue.active
        slots = sorted(active)
        at = self._tensor(slots)
        known = self._routes.known[at].tolist()
        unheard = self._routes.awaited(at).any(dim=1).tolist()
        return [
            Waiting(
                slot,
                active[slot].due_at,
                frozenset(expert for expert, is_unheard in enumerate(unheard[row]) if is_unheard),
                1 if active[slot].entry.request.sampling.guidance == 1 else 2,
                self._skipped[slot],
            )
            for row, slot in enumerate(slots)
            if known[row]
        ]

    def _note_skipped(self, served: Sequence[int], skipped: Sequence[int]) -> None:
        for slot in served:
            self._skipped[slot] = 0
        for slot in skipped:
            self._skipped[slot] += 1

    def _soon(self, resident: Mapping[int, VelocityField]) -> tuple[int, ...]:
        if len(resident) == self._model.experts.num:
            return ()
        return self._routes.soon(self._tensor(sorted(self._queue.active)))

    def _serve(self, slots: Sequence[int], resident: Mapping[int, VelocityField]) -> list[int]:
        """Evaluate images of a batch, shape by shape; tells of which it was tried."""
        served: list[int] = []
        if not slots:
            return served
        for part in self._images.by_shape(self._tensor(slots)):
            served += part.tolist()
            if not self._attempt(lambda its: self._evaluate(its, resident), part):
                break  # the others are too many, and their experts may be gone
        return served

    def _evaluate(self, slots: Tensor, resident: Mapping[int, VelocityField]) -> None:
        self._route(slots[~self._routes.known[slots]])  # some are, after a batch that raised
        conditioning = self._model.conditioning
        rows = self._routes.hear(self._images, slots, resident, conditioning)
        self._counted.rows = [sum(both) for both in zip(self._counted.rows, rows, strict=True)]
        heard = slots[self._routes.finished(slots)]
        if len(heard) == 0:
            return
        weights = self._routes.weights[heard, 0].tolist()
        velocity = self._routes.velocity(self._images, heard)
        sound = velocity.flatten(1).isfinite().all(1).tolist()
        stepped = self._images.advance(heard, velocity).tolist()
        steps = self._images.step[heard].tolist()
        for row, slot in enumerate(heard.tolist()):
            image = self._queue.active.get(slot)
            if image is None:  # its request has just ended with another of its images
                continue
            if not sound[row]:
                self._queue.end(image.entry, Failed(_NOT_FINITE))
            elif stepped[row]:
                self._counted.num_stepped += 1
                try:
                    self._tell_step(slot, image, steps[row], tuple(weights[row]))
                except Exception as error:  # it has made its step and cannot be drawn anew
                    self._fail(image.entry, error)

    def _tell_step(self, slot: int, image: Image, step: int, weights: tuple[float, ...]) -> None:
        entry, request = image.entry, image.entry.request
        steps, slots = request.sampling.steps, self._tensor([slot])
        self._queue.tell(entry, Progress(image.position, step, steps, weights))
        if step == steps:
            self._queue.finish(slot, self._images.painted(slots)[0].to("cpu", copy=True))
        elif request.preview_every and step % request.preview_every == 0:
            estimate = self._images.estimate(slots)[0].to("cpu", copy=True)
            self._queue.tell(entry, Preview(image.position, step, estimate))

    def _attempt(self, work: Callable[[Tensor], None], slots: Tensor) -> bool:
        """Do something for images; if it raises, for each request alone, and fail the guilty.

        Returns:
            False where batches are smaller from now on: what is left waits for the next tick.
        """
        error = self._raised(work, slots)
        if error is None:
            return True
        if is_shortage(error) and self._rows.halve():
            return False
        by_request: dict[Entry, list[int]] = {}
        for slot in slots.tolist():
            if slot in self._queue.active:
                by_request.setdefault(self._queue.active[slot].entry, []).append(slot)
        for entry, its in by_request.items():
            if len(by_request) == 1:
                self._fail(entry, error)
            elif not self._attempt(work, self._tensor(its)):
                return False
        return True

    def _raised(self, work: Callable[[Tensor], None], slots: Tensor) -> Exception | None:
        try:
            work(slots)
        except Exception as error:  # whatever a network or a driver raises
            _log.warning("a batch raised", exc_info=not is_shortage(error))
            if is_shortage(error):
                needed = self._routes.unheard[slots].any(dim=0).any(dim=0).nonzero().squeeze(1)
                self._model.experts.spare(needed.tolist())
            self._routes.forget(slots)
            return error.with_traceback(None)  # which would keep the batch in memory
        return None

    def _fail(self, entry: Entry, error: Exception) -> None:
        if is_shortage(error):
            reason = "memory ran out although it was drawn alone; ask again once there is more"
        else:
            first_line = str(error).partition("\n")[0]
            reason = f"drawing it raised {type(error).__name__}: {first_line}"
        self._queue.end(entry, Failed(reason))

    def _tensor(self, slots: Sequence[int]) -> Tensor:
        return torch.tensor(slots, dtype=torch.int64, device=self._model.device)
