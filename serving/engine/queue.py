"""Requests on their way: whose images wait, whose have a slot, and what each is told."""

from __future__ import annotations

import heapq
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from torch import Tensor

from atoll.clock import Clock
from serving.engine.events import Done, Event, Failed, Painted
from serving.engine.request import Request
from serving.engine.schedule import due_at
from serving.engine.slots import Kept

Listener = Callable[[Event], None]

_log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Entry:
    """A request on its way."""

    request: Request
    listener: Listener
    arrived_at: float
    num_left: int
    is_over: bool = False


@dataclass(order=True, slots=True)
class Image:
    """An image that waits for a slot, or has one.

    Attributes:
        due_at: when it should have been finished, in seconds.
        number: of all images, in the order in which they came.
        entry: its request.
        position: in its request.
        kept: how far it had come, if it has left a slot before its end.
    """

    due_at: float
    number: int
    entry: Entry = field(compare=False)
    position: int = field(compare=False)
    kept: Kept | None = field(default=None, compare=False)


class Queue:
    """Any thread may submit and cancel; all else is for the thread that ticks."""

    def __init__(self, num_slots: int, clock: Clock) -> None:
        """Nobody waits.

        Args:
            num_slots: images in progress, at most.
            clock: for urgency.
        """
        self._clock = clock
        self._free = deque(range(num_slots))
        self.active: dict[int, Image] = {}  # by slot
        self._waiting: list[Image] = []  # a heap of those without a slot
        self._entries: dict[str, Entry] = {}
        self._number = 0
        self._guard = threading.Lock()  # of what follows
        self._inbox: deque[Entry] = deque()
        self._cancelled: set[str] = set()

    def submit(self, request: Request, listener: Listener) -> None:
        """Ask for images; the listener is told in the thread that ticks."""
        entry = Entry(request, listener, self._clock.monotonic(), len(request.seeds))
        with self._guard:
            self._inbox.append(entry)

    def cancel(self, name: str) -> None:
        """End a request; nothing happens if it is over."""
        with self._guard:
            self._cancelled.add(name)

    @property
    def num_images(self) -> int:
        """Asked for and not finished."""
        with self._guard:
            came = list(self._inbox)
        return sum(entry.num_left for entry in [*self._entries.values(), *came])

    @property
    def num_waiting(self) -> int:
        """Images without a slot."""
        return len(self._waiting)

    def update(self) -> None:
        """Take in whoever came, and end those who were cancelled or are late."""
        with self._guard:
            came, cancelled = list(self._inbox), set(self._cancelled)
            self._inbox.clear()
            self._cancelled.clear()
        for entry in came:
            self._entries[entry.request.name] = entry
            patience_s = min(entry.request.patience_s, entry.request.deadline_s)
            for position in range(len(entry.request.seeds)):
                at = due_at(entry.arrived_at, patience_s, position)
                self._number += 1
                heapq.heappush(self._waiting, Image(at, self._number, entry, position))
        for name in cancelled & self._entries.keys():
            self.end(self._entries[name], Failed("it was cancelled", is_fault=False))
        now = self._clock.monotonic()
        for entry in list(self._entries.values()):
            if now - entry.arrived_at > entry.request.deadline_s:
                reason = f"it was not done in {entry.request.deadline_s:g} s"
                self.end(entry, Failed(reason, is_fault=False))

    def seated(self) -> Iterator[tuple[int, Image, Image | None]]:
        """Give slots to the most urgent images, one after the other.

        Where none is free, who is due last leaves for who is due earlier, and waits again: what is
        urgent does not wait until another image is finished.

        Returns:
            Slots, who has each from now on, and who leaves it before the end.
        """
        while self._waiting:
            last = None
            if self._free:
                slot = self._free.popleft()
            else:
                slot = max(self.active, key=self.active.__getitem__)
                last = self.active[slot]
                if last < self._waiting[0]:
                    return
            image = heapq.heappop(self._waiting)
            if last:
                heapq.heappush(self._waiting, last)
            self.active[slot] = image
            yield slot, image, last

    def tell(self, entry: Entry, event: Event) -> None:
        """Tell a request of itself, unless it is over."""
        if not entry.is_over:
            self._say(entry, event)

    def finish(self, slot: int, image: Tensor) -> None:
        """An image is there: hand it out, and let another have its slot."""
        done = self._leave(slot)
        self.tell(done.entry, Painted(done.position, image))
        done.entry.num_left -= 1
        if done.entry.num_left == 0:
            self.end(done.entry, Done())

    def end(self, entry: Entry, last: Done | Failed) -> None:
        """End a request, unless it is over: its images leave, and it is told the last it hears."""
        if not entry.is_over:
            self._remove(entry)
            self._say(entry, last)

    def end_all(self, reason: str) -> None:
        """End every request."""
        self.update()
        for entry in list(self._entries.values()):
            self.end(entry, Failed(reason))

    def _say(self, entry: Entry, event: Event) -> None:
        try:
            entry.listener(event)
        except Exception:  # whatever it is, others are not to suffer from it
            _log.exception("a listener raised", extra={"fields": {"request": entry.request.name}})
            self.end(entry, Failed("what was drawn of it could not be handed over; ask again"))

    def _remove(self, entry: Entry) -> None:
        entry.is_over = True
        self._entries.pop(entry.request.name, None)
        for slot in [slot for slot, image in self.active.items() if image.entry is entry]:
            self._leave(slot)
        if any(image.entry is entry for image in self._waiting):
            self._waiting = [image for image in self._waiting if image.entry is not entry]
            heapq.heapify(self._waiting)

    def _leave(self, slot: int) -> Image:
        self._free.append(slot)
        return self.active.pop(slot)
