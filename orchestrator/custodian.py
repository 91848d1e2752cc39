"""Looks after a run's checkpoints while it is at work: verifies those in doubt, collects the rest.

A thread of its own, because reading gigabytes back takes its time, and nobody may wait for it.
"""

from __future__ import annotations

import contextlib
import logging
import math
import threading
from collections.abc import Iterator

from atoll import checkpoints, layout
from atoll.blobs import BlobStore
from atoll.clock import Clock
from atoll.errors import AtollError, BlobError, CheckpointDamaged, Deposed
from atoll.types import CheckpointRef
from orchestrator.collection import collect, find_garbage
from orchestrator.fleet.retention import Retention
from orchestrator.service import FleetService
from orchestrator.storage.store import Store

log = logging.getLogger(__name__)

_LOOK_S = 1.0  # looks at every job: of ten thousand, some hundredths of a second
_RETRY_S = 10.0
_COLLECT_S = 10.0  # a run that checkpoints often is not listed for each of them
_MOST_TRIES = 5  # to read a checkpoint from storage that fails
_NEVER = object()
_ABANDONED_S = 24 * 3600.0  # no writer pauses for so long within one file


class Custodian:
    """The keeper of one run's checkpoints, for as long as its orchestrator leads."""

    def __init__(
        self,
        service: FleetService,
        store: Store,
        blobs: BlobStore,
        retention: Retention,
        clock: Clock,
    ) -> None:
        """Look after a run.

        Args:
            service: its fleet.
            store: its registry of checkpoints.
            blobs: where they are.
            retention: what is kept.
            clock: the orchestrator's.
        """
        self._service = service
        self._store = store
        self._blobs = blobs
        self._retention = retention
        self._clock = clock
        self._tries: dict[CheckpointRef, int] = {}
        # The newest checkpoint of each job when its folder was last looked through.
        self._looked_through: dict[str, CheckpointRef | None] = {}
        self._collect_at = clock.monotonic() + _COLLECT_S
        self._sweep_at = -math.inf

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        """Inside, it works in the background."""
        left = threading.Event()
        threading.Thread(
            target=self._work_until, args=(left,), name="custodian", daemon=True
        ).start()
        try:
            yield
        finally:
            left.set()

    def look(self) -> None:
        """Verify what is in doubt, and collect what can go if it is time.

        Raises:
            AtollError: database or storage cannot be used just now.
        """
        fleet, now = self._service.fleet, self._clock.monotonic()
        unreadable: BlobError | None = None
        for name, job in fleet.jobs.items():
            if job.doubted is not None:
                try:
                    self._verify(name, job.doubted)
                except BlobError as error:  # the others need not wait for it
                    unreadable = error
        if now >= self._collect_at or fleet.is_over:
            self._collect_at = now + _COLLECT_S
            self._collect()
        if now >= self._sweep_at:
            self._sweep_at = now + _ABANDONED_S
            self._blobs.sweep(_ABANDONED_S)
        if unreadable is not None:
            raise unreadable

    def _verify(self, job: str, checkpoint: CheckpointRef) -> None:
        try:
            checkpoints.require_sound(self._blobs, checkpoint)
        except CheckpointDamaged as error:
            # Where not even the run's configuration can be found, the storage itself is gone.
            if self._blobs.exists(layout.CONFIG):
                self._service.found_damaged(job, checkpoint, str(error))
                return
            self._give_up(job, checkpoint, error)
        except BlobError as error:
            self._give_up(job, checkpoint, error)
        else:
            self._service.found_sound(job, checkpoint, "is whole; an island could not load it")

    def _give_up(self, job: str, checkpoint: CheckpointRef, error: BlobError) -> None:
        """After some tries the islands shall try again themselves."""
        tries = self._tries[checkpoint] = self._tries.get(checkpoint, 0) + 1
        if tries < _MOST_TRIES:
            raise error
        del self._tries[checkpoint]
        self._service.found_sound(job, checkpoint, f"cannot be verified: {error}")

    def _collect(self) -> None:
        jobs = [
            job
            for name, job in self._service.fleet.jobs.items()
            if job.doubted is None  # it may have to go back to one that could be collected
            and self._looked_through.get(name, _NEVER) != job.checkpoint
        ]
        if not jobs:
            return
        for job, garbage in find_garbage(jobs, self._store, self._blobs, self._retention).items():
            collect(job, garbage, self._blobs, self._service.collected)
        self._looked_through.update((job.spec.name, job.checkpoint) for job in jobs)

    def _work_until(self, left: threading.Event) -> None:
        pause_s = 0.0
        while not left.wait(pause_s):
            try:
                self.look()
                pause_s = _LOOK_S
            except Deposed:
                return
            except AtollError as error:
                fields = {"error": str(error)}
                log.warning("checkpoints cannot be looked after", extra={"fields": fields})
                pause_s = _RETRY_S
            except Exception:  # a doubted job waits for this thread, so it has to go on
                log.exception("unexpected error while looking after checkpoints")
                pause_s = _RETRY_S
