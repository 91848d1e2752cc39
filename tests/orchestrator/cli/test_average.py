"""`atoll average`, from a registry's checkpoints to an ensemble that samples by them."""

import json
from dataclasses import asdict, replace

import pytest
import torch
from safetensors.torch import load_file

from atoll import stages
from atoll.averaged import stage_of
from atoll.blobs import open_store
from atoll.config import Config
from atoll.config_file import run_config, save_config
from atoll.jobs import shaping_settings
from atoll.relay import Listener, Published
from atoll.types import CheckpointRecord, CheckpointRef, Keeping, Role, Submission
from evaluation.trained import trained
from orchestrator.cli.kept import kept_checkpoints
from orchestrator.fleet import operations
from orchestrator.fleet.state import Change, Fleet
from orchestrator.storage.sql_store import SqlStore
from orchestrator.storage.urls import default_database, sqlite_url
from partition.stage import load_partition, run_partition
from tests.orchestrator.conftest import POLICY
from tests.trained_run import SETTINGS, Run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Two experts with averages of two lengths; of each the checkpoint at step 6 is gone."""
    folder = tmp_path_factory.mktemp("averaged")
    training = {"steps": 12, "batch_size": 16, "checkpoint_every_steps": 3, "ema_profile": "power"}
    tree = {**SETTINGS, "run": {"uri": str(folder / "run")}, "training": training}
    made = Run(Config.model_validate(tree), folder)
    run_partition(made.config, lambda *_: None)
    save_config(open_store(made.uri), made.config)
    specs = [made.spec(Role.EXPERT, number) for number in range(2)]
    settings = shaping_settings(made.config, load_partition(made.store).digest, Role.EXPERT)
    last = {spec.name: asdict(made.train(spec)) for spec in specs}
    stages.finish(made.store, "train", settings, last)
    records = []
    for spec in specs:
        said = Listener(folder / f"work-{spec.name}-1").heard()
        refs = [message.checkpoint for message in said if isinstance(message, Published)]
        records += [CheckpointRecord(spec.name, ref) for ref in refs]
    submitted = operations.submit(Fleet(POLICY), [Submission(spec) for spec in specs], 0.0)
    default_database(made.config).parent.mkdir(exist_ok=True)
    database = SqlStore(sqlite_url(default_database(made.config)))
    database.save(submitted.then(Change(checkpoints=tuple(records))), 1, 0.0)
    gone = [replace(each, keeping=Keeping.COLLECTED) for each in records if each.ref.step == 6]
    database.save(Change(checkpoints=tuple(gone)), database.last_event() + 1, 0.0)
    database.close()
    return made


def test_kept_checkpoints_are_those_that_the_registry_still_has(run):
    steps = {job: [ref.step for ref in refs] for job, refs in kept_checkpoints(run.config).items()}
    assert steps == {"expert-0": [3, 9, 12], "expert-1": [3, 9, 12]}


def test_average_command_makes_every_length_and_whoever_uses_the_experts_takes_it(
    run, atoll, tmp_path
):
    words = ("average", "--set", f"run.uri={run.uri}", "--json")
    code, out, _ = atoll(*words, "--length", "0.07", "--length", "0.12")
    assert code == 0
    rows = json.loads(out)
    assert [(row["length"], row["job"], row["step"], row["checkpoints"]) for row in rows] == [
        (0.07, "expert-0", 12, 3),
        (0.07, "expert-1", 12, 3),
        (0.12, "expert-0", 12, 3),
        (0.12, "expert-1", 12, 3),
    ]
    assert all(0 < row["error"] < 0.1 for row in rows)

    def sample(name, *overrides):
        told = [f"--set={each}" for each in (f"run.uri={run.uri}", "sampling.gate=prior")]
        told += [f"--set=sampling.{each}" for each in overrides]
        return atoll("sample", *told, "--num", "1", "--out", tmp_path / name)

    for name, overrides in (("a", ()), ("b", ("ema_length=0.07",)), ("c", ("ema_length=0.12",))):
        assert sample(name, *overrides)[0] == 0
    images = [next((tmp_path / name).glob("0*.png")) for name in "abc"]
    assert len({image.read_bytes() for image in images}) == 3
    like = ("--like", images[1], "--out", tmp_path / "again", f"--set=run.uri={run.uri}")
    assert atoll("sample", *like)[0] == 0
    (again,) = (tmp_path / "again").glob("0*.png")
    assert again.read_bytes() == images[1].read_bytes()

    averages = stages.require(open_store(run.uri), stage_of(0.07), "average")
    average = CheckpointRef(**averages["expert-0"])
    keys = ["sampling.ema_length=0.07", "sampling.gate=prior", "evaluation.monolith=false"]
    judged = trained(run_config(None, [f"run.uri={run.uri}", *keys]), "evaluate")
    assert judged == {job: CheckpointRef(**tree) for job, tree in averages.items()}
    told = (f"--set=run.uri={run.uri}", f"--set={keys[0]}", "--out", tmp_path / "exported")
    assert atoll("export", "expert-0", *told)[0] == 0
    exported = load_file(tmp_path / "exported" / "model.safetensors")
    stored = load_file(f"{run.uri}/{average.key}/ema.safetensors")
    assert exported.keys() == stored.keys()
    assert all(torch.equal(exported[name], stored[name]) for name in stored)

    code, _, told = sample("d", "ema_length=0.2")
    assert code == 2
    assert (
        "no average of that length for expert-0 at step 12; run `atoll average --length 0.2`"
        in told
    )
