"""A plan as tables for people."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from orchestrator.planning.means import Means
from orchestrator.planning.models import Model
from orchestrator.planning.plan import Plan

Table = tuple[str, list[dict[str, Any]]]


def tables(plan: Plan, means: Means, model: Model | None, num_islands: int) -> Iterator[Table]:
    """Titles and rows, in the order of reading."""
    nodes = f"{means.nodes} nodes of " if means.nodes > 1 else ""
    yield (
        f"What is trained on islands of {nodes}{means.num_gpus} x {means.gpu.name}",
        [
            {
                "job": each.part.name,
                "jobs": each.part.count,
                "parameters": _short(each.part.network.parameters),
                "batch": each.part.batch,
                "steps": each.part.steps,
                "layout": each.fit.name,
                "a GPU sends": f"{each.fit.sent_bytes / 1e9:,.3g} GB a step",
            }
            for each in plan.planned
        ],
    )
    yield (
        f"FLOPs, and {_time(24 * plan.days)} on {num_islands} islands",
        [
            {
                "job": each.part.name,
                "a step": f"{each.part.step_flops:.3g}",
                "all steps": f"{each.part.flops:.3g}",
                "all jobs": f"{each.part.count * each.part.flops:.3g}",
                "time of one": _time(each.hours),
            }
            for each in plan.planned
        ],
    )
    yield (
        "Memory of one GPU, in GB",
        [
            {
                "job": each.part.name,
                "at once": each.fit.micro_batch,
                "weights": each.fit.memory.weights / 1e9,
                "gradients": each.fit.memory.gradients / 1e9,
                "AdamW": each.fit.memory.optimizer / 1e9,
                "EMA": each.fit.memory.average / 1e9,
                "activations": each.fit.memory.activations / 1e9,
                "total": each.fit.memory.total / 1e9,
            }
            for each in plan.planned
        ],
    )
    yield (
        "Checkpoints, and transfer of islands, in GB",
        [
            {
                "job": each.part,
                "one": each.checkpoint_bytes / 1e9,
                "written": each.written,
                "kept": each.kept,
                "stored": each.kept_bytes / 1e9,
                "sent": each.out_bytes / 1e9,
                "shards read": None if each.in_bytes is None else each.in_bytes / 1e9,
            }
            for each in plan.volumes
        ],
    )
    if spot := plan.spot:
        yield (
            f"The experts where a node lives {means.lifetime_h:g} hours",
            [
                {
                    "days": spot.days if spot.done else None,
                    "undisturbed": spot.calm_days,
                    "reclaims": spot.reclaims,
                    "lost": f"{spot.work_lost:.1%}",
                    "paid node-hours": spot.paid_hours,
                    "over the work": f"{spot.overhead - 1:.1%}",
                    "checkpoints read, GB": spot.read_bytes / 1e9,
                }
            ],
        )
    if plan.costs:
        yield (
            f"Price of {plan.node_hours:,.4g} node-hours",
            [
                {
                    "provider": cost.price.provider,
                    "on demand": cost.on_demand,
                    "spot": cost.spot,
                    "currency": cost.price.currency,
                }
                for cost in plan.costs
            ],
        )
    yield "What this rests on", list(_grounds(plan, model))


def _grounds(plan: Plan, model: Model | None) -> Iterator[dict[str, str]]:
    if model is not None:
        yield from ({"from": "the paper", "what": each} for each in model.said)
        yield from ({"from": "chosen", "what": each} for each in model.assumed)
    for each in plan.planned:
        yield {"from": "layout", "what": f"{each.part.name}: {each.fit.name}; {each.fit.why}"}
    yield from ({"from": "assumed", "what": each} for each in plan.assumed)


def _time(hours: float) -> str:
    """Days where there are some, else hours, minutes or seconds."""
    if hours >= 24:
        return f"{hours:,.4g} h = {hours / 24:,.3g} days"
    for unit, size in (("h", 1), ("min", 60), ("s", 3600)):
        if hours * size >= 1:
            return f"{hours * size:.3g} {unit}"
    return f"{hours * 3600:.2g} s"


def _short(count: int) -> str:
    for size, letter in ((10**9, "B"), (10**6, "M"), (10**3, "k")):
        if count >= size:
            return f"{count / size:.3g}{letter}"
    return str(count)
