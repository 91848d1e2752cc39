import dataclasses
import json
import math

import pytest
import torch
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from atoll import layout
from atoll.checkpoints import download
from atoll.errors import BlobMissing, CheckpointDamaged, CheckpointMismatch, ConfigError, Leapt
from atoll.node_cache import NodeCache
from atoll.relay import Overcame, Progress
from atoll.types import Role
from experts import checkpointing
from experts.expert import ExpertTask, expert_task
from experts.files import STATE
from experts.watching.held_out import Examination
from partition.reader import ShardReader

WEIGHT = "ema.safetensors/final_layer.linear.weight"


class Crash(Exception):
    """Stands for whatever ends a trainer without warning."""


class After:
    """Drains, or crashes, after some steps."""

    def __init__(self, steps, crash=False):
        self.left, self.crash = steps, crash

    def __call__(self):
        self.left -= 1
        if self.left == 0 and self.crash:
            raise Crash
        return self.left == 0


def contents(run, ref):
    """Every tensor of a checkpoint, and the curve without what a clock measured."""
    files = download(run.store, ref, run.folder / "cache").files
    tensors = {
        f"{name}/{key}": value
        for name, path in files.items()
        if name.endswith(".safetensors")
        for key, value in load_file(path).items()
    }
    names = ("step", "loss", "grad_norm", "held_out", "held_out_by_time")
    curve = [
        tuple(point[name] for name in names)
        for point in json.loads(files["history.json"].read_text())
    ]
    return tensors, curve, json.loads(files["progress.json"].read_text())


def assert_same(run, one, other):
    (tensors, curve, progress), (others, other_curve, other_progress) = (
        contents(run, one),
        contents(run, other),
    )
    assert tensors.keys() == others.keys()
    assert all(torch.equal(tensors[key], others[key]) for key in tensors)
    assert curve == other_curve
    assert progress == other_progress


@pytest.mark.parametrize(
    ("role", "profile", "averages"),
    [
        (Role.EXPERT, "exponential", {"ema.safetensors"}),
        (Role.MONOLITH, "power", {"ema.safetensors", "ema-1.safetensors"}),
    ],
)
def test_train_interrupted_twice_equals_uninterrupted_to_the_bit(
    make_run, role, profile, averages, monkeypatch
):
    monkeypatch.setattr(checkpointing, "_FILE_BYTES", 20_000)
    decay = 0.9 if profile == "exponential" else None
    recipe = {"schedule": "cosine", "ema_profile": profile, "ema_decay": decay}
    run = make_run(training={"held_out": 8, "held_out_every_steps": 7, **recipe})
    assert run.train(run.assignment(role, epoch=1))
    assert [ref.step for ref in run.published(1)] == [6, 12, 18, 20]
    files = download(run.store, run.published(1)[-1], run.folder / "cache").files
    assert len([name for name in files if name.startswith(STATE)]) > 3  # an index among them
    assert {name for name in files if name.startswith("ema")} == averages

    with pytest.raises(Crash):  # between two checkpoints: the steps after the last are lost
        run.train(run.assignment(role, epoch=2), After(14, crash=True))
    left = run.published(2)[-1]
    assert left.step in {6, 12}

    assert not run.train(run.assignment(role, epoch=3, checkpoint=left), After(3))
    drained = run.published(3)[-1]
    assert (drained.step, drained.epoch) == (left.step + 3, 3)

    assert run.train(run.assignment(role, epoch=4, checkpoint=drained))
    assert_same(run, run.published(1)[-1], run.published(4)[-1])


def test_train_after_a_restart_keeps_the_curve_and_marks_its_epochs(run):
    run.train(run.assignment(epoch=1), After(9))
    run.train(run.assignment(epoch=2, checkpoint=run.published(1)[-1]))
    files = download(run.store, run.published(2)[-1], run.folder / "cache").files
    points = json.loads(files["history.json"].read_text())
    assert [(p["step"], p["epoch"]) for p in points] == [(4, 1), (8, 1), (12, 2), (16, 2), (20, 2)]
    assert [m.step for m in run.said(2) if isinstance(m, Progress)] == [12, 16, 20]


