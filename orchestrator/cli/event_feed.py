"""The events of a run, heard in the background by whoever looks on."""

from __future__ import annotations

import threading
import time
from collections import deque

from atoll.control import ControlClient
from atoll.errors import Busy, ControlError, Refused
from atoll.types import Event


class EventFeed:
    """The events of a run as they happen, heard in the background while this is open."""

    def __init__(self, client: ControlClient, after: int) -> None:
        """Listen from the event on that follows number ``after``."""
        self._client = client
        self._heard: deque[Event] = deque()
        self._number = after
        threading.Thread(target=self._listen, args=(after,), daemon=True).start()

    def take(self) -> list[Event]:
        """Those heard since the last time."""
        taken = [self._heard.popleft() for _ in range(len(self._heard))]
        self._number = taken[-1].number if taken else self._number
        return taken

    @property
    def number(self) -> int:
        """Of the last event that was taken."""
        return self._number

    def _listen(self, after: int) -> None:
        try:
            self._heard.extend(self._client.events(after))
        except (Busy, Refused) as error:
            self._heard.append(Event("events-not-told", str(error), number=after, at=time.time()))
        except (ControlError, ValueError):
            pass  # it went away, or was closed here: whoever asks for the fleet notices, too
