import itertools
import math
import sys

import pytest
import torch

from atoll.errors import BadInput
from experts.solvers import SOLVERS, dopri5, integrate, time_grid

X1 = torch.linspace(-2, 2, 12, dtype=torch.float64).reshape(3, 1, 2, 2)


def growing(x, t, cond):
    """dx/dt = 2 t x has the solution x(t) = x(1) exp(t^2 - 1)."""
    return 2 * t.reshape(-1, 1, 1, 1) * x


X0 = X1 / math.e
ORDERS = {"euler": 1, "heun": 2, "midpoint": 2}  # and evaluations of the field in a step


def straight(x, t, cond):
    return torch.full_like(x, 2.5)


@pytest.mark.parametrize("name", SOLVERS)
def test_solver_on_a_known_solution_converges_with_its_order(name):
    errors = [
        (integrate(growing, X1, None, steps=steps, solver=name) - X0).abs().max().item()
        for steps in (32, 64, 128)
    ]
    orders = [math.log2(coarse / fine) for coarse, fine in itertools.pairwise(errors)]
    assert orders == pytest.approx([ORDERS[name]] * 2, abs=0.1)


@pytest.mark.parametrize("name", SOLVERS)
def test_solver_on_straight_paths_is_exact_in_one_step(name):
    assert torch.allclose(integrate(straight, X1, None, steps=1, solver=name), X1 - 2.5)


@pytest.mark.parametrize("name", SOLVERS)
def test_step_asks_the_field_as_often_as_its_order(name):
    calls = []

    def counting(x, t, cond):
        calls.append(t)
        return growing(x, t, cond)

    integrate(counting, X1, None, steps=5, solver=name)
    assert len(calls) == 5 * ORDERS[name]


@pytest.mark.parametrize("name", SOLVERS)
def test_step_with_rows_at_different_times_equals_each_row_alone(name):
    step = SOLVERS[name]
    t = torch.tensor([1.0, 0.5, 0.2], dtype=torch.float64)
    dt = torch.tensor([-0.1, -0.3, -0.2], dtype=torch.float64)
    together = step(growing, X1, t, dt, None)
    alone = [step(growing, X1[i : i + 1], t[i : i + 1], dt[i : i + 1], None) for i in range(3)]
    assert torch.equal(together, torch.cat(alone))


def test_dopri5_on_a_known_solution_keeps_its_tolerance():
    assert torch.allclose(dopri5(growing, X1, None), X0, atol=1e-4)
    assert torch.equal(
        integrate(growing, X1, None, steps=1, solver="dopri5"), dopri5(growing, X1, None)
    )


def test_dopri5_without_its_library_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchdiffeq", None)
    with pytest.raises(BadInput, match=r"atoll\[ode\]"):
        dopri5(straight, X1, None)


def test_integrate_with_an_unknown_solver_names_the_known_ones():
    with pytest.raises(BadInput, match="euler, heun, midpoint"):
        integrate(straight, X1, None, steps=1, solver="rk4")


def test_time_grid_runs_from_noise_to_data():
    assert time_grid(4) == [1.0, 0.75, 0.5, 0.25, 0.0]
