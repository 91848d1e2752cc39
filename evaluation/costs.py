"""What painting and training take, in floating-point operations."""

from __future__ import annotations

import functools
from typing import Any

from atoll import layout
from atoll.config import Config
from atoll.flops import Shape
from evaluation.painter import Prices
from evaluation.results import MONOLITH, TrainingCost
from experts.expert import training_flops
from experts.flops import TRAINING, expert_flops, mean_flops, samples_seen
from experts.load import Loaded
from router.cost import router_flops
from router.load import LoadedEnsemble
from router.network import RouterNet


def prices_of(ensemble: LoadedEnsemble) -> Prices:
    """Operations of one forward pass on an image of the main shape.

    The monolith is as large as an expert.
    """
    router, shape = ensemble.router, ensemble.shape
    return Prices(
        expert=expert_flops(ensemble.sizes, ensemble.conditioning, shape),
        gate=0 if router is None else _gate_flops(router, shape),
    )


def _gate_flops(router: RouterNet, shape: Shape) -> int:
    return router_flops(router.sizes, router.conditioning, shape, router.num_experts)


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
    batch, partition = config.training.batch_size, ensemble.partition
    told, dims = ensemble.conditioning, partition.features.dims
    seen = samples_seen(partition, range(partition.num_experts))
    forward = mean_flops(
        lambda shape: training_flops(config.training, ensemble.sizes, told, shape, dims), seen
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
        routed = mean_flops(functools.partial(_gate_flops, ensemble.router), seen)
        lines.append(line("router", [layout.ROUTER_JOB], config.router.batch_size, routed))
    return tuple(lines)
