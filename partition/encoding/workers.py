"""The processes of this machine that encode; each does a whole tar at a time."""

from __future__ import annotations

import contextlib
import multiprocessing
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from atoll.blobs import open_store
from atoll.cache_section import CacheSection
from atoll.errors import BlobDamaged, DataError, OutOfMemory
from atoll.node_cache import open_cache
from partition.encoding.series import Encoder, Series
from partition.encoding.shard import Record, encode_shard
from partition.manifest import Shard
from partition.workers import num_cores, settle


@dataclass(frozen=True, slots=True)
class Task:
    """What every process is told.

    Attributes:
        run_uri: of the run.
        cache: where copies of shards go.
        series: what is made of them.
        folder: for what is not whole yet.
        models: for copies of models.
        threads: of each process that prepare samples.
    """

    run_uri: str
    cache: CacheSection
    series: Series
    folder: Path
    models: Path
    threads: int


def num_workers(wanted: int, num_shards: int) -> int:
    """How many processes have something to do: as asked for, or one for each GPU or core."""
    return min(wanted or torch.cuda.device_count() or num_cores(), num_shards)


def encoded(task: Task, shards: Iterable[Shard], workers: int) -> Iterator[tuple[Shard, Record]]:
    """Tars of images as they are done, each with what was made of it.

    Args:
        task: what is done.
        shards: which; the next one is taken when a process is free for it.
        workers: how many processes; 1 for this one.

    Raises:
        DataError: a tar of images is damaged.
        StorageFull: no space left.
        OutOfMemory: a model needs more than there is.
    """
    if workers == 1:
        worker = _Worker(task, 0)
        for shard in shards:
            yield shard, worker.encode(shard)
        return
    context = multiprocessing.get_context("spawn")
    numbers = context.Queue()
    for number in range(workers):
        numbers.put(number)
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(workers, context, _begin, (task, numbers))
    try:
        yield from _spread(pool, iter(shards), workers)
    except BrokenProcessPool as error:
        raise OutOfMemory(
            "a process that encodes was killed, as the system does when memory runs out; lower "
            f"{task.series.name}.workers or {task.series.name}.batch_size and run the same command "
            "again: what is done is kept"
        ) from error
    except BaseException:  # also Ctrl-C: a tar that is not whole is nothing to wait for
        for process in set(multiprocessing.active_children()) - others:
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _spread(
    pool: ProcessPoolExecutor, shards: Iterator[Shard], workers: int
) -> Iterator[tuple[Shard, Record]]:
    doing: dict[Future[Record], Shard] = {}
    while True:
        while len(doing) < workers and (shard := next(shards, None)) is not None:
            doing[pool.submit(_encode, shard)] = shard
        if not doing:
            return
        for future in wait(doing, return_when=FIRST_COMPLETED).done:
            yield doing.pop(future), future.result()


class _Worker:
    """One process, or this one; the model is loaded once there is something to do.

    Args:
        task: what is done.
        number: of the process, by which it takes a GPU.
    """

    def __init__(self, task: Task, number: int) -> None:
        self._task, self._store = task, open_store(task.run_uri)
        self._cache = open_cache(task.cache, task.run_uri)
        gpus = torch.cuda.device_count()
        self._device = torch.device("cuda", number % gpus) if gpus else torch.device("cpu")
        self._encoder: Encoder | None = None

    def encode(self, shard: Shard) -> Record:
        """See :func:`encoded`."""
        task = self._task
        held = self._cache.hold(self._store, [shard.blob])
        try:
            path = held.path(shard.blob)
        except BlobDamaged as error:
            raise DataError(str(error)) from error
        with _settled():
            try:
                self._encoder = self._encoder or task.series.open(
                    self._store, task.models, self._device
                )
                return encode_shard(
                    self._store,
                    task.series,
                    self._encoder,
                    shard,
                    path,
                    folder=task.folder,
                    threads=task.threads,
                )
            except torch.OutOfMemoryError as error:
                raise OutOfMemory(
                    f"{self._device} has no memory for so many {task.series.name} at once; "
                    f"lower {task.series.name}.batch_size and run the same command again"
                ) from error


_worker: _Worker | None = None  # of this process, if it is one of several


def _begin(task: Task, numbers: Any) -> None:
    global _worker  # noqa: PLW0603 - the pool's tasks have no other way to what its start has made
    settle()
    _worker = _Worker(task, numbers.get())


def _encode(shard: Shard) -> Record:
    assert _worker is not None
    return _worker.encode(shard)


@contextlib.contextmanager
def _settled() -> Iterator[None]:
    """Inside, equal samples give equal bytes, however many processes share the machine."""
    threads, benchmark = torch.get_num_threads(), torch.backends.cudnn.benchmark
    deterministic = torch.backends.cudnn.deterministic
    torch.set_num_threads(1)
    torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = False, True
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.backends.cudnn.benchmark = benchmark
        torch.backends.cudnn.deterministic = deterministic
