"""How DeepSpeed is started: with what it is told alone, nothing compiled, and silent while well."""

from __future__ import annotations

import logging
import os
import warnings
from typing import Any

import torch
from torch import Tensor, nn

from atoll.errors import ConfigError
from atoll.training_section import TrainingSection

_BUCKET = 500_000_000  # elements, DeepSpeed's own; small networks need no such buffer


def started(device: torch.device) -> Any:
    """DeepSpeed's module, imported where it is needed alone: that takes seconds.

    Args:
        device: of the network; DeepSpeed would take a GPU wherever it finds one.

    Raises:
        ConfigError: it is not installed.
    """
    os.environ["DS_ACCELERATOR"] = device.type
    os.environ.setdefault("LOCAL_RANK", "0")  # torchrun's; the only process of a node has none
    try:
        import deepspeed  # noqa: PLC0415 - see above
        from deepspeed import ops  # noqa: PLC0415
    except ImportError as error:
        raise ConfigError(
            "island.parallel asks for DeepSpeed, which is not installed; run pip install "
            "'atoll[deepspeed]' on the island's nodes, or choose another sharding and schedule"
        ) from error
    # It would compile collectives for CPUs at the first start, for minutes; gloo has them.
    ops.__compatible_ops__ = {}
    deepspeed.init_distributed(dist_init_required=False)  # it joins the group that is there
    log = logging.getLogger("DeepSpeed")  # has a handler of its own, to standard output
    log.handlers.clear()
    log.propagate = True
    warnings.filterwarnings("ignore", "`torch.distributed.*_tensor` is deprecated", FutureWarning)
    return deepspeed


def settings(
    stage: int, network: nn.Module, training: TrainingSection, accumulation: int = 1
) -> dict[str, Any]:
    """What DeepSpeed is told; nothing that changes results is left to its defaults.

    Args:
        stage: of ZeRO, 0 to 3.
        network: of this process.
        training: how.
        accumulation: micro-batches of a step, where DeepSpeed counts them itself.
    """
    parameters = list(network.parameters())
    bucket = min(_BUCKET, sum(each.numel() for each in parameters))
    vectors = [each.numel() for each in parameters if each.dim() == 1]
    return {
        "train_micro_batch_size_per_gpu": 1,  # it only counts samples with that
        "gradient_accumulation_steps": accumulation,
        # Left out, this is 1: DeepSpeed clips unless told not to.
        "gradient_clipping": training.clip_norm if stage else 0.0,
        "zero_optimization": {
            "stage": stage,
            "reduce_bucket_size": bucket,
            "stage3_prefetch_bucket_size": bucket,
            # Biases stay whole: they would only add messages.
            "stage3_param_persistence_threshold": max(vectors, default=0),
        },
        "steps_per_print": None,
    }


def grad_norm_of(engine: Any) -> Tensor:
    """Of the step that an engine of ZeRO has made, before clipping; infinite if it skipped it."""
    norm = engine.get_global_grad_norm()  # a tensor, or a number
    return torch.as_tensor(norm, dtype=torch.float32, device=engine.device)
