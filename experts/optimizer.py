"""AdamW, and its state by the names of the network's parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor, nn

from atoll.training_section import TrainingSection
from experts.parallel.portions import local
from experts.schedules import Rate

_MOMENTS = ("exp_avg", "exp_avg_sq")


class AdamW:
    """Steps of torch's AdamW.

    Args:
        parameters: of this process, by name.
        training: weight decay.
        rate: learning rate of each step.
    """

    def __init__(
        self, parameters: Mapping[str, nn.Parameter], training: TrainingSection, rate: Rate
    ) -> None:
        self._parameters, self._rate = parameters, rate
        self._optimizer = adamw(parameters.values(), training)

    def step(self, num_done: int, taken: Tensor | None = None) -> None:
        """Change the weights by their gradients, and forget those.

        Args:
            num_done: steps before this one.
            taken: whether weights and moments change at all, a bool scalar; None for yes.
        """
        set_rate(self._optimizer, self._rate(num_done))
        if taken is not None:  # the fused kernels read it where they run, see torch.amp.GradScaler
            self._optimizer.found_inf = (~taken).float()  # type: ignore[attr-defined]
        self._optimizer.step()
        self._optimizer.zero_grad()

    def snapshot(self, whole: Callable[[str, Tensor], Tensor]) -> dict[str, Tensor]:
        """Moments and step counts, ``state.<parameter>.<name>``; the rest is configuration.

        Args:
            whole: what belongs to a parameter, by its name, from what this process has.
        """
        return {
            f"state.{name}.{key}": whole(name, part)
            for name, parameter in self._parameters.items()
            for key, part in self._optimizer.state[parameter].items()
        }

    def restore(
        self, state: Mapping[str, Tensor], fill: Callable[[str, Tensor, Tensor], None]
    ) -> None:
        """Go on from what :meth:`snapshot` gave.

        Args:
            state: whole.
            fill: gives what this process has its part of a whole tensor, see
                :meth:`experts.parallel.portions.Portions.fill`.
        """
        for name, parameter in self._parameters.items():
            count = state[f"state.{name}.step"].clone()
            moments = {key: torch.zeros_like(parameter) for key in _MOMENTS}
            for key, own in moments.items():
                fill(name, own, state[f"state.{name}.{key}"])
            place = local(parameter).device
            self._optimizer.state[parameter] = {"step": count.to(place), **moments}


def adamw(parameters: Iterable[nn.Parameter], training: TrainingSection) -> torch.optim.AdamW:
    """Torch's own, as the configuration wants it."""
    return torch.optim.AdamW(
        parameters,
        lr=training.learning_rate,
        weight_decay=training.weight_decay,
        fused=True,
    )


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of the next step."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def outlines(parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What :meth:`AdamW.snapshot` gives of some parameters, by key, without its numbers."""
    found = {f"state.{name}.step": torch.empty((), device="meta") for name in parameters}
    for name, parameter in parameters.items():
        found |= {f"state.{name}.{key}": parameter.to("meta") for key in _MOMENTS}
    return found


def parameter_of(key: str) -> str:
    """The name of the parameter whose state has a key."""
    return key.removeprefix("state.").rpartition(".")[0]
