"""A trainer without a network: its weights are a hash chain, so that every step shows in the end.

It speaks the relay's protocol as the real ones do, starts in a tenth of a second, and takes
``--step-s`` for a step. ``--break-at N`` makes it say why it cannot go on at step N, as long as the
file ``--while-exists`` is there. ``--fall-at N`` kills it at step N, or once it has uploaded what
it tells nobody of, until it was tried ``--fall`` times. On an island of several nodes no
step is made without all of them.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import signal
import socket
import sys
import tempfile
import threading
import time
from pathlib import Path

from atoll import layout, relay
from atoll.beats import Beat, Phase, write_beat
from atoll.blobs import open_store
from atoll.checkpoints import Compat, download, upload
from atoll.errors import CheckpointDamaged
from atoll.node_place import NodePlace, read_meeting, read_place, write_meeting
from atoll.types import Assignment, Progress

COMPAT = Compat("fake", "pixels", (1, 8, 8), "none", "none")


def weights_after(job: str, steps: int) -> str:
    """What an undisturbed run ends with."""
    weights = hashlib.sha256(job.encode()).hexdigest()
    for step in range(steps):
        weights = hashlib.sha256(f"{weights}{step}".encode()).hexdigest()
    return weights


def watch_leash(asked: threading.Event) -> None:
    while data := os.read(0, 1024):
        if relay.DRAIN.encode() in data:
            asked.set()
    os._exit(3)


class Alone:
    """The other nodes, where there are none."""

    rank, num = 0, 1

    def step(self) -> bool:
        """Whether this node makes another step."""
        return True

    def end(self) -> None: ...


class Leading(Alone):
    """A line to each of the others: a byte for each step, and one for the end."""

    def __init__(self, place: NodePlace, work_dir: Path) -> None:
        self.num = place.num
        with socket.create_server((place.address, 0)) as server:
            write_meeting(work_dir, *server.getsockname())
            self._others = [server.accept()[0] for _ in range(place.num - 1)]

    def step(self) -> bool:
        for other in self._others:
            other.sendall(b"s")
            if other.recv(1) != b"s":
                raise ConnectionError("connection closed by peer")
        return True

    def end(self) -> None:
        for other in self._others:
            other.sendall(b"e")


class Following(Alone):
    """The other end of such a line."""

    def __init__(self, place: NodePlace, work_dir: Path) -> None:
        self.rank, self.num = place.rank, place.num
        while (meeting := read_meeting(work_dir)) is None:
            time.sleep(0.01)
        self._leader = socket.create_connection(meeting)

    def step(self) -> bool:
        said = self._leader.recv(1)
        if not said:
            raise ConnectionError("connection closed by peer")
        if said == b"s":
            self._leader.sendall(b"s")
        return said == b"s"


def peers_of(work_dir: Path) -> Alone:
    place = read_place(work_dir)
    if place.num == 1:
        return Alone()
    return (Following if place.rank else Leading)(place, work_dir)


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--work-dir", type=Path, required=True)
    parser.add_argument("--step-s", type=float, default=0.01)
    parser.add_argument("--every", type=int, default=10)
    parser.add_argument("--break-at", type=int, default=-1)
    parser.add_argument("--while-exists", type=Path, default=Path("/"))
    parser.add_argument("--fall-at", type=int, default=-1)
    parser.add_argument("--fall", type=int, default=1, help="how often")
    parser.add_argument("--by", default="SIGKILL", help="what it falls by")
    parser.add_argument("--untold", action="store_true", help="falls once it has uploaded")
    parser.add_argument("--deaf", action="store_true", help="does not drain")
    return parser.parse_args()


def fall(
    given: argparse.Namespace, step: int, assignment: Assignment, *, untold: bool = False
) -> None:
    tried = assignment.lease.epoch - 1 + assignment.restarts
    if step == given.fall_at and tried < given.fall and untold == given.untold:
        print("falls", flush=True)
        place = read_place(given.work_dir)
        write_beat(given.work_dir, Beat(place.rank, place.num, step, Phase.STEP))  # its last
        os.kill(os.getpid(), signal.Signals[given.by])


def main() -> int:
    given = options()
    asked = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: asked.set())  # as experts.leash does
    threading.Thread(target=watch_leash, args=(asked,), daemon=True).start()
    assignment, speaker = relay.read_assignment(given.work_dir), relay.Speaker(given.work_dir)
    spec, lease, resumed = assignment.spec, assignment.lease, assignment.checkpoint
    store, step, weights = open_store(spec.run_uri), 0, weights_after(spec.name, 0)
    if resumed:
        step = resumed.step
        try:
            files = download(store, resumed, given.work_dir / "cache").files
        except CheckpointDamaged as error:
            speaker.say(relay.Damaged(str(error)))
            return 1
        weights = files["weights"].read_text()

    peers = peers_of(given.work_dir)
    if read_place(given.work_dir).address:  # of an island of several nodes
        print(f"rank {peers.rank} of {peers.num}", flush=True)

    def publish() -> None:
        with tempfile.TemporaryDirectory(dir=given.work_dir) as folder:
            (Path(folder) / "weights").write_text(weights)
            key = layout.checkpoint_folder(spec.name, lease.epoch, step, assignment.restarts)
            at = {"step": step, "epoch": lease.epoch, "compat": COMPAT, "about": {}}
            ref = upload(store, key, Path(folder), **at)
            fall(given, step, assignment, untold=True)
            speaker.say(relay.Published(ref, 1 / step))
        print(f"published step {step}", flush=True)

    committed = step
    while step < spec.steps and not (asked.is_set() and not (given.deaf or peers.rank)):
        if step == given.break_at and given.while_exists.exists():
            speaker.say(relay.Broke(f"step {step} cannot be taken"))
            return 2
        time.sleep(given.step_s)
        fall(given, step, assignment)
        try:
            if not peers.step():
                return 0
        except OSError as error:
            speaker.say(relay.Broke(str(error)))
            return 1
        weights = hashlib.sha256(f"{weights}{step}".encode()).hexdigest()
        step += 1
        if peers.rank:
            continue
        speaker.say(Progress(step, 1 / step, 1 / given.step_s))
        if step % given.every == 0:
            publish()
            committed = step
    if peers.rank:
        return 0
    peers.end()
    if step > committed:
        publish()
    print(f"left at step {step}", flush=True)
    speaker.say(relay.Ended(step == spec.steps))
    return 0


if __name__ == "__main__":
    sys.exit(main())
