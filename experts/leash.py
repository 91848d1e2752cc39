"""How an agent holds its trainer: by the trainer's standard input, and by SIGTERM."""

from __future__ import annotations

import os
import select
import signal
import threading
from collections import deque

from atoll.relay import DRAIN, wish_of
from atoll.traces import TraceWish

ORPHANED = 3  # exit code of a trainer whose agent is gone
_STDIN = 0


class Leash:
    """Listens for orders until the process ends.

    ``drain`` on a line of standard input, or SIGTERM, asks to leave after the next step; a line of
    :func:`atoll.relay.trace_order` asks for a trace. The end of standard input means that the agent
    is gone, and with it the lease: the process exits at once, since nothing it could still do would
    be published. SIGINT, which a terminal sends to the whole group, is left to the agent.

    Args:
        reads: whether this process reads the lines. Of several that share one standard input only
            one may; the others watch for its end.
    """

    def __init__(self, *, reads: bool) -> None:
        self._asked = threading.Event()
        self._wishes: deque[TraceWish] = deque(maxlen=1)  # whoever asked before has left
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda *_: self._asked.set())
        watch = self._read if reads else self._wait_for_end
        threading.Thread(target=watch, name="leash", daemon=True).start()

    @property
    def drain_asked(self) -> bool:
        """Whether to leave."""
        return self._asked.is_set()

    def take_wish(self) -> TraceWish | None:
        """The trace that is asked for, told once."""
        return self._wishes.popleft() if self._wishes else None

    def _read(self) -> None:
        heard = b""
        # Not sys.stdin: a thread inside its lock would abort the interpreter's exit.
        while data := os.read(_STDIN, 1024):
            *lines, heard = (heard + data).split(b"\n")
            if DRAIN.strip().encode() in lines:
                self._asked.set()
            self._wishes.extend(filter(None, (wish_of(line.decode()) for line in lines)))
        os._exit(ORPHANED)

    def _wait_for_end(self) -> None:
        poll = select.poll()
        poll.register(_STDIN, 0)  # hang-up and errors are reported without being asked for
        poll.poll()
        os._exit(ORPHANED)
