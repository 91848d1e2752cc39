"""A provider whose calls take their time, asked in the background.

Slurm may not answer for a minute, ssh and clouds take longer still. The orchestrator looks at its
islands five times a second and waits for none of them.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from atoll.clock import Clock
from atoll.errors import AtollError, IslandError
from cluster.provider import Capabilities, Node, NodeSpec, Provider

log = logging.getLogger(__name__)

_AT_ONCE = 16  # calls to a provider
_LAST_LINES = 50
_MOST_PAUSE_S = 60.0


class Background:
    """See :class:`cluster.provider.Provider`; every call answers at once.

    Unreachable is not dead: while a provider does not answer, its nodes are as it told last.
    """

    def __init__(self, provider: Provider, label: str, poll_s: float, clock: Clock) -> None:
        """Begin to ask.

        Args:
            provider: whom.
            label: of the run; nodes of others are not asked for.
            poll_s: pause between two questions.
            clock: for pauses.
        """
        self._provider = provider
        self._label = label
        self._poll_s = poll_s
        self._clock = clock
        self._changed = threading.Condition()  # guards all that follows
        self._seen: dict[str, Node] | None = None  # as told last
        self._asked: dict[str, Node] = {}  # of submissions that no answer has shown yet
        self._taken: set[str] = set()  # of them, those that the provider said yes to
        self._completing: set[str] = set()  # living islands, until an answer shows the new nodes
        self._cancelled: set[str] = set()
        self._stopped: set[str] = set()  # of them, those that it said yes to when it was asked last
        self._words: dict[str, str] = {}  # the last lines of those that are dead
        self._trouble = "it has not answered yet"
        self._soon = False
        self._room = threading.BoundedSemaphore(_AT_ONCE)
        self._start(self._poll)

    @property
    def trouble(self) -> str:
        """Why the provider does not answer; "" while it does."""
        with self._changed:
            return self._trouble

    def capabilities(self) -> Capabilities:
        """See :class:`cluster.provider.Provider`."""
        return self._provider.capabilities()

    def validate(self, spec: NodeSpec) -> None:
        """See :class:`cluster.provider.Provider`; waits for the answer, before anything starts."""
        self._provider.validate(spec)

    def submit(self, spec: NodeSpec, idempotency_key: str) -> Node:
        """See :class:`cluster.provider.Provider`; a refusal is told as the node's end.

        Unless that lives, and was only to be completed: then it lives on as it is.
        """
        island = spec.island
        with self._changed:
            if island in self._asked:
                return self._asked[island]
            node = (self._seen or {}).get(island)
            if node is None:
                node = self._asked[island] = Node(island, alive=True, waiting=True)
            elif node.missing and island not in self._completing | self._cancelled:
                self._completing.add(island)
            else:
                return node
        self._start(self._submit, spec, idempotency_key)
        return node

    def list(self, label: str) -> tuple[Node, ...]:
        """See :class:`cluster.provider.Provider`; before the first answer what it was asked for.

        Raises:
            IslandError: that is nothing.
        """
        if label != self._label:
            return ()
        with self._changed:
            if self._seen is None and not self._asked:
                raise IslandError(self._trouble)
            nodes = {**(self._seen or {}), **self._asked}
            is_stale = bool(self._trouble)
            return tuple(
                replace(self._as_cancelled(node), stale=node.stale or is_stale)
                for node in nodes.values()
            )

    def logs(self, island: str, num_lines: int) -> str:
        """See :class:`cluster.provider.Provider`; of the living nothing is fetched."""
        with self._changed:
            return "".join(self._words.get(island, "").splitlines(keepends=True)[-num_lines:])

    def cancel(self, island: str) -> None:
        """See :class:`cluster.provider.Provider`; tried until it is done."""
        with self._changed:
            if island in self._cancelled:
                return
            self._cancelled.add(island)
        self._start(self._cancel, island)

    def _start(self, call: Callable[..., None], *arguments: Any) -> None:
        """In a thread that keeps no process from ending, as those of the standard pools would."""
        threading.Thread(target=call, args=arguments, name="provider", daemon=True).start()

    def _as_cancelled(self, node: Node) -> Node:
        """Dead, and somebody saw to it that nothing of it is left."""
        done = not node.alive and node.island in self._cancelled
        return replace(node, cleared=node.cleared or done)

    def _submit(self, spec: NodeSpec, key: str) -> None:
        try:
            with self._room:
                node = self._provider.submit(spec, key)
        except Exception as error:  # whatever went wrong, it must not seem to live for ever
            self._not_started(spec.island, _told(error))
        else:
            with self._changed:
                if spec.island in self._asked:
                    self._asked[spec.island] = node
                self._taken.add(spec.island)
        with self._changed:
            is_overtaken = spec.island in self._cancelled
        if is_overtaken:  # by its own cancellation, which may have found nothing to stop
            self._insist(spec.island)
        self._ask_soon()

    def _not_started(self, island: str, why: str) -> None:
        with self._changed:
            lives = island in self._completing
            self._completing.discard(island)
            if not lives:
                failed = Node(island, alive=False, reason=f"could not be started: {why}")
                self._asked[island] = failed
        if lives:
            fields = {"island": island, "why": why}
            log.warning("an island still lacks nodes", extra={"fields": fields})

    def _cancel(self, island: str) -> None:
        self._insist(island)
        self._ask_soon()

    def _insist(self, island: str) -> None:
        """Cancel until the provider has taken it: what nobody stops costs money."""
        pause_s = self._poll_s
        while True:
            try:
                with self._room:
                    self._provider.cancel(island)
            except Exception as error:  # whatever went wrong, it may still run
                fields = {"island": island, "why": _told(error)}
                log.warning("tries again", extra={"fields": fields})
                self._clock.sleep(pause_s)
                pause_s = min(2 * pause_s, _MOST_PAUSE_S)
            else:
                with self._changed:
                    self._stopped.add(island)
                return

    def _ask_soon(self) -> None:
        with self._changed:
            self._soon = True
            self._changed.notify_all()

    def _poll(self) -> None:
        while True:
            with self._changed:
                self._soon = False
                submitted, taken = set(self._asked), set(self._taken)
                stopped = set(self._stopped)
            try:
                nodes = {node.island: node for node in self._provider.list(self._label)}
                words = self._last_words(nodes)
            except Exception as error:  # whatever it answers must not end the asking
                self._note(_told(error))
            else:
                with self._changed:
                    self._seen, self._trouble = nodes, ""
                    self._words |= words
                    for island in submitted & nodes.keys():
                        del self._asked[island]
                    for island in (submitted & taken) - nodes.keys():
                        gone = "its provider knows nothing of it any more"
                        self._asked[island] = Node(island, alive=False, reason=gone)
                    self._taken -= taken
                    self._completing -= taken
                    # A submission that seemed to fail may show only now, or a node is slow to end.
                    lingering = {it for it in stopped & nodes.keys() if nodes[it].alive}
                    self._stopped -= lingering
                for island in lingering:
                    self._start(self._insist, island)
            with self._changed:
                self._changed.wait_for(lambda: self._soon, self._poll_s)

    def _last_words(self, nodes: dict[str, Node]) -> dict[str, str]:
        """What the newly dead wrote last."""
        dead = [name for name, node in nodes.items() if not node.alive and name not in self._words]
        return {name: self._provider.logs(name, _LAST_LINES) for name in dead}

    def _note(self, trouble: str) -> None:
        with self._changed:
            is_new, self._trouble = trouble != self._trouble, trouble
        if is_new:
            log.warning("the provider does not answer", extra={"fields": {"why": trouble}})


def _told(error: Exception) -> str:
    if isinstance(error, AtollError):
        return str(error)
    return f"its answer is not understood ({error!r})"
