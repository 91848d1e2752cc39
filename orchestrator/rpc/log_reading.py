"""Reading a log along: from its last lines on, wherever a job goes, until nothing can come."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from atoll.clock import Clock
from atoll.errors import Refused
from atoll.log_types import LogLines, LogPlace
from atoll.types import JobState
from orchestrator.fleet.state import Fleet
from orchestrator.rpc.log_names import writer_for
from orchestrator.rpc.logbook import Line, Log

_LOOK_S = 0.5
_PATIENCE_S = 10.0  # an agent learns with a heartbeat that its log is wanted, and sends it then


@dataclass(frozen=True, slots=True)
class Reader:
    """What an operator wants to read.

    Attributes:
        name: of a job, or an island.
        num_lines: how many to begin with.
        follow: whether to go on.
        after: where an earlier reading ended; None for a new one.
    """

    name: str
    num_lines: int
    follow: bool
    after: LogPlace | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """Who writes a log now.

    Attributes:
        island: whose; "" if nobody writes it.
        epoch: of the lease; 0 for an agent's own.
        words: how it stands, for people.
        over: whether nothing will be written any more.
    """

    island: str
    epoch: int
    words: str
    over: bool = False


def standing(fleet: Fleet, name: str) -> Standing:
    """Who writes the log of a job's trainer, or of an island's agent; or of one node's.

    Raises:
        Refused: there is no such job or island.
    """
    plain, _, node = name.partition("/")
    job, island = fleet.jobs.get(plain), fleet.islands.get(plain)
    if job is not None:
        if job.state is JobState.LEASED:
            words = f"{plain} is on {job.island} now, under epoch {job.epoch}"
            return Standing(writer_for(fleet, job.island, node), job.epoch, words)
        over = job.state.is_ended or fleet.is_settled
        return Standing("", 0, f"{plain} is {job.state}: {job.reason}", over)
    if island is not None:
        if island.state in {"idle", "working"}:
            return Standing(writer_for(fleet, plain, node), 0, f"{plain} lives")
        return Standing("", 0, f"{plain} is {island.state}; `atoll events` tells why", over=True)
    alive = [each.name for each in fleet.islands.values() if each.state in {"idle", "working"}]
    there = ", ".join([*fleet.jobs, *alive])
    raise Refused(f"no job or living island is called {name!r}; there is {there or 'none'}")


def read(
    reader: Reader, log: Log, fleet: Callable[[], Fleet], clock: Clock
) -> Iterator[LogLines | None]:
    """What a reader is told, in order; None where nothing has happened for a moment.

    Args:
        reader: what is asked for.
        log: which is wanted as long as this goes on.
        fleet: the state at a moment.
        clock: for patience.

    Raises:
        Refused: neither a job nor an island is called so.
    """
    stood, give_up_at = standing(fleet(), reader.name), clock.monotonic() + _PATIENCE_S
    while stood.island and not log.is_heard(stood.island, stood.epoch):
        if clock.monotonic() > give_up_at:
            words = f"{stood.island} told nothing of it in {_PATIENCE_S:g} s; it may be frozen"
            yield LogLines(note=words)
            break
        log.wait(log.last(0), _LOOK_S)
        yield None
        stood = standing(fleet(), reader.name)
    if not stood.island:
        yield LogLines(note=stood.words)
    next_line = log.beyond(reader.after) if reader.after else log.last(reader.num_lines)
    while True:
        stands = standing(fleet(), reader.name)  # first: what was written before is there by now
        if stands != stood:
            log.finish()
        lines = log.since(next_line)
        yield from _said(lines, next_line)
        next_line = lines[-1].number + 1 if lines else next_line
        if stands.words != stood.words:
            yield LogLines(note=stands.words)
        if stands.over or not reader.follow:
            return
        stood = stands
        log.wait(next_line, _LOOK_S)
        yield None


def _said(lines: Sequence[Line], expected: int) -> Iterator[LogLines]:
    """Some lines of a log, those of one writer together, and what is missing before them."""
    if lines and lines[0].number > expected:
        yield LogLines(note=f"{lines[0].number - expected} lines came too fast to be told")
    together: list[Line] = []
    for line in lines:
        if together and (line.left_out or _writer(line) != _writer(together[-1])):
            yield _told(together)
            together = []
        if line.left_out:
            yield LogLines(note=f"{line.left_out:,} bytes before this were not told")
        together.append(line)
    if together:
        yield _told(together)


def _writer(line: Line) -> tuple[str, int]:
    return line.end.island, line.end.epoch


def _told(lines: Sequence[Line]) -> LogLines:
    return LogLines(tuple(line.text for line in lines), lines[-1].end)
