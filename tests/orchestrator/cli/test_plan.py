from __future__ import annotations

import json

import pytest

from atoll import layout, stages
from atoll.__main__ import main
from atoll.blobs import open_store
from atoll.config_file import read_config, save_config
from atoll.jobs import job_specs
from atoll.routing import Routing
from atoll.sizes import PRESETS
from atoll.types import CheckpointRecord, CheckpointRef, Event, Role
from experts.condition import Conditioning
from experts.flops import TRAINING, expert_flops
from experts.networks import network_of
from orchestrator.fleet.state import Change, Job
from orchestrator.storage.sql_store import SqlStore
from orchestrator.storage.urls import database_url

PRICES = """
[[price]]
provider = "north"
gpu = "h100"
gpus = 8
on_demand = 20
spot = 8
currency = "EUR"

[[price]]
provider = "south"
gpu = "T4"
gpus = 1
on_demand = 0.5
"""
PRESET = ["-s", "expert.preset=DiT-S/4", "-s", "data.source=folder", "-s", "data.path=x"]

MMDIT = ["-s", "expert.preset=MMDiT-T"]

MANY = [f"-spartition.num_{what}=20000" for what in ("experts", "fine")]
MANY += ["-straining.batch_size=20000", "-sevaluation.monolith=false"]


def answer(capsys, *flags: str):
    main_quietly("plan", "--json", *flags)
    return json.loads(capsys.readouterr().out)


def main_quietly(*arguments: str) -> None:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert not end.value.code


def refusal(capsys, *flags: str) -> str:
    with pytest.raises(SystemExit) as end:
        main(("plan", *flags))
    told = capsys.readouterr()
    assert end.value.code == 2
    assert told.out == ""
    assert told.err.startswith("atoll: ")
    assert told.err.count("\n") == 1
    return told.err


@pytest.mark.parametrize("preset", ["DiT-S/2", "DiT-S/8", "DiT-B/4", "MMDiT-T"])
def test_plan_of_a_preset_counts_as_the_network_and_its_flops_do(capsys, preset):
    flags = (*PRESET, "-s", f"expert.preset={preset}", "--size", "64", "--classes", "7")
    found = answer(capsys, *flags, "-s", "router.patch=4")
    expert, monolith, router = found["jobs"]
    sizes, told, shape = PRESETS[preset], Conditioning("class", 7), (3, 64, 64)
    count = sum(parameter.numel() for parameter in network_of(sizes, told, shape).parameters())
    assert expert["parameters"] == monolith["parameters"] == count
    assert expert["step_flops"] == TRAINING * 32 * expert_flops(sizes, told, shape)
    assert expert["flops"] == 1000 * expert["step_flops"]
    assert monolith["step_flops"] == 4 * expert["step_flops"]
    assert router["name"] == "router"


def test_plan_of_buckets_counts_images_of_the_first(capsys):
    flags = (*PRESET, "-s", "expert.preset=DiT-S/2", "--classes", "7", "-s", "router.patch=4")
    found = answer(capsys, *flags, "-s", "data.buckets=['80x48', '64x64']")
    sizes, told, shape = PRESETS["DiT-S/2"], Conditioning("class", 7), (3, 48, 80)
    assert found["jobs"][0]["step_flops"] == TRAINING * 32 * expert_flops(sizes, told, shape)
    assert "all images of the size of the first of data.buckets" in found["assumed"]


def test_plan_counts_the_tokens_that_pass_by_blocks_in_training(capsys):
    flags = (*PRESET, "-s", "expert.preset=DiT-S/2", "--size", "64", "--classes", "7")
    found = answer(capsys, *flags, "-s", "router.patch=4", "-s", "training.route_tokens=0.5")
    sizes, told, shape = PRESETS["DiT-S/2"], Conditioning("class", 7), (3, 64, 64)
    forward = expert_flops(sizes, told, shape, Routing(0.5, 2, 4))
    assert found["jobs"][0]["step_flops"] == TRAINING * 32 * forward
    assert forward < expert_flops(sizes, told, shape)


def test_plan_shows_people_every_table_and_what_it_rests_on(capsys, tmp_path):
    (tmp_path / "prices.toml").write_text(PRICES)
    flags = ("--prices", str(tmp_path / "prices.toml"), "--lifetime-h", "24")
    main_quietly("plan", "--model", "ddm-3b", *flags)
    told = capsys.readouterr()
    for part in ("FLOPs", "Memory", "Checkpoints", "24 hours", "Price", "MFU 0.40, assumed"):
        assert part in told.out
    assert "published: an expert in about 6.5 days" in told.err


