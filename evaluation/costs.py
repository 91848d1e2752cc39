"""What painting and training take, in floating-point operations."""

from __future__ import annotations

from atoll import layout
from atoll.config import Config
from evaluation.painter import Prices
from evaluation.results import MONOLITH, TrainingCost
from experts.flops import TRAINING, dit_flops
from experts.load import Loaded
from router.cost import router_flops
from router.load import LoadedEnsemble


def prices_of(ensemble: LoadedEnsemble) -> Prices:
    """Operations of one forward pass; the monolith is as large as an expert."""
    expert, router = ensemble.experts[0], ensemble.router
    return Prices(
        expert=dit_flops(expert.sizes, expert.conditioning, expert.shape),
        gate=0
        if router is None
        else router_flops(router.sizes, router.conditioning, router.shape, router.num_experts),
    )


def training_costs(
    config: Config, ensemble: LoadedEnsemble, monolith: Loaded | None
) -> tuple[TrainingCost, ...]:
    """One line for the monolith, one for all experts, one for the router, as far as there are any.

    The experts divide the batch among them, so that all of them together see as many images in a
    step as the monolith does.
    """
    prices, batch = prices_of(ensemble), config.training.batch_size
    steps = {job: ref.step for job, ref in ensemble.checkpoints.items()}
    expert_steps = steps[layout.expert_job(0)]
    experts = expert_steps * batch * prices.expert

    def line(part: str, networks: int, num_steps: int, size: int, forward: float) -> TrainingCost:
        operations = num_steps * size * forward
        return TrainingCost(
            part, networks, num_steps, size, TRAINING * operations / 1e12, operations / experts
        )

    lines = [line("experts", len(ensemble.experts), expert_steps, batch, prices.expert)]
    if monolith is not None:
        lines.insert(0, line(MONOLITH, 1, monolith.checkpoint.ref.step, batch, prices.expert))
    if ensemble.router is not None:
        size = config.router.batch_size
        lines.append(line("router", 1, steps[layout.ROUTER_JOB], size, prices.gate))
    return tuple(lines)
