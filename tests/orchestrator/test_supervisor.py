from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from atoll.errors import ConfigError, IslandError, OverBudget
from atoll.types import Action, Directive, Ending, JobState, Outcome, Progress, Submission
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


def test_supervisor_starts_islands_and_says_whether_any_lives(supervisor, provider):
    assert not supervisor.look()
    assert supervisor.look()
    assert list(provider.nodes) == ["island-1"]


def test_supervisor_tells_the_fleet_of_the_dead_and_tidies_up_once(supervisor, provider, service):
    supervisor.look()
    service.acquire("island-1", "r")
    provider.kill("island-1")
    for _ in range(3):
        supervisor.look()
    assert service.fleet.jobs["expert-0"].reason == "island-1 is gone: exited with code 1"
    assert provider.cancelled == ["island-1"]


def test_supervisor_of_a_later_orchestrator_lets_the_dead_rest(
    supervisor, provider, service, clock
):
    supervisor.look()
    provider.kill("island-1")
    supervisor.look()
    Supervisor(service, provider, node_spec, POLICY, clock).look()
    assert provider.cancelled == ["island-1"]


def test_supervisor_stops_what_stays_when_all_is_over(supervisor, provider, service, clock):
    supervisor.look()
    service.acquire("island-1", "r")
    service.give_up("enough")
    for _ in range(3):
        supervisor.look()
        clock.now += 2
    assert provider.cancelled == ["island-1"]
    assert service.fleet.islands["island-1"].state == "gone"


def test_supervisor_gives_up_on_silent_islands_in_a_whole_sentence(
    supervisor, provider, service, clock
):
    for _ in range(4):
        supervisor.look()
        clock.now += 31  # alive, and never heard of
    reason = service.fleet.jobs["expert-0"].reason
    assert reason == "no island stays alive, after 2 tries in a row"


def test_supervisor_gives_the_jobs_up_with_the_last_words(supervisor, provider, service, clock):
    for _ in range(8):
        supervisor.look()
        for island in provider.nodes:
            provider.kill(island)
        clock.now += 2
    job = service.fleet.jobs["expert-0"]
    assert job.state is JobState.FAILED
    assert "after 2 tries in a row; island-2 exited with code 1" in job.reason
    assert "island-2 has no driver" in job.reason


def test_supervisor_gives_up_when_nothing_can_be_started(supervisor, provider, service, clock):
    provider.refuses = True
    for _ in range(8):
        supervisor.look()
        clock.now += 2
    assert service.fleet.jobs["expert-0"].reason.endswith("the quota is used up")


def test_supervisor_refuses_what_can_never_run(service, provider, clock):
    def greedy(name: str) -> NodeSpec:
        return NodeSpec(name, "runs/test", (), num_gpus=8)

    with pytest.raises(ConfigError):
        Supervisor(service, provider, greedy, POLICY, clock)


def test_supervisor_on_another_machine_takes_no_name_again_and_ends_nobody(
    supervisor, service, store, clock, spec
):
    supervisor.look()
    assert service.acquire("island-1", "r").lease.job == "expert-0"
    elsewhere = ScriptedProvider()  # knows nothing of the first one's nodes
    later = FleetService(store, service.fleet.policy, clock)
    later.submit([Submission(spec("expert-1"))])
    Supervisor(later, elsewhere, node_spec, POLICY, clock).look()
    assert list(elsewhere.nodes) == ["island-2"]
    assert [e.island for e in later.events(0, 0) if e.kind == "island-stopped"] == []


def test_supervisor_whose_provider_is_silent_starts_and_buries_nobody(
    supervisor, provider, service, monkeypatch
):
    supervisor.look()
    service.acquire("island-1", "r")

    def silent(_):
        raise IslandError("no route to the controller")

    monkeypatch.setattr(provider, "list", silent)
    for _ in range(3):
        assert supervisor.look()
    assert list(provider.nodes) == ["island-1"]
    assert service.fleet.islands["island-1"].state == "working"
    told = [event.reason for event in service.events(0, 0) if event.kind == "islands-unknown"]
    assert told == ["the provider: no route to the controller"]


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


