"""What befalls disks: they fill up, and they keep half of what was written."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from atoll import layout
from atoll.checkpoints import MANIFEST
from tests.faults.orchestrators import is_no_matter
from tests.faults.scene import LONG, Scene


@dataclass
class Disk:
    """A small file system of its own."""

    folder: Path

    def fill(self) -> None:
        """Until not a byte more has room."""
        with (self.folder / "filler").open("ab", buffering=0) as filler:
            for size in (4096, 1):
                with contextlib.suppress(OSError):
                    while filler.write(b"\0" * size):
                        pass

    def free(self) -> None:
        (self.folder / "filler").unlink()


@contextlib.contextmanager
def disk(folder: Path, megabytes: int) -> Iterator[Disk]:
    """Inside, a folder is a disk of that size."""
    if os.geteuid():
        pytest.skip("only root can mount a small file system to fill")
    folder.mkdir(parents=True, exist_ok=True)
    options = f"size={megabytes}m"
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    made = subprocess.run(mount, capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"no small file system can be mounted here: {made.stderr.strip()}")
    try:
        yield Disk(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def store_full(scene: Scene) -> Iterator[None]:
    scene.run.steps, scene.run.overrides = LONG, ["island.restarts=0"]
    with disk(scene.run.uri / "checkpoints", megabytes=1) as checkpoints:
        yield
        scene.at_work("expert-0")
        scene.until(lambda: checkpoints.fill() or scene.reasons("attempt-failed"))
        checkpoints.free()
        yield
        assert all("no space or quota left" in why for why in scene.reasons("attempt-failed"))


def database_full(scene: Scene) -> Iterator[None]:
    run = scene.run
    run.steps = LONG
    with disk(scene.folder / "database", megabytes=2) as database:
        run.overrides = [f"orchestrator.database=sqlite:///{database.folder}/atoll.db"]
        yield
        scene.at_work("expert-0")
        island = run.jobs()["expert-0"].island
        scene.until(lambda: database.fill() or "disk is full" in run.agent_log(island))
        database.free()
        yield
        is_no_matter(scene)


def everything_full(scene: Scene) -> Iterator[None]:
    """Store, database, logs and folders of work lie on one disk, as they do by default."""
    run = scene.run
    run.steps, run.overrides = LONG, ["island.restarts=0"]
    with disk(run.uri, megabytes=8) as whole:
        run.__post_init__()
        yield
        scene.at_work("expert-0")
        trainer = run.trainer_of("expert-0")
        scene.until(lambda: whole.fill() or not trainer.is_running())
        whole.free()
        yield
        assert scene.reasons("attempt-failed")  # why, there was no room to say


def torn_files_under_the_next_epoch(scene: Scene) -> Iterator[None]:
    """As a machine that loses its power leaves them, if its disk promised more than it kept."""
    run = scene.run
    run.steps, run.overrides = LONG, ["island.restarts=0"]
    yield
    scene.at_work("expert-0")
    steps = range(10, run.steps + 1, 10)
    for folder in (run.uri / layout.checkpoint_folder("expert-0", 2, step) for step in steps):
        folder.mkdir(parents=True)
        for name in ("weights", MANIFEST):
            (folder / name).write_text("{")
    run.trainer_of("expert-0").kill()
    yield
    first, second = scene.reasons("attempt-failed")
    assert "killed by signal 9 (SIGKILL)" in first
    assert "is written already" in second
    assert scene.epochs() == [1, 3]
