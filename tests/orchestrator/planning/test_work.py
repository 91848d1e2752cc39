from __future__ import annotations

import itertools

import pytest

from atoll.config_file import read_config
from atoll.sections import CheckpointsSection
from atoll.types import CheckpointRecord, CheckpointRef, Keeping
from orchestrator.fleet.retention import Retention, reasons
from orchestrator.planning.networks import Network
from orchestrator.planning.subject import Subject
from orchestrator.planning.volume import num_kept, volumes
from orchestrator.planning.work import Pace, Part, days_of, parts_of

EXPERT = Network(1000, 50, 4, 8, 2, 1, 1, 0)
ROUTER = Network(100, 20, 4, 8, 2, 1, 1, 0)
SETTINGS = ("partition.num_experts=3", "training.batch_size=8", "training.steps=10")
SUBJECT = Subject(EXPERT, ROUTER, 5000.0, ())


def test_a_step_costs_three_forward_passes_of_its_batch():
    part = Part("expert", 3, EXPERT, batch=4, steps=10)
    assert part.step_flops == 3 * 4 * 50
    assert part.flops == 10 * 3 * 4 * 50


def test_time_is_operations_over_what_all_gpus_reach_and_a_third_more_when_recomputing():
    assert Pace(8, 1e3, 0.5).seconds(8000) == pytest.approx(2.0)
    assert Pace(8, 1e3, 0.5, recompute=True).seconds(8000) == pytest.approx(2.0 * 4 / 3)


def test_parts_share_the_batch_and_the_monolith_has_all_of_it():
    config = read_config(None, [*SETTINGS, "router.batch_size=5", "router.steps=6"])
    expert, monolith, router = parts_of(config, SUBJECT, monolith=True)
    assert (expert.count, expert.batch, expert.steps) == (3, 3, 10)  # 8 over 3, rounded up
    assert (monolith.count, monolith.batch, monolith.steps) == (1, 8, 10)
    assert (router.count, router.batch, router.steps) == (1, 5, 6)
    assert [part.name for part in parts_of(config, SUBJECT, monolith=False)] == ["expert", "router"]


@pytest.mark.parametrize(("islands", "days"), [(1, 3 + 2 + 1), (2, 3 + 1), (3, 3 + 1), (9, 2 + 1)])
def test_days_are_those_of_a_queue_and_the_router_comes_last(islands, days):
    one = Network(1, 1, 1, 1, 1, 1, 1, 0)
    parts = [Part("expert", 3, one, 1, 1), Part("monolith", 1, one, 2, 1)]
    parts.append(Part("router", 1, one, 1, 1))
    step_s = {"expert": 86400.0, "monolith": 2 * 86400.0, "router": 86400.0}
    assert days_of(parts, step_s, islands) == pytest.approx(days)


@pytest.mark.parametrize(
    ("steps", "last", "every", "best"),
    list(itertools.product((1, 100, 101, 950), (1, 5), (0, 100, 300), (0, 2))),
)
def test_checkpoints_kept_are_those_retention_keeps_if_the_best_are_others(
    steps, last, every, best
):
    at = [*range(100, steps, 100), steps]
    found = num_kept(
        CheckpointsSection(keep_last=last, keep_every_steps=every, keep_best=best), steps, 100
    )
    retention = Retention(last, every, 0)
    records = [record(step, 0.0) for step in at]
    others = {key for key, why in reasons(records, frozenset(), retention).items() if not why}
    # Those that are kept for nothing else have the lowest losses.
    records = [record(step, 0.0 if f"k{step}" in others else 1.0) for step in at]
    kept = reasons(records, frozenset(), Retention(last, every, best))
    assert found == sum(bool(why) for why in kept.values())


def record(step: int, loss: float) -> CheckpointRecord:
    ref = CheckpointRef(f"k{step}", "", step, 1)
    return CheckpointRecord("job", ref, Keeping.KEPT, loss)


def test_volumes_count_every_checkpoint_of_every_job_and_the_data_once_for_each_kind():
    keys = (
        "training.checkpoint_every_steps=4",
        "checkpoints.keep_last=2",
        "checkpoints.keep_best=0",
    )
    config = read_config(None, [*SETTINGS, *keys])
    expert, _ = volumes(config, parts_of(config, SUBJECT, monolith=False), SUBJECT.data_bytes)
    assert expert.checkpoint_bytes == 16 * 1000
    assert (expert.written, expert.kept) == (3, 2)  # after 4, 8 and 10 steps
    assert expert.out_bytes == 3 * 3 * 16_000
    assert expert.kept_bytes == 3 * 2 * 16_000
    assert expert.in_bytes == 5000
