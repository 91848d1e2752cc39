"""Which generations of checkpoints there are, and which of them new orders go to.

A newcomer is a canary first: it gets a share of the orders for a while, and is rolled back as soon
as more of its orders fail than of the edition beside it; if most of that one's fail, it gets all at
once. Whoever has orders to finish finishes them; the edition before the present one is kept,
without its experts, to go back to.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from atoll.clock import Clock
from atoll.errors import BadInput, NotFound
from serving.service.edition import Edition

State = Literal["serving", "canary", "previous", "leaving"]

log = logging.getLogger(__name__)

_FEW = 3  # failures that may be chance, before a canary's time is over
_BROKEN = 0.5  # share of failures with which nothing is worth waiting for


@dataclass(frozen=True, slots=True)
class EditionView:
    """What is known of an edition.

    Attributes:
        name: of it.
        state: what new orders it gets; ``leaving`` and ``previous`` get none.
        checkpoints: digests by name of the job.
        orders: that it has to finish.
        done: orders it has finished since a canary last began.
        failed: orders that came to nothing by no fault of their owners', likewise.
    """

    name: str
    state: State
    checkpoints: Mapping[str, str]
    orders: int
    done: int
    failed: int


@dataclass(slots=True, eq=False)
class _Standing:
    edition: Edition
    state: State
    orders: int = 0
    done: int = 0
    failed: int = 0

    @property
    def failing(self) -> float:
        """Share of its orders."""
        return self.failed / max(self.done + self.failed, 1)


@dataclass(slots=True, eq=False)
class Editions:
    """Not for several threads at once.

    Attributes:
        first: the edition to begin with.
        share: of the orders that a canary gets; 0 has no canaries.
        seconds: for which an edition is a canary.
        clock: for that.
    """

    first: Edition
    share: float
    seconds: float
    clock: Clock
    _all: list[_Standing] = field(init=False)
    _owed: float = field(init=False, default=0.0)  # orders to the canary
    _until: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        self._all = [_Standing(self.first, "serving")]

    @property
    def serving(self) -> Edition:
        """What orders are drawn from, but for a canary's share."""
        return self._in("serving").edition

    @property
    def active(self) -> list[Edition]:
        """Those that have, or may get, something to draw."""
        return [it.edition for it in self._all if it.state != "previous" or it.orders]

    def views(self) -> list[EditionView]:
        """All of them, the newest last."""
        return [
            EditionView(
                it.edition.name,
                it.state,
                it.edition.menu.checkpoints,
                it.orders,
                it.done,
                it.failed,
            )
            for it in self._all
        ]

    def pick(self) -> Edition:
        """Whom the next order goes to."""
        canary = self._find("canary")
        self._owed += self.share if canary else 0
        chosen = self._in("serving")
        if canary and self._owed >= 1:
            self._owed, chosen = self._owed - 1, canary
        chosen.orders += 1
        return chosen.edition

    def put_back(self, edition: Edition) -> None:
        """An order that it was picked for was none."""
        standing = self._of(edition)
        standing.orders -= 1
        if standing.state == "canary":
            self._owed += 1

    def over(self, edition: Edition, *, done: bool, is_fault: bool) -> None:
        """An order is over.

        Args:
            edition: that it was picked for.
            done: whether it has its images.
            is_fault: if not, whether the edition may be to blame.
        """
        standing = self._of(edition)
        standing.orders -= 1
        standing.done += done
        standing.failed += is_fault

    def try_out(self, edition: Edition) -> None:
        """Give a newcomer its share of the orders; an older canary gets none any more."""
        self._leave("canary")
        for standing in self._all:
            standing.done = standing.failed = 0
        self._all.append(_Standing(edition, "canary"))
        self._owed, self._until = 0.0, self.clock.monotonic() + self.seconds
        self._tell("canary", edition)
        if self.share == 0:
            self.promote(edition.name)

    def promote(self, name: str) -> None:
        """Give a canary all orders.

        Raises:
            NotFound: no edition is called so.
            BadInput: it is no canary.
        """
        canary = self._named(name)
        if canary.state != "canary":
            raise BadInput(f"edition {name} is {canary.state}; only a canary can be promoted")
        self._leave("previous")
        self._in("serving").state = "previous"
        canary.state = "serving"
        self._tell("promoted", canary.edition)

    def roll_back(self, name: str, why: str) -> None:
        """Give an edition no orders any more; the one before it gets them.

        Args:
            name: of the canary, or of what is serving.
            why: for the log.

        Raises:
            NotFound: no edition is called so.
            BadInput: there is nothing to go back to.
        """
        standing = self._named(name)
        previous = self._find("previous")
        if standing.state not in {"canary", "serving"}:
            raise BadInput(f"edition {name} is {standing.state} and gets no orders as it is")
        if standing.state == "serving" and previous is None:
            raise BadInput(f"edition {name} is the first one here; there is none to go back to")
        if standing.state == "serving":
            assert previous is not None
            previous.state = "serving"
            previous.edition.share.open()
        standing.state = "leaving"
        self._tell("rolled back", standing.edition, why)

    def judge(self) -> None:
        """Roll a canary back that fails, promote one whose time is over, and free who is done."""
        canary, serving = self._find("canary"), self._in("serving")
        if canary:
            is_over, name = self.clock.monotonic() >= self._until, canary.edition.name
            if canary.failing > serving.failing and (is_over or canary.failed >= _FEW):
                self.roll_back(
                    name,
                    f"{canary.failing:.0%} of its orders failed, and {serving.failing:.0%} of "
                    "those of the edition beside it",
                )
            elif is_over or (canary.done and serving.failed >= _FEW and serving.failing > _BROKEN):
                self.promote(name)
        for standing in [it for it in self._all if not it.orders]:
            if standing.state in {"previous", "leaving"}:
                standing.edition.share.close()
            if standing.state == "leaving":
                self._all.remove(standing)

    def _leave(self, state: State) -> None:
        standing = self._find(state)
        if standing:
            standing.state = "leaving"

    def _find(self, state: State) -> _Standing | None:
        return next((it for it in self._all if it.state == state), None)

    def _in(self, state: State) -> _Standing:
        standing = self._find(state)
        assert standing is not None
        return standing

    def _of(self, edition: Edition) -> _Standing:
        return next(it for it in self._all if it.edition is edition)

    def _named(self, name: str) -> _Standing:
        for standing in self._all:
            if standing.edition.name == name:
                return standing
        raise NotFound(f"no edition is called {name!r}; GET /v1/editions lists them")

    def _tell(self, what: str, edition: Edition, why: str = "") -> None:
        fields = {"edition": edition.name, "why": why}
        log.info("edition %s", what, extra={"fields": {k: v for k, v in fields.items() if v}})
