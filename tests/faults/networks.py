"""What befalls the network between agents and orchestrator."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from orchestrator.endpoint import ENDPOINT_FILE
from tests.faults.meddler import Meddler, meddler
from tests.faults.orchestrators import is_no_matter
from tests.faults.scene import Scene, Story

CALLS = {"Acquire", "Heartbeat", "Commit", "Release"}
WIRE = Path(__file__).parents[1] / "wire.py"


def through_a_wire(*options: str, sign: str) -> Story:
    """The story of a wire that says a word for what it does to those who speak through it."""

    def story(scene: Scene) -> Iterator[None]:
        scene.run.steps = 80
        command = [sys.executable, str(WIRE), str(scene.run.folder() / ENDPOINT_FILE), *options]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as wire:
            assert wire.stdout is not None
            try:
                scene.inside(ATOLL_FAULT_PROXY=f"127.0.0.1:{int(wire.stdout.readline())}")
                yield
                yield
            finally:
                wire.kill()
            assert sign in wire.stdout.read().split()
        is_no_matter(scene)

    return story


cut_every_second = through_a_wire("--cut-every-s", "1", sign="cut")
delayed = through_a_wire("--delay-s", "0.2", sign="connected")


def duplicated(scene: Scene) -> Iterator[None]:
    with meddler(scene.run.folder() / ENDPOINT_FILE, Meddler.twice) as between:
        scene.inside(ATOLL_FAULT_PROXY=between.address)
        yield
        yield
    assert between.answers.keys() == {(call, "OK") for call in CALLS}
    is_no_matter(scene)


def reordered(scene: Scene) -> Iterator[None]:
    with meddler(scene.run.folder() / ENDPOINT_FILE, Meddler.overtaken) as between:
        scene.inside(ATOLL_FAULT_PROXY=between.address)
        yield
        yield
    assert {call for call, _ in between.answers} == CALLS
    assert between.num_outrun > 0


def replayed(scene: Scene) -> Iterator[None]:
    """One island works on both jobs: what it said of the first comes again amid the second."""
    scene.run.overrides = ["island.count=1"]
    with meddler(scene.run.folder() / ENDPOINT_FILE, Meddler.followed_by_old_ones) as between:
        scene.inside(ATOLL_FAULT_PROXY=between.address)
        yield
        yield
    assert {call for call, _ in between.answers} == CALLS
    assert between.answers["Heartbeat", "ABORTED"] > 0  # of a lease that is no more
