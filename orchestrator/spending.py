"""What a run's nodes have taken, and whether its budget has room for more."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from atoll.clock import Clock
from atoll.errors import OverBudget
from atoll.types import Event
from atoll.views import BudgetView
from cluster.provider import Node
from orchestrator.fleet import budget, ledger, operations
from orchestrator.fleet.budget import Budget
from orchestrator.fleet.ledger import Ledger, NodeUse, Prices
from orchestrator.fleet.state import Change, Fleet


class Spending:
    """The books of one service, which guards them by its lock and believes what it has stored."""

    def __init__(
        self, uses: Iterable[NodeUse], prices: Prices, limits: Budget, clock: Clock
    ) -> None:
        self.ledger = Ledger().after(uses)
        self._prices = prices
        self._budget = limits
        self._clock = clock
        self._warned: set[str] = set()  # limits that were told to be near
        self._reached = ""  # why the run is paused

    def believe(self, change: Change) -> None:
        """Note what was stored."""
        self.ledger = self.ledger.after(change.nodes)
        for event in change.events:
            if event.kind == "budget-reached":
                self._reached = event.reason
            elif event.kind == "drain-ended":
                self._reached = ""

    def started(self, islands: Iterable[str]) -> Change:
        """A provider is about to be asked for nodes."""
        now = self._clock.wall()
        noted = [ledger.started(island, self._prices, now) for island in islands]
        return Change(
            nodes=tuple(use for use, _ in noted), events=tuple(event for _, event in noted)
        )

    def reconciled(self, fleet: Fleet, nodes: Iterable[Node]) -> Change:
        """See :func:`orchestrator.fleet.ledger.reconciled`."""
        heard = {it.name for it in fleet.islands.values() if it.state in {"idle", "working"}}
        now = self._clock.wall()
        uses, told = ledger.reconciled(self.ledger, nodes, heard, self._prices, now)
        return Change(nodes=uses, events=told)

    def kept(self, fleet: Fleet, num_new: int) -> Change:
        """What keeps the run within its budget: a drain, a warning, or nothing.

        Args:
            fleet: as it is.
            num_new: islands to be asked for now.
        """
        if fleet.draining or not fleet.jobs.num_open:
            return Change()
        if words := self._over(num_new):
            told = Change(events=(Event("budget-reached", words),))
            return told.then(operations.drain(fleet, words.partition(":")[0]))
        near = dict(budget.nearing(self._budget, self.ledger, self._clock.wall()))
        fresh = [words for key, words in near.items() if key not in self._warned]
        self._warned |= near.keys()
        return Change(events=tuple(Event("budget-nearly-reached", words) for words in fresh))

    def refuse_more(self, fleet: Fleet) -> None:
        """Refuse work that nobody may do. Raises: OverBudget."""
        num_open = fleet.jobs.num_open
        words = self._over(self._budget.num_to_start(self.ledger, num_open)) if num_open else ""
        if words:
            raise OverBudget(words)

    @property
    def budget(self) -> BudgetView:
        """What an operator sees of the budget."""
        return replace(self._budget.view, reached=self._reached)

    def _over(self, num_new: int) -> str:
        num_nodes, price = num_new * self._prices.num_nodes, self._prices.highest
        return budget.reached(self._budget, self.ledger, num_nodes, price, self._clock.wall())
