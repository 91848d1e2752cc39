"""Jobs, islands and servers as rows: all for programs, for people what they look at."""

from __future__ import annotations

import math
import re
from dataclasses import asdict
from typing import Any

from atoll.types import JobState
from atoll.views import FleetView, IslandView, JobView, ServerView
from orchestrator.fleet.budget import moment


def spent_in_words(view: FleetView) -> str:
    """What the provider's nodes have taken, and what they may."""
    budget = view.budget
    hours_limit = f" of {budget.node_hours:g}" if budget.node_hours is not None else ""
    cost_limit = f" of {budget.cost:g}" if budget.cost is not None else ""
    cost = f", which cost {view.cost:.2f}{cost_limit}" if view.cost or cost_limit else ""
    until = f", until {moment(budget.deadline)}" if budget.deadline is not None else ""
    return f"{view.node_hours:.2f}{hours_limit} node hours so far{cost}{until}"


def spent_row(view: FleetView) -> dict[str, Any]:
    """The same for a program."""
    return {"node_hours": view.node_hours, "cost": view.cost, "budget": asdict(view.budget)}


def job_row(job: JobView) -> dict[str, Any]:
    """A job for a program."""
    return {
        "job": job.spec.name,
        "state": job.state.value,
        "island": job.island or None,
        "step": job.progress.step,
        "of": job.spec.steps,
        "committed": job.checkpoint.step if job.checkpoint else 0,
        "leases": job.epoch,
        "lease_left_s": round(job.lease_left_s, 1) if job.state is JobState.LEASED else None,
        "failures": job.failures,
        "losses": job.losses,
        "preemptions": job.preemptions,
        "loss": _finite(job.progress.loss),
        "samples_per_s": job.progress.samples_per_s,
        **{name: _finite(each) for name, each in asdict(job.progress.vitals).items()},
        "why": job.reason,
    }


def _finite(number: float | None) -> float | None:
    """None for what JSON has no word for, such as the mean of no steps."""
    return number if number is not None and math.isfinite(number) else None


def vitals_in_words(job: JobView) -> str:
    """How the trainer of a job does, as far as it is known; "" while nobody works on it."""
    told, words = job.progress.vitals, list[str]()
    if job.state is not JobState.LEASED or told.tflops_per_s is None:
        return ""
    words.append(f"{job.progress.samples_per_s:.4g} samples/s")
    words.append(f"{told.tflops_per_s:.3g} TFLOP/s a device")
    if told.mfu is not None:
        words.append(f"MFU {told.mfu:.1%}")
    if told.memory_bytes is not None:
        words.append(f"{told.memory_bytes / 1e9:.2f} GB")
    if told.wait_share is not None:
        words.append(f"{told.wait_share:.1%} of the time waiting for data")
    if told.grad_norm is not None:
        words.append(f"gradient norm {told.grad_norm:.3g}")
    if told.held_out is not None:
        words.append(f"loss {told.held_out:.3g} on samples held out")
    return ", ".join(words)


def island_row(island: IslandView) -> dict[str, Any]:
    """An island for a program."""
    return {
        "island": island.name,
        "state": island.state,
        "job": island.job or None,
        "nodes": list(island.nodes) or None,
        "silent_s": round(island.silent_s, 1),
    }


def server_row(server: ServerView) -> dict[str, Any]:
    """A server of experts for a program."""
    return {
        "server": server.address,
        "process": server.process or None,
        "experts": list(server.experts),
        "rows_per_s": server.rows_per_second or None,
        "lasts_s": round(server.lasts_s),
    }


def islands_of(view: FleetView) -> list[IslandView]:
    """All that have not left, island-2 before island-10."""
    there = [island for island in view.islands if island.state != "gone"]
    return sorted(there, key=lambda island: _natural(island.name))


def _natural(name: str) -> list[tuple[int, str]]:
    """What names are sorted by, so that numbers in them count as such."""
    parts = re.split(r"(\d+)", name)
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]
