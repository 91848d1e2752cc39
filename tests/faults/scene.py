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
from tests.integration.runs import Run

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

    def arm(self, *points: Point) -> list[Path]:
        """Have somebody struck at each point in turn; returns a file for each that was met."""
        markers = [self.folder / f"struck-{number}" for number, _ in enumerate(points)]
        state = self.run.folder().absolute()
        armed = [
            {**asdict(point), "marker": str(marker), "after": str(before), "state": str(state)}
            for point, marker, before in zip(
                points, markers, [state.parent, *markers], strict=False
            )
        ]
        self.inside(ATOLL_FAULT=json.dumps(armed))
        return markers

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


def struck(*points: Point, shows: Callable[[Scene], None]) -> Story:
    """The story of those who are struck at a point of their work, one after the other."""

    def story(scene: Scene) -> Iterator[None]:
        if len(points) > 1:
            scene.run.steps = LONG
        met = scene.arm(*points)
        yield
        yield
        assert [marker.exists() for marker in met] == [True] * len(points)
        shows(scene)

    return story


def freeze(process: psutil.Process) -> None:
    process.send_signal(signal.SIGSTOP)


def thaw(process: psutil.Process) -> None:
    process.send_signal(signal.SIGCONT)
