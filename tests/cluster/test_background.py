"""A slow provider behind one that answers at once."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable

import pytest

from atoll.clock import SystemClock
from atoll.errors import IslandError
from atoll.logs import fields_of
from cluster.background import Background
from cluster.provider import Capabilities, Node, NodeSpec


class Slow:
    """A provider that answers when the test lets it, or refuses."""

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}
        self.answers = threading.Event()
        self.refuses = ""
        self.cancelled: list[str] = []

    def _answer(self) -> None:
        assert self.answers.wait(30)
        if self.refuses:
            raise IslandError(self.refuses)

    def capabilities(self) -> Capabilities:
        return Capabilities(num_gpus=0)

    def validate(self, spec: NodeSpec) -> None: ...

    def submit(self, spec: NodeSpec, idempotency_key: str) -> Node:
        self._answer()
        return self.nodes.setdefault(spec.island, Node(spec.island, alive=True))

    def list(self, label: str) -> tuple[Node, ...]:
        self._answer()
        return tuple(self.nodes.values())

    def logs(self, island: str, num_lines: int) -> str:
        return f"{island} had\nno driver\n"

    def cancel(self, island: str) -> None:
        self._answer()
        self.cancelled.append(island)
        self.nodes[island] = Node(island, alive=False, reason="it was cancelled")


class InQueues(Slow):
    """A provider that starts nothing yet, in two places of which one does not answer."""

    def submit(self, spec: NodeSpec, idempotency_key: str) -> Node:
        return Node(spec.island, alive=True, waiting=True)

    def list(self, label: str) -> tuple[Node, ...]:
        self._answer()
        return (Node("island-1", alive=True), Node("island-2", alive=True, stale=True))


@pytest.fixture
def slow():
    made = Slow()
    yield made
    made.answers.set()


@pytest.fixture
def provider(slow) -> Background:
    return Background(slow, "run", 0.02, SystemClock())


def spec_of(island: str) -> NodeSpec:
    return NodeSpec(island, "run", (), num_gpus=0)


def until(holds: Callable[[], object]) -> None:
    give_up_at = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < give_up_at
        time.sleep(0.01)


def nodes_of(provider: Background) -> dict[str, Node]:
    return {node.island: node for node in provider.list("run")}


def raise_(error: Exception) -> None:
    raise error


def told(caplog: pytest.LogCaptureFixture) -> str:
    """What was logged, with all its fields."""
    return str([fields_of(record) for record in caplog.records])


def test_nothing_is_known_before_the_first_answer(slow, provider):
    with pytest.raises(IslandError, match="not answered yet"):
        provider.list("run")
    slow.answers.set()
    until(lambda: provider._seen is not None)
    assert provider.list("run") == ()
    assert provider.list("another") == ()


def test_submission_to_one_that_never_answered_is_not_forgotten(slow, provider):
    provider.submit(spec_of("island-1"), "island-1")
    assert (nodes_of(provider)["island-1"].alive, nodes_of(provider)["island-1"].stale) == (
        True,
    ) * 2
    slow.refuses = "no route to the controller"
    slow.answers.set()
    until(lambda: not nodes_of(provider)["island-1"].alive)


def test_submission_is_known_at_once_and_made_once(slow, provider):
    slow.answers.set()
    until(lambda: provider._seen is not None)
    slow.answers.clear()
    for _ in range(3):
        assert provider.submit(spec_of("island-1"), "island-1").alive
    assert nodes_of(provider)["island-1"].alive
    assert slow.nodes == {}
    slow.answers.set()
    until(lambda: not provider._asked)
    assert list(nodes_of(provider)) == list(slow.nodes) == ["island-1"]


def test_refused_submission_is_told_as_the_nodes_end(slow, provider):
    slow.answers.set()
    until(lambda: provider._seen is not None)
    slow.refuses = "the quota is used up"
    provider.submit(spec_of("island-1"), "island-1")
    until(lambda: not nodes_of(provider)["island-1"].alive)
    assert nodes_of(provider)["island-1"].reason == "could not be started: the quota is used up"


def test_submission_whose_answer_makes_no_sense_is_told_as_the_nodes_end(slow, provider):
    slow.answers.set()
    slow.submit = lambda spec, key: {}["metadata"]
    provider.submit(spec_of("island-1"), "island-1")
    until(lambda: not nodes_of(provider)["island-1"].alive)
    reason = "could not be started: its answer is not understood (KeyError('metadata'))"
    assert nodes_of(provider)["island-1"].reason == reason


def test_provider_that_falls_silent_has_its_nodes_as_it_told_last(slow, provider, caplog):
    slow.nodes["island-1"] = Node("island-1", alive=True)
    slow.answers.set()
    until(lambda: provider._seen)
    slow.refuses = "no route to the controller"
    until(lambda: "no route" in told(caplog))
    assert nodes_of(provider)["island-1"].alive
    slow.refuses, slow.nodes["island-1"] = "", Node("island-1", alive=False, reason="gone")
    until(lambda: not nodes_of(provider)["island-1"].alive)
    assert provider.logs("island-1", 1) == "no driver\n"
    assert told(caplog).count("no route") == 1


def test_cancellation_is_insisted_on_until_it_is_done(slow, provider):
    slow.nodes["island-1"] = Node("island-1", alive=True)
    slow.answers.set()
    until(lambda: provider._seen)
    slow.refuses = "busy"
    for _ in range(2):
        provider.cancel("island-1")
    time.sleep(0.1)
    assert slow.cancelled == []
    slow.refuses = ""
    until(lambda: nodes_of(provider)["island-1"].cleared)
    assert slow.cancelled == ["island-1"]


def test_cancellation_is_insisted_on_whatever_goes_wrong(slow, provider):
    slow.nodes["island-1"] = Node("island-1", alive=True)
    slow.answers.set()
    tries, cancel = iter([ValueError("no JSON")]), slow.cancel

    def fail_once(island: str) -> None:
        for error in tries:
            raise error
        cancel(island)

    slow.cancel = fail_once
    until(lambda: provider._seen is not None)
    provider.cancel("island-1")
    until(lambda: nodes_of(provider)["island-1"].cleared)


def test_submission_that_seemed_to_fail_is_cancelled_again_once_it_shows(slow, provider):
    slow.answers.set()
    slow.submit = lambda spec, key: raise_(IslandError("sbatch does not answer"))
    slow.cancel = slow.cancelled.append  # finds nothing
    provider.submit(spec_of("island-1"), "k")
    until(lambda: not nodes_of(provider)["island-1"].alive)
    provider.cancel("island-1")
    until(lambda: nodes_of(provider)["island-1"].cleared and slow.cancelled)
    slow.nodes["island-1"] = Node("island-1", alive=True)  # it was taken after all
    slow.cancel = Slow.cancel.__get__(slow)
    until(lambda: len(slow.cancelled) == 2)
    until(lambda: not nodes_of(provider)["island-1"].alive)
    slow.cancelled.clear()
    time.sleep(0.1)
    assert slow.cancelled == []


def test_cancellation_under_way_is_not_begun_again(slow, provider):
    slow.nodes["island-1"] = Node("island-1", alive=True)
    slow.answers.set()
    until(lambda: provider._seen)
    begun, may_end = [], threading.Event()

    def take_long(island: str) -> None:
        begun.append(island)
        assert may_end.wait(30)

    slow.cancel = take_long
    provider.cancel("island-1")
    until(lambda: begun)
    for _ in range(2):  # answers that come after it has begun
        slow.nodes["island-2"] = Node("island-2", alive=True)
        until(lambda: "island-2" in nodes_of(provider))
        del slow.nodes["island-2"]
        until(lambda: "island-2" not in nodes_of(provider))
    assert begun == ["island-1"]
    may_end.set()
    until(lambda: len(begun) > 1)  # still listed alive


def test_cancellation_that_overtakes_its_own_submission_is_made_again(slow, provider):
    begun, may_end = threading.Event(), threading.Event()
    submit, cancel = slow.submit, slow.cancel

    def late(spec: NodeSpec, key: str) -> Node:
        begun.set()
        assert may_end.wait(30)
        return submit(spec, key)

    in_vain = threading.Event()
    slow.submit = late
    slow.cancel = lambda island: cancel(island) if island in slow.nodes else in_vain.set()
    slow.answers.set()
    provider.submit(spec_of("island-1"), "k")
    assert begun.wait(30)
    provider.cancel("island-1")
    assert in_vain.wait(30)
    may_end.set()
    until(lambda: slow.cancelled == ["island-1"])


def test_node_that_its_provider_took_and_never_showed_is_dead(slow, provider, monkeypatch):
    slow.answers.set()
    until(lambda: provider._seen is not None)
    monkeypatch.setattr(slow, "submit", lambda spec, _: Node(spec.island, alive=True))
    provider.submit(spec_of("island-1"), "island-1")
    until(lambda: not nodes_of(provider)["island-1"].alive)
    assert "knows nothing of it" in nodes_of(provider)["island-1"].reason


def test_island_that_lacks_nodes_is_completed_once_however_often_it_is_asked_for(slow, provider):
    slow.nodes["island-1"] = Node("island-1", alive=True, missing=1)
    slow.answers.set()
    until(lambda: provider._seen)
    passed_on, may_end = threading.Semaphore(0), threading.Event()

    def complete(spec: NodeSpec, key: str) -> Node:
        passed_on.release()
        assert may_end.wait(30)
        slow.nodes["island-1"] = Node("island-1", alive=True)
        return slow.nodes["island-1"]

    slow.submit = complete
    for _ in range(3):
        assert provider.submit(spec_of("island-1"), "k").missing == 1
    may_end.set()
    until(lambda: not nodes_of(provider)["island-1"].missing)
    until(lambda: not provider._completing)
    assert passed_on.acquire(blocking=False)
    assert not passed_on.acquire(blocking=False)


def test_island_that_cannot_be_completed_lives_on_and_is_tried_again(slow, provider, caplog):
    slow.nodes["island-1"] = Node("island-1", alive=True, missing=1)
    slow.answers.set()
    until(lambda: provider._seen)
    tries = []

    def refuse(spec: NodeSpec, key: str) -> Node:
        tries.append(key)
        raise IslandError("no host is free")

    slow.submit = refuse
    for num in (1, 2):
        provider.submit(spec_of("island-1"), "k")
        until(lambda: not provider._completing)
        assert len(tries) == num
    assert nodes_of(provider)["island-1"] == slow.nodes["island-1"]
    until(lambda: "no host is free" in told(caplog))


def test_cancellation_that_overtakes_a_completion_is_made_again_though_that_failed(slow, provider):
    slow.nodes["island-1"] = Node("island-1", alive=True, missing=1)
    slow.answers.set()
    until(lambda: provider._seen)
    begun, may_end = threading.Event(), threading.Event()

    def break_off(spec: NodeSpec, key: str) -> Node:
        begun.set()
        assert may_end.wait(30)
        raise IslandError("broke off")  # and may have started a node

    slow.submit = break_off
    provider.submit(spec_of("island-1"), "k")
    assert begun.wait(30)
    provider.cancel("island-1")
    until(lambda: slow.cancelled == ["island-1"])
    may_end.set()
    until(lambda: slow.cancelled == ["island-1"] * 2)


def test_answer_that_makes_no_sense_does_not_end_the_asking(slow, provider):
    slow.answers.set()
    until(lambda: provider._seen is not None)
    slow.nodes = {"island-1": None}
    until(lambda: "not understood" in provider._trouble)
    slow.nodes = {"island-1": Node("island-1", alive=True)}
    until(lambda: nodes_of(provider))


def test_process_ends_although_a_provider_never_answers_again():
    program = """
