"""Continuous batching at the level of solver steps: requests join and leave at any of them."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from atoll.clock import Clock
from experts.flow import VelocityField
from serving.engine.ahead import Ahead
from serving.engine.attempts import Attempts, failed
from serving.engine.awaited import Awaited
from serving.engine.deferred import Deferred
from serving.engine.events import Failed, Preview, Progress
from serving.engine.hearing import Hearing
from serving.engine.model import Model
from serving.engine.queue import Image, Listener, Queue
from serving.engine.request import Request
from serving.engine.reuse import Reuse
from serving.engine.routes import Routes
from serving.engine.schedule import Waiting, choose
from serving.engine.shortage import BatchRows
from serving.engine.slots import Slots
from serving.engine.thrift import THRIFTLESS, Thrift
from serving.engine.tick import Tick, Watch, nobody

_numbers = itertools.count()
_MISSED = "missed"  # among what is kept of an image that leaves its slot
_NOT_FINITE = "its numbers are finite no more; lower its guidance"


@dataclass(slots=True)
class _Counted:
    """In one tick, see :class:`serving.engine.tick.Tick`."""

    rows: list[int]
    missed: list[int]
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
        most_steps: int = 1,
        thrift: Thrift = THRIFTLESS,
        watch: Watch = nobody,
    ) -> None:
        """Draw nothing yet.

        Args:
            model: what is drawn from.
            clock: for urgency.
            bell: is rung when there is something to tick for.
            num_slots: images in progress, at most.
            most_rows: of one batch, at least 2; a guided image takes two.
            most_steps: that an expert elsewhere makes of an image in one go.
            thrift: what is reused between evaluations.
            watch: is told of every tick, in the thread that ticks.
        """
        self._model, self._clock, self._bell, self._watch = model, clock, bell, watch
        self._number = next(_numbers)
        self._queue = Queue(num_slots, clock)
        self._rows = BatchRows(most_rows, clock)
        self._images = Slots.empty(num_slots, model.shapes, model.conditioning, model.device)
        self._routes = Routes.empty(num_slots, model.experts.num, thrift.routes, model.device)
        self._hearing = Hearing.empty(
            num_slots, model.experts.num, self._images.num_values, model.device
        )
        self._missed = torch.zeros(
            num_slots, model.experts.num, dtype=torch.bool, device=model.device
        )  # experts, in the present step of each
        self._ahead = Ahead(num_slots, most_steps, thrift)
        self._awaited = Awaited(self._ahead, self._hearing, bell.set)
        self._reuse = Reuse(num_slots, thrift, model.device)
        self._attempts = Attempts(self._queue, self._rows, self._forget, self._spare)
        self._skipped = [0] * num_slots  # see Waiting
        self._counted = _counted_of(model.experts.num)

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

    @property
    def num_unused(self) -> int:
        """Rows that experts elsewhere evaluated in vain: the router sent their images to others."""
        return self._ahead.unused.total()

    @torch.inference_mode()
    def tick(self) -> bool:
        """Route all images that wait, and evaluate some of them.

        Returns:
            Whether any was evaluated.
        """
        began_at, experts = self._clock.monotonic(), self._model.experts
        unused = self._ahead.unused.copy()
        self._counted = _counted_of(experts.num)
        self._queue.update()
        seated = self._fill_slots()
        # What was asked before is of images that were there then.
        self._awaited.withdraw(self._queue.active.keys() - seated)
        self._ahead.keep_only(self._queue.active)
        self._take_answers()
        for part in self._unrouted():
            if not self._attempts.attempt(self._route, part):
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
                missed=tuple(self._counted.missed),
                unused=tuple(self._ahead.unused[k] - unused[k] for k in range(experts.num)),
            )
        )
        return bool(choice.slots)

    def _fill_slots(self) -> set[int]:
        """Seat who is due; returns their slots."""
        seated = set()
        for slot, image, last in self._queue.seated():
            if last:
                self._give_way(slot, last)
            try:
                self._begin(slot, image)
            except Exception as error:  # what is wrong with it is wrong with it alone
                self._queue.end(image.entry, failed(error))
            self._forget(self._tensor([slot]))
            self._skipped[slot] = 0
            seated.add(slot)
        return seated

    def _give_way(self, slot: int, last: Image) -> None:
        try:
            last.kept = {**self._images.keep(slot), _MISSED: self._missed[slot].clone()}
        except Exception as error:  # there may be no memory to keep it in
            self._queue.end(last.entry, failed(error))

    def _begin(self, slot: int, image: Image) -> None:
        self._missed[slot] = False
        self._ahead.begin(slot)
        if image.kept:
            self._images.go_on(slot, image.kept)
            self._missed[slot] = image.kept[_MISSED]
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
        at = self._tensor(left)
        routed = self._routes.route(
            self._images, at, selections, model.gate, model.conditioning, self._without(left)
        )
        self._missed[at] |= routed.missed
        self._hearing.expect(at, routed.weights)
        self._counted.num_gated += routed.num_gated
        for slot in at[self._hearing.finished(at)].tolist():  # nobody has a weight
            self._end(slot, Failed(_NOT_FINITE))
        if heard := self._ahead.hear(self._hearing, at):
            for expert, num_rows in heard.items():
                self._counted.rows[expert] += num_rows
            self._advance(at)
            self._bell.set()  # they are at their next points, and are to be routed there

    def _without(self, slots: Sequence[int]) -> Tensor:
        """Experts that images are to do without, (B, K) bool."""
        experts, active = self._model.experts, self._queue.active
        without = torch.zeros(len(slots), experts.num, dtype=torch.bool)
        lost = sorted(experts.lost)
        if 0 < len(lost) < experts.num:
            exact = torch.tensor([active[slot].entry.request.exact for slot in slots])
            without[:, lost] = ~exact[:, None]
        return without.to(self._model.device)

    def _servable(self) -> list[Waiting]:
        """Images that wait for experts; who waits in vain is routed anew, to others, or ended."""
        waiting, lost = self._waiting(), frozenset(self._model.experts.lost)
        for each in waiting:
            image = self._queue.active.get(each.slot)
            if image is None or not each.experts & lost:
                continue  # its request may have just ended with another of its images
            if image.entry.request.exact or len(lost) == self._model.experts.num:
                number = min(each.experts & lost)
                reason = f"expert {number} cannot be had; the service's log says why"
                self._queue.end(image.entry, Failed(reason, is_without=True))
            else:
                self._forget(self._tensor([each.slot]))
                self._bell.set()
        known = self._routes.known
        return [each for each in waiting if each.slot in self._queue.active and known[each.slot]]

    def _waiting(self) -> list[Waiting]:
        active = self._queue.active
        slots = sorted(active)
        at = self._tensor(slots)
        known = self._routes.known[at].tolist()
        awaited = self._hearing.awaited(at).any(dim=1).tolist()
        return [
            Waiting(
                slot,
                active[slot].due_at,
                frozenset(expert for expert, is_awaited in enumerate(awaited[row]) if is_awaited),
                1 if active[slot].entry.request.sampling.guidance == 1 else 2,
                self._skipped[slot],
            )
            for row, slot in enumerate(slots)
            if known[row] and any(awaited[row])
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
            if not self._attempts.attempt(lambda its: self._evaluate(its, resident), part):
                break  # the others are too many, and their experts may be gone
        return served

    def _evaluate(self, slots: Tensor, resident: Mapping[int, VelocityField]) -> None:
        self._route(slots[~self._routes.known[slots]])  # some are, after a batch that raised
        conditioning = self._model.conditioning
        for question in self._hearing.questions(self._images, slots, resident, conditioning):
            self._counted.rows[question.expert] += len(question.slot)
            field = resident[question.expert]
            if isinstance(field, Deferred):
                self._awaited.ask(question, field, self._images)
            else:
                self._hearing.take(question, self._reuse.velocity(field, question))
        self._advance(slots)

    def _take_answers(self) -> None:
        """Hear the experts elsewhere that have answered since the last tick."""
        if self._awaited.hear(lambda slot, error: self._end(slot, failed(error))):
            self._attempts.attempt(self._advance, self._tensor(sorted(self._queue.active)))

    def _advance(self, slots: Tensor) -> None:
        """Move those on that have heard all their experts."""
        heard = slots[self._routes.known[slots] & self._hearing.finished(slots)]
        if len(heard) == 0:
            return
        self._routes.move(heard)
        weights = self._hearing.weights[heard, 0].tolist()
        missed = self._missed[heard].tolist()
        velocity = self._hearing.velocity(self._images, heard)
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
                self._missed[slot] = False
                without = tuple(expert for expert, is_missed in enumerate(missed[row]) if is_missed)
                for expert in without:
                    self._counted.missed[expert] += 1
                progress = Progress(
                    image.position,
                    steps[row],
                    image.entry.request.sampling.steps,
                    tuple(weights[row]),
                    without,
                )
                try:
                    self._tell_step(slot, image, progress)
                except Exception as error:  # it has made its step and cannot be drawn anew
                    self._queue.end(image.entry, failed(error))

    def _end(self, slot: int, last: Failed) -> None:
        image = self._queue.active.get(slot)
        if image:  # else its request has just ended with another of its images
            self._queue.end(image.entry, last)

    def _forget(self, slots: Tensor) -> None:
        """Have images routed anew; until then they wait for nobody."""
        self._ahead.forget(slots)
        self._reuse.forget(slots)
        self._routes.forget(slots)
        self._hearing.forget(slots)

    def _spare(self, slots: Tensor) -> None:
        needed = self._hearing.unheard[slots].any(dim=0).any(dim=0).nonzero().squeeze(1)
        self._model.experts.spare(needed.tolist())

    def _tell_step(self, slot: int, image: Image, progress: Progress) -> None:
        entry, request, slots = image.entry, image.entry.request, self._tensor([slot])
        self._queue.tell(entry, progress)
        if progress.step == progress.steps:
            self._queue.finish(slot, self._images.painted(slots)[0].to("cpu", copy=True))
        elif request.preview_every and progress.step % request.preview_every == 0:
            estimate = self._images.estimate(slots)[0].to("cpu", copy=True)
            self._queue.tell(entry, Preview(image.position, progress.step, estimate))

    def _tensor(self, slots: Sequence[int]) -> Tensor:
        return torch.tensor(slots, dtype=torch.int64, device=self._model.device)


def _counted_of(num_experts: int) -> _Counted:
    return _Counted([0] * num_experts, [0] * num_experts)
