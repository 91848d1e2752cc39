"""Whether a run keeps within its budget, looking ahead as far as its islands need to leave.

Pure: works on values and a time of day. Whoever finds a budget reached drains the fleet, and all
islands have made their last checkpoint and are gone before more than the budget is spent.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from atoll.views import BudgetView
from orchestrator.fleet.ledger import Ledger

LEAVE_S = 30.0  # besides the last checkpoint: to hear of it, to leave, and to be seen gone
_NEARLY = 0.8  # of a limit
_SOON_S = 3600.0  # before the deadline


@dataclass(frozen=True, slots=True)
class Budget:
    """What a run may take; infinite where there is no limit.

    Attributes:
        cost: in the unit of the prices.
        node_hours: of all nodes together.
        deadline: time of day, seconds since the Unix epoch.
        ahead_s: time that all islands need to checkpoint, leave and be seen gone.
        num_islands: that the run keeps alive, if there are jobs for so many.
    """

    cost: float = math.inf
    node_hours: float = math.inf
    deadline: float = math.inf
    ahead_s: float = LEAVE_S
    num_islands: int = 0

    @property
    def view(self) -> BudgetView:
        """What an operator sees of it."""
        limits = (self.cost, self.node_hours, self.deadline)
        cost, node_hours, deadline = (it if it < math.inf else None for it in limits)
        return BudgetView(cost, node_hours, deadline)

    def num_to_start(self, ledger: Ledger, num_open: int) -> int:
        """Islands that are not there yet, for so many jobs that are not over."""
        return max(0, min(self.num_islands, num_open) - len(ledger.running))


def reached(budget: Budget, ledger: Ledger, num_new: int, price: float, now: float) -> str:
    """Why nobody may work on, in words; "" as long as everybody may.

    Args:
        budget: of the run.
        ledger: of its nodes; those that are missing are about to be started again.
        num_new: nodes to be asked for now.
        price: of each of them for an hour.
        now: time of day.
    """
    uses, ahead_h = ledger.running.values(), budget.ahead_s / 3600
    num, spent = sum(use.num_nodes for use in uses) + num_new, ledger.spent(now)
    leaving = f"{num} node{'s' * (num != 1)} may take {{}} until they have checkpointed and left"
    rate = sum(use.num_nodes * use.price_per_hour for use in uses) + num_new * price
    cost = ahead_h * rate
    if spent.cost + cost > budget.cost:
        words = leaving.format(f"{cost:.2f} more")
        return f"budget.cost = {budget.cost:g} is reached: {spent.cost:.2f} is spent, and {words}"
    hours = num * ahead_h
    if spent.node_hours + hours > budget.node_hours:
        words = leaving.format(f"{hours:.2f} h more")
        return (
            f"budget.node_hours = {budget.node_hours:g} is reached: {spent.node_hours:.2f} h are "
            f"taken, and {words}"
        )
    if now + budget.ahead_s > budget.deadline:
        return (
            f"budget.deadline = {moment(budget.deadline)} is reached: islands may take "
            f"{budget.ahead_s:.0f} s to checkpoint and leave"
        )
    return ""


def nearing(budget: Budget, ledger: Ledger, now: float) -> Iterator[tuple[str, str]]:
    """The limits that are nearly reached: the key of each, and words."""
    spent = ledger.spent(now)
    if spent.cost >= _NEARLY * budget.cost:
        yield "cost", f"{spent.cost:.2f} of budget.cost = {budget.cost:g} is spent"
    if spent.node_hours >= _NEARLY * budget.node_hours:
        words = f"{spent.node_hours:.2f} h of budget.node_hours = {budget.node_hours:g} are taken"
        yield "node_hours", words
    if now + _SOON_S >= budget.deadline:
        left = f"{(budget.deadline - now) / 60:.0f} min"
        yield "deadline", f"{left} are left until budget.deadline = {moment(budget.deadline)}"


def moment(at: float) -> str:
    """A time of day for people, in UTC."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
