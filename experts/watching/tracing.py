"""A trace of a trainer's next steps, made while it goes on, for who asks for it."""

from __future__ import annotations

import json
import logging
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile, schedule

from atoll import layout
from atoll.relay import Speaker
from atoll.traces import OPERATORS, TRACE, Trace, TraceWish
from experts.workplace import Workplace

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Work:
    """A trace that is being made; it has so many steps yet to see."""

    wish: TraceWish
    profile: profile
    steps_left: int


class Tracer:
    """Listens for wishes between the steps of the first process, which alone is traced.

    A step is made and thrown away first: the profiler's own start is in it. What was traced is
    written and uploaded behind the steps that follow. Nothing of this touches a weight.

    Args:
        at: where the job is trained.
        speaker: tells what became of a wish.
    """

    def __init__(self, at: Workplace, speaker: Speaker) -> None:
        self._at, self._speaker = at, speaker
        self._work: _Work | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="trace")

    def follow(self, step: int, *, leaving: bool) -> None:
        """Take note of a step.

        Args:
            step: that was made.
            leaving: no step will follow; return when what was begun is answered.
        """
        if self._work is not None:
            self._go_on(self._work, step, leaving=leaving)
        elif not leaving and (wish := self._at.wish()):
            self._begin(wish)
        if leaving:
            self._thread.shutdown()

    def _begin(self, wish: TraceWish) -> None:
        activities = [ProfilerActivity.CPU]
        if self._at.device.type == "cuda":
            activities.append(ProfilerActivity.CUDA)
        times = schedule(wait=0, warmup=1, active=wish.steps, repeat=1)
        self._work = _Work(wish, profile(activities=activities, schedule=times), wish.steps + 1)
        self._work.profile.start()

    def _go_on(self, work: _Work, step: int, *, leaving: bool) -> None:
        work.steps_left -= 1
        work.profile.step()
        if not work.steps_left:
            work.profile.stop()
            self._thread.submit(self._answer, work.wish, step, work.profile)
            self._work = None
        elif leaving:
            work.profile.stop()
            words = f"{self._job} left {work.steps_left} steps before its trace was whole"
            self._speaker.say(Trace(work.wish.id, trouble=words))

    def _answer(self, wish: TraceWish, step: int, traced: profile) -> None:
        key = layout.trace(self._job, step, wish.id)
        try:
            with tempfile.TemporaryDirectory(dir=self._at.work_dir) as folder:
                path = Path(folder) / TRACE
                traced.export_chrome_trace(str(path))
                self._at.store.put_file(f"{key}/{TRACE}", path)
            operators = json.dumps(_operators(traced), indent=1).encode()
            self._at.store.put_bytes(f"{key}/{OPERATORS}", operators)
        except Exception as error:
            self._speaker.say(Trace(wish.id, trouble=f"the trace was not written: {error}"))
            return
        self._speaker.say(Trace(wish.id, key))
        logger.info("trace uploaded", extra={"fields": {"key": key}})

    @property
    def _job(self) -> str:
        return self._at.assignment.spec.name


def _operators(traced: profile) -> list[dict[str, Any]]:
    """What took how long, the longest first; without what one called of another."""
    on_device = torch.cuda.is_available()
    rows = [
        {
            "operator": each.key,
            "calls": each.count,
            "cpu_ms": each.self_cpu_time_total / 1e3,
            **({"device_ms": each.self_device_time_total / 1e3} if on_device else {}),
        }
        for each in traced.key_averages()
        if each.device_type.name == "CPU" and not each.key.startswith("ProfilerStep")
    ]
    return sorted(rows, key=lambda row: -row["device_ms" if on_device else "cpu_ms"])
