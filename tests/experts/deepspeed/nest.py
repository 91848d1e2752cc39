"""Ranks that begin where the import of DeepSpeed ends: forked off one process that has made it."""

from __future__ import annotations

import contextlib
import importlib
import os
import warnings
from collections.abc import Iterator
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path

import torch

from tests.ranks import Ranks, serve
from tests.warm import forked

# What DeepSpeed itself imports at the first step counts, too.
_HEAVY = (
    "deepspeed",
    "deepspeed.runtime.zero.stage3",
    "deepspeed.runtime.zero.muon.muon_optimizer",
)


@contextlib.contextmanager
def nest(folder: Path, *sizes: int) -> Iterator[list[Ranks]]:
    """Groups of so many processes, until the end."""
    groups = [[Pipe() for _ in range(size)] for size in sizes]
    theirs = [[their for _, their in group] for group in groups]
    process, wire = forked(_hatch, folder, theirs)
    for group in theirs:
        for their in group:
            their.close()
    try:
        yield [Ranks([our for our, _ in group]) for group in groups]
    finally:
        for group in groups:
            for our, _ in group:
                our.close()
        process.join(10)
        process.kill()
        wire.close()


def _hatch(_: Connection, folder: Path, groups: list[list[Connection]]) -> None:
    torch.set_num_threads(1)
    os.environ["DS_ACCELERATOR"] = "cpu"
    for name in _HEAVY:
        importlib.import_module(name)
    warnings.simplefilter("error")
    children = []
    for number, group in enumerate(groups):
        for rank, wire in enumerate(group):
            child = os.fork()
            if child == 0:
                os.environ["LOCAL_RANK"] = str(rank)
                serve(wire, rank, len(group), folder / f"meeting-{number}")
                os._exit(0)
            children.append(child)
    for child in children:
        os.waitpid(child, 0)
