"""A trainer at work in a folder of its own."""

from __future__ import annotations

import math
import shutil
from dataclasses import dataclass
from pathlib import Path

from atoll import relay
from atoll.clock import Clock
from atoll.gangs import GangNode
from atoll.node_place import NodePlace, write_place
from atoll.types import Assignment
from cluster import processes
from cluster.log_sender import FileLog, TrainerLog
from cluster.trainer_process import TrainerProcess, TrainerSettings
from cluster.watch import Watch


@dataclass(frozen=True, slots=True)
class IslandSettings:
    """What an agent goes by.

    Attributes:
        name: of the island.
        work_dir: folder for work in progress; logs go beside it.
        drain_s: time a trainer has for its last checkpoint.
        orphan_s: silence of the orchestrator after which the island stops.
        trainer: how trainers are run.
        restarts: how often in a row it starts a trainer anew that broke; an island of several nodes
            leaves that to the orchestrator.
        hang_s: time for which none of a trainer's processes may move in the middle of a step.
        node: which node of the island this is; None where it has but one.
    """

    name: str
    work_dir: Path
    drain_s: float
    orphan_s: float
    trainer: TrainerSettings
    restarts: int = 0
    hang_s: float = math.inf
    node: GangNode | None = None

    @property
    def writer(self) -> str:
        """As who this node writes logs."""
        return f"{self.name}/{self.node.name}" if self.node else self.name


class TrainerRun:
    """A trainer under a lease on this node, from its start to the last trace of it but its log."""

    def __init__(
        self,
        assignment: Assignment,
        settings: IslandSettings,
        place: NodePlace | None,
        clock: Clock,
    ) -> None:
        """Start it.

        Args:
            assignment: what to train.
            settings: of the island.
            place: among the nodes of the island; None where it has but one.
            clock: for patience with it.

        Raises:
            OSError: it cannot be started.
        """
        lease = assignment.lease
        name = f"{lease.job}.epoch-{lease.epoch:04d}"
        self.folder = settings.work_dir / name
        self.folder.mkdir(parents=True)
        relay.write_assignment(self.folder, assignment, settings.trainer.parallel)
        if place:
            write_place(self.folder, place)
        self.listener = relay.Listener(self.folder)
        self.watch = Watch(self.folder, settings.hang_s, clock)
        command = settings.trainer.command_for(assignment.spec.role, self.folder)
        path = settings.work_dir.parent / f"{name}.log"
        address = place.address if place else "127.0.0.1"
        self.process = TrainerProcess(command, settings.trainer.threads, path, address)
        self.log = TrainerLog(lease.job, lease.epoch, FileLog(path))

    def close(self) -> None:
        """Kill what is left of it; its log stays."""
        self.process.kill()
        # What its launcher left behind when it was killed itself, and froze before it was missed.
        processes.kill(processes.working_in(self.folder))
        shutil.rmtree(self.folder, ignore_errors=True)
