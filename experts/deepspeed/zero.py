"""ZeRO: the state of the optimizer, the gradients and at last the weights in parts, by DeepSpeed.

Source: Rajbhandari et al., ZeRO (arXiv 1910.02054), section 5.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import torch
from torch import Tensor, distributed, nn

from atoll.training_section import TrainingSection
from experts.average import Averages
from experts.compiled import compile_in_place
from experts.deepspeed.rounded import Rounded
from experts.deepspeed.shares import Moments
from experts.deepspeed.starting import grad_norm_of, settings, started
from experts.deepspeed.weights import fill_weights, whole_weights
from experts.engine import Judge, Made, Snapshot, Stats
from experts.optimizer import adamw, outlines, set_rate
from experts.parallel.mesh import Mesh
from experts.parallel.spreading import recompute
from experts.profiles import shares_of
from experts.schedules import Rate, rate_of
from experts.task import Examples


class ZeroEngine:
    """AdamW on a network whose state DeepSpeed shares out among all processes.

    Args:
        network: whole, on the device where it shall be trained.
        loss: of each row, from output and target.
        training: how; ``batch_size`` counts the rows of all processes together.
        mesh: where this process stands; all ranks lie along ``shard``.
        stage: 1 shares out the optimizer's state, 2 the gradients too, 3 the weights too.
        rate: learning rate of each step; None for that of ``training`` alone.
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
        rate: Rate | None = None,
        recomputes: bool = False,
    ) -> None:
        self._network, self._loss, self._training = network, loss, training
        self._mesh, self._stage = mesh, stage
        self._parameters = dict(network.named_parameters())
        self._device = next(iter(self._parameters.values())).device
        every = outlines(self._parameters)  # now: DeepSpeed may hide their shapes
        shares = shares_of(training)
        self._averaged = [copy.deepcopy(network) for _ in shares]
        if recomputes:
            recompute(network)
        if training.compile:
            compile_in_place(network)
        deepspeed = started(self._device)
        config = settings(stage, network, training)
        self._adamw = adamw(self._parameters.values(), training)
        self._rate = rate or rate_of(training)
        self._engine, self._zero, *_ = deepspeed.initialize(
            model=Rounded(network, training.precision), optimizer=self._adamw, config=config
        )
        if stage == 3:  # engines that step nothing, and gather their weights layer by layer
            config["zero_optimization"]["stage3_param_persistence_threshold"] = 0
            self._lending = [
                deepspeed.initialize(model=each, config=config)[0] for each in self._averaged
            ]
        self._averages = Averages(self._averaged, network, shares)
        group = mesh.group("shard")
        self._moments = Moments(self._adamw, self._zero, self._parameters, every, group)

    def with_average(
        self, use: Callable[[nn.Module], Made], *, everywhere: bool = False
    ) -> Made | None:
        """See :class:`experts.engine.Engine`."""
        is_needed = everywhere or self._stage == 3 or self._mesh.rank == 0
        return use(self._averages.network) if is_needed else None

    def all_finite(self) -> bool:
        """See :class:`experts.engine.Engine`."""
        return self._averages.all_finite()

    def step(self, micro_batches: Sequence[Examples], judge: Judge | None = None) -> Stats:
        """See :class:`experts.engine.Engine`. Equals one step on the whole batch at once.

        It is judged when it is made: whoever refuses it has to go back.
        """
        loss = torch.zeros((), device=self._device)
        for examples in micro_batches:
            last = examples is micro_batches[-1]
            self._engine.set_gradient_accumulation_boundary(last)
            loss += self._backward(examples)
        distributed.all_reduce(loss)
        set_rate(self._adamw, self._rate(self._averages.num_averaged))
        self._engine.step()
        self._averages.update()
        stats = Stats(loss, grad_norm_of(self._engine))
        return replace(stats, taken=judge(stats)) if judge else stats

    def snapshot(self) -> Snapshot:
        """See :class:`experts.engine.Engine`."""
        return Snapshot(
            network=self._first(whole_weights(self._network)),
            optimizer=self._first(self._moments.items()),
            averages=tuple(self._first(whole_weights(each)) for each in self._averaged),
            num_averaged=torch.tensor(self._averages.num_averaged),
        )

    def restore(self, snapshot: Snapshot) -> None:
        """See :class:`experts.engine.Engine`."""
        fill_weights(self._network, snapshot.network)
        self._zero.refresh_fp32_params()  # the optimizer steps copies of its shares
        for own, average in zip(self._averaged, snapshot.averages, strict=True):
            fill_weights(own, average)
        self._moments.restore(snapshot.optimizer)
        self._averages.num_averaged = int(snapshot.num_averaged)

    def _backward(self, examples: Examples) -> Tensor:
        output = self._engine(*examples.asked)
        loss = self._loss(output, examples.target).sum() / self._training.batch_size
        # DeepSpeed averages gradients over the processes; ours are parts of one mean already.
        self._engine.backward(loss * self._mesh.layout.rows, scale_wrt_gas=False)
        return loss.detach()

    def _first(self, pairs: Iterable[tuple[str, Tensor]]) -> dict[str, Tensor]:
        """On the first process, in its CPU's memory: beside a share, the whole may not fit."""
        return {name: whole.cpu() for name, whole in pairs if self._mesh.rank == 0}
