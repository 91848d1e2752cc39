"""From noise to images: one step of a solver as a pure function of rows, and whole integrations.

A step takes times and step lengths row by row, so rows that are at different steps of different
requests can share one batch.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import torch
from torch import Tensor

from atoll.errors import BadInput
from experts.flow import VelocityField, per_row

# Takes (field, x, t, dt, cond) with x (B, C, H, W) and t, dt (B,), and returns x at t + dt.
# Sampling goes from noise to data, so its dt is negative.
Step = Callable[[VelocityField, Tensor, Tensor, Tensor, Tensor | None], Tensor]


def euler(field: VelocityField, x: Tensor, t: Tensor, dt: Tensor, cond: Tensor | None) -> Tensor:
    """Follow the velocity at the start of the step; exact on straight paths."""
    return x + per_row(dt, x) * field(x, t, cond)


def heun(field: VelocityField, x: Tensor, t: Tensor, dt: Tensor, cond: Tensor | None) -> Tensor:
    """Follow the mean of the velocities at both ends of the step (the trapezoid rule)."""
    length = per_row(dt, x)
    first = field(x, t, cond)
    second = field(x + length * first, t + dt, cond)
    return x + length * (first + second) / 2


def midpoint(field: VelocityField, x: Tensor, t: Tensor, dt: Tensor, cond: Tensor | None) -> Tensor:
    """Follow the velocity in the middle of the step."""
    length = per_row(dt, x)
    middle = x + length / 2 * field(x, t, cond)
    return x + length * field(middle, t + dt / 2, cond)


SOLVERS: dict[str, Step] = {"euler": euler, "heun": heun, "midpoint": midpoint}


def time_grid(steps: int) -> list[float]:
    """The steps + 1 times of a sampling run, evenly from 1 (noise) to 0 (data)."""
    return [1 - step / steps for step in range(steps + 1)]


def integrate(
    field: VelocityField, noise: Tensor, cond: Tensor | None, *, steps: int, solver: str = "euler"
) -> Tensor:
    """Follow a velocity field from noise to images.

    Args:
        field: where to go.
        noise: standard normal, (B, C, H, W).
        cond: what each row is conditioned on; None without one.
        steps: of equal length; ``dopri5`` chooses its own and ignores this.
        solver: a name in :data:`SOLVERS`, or ``dopri5``.

    Returns:
        (B, C, H, W).

    Raises:
        BadInput: there is no such solver, or its library is not installed.
    """
    if solver == "dopri5":
        return dopri5(field, noise, cond)
    if solver not in SOLVERS:
        raise BadInput(f"no solver is called {solver!r}; there are {', '.join(SOLVERS)}, dopri5")
    step, x = SOLVERS[solver], noise
    for start, end in itertools.pairwise(time_grid(steps)):
        t = x.new_full((len(x),), start)
        x = step(field, x, t, x.new_full((len(x),), end - start), cond)
    return x


def dopri5(
    field: VelocityField,
    noise: Tensor,
    cond: Tensor | None,
    *,
    rtol: float = 1e-5,
    atol: float = 1e-5,
) -> Tensor:
    """Integrate adaptively (Dormand & Prince, 1980), for accurate references.

    One step length serves the whole batch and is chosen from the error of all its rows: unlike
    with the other solvers, an image depends on its batch, within the tolerances.

    Raises:
        BadInput: torchdiffeq is not installed.
    """
    try:
        from torchdiffeq import odeint  # noqa: PLC0415 - an optional extra
    except ImportError as error:
        raise BadInput(
            "the solver dopri5 needs torchdiffeq; install atoll[ode], or choose another solver"
        ) from error

    def velocity(t: Tensor, x: Tensor) -> Tensor:
        return field(x, t.to(x.dtype).expand(len(x)), cond)

    ends = torch.tensor([1.0, 0.0], device=noise.device, dtype=torch.float64)
    path: Tensor = odeint(velocity, noise, ends, rtol=rtol, atol=atol, method="dopri5")
    return path[-1]
