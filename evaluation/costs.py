"""What painting and training take, in floating-point operations."""

from __future__ import annotations

from typing import Any

from atoll import layout
from atoll.config import Config
from evaluation.painter import Prices
from evaluation.results import MONOLITH, TrainingCost
from experts.expert import training_flops
from experts.flops import TRAINING, expert_flops
from experts.load import Loaded
from router.cost import router_flops
from router.load import LoadedEnsemble


def prices_of(ensemble: LoadedEnsemble) -> Prices:
    """Operations of one forward pass; the monolith is as large as an expert."""
    router = ensemble.router
    return Prices(
        expert=expert_flops(ensemble.sizes, ensemble.conditioning, ensemble.shape),
        gate=0
        if router is None
        else router_flops(router.sizes, router.conditioning, router.shape, router.num_experts),
    )


def training_costs(
    config: Config,
    ensemble: LoadedEnsemble,
    monolith: Loaded | None,
    weights: dict[str, Any],
) -> tuple[TrainingCost, ...]:
    """One line for the monolith, one for all experts, one for the router, as far as there are any.

    The experts divide the batch among them, so that all of them together see as many images in a
    step as the monolith does.

    Args:
        config: of the run.
        ensemble: experts, and a router or none.
        monolith: or none.
        weights: of all of them, see :func:`evaluation.trained.weights_of`.
    """
    prices, batch = prices_of(ensemble), config.training.batch_size
    forward = training_flops(
        config.training,
        ensemble.sizes,
        ensemble.conditioning,
        ensemble.shape,
        ensemble.partition.features.dims,
    )
    each = [layout.expert_job(index) for index in range(len(ensemble.experts))]
    experts = weights[each[0]]["step"] * batch * forward

    def line(part: str, jobs: list[str], size: int, price: float) -> TrainingCost:
        num_steps = weights[jobs[0]]["step"]
        operations = num_steps * size * price
        return TrainingCost(
            part,
            len(jobs),
            num_steps,
            size,
            TRAINING * operations / 1e12,
            operations / experts,
            {"seed": config.run.seed, "checkpoints": {job: weights[job] for job in jobs}},
        )

    lines = [line("experts", each, batch, forward)]
    if monolith is not None:
        lines.insert(0, line(MONOLITH, [layout.MONOLITH_JOB], batch, forward))
    if ensemble.router is not None:
        lines.append(line("router", [layout.ROUTER_JOB], config.router.batch_size, prices.gate))
    return tuple(lines)
