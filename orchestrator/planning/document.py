"""A plan as one document for programs."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from orchestrator.planning.means import Means
from orchestrator.planning.models import Model
from orchestrator.planning.plan import Plan


def document_of(plan: Plan, means: Means, model: Model | None) -> dict[str, Any]:
    """All of it, in bytes, operations, hours and days."""
    return {
        "hardware": {**asdict(means), "gpu": means.gpu.name},
        "days": plan.days,
        "node_hours": plan.node_hours,
        "jobs": [
            {
                "name": each.part.name,
                "count": each.part.count,
                "parameters": each.part.network.parameters,
                "batch": each.part.batch,
                "steps": each.part.steps,
                "step_flops": each.part.step_flops,
                "flops": each.part.flops,
                "hours": each.hours,
                "layout": asdict(each.fit.layout),
                "why": each.fit.why,
                "micro_batch": each.fit.micro_batch,
                "sent_bytes": each.fit.sent_bytes,
                "memory": {**asdict(each.fit.memory), "total": each.fit.memory.total},
            }
            for each in plan.planned
        ],
        "volumes": [asdict(each) for each in plan.volumes],
        "spot": None if plan.spot is None else asdict(plan.spot),
        "costs": [
            {**cost.price.model_dump(), "cost": cost.on_demand, "spot_cost": cost.spot}
            for cost in plan.costs
        ],
        "published": None
        if model is None
        else {"days": model.days, "said": model.said, "chosen": model.assumed},
        "assumed": plan.assumed,
        "over_budget": plan.over,
    }
