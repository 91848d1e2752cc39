"""How many bytes a run keeps, and how many it moves between its store and its islands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from atoll.config import Config
from atoll.sections import CheckpointsSection
from orchestrator.planning.work import Part


@dataclass(frozen=True, slots=True)
class Volume:
    """Bytes of all jobs of a kind together.

    Attributes:
        part: which kind.
        checkpoint_bytes: of one checkpoint.
        written: checkpoints of one job.
        kept: of these, when it is done.
        kept_bytes: of all jobs.
        out_bytes: checkpoints, from islands to the store.
        in_bytes: shards, from the store to nodes, each once; None if it is not known.
    """

    part: str
    checkpoint_bytes: int
    written: int
    kept: int
    kept_bytes: int
    out_bytes: int
    in_bytes: float | None


def volumes(config: Config, parts: Sequence[Part], data_bytes: float | None) -> tuple[Volume, ...]:
    """What each kind of job keeps and moves, if no island is lost.

    The experts together read the data once, the monolith and the router each once more, unless
    they find it on a node that read it for another job: what a node has read stays on its disk.
    All nodes of an island read all of its shards.
    """
    found = []
    in_bytes = None if data_bytes is None else config.island.nodes * data_bytes
    for part in parts:
        written = -(-part.steps // config.training.checkpoint_every_steps)
        kept = num_kept(config.checkpoints, part.steps, config.training.checkpoint_every_steps)
        size = part.checkpoint_bytes
        found.append(
            Volume(
                part=part.name,
                checkpoint_bytes=size,
                written=written,
                kept=kept,
                kept_bytes=part.count * kept * size,
                out_bytes=part.count * written * size,
                in_bytes=in_bytes,
            )
        )
    return tuple(found)


def num_kept(checkpoints: CheckpointsSection, steps: int, every: int) -> int:
    """Checkpoints of a finished job that are kept, if its best are not among those kept anyway.

    Args:
        checkpoints: what is asked for.
        steps: of the job; after the last one it writes a checkpoint too.
        every: steps between two.
    """
    written = -(-steps // every)
    last = min(written, checkpoints.keep_last)
    early = 0
    if checkpoints.keep_every_steps:
        early = (written - last) * every // checkpoints.keep_every_steps
    return last + early + min(checkpoints.keep_best, written - last - early)