def test_plan_takes_prices_of_nodes_like_its_own(capsys, tmp_path):
    (tmp_path / "prices.toml").write_text(PRICES)
    flags = ("--model", "ddm-3b", "--prices", str(tmp_path / "prices.toml"))
    found = answer(capsys, *flags)
    (cost,) = found["costs"]
    assert (cost["provider"], cost["currency"]) == ("north", "EUR")
    assert cost["cost"] == pytest.approx(20 * found["node_hours"])
    assert cost["spot_cost"] == pytest.approx(8 * found["node_hours"])
    rough = answer(capsys, *flags, "--lifetime-h", "12")
    longer = rough["spot"]["overhead"]
    assert rough["costs"][0]["spot_cost"] == pytest.approx(8 * longer * found["node_hours"])


def test_plan_without_prices_takes_the_islands_or_says_that_there_is_none(capsys):
    found = answer(capsys, "-s", "island.price_per_hour=3")
    assert found["costs"][0]["cost"] == pytest.approx(3 * found["node_hours"])
    found = answer(capsys)
    assert found["costs"] == []
    assert any("no price" in sentence for sentence in found["assumed"])


def test_plan_says_which_limit_of_the_budget_is_too_low(capsys):
    prices = ("-s", "island.provider={local=1, slurm=1}")
    prices += ("-s", "island.price_per_hour={local=3, slurm=2}")
    found = answer(capsys, *prices)
    hours, names = found["node_hours"], [cost["provider"] for cost in found["costs"]]
    assert names == ["island.price_per_hour.local", "island.price_per_hour.slurm"]
    assert [cost["cost"] for cost in found["costs"]] == pytest.approx([3 * hours, 2 * hours])
    enough = answer(capsys, *prices, "-s", f"budget.cost={2.1 * hours}")
    assert enough["over_budget"] == []
    low = ("-s", f"budget.cost={1.9 * hours}", "-s", f"budget.node_hours={0.9 * hours}")
    over = answer(capsys, *prices, *low)["over_budget"]
    assert [words.split(" ")[0] for words in over] == ["budget.node_hours", "budget.cost"]
    assert over[1].endswith("at island.price_per_hour.slurm")


def test_plan_takes_the_gpus_of_an_island_or_of_the_flag(capsys):
    two = answer(capsys, "-s", "island.processes=2", "--mfu", "0.2")
    four = answer(capsys, "-s", "island.processes=2", "--gpus-per-node", "4", "--mfu", "0.4")
    assert two["jobs"][0]["hours"] == pytest.approx(4 * four["jobs"][0]["hours"])
    assert four["hardware"]["mfu"] == 0.4
    assert two["jobs"][0]["layout"]["data"] == 2
    assert four["jobs"][0]["sent_bytes"] == pytest.approx(1.5 * two["jobs"][0]["sent_bytes"])


def test_plan_of_several_layouts_says_that_it_is_of_the_first(capsys):
    first, second = "{shard=0, sharding='zero-1'}", "{tensor=2}"
    flags = ("-s", "island.processes=2", "-s", f"island.parallel=[{first}, {second}]")
    job, *_ = answer(capsys, *flags)["jobs"]
    assert job["why"].startswith("as the first [[island.parallel]] asks;")
    assert job["layout"]["shard"] == 2
    assert job["memory"]["average"] == 4 * job["parameters"]  # whole in ZeRO's stage 1


def test_plan_of_islands_of_several_nodes_trains_on_all_and_pays_for_each(capsys):
    flags = ("-s", "island.price_per_hour=3", "--samples", "1000", "--mfu", "0.4")
    one = answer(capsys, *flags, "--gpus-per-node", "8")
    two = answer(capsys, *flags, "--gpus-per-node", "4", "-s", "island.nodes=2")
    assert two["jobs"] == one["jobs"]
    assert two["days"] == one["days"]
    assert two["node_hours"] == 2 * one["node_hours"]
    assert two["costs"][0]["cost"] == pytest.approx(3 * two["node_hours"])
    assert two["volumes"][0]["in_bytes"] == 2 * one["volumes"][0]["in_bytes"]


