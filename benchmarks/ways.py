"""Ways to serve requests for images on one thread, and how long each takes for a trace."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from atoll.clock import SystemClock
from atoll.flops import Shape
from atoll.sections import SamplingSection
from experts.condition import Conditioning
from experts.flow import VelocityField
from router.ensemble import Ensemble
from router.gate import Gate
from router.sampling import Sampler, Wanted
from serving.bench.tally import Answer
from serving.engine.alone import row_by_row
from serving.engine.engine import Engine
from serving.engine.events import Done, Event, Failed
from serving.engine.model import Experts, Model
from serving.engine.request import Request
from serving.engine.tick import Watch, nobody

CPU = torch.device("cpu")
MOST_ROWS = 32  # of one batch; an image with guidance takes two


@dataclass(frozen=True, slots=True)
class Drawn:
    """What all ways draw from."""

    experts: Sequence[VelocityField]
    gate: Gate
    conditioning: Conditioning
    shape: Shape


class Way(Protocol):
    """Serves requests of one image each."""

    def take(self, request: Request) -> None:
        """One more has arrived."""

    def work(self) -> Sequence[str]:
        """Do what cannot be interrupted; the names of the requests that were finished by it."""


class Serial:
    """One after the other, by the plain sampler."""

    def __init__(self, drawn: Drawn) -> None:
        self._drawn = drawn
        self._waiting: deque[Request] = deque()

    def take(self, request: Request) -> None:
        """See :class:`Way`."""
        self._waiting.append(request)

    def work(self) -> Sequence[str]:
        """See :class:`Way`."""
        return self._draw([self._waiting.popleft()])

    def _draw(self, requests: Sequence[Request]) -> Sequence[str]:
        drawn, sampling = self._drawn, requests[0].sampling
        ensemble = Ensemble(drawn.experts, drawn.gate, sampling.selection)
        sampler = Sampler(ensemble, drawn.conditioning, drawn.shape, CPU)
        seeds = [seed for request in requests for seed in request.seeds]
        conditions = [request.cond for request in requests if request.cond is not None]
        settings = SamplingSection(
            solver=sampling.solver,  # type: ignore[arg-type]
            steps=sampling.steps,
            guidance=sampling.guidance,
            batch_size=len(seeds),
        )
        list(sampler.batches(Wanted(seeds, torch.cat(conditions)), settings))
        return [request.name for request in requests]


class ByRequest(Serial):
    """Those that wait and are drawn alike, together from noise to image."""

    def work(self) -> Sequence[str]:
        """See :class:`Way`."""
        sampling = self._waiting[0].sampling
        alike = [each for each in self._waiting if each.sampling == sampling]
        chosen = alike[: MOST_ROWS // (1 if sampling.guidance == 1 else 2)]
        self._waiting = deque(each for each in self._waiting if each not in chosen)
        return self._draw(chosen)


@dataclass(slots=True)
class All:
    """Experts that are all in memory."""

    resident: Mapping[int, VelocityField]
    lost: Collection[int]

    @property
    def num(self) -> int:
        """K."""
        return len(self.resident)

    def tell(self, used: object, wanted: object, later: object, soon: object) -> None:
        """Nobody has to come or leave."""

    def spare(self, needed: object) -> None:
        """Nobody leaves."""


class BySteps:
    """The engine: whoever waits for a step, together."""

    def __init__(
        self,
        drawn: Drawn,
        experts: Experts | None = None,
        bell: threading.Event | None = None,
        watch: Watch = nobody,
        most_steps: int = 1,
    ) -> None:
        held = experts or All(dict(enumerate(drawn.experts)), ())
        model = Model(held, drawn.gate, drawn.conditioning, drawn.shape, CPU)
        self._bell = bell or threading.Event()
        self._engine = Engine(
            model,
            SystemClock(),
            self._bell,
            num_slots=64,
            most_rows=MOST_ROWS,
            most_steps=most_steps,
            watch=watch,
        )
        self._finished: list[str] = []

    @property
    def num_unused(self) -> int:
        """Rows that were evaluated in vain."""
        return self._engine.num_unused

    def take(self, request: Request) -> None:
        """See :class:`Way`."""

        def hear(event: Event) -> None:
            assert not isinstance(event, Failed), event
            if isinstance(event, Done):
                self._finished.append(request.name)

        self._engine.submit(request, hear)

    def work(self) -> Sequence[str]:
        """See :class:`Way`."""
        self._bell.clear()
        if not self._engine.tick() and not self._finished:
            self._bell.wait(1.0)  # for an expert
        finished, self._finished = self._finished, []
        return finished


def ungrouped(drawn: Drawn) -> BySteps:
    """The engine, where an expert is asked about one row at a time; all else is batched."""
    experts = [row_by_row(expert) for expert in drawn.experts]
    return BySteps(Drawn(experts, drawn.gate, drawn.conditioning, drawn.shape))


Arrivals = Sequence[tuple[float, Request]]


def played(
    way: Way, arrivals: Arrivals, clock: Callable[[], float] = time.thread_time
) -> list[Answer]:
    """Serve a trace.

    Time is that of the processor in this thread, and where nobody waits it jumps to the next
    arrival: other work on the machine counts for little, and nobody sleeps.

    Args:
        way: serves.
        arrivals: seconds and requests, in the order of time.
        clock: counts while it works.
    """
    now, ended, coming = 0.0, dict[str, float](), deque(arrivals)
    num_taken = 0
    while len(ended) < len(arrivals):
        if num_taken == len(ended):
            now = max(now, coming[0][0])
        while coming and coming[0][0] <= now:
            way.take(coming.popleft()[1])
            num_taken += 1
        begun_at = clock()
        finished = way.work()
        now += clock() - begun_at
        ended |= dict.fromkeys(finished, now)
    return [Answer(at_s, at_s, ended[request.name], 1) for at_s, request in arrivals]
