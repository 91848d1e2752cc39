"""The process around the train loop: what every trainer does before, after, and when it fails."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import platform
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import NoReturn

import torch
from torch import distributed

from atoll import logs, relay
from atoll.blob_checks import is_full
from atoll.blobs import open_store
from atoll.config import Config
from atoll.config_file import load_config
from atoll.errors import AtollError, BadInput, CheckpointDamaged, Leapt, StorageFull
from atoll.fit import refuse_patches
from atoll.jobs import job_digest
from atoll.node_cache import open_cache
from atoll.node_place import NodePlace, read_place
from atoll.parallel_fit import refuse_buckets, refuse_layout
from atoll.parallel_section import ParallelSection, parallel_of
from atoll.relay import Broke, Damaged, Ended, Speaker, read_assignment, read_parallel
from atoll.types import JobSpec, Role
from experts.decoding import decoder_of
from experts.devices import device_of
from experts.fetching import Fetching
from experts.leash import Leash
from experts.loop import train
from experts.meeting import joined
from experts.parallel.mesh import Mesh
from experts.task import Place, Task
from experts.watching.memory import shortage_told
from experts.watching.pulse import Pulse
from experts.workplace import Workplace
from partition.manifest import Partition
from partition.reader import ShardReader
from partition.stage import load_partition

MakeTask = Callable[[Config, JobSpec, Partition], Task]

logger = logging.getLogger(__name__)


def run_trainer(make_task: MakeTask) -> int:
    """Train what the agent laid down in ``--work-dir``; the whole of a trainer's main program.

    Args:
        make_task: the task behind a job.

    Returns:
        The exit code: 0 when the job is done or drained. Whatever else happens is told to the agent
        in a sentence.
    """
    parser = argparse.ArgumentParser(description="Train one job; started by an island's agent.")
    parser.add_argument("--work-dir", type=Path, required=True)
    work_dir: Path = parser.parse_args().work_dir
    logs.set_up()
    place = _place(read_place(work_dir))
    try:
        finished = _train(make_task, work_dir)
    except CheckpointDamaged as error:
        Speaker(work_dir).say(Damaged(str(error)))
        return error.exit_code
    except Leapt as error:  # all of them do at once
        if place.rank:
            threading.Event().wait()  # until the first has said so, and the agent ends them all
        Speaker(work_dir).say(relay.Leapt(str(error), error.passed))
        return error.exit_code
    except AtollError as error:
        final = error.exit_code == BadInput.exit_code  # and so it is for all of them
        Speaker(work_dir).say(Broke(str(error) if final else f"{_named(place)}{error}", final))
        return error.exit_code
    except Exception as error:
        logger.exception("the trainer broke")
        Speaker(work_dir).say(Broke(f"{_named(place)}{type(error).__name__}: {error}"))
        return 1
    if place.rank == 0:
        Speaker(work_dir).say(Ended(finished))
    return 0


def leave(code: int) -> NoReturn:
    """End this process; at once if it broke, since torch might wait for peers that are gone."""
    if code:
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _train(make_task: MakeTask, work_dir: Path) -> bool:
    node, local_rank = read_place(work_dir), int(os.environ.get("LOCAL_RANK", "0"))
    place = _place(node)
    leash, pulse = Leash(reads=local_rank == 0), Pulse()
    pulse.beat(work_dir, place)
    assignment = read_assignment(work_dir)
    store = open_store(assignment.spec.run_uri)
    config, partition = load_config(store), load_partition(store)
    _refuse_other_settings(assignment.spec, config, partition)
    torch.set_num_threads(config.island.threads)
    device = device_of(config.island, local_rank)
    _settled(device)
    task = make_task(config, assignment.spec, partition)
    cache = open_cache(config.cache, assignment.spec.run_uri)
    fetching = Fetching(assignment, Speaker(work_dir), place)
    samples = ShardReader(
        store,
        partition,
        task.clusters,
        cache,
        config.run.seed,
        held_out=task.training.held_out,
        features=task.aligns,
        heard=fetching.heard,
    )
    fetching.done()
    parallel = _parallel(work_dir, assignment.spec)
    if assignment.spec.role is not Role.ROUTER:
        # An agent that was started by hand brings a layout that no configuration knew.
        refuse_layout(parallel, config.expert, config.training)
        refuse_buckets(parallel, config.data.buckets)
        for (side, _), (_, height, width) in zip(partition.sizes, partition.shapes, strict=True):
            refuse_patches(config, height, width, [parallel], factor=side // height)
    layout = parallel.over(place.world)
    if local_rank == 0:
        logger.info("laid out", extra={"fields": asdict(layout)})
    batch_size = task.training.batch_size
    with (
        joined(place, node, work_dir),
        _full_disk_told(work_dir),
        shortage_told(assignment.spec, batch_size),
    ):
        at = Workplace(
            assignment=assignment,
            store=store,
            work_dir=work_dir,
            mesh=Mesh(layout, place.rank, device),
            parallel=parallel,
            device=device,
            drain=lambda: _any(leash.drain_asked, place),
            wish=leash.take_wish,
            pulse=pulse,
            decode=decoder_of(store, partition, work_dir / "cache", device, keeps=False),
        )
        return train(task, samples, at)


def _refuse_other_settings(spec: JobSpec, config: Config, partition: Partition) -> None:
    """A command for other jobs of the run may have replaced its configuration meanwhile."""
    if job_digest(config, partition.digest, spec.role, spec.index) != spec.digest:
        raise BadInput(
            f"{spec.name} was begun with other settings than the run's configuration holds now; "
            "run its command again with those it was begun with"
        )


def _place(node: NodePlace) -> Place:
    """By what torchrun says of this process on its node; it is alone there without it."""
    rank, num = (int(os.environ.get(name, less)) for name, less in (("RANK", 0), ("WORLD_SIZE", 1)))
    return Place(node.rank * num + rank, node.num * num)


def _parallel(work_dir: Path, spec: JobSpec) -> ParallelSection:
    """How the island's processes share this job; of a router, which is small, the batch alone."""
    if spec.role is Role.ROUTER:
        return ParallelSection()
    return parallel_of(read_parallel(work_dir))


def _named(place: Place) -> str:
    """Which process speaks, where there are several."""
    return f"rank {place.rank} of {place.world}: " if place.world > 1 else ""


def _settled(device: torch.device) -> None:
    """Equal seeds shall give equal weights wherever CUDA has a kernel that can; CPU's all do."""
    if device.type == "cuda":
        os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
        torch.use_deterministic_algorithms(True, warn_only=True)
        # Nothing here is read before it is written.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        torch.cuda.set_device(device)


def _any(mine: bool, place: Place) -> bool:
    """Whether it holds in any process."""
    if place.world == 1:
        return mine
    held = torch.tensor(int(mine))
    distributed.all_reduce(held, distributed.ReduceOp.MAX)
    return bool(held)


@contextlib.contextmanager
def _full_disk_told(work_dir: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if not is_full(error):
            raise
        raise StorageFull(
            f"no space or quota left for {error.filename or work_dir} on {platform.node()} "
            f"({error.strerror}); free some and run the same command again"
        ) from error
