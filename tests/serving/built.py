"""A trained run as a service in this process, and a hold on how far it draws."""

from __future__ import annotations

import functools
import threading
import time

from atoll.clock import SystemClock
from serving.service.load import load_edition
from serving.service.service import Service
from tests.serving.conftest import CPU


def finished(job, seconds=60):
    """Where a job stands at its end; something has to happen to it now and then until then."""
    view = job.view()
    while not view.is_over:
        before, view = view, job.wait(view.version, seconds)
        assert view.is_over or view.version > before.version, "nothing happens any more"
    return view


def until(holds):
    """Wait for what another thread brings about."""
    give_up_at = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < give_up_at
        time.sleep(0.005)


class Valve:
    """Before an engine: lets so many ticks through as the test says, and else all."""

    def __init__(self, engine):
        self._tick, self._left, self._changed = engine.tick, None, threading.Condition()
        self._is_enough = lambda: False
        engine.tick = self.tick

    def tick(self):
        with self._changed:
            self._changed.wait_for(lambda: self._left != 0)
            worked = self._tick()
            if self._left:
                self._left -= worked
            if self._is_enough():
                self._left = 0
                self._changed.notify_all()
        return worked

    def let(self, ticks):
        """As many as draw something; None for all there will be."""
        with self._changed:
            self._left, self._is_enough = ticks, lambda: False
            self._changed.notify_all()

    def let_until(self, is_enough):
        """Those after which something holds, and no more; returns once it does."""
        with self._changed:
            self._left, self._is_enough = None, is_enough
            self._changed.notify_all()
            assert self._changed.wait_for(lambda: self._left == 0, 60)


class Built:
    """A service of a run under some settings of ``[serving]``, which draws once it is started.

    Attributes:
        load: makes an edition of the newest checkpoints there are.
        first: the edition that it begins with.
        valve: before that one's engine.
    """

    def __init__(self, run, clock=None, watch=lambda told: None, **serving):
        limits = run.config.serving.model_copy(update=serving)
        self.config = run.config.model_copy(update={"serving": limits})
        self.clock, bell = clock or SystemClock(), threading.Event()
        cache = run.folder / "cache"
        self.load = functools.partial(
            load_edition, run.store, self.config, cache, CPU, self.clock, bell, watch
        )
        self.first = self.load()
        self.valve = Valve(self.first.engine)
        self.service = Service(self.first, limits, self.clock, bell)

    def close(self):
        """End, whatever the engine is held at."""
        self.valve.let(None)
        self.service.close()
