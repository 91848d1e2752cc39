"""The checkpoints that a run still has, for commands that read them."""

from __future__ import annotations

from atoll.config import Config
from atoll.types import CheckpointRef, Keeping
from orchestrator.stored import stored


def kept_checkpoints(config: Config) -> dict[str, list[CheckpointRef]]:
    """Those committed, and neither collected nor damaged, by name of the job.

    Raises:
        StageMissing: the run never had an orchestrator, or has its database elsewhere.
    """
    with stored(config) as store:
        return {
            job.spec.name: [
                record.ref
                for record in store.checkpoints(job.spec.name)
                if record.keeping is Keeping.KEPT
            ]
            for job in store.load().jobs
        }
