"""What the orchestrator must not forget."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from atoll.types import CheckpointRecord, CheckpointRef, Event
from orchestrator.fleet.ledger import NodeUse
from orchestrator.fleet.state import Change, Job


@dataclass(frozen=True, slots=True)
class Stored:
    """What a restarted orchestrator begins with.

    Attributes:
        jobs: in order of submission, without expiry times: those belong to a clock that is gone.
        last_event: number of the newest event; 0 if there is none.
        nodes: all that a provider was ever asked for.
        leaving: islands that are to leave; with the request that was answered so, or "".
    """

    jobs: tuple[Job, ...]
    last_event: int
    nodes: tuple[NodeUse, ...] = ()
    leaving: tuple[tuple[str, str], ...] = ()


class Store(Protocol):
    """Durable state: jobs as they stand, every checkpoint ever committed, every event, and names.

    Each ``save`` is one transaction that is on the disk when it returns. The fencing rules hold
    here once more, whoever writes: epochs never go back, nor do committed steps, unless their
    checkpoint is damaged. Where several orchestrators share the database, nobody but their leader
    writes.
    """

    def load(self) -> Stored:
        """Everything an orchestrator needs to go on."""
        ...

    def save(self, change: Change, first_number: int, at: float) -> None:
        """Write a change, all or nothing.

        Args:
            change: what is different, and why.
            first_number: number of the change's first event.
            at: wall-clock time of events and commits, seconds since the Unix epoch.

        Raises:
            LeaseLost: a job stands under a newer epoch, or has more committed steps.
            Refused: something in it is of no kind that can be kept.
            Deposed: another orchestrator leads by now.
            Unreachable: the database cannot be used just now; ``last_event`` tells later whether
                the change was written all the same.
        """
        ...

    def last_event(self) -> int:
        """Number of the newest event; waits for the end of every save that is under way.

        Raises: Deposed, Unreachable.
        """
        ...

    def confirm(self) -> None:
        """Ask, without a look at the database, whether this orchestrator may still decide.

        Raises:
            Deposed: another one leads by now.
            Unreachable: another one may lead.
        """
        ...

    def events(self, after: int, limit: int) -> tuple[Event, ...]:
        """The first ``limit`` events with a number above ``after``. Raises: Unreachable."""
        ...

    def is_committed(self, job: str, checkpoint: CheckpointRef) -> bool:
        """Whether exactly this was ever committed for a job. Raises: Unreachable."""
        ...

    def checkpoints(self, job: str) -> tuple[CheckpointRecord, ...]:
        """All checkpoints ever committed for a job, by step and epoch. Raises: Unreachable."""
        ...

    def claim(self, island: str, key: str) -> bool:
        """Give an island's name to a key for good, unless another key has it.

        Args:
            island: the name.
            key: digest of a public key; the same may ask again.

        Returns:
            Whether the name is this key's.

        Raises:
            Deposed: another orchestrator leads by now.
            Unreachable: the database cannot be used just now.
        """
        ...

    def close(self) -> None:
        """Let go of the database."""
        ...
