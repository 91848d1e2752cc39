"""What Prometheus is told, from what the engine tells."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from serving.engine.tick import Came, Left, Tick
from serving.metrics import Metrics
from serving.remote.usage import Usage
from tests.fakes import ManualClock
from tests.grafana import asked_by_grafana


def test_every_query_of_the_dashboard_for_grafana_names_a_metric_of_the_service():
    metrics = Metrics()
    metrics.refused("busy")
    metrics.hear(Came(1, 0.5, 100, from_host=False))
    metrics.hear(Left(1))
    metrics.hear(
        Tick(0, 0.02, (0, 6), 4, 3, num_drawn=3, num_queued=2, missed=(1, 0), unused=(2, 0))
    )
    metrics.servers(Usage(2, list, ManualClock()))
    families = text_string_to_metric_families(metrics.text().decode())
    there = {sample.name for family in families for sample in family.samples}
    _, asked = asked_by_grafana()
    assert len(asked) >= 18
    assert asked <= there


def test_metrics_count_rows_batches_and_swaps_of_each_expert():
    metrics = Metrics()
    metrics.hear(Came(1, 0.5, 100, from_host=False))
    metrics.hear(Tick(0, 0.02, (0, 6), num_gated=4, num_stepped=3, num_drawn=3, num_queued=2))
    metrics.hear(Tick(0, 0.03, (1, 2), num_gated=0, num_stepped=1, num_drawn=2, num_queued=0))
    metrics.hear(Tick(0, 9.0, (0, 0), num_gated=0, num_stepped=0, num_drawn=2, num_queued=0))
    metrics.hear(Tick(1, 9.0, (0, 0), num_gated=0, num_stepped=0, num_drawn=3, num_queued=1))
    last = Tick(
        1, 0.01, (0, 0), num_gated=0, num_stepped=2, num_drawn=3, num_queued=1, unused=(0, 5)
    )
    metrics.hear(last)  # of experts elsewhere, who were asked before
    metrics.hear(Left(1))
    told = dict(
        line.rsplit(" ", 1) for line in metrics.text().decode().splitlines() if line[0] != "#"
    )
    assert told['atoll_expert_rows_total{expert="1"}'] == "8.0"
    assert told['atoll_batch_rows_bucket{le="2.0"}'] == "2.0"
    assert told["atoll_batch_rows_sum"] == "9.0"
    assert told["atoll_tick_seconds_count"] == "3.0"  # idle ones are none
    assert told["atoll_steps_total"] == "6.0"
    assert told['atoll_expert_unused_rows_total{expert="1"}'] == "5.0"
    assert told["atoll_gate_rows_total"] == "4.0"
    assert told["atoll_images_in_progress"] == "5.0"  # of two editions
    assert told['atoll_expert_loads_total{expert="1",source="disk"}'] == "1.0"
    assert told['atoll_expert_evictions_total{expert="1"}'] == "1.0"
