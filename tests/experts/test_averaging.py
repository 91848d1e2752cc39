"""Averages of lengths nobody tracked, out of a real training's checkpoints."""

import shutil
from dataclasses import asdict, replace

import pytest
import torch
from safetensors.torch import load_file

from atoll import stages
from atoll.averaged import as_sampled, stage_of
from atoll.checkpoints import download
from atoll.errors import BadInput, CheckpointDamaged
from experts.averaging import make_averages
from experts.load import load_expert

JOB = "expert-0"
TRAINING = {
    "steps": 60,
    "checkpoint_every_steps": 4,
    "learning_rate": 1e-2,
    "ema_profile": "power",
    "ema_decay": None,
    "ema_lengths": [0.05, 0.1],
}


@pytest.fixture(scope="module")
def once(tmp_path_factory):
    """For what the first test has trained."""
    return tmp_path_factory.mktemp("trained") / "all"


@pytest.fixture
def averaging(make_run, once):
    """A trained run whose checkpoints all are kept; and what averages it over a length."""
    run = make_run(training=TRAINING)
    if once.exists():
        shutil.copytree(once, run.folder, dirs_exist_ok=True)
    else:
        run.train(run.assignment())
        shutil.copytree(run.folder, once)
    return finished(run)


def finished(run):
    refs = run.published()
    stages.finish(run.store, "train", {}, {JOB: asdict(refs[-1])})

    def average(length, kept=refs):
        cache = run.folder / "cache"
        (made,) = make_averages(run.store, length, {JOB: kept}, cache)
        return made, stages.find(run.store, stage_of(length))[JOB]

    return run, refs, average


def weights(run, ref, name="ema.safetensors"):
    return load_file(download(run.store, ref, run.folder / "cache").files[name])


def flat(tensors):
    return torch.cat([tensors[key].flatten() for key in sorted(tensors)]).double()


def sampled(run, length):
    config = run.config.model_copy(
        update={"sampling": run.config.sampling.model_copy(update={"ema_length": length})}
    )
    trained = {JOB: run.published()[-1]}
    return as_sampled(run.store, config, trained, "sample")[JOB]


@pytest.mark.parametrize("length", [0.07, 0.13])
def test_average_is_the_one_that_would_have_been_tracked(averaging, make_run, length):
    run, refs, average = averaging
    made, _ = average(length)
    assert (made.job, made.step, made.checkpoints) == (JOB, 60, 15)
    found = flat(weights(run, sampled(run, length)))

    recipe = {**TRAINING, "ema_lengths": [length], "checkpoint_every_steps": 60}
    other = make_run(training=recipe)
    other.train(other.assignment(epoch=2))
    tracked = flat(weights(other, other.published(2)[-1]))
    nearest = flat(weights(run, refs[-1], "ema-1.safetensors"))
    moved = (nearest - tracked).norm()
    assert made.error < 0.02
    assert (found - tracked).norm() < 0.05 * moved


def test_average_of_a_tracked_length_is_that_average(averaging):
    run, refs, average = averaging
    made, _ = average(0.1)
    assert made.error < 1e-6
    found = weights(run, sampled(run, 0.1))
    for name, tensor in weights(run, refs[-1], "ema-1.safetensors").items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-6, atol=1e-8)


def test_average_is_a_checkpoint_that_experts_are_loaded_from(averaging):
    run, refs, average = averaging
    average(0.13)
    ref = sampled(run, 0.13)
    loaded = load_expert(run.store, ref, run.folder / "cache", torch.device("cpu"))
    before = load_expert(run.store, refs[-1], run.folder / "cache", torch.device("cpu"))
    assert loaded.checkpoint.compat == before.checkpoint.compat
    assert loaded.checkpoint.about["ema_lengths"] == [0.13]
    assert loaded.checkpoint.ref.step == 60
    curves = [
        download(run.store, each, run.folder / "cache").files["history.json"].read_bytes()
        for each in (ref, refs[-1])
    ]
    assert curves[0] == curves[1]
    some = torch.zeros(1, *loaded.model.shape), torch.tensor([0.5])
    cond = loaded.conditioning.null(1, torch.device("cpu"))
    assert not torch.equal(loaded.model(*some, cond), before.model(*some, cond))


def test_average_made_again_stays_and_of_other_checkpoints_is_made_anew(averaging):
    _, refs, average = averaging
    _, before = average(0.13)
    assert average(0.13)[1] == before
    made, after = average(0.13, refs[::2])
    assert made.checkpoints == 8
    assert after["key"] != before["key"]


def test_average_takes_of_two_checkpoints_of_a_step_that_of_the_newer_lease(averaging):
    _, refs, average = averaging
    stale = replace(refs[3], epoch=0, key="gone")
    made, _ = average(0.13, [*refs, stale])
    assert made.checkpoints == 15


def test_average_that_was_interrupted_is_made_anew(averaging):
    run, _, average = averaging
    _, before = average(0.13)
    (run.folder / "run" / before["key"] / "manifest.json").unlink()
    stages.finish(run.store, stage_of(0.13), {}, {})
    assert average(0.13)[1] == before


@pytest.mark.parametrize("gone", ["ema.safetensors", ""])
def test_average_that_was_deleted_is_made_again(averaging, gone):
    run, _, average = averaging
    _, before = average(0.13)
    found = weights(run, sampled(run, 0.13))
    folder = run.folder / "run" / before["key"]
    if gone:
        (folder / gone).unlink()
    else:
        shutil.rmtree(folder)
    assert average(0.13)[1] == before
    again = weights(run, sampled(run, 0.13))
    assert all(torch.equal(again[name], found[name]) for name in found)


def test_average_that_too_few_checkpoints_are_left_for_is_refused(averaging):
    _, _, average = averaging
    words = (
        r"--length 0\.25: .* of expert-0 that are left, 1, it would be \d+% off.*keep_every_steps"
    )
    with pytest.raises(BadInput, match=words):
        average(0.25, [])


def test_average_of_a_damaged_checkpoint_names_it(averaging):
    run, refs, average = averaging
    path = run.folder / "run" / refs[5].key / "ema-1.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(CheckpointDamaged, match=r"at step 24: .*ema-1\.safetensors is damaged"):
        average(0.13)


def test_average_of_an_exponential_profile_is_refused(run):
    run.train(run.assignment())
    _, _, average = finished(run)
    with pytest.raises(BadInput, match=r'ema_profile = "exponential".*"power"'):
        average(0.13)
    assert stages.find(run.store, stage_of(0.13)) is None
