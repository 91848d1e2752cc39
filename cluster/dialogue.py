"""A program that is talked to, line by line."""

from __future__ import annotations

import os
import select
import subprocess
import tempfile
import time
import weakref
from collections.abc import Sequence
from typing import TextIO

_ENDING_S = 1.0


class Dialogue:
    """With a process of its own, which ends with it; what that says on standard error is kept."""

    def __init__(self, command: Sequence[str]) -> None:
        """Start it. Raises: OSError."""
        self._rest = b""  # of what was heard, after the last line
        with tempfile.TemporaryFile() as aside:
            self._process = subprocess.Popen(
                command,
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=aside,
                start_new_session=True,  # Ctrl-C is none of its business
            )
            said = os.fdopen(os.dup(aside.fileno()), encoding="utf-8", errors="replace")
        self._end = weakref.finalize(self, _end, self._process, said)
        self._end.atexit = False  # its input ends with this process, and so does it

    @property
    def is_over(self) -> bool:
        """Whether the program has ended."""
        return self._process.poll() is not None

    def say(self, line: str) -> None:
        """Send it a line. Raises: OSError."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n".encode())

    def hear(self, patience_s: float) -> str:
        """Its next line, without the end of it.

        Raises:
            TimeoutError: it says nothing for so long.
            EOFError: it says nothing any more.
        """
        assert self._process.stdout is not None
        give_up_at = time.monotonic() + patience_s
        ready = select.poll()
        ready.register(self._process.stdout, select.POLLIN)
        while b"\n" not in self._rest:
            left_s = max(0.0, give_up_at - time.monotonic())
            if not ready.poll(left_s * 1000):
                raise TimeoutError(f"it is silent for {patience_s:g} s")
            data = self._process.stdout.read(65536)
            if not data:
                raise EOFError("the connection has ended")
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        return line.decode(errors="replace")

    def end(self) -> tuple[int, str]:
        """End it, if it does not by itself.

        Returns:
            Its exit code, and what it said on standard error; that is told once.
        """
        said = self._end() or ""
        return self._process.returncode, said


def _end(process: subprocess.Popen[bytes], said: TextIO) -> str:
    try:
        process.communicate(timeout=_ENDING_S)  # closes its input, too
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
    with said:
        said.seek(0)
        return said.read()
