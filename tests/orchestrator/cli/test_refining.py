"""What `atoll train` lays down of an earlier run for schedules that are refined by it."""

import json
import math
import re
from dataclasses import asdict

import pytest

from atoll import layout, stages
from atoll.blobs import open_store
from atoll.checkpoints import Compat, upload
from atoll.config import Config
from atoll.errors import BadInput, CheckpointDamaged, ConfigError
from atoll.jobs import job_specs
from atoll.partitioned import partition_inputs
from atoll.types import Role
from orchestrator.cli.refining import lay_down
from orchestrator.cli.training import train

COMPAT = Compat("flow", "pixels", (1, 8, 8), "none", "p")


@pytest.fixture
def earlier(tmp_path):
    """Lets a job of an earlier run end with such gradient norms, one every ten steps."""

    def train(job, *norms, stage="train", epoch=1):
        store, folder = open_store(str(tmp_path / "earlier")), tmp_path / f"{job}-{epoch}"
        folder.mkdir()
        points = [{"step": 10 * n, "grad_norm": norm} for n, norm in enumerate(norms, start=1)]
        (folder / "history.json").write_text(json.dumps(points))
        step = 10 * len(norms)
        key = layout.checkpoint_folder(job, epoch, step)
        ref = upload(store, key, folder, step=step, epoch=epoch, compat=COMPAT, about={})
        before = stages.find(store, stage) or {}
        stages.finish(store, stage, {}, before | {job: asdict(ref)})
        return tmp_path / "earlier" / key

    return train


@pytest.fixture
def later(tmp_path):
    """A run of two experts whose schedules are refined; and what lays down their curves."""
    training = {"schedule": "refined", "refined_from": str(tmp_path / "earlier")}
    config = Config.model_validate(
        {
            "run": {"uri": str(tmp_path / "later")},
            "partition": {"num_experts": 2},
            "training": training,
        }
    )
    store = open_store(config.run.uri)

    def begin(role=Role.EXPERT, stage="train", begun=()):
        lay_down(config, store, stage, job_specs(config, "p", [role]), begun)
        return lambda job: json.loads(store.get_bytes(layout.refined_schedule(job)))["points"]

    return begin


def norms(num, first=1.0):
    return [first + n for n in range(num)]


def test_lay_down_stores_each_job_its_own_curve(earlier, later):
    earlier("expert-0", *norms(20))
    earlier("expert-1", *norms(30, 5.0))
    stored = later()
    assert stored("expert-0") == [[10 * (n + 1), 1.0 + n] for n in range(20)]
    assert stored("expert-1")[-1] == [300, 34.0]


def test_lay_down_leaves_out_points_without_a_norm(earlier, later):
    earlier("expert-0", *norms(20), math.nan, 0.0, math.inf, 7.0)
    earlier("expert-1", *norms(20))
    assert later()("expert-0")[-2:] == [[200, 20.0], [240, 7.0]]


def test_lay_down_keeps_what_was_laid_down_when_the_earlier_run_goes_on(earlier, later):
    earlier("expert-0", *norms(20))
    earlier("expert-1", *norms(20))
    before = later()("expert-0")
    earlier("expert-0", *norms(40), epoch=2)
    assert later()("expert-0") == before


def test_lay_down_for_a_job_that_was_begun_keeps_its_curve_or_says_that_it_is_gone(
    earlier, later, tmp_path
):
    earlier("expert-0", *norms(20))
    earlier("expert-1", *norms(20))
    before = later()("expert-0")
    assert later(begun=["expert-0"])("expert-0") == before
    (tmp_path / "later" / layout.refined_schedule("expert-0")).unlink()
    words = r"schedules/expert-0\.json is gone, by which the schedule of expert-0 was refined; copy"
    with pytest.raises(BadInput, match=words):
        later(begun=["expert-0"])


def test_lay_down_of_a_router_reads_the_stage_that_trained_it(earlier, later):
    earlier("router", *norms(25), stage="route")
    assert later(Role.ROUTER, "route")("router")[0] == [10, 1.0]


def test_lay_down_names_a_job_that_the_earlier_run_did_not_train(earlier, later, tmp_path):
    earlier("expert-0", *norms(20))
    words = f"refined_from = '{tmp_path / 'earlier'}' holds no expert-1 that was trained to its end"
    with pytest.raises(BadInput, match=re.escape(words)):
        later()


def test_lay_down_refuses_a_curve_of_too_few_points_and_says_how_to_have_more(earlier, later):
    earlier("expert-0", *norms(8))
    with pytest.raises(BadInput, match=r"a curve of 8 points .*log_every_steps = 4 or less"):
        later()


def test_lay_down_of_a_curve_that_was_changed_refuses(earlier, later):
    key = earlier("expert-0", *norms(20))
    (key / "history.json").write_text("[]")
    with pytest.raises(CheckpointDamaged, match=r"history\.json"):
        later()


def begun_by_train(tmp_path, gate):
    """Trains a run of one expert up to a refusal that comes once all curves are there."""
    config = Config.model_validate(
        {
            "run": {"uri": str(tmp_path / "later")},
            "partition": {"num_experts": 1},
            "training": {"schedule": "refined", "refined_from": str(tmp_path / "earlier")},
            "evaluation": {"monolith": False, "strategies": ["full"]},
            "sampling": {"gate": gate},
            "cache": {"folder": "x", "size_gb": 0.5, "copy_always": True},
        }
    )
    cluster = {"num_samples": 100, "shards": [{"size_bytes": 10**9}]}
    made = {"digest": "p", "shape": [8, 8, 1], "class_names": ["a"], "has_captions": False}
    made |= {"num_without_caption": 0, "buckets": [], "shard_sets": [cluster]}
    store = open_store(config.run.uri)
    stages.finish(store, "partition", partition_inputs(config), made)
    with pytest.raises(ConfigError, match=r"cache\.size_gb"):
        train(config, "train")
    return store


def test_train_lays_down_the_routers_curve_too_before_experts_begin(earlier, tmp_path):
    earlier("expert-0", *norms(20))
    with pytest.raises(BadInput, match=r"holds no router that was trained to its end; run `atoll"):
        begun_by_train(tmp_path, "learned")
    assert stages.find(open_store(str(tmp_path / "later")), "begun-train") is None
    earlier("router", *norms(25), stage="route")
    store = begun_by_train(tmp_path, "learned")
    assert len(json.loads(store.get_bytes(layout.refined_schedule("router")))["points"]) == 25


def test_train_for_a_gate_that_learns_nothing_asks_for_no_routers_curve(earlier, tmp_path):
    earlier("expert-0", *norms(20))
    store = begun_by_train(tmp_path, "uniform")
    assert not store.exists(layout.refined_schedule("router"))