def test_supervisor_pauses_a_run_before_it_spends_more_than_it_may(begin, clock):
    service, supervisor = begin(10.0)
    lease = service.acquire("island-1", "r").lease
    clock.now += 5.9
    supervisor.look()
    assert service.heartbeat(lease, Progress(5, 1.0, 1.0)) is Directive.CONTINUE
    clock.now += 0.2
    supervisor.look()
    assert service.heartbeat(lease, Progress(5, 1.0, 1.0)) is Directive.DRAIN
    (words,) = told(service, "budget-reached")
    assert words.startswith("budget.cost = 10 is reached: 6.10 is spent, and 1 node may take 4.00")
    assert service.view().budget.reached == words
    assert service.fleet.jobs["expert-0"].reason.endswith("budget.cost = 10 is reached")


def test_supervisor_pauses_a_run_also_while_its_provider_does_not_answer(
    begin, clock, provider, monkeypatch
):
    service, supervisor = begin(10.0)

    def silent(_):
        raise IslandError("no route to the controller")

    monkeypatch.setattr(provider, "list", silent)
    clock.now += 7
    supervisor.look()
    assert service.fleet.draining


def test_supervisor_warns_once_that_a_limit_is_near(begin, clock):
    service, supervisor = begin(10.0, ahead_s=0.1)
    for _ in range(4):
        clock.now += 2.2
        supervisor.look()
    assert told(service, "budget-nearly-reached") == ["8.80 of budget.cost = 10 is spent"]


def test_paused_run_is_refused_until_more_is_allowed_whoever_serves_it(
    begin, serve, clock, spec, provider
):
    service, supervisor = begin(10.0)
    service.acquire("island-1", "r")
    clock.now += 7
    supervisor.look()
    service.island_gone("island-1", "left")
    provider.kill("island-1")
    supervisor.look()
    with pytest.raises(OverBudget, match=r"budget\.cost = 10 is reached: 7\.00 is spent, and 1 no"):
        service.submit([Submission(spec())])
    with pytest.raises(OverBudget):
        service.steer(Action.RESUME, [], "")
    later, its_supervisor = serve(10.0)
    with pytest.raises(OverBudget):
        later.submit([Submission(spec())])
    its_supervisor.look()
    assert list(provider.nodes) == ["island-1"]
    richer, its_supervisor = serve(20.0)
    richer.submit([Submission(spec())])
    its_supervisor.look()
    assert list(provider.nodes) == ["island-1", "island-2"]
    assert not richer.view().budget.reached


def test_supervisor_asks_for_no_node_that_could_not_leave_within_the_budget(begin, clock, provider):
    service, supervisor = begin(10.0)
    service.acquire("island-1", "r")
    clock.now += 5.9
    provider.kill("island-1")
    for _ in range(3):
        clock.now += 1
        supervisor.look()
    assert list(provider.nodes) == ["island-1"]
    assert service.fleet.draining


def test_supervisor_completes_no_island_that_could_not_leave_within_the_budget(
    begin, clock, provider
):
    service, supervisor = begin(20.0, num_nodes=2)  # the two take 8 until they have left
    service.acquire("island-1", "r")
    clock.now += 2
    provider.nodes["island-1"] = replace(provider.nodes["island-1"], missing=1)
    for _ in range(2):
        supervisor.look()
        clock.now += POLICY.backoff_s
    assert provider.completed == ["island-1"]  # which brings nobody back
    clock.now += 6.1  # the other alone would have 4 s more
    supervisor.look()
    assert provider.completed == ["island-1"]
    (words,) = told(service, "budget-reached")
    assert words.startswith(
        "budget.cost = 20 is reached: 12.10 is spent, and 2 nodes may take 8.00"
    )


