"""In which order the stages of a pipeline work on a batch: torch's schedules."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, distributed, nn
from torch.distributed.pipelining import PipelineStage, Schedule1F1B
from torch.distributed.pipelining.schedules import (
    PipelineScheduleMulti,
    PipelineScheduleSingle,
    ScheduleInterleaved1F1B,
    ScheduleInterleavedZeroBubble,
)

from experts.parallel.mesh import Mesh
from experts.parallel.pipeline_stages import Stages
from experts.task import Examples

_OF_SEVERAL = {"interleaved": ScheduleInterleaved1F1B, "zero-bubble": ScheduleInterleavedZeroBubble}


class Schedule:
    """Forward and backward passes of micro-batches through all stages.

    ``zero-bubble`` is ZB-H1: it needs one stage of a process, and no more memory than ``1f1b``.

    Source: Narayanan et al., Efficient Large-Scale Language Model Training on GPU Clusters Using
    Megatron-LM (arXiv 2104.04473), section 2.2; Qi et al., Zero Bubble Pipeline Parallelism (arXiv
    2401.10241), section 2.3.

    Args:
        name: 1f1b, interleaved or zero-bubble.
        parts: stages of this process, by number.
        stages: all of them.
        loss: of a micro-batch, from output and target: a scalar, to be added up.
        mesh: where this process stands.
    """

    def __init__(
        self,
        name: str,
        parts: Mapping[int, nn.Module],
        stages: Stages,
        loss: Callable[[Tensor, Tensor], Tensor],
        mesh: Mesh,
    ) -> None:
        self._name, self._parts, self._stages = name, parts, stages
        self._loss, self._group = loss, mesh.group("pipeline")
        self._made: PipelineScheduleSingle | PipelineScheduleMulti | None = None

    def backward(self, micro_batches: Sequence[Examples]) -> Tensor:
        """Add a batch's gradients to those of the weights; all processes call.

        Args:
            micro_batches: of one shape, always as many.

        Returns:
            The loss of this pipeline's rows, on each of its processes.
        """
        given = [examples.inputs for examples in micro_batches]
        inputs = [torch.cat(parts) for parts in zip(*given, strict=True)]
        target = torch.cat([examples.target for examples in micro_batches])
        if self._made is None:
            self._made = self._make(given[0], len(given))
        losses: list[Tensor] = []
        self._made.step(*inputs, target=target, losses=losses, return_outputs=False)
        zero = torch.zeros((), device=target.device)
        loss = torch.stack([zero, *losses]).sum().detach()  # the last stage's process has any
        distributed.all_reduce(loss, group=self._group)
        return loss

    def _make(
        self, inputs: tuple[Tensor, ...], num_micro_batches: int
    ) -> PipelineScheduleSingle | PipelineScheduleMulti:
        streams, answer = self._stages.passed(*inputs)
        passed = tuple(each.requires_grad_() for each in streams)
        last = self._stages.num - 1
        working = [
            PipelineStage(
                part,
                number,
                self._stages.num,
                inputs[0].device,
                # Told what passes, torch sends no descriptions of it, which would be unpickled.
                input_args=tuple(each.to("meta") for each in inputs) if number == 0 else passed,
                output_args=answer if number == last else passed,
                group=self._group,
            )
            for number, part in self._parts.items()
        ]
        if self._name == "1f1b":
            return Schedule1F1B(working[0], num_micro_batches, self._loss, scale_grads=False)
        kind = _OF_SEVERAL[self._name]
        return kind([*working], num_micro_batches, self._loss, scale_grads=False)
