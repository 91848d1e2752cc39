"""The dashboard and the metrics, over real HTTP."""

from __future__ import annotations

import http.client
import json

import pytest
from prometheus_client.parser import text_string_to_metric_families

from atoll.blobs import open_store
from atoll.errors import BadInput
from atoll.types import Ending, Outcome, Progress, Submission, Vitals
from cluster.provider import Node
from membership.record import Kind, Record, plain
from membership.servers import ServerFacts
from orchestrator.curves import Curves
from orchestrator.fleet.budget import Budget
from orchestrator.service import FleetService
from orchestrator.web.metrics import latency_of, registry_of
from orchestrator.web.site import Site, start_web
from tests.grafana import asked_by_grafana


@pytest.fixture
def run_store(tmp_path):
    return open_store(str(tmp_path / "run"))


@pytest.fixture
def site(service, run_store):
    return Site(service, run_store, registry_of(service), "runs/test")


@pytest.fixture
def address(site):
    server, url = start_web(site, "127.0.0.1:0")
    yield url.removeprefix("http://").rstrip("/")
    server.shutdown()
    server.server_close()


@pytest.fixture
def get(address):
    def ask(path, method="GET", host=None):
        connection = http.client.HTTPConnection(address, timeout=10)
        connection.request(method, path, headers={"Host": host or address})
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer.status, answer.getheader("Content-Type"), body

    return ask


@pytest.fixture
def lease(service, spec):
    service.submit([Submission(spec("expert-0")), Submission(spec("expert-1"))])
    return service.acquire("island-1", "r").lease


def test_page_and_its_script_are_served_with_a_policy(get, address):
    status, kind, body = get("/")
    assert (status, kind) == (200, "text/html; charset=utf-8")
    assert b'src="/page.js"' in body
    assert get("/page.js")[0] == 200
    connection = http.client.HTTPConnection(address, timeout=10)
    connection.request("GET", "/")
    policy = connection.getresponse().getheader("Content-Security-Policy")
    assert policy.startswith("default-src 'self'")


@pytest.mark.parametrize(
    ("path", "method", "host", "status"),
    [
        ("/fleet.json", "GET", "evil.example", 403),
        ("/fleet.json", "GET", "127.0.0.1.evil.example", 403),
        ("/fleet.json", "POST", None, 405),
        ("/no-such-page", "GET", None, 404),
        ("/../service.py", "GET", None, 404),
        ("/events.json?after=x", "GET", None, 400),
        ("/events.json?after=" + "9" * 400, "GET", None, 200),
        ("/grids/expert-0", "GET", None, 404),
        ("/grids/..%2F..%2Fconfig.json", "GET", None, 404),
    ],
)
@pytest.mark.usefixtures("lease")
def test_what_is_not_to_be_had_is_refused(get, path, method, host, status):
    assert get(path, method, host)[0] == status


def test_fleet_events_and_losses_are_told_as_they_are(get, service, lease, ref):
    service.heartbeat(lease, Progress(5, 0.75, 64.0))
    service.heartbeat(lease, Progress(9, 0.5, 64.0))
    service.commit(lease, ref(lease, 9))
    fleet = json.loads(get("/fleet.json")[2])
    first = fleet["jobs"][0]
    assert (first["name"], first["step"], first["checkpoint"]["step"]) == ("expert-0", 9, 9)
    assert fleet["jobs"][1]["loss"] is None  # JSON knows no NaN
    assert json.loads(get("/losses.json")[2]) == {"expert-0": [[5, 0.75], [9, 0.5]]}
    kinds = [event["kind"] for event in json.loads(get("/events.json?after=3")[2])]
    assert kinds == ["island-joined", "lease-granted", "checkpoint-committed"]


def test_samples_of_a_jobs_newest_checkpoint_are_shown(get, service, run_store, lease, ref):
    service.commit(lease, ref(lease, 9))
    run_store.put_bytes(f"{ref(lease, 9).key}/grid.png", b"a picture")
    assert get("/grids/expert-0") == (200, "image/png", b"a picture")


def test_servers_of_experts_are_told_and_counted_by_expert(get, service, clock):
    assert json.loads(get("/fleet.json")[2])["servers"] == []
    for name, experts in (("a:7", {0: "d"}), ("b:7", {0: "d", 3: "e"})):
        facts = ServerFacts(experts, 256, 400.0).facts
        told = Record(Kind.EXPERTS, "m", name, name, until=clock.wall() + 60, facts=facts)
        service.servers.keep(told, plain(told))
    first, second = json.loads(get("/fleet.json")[2])["servers"]
    assert (first["address"], first["rows_per_second"]) == ("a:7", 400.0)
    assert second["experts"] == [0, 3]
    lines = get("/metrics")[2].decode().splitlines()
    assert 'atoll_registered_expert_servers{expert="0"} 2.0' in lines
    assert 'atoll_registered_expert_servers{expert="3"} 1.0' in lines


