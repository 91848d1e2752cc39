"""The rows of a step of each job, of which all experts together have one batch."""

from __future__ import annotations

from collections.abc import Sequence

from atoll.config import Config
from atoll.types import JobSpec, Role


def batch_size(config: Config, spec: JobSpec, sizes: Sequence[int]) -> int:
    """The rows of one step of a job.

    All experts together use ``training.batch_size``, so that they and a monolith of as many steps
    cost the same.

    Args:
        config: of the run.
        spec: the job's.
        sizes: samples of each cluster.

    Source: McAllister et al., Decentralized Diffusion Models (arXiv 2501.05450), section 4.
    """
    training = config.training
    if spec.role is Role.ROUTER:
        return config.router.batch_size
    if spec.role is Role.MONOLITH:
        return training.batch_size
    weights = sizes if training.share == "proportional" else [1] * len(sizes)
    return divided(training.batch_size, weights)[spec.index]


def divided(total: int, weights: Sequence[int]) -> list[int]:
    """Whole numbers in proportion to some weights, each at least 1, that add up to ``total``.

    Rounded by largest remainders, the first of equals first.

    Args:
        total: at least as many as there are weights.
        weights: positive.
    """
    shares = [total * weight / sum(weights) for weight in weights]
    parts = [max(1, int(share)) for share in shares]
    while sum(parts) != total:
        change = 1 if sum(parts) < total else -1
        able = [i for i, part in enumerate(parts) if part + change >= 1]
        furthest = max(able, key=lambda i: change * (shares[i] - parts[i]))
        parts[furthest] += change
    return parts
