"""A trainer without a network: its weights are a hash chain, so that every step shows in the end.

It speaks the relay's protocol as the real ones do, starts in a tenth of a second, and takes
``--step-s`` for a step. ``--break-at N`` makes it say why it cannot go on at step N, as long as the
file ``--while-exists`` is there.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

from atoll import layout, relay
from atoll.blobs import open_store
from atoll.checkpoints import Compat, download, upload
from atoll.errors import CheckpointDamaged
from atoll.types import Progress

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


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--work-dir", type=Path, required=True)
    parser.add_argument("--step-s", type=float, default=0.01)
    parser.add_argument("--every", type=int, default=10)
    parser.add_argument("--break-at", type=int, default=-1)
    parser.add_argument("--while-exists", type=Path, default=Path("/"))
    parser.add_argument("--deaf", action="store_true", help="does not drain")
    given = parser.parse_args()
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

    def publish() -> None:
        with tempfile.TemporaryDirectory(dir=given.work_dir) as folder:
            (Path(folder) / "weights").write_text(weights)
            key = layout.checkpoint_folder(spec.name, lease.epoch, step)
            at = {"step": step, "epoch": lease.epoch, "compat": COMPAT, "about": {}}
            speaker.say(relay.Published(upload(store, key, Path(folder), **at), 1 / step))
        print(f"published step {step}", flush=True)

    committed = step
    while step < spec.steps and not (asked.is_set() and not given.deaf):
        if step == given.break_at and given.while_exists.exists():
            speaker.say(relay.Broke(f"step {step} cannot be taken"))
            return 2
        time.sleep(given.step_s)
        weights = hashlib.sha256(f"{weights}{step}".encode()).hexdigest()
        step += 1
        speaker.say(Progress(step, 1 / step, 1 / given.step_s))
        if step % given.every == 0:
            publish()
            committed = step
    if step > committed:
        publish()
    print(f"left at step {step}", flush=True)
    speaker.say(relay.Ended(step == spec.steps))
    return 0


if __name__ == "__main__":
    sys.exit(main())
