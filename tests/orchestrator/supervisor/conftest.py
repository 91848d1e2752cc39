"""Nodes that live and die as the test says, and who looks after them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from atoll.errors import ConfigError, IslandError
from atoll.types import Submission
from cluster.provider import Capabilities, Node, NodeSpec
from orchestrator.fleet.budget import Budget
from orchestrator.fleet.ledger import Prices
from orchestrator.fleet.recovery import RecoveryPolicy
from orchestrator.service import FleetService
from orchestrator.supervisor import Supervisor

POLICY = RecoveryPolicy(num_islands=1, max_tries=1, backoff_s=1.0, young_s=30.0, orphan_s=600.0)


@dataclass
class ScriptedProvider:
    """Nodes live and die as the test says; remembers what it was asked."""

    nodes: dict[str, Node] = field(default_factory=dict)
    cancelled: list[str] = field(default_factory=list)
    completed: list[str] = field(default_factory=list)
    refuses: bool = False

    def capabilities(self) -> Capabilities:
        return Capabilities(num_gpus=0)

    def validate(self, spec: NodeSpec) -> None:
        if spec.num_gpus:
            raise ConfigError("no GPU here")

    def submit(self, spec: NodeSpec, idempotency_key: str) -> Node:
        if self.refuses:
            raise IslandError("the quota is used up")
        if idempotency_key in self.nodes:
            self.completed.append(spec.island)
        return self.nodes.setdefault(idempotency_key, Node(spec.island, alive=True))

    def list(self, label: str) -> tuple[Node, ...]:
        return tuple(self.nodes.values()) if label == "runs/test" else ()

    def logs(self, island: str, num_lines: int) -> str:
        return f"{island} has no driver\n"

    def cancel(self, island: str) -> None:
        self.cancelled.append(island)
        reason = self.nodes[island].reason or "killed by signal 9"
        self.nodes[island] = Node(island, alive=False, reason=reason, cleared=True)

    def kill(self, island: str) -> None:
        if self.nodes[island].alive:
            self.nodes[island] = Node(island, alive=False, reason="exited with code 1")


@pytest.fixture
def provider() -> ScriptedProvider:
    return ScriptedProvider()


@pytest.fixture
def supervisor(service, provider, clock, spec) -> Supervisor:
    service.submit([Submission(spec())])
    return Supervisor(service, provider, node_spec, POLICY, clock)


def node_spec(name: str) -> NodeSpec:
    return NodeSpec(name, "runs/test", (), num_gpus=0)


@pytest.fixture
def serve(store, clock, policy, provider):
    """Serves a run that may spend so much, on nodes of 3,600 an hour that need time to leave."""

    def serve(
        cost: float, ahead_s: float = 4.0, num_nodes: int = 1
    ) -> tuple[FleetService, Supervisor]:
        priced = replace(policy, prices=Prices({"local": 3600.0}, num_nodes))
        limits = Budget(cost=cost, ahead_s=ahead_s, num_islands=1)
        service = FleetService(store, priced, clock, limits)
        return service, Supervisor(service, provider, node_spec, POLICY, clock)

    return serve


@pytest.fixture
def begin(serve, spec):
    """The same, with a job, and nodes that are there and cost 1 a second each from now on."""

    def begin(
        cost: float, ahead_s: float = 4.0, num_nodes: int = 1
    ) -> tuple[FleetService, Supervisor]:
        service, supervisor = serve(cost, ahead_s, num_nodes)
        service.submit([Submission(spec())])
        supervisor.look()
        supervisor.look()
        return service, supervisor

    return begin


def told(service: FleetService, kind: str) -> list[str]:
    return [event.reason for event in service.events(0, 0) if event.kind == kind]


def raise_(error: Exception) -> None:
    raise error
