"""The engine of plain torch: one process, data parallel (DDP), or with weights in parts (FSDP2)."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor, distributed, nn
from torch.distributed.fsdp import FSDPModule
from torch.nn.parallel import DistributedDataParallel

from atoll.training_section import TrainingSection
from experts.average import Averages
from experts.compiled import compile_in_place
from experts.devices import arithmetic
from experts.engine import Judge, Made, Snapshot, Stats
from experts.optimizer import AdamW
from experts.parallel.mesh import Mesh
from experts.parallel.norms import clip
from experts.parallel.portions import Portions, local
from experts.parallel.spreading import blocks_of, recompute, spread
from experts.profiles import shares_of
from experts.schedules import Rate, rate_of
from experts.task import Examples


class TorchEngine:
    """AdamW on a network that is whole, or whose weights or tokens are shared out.

    Args:
        network: on the device where it shall be trained; it is shared out in place.
        loss: of each row, from output and target.
        training: how; ``batch_size`` counts the rows of all processes together.
        mesh: where this process stands among others.
        rate: learning rate of each step; None for that of ``training`` alone.
        recomputes: whether activations are computed again in the backward pass.
    """

    def __init__(
        self,
        network: nn.Module,
        loss: Callable[[Tensor, Tensor], Tensor],
        training: TrainingSection,
        mesh: Mesh | None = None,
        *,
        rate: Rate | None = None,
        recomputes: bool = False,
    ) -> None:
        self._network, self._loss, self._training = network, loss, training
        self._mesh = mesh or Mesh()
        shares = shares_of(training)
        self._averaged = [copy.deepcopy(network) for _ in shares]
        cuts = spread(network, self._mesh, training.precision)
        for each in self._averaged:
            spread(each, self._mesh, "fp32")  # it is asked outside of any training's arithmetic
        self._own = Portions(self._mesh, cuts)
        self._parameters = dict(network.named_parameters())
        self._device = local(next(iter(self._parameters.values()))).device
        self._averages = Averages(
            self._averaged, network, shares, counts_refused=training.ema_profile == "power"
        )
        self._optimizer = AdamW(self._parameters, training, rate or rate_of(training))
        if recomputes:
            recompute(network)
        if training.compile:
            self._compile()
        self._parallel = None
        if self._mesh.size("data", "sequence") > 1 and not self._is_sharded:
            replicas = self._mesh.group("data", "sequence")
            self._parallel = DistributedDataParallel(
                network, process_group=replicas, forward_sync_buffers=False
            )

    @property
    def averaged(self) -> nn.Module:
        """The network with averaged weights; of one that is shared out, this process's part."""
        return self._averages.network

    def with_average(
        self, use: Callable[[nn.Module], Made], *, everywhere: bool = False
    ) -> Made | None:
        """See :class:`experts.engine.Engine`."""
        lends = self._mesh.size("shard", "tensor") * self._mesh.size("sequence") > 1
        is_needed = everywhere or lends or self._mesh.rank == 0
        return use(self.averaged) if is_needed else None

    def all_finite(self) -> bool:
        """See :class:`experts.engine.Engine`."""
        return self._averages.all_finite()

    def step(self, micro_batches: Sequence[Examples], judge: Judge | None = None) -> Stats:
        """See :class:`experts.engine.Engine`. Equals one step on the whole batch at once."""
        loss = torch.zeros((), device=self._device)
        for examples in micro_batches:
            with self._gradients_stay_here(unless=examples is micro_batches[-1]):
                loss += self._backward(examples)
        if self._mesh.layout.rows > 1:
            distributed.all_reduce(loss, group=self._mesh.group("data", "shard"))
        grad_norm = clip(self._parameters, self._training.clip_norm, self._mesh, self._own)
        taken = judge(Stats(loss, grad_norm)) if judge else None
        self._optimizer.step(self._averages.num_averaged, taken)
        self._averages.update(taken)
        return Stats(loss, grad_norm, taken)

    def snapshot(self) -> Snapshot:
        """See :class:`experts.engine.Engine`."""
        whole = self._own.first
        return Snapshot(
            network={key: whole(key, part) for key, part in self._network.state_dict().items()},
            optimizer=self._optimizer.snapshot(whole),
            averages=tuple(
                {key: whole(key, part) for key, part in each.state_dict().items()}
                for each in self._averaged
            ),
            num_averaged=torch.tensor(self._averages.num_averaged),
        )

    def restore(self, snapshot: Snapshot) -> None:
        """See :class:`experts.engine.Engine`."""
        self._own.fill_all(self._network.state_dict(), snapshot.network)
        for own, average in zip(self._averaged, snapshot.averages, strict=True):
            self._own.fill_all(own.state_dict(), average)
        self._optimizer.restore(snapshot.optimizer, self._own.fill)
        self._averages.num_averaged = int(snapshot.num_averaged)

    @property
    def _is_sharded(self) -> bool:
        return isinstance(self._network, FSDPModule)

    def _compile(self) -> None:
        """In place, so that the state dict keeps its keys; block by block between others' hooks."""
        whole = self._mesh.size("shard", "sequence", "tensor") == 1
        for module in [self._network] if whole else blocks_of(self._network):
            compile_in_place(module)

    def _backward(self, examples: Examples) -> Tensor:
        run = self._parallel or self._network
        with arithmetic(self._training.precision, self._device):
            output = run(*examples.asked)
        loss = self._loss(output, examples.target).sum() / self._training.batch_size
        # DDP divides gradients by the number of processes; ours are parts of one mean already.
        parts = 1 if self._parallel is None else self._mesh.size("data", "sequence")
        torch.autograd.backward(loss if parts == 1 else loss * parts)
        return loss.detach()

    def _gradients_stay_here(self, *, unless: bool) -> contextlib.AbstractContextManager[None]:
        if isinstance(self._network, FSDPModule):
            # Each piece's gradients are cut at once, or they would be whole; added up at the end.
            self._network.set_requires_all_reduce(unless)
        if self._parallel is None or unless:
            return contextlib.nullcontext()
        return cast("contextlib.AbstractContextManager[None]", self._parallel.no_sync())