def test_supervisor_lets_an_island_go_that_has_nothing_left_to_do(service, provider, clock, spec):
    two = replace(POLICY, num_islands=2)
    supervisor = Supervisor(service, provider, node_spec, two, clock)
    service.submit([Submission(spec("expert-0")), Submission(spec("expert-1"))])
    supervisor.look()
    lease = service.acquire("island-1", "r1").lease
    service.acquire("island-2", "r2")
    service.steer(Action.CANCEL, ["expert-0"], "")
    service.release(lease, Outcome(Ending.DRAINED), "f")
    service.acquire("island-1", "r3")
    supervisor.look()
    assert service.acquire("island-1", "r4").dismissed
    assert service.fleet.islands["island-2"].state == "working"
    assert "fewer jobs are open than islands live" in told(service, "island-draining")[0]


def test_supervisor_waits_for_no_island_that_nobody_can_reach(supervisor, provider, service, clock):
    supervisor.look()
    provider.nodes["island-1"] = replace(provider.nodes["island-1"], stale=True)
    provider.cancel = provider.cancelled.append  # which changes nothing
    service.give_up("told to")
    assert supervisor.look()
    clock.now += 61
    assert not supervisor.look()
    assert not supervisor.look()
    told = [event for event in service.events(0, 1.0) if event.kind == "island-forsaken"]
    assert [event.island for event in told] == ["island-1"]


def test_supervisor_waits_for_a_silent_provider_as_long_as_there_is_work(
    supervisor, provider, service, clock
):
    provider.list = lambda _: raise_(IslandError("it sleeps"))
    assert supervisor.look()
    clock.now += 1000
    assert supervisor.look()
    service.give_up("told to")
    assert not supervisor.look()


def test_supervisor_whose_work_is_over_gives_a_provider_time_to_answer(
    supervisor, provider, service, clock
):
    service.give_up("told to")
    provider.list = lambda _: raise_(IslandError("it sleeps"))
    assert supervisor.look()
    clock.now += 29
    assert supervisor.look()
    clock.now += 1
    assert not supervisor.look()


def test_supervisor_refuses_a_provider_that_does_not_answer(service, provider, clock):
    provider.validate = lambda _: raise_(IslandError("squeue does not answer"))
    with pytest.raises(ConfigError, match=r"island\.provider: squeue does not answer"):
        Supervisor(service, provider, node_spec, POLICY, clock)


@pytest.mark.parametrize(
    "error", [IslandError("squeue does not answer"), ConfigError("there is no sbatch")]
)
def test_later_supervisor_serves_on_although_its_provider_is_away_or_refuses(
    begin, serve, provider, clock, error
):
    service, supervisor = begin(1e6)
    assert supervisor.provider_is_fit
    lease = service.acquire("island-1", "r").lease
    provider.validate = lambda _: raise_(error)
    later, its_supervisor = serve(1e6)
    assert not its_supervisor.provider_is_fit
    assert told(later, "islands-refused") == [f"the provider: {error}"]
    assert its_supervisor.look()
    assert later.heartbeat(lease, Progress(5, 1.0, 1.0)) is Directive.CONTINUE
    provider.kill("island-1")
    its_supervisor.look()
    clock.now += 1
    its_supervisor.look()
    assert list(provider.nodes) == ["island-1", "island-2"]  # it is asked as ever


def test_later_supervisor_refuses_its_provider_once_no_island_is_left(begin, serve, provider):
    service, supervisor = begin(1e6)
    service.give_up("told to")
    for island in list(provider.nodes):
        provider.kill(island)
    supervisor.look()
    provider.validate = lambda _: raise_(ConfigError("there is no sbatch"))
    with pytest.raises(ConfigError, match="there is no sbatch"):
        serve(1e6)


def test_supervisor_stops_an_island_that_hangs_and_says_so_once(
    supervisor, provider, service, clock
):
    for _ in range(2):
        supervisor.look()
    cancel, provider.cancel = provider.cancel, provider.cancelled.append  # which takes a while
    clock.now += POLICY.orphan_s + 60
    supervisor.look()
    assert provider.cancelled == []
    for _ in range(2):
        clock.now += 1
        supervisor.look()
    assert provider.cancelled == ["island-1"] * 2
    words = "it says nothing, and has not stopped itself by island.orphan_s"
    assert told(service, "island-hung") == [words]
    cancel("island-1")
    assert not supervisor.look()


def raise_(error: Exception) -> None:
    raise error
