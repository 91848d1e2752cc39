"""What the report tells of the gate: how well it knows the clusters of real images apart."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

import torch

from atoll import layout
from atoll.config import Config
from evaluation.real import SEEN_MOST, RealImages
from router.calibration import Known, calibrate
from router.load import LoadedEnsemble


def judged(
    config: Config,
    ensemble: LoadedEnsemble,
    real: RealImages,
    weights: dict[str, Any],
    progress: Callable[[int, int], None] = lambda *_: None,
) -> dict[str, Any]:
    """The gate's calibration and the recipe it follows from.

    Args:
        config: of the run.
        ensemble: whose gate is asked.
        real: images it is asked about, or the first of them.
        weights: of all networks, see :func:`evaluation.trained.weights_of`.
        progress: called with the images it was asked about, and how many there are.

    Returns:
        Lists by name, see :class:`router.calibration.Calibration`, and ``recipe``.

    Raises:
        BadInput: the gate has diverged.
    """
    num, size = min(len(real), SEEN_MOST), config.sampling.batch_size

    def batches() -> Iterator[Known]:
        for start in range(0, num, size):
            progress(start, num)
            part = slice(start, min(start + size, num))
            yield Known(
                x0=real.seen(part).to(ensemble.device),
                cond=None if real.cond is None else real.cond[part].to(ensemble.device),
                cluster=torch.from_numpy(real.clusters[part]),
            )
        progress(num, num)

    found = calibrate(ensemble.gate, batches(), seed=config.run.seed)
    return {
        **{name: array.tolist() for name, array in asdict(found).items()},
        "recipe": {
            "gate": config.sampling.gate,
            "checkpoints": {job: weights[job] for job in weights if job == layout.ROUTER_JOB},
            "seed": config.run.seed,
            "num_samples": num,
            "reference": {"num_samples": len(real), "digest": real.digest},
        },
    }
