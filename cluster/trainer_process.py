"""The trainer as its agent sees it: a process group on a leash."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from atoll import relay
from atoll.traces import TraceWish
from atoll.types import Role
from cluster import processes
from cluster.local import ending, last_lines

_MODULES = {
    Role.EXPERT: "experts.trainer",
    Role.MONOLITH: "experts.trainer",
    Role.ROUTER: "router.trainer",
}
_TOLD_LINES = 20
_READ_LINES = 200
_MEETING = "torchrun"  # file in which torchrun's agents find each other
# How torchrun tells of workers that broke, when each did (to the second) and the signal that killed
# it; its words before the one it takes for the first; and where its own noise begins.
_WORKER_BROKE = re.compile(
    r"time +: (?P<time>\S+)\n.*host .*\n +rank +: (?P<rank>\d+) .*\n.*exitcode .*\n"
    r".*error_file.*\n +traceback : (?:Signal (?P<number>\d+) \((?P<name>\w+)\))?"
)
_FIRST = "Root Cause"
_TORCHRUN = re.compile(r"^[EIW]\d{4} .*torch/distributed", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class TrainerSettings:
    """How trainers are run.

    Attributes:
        processes: training processes of the node.
        threads: CPU threads of each.
        command: what to run in place of torchrun and the house's trainers; () for those.
        parallel: how all processes of the island share a job, see
            :class:`atoll.parallel_section.ParallelSection`.
    """

    processes: int
    threads: int
    command: tuple[str, ...] = ()
    parallel: str = ""

    def command_for(self, role: Role, work_dir: Path) -> list[str]:
        """The whole command of one trainer; torchrun only where there are several processes."""
        python = (sys.executable, "-m")
        program: tuple[str, ...] = (*python, _MODULES[role])
        if self.processes > 1:
            # They meet in files: torchrun's own meeting place is a socket open to every network,
            # and it unpickles what it finds there.
            program = (
                *(*python, "torch.distributed.run", "--nproc-per-node", str(self.processes)),
                *("--rdzv-backend", "c10d", "--rdzv-conf", "store_type=file"),
                *("--rdzv-endpoint", str(work_dir / _MEETING), "--rdzv-id", work_dir.name),
                *("--local-addr", "localhost", "-m", _MODULES[role]),
            )
        return [*(self.command or program), "--work-dir", str(work_dir)]


def _network(address: str) -> dict[str, str]:
    """What keeps the processes of a trainer from listening anywhere but at one address."""
    addresses = psutil.net_if_addrs().items()
    interface = next((name for name, of in addresses if address in {a.address for a in of}), None)
    if interface is None:
        raise OSError(f"{address} is no address of this machine any more")
    return {
        "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
        "GLOO_SOCKET_IFNAME": interface,
        "NCCL_SOCKET_IFNAME": interface,
        # Modules come from where Atoll is installed, never from the folder it is run in.
        "PYTHONSAFEPATH": "1",
    }


class TrainerProcess:
    """A running trainer.

    Its standard input is the leash: a line is an order, its end says that the agent is gone.
    """

    def __init__(
        self, command: Sequence[str], threads: int, log: Path, address: str = "127.0.0.1"
    ) -> None:
        """Start a trainer.

        Args:
            command: program and arguments.
            threads: CPU threads of each training process.
            log: file that gets what it writes.
            address: of this machine, at which its processes talk to each other, and to those of
                the island's other nodes.
        """
        self._log = log
        with log.open("ab") as output:
            self._begin = output.tell()  # after what earlier ones wrote under the same lease
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                start_new_session=True,
                env={**os.environ, **_network(address), "OMP_NUM_THREADS": str(threads)},
            )
        # Knows it from a later process that is given the same number.
        self._leader = psutil.Process(self._process.pid)

    def poll(self) -> int | None:
        """Its exit code; None while it runs."""
        return self._process.poll()

    def drain(self) -> None:
        """Ask it to checkpoint and leave."""
        self._order(relay.DRAIN)

    def trace(self, wish: TraceWish) -> None:
        """Ask it for a trace of its next steps."""
        self._order(relay.trace_order(wish))

    def kill(self) -> None:
        """Kill it and all it started; also tidies up after one that has ended."""
        # torchrun gives every worker a session of its own, so a signal to the group misses them.
        with contextlib.suppress(psutil.NoSuchProcess):
            processes.kill([self._leader, *self._leader.children(recursive=True)])
        self._process.wait()
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()

    def last_lines(self) -> str:
        """The end of what it wrote, for who has to find out why it failed."""
        return self._lines(_TOLD_LINES)

    def killed(self) -> str:
        """The signal that killed the first of its training processes, in words; "" for none."""
        others, _, last = self._lines().partition(_FIRST)
        first = _WORKER_BROKE.search(last)
        if not first:
            return ""
        # Of several that broke in one second torchrun takes the lowest rank for the first. It ends
        # the others itself, by SIGTERM, and by SIGKILL only half a minute later.
        at_once = [
            each
            for each in _WORKER_BROKE.finditer(others)
            if each["time"] == first["time"] and each["name"] == "SIGKILL"
        ]
        for each in (first, *at_once):
            if each["name"]:
                return "rank {rank} was killed by signal {number} ({name})".format(
                    **each.groupdict()
                )
        return ""

    def last_words(self) -> str:
        """How it ended, and the end of what it wrote, in one line."""
        if killed := self.killed():
            return killed
        if self._process.returncode < 0:  # what it wrote before has nothing to do with that
            return ending(self._process.returncode)
        text = self._lines()
        noise = _TORCHRUN.search(text)
        written = text[: noise.start()] if noise else text
        lines = [line.strip() for line in written.splitlines() if line.strip()]
        return ": ".join([ending(self._process.returncode), *lines[-1:]])

    def _order(self, line: str) -> None:
        assert self._process.stdin is not None
        if self._process.stdin.closed:  # killed, and to be started anew
            return
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(line.encode())
            self._process.stdin.flush()

    def _lines(self, most: int = _READ_LINES) -> str:
        return last_lines(self._log, most, self._begin)
