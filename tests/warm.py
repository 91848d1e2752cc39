"""Processes that begin where the imports end: forked off one that has made them, once for all.

Importing torch takes longer than most of what a test does with it. Such a process has what any
other has: a number, an environment, standard input, a log and an exit code of its own.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

_server = multiprocessing.get_context("forkserver")
_server.set_forkserver_preload(["experts.trainer"])


def _begin(
    code: str, arguments: list[str], environment: dict[str, str], stdin: Connection, log: Path
) -> None:
    os.environ.clear()
    os.environ.update(environment)
    os.dup2(stdin.fileno(), 0)
    with log.open("ab") as written:
        os.dup2(written.fileno(), 1)
        os.dup2(written.fileno(), 2)
    sys.argv = ["-c", *arguments]
    exec(compile(code, "<warm>", "exec"), {})  # noqa: S102 - a test says what


def forked(target: Callable[..., None], *given: Any) -> tuple[Any, Connection]:
    """A process that runs a function, which is given an end of a wire first; and the other end."""
    ours, theirs = multiprocessing.Pipe()
    process: Any = _server.Process(target=target, args=(theirs, *given), daemon=True)
    process.start()
    theirs.close()
    return process, ours


class Warm:
    """What tests use of ``subprocess.Popen``, of a process that runs a piece of Python."""

    def __init__(self, code: str, arguments: list[str], log: Path) -> None:
        ours, theirs = os.pipe()
        reading = Connection(ours, writable=False)
        self.stdin = os.fdopen(theirs, "wb")
        given = (code, arguments, dict(os.environ), reading, log)
        self._process: Any = _server.Process(target=_begin, args=given)
        self._process.start()
        reading.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def terminate(self) -> None:
        self._process.terminate()

    def wait(self, timeout: float) -> int:
        self._process.join(timeout)
        assert self._process.exitcode is not None, "it still runs"
        return self._process.exitcode
