"""What a run that has trained knows of its own pace."""

from __future__ import annotations

from atoll import stages
from atoll.blobs import open_store
from atoll.config import Config
from atoll.errors import StageMissing
from atoll.jobs import job_digest
from orchestrator.cli.training import ROUTE, TRAIN, begun
from orchestrator.planning.measured import Measured, measured
from orchestrator.stored import stored


def paces_of(config: Config) -> dict[str, Measured]:
    """The pace of each kind of job that this run has trained as it is configured now.

    Empty for one that never trained, whose database is out of reach from here, or whose networks,
    batches or data are others by now.

    Raises:
        BlobError: the run's store cannot be read.
        ConfigError: its database cannot be opened.
    """
    store = open_store(config.run.uri)
    partition = stages.find(store, "partition")
    if partition is None or all(stages.find(store, begun(it)) is None for it in (TRAIN, ROUTE)):
        return {}
    digest = partition["digest"]
    try:
        with stored(config) as database:
            specs = [job.spec for job in database.load().jobs]
            same = [s for s in specs if s.digest == job_digest(config, digest, s.role, s.index)]
            return measured([(spec.role.value, database.checkpoints(spec.name)) for spec in same])
    except StageMissing:
        return {}
