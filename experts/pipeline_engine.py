"""The engine of a pipeline: each process has some of the blocks, and all rows pass through all."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, distributed, nn

from atoll.parallel_section import ParallelSection
from atoll.training_section import TrainingSection
from experts.average import Averages
from experts.engine import Judge, Made, Snapshot, Stats
from experts.optimizer import AdamW, outlines, parameter_of
from experts.parallel.mesh import Mesh
from experts.parallel.norms import clip
from experts.parallel.pipeline_gathering import Gathering
from experts.parallel.pipeline_network import PipelinedNetwork
from experts.parallel.pipeline_schedule import Schedule
from experts.parallel.pipeline_stages import Stages
from experts.parallel.portions import Portions
from experts.parallel.spreading import blocks_of, recompute, spread
from experts.profiles import shares_of
from experts.schedules import Rate, rate_of
from experts.task import Examples


class PipelineEngine:
    """AdamW on the stages of a process, in the order of one of torch's schedules.

    Args:
        network: whole, on the device where it shall be trained; see
            :class:`experts.parallel.pipeline_stages.Staged`.
        loss: of each row, from output and target.
        training: how; ``batch_size`` counts the rows of all processes together.
        mesh: where this process stands among others.
        parallel: what the mesh is the layout of.
        rate: learning rate of each step; None for that of ``training`` alone.
    """

    def __init__(
        self,
        network: nn.Module,
        loss: Callable[[Tensor, Tensor], Tensor],
        training: TrainingSection,
        mesh: Mesh,
        parallel: ParallelSection,
        *,
        rate: Rate | None = None,
    ) -> None:
        self._training, self._mesh = training, mesh
        num = mesh.size("pipeline")
        self._stages = Stages(network, num * parallel.stages)
        numbers = range(mesh.index("pipeline"), self._stages.num, num)
        self._parts = {number: self._stages.part(network, number) for number in numbers}
        shares = shares_of(training)
        self._averaged = [copy.deepcopy(self._parts) for _ in shares]
        averaged = [(parts, "fp32") for parts in self._averaged]
        for parts, precision in ((self._parts, training.precision), *averaged):
            for number, part in parts.items():
                spread(part, mesh, precision)
                self._stages.play(part, number, precision)
        self._own = Portions(mesh, {})
        device = next(network.parameters()).device
        self._gathering = Gathering(self._stages, self._own, mesh, device)
        self._schedule = Schedule(
            parallel.schedule,
            self._parts,
            self._stages,
            lambda answer, target: loss(answer, target).sum() / training.batch_size,
            mesh,
        )
        self._parameters = {
            name: each for part in self._parts.values() for name, each in part.named_parameters()
        }
        self._network = nn.ModuleList(self._parts.values())
        drawing = [PipelinedNetwork(parts, self._stages, mesh) for parts in self._averaged]
        self._averages = Averages(
            drawing, self._network, shares, counts_refused=training.ema_profile == "power"
        )
        self._optimizer = AdamW(self._parameters, training, rate or rate_of(training))
        for part in self._parts.values():
            if parallel.recompute:
                recompute(part)
            if training.compile:
                for block in blocks_of(part):
                    block.compile()

    def step(self, micro_batches: Sequence[Examples], judge: Judge | None = None) -> Stats:
        """See :class:`experts.engine.Engine`. Equals one step on the whole batch at once."""
        loss = self._schedule.backward(micro_batches)
        if self._mesh.layout.rows > 1:
            distributed.all_reduce(loss, group=self._mesh.group("data", "shard"))
        self._add_up_gradients()
        grad_norm = clip(self._parameters, self._training.clip_norm, self._mesh, self._own)
        taken = judge(Stats(loss, grad_norm)) if judge else None
        self._optimizer.step(self._averages.num_averaged, taken)
        self._averages.update(taken)
        return Stats(loss, grad_norm, taken)

    def with_average(
        self, use: Callable[[nn.Module], Made], *, everywhere: bool = False
    ) -> Made | None:
        """See :class:`experts.engine.Engine`."""
        is_needed = everywhere or self._mesh.index("data") == 0
        return use(self._averages.network) if is_needed else None

    def all_finite(self) -> bool:
        """See :class:`experts.engine.Engine`."""
        return self._averages.all_finite()

    def snapshot(self) -> Snapshot:
        """See :class:`experts.engine.Engine`."""
        outline, whole = self._stages.outline, self._gathering.whole
        kept = self._optimizer.snapshot(lambda _, part: part)
        every = outlines(dict(outline.named_parameters()))
        return Snapshot(
            network=whole(outline.state_dict(), _tensors(self._parts)),
            optimizer=whole(every, kept, parameter_of),
            averages=tuple(
                whole(outline.state_dict(), _tensors(parts)) for parts in self._averaged
            ),
            num_averaged=torch.tensor(self._averages.num_averaged),
        )

    def restore(self, snapshot: Snapshot) -> None:
        """See :class:`experts.engine.Engine`."""
        self._own.fill_all(_tensors(self._parts), snapshot.network)
        for own, average in zip(self._averaged, snapshot.averages, strict=True):
            self._own.fill_all(_tensors(own), average)
        self._optimizer.restore(snapshot.optimizer, self._own.fill)
        self._averages.num_averaged = int(snapshot.num_averaged)

    def _add_up_gradients(self) -> None:
        """Those of other rows of the batch; FSDP has done it where it shares weights out."""
        if self._mesh.size("data") == 1 or self._mesh.size("shard") > 1:
            return
        group = self._mesh.group("data", "sequence")
        for each in self._parameters.values():
            distributed.all_reduce(each.grad, group=group)


def _tensors(parts: Mapping[int, nn.Module]) -> dict[str, Tensor]:
    """By their names in the whole network."""
    return {key: each for part in parts.values() for key, each in part.state_dict().items()}
