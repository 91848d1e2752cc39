"""In which order the stages of a pipeline work on a batch: torch's schedules."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from torch import Tensor, nn
from torch.distributed.pipelining import PipelineStage, Schedule1F1B
from torch.distributed.pipelining.schedules import (
    PipelineScheduleMulti,
    PipelineScheduleSingle,
    ScheduleInterleaved1F1B,
    ScheduleInterleavedZeroBubble,
)

from experts.parallel.mesh import Mesh
from experts.parallel.pipeline_stages import Stages

Loss = Callable[[Tensor, Tensor], Tensor]

# Sources: Narayanan et al., Efficient Large-Scale Language Model Training on GPU Clusters Using
# Megatron-LM (arXiv 2104.04473), section 2.2; Qi et al., Zero Bubble Pipeline Parallelism (arXiv
# 2401.10241), of which this is ZB-H1: with one stage of a process, no more memory than 1F1B.
_OF_SEVERAL = {"interleaved": ScheduleInterleaved1F1B, "zero-bubble": ScheduleInterleavedZeroBubble}


def scheduled(
    schedule: str,
    parts: Mapping[int, nn.Module],
    stages: Stages,
    mesh: Mesh,
    loss: Loss,
    inputs: Sequence[Tensor],
    num_micro_batches: int,
) -> PipelineScheduleSingle | PipelineScheduleMulti:
    """The order of work on batches like one.

    Args:
        schedule: 1f1b, interleaved or zero-bubble.
        parts: stages of this process, by number.
        stages: all of them.
        mesh: where this process stands.
        loss: of a micro-batch, from output and target, a scalar.
        inputs: of the network, those of one micro-batch; all others are of the same shapes.
        num_micro_batches: of a batch.
    """
    device = inputs[0].device
    streams, answer = stages.passed(*inputs)
    streams = tuple(each.requires_grad_() for each in streams)
    working = [
        PipelineStage(
            part,
            number,
            stages.num,
            device,
            # Told what passes, torch needs not send descriptions of it, which would be unpickled.
            input_args=tuple(each.to("meta") for each in inputs) if number == 0 else streams,
            output_args=answer if number == stages.num - 1 else streams,
            group=mesh.group("pipeline"),
        )
        for number, part in parts.items()
    ]
    # A mean over rows is in the loss already: gradients of micro-batches are added up.
    if schedule == "1f1b":
        return Schedule1F1B(working[0], num_micro_batches, loss, scale_grads=False)
    return _OF_SEVERAL[schedule](list(working), num_micro_batches, loss, scale_grads=False)
