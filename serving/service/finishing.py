"""The thread that makes images of latents, so that whoever draws goes on drawing meanwhile."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable

from experts.decoding import decode_pixels
from serving.engine.events import Done, Event, Failed, Painted, Preview
from serving.service.job import Job

_BEHIND = 8  # events that wait; a preview would be old by the time it is seen

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
        self._broken: set[str] = set()  # jobs that have failed here, and engines tell more of
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
            self._waiting.put((job, event))

    def close(self) -> None:
        """End once all is heard that was taken over."""
        self._waiting.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (item := self._waiting.get()) is not None:
            job, event = item
            if job.name in self._broken:
                if isinstance(event, Done | Failed):
                    self._broken.remove(job.name)
            elif not self._is_vain(job, event):
                try:
                    self._hear(job, event)
                except Exception as error:  # others' images still can be decoded
                    _log.exception("not decoded", extra={"fields": {"job": job.name}})
                    self._broken.add(job.name)
                    self._cancel(job.name)
                    reason = f"decoding broke off with {type(error).__name__}; ask again"
                    self._hear(job, Failed(reason))

    def _is_vain(self, job: Job, event: Event) -> bool:
        if isinstance(event, Preview) and self._waiting.qsize() > _BEHIND:
            return True
        return isinstance(event, Preview | Painted) and job.is_stopped
