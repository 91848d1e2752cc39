"""What every fault is given to work with.

A fault is a story of three parts: what is prepared before the run is launched; after the first
``yield`` what befalls it at work; after the second, once it has ended, what shows that it did.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil
import pytest

from tests.faults.points import INSIDE, Point
from tests.integration.conftest import Run

LONG = 150  # steps: enough to be met by something at work


@dataclass
class Scene:
    """A run that is about to meet a fault.

    Attributes:
        run: not launched yet.
        environment: of all its processes.
        until: waits for something to hold.
        folder: for what the fault needs.
        told: what the run told its user, once it has ended.
    """

    run: Run
    environment: pytest.MonkeyPatch
    until: Callable[..., None]
    folder: Path
    told: str = ""

    def inside(self, **variables: str) -> None:
        """Let Python read ``inside/sitecustomize.py`` first in every process of the run."""
        path = os.pathsep.join(filter(None, (str(INSIDE), os.environ.get("PYTHONPATH"))))
        self.environment.setenv("PYTHONPATH", path)
        for name, value in variables.items():
            self.environment.setenv(name, value)

    def arm(self, point: Point) -> Path:
        """Have somebody struck at a point; returns the file that is there once it happened."""
        marker = self.folder / "struck"
        state = self.run.folder().absolute()
        armed = {**asdict(point), "marker": str(marker), "state": str(state)}
        self.inside(ATOLL_FAULT=json.dumps(armed))
        return marker

    def at_work(self, *jobs: str, step: int = 20) -> None:
        """Return once these jobs have committed so many steps."""
        self.until(lambda: all(self.run.committed(job) >= step for job in jobs))

    def reasons(self, kind: str) -> list[str]:
        """Of all events of a kind."""
        return [event.reason for event in self.run.events() if event.kind == kind]

    def epochs(self) -> list[int]:
        """How many leases each job took."""
        return sorted(ref.epoch for ref in self.run.results().values())


Story = Callable[[Scene], Iterator[None]]


def struck(point: Point, shows: Callable[[Scene], None]) -> Story:
    """The story of somebody who is struck at a point of its work."""

    def story(scene: Scene) -> Iterator[None]:
        met = scene.arm(point)
        yield
        yield
        assert met.exists()
        shows(scene)

    return story


def freeze(process: psutil.Process) -> None:
    process.send_signal(signal.SIGSTOP)


def thaw(process: psutil.Process) -> None:
    process.send_signal(signal.SIGCONT)
