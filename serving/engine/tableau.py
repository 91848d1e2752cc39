"""Solvers as they are needed row by row: where a step looks at the field, and what it makes of it.

A step evaluates the velocity once or twice. Between two evaluations an image waits like any other,
so images of different solvers, at different steps, share one batch. Each row is moved by the same
arithmetic as :mod:`experts.solvers` moves a whole batch, to the bit.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tableau:
    """An explicit Runge-Kutta method of one evaluation or two, as Butcher would write it.

    Attributes:
        reach: how far along the first velocity the second evaluation is, in steps; 0 if there is
            no second.
        weight: of the second velocity in the step; the first has the rest.
    """

    reach: float
    weight: float


TABLEAUX = {"euler": Tableau(0, 0), "heun": Tableau(1, 0.5), "midpoint": Tableau(0.5, 1)}