def test_train_of_another_seed_gives_other_weights(make_run):
    run = make_run()
    run.train(run.assignment())
    other = make_run(run={"uri": run.config.run.uri, "seed": 1})
    other.train(other.assignment(epoch=2))
    (one, *_), (two, *_) = contents(run, run.published(1)[-1]), contents(run, run.published(2)[-1])
    assert not torch.equal(one[WEIGHT], two[WEIGHT])


def test_train_lowers_the_loss(make_run):
    run = make_run(training={"steps": 150, "learning_rate": 3e-3, "checkpoint_every_steps": 150})
    run.train(run.assignment(Role.MONOLITH))
    losses = [m.loss for m in run.said() if isinstance(m, Progress)]
    assert sum(losses[-10:]) / 10 < 0.7 * losses[0]


def test_train_from_a_checkpoint_with_one_flipped_byte_names_it(run):
    run.train(run.assignment(), After(6))
    ref = run.published()[-1]
    path = run.folder / "run" / ref.key / "ema.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(CheckpointDamaged, match=r"at step 6: .*step-00000006/ema.safetensors"):
        run.train(run.assignment(epoch=2, checkpoint=ref))


def test_train_with_a_refined_schedule_follows_the_curve_that_was_laid_down(make_run):
    training = {"schedule": "refined", "refined_from": "runs/earlier", "warmup_steps": 0}
    run = make_run(training=training)
    key = layout.refined_schedule("expert-0")

    def trained(epoch, *points):
        run.store.publish(key, json.dumps({"from": "runs/earlier", "points": points}).encode())
        run.train(run.assignment(epoch=epoch))
        return contents(run, run.published(epoch)[-1])[0]

    even = trained(1, [10, 3.0], [20, 3.0])
    linear = make_run(training={"schedule": "linear", "warmup_steps": 0})
    linear.train(linear.assignment(epoch=2))
    expected = contents(linear, linear.published(2)[-1])[0]
    assert even.keys() == expected.keys()
    assert all(torch.equal(even[name], expected[name]) for name in even)

    others = trained(3, [10, 9.0], [20, 3.0])
    assert not torch.equal(others[WEIGHT], even[WEIGHT])


def test_train_whose_schedule_lacks_its_curve_says_so(make_run):
    training = {"schedule": "refined", "refined_from": "runs/earlier", "warmup_steps": 0}
    run = make_run(training=training)
    with pytest.raises(BlobMissing, match=r"schedules/expert-0\.json"):
        run.train(run.assignment())


def test_train_from_a_checkpoint_of_other_settings_refuses(make_run):
    run = make_run()
    run.train(run.assignment(), After(6))
    other = make_run(training={"learning_rate": 1e-3})
    with pytest.raises(CheckpointMismatch, match="other settings"):
        other.train(other.assignment(epoch=2, checkpoint=run.published()[-1]))


def test_train_leaves_a_grid_in_the_last_checkpoint_alone(run):
    run.train(run.assignment())
    folders = [download(run.store, ref, run.folder / "cache") for ref in run.published()]
    assert ["grid.png" in folder.files for folder in folders] == [False, False, False, True]


def test_train_measures_the_loss_held_out_when_it_is_due_and_at_the_end(make_run):
    run = make_run(training={"held_out": 8, "held_out_every_steps": 7, "checkpoint_every_steps": 9})
    run.train(run.assignment())
    _, curve, _ = contents(run, run.published()[-1])
    measured = {step: loss for step, _, _, loss, _ in curve if loss is not None}
    assert list(measured) == [7, 14, 20]
    assert [step for step, *_ in curve] == [4, 7, 8, 12, 14, 16, 20]
    told = {m.step: m.vitals.held_out for m in run.said() if isinstance(m, Progress)}
    assert told == {4: None, 8: measured[7], 12: measured[7], 16: measured[14], **measured}

    task = expert_task(run.config, run.assignment().spec, run.partition)
    samples = ShardReader(
        run.store, run.partition, task.clusters, NodeCache(run.folder / "c"), 0, held_out=8
    )
    network = task.build()
    files = download(run.store, run.published()[-1], run.folder / "cache").files
    network.load_state_dict(load_file(files["ema.safetensors"]))
    again = Examination(task, samples.held_out(), torch.device("cpu"))(network)
    assert again.loss == measured[20]  # of the averaged weights


