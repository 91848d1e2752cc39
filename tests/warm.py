"""Processes that begin where the imports end: forked off one that has made them, once for all.

Importing torch takes longer than most of what a test does with it. Such a process has what any
other has: a number, an environment, a session, standard input, a log and an exit code of its own.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

_server = multiprocessing.get_context("forkserver")
# What trainers import, torch's optimizers late among it; and what commands do.
_PRELOADED = ["experts.expert", "experts.process", "torch._dynamo", "orchestrator.cli.training"]
_server.set_forkserver_preload(_PRELOADED)


@dataclass(frozen=True)
class _Program:
    """What such a process runs, and where.

    Attributes:
        code: a piece of Python.
        arguments: for it.
        environment: all of it.
        folder: where it begins.
        stdout: file that gets what it prints.
        stderr: file that gets what else it writes.
    """

    code: str
    arguments: list[str]
    environment: dict[str, str]
    folder: str
    stdout: str
    stderr: str


def _begin(program: _Program, stdin: Connection) -> None:
    gc.freeze()  # what was there before is shared, and no garbage of this process
    os.setsid()
    os.chdir(program.folder)
    os.environ.clear()
    os.environ.update(program.environment)
    os.dup2(stdin.fileno(), 0)
    for number, path in ((1, program.stdout), (2, program.stderr)):
        with Path(path).open("ab") as written:
            os.dup2(written.fileno(), number)
    sys.argv = ["-c", *program.arguments]
    exec(compile(program.code, "<warm>", "exec"), {})  # noqa: S102 - a test says what


def forked(target: Callable[..., None], *given: Any) -> tuple[Any, Connection]:
    """A process that runs a function, which is given an end of a wire first; and the other end."""
    ours, theirs = multiprocessing.Pipe()
    process: Any = _server.Process(target=target, args=(theirs, *given), daemon=True)
    process.start()
    theirs.close()
    return process, ours


class Warm:
    """What tests use of ``subprocess.Popen``, of a process that runs a piece of Python."""

    def __init__(
        self, code: str, arguments: list[str], log: str | Path, stdout: str | Path = ""
    ) -> None:
        ours, theirs = os.pipe()
        reading = Connection(ours, writable=False)
        self.stdin = os.fdopen(theirs, "wb")
        environment, folder = dict(os.environ), str(Path.cwd())
        printed = str(stdout or log)
        program = _Program(code, arguments, environment, folder, printed, str(log))
        self._process: Any = _server.Process(target=_begin, args=(program, reading))
        self._process.start()
        reading.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self._process.terminate()

    def kill(self) -> None:
        self._process.kill()

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        assert self.returncode is not None, "it still runs"
        return self.returncode


class WarmCommand(Warm):
    """Such a process that has nothing to read, and tells its user in lines of standard error."""

    def __init__(self, code: str, *arguments: str) -> None:
        self._log = tempfile.NamedTemporaryFile()  # noqa: SIM115 - until somebody asks
        self._told = ""
        super().__init__(code, list(arguments), self._log.name, stdout=os.devnull)
        self.stdin.close()

    def communicate(self, timeout: float | None = None) -> tuple[None, str]:
        """Wait for its end; returns what it told."""
        self.wait(timeout)
        if not self._log.closed:
            with self._log:
                self._told = self._log.read().decode()
        return None, self._told
