"""The ensemble as a service: orders become jobs, within limits; front ends add only their words."""

from __future__ import annotations

import functools
import secrets
import threading
from collections.abc import Callable, Sequence

from atoll.clock import Clock
from atoll.errors import Busy, NotFound
from atoll.serving_section import ServingSection
from serving.engine.engine import Engine
from serving.engine.events import Done, Event, Failed, Painted
from serving.service.edition import Edition
from serving.service.editions import Editions, EditionView
from serving.service.finishing import Finishing
from serving.service.job import Job, Stop
from serving.service.ledger import Ledger
from serving.service.order import Order
from serving.service.pace import Pace
from serving.service.worker import Worker

_UNTIL_STOPPED_S = 1.0


class Service:
    """Any thread may call it."""

    def __init__(
        self, edition: Edition, limits: ServingSection, clock: Clock, bell: threading.Event
    ) -> None:
        """Serve nobody yet.

        Args:
            edition: what is drawn from.
            limits: of the queue, and how long results are kept.
            clock: for both.
            bell: that the edition's engine rings.
        """
        self._limits, self._clock = limits, clock
        self._holder = edition.holder  # which all editions share
        self._worker = Worker(self._engines, bell)
        self._finishing = Finishing(self._hear, self._cancel)
        self._pace = Pace(clock)
        self._watchers: list[Callable[[Job], None]] = []
        self._guard = threading.Lock()  # of what follows
        self._ledger = Ledger(limits.keep_s, limits.keep_mb * 1e6, clock)
        self._drawn_by: dict[str, Edition] = {}  # jobs that are not over
        self._editions = Editions(edition, limits.canary, limits.canary_s, clock)
        self._draining = False

    def start(self) -> None:
        """Begin to draw."""
        self._finishing.start()
        self._worker.start()

    @property
    def edition(self) -> Edition:
        """What new orders are drawn from, but for a canary's share."""
        with self._guard:
            return self._editions.serving

    @property
    def is_ready(self) -> bool:
        """Whether orders are taken."""
        return self.is_healthy and not self._draining

    @property
    def is_healthy(self) -> bool:
        """Whether it draws, and will go on doing so."""
        parts = (self._worker, self._finishing, self._holder)
        return all(part.is_alive for part in parts)

    @property
    def num_waiting(self) -> int:
        """Images that were accepted and are not finished."""
        with self._guard:
            return self._ledger.num_images

    def watch(self, watcher: Callable[[Job], None]) -> None:
        """Have a function called with every job that is accepted, before it begins."""
        self._watchers.append(watcher)

    def room_in_s(self, num: int, owner: str) -> float:
        """About how long it takes until there is room for so many more images of an owner."""
        limits = self._limits
        with self._guard:
            beyond = self._ledger.num_images - limits.max_queue
            of_owner = self._ledger.num_images_of(owner) - limits.max_queue_of_one
        return self._pace.seconds_for(num + max(beyond, of_owner))

    def order(self, order: Order, owner: str) -> Job:
        """Accept an order.

        Args:
            order: what is asked for.
            owner: who asks; nobody else is told of it.

        Raises:
            BadInput: it cannot be had; names the field.
            Busy: too much is asked for already, or the service is about to leave.
        """
        name = secrets.token_urlsafe(12)
        with self._guard:
            self._refuse_beyond_room(1, owner)  # before it costs anything
            edition = self._editions.pick()
        try:
            planned = edition.menu.planned(order, name)
            patience_s = min(planned.request.patience_s, planned.request.deadline_s)
            job = Job(name, owner, planned.recipes, self._clock, patience_s, edition.menu.decode)
            with self._guard:
                self._refuse_beyond_room(len(job.recipes), owner)
                self._ledger.add(job)
                self._drawn_by[name] = edition
        except Exception:
            with self._guard:
                self._editions.put_back(edition)
            raise
        for watcher in self._watchers:
            watcher(job)
        edition.engine.submit(planned.request, functools.partial(self._finishing.take, job))
        if job.is_stopped:  # maybe before the engine knew of it
            edition.engine.cancel(name)
        return job

    def job(self, name: str, owner: str) -> Job:
        """One that was accepted.

        Raises:
            NotFound: there is none of this owner, or no more.
        """
        with self._guard:
            job = self._ledger.find(name)
        if job is None or job.owner != owner:
            raise NotFound(
                f"no job is called {name!r}; results are kept for {self._limits.keep_s:g} s "
                f"(serving.keep_s), or until newer ones take {self._limits.keep_mb:g} MB "
                "(serving.keep_mb)"
            )
        return job

    def cancel(self, name: str, owner: str) -> Job:
        """Draw the images of a job no further; one that is over stays as it is.

        Raises:
            NotFound: there is none of this owner, or no more.
        """
        job = self.job(name, owner)
        self.abandon(job)
        return job

    def abandon(self, job: Job) -> None:
        """Likewise, though it may be forgotten by now."""
        self._stop(job, "cancelled")

    def ahead_of(self, job: Job) -> int:
        """Images of other jobs that are to be drawn and are due before the first of its own.

        Returns:
            How many; 0 once it has begun, when nobody needs it: all open jobs are looked through.
        """
        own = job.due if job.is_queued else []
        if not own:
            return 0
        others = [each for each in self._open_jobs() if each is not job]
        return sum(due_at < own[0] for each in others for due_at in each.due)

    def drain(self, seconds: float) -> bool:
        """Take no more orders, and finish those there are.

        Returns:
            Whether all were finished in time.
        """
        with self._guard:
            self._draining = True
        give_up_at = self._clock.monotonic() + seconds
        while (waiting := self._open_jobs()) and self._clock.monotonic() < give_up_at:
            waiting[0].wait(waiting[0].view().version, 0.1)
        return not waiting

    def give_up(self) -> None:
        """Draw nothing further, and tell those who wait for it."""
        for job in self._open_jobs():
            self._stop(job, "given up")
        self.drain(_UNTIL_STOPPED_S)

    def close(self) -> None:
        """End; what was not finished is not."""
        self._worker.stop()
        self._finishing.close()
        self._holder.close()

    def editions(self) -> list[EditionView]:
        """The generations of checkpoints there are, the newest last."""
        with self._guard:
            return self._editions.views()

    def try_out(self, edition: Edition) -> None:
        """Draw from newer checkpoints: some new orders at first, then all."""
        with self._guard:
            self._editions.try_out(edition)

    def promote(self, name: str) -> None:
        """Give a canary all new orders. Raises: NotFound, BadInput."""
        with self._guard:
            self._editions.promote(name)

    def roll_back(self, name: str) -> None:
        """Give an edition no new orders; the one before gets them. Raises: NotFound, BadInput."""
        with self._guard:
            self._editions.roll_back(name, "an operator asked for it")

    def _refuse_beyond_room(self, num: int, owner: str) -> None:
        if self._draining:
            raise Busy("the service is about to end; ask another one")
        limits, ledger = self._limits, self._ledger
        if ledger.num_images + num > limits.max_queue:
            raise Busy(
                f"{ledger.num_images} images are waiting and serving.max_queue = "
                f"{limits.max_queue}; ask again later"
            )
        if ledger.num_images_of(owner) + num > limits.max_queue_of_one:
            raise Busy(
                f"{ledger.num_images_of(owner)} images of this key are waiting and "
                f"serving.queue_share = {limits.queue_share:g} leaves room for "
                f"{limits.max_queue_of_one}; ask again later"
            )

    def _stop(self, job: Job, stop: Stop) -> None:
        job.mark_stopped(stop)
        self._cancel(job.name)

    def _cancel(self, name: str) -> None:
        with self._guard:
            edition = self._drawn_by.get(name)
        if edition:
            edition.engine.cancel(name)

    def _hear(self, job: Job, event: Event) -> None:
        if isinstance(event, Painted):
            self._pace.finished()
        if isinstance(event, Done | Failed):
            done, is_fault = isinstance(event, Done), isinstance(event, Failed) and event.is_fault
            with self._guard:  # so that whoever sees its end finds the room that it has left
                job.hear(event)
                self._ledger.end(job)
                self._editions.over(self._drawn_by.pop(job.name), done=done, is_fault=is_fault)
        else:
            job.hear(event)
        job.tell()

    def _engines(self) -> Sequence[Engine]:
        with self._guard:
            self._ledger.forget_old()
            self._editions.judge()
            return [edition.engine for edition in self._editions.active]

    def _open_jobs(self) -> list[Job]:
        with self._guard:
            return self._ledger.open