def test_train_draws_its_curves_for_tensorboard(run):
    run.train(run.assignment())
    events = EventAccumulator(str(run.folder / "run" / "local" / "tensorboard" / "expert-0"))
    events.Reload()
    drawn = [(event.step, event.value) for event in events.Scalars("loss")]
    assert drawn == [(m.step, pytest.approx(m.loss)) for m in run.said() if isinstance(m, Progress)]
    assert [event.step for event in events.Images("samples")] == [20]
    assert {"grad_norm", "samples_per_s", "tflops_per_s", "memory_bytes", "wait_share"} <= set(
        events.Tags()["scalars"]
    )


def test_train_leaves_nothing_in_its_work_folder_but_what_it_said(run):
    run.train(run.assignment())
    assert [path.name for path in (run.folder / "work-1").iterdir()] == ["events.jsonl"]


def test_train_that_diverges_says_so_and_keeps_no_weight_of_it(make_run):
    run = make_run(training={"learning_rate": 1e30, "log_every_steps": 8})
    with pytest.raises(
        ConfigError,
        match=r"expert-0 diverged: at step [23] the .* is (nan|inf); "
        r"lower training\.learning_rate = 1e\+30 .* run\.uri of its own",
    ):
        run.train(run.assignment())
    assert run.said() == []  # neither a checkpoint nor a point of the curve


@pytest.fixture
def odd_sample(monkeypatch):
    """Of the samples of a step, counted from 1, the first is no number whenever it is met."""
    whole, odd = ExpertTask.examples, set()

    def poison(step):
        def examples(task, batch, now, place):
            made = whole(task, batch, now, place)
            if now == step and not odd:
                odd.add(int(batch.indices[0]))
            rows = [row for row, index in enumerate(batch.indices.tolist()) if index in odd]
            made.x_t[rows] = torch.nan
            return made

        monkeypatch.setattr(ExpertTask, "examples", examples)

    return poison


def overcame(run, epoch):
    return [message.reason for message in run.said(epoch) if isinstance(message, Overcame)]


def test_train_that_skips_a_step_goes_on_and_interrupted_equals_uninterrupted(make_run, odd_sample):
    run = make_run(training={"on_spike": "skip"})
    odd_sample(9)
    assert run.train(run.assignment(epoch=1))
    (told,) = overcame(run, 1)
    assert told == "passed over: at step 9 the loss is nan and the gradient nan"
    assert all(math.isfinite(point[1]) for point in contents(run, run.published(1)[-1])[1])

    assert not run.train(run.assignment(epoch=2), After(11))
    left = run.published(2)[-1]
    assert run.train(run.assignment(epoch=3, checkpoint=left))
    assert_same(run, run.published(1)[-1], run.published(3)[-1])


def test_train_that_leaps_goes_back_and_never_meets_those_samples_again(make_run, odd_sample):
    run = make_run(training={"on_spike": "rollback"})
    odd_sample(9)
    with pytest.raises(Leapt, match="at step 9 the loss is nan") as leapt:
        run.train(run.assignment(epoch=1))
    (left,) = run.published(1)
    assert (left.step, leapt.value.passed) == (6, 6 * 12)
    again = run.assignment(epoch=2, checkpoint=left)
    assert run.train(dataclasses.replace(again, passed=leapt.value.passed))
    *_, progress = contents(run, run.published(2)[-1])
    assert (progress["step"], progress["cursor"]) == (20, 6 * (12 + 14))
