"""A process that answers requests through pipes, as the one that has started it sees it."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from atoll.errors import Unreachable

_START_S = 60.0  # torch is imported, perhaps by many at once
_ANSWER_S = 10.0
_LEAVE_S = 5.0

Process = subprocess.Popen[str]


class Piped:
    """Asks a process like :mod:`membership.process`, one request at a time; threads may share it.

    It is started by the first request, and again by the next one after it ended.
    """

    def __init__(self, command: Sequence[str]) -> None:
        """Start nothing yet.

        Args:
            command: what to run. It says a line when it is ready, answers each line with one, and
                ends with its input.
        """
        self._command = command
        self._lock = threading.Lock()
        self._process: Process | None = None
        self._closed = False

    def start(self) -> None:
        """Start it, and wait until it is ready. Raises: Unreachable, it does not come up."""
        with self._lock, self._cleared():
            self._ready()

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Its answer. Raises: Unreachable, it says why there is none, or does not answer."""
        with self._lock, self._cleared():
            process = self._ready()
            assert process.stdin is not None
            process.stdin.write(f"{json.dumps(request)}\n")
            process.stdin.flush()
            answer = _heard(process, _ANSWER_S)
        if "error" in answer:
            raise Unreachable(answer["error"])
        return answer

    def close(self) -> None:
        """End the process, in the middle of a request if need be."""
        self._closed = True
        process = self._process
        if process is None:
            return
        assert process.stdin is not None
        with suppress(OSError):
            process.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            process.wait(_LEAVE_S)
        process.kill()
        with self._lock:  # who has asked something hears now that it has ended
            _clear(process)

    def _ready(self) -> Process:
        if self._closed:
            raise Unreachable("the DHT was left")
        if self._process is None:
            # In a session of its own, as Ctrl-C is for who started it; its input is its leash.
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
            _heard(self._process, _START_S)
        return self._process

    @contextmanager
    def _cleared(self) -> Iterator[None]:
        """Inside, the process may end; nothing of it is left then."""
        try:
            yield
        except (EOFError, OSError, ValueError) as error:  # such as a pipe that was closed meanwhile
            process, self._process = self._process, None
            if process is not None:
                _clear(process)
            raise Unreachable("the process that speaks to the DHT has ended") from error


def _heard(process: Process, patience_s: float) -> dict[str, Any]:
    """The next line of a process, which is killed if that does not come in time.

    Raises:
        EOFError: there is none.
    """
    assert process.stdout is not None
    too_late = threading.Timer(patience_s, process.kill)
    too_late.start()
    try:
        line = process.stdout.readline()
    finally:
        too_late.cancel()
    if not line:
        raise EOFError
    answer: dict[str, Any] = json.loads(line)
    return answer


def _clear(process: Process) -> None:
    """Leave nothing of a process."""
    process.kill()
    with suppress(OSError), process:
        pass  # closes its pipes, and waits for it
