"""What is known of one of the hosts that islands are started on."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import asdict, replace
from typing import Any

from atoll.errors import AtollError, ConfigError, IslandError
from cluster.host import Untouched
from cluster.probation import Probation
from cluster.provider import Node, NodeSpec
from cluster.ssh_link import Link

log = logging.getLogger(__name__)

_MENDING_S = 60.0


class SshHost:
    """One host; unreachable is not dead, so its nodes are as it told last."""

    def __init__(self, name: str, link: Link, probation: Probation) -> None:
        """Know nothing yet.

        Args:
            name: as ssh knows it.
            link: makes the calls.
            probation: whether it is fit to start islands.
        """
        self.name = name
        self.probation = probation
        self._link = link
        self._calling = threading.Lock()  # held by whoever makes a call and notes its answer
        self._listing: Future[None] | None = None
        self._nodes: Mapping[str, Node] = {}
        self.trouble: AtollError | None = None  # why it does not answer
        self.answers_since = math.inf  # on the monotonic clock
        self._troubled_at = 0.0

    @property
    def greeting(self) -> dict[str, Any]:
        """How it introduced itself last; empty if it never did."""
        return self._link.greeting

    @property
    def nodes(self) -> tuple[Node, ...]:
        """Those of the run, as told last."""
        return tuple(replace(node, stale=bool(self.trouble)) for node in self._nodes.values())

    @property
    def is_free(self) -> bool:
        """Whether an island may be tried here."""
        busy = any(node.alive for node in self._nodes.values())
        return not (busy or self.trouble or self.probation.is_on)

    def has(self, island: str) -> bool:
        """Whether it told of a node."""
        return island in self._nodes

    def look(self) -> Future[None]:
        """Begin to ask what it has, unless it has not answered yet; never fails.

        One that has to be mended is left alone for a while: many shut out who knocks too often.
        """
        rests = isinstance(self.trouble, ConfigError) and (
            time.monotonic() - self._troubled_at < _MENDING_S
        )
        if self._listing is None or (self._listing.done() and not rests):
            self._listing = begun(self._list)
        return self._listing

    def check(self, spec: NodeSpec, run: str) -> None:
        """See :meth:`cluster.host.Host.check`. Raises also: IslandError, it does not answer."""
        with self._calling:
            self._link.call("check", asdict(spec), run)

    def submit(self, spec: NodeSpec, key: str) -> Node:
        """Start a node.

        Raises:
            Untouched: the host does not take it.
            IslandError: it may have been started.
        """
        with self._calling:
            try:
                (node,) = self._told([self._link.call("submit", asdict(spec), key)])
            except Untouched:
                raise
            except ConfigError as error:
                self._failed(str(error))
                raise Untouched(str(error)) from error
            except IslandError as error:
                self._failed(str(error))
                raise
            before = self._nodes.get(node.island)
            self._nodes = {**self._nodes, node.island: node}
            if not (before and before.alive):
                self.probation.started(node.island)
            return node

    def is_idle(self) -> bool:
        """Whether no run's island is at work there; not, if it does not answer."""
        with suppress(IslandError):
            return bool(self.call("is_idle"))
        return False

    def call(self, name: str, *given: Any) -> Any:
        """Anything else that :class:`cluster.host.Host` does. Raises: IslandError."""
        with self._calling:
            try:
                return self._link.call(name, *given)
            except ConfigError as error:  # mended some day: until then it does not answer
                raise IslandError(str(error)) from error

    def note(self, trouble: AtollError | None) -> None:
        """Keep in mind why it does not answer; None if it does."""
        if trouble and str(trouble) != str(self.trouble):
            fields = {"host": self.name, "why": str(trouble)}
            log.warning("a host does not answer", extra={"fields": fields})
        now = time.monotonic()
        self.trouble, self._troubled_at = trouble, now
        self.answers_since = math.inf if trouble else min(self.answers_since, now)

    def _list(self) -> None:
        with self._calling:
            try:
                told = self._told(self._link.call("list"))
            except AtollError as error:
                self.note(error)
                return
            self._nodes = {node.island: node for node in told}
            self.note(None)
            for words in self.probation.ended_young(self._nodes):
                self._failed(words)

    def _told(self, trees: Any) -> list[Node]:
        """Nodes, as the host puts them. Raises: IslandError."""
        try:
            return [Node(**tree) for tree in trees]
        except TypeError as error:
            raise IslandError(f"{self.name} tells of nodes in another way: {error}") from error

    def _failed(self, words: str) -> None:
        fields = {"host": self.name, "why": words, "pause_s": self.probation.failed()}
        log.warning("leaves a host alone", extra={"fields": fields})


def begun(call: Callable[..., None], *given: Any) -> Future[None]:
    """A call in a thread that keeps no process from ending, as the standard pools' would."""
    future: Future[None] = Future()

    def work() -> None:
        try:
            call(*given)
        except Exception as error:  # told to whoever asks
            future.set_exception(error)
        else:
            future.set_result(None)

    threading.Thread(target=work, name="host", daemon=True).start()
    return future
