"""What the training stages refuse before anything is started."""

import json
import re

import pytest

from atoll import layout, stages
from atoll.blobs import open_store
from atoll.config import Config
from atoll.encoded import inputs_of, stage_of
from atoll.errors import BadInput, ConfigError
from atoll.jobs import shaping_settings
from atoll.partitioned import partition_inputs
from atoll.types import Role
from orchestrator.cli.training import refuse_other_settings, train


def cluster(*sizes):
    return {"num_samples": sum(sizes) // 10**7, "shards": [{"size_bytes": each} for each in sizes]}


@pytest.fixture
def partitioned(tmp_path):
    """A configuration with a cache of so many GB, for clusters of 1 and 3 GB."""

    def make(size_gb, *, monolith=False, copy_always=True):
        tree = {
            "run": {"uri": str(tmp_path / "run")},
            "partition": {"num_experts": 2},
            "evaluation": {"monolith": monolith, "strategies": ["full"]},
            "cache": {"folder": "x", "size_gb": size_gb, "copy_always": copy_always},
        }
        made = {"digest": "p", "shape": [8, 8, 1], "class_names": ["a"], "has_captions": False}
        made["num_without_caption"] = 0
        made["buckets"] = []
        made["shard_sets"] = [cluster(10**9), cluster(2 * 10**9, 10**9)]
        config = Config.model_validate(tree)
        stages.finish(open_store(config.run.uri), "partition", partition_inputs(config), made)
        return config

    return make


def test_cache_too_small_for_a_cluster_is_refused_before_anything_starts(partitioned):
    words = "cache.size_gb = 2.5 has no room for the shards of expert-1, 3.000 GB; raise it"
    with pytest.raises(ConfigError, match=re.escape(words)):
        train(partitioned(2.5), "train")


@pytest.mark.parametrize(("stage", "job"), [("train", "monolith"), ("route", "router")])
def test_cache_too_small_for_a_job_that_reads_all_clusters_is_refused(partitioned, stage, job):
    with pytest.raises(ConfigError, match=f"the shards of {job}, 4.000 GB"):
        train(partitioned(3.5, monolith=True), stage)


def test_init_of_another_network_is_refused_before_anything_starts(partitioned, tmp_path):
    config = partitioned(100)
    about = {"sizes": {"width": 32, "depth": 2, "heads": 2, "patch": 2}, "shape": [1, 8, 8]}
    about |= {"conditioning": {"kind": "none"}, "objective": "velocity"}
    about |= {"class_names": [], "made": {}}
    header = json.dumps({"__metadata__": {"atoll": json.dumps(about)}}).encode()
    (tmp_path / "init").write_bytes(len(header).to_bytes(8, "little") + header)
    expert = config.expert.model_copy(update={"init": str(tmp_path / "init")})
    config = config.model_copy(update={"expert": expert})
    with pytest.raises(ConfigError, match="is a DiT of width 32, depth 2, heads 2, patch 2, and"):
        train(config, "train")
    fitting = config.expert.model_copy(update={"width": 32, "depth": 2, "heads": 2, "patch": 2})
    training = config.training.model_copy(update={"objectives": ("velocity", "epsilon")})
    other = config.model_copy(update={"expert": fitting, "training": training})
    with pytest.raises(ConfigError, match=r'learned to tell "velocity", and .* for "epsilon"; set'):
        train(other, "train")
    training = config.training.model_copy(update={"objective": "v", "objectives": ("velocity",)})
    judged = config.evaluation.model_copy(update={"monolith": True})
    update = {"expert": fitting, "training": training, "evaluation": judged}
    with pytest.raises(ConfigError, match=r'the monolith has in any case, or .* for "v"; set'):
        train(config.model_copy(update=update), "train")
    (tmp_path / "init").unlink()
    with pytest.raises(BadInput, match="init is not there"):
        train(config, "train")


def test_more_samples_held_out_than_a_cluster_has_are_refused_before_anything_starts(partitioned):
    config = partitioned(0)
    made = stages.require(open_store(config.run.uri), "partition", needed_by="train")
    made["num_without_caption"] = 0
    made["buckets"] = []
    made["shard_sets"] = [{"num_samples": 90}, {"num_samples": 50}]
    stages.finish(open_store(config.run.uri), "partition", partition_inputs(config), made)
    training = config.training.model_copy(update={"held_out": 50})
    words = "training.held_out = 50 leaves nothing of cluster 1, which has 50 samples; lower it"
    with pytest.raises(ConfigError, match=re.escape(words)):
        train(config.model_copy(update={"training": training}), "train")


@pytest.mark.parametrize(("section", "stage"), [("expert", "train"), ("router", "route")])
def test_patch_that_does_not_divide_the_latents_of_a_bucket_is_refused_before_anything_starts(
    partitioned, section, stage
):
    tree = partitioned(100).model_dump(mode="json")
    tree["latents"]["vae"], tree["data"]["buckets"] = "any", ["16x16", "24x8", "20x16"]
    tree["expert"]["patch"] = tree["router"]["patch"] = 2
    tree[section]["patch"] = 4
    config, store = Config.model_validate(tree), open_store(tree["run"]["uri"])
    made = stages.require(store, "partition", needed_by="train")
    made |= {"shape": [16, 16, 3], "buckets": [[16, 16], [8, 24], [16, 20]]}
    stages.finish(store, "partition", partition_inputs(config), made)
    encoded = {"model": "any", "shape": [4, 8, 8], "shards": []}
    stages.finish(store, stage_of("latents", "p"), inputs_of(config, "latents", "any"), encoded)
    words = f"{section}.patch = 4 does not divide latents of 10x8, 2 pixels to a side of each"
    with pytest.raises(ConfigError, match=words):
        train(config, stage)


@pytest.mark.parametrize(
    ("share", "parallel", "words"),
    [
        # 100 and 300 samples have 4 and 12 of the 16 rows.
        ("proportional", [{"tensor": 2}, {"pipeline": 2}], "expert-0 has 4 samples in a step, and"),
        ("proportional", [{"shard": 0}], "too few for training.accumulation = 3 micro-batches on"),
        (
            "equal",
            [{"pipeline": 2}],
            "expert-0 has 8 samples in a step, and a pipeline wants equal",
        ),
    ],
)
def test_batch_that_a_layout_cannot_share_is_refused_before_anything_starts(
    partitioned, share, parallel, words
):
    tree = partitioned(100).model_dump(mode="json")
    tree["training"] |= {"batch_size": 16, "accumulation": 3, "share": share}
    tree["island"] |= {"processes": 2, "parallel": parallel}
    with pytest.raises(ConfigError, match=re.escape(words)):
        train(Config.model_validate(tree), "train")


def test_router_of_fewer_rows_than_processes_is_refused_before_anything_starts(partitioned):
    tree = partitioned(100).model_dump(mode="json")
    tree["router"]["batch_size"] = 3
    tree["island"] |= {"processes": 4, "parallel": {"tensor": 4}}
    with pytest.raises(ConfigError, match="router has 3 samples in a step, too few for 4"):
        train(Config.model_validate(tree), "route")


@pytest.mark.parametrize(
    ("section", "changed", "told"),
    [
        ("data", {"size": 16}, "data.size = 32, and the configuration now says 16"),
        (
            "data",
            {"size": None, "buckets": ["32x32"]},
            "data.buckets = None, and the configuration now says ['32x32']",
        ),
        ("data", {"path": "there"}, "data.path = 'here', and the configuration now says 'there'"),
        (
            "partition",
            {"num_fine": 21},
            "partition.num_fine = 20, and the configuration now says 21",
        ),
        ("run", {"seed": 1}, "run.seed = 0, and the configuration now says 1"),
    ],
)
@pytest.mark.parametrize("stage", ["train", "route"])
def test_settings_that_the_partition_was_not_made_with_are_refused_before_anything_starts(
    partitioned, section, changed, told, stage
):
    tree = partitioned(100).model_dump(mode="json")
    tree["data"] |= {"source": "npz", "path": "here", "size": 32}
    tree["partition"]["num_fine"] = 20
    config, store = Config.model_validate(tree), open_store(tree["run"]["uri"])
    made = stages.require(store, "partition", needed_by="train")
    stages.finish(store, "partition", partition_inputs(config), made)
    refuse_other_settings(config)
    tree[section] |= changed
    other = Config.model_validate(tree)
    for ask in (refuse_other_settings, lambda config: train(config, stage)):
        with pytest.raises(BadInput, match=re.escape(f"this run was made with {told}; give new")):
            ask(other)


@pytest.mark.parametrize(("key", "value"), [("workers", 3), ("flip", True)])
def test_settings_that_no_partition_follows_from_are_taken_by_training(partitioned, key, value):
    config = partitioned(100)
    refuse_other_settings(
        config.model_copy(update={"data": config.data.model_copy(update={key: value})})
    )


@pytest.mark.parametrize("schedule", ["linear", "constant"])
def test_more_steps_for_a_job_that_has_begun_are_refused_where_its_rate_decays(
    partitioned, schedule
):
    tree = partitioned(100).model_dump(mode="json")
    tree["training"] |= {"schedule": schedule, "steps": 1000}
    begun, store = Config.model_validate(tree), open_store(tree["run"]["uri"])
    stages.finish(store, "begun-train", shaping_settings(begun, "p", Role.EXPERT), {})
    store.put_bytes(f"{layout.checkpoint_folder('expert-0', 1, 200)}/manifest.json", b"{}")
    tree["training"]["steps"] = 2000
    longer = Config.model_validate(tree)
    if schedule == "constant":
        refuse_other_settings(longer)
        return
    words = (
        "made with training.steps = 1000, and the configuration now says 2000, which counts since "
        "training.schedule lets the learning rate decay until then; give new settings"
    )
    with pytest.raises(BadInput, match=re.escape(words)):
        refuse_other_settings(longer)
