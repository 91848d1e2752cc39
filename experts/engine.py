"""One optimizer step, behind a small seam: plain torch or data parallel here, others to come."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

import torch
from torch import Tensor, distributed, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)
from torch.nn.parallel import DistributedDataParallel

from atoll.sections import TrainingSection
from experts.average import Average
from experts.task import Examples

_FLAT = StateDictOptions(flatten_optimizer_state_dict=True)


@dataclass(frozen=True, slots=True)
class Stats:
    """What a step tells of itself, as scalars on the device, so that asking costs no wait.

    Attributes:
        loss: mean over all rows of all processes, before the step.
        grad_norm: of all gradients together, before clipping.
    """

    loss: Tensor
    grad_norm: Tensor


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything the next step depends on, by name.

    Attributes:
        network: its state dict.
        optimizer: its moments and step counts, ``state.<parameter>.<name>``.
        average: state dict of the averaged network.
        num_averaged: steps that went into the average, int64 scalar.
    """

    network: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    average: dict[str, Tensor]
    num_averaged: Tensor


class Engine(Protocol):
    """What makes the steps."""

    @property
    def averaged(self) -> nn.Module:
        """The network with averaged weights, the one to sample from."""
        ...

    def step(self, micro_batches: Sequence[Examples]) -> Stats:
        """Learn from this process's part of a batch, in pieces that fit into memory."""
        ...

    def snapshot(self) -> Snapshot:
        """The state after at least one step.

        The tensors are the live ones: copy them before the next step changes them.
        """
        ...

    def restore(self, snapshot: Snapshot) -> None:
        """Go on from a snapshot, exactly."""
        ...


class TorchEngine:
    """AdamW on one process, or on several by averaged gradients (DDP).

    Args:
        network: on the device where it shall be trained.
        loss: of each row, from output and target.
        training: how; ``batch_size`` counts the rows of all processes together.
    """

    def __init__(
        self,
        network: nn.Module,
        loss: Callable[[Tensor, Tensor], Tensor],
        training: TrainingSection,
    ) -> None:
        self._network, self._loss, self._training = network, loss, training
        self._parameters = list(network.parameters())
        self._device = self._parameters[0].device
        self._optimizer = torch.optim.AdamW(
            self._parameters,
            lr=training.learning_rate,
            weight_decay=training.weight_decay,
            fused=True,
        )
        self._average = Average(network, training.ema_decay)
        if training.compile:
            network.compile()  # in place, so that the state dict keeps its keys
        self._parallel = None
        if distributed.is_initialized() and distributed.get_world_size() > 1:
            self._parallel = DistributedDataParallel(network, forward_sync_buffers=False)

    @property
    def averaged(self) -> nn.Module:
        """See :class:`Engine`."""
        return self._average.network

    def step(self, micro_batches: Sequence[Examples]) -> Stats:
        """See :class:`Engine`. Equals one step on the whole batch at once."""
        loss = torch.zeros((), device=self._device)
        for examples in micro_batches:
            with self._gradients_stay_here(unless=examples is micro_batches[-1]):
                loss += self._backward(examples)
        if self._parallel is not None:
            distributed.all_reduce(loss)
        grad_norm = nn.utils.clip_grad_norm_(self._parameters, self._training.clip_norm)
        self._warm_up()
        self._optimizer.step()
        self._optimizer.zero_grad()
        self._average.update(self._network)
        return Stats(loss, grad_norm)

    def snapshot(self) -> Snapshot:
        """See :class:`Engine`."""
        optimizer = self._optimizer_state()
        return Snapshot(
            network=self._network.state_dict(),
            # The rest of it is configuration.
            optimizer={key: part for key, part in optimizer.items() if isinstance(part, Tensor)},
            average=self.averaged.state_dict(),
            num_averaged=torch.tensor(self._average.num_averaged),
        )

    def restore(self, snapshot: Snapshot) -> None:
        """See :class:`Engine`."""
        self._network.load_state_dict(snapshot.network)
        optimizer = self._optimizer_state() | snapshot.optimizer
        set_optimizer_state_dict(self._network, self._optimizer, optimizer, options=_FLAT)
        self.averaged.load_state_dict(snapshot.average)
        self._average.num_averaged = int(snapshot.num_averaged)

    def _backward(self, examples: Examples) -> Tensor:
        run = self._parallel or self._network
        with self._precision():
            output = run(examples.x_t, examples.t, examples.cond)
        loss = self._loss(output, examples.target).sum() / self._training.batch_size
        # DDP divides gradients by the number of processes; ours are parts of one mean already.
        parts = 1 if self._parallel is None else distributed.get_world_size()
        torch.autograd.backward(loss * parts)
        return loss.detach()

    def _precision(self) -> contextlib.AbstractContextManager[None]:
        if self._training.precision == "fp32":
            return contextlib.nullcontext()
        return torch.autocast(self._device.type, torch.bfloat16)

    def _gradients_stay_here(self, *, unless: bool) -> contextlib.AbstractContextManager[None]:
        if self._parallel is None or unless:
            return contextlib.nullcontext()
        return cast("contextlib.AbstractContextManager[None]", self._parallel.no_sync())

    def _warm_up(self) -> None:
        reached = min(1.0, (self._average.num_averaged + 1) / max(1, self._training.warmup_steps))
        for group in self._optimizer.param_groups:
            group["lr"] = self._training.learning_rate * reached

    def _optimizer_state(self) -> dict[str, Any]:
        return get_optimizer_state_dict(self._network, self._optimizer, options=_FLAT)