@pytest.mark.parametrize(
    ("flags", "names"),
    [
        (("--gpu", "H1000"), "--gpu H1000"),
        (("-s", "island.nodes=1024"), "too few for 1024 GPUs; lower island.nodes"),
        (("--model", "ddm-9b"), "--model ddm-9b"),
        (("--mfu", "0"), "--mfu 0"),
        (("--mfu", "1.5"), "--mfu 1.5"),
        (("--mfu", "nan"), "--mfu nan"),
        (("--mfu", "inf"), "--mfu inf"),
        (("--lifetime-h", "inf"), "--lifetime-h"),
        (("--lifetime-h", "-1"), "--lifetime-h"),
        (("--mb-per-s", "0"), "--mb-per-s"),
        (("--mfu", "1e-300"), "--mfu"),
        (("-s", "island.price_per_hour=1e308", "-s", "training.steps=10000000000"), "beyond"),
        ((*MANY, "--lifetime-h", "24"), "partition.num_experts"),
        (("--sample-kb", "inf"), "--sample-kb"),
        (("--model", "ddm-3b", "--size", "9"), "--size"),
        (("--caption-tokens", "9"), "--caption-tokens"),
        ((*MMDIT, "--caption-tokens", "9"), "--caption-tokens"),
        (("--gpu", "T4", "-s", "training.precision=bf16"), "training.precision"),
        (("--model", "ddm-3b", "--gpu", "A100-40"), "training.accumulation"),
        (("-s", "training.batch_size=1000000"), "evaluation.monolith=false"),
        (("--gpus-per-node", "1024"), "--gpus-per-node"),
        (("--size", "9"), "expert.patch"),
        (PRESET, "data.size"),
        (("-s", f"training.steps=1{'0' * 400}"), "beyond counting"),
        (("-s", "training.step=9"), "training.step"),
        (("--prices", "/no/such/file"), "--prices /no/such/file"),
        (("--prices", "skypilot", "-s", "skypilot.command=/no/sky"), "see skypilot.command"),
    ],
)
def test_plan_refuses_what_it_cannot_use_in_one_sentence(capsys, flags, names):
    assert names in refusal(capsys, *flags)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("[[price]\n", "not valid TOML"),
        ("", "price"),
        (PRICES.replace("on_demand = 20", "on_demand = inf"), "price.0.on_demand"),
        (PRICES.replace("on_demand = 20", "on_demand = -1"), "price.0.on_demand"),
        (PRICES.replace("gpus = 8", "gpus = 0"), "price.0.gpus"),
        (PRICES.replace("currency", "curency"), "price.0.curency"),
        (PRICES, "8 x h100, 1 x T4"),
    ],
)
def test_plan_refuses_broken_prices_in_one_sentence(capsys, tmp_path, text, names):
    path = tmp_path / "prices.toml"
    path.write_text(text)
    told = refusal(capsys, "--prices", str(path))
    assert str(path) in told
    if names == "8 x h100, 1 x T4":
        names = "1 x T4, 8 x h100"
    assert names in told


@pytest.fixture
def trained(tmp_path):
    """A run whose experts took 10 steps in a minute; returns how a command is told of it."""
    uri = f"run.uri={tmp_path / 'run'}"
    config = read_config(None, [uri, "training.steps=500"])
    run = open_store(config.run.uri)
    stages.finish(run, "partition", {}, {"digest": "p"})
    stages.finish(run, "begun-train", {}, {})
    save_config(run, config)
    url = database_url(config)
    layout.state_folder(config.run.uri).mkdir()
    database = SqlStore(url)
    for number, spec in enumerate(job_specs(config, "p", [Role.EXPERT])):
        for at, step in enumerate((10, 20)):
            ref = CheckpointRef(f"{spec.name}/{step}", "d", step, 1)
            change = Change(
                jobs=(Job(spec, epoch=1, checkpoint=ref),),
                checkpoints=(CheckpointRecord(spec.name, ref),),
                events=(Event("checkpoint-committed", ""),),
            )
            database.save(change, 2 * number + at + 1, 60.0 * at)
    database.close()
    return "-s", uri


def test_plan_of_a_run_that_has_trained_goes_by_its_settings_and_its_pace(capsys, trained):
    found = answer(capsys, *trained)
    expert, monolith, _ = found["jobs"]
    assert (expert["steps"], expert["hours"]) == (500, pytest.approx(500 * 6 / 3600))
    assert found["hardware"]["paces"] == {"expert": {"steps": 40, "seconds": 240.0}}
    assert any("expert: 6 s a step, measured over 40 steps" in it for it in found["assumed"])
    longer = answer(capsys, *trained, "-s", "training.steps=5000")["jobs"]
    assert longer[0]["hours"] == pytest.approx(10 * expert["hours"])
    assert longer[1]["hours"] == pytest.approx(10 * monolith["hours"])


@pytest.mark.parametrize(
    "other",
    [("--gpu", "H100"), ("--mfu", "0.4"), ("-s", "expert.width=32"), ("--model", "ddm-3b")],
    ids=["hardware", "utilisation", "network", "published"],
)
def test_plan_of_other_work_or_hardware_than_was_measured_goes_by_flops(capsys, trained, other):
    assert answer(capsys, *trained, *other)["hardware"]["paces"] == {}
