"""A pipeline of DeepSpeed's: 1F1B, with a part of the batch, or of AdamW's state, beside it."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from atoll.training_section import TrainingSection
from experts.average import Averages
from experts.deepspeed.shares import Moments
from experts.deepspeed.starting import grad_norm_of, settings, started
from experts.engine import Judge, Made, Snapshot, Stats
from experts.optimizer import adamw, outlines, parameter_of, set_rate
from experts.parallel.mesh import Mesh
from experts.parallel.norms import clip
from experts.parallel.pipeline_gathering import Gathering
from experts.parallel.pipeline_network import PipelinedNetwork
from experts.parallel.pipeline_stages import Stages
from experts.parallel.portions import Portions
from experts.parallel.spreading import blocks_of, recompute
from experts.profiles import shares_of
from experts.schedules import Rate, rate_of
from experts.task import Examples


class DeepSpeedPipeline:
    """AdamW on a network whose blocks lie in several processes, one after the other.

    Args:
        network: whole, on the device where it shall be trained; see
            :class:`experts.parallel.pipeline_stages.Staged`.
        loss: of each row, from output and target.
        training: how; ``batch_size`` counts the rows of all processes together.
        mesh: where this process stands; there are ``pipeline`` and ``data`` or ``shard``.
        zero: stage of ZeRO, 0 or 1; 1 shares out the optimizer's state along ``shard``.
        rate: learning rate of each step; None for that of ``training`` alone.
        recomputes: whether activations are computed again in the backward pass.
    """

    def __init__(
        self,
        network: nn.Module,
        loss: Callable[[Tensor, Tensor], Tensor],
        training: TrainingSection,
        mesh: Mesh,
        zero: int,
        *,
        rate: Rate | None = None,
        recomputes: bool = False,
    ) -> None:
        self._training, self._mesh, self._zero = training, mesh, zero
        device = next(network.parameters()).device
        num, number = mesh.size("pipeline"), mesh.index("pipeline")
        self._stages = Stages(network, num)
        self._part = self._stages.part(network, number)
        shares = shares_of(training)
        self._averaged = [copy.deepcopy(self._part) for _ in shares]
        self._stages.play(self._part, number, training.precision)
        for each in self._averaged:
            self._stages.play(each, number, "fp32")
        drawing = [PipelinedNetwork({number: each}, self._stages, mesh) for each in self._averaged]
        self._averages = Averages(drawing, self._part, shares)
        self._parameters = dict(self._part.named_parameters())
        self._own = Portions(mesh, {})
        self._gathering = Gathering(self._stages, self._own, mesh, device)
        if recomputes:
            recompute(self._part)
        if training.compile:
            for block in blocks_of(self._part):
                block.compile()
        deepspeed = started(device)
        with contextlib.redirect_stdout(None):  # it prints its layers
            layers = deepspeed.PipelineModule(
                [_Layer(self._part)] * num,  # of which it takes the one of its own number
                num_stages=num,
                loss_fn=lambda output, target: loss(output, target).mean(),
                partition_method="uniform",
            )
        self._adamw = adamw(self._parameters.values(), training)
        self._rate = rate or rate_of(training)
        self._engine, self._optimizer, *_ = deepspeed.initialize(
            model=layers,
            optimizer=self._adamw,
            config=settings(zero, layers, training, training.accumulation),
        )
        group = mesh.group("shard") if zero else None
        every = outlines(self._parameters)
        self._moments = Moments(self._adamw, self._optimizer, self._parameters, every, group)
        self._grad_norm = torch.zeros((), device=device)
        if zero == 0:
            self._adamw.register_step_pre_hook(self._clip)

    def with_average(
        self, use: Callable[[nn.Module], Made], *, everywhere: bool = False
    ) -> Made | None:
        """See :class:`experts.engine.Engine`."""
        is_needed = everywhere or self._mesh.index("data", "shard") == 0
        return use(self._averages.network) if is_needed else None

    def all_finite(self) -> bool:
        """See :class:`experts.engine.Engine`."""
        return self._averages.all_finite()

    def step(self, micro_batches: Sequence[Examples], judge: Judge | None = None) -> Stats:
        """See :class:`experts.engine.Engine`. Equals one step on the whole batch at once.

        It is judged when it is made: whoever refuses it has to go back.
        """
        set_rate(self._adamw, self._rate(self._averages.num_averaged))
        loss = self._engine.train_batch(
            iter([(each.inputs, each.target) for each in micro_batches])
        )
        self._averages.update()
        if self._zero == 1:
            self._grad_norm = grad_norm_of(self._engine)
        stats = Stats(loss, self._grad_norm)
        return replace(stats, taken=judge(stats)) if judge else stats

    def snapshot(self) -> Snapshot:
        """See :class:`experts.engine.Engine`."""
        outline, whole = self._stages.outline, self._gathering.whole
        kept = outlines(dict(outline.named_parameters()))
        return Snapshot(
            network=whole(outline.state_dict(), self._part.state_dict()),
            optimizer=whole(kept, self._moments, parameter_of),
            averages=tuple(
                whole(outline.state_dict(), each.state_dict()) for each in self._averaged
            ),
            num_averaged=torch.tensor(self._averages.num_averaged),
        )

    def restore(self, snapshot: Snapshot) -> None:
        """See :class:`experts.engine.Engine`."""
        self._own.fill_all(self._part.state_dict(), snapshot.network)
        for own, average in zip(self._averaged, snapshot.averages, strict=True):
            self._own.fill_all(own.state_dict(), average)
        if self._zero == 1:
            self._optimizer.refresh_fp32_params()  # it steps copies of its shares
        self._moments.restore(snapshot.optimizer)
        self._averages.num_averaged = int(snapshot.num_averaged)

    def _clip(self, *_: object) -> None:
        """In DeepSpeed's place, which counts the first stage's gradients alone without ZeRO."""
        most = self._training.clip_norm
        self._grad_norm = clip(self._parameters, most, self._mesh, self._own)


class _Layer(nn.Module):
    """What DeepSpeed passes a tuple to."""

    def __init__(self, part: nn.Module) -> None:
        super().__init__()
        self.part = part

    def forward(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...] | Tensor:
        answer: tuple[Tensor, ...] | Tensor = self.part(*inputs)
        return answer
