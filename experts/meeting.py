"""How the processes of an island find each other."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import distributed
from torch.distributed import TCPStore  # type: ignore[attr-defined]

from atoll.node_place import NodePlace, read_meeting, write_meeting
from experts.task import Place

_FILE = "processes"  # in which those of one node meet
_LOOK_S = 0.05


@contextlib.contextmanager
def joined(place: Place, node: NodePlace, work_dir: Path) -> Iterator[None]:
    """Inside, the processes of the island can talk; gloo carries what is not on a GPU.

    Connections of a process that breaks stay until it ends: it shall have said why before the
    others miss it, and complain of that.

    On one node they meet in a file, because torch's store would listen on every network of the
    machine. Those of several meet at the first of them, whose store listens at its node's address
    alone; it takes no part in anything once all know each other.

    Args:
        place: of this process among all of the island.
        node: of its node among the island's.
        work_dir: of this lease, on this node.
    """
    if place.world == 1:
        yield
        return
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    if node.num == 1:
        distributed.init_process_group(
            backend,
            init_method=f"file://{(work_dir / _FILE).absolute()}",
            rank=place.rank,
            world_size=place.world,
        )
    else:
        store = _opened(node, place, work_dir) if place.rank == 0 else _found(place, work_dir)
        distributed.init_process_group(
            backend, store=store, rank=place.rank, world_size=place.world
        )
    yield
    distributed.destroy_process_group()


def _opened(node: NodePlace, place: Place, work_dir: Path) -> TCPStore:
    """The store where all meet, told once it listens."""
    family = socket.AF_INET6 if ":" in node.address else socket.AF_INET
    listening = socket.create_server((node.address, 0), family=family)
    port = listening.getsockname()[1]
    store = TCPStore(
        node.address,
        port,
        place.world,
        is_master=True,
        wait_for_workers=False,
        master_listen_fd=listening.detach(),
    )
    write_meeting(work_dir, node.address, port)
    return store


def _found(place: Place, work_dir: Path) -> TCPStore:
    """The same, once this node was told of it; an agent that waits no longer ends the process."""
    while (meeting := read_meeting(work_dir)) is None:
        time.sleep(_LOOK_S)
    return TCPStore(*meeting, place.world, is_master=False)
