"""A pipeline of DeepSpeed's: 1F1B, with a part of the batch, or of AdamW's state, beside it."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor, distributed, nn

from atoll.sections import TrainingSection
from experts.average import Average
from experts.deepspeed.layers import drop, layers_of
from experts.deepspeed.rounded import Rounded
from experts.deepspeed.shares import Moments
from experts.deepspeed.stages import Stages
from experts.deepspeed.starting import grad_norm_of, settings, started
from experts.engine import Judge, Made, Snapshot, Stats
from experts.optimizer import adamw, warm_up
from experts.parallel.mesh import Mesh
from experts.parallel.norms import clip
from experts.parallel.portions import Portions
from experts.parallel.spreading import blocks_of, recompute
from experts.task import Examples


class PipelineEngine:
    """AdamW on a network whose blocks lie in several processes, one after the other.

    Args:
        network: whole, on the device where it shall be trained.
        loss: of each row, from output and target.
        training: how; ``batch_size`` counts the rows of all processes together.
        mesh: where this process stands; there are ``pipeline`` and ``data`` or ``shard``.
        stage: of ZeRO, 0 or 1; 1 shares out the optimizer's state along ``shard``.
        recomputes: whether activations are computed again in the backward pass.
    """

    def __init__(
        self,
        network: nn.Module,
        loss: Callable[[Tensor, Tensor], Tensor],
        training: TrainingSection,
        mesh: Mesh,
        stage: int,
        *,
        recomputes: bool = False,
    ) -> None:
        self._network, self._training, self._mesh, self._stage = network, training, mesh, stage
        self._shapes = {name: each.shape for name, each in network.named_parameters()}
        deepspeed = started(next(network.parameters()).device)
        with contextlib.redirect_stdout(None):  # it prints its layers
            layers = deepspeed.PipelineModule(
                [Rounded(each, training.precision) for each in layers_of(network)],
                num_stages=mesh.size("pipeline"),
                loss_fn=lambda output, target: loss(output, target).mean(),
            )
        own = set(layers.parameters())
        drop(network, own)
        self._parameters = {name: each for name, each in network.named_parameters() if each in own}
        self._average = Average(copy.deepcopy(network), network, training.ema_decay)
        if recomputes:
            recompute(network)
        if training.compile:
            for block in blocks_of(network):
                block.compile()
        self._adamw = adamw(self._parameters.values(), training)
        self._engine, optimizer, *_ = deepspeed.initialize(
            model=layers,
            optimizer=self._adamw,
            config=settings(stage, layers, training, training.accumulation),
        )
        self._stages = Stages(mesh, self._parameters, self._shapes)
        group = mesh.group("shard") if stage else None
        self._moments = Moments(self._adamw, optimizer, self._parameters, self._shapes, group)
        self._optimizer = optimizer
        self._grad_norm = torch.zeros(())
        if stage == 0:
            self._adamw.register_step_pre_hook(self._clip)

    def with_average(self, use: Callable[[nn.Module], Made]) -> Made | None:
        """See :class:`experts.engine.Engine`. The first process is lent all weights for it."""
        weights = self._whole(self._average.network)
        if self._mesh.rank:
            return None
        network = copy.deepcopy(self._average.network)
        for name, parameter in network.named_parameters():
            parameter.data = weights[name].to(parameter.device)
        return use(network)

    def all_finite(self) -> bool:
        """See :class:`experts.engine.Engine`."""
        own = [each.isfinite().all() for each in self._average.network.parameters()]
        finite = torch.stack(own).all().int()
        distributed.all_reduce(finite, distributed.ReduceOp.MIN)
        return bool(finite)

    def step(self, micro_batches: Sequence[Examples], judge: Judge | None = None) -> Stats:
        """See :class:`experts.engine.Engine`. Equals one step on the whole batch at once.

        It is judged when it is made: whoever refuses it has to go back.
        """
        warm_up(self._adamw, self._training, self._average.num_averaged)
        loss = self._engine.train_batch(iter([_passed(each) for each in micro_batches]))
        self._average.update()
        if self._stage == 1:
            self._grad_norm = grad_norm_of(self._engine)
        stats = Stats(loss, self._grad_norm)
        return replace(stats, taken=judge(stats)) if judge else stats

    def snapshot(self) -> Snapshot:
        """See :class:`experts.engine.Engine`."""
        return Snapshot(
            network=self._whole(self._network),
            optimizer=self._stages.gathered(self._moments.snapshot(), self._moments.keys_of),
            average=self._whole(self._average.network),
            num_averaged=torch.tensor(self._average.num_averaged),
        )

    @torch.no_grad()
    def restore(self, snapshot: Snapshot) -> None:
        """See :class:`experts.engine.Engine`."""
        averages = dict(self._average.network.named_parameters())
        for name, parameter in self._parameters.items():
            parameter.copy_(snapshot.network[name])
            averages[name].copy_(snapshot.average[name])
        if self._stage == 1:
            self._optimizer.refresh_fp32_params()  # it steps copies of its shares
        self._moments.restore(snapshot.optimizer)
        self._average.num_averaged = int(snapshot.num_averaged)

    def _whole(self, network: nn.Module) -> dict[str, Tensor]:
        """State dict of a network that has the names of all weights, and this process's own."""
        state = network.state_dict()
        parts = [(name, part) for name, part in state.items() if name in self._parameters]
        weights = self._stages.gathered(parts, lambda name: {name: self._shapes[name]})
        constant = {key: buffer for key, buffer in state.items() if key not in self._shapes}
        return {**weights, **constant}

    def _clip(self, *_: object) -> None:
        """In DeepSpeed's place, which counts the first stage's gradients alone without ZeRO."""
        most, own = self._training.clip_norm, Portions(self._mesh, {})
        self._grad_norm = clip(self._parameters, most, self._mesh, own)


def _passed(examples: Examples) -> tuple[tuple[Tensor, ...], Tensor]:
    given = (examples.x_t, examples.t, examples.cond)
    return tuple(part for part in given if part is not None), examples.target