import time
from atoll.clock import SystemClock
from atoll.errors import IslandError
from cluster.background import Background
class Silent:
    def list(self, label): raise IslandError("no")
    def cancel(self, island): raise IslandError("no")
Background(Silent(), "run", 0.01, SystemClock()).cancel("island-1")
time.sleep(0.2)
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=30)


def test_node_that_waits_is_told_as_waiting_before_it_is_listed():
    in_queues = InQueues()
    in_queues.answers.set()
    provider = Background(in_queues, "run", 30.0, SystemClock())
    until(lambda: not provider.trouble)
    in_queues.refuses = "down"
    provider.submit(spec_of("island-3"), "key")
    until(lambda: {node.island: node.waiting for node in provider.list("run")}["island-3"])


def test_node_of_a_place_that_does_not_answer_is_stale_though_its_provider_answers():
    in_queues = InQueues()
    in_queues.answers.set()
    provider = Background(in_queues, "run", 30.0, SystemClock())
    until(lambda: not provider.trouble)
    assert [node.stale for node in provider.list("run")] == [False, True]


def test_node_that_is_still_asked_for_is_told_as_waiting(slow):
    slow.answers.set()
    provider = Background(slow, "run", 30.0, SystemClock())
    until(lambda: not provider.trouble)
    slow.answers.clear()  # a cloud may take longer to answer than islands may be silent
    assert provider.submit(spec_of("island-1"), "key").waiting
    (node,) = provider.list("run")
    assert node.waiting
    slow.answers.set()