def test_metrics_count_what_happened(get, service, lease, ref):
    service.heartbeat(lease, Progress(5, 0.75, 64.0))
    service.commit(lease, ref(lease, 9))
    service.release(lease, Outcome(Ending.FAILED, "broke"), "f")
    service.acquire("island-1", "again")
    service.island_gone("island-1", "killed")
    text = get("/metrics")[2].decode()
    found = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert found["atoll_jobs", "waiting"] == 2
    assert found["atoll_job_committed_step", "expert-0"] == 9
    assert found["atoll_commits_total",] == 1
    assert found["atoll_leases_granted_total",] == 2
    assert found["atoll_setbacks_total", "failure"] == 1
    assert found["atoll_setbacks_total", "death"] == 1


def test_metrics_tell_of_a_trainer_what_it_knows_and_no_more(get, service, lease):
    vitals = Vitals(tflops_per_s=1.5, memory_bytes=10**9, wait_share=0.01, held_out=0.25)
    service.heartbeat(lease, Progress(5, 0.75, 64.0, vitals=vitals))
    value, job = registry_of(service).get_sample_value, {"job": "expert-0"}
    assert value("atoll_job_flops_per_second", job) == 1.5e12
    assert value("atoll_job_memory_bytes", job) == 10**9
    assert value("atoll_job_wait_ratio", job) == 0.01
    assert value("atoll_job_mfu_ratio", job) is None
    told = json.loads(get("/fleet.json")[2])["jobs"][0]
    assert (told["mfu"], told["held_out"]) == (None, 0.25)
    service.release(lease, Outcome(Ending.DRAINED), "d")
    assert value("atoll_job_wait_ratio", job) is None
    assert value("atoll_job_held_out_loss", job) == 0.25  # which nobody took back


def test_recoveries_are_counted_by_the_first_cause(get, service, lease, clock):
    service.release(lease, Outcome(Ending.FAILED, "broke"), "f")
    clock.now += 5
    again = service.acquire("island-1", "again").lease  # expert-0, or the other that waits
    service.island_gone("island-1", "killed")
    clock.now += 5
    service.acquire("island-2", "r2")
    service.acquire("island-3", "r3")
    tally = service.tally
    assert again.job == "expert-0"
    assert tally.recoveries == {"failure": 1, "death": 1}


def test_every_query_of_the_dashboard_for_grafana_names_a_metric_that_there_is(service, lease):
    registry = registry_of(service)
    service.heartbeat(lease, Progress(5, 0.75, 64.0, vitals=Vitals(*[0.5] * 6)))
    latency_of(registry).labels("Heartbeat").observe(0.002)
    there = {sample.name for family in registry.collect() for sample in family.samples}
    asked, _ = asked_by_grafana()
    assert len(asked) >= 14
    assert asked <= there


def test_metrics_tell_node_hours_cost_and_what_is_at_risk(service, lease, ref, clock):
    registry = registry_of(service)
    service.nodes_started(["island-1"])
    service.reconcile([Node("island-1", alive=True)])
    service.commit(lease, ref(lease, 9))
    clock.now += 4
    value = registry.get_sample_value
    assert value("atoll_node_seconds_total") == pytest.approx(4)
    assert value("atoll_cost_total") == 0  # nobody said what it costs
    assert value("atoll_checkpoint_age_seconds", {"job": "expert-0"}) == 4
    assert value("atoll_lease_left_seconds", {"job": "expert-0"}) == 6
    assert value("atoll_events_total", {"kind": "island-started"}) == 1


def test_limits_of_a_budget_are_told_where_there_are_some(store, policy, clock, run_store):
    limited = FleetService(store, policy, clock, Budget(cost=5.0, node_hours=2.0))
    registry = registry_of(limited)
    value = registry.get_sample_value
    assert (value("atoll_budget_cost"), value("atoll_budget_node_seconds")) == (5.0, 7200.0)
    assert value("atoll_deadline_timestamp_seconds") is None
    told = Site(limited, run_store, registry, "runs/test")._fleet("")
    assert json.loads(told[2])["budget"] == {
        "cost": 5.0,
        "node_hours": 2.0,
        "deadline": None,
        "reached": "",
    }


def test_looking_on_keeps_no_orchestrator_from_leaving(get, service, clock, lease):
    clock.now += 100
    get("/fleet.json")
    assert service.retire(50.0)


def test_latency_is_noted_by_method(service):
    registry = registry_of(service)
    latency_of(registry).labels("Heartbeat").observe(0.002)
    count = registry.get_sample_value("atoll_rpc_seconds_count", {"method": "Heartbeat"})
    assert count == 1


def test_web_port_in_use_is_refused_by_key(site, address):
    with pytest.raises(BadInput, match=r"is in use.*orchestrator\.web"):
        start_web(site, address)


def test_curves_stay_short_keep_their_ends_and_go_back_with_a_job():
    curves = Curves()
    for step in range(1, 5001):
        curves.note("a", Progress(step, 1 / step, 1.0))
    points = curves.all()["a"]
    assert len(points) <= 400
    assert (points[0], points[-1]) == ((1, 1.0), (5000, 1 / 5000))
    assert points == sorted(points)
    curves.note("a", Progress(100, 0.5, 1.0))
    assert curves.all()["a"][-1] == (100, 0.5)
    assert all(step <= 100 for step, _ in curves.all()["a"])
    curves.note("a", Progress(101, float("nan"), 1.0))
    assert curves.all()["a"][-1] == (100, 0.5)
