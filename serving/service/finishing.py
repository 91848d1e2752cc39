"""The thread that makes images of latents, so that whoever draws goes on drawing meanwhile."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable

from atoll.errors import AtollError
from experts.decoding import decode_pixels
from serving.engine.events import Done, Event, Failed, Painted, Preview
from serving.service.job import Job

_BEHIND = 8  # pictures that wait; a preview would be old by the time it is seen

_log = logging.getLogger(__name__)


class Finishing:
    """What an engine tells of a job reaches it in order, some of it by way of this thread."""

    def __init__(self, hear: Callable[[Job, Event], None], cancel: Callable[[str], None]) -> None:
        """Decode nothing yet.

        Args:
            hear: takes in what the engine has told of a job.
            cancel: has a job, by name, drawn no further.
        """
        self._hear, self._cancel = hear, cancel
        self._waiting: queue.SimpleQueue[tuple[Job, Event] | None] = queue.SimpleQueue()
        self._guard, self._num_pictures = threading.Lock(), 0  # of those that wait
        self._broken: set[str] = set()  # jobs that have failed here, and engines tell more of
        self._parted: set[str] = set()  # jobs that were stopped, and have not all of their images
        self._thread = threading.Thread(target=self._work, name="decoding", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether it works."""
        return self._thread.is_alive()

    def take(self, job: Job, event: Event) -> None:
        """Take over an event; returns at once where decoding takes long."""
        if job.decode is decode_pixels:
            self._hear(job, event)
        else:
            self._count(event, 1)
            self._waiting.put((job, event))

    def close(self) -> None:
        """End once all is heard that was taken over."""
        self._waiting.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (item := self._waiting.get()) is not None:
            job, event = item
            self._count(event, -1)
            if job.name not in self._broken:
                self._pass_on(job, event)
            if isinstance(event, Done | Failed):
                self._broken.discard(job.name)
                self._parted.discard(job.name)

    def _pass_on(self, job: Job, event: Event) -> None:
        if isinstance(event, Painted) and job.is_stopped:
            self._parted.add(job.name)
        elif isinstance(event, Preview) and (job.is_stopped or self._is_behind):
            pass
        elif isinstance(event, Done) and job.name in self._parted:  # drawn, and not all decoded
            self._try(job, Failed("it was stopped before all was decoded", is_fault=False))
        elif (error := self._try(job, event)) is not None:
            self._broken.add(job.name)
            self._cancel(job.name)
            known = isinstance(error, AtollError)  # and says what to do
            told = f": {error}" if known else f" with {type(error).__name__}; ask again"
            self._try(job, Failed(f"decoding broke off{told}"))

    def _try(self, job: Job, event: Event) -> Exception | None:
        """Have an event heard; what is raised ends nobody else's images, and is returned."""
        try:
            self._hear(job, event)
        except Exception as error:  # whatever a decoder raises
            _log.exception("not decoded", extra={"fields": {"job": job.name}})
            return error
        return None

    @property
    def _is_behind(self) -> bool:
        with self._guard:
            return self._num_pictures > _BEHIND

    def _count(self, event: Event, num: int) -> None:
        if isinstance(event, Preview | Painted):
            with self._guard:
                self._num_pictures += num
