"""Real training processes, held on a leash as an agent holds them."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import psutil
import pytest
from safetensors.torch import load_file

from atoll.checkpoints import download
from atoll.config_file import save_config
from atoll.node_cache import open_cache
from atoll.node_place import NodePlace, read_meeting, write_meeting, write_place
from atoll.relay import (
    DRAIN,
    Broke,
    Damaged,
    Ended,
    Listener,
    Progress,
    Published,
    write_assignment,
)
from atoll.sections import RunSection
from experts.expert import expert_task
from experts.leash import ORPHANED
from partition.reader import ShardReader
from tests.warm import Warm

HANGS_S = 90
ALONE = NodePlace()
TRAINER = """
import sys
from experts.expert import expert_task
from experts.process import run_trainer

sys.exit(run_trainer(expert_task))
"""
BROKEN = """
import sys
from experts.process import run_trainer

code = run_trainer(lambda *_: {}["no such key"])
sys.stderr.write(f"tensorboard was imported: {'tensorboard' in sys.modules}")
sys.exit(code)
"""
ENDLESS = {"steps": 1_000_000, "log_every_steps": 1, "checkpoint_every_steps": 1_000_000}


def torchrun(processes):
    launcher = (sys.executable, "-m", "torch.distributed.run", "--standalone")
    return (*launcher, "--nproc-per-node", str(processes), "-m", "experts.trainer")


class Held:
    """A trainer and the leash it is held by."""

    def __init__(self, process, work_dir):
        self.process, self.work_dir, self.heard = process, work_dir, []
        self._listener = Listener(work_dir)

    def wait_for(self, kind):
        """Listen until it has said something of a kind."""
        deadline = time.monotonic() + HANGS_S
        while not any(isinstance(message, kind) for message in self.heard):
            assert time.monotonic() < deadline, self.heard
            self.heard += self._listener.heard()
            time.sleep(0.01)

    def wait(self):
        """Its exit code, and all that it said."""
        code = self.process.wait(timeout=HANGS_S)
        self.heard += self._listener.heard()
        return code, self.heard


def place_of(run, assignment, node):
    work_dir = run.work_dir(f"work-{assignment.lease.epoch}{node.rank or ''}")
    write_assignment(work_dir, assignment)
    write_place(work_dir, node)
    return work_dir


@contextmanager
def launched(run, assignment, command):
    """By a command line, as an agent starts it."""
    work_dir = place_of(run, assignment, ALONE)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with (
        (run.folder / "log").open("ab") as log,
        subprocess.Popen(
            [*command, "--work-dir", str(work_dir)],
            stdin=subprocess.PIPE,
            stderr=log,
            env=environment,
        ) as process,
    ):
        try:
            yield Held(process, work_dir)
        finally:
            process.stdin.close()  # the end of the leash: whatever still runs leaves


@contextmanager
def started(run, assignment, code=TRAINER, *arguments, node=ALONE, rank=0, num=1):
    """With all imports made, see :mod:`tests.warm`; one of several as torchrun would tell it."""
    work_dir = place_of(run, assignment, node)
    with pytest.MonkeyPatch.context() as told:
        for name, number in (("RANK", rank), ("LOCAL_RANK", rank), ("WORLD_SIZE", num)):
            told.setenv(name, str(number))
        process = Warm(code, [*arguments, "--work-dir", str(work_dir)], run.folder / "log")
    try:
        yield Held(process, work_dir)
    finally:
        process.stdin.close()  # the end of the leash: whatever still runs leaves
        process.wait(timeout=HANGS_S)


@contextmanager
def on_one_node(run, assignment):
    """Two processes; the test of draining has torchrun start such."""
    with (
        started(run, assignment, rank=0, num=2) as first,
        started(run, assignment, rank=1, num=2) as second,
    ):
        yield first
        assert second.process.wait(timeout=HANGS_S) == first.process.wait(timeout=HANGS_S)


@contextmanager
def on_two_nodes(run, assignment):
    """A process on each; the second node is told where the first waits for it."""
    first, second = (NodePlace(rank, 2, "127.0.0.1") for rank in range(2))
    with (
        started(run, assignment, node=first) as leader,
        started(run, assignment, node=second) as follower,
    ):
        deadline = time.monotonic() + HANGS_S
        while (meeting := read_meeting(leader.work_dir)) is None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        connections = psutil.Process(leader.process.pid).net_connections()
        listening = {each.laddr.ip for each in connections if each.status == psutil.CONN_LISTEN}
        assert listening == {"127.0.0.1"}
        write_meeting(follower.work_dir, *meeting)
        yield leader
        assert follower.wait() == (0, [])


def curve(run, ref):
    files = download(run.store, ref, run.folder / "cache").files
    points = json.loads(files["history.json"].read_text())
    return [
        tuple(point[key] for key in ("step", "loss", "grad_norm", "held_out")) for point in points
    ]


def tensors(run, ref):
    files = download(run.store, ref, run.folder / "cache").files
    weights = [path for name, path in files.items() if name.endswith(".safetensors")]
    return {f"{path.name}/{key}": part for path in weights for key, part in load_file(path).items()}


@pytest.mark.parametrize("placed", [on_one_node, on_two_nodes])
def test_two_processes_learn_what_one_does(make_run, placed):
    every_step = {"log_every_steps": 1, "held_out": 8, "held_out_every_steps": 1}
    run = make_run(training={"steps": 6, "batch_size": 14, "accumulation": 2, **every_step})
    run.train(run.assignment(epoch=1))
    with placed(run, run.assignment(epoch=2)) as trainer:
        code, heard = trainer.wait()
    assert code == 0
    assert heard[-1] == Ended(finished=True)
    (ref,) = [message.checkpoint for message in heard if isinstance(message, Published)]
    for one, both in zip(curve(run, run.published(1)[-1]), curve(run, ref), strict=True):
        assert both == pytest.approx(one, rel=1e-5, abs=1e-6)
    alone, shared = tensors(run, run.published(1)[-1]), tensors(run, ref)
    assert alone.keys() == shared.keys()
    for key, expected in alone.items():  # weights, moments, averages
        away = (shared[key].double() - expected.double()).abs().max()
        assert away <= 1e-4 * expected.abs().max(), key


def test_island_fetches_its_cluster_once_and_no_other(make_run, bucket, s3, monkeypatch):
    near = make_run(training={"steps": 2})
    monkeypatch.chdir(near.folder)
    far = dataclasses.replace(
        near, config=near.config.model_copy(update={"run": RunSection(uri=f"{bucket}/run")})
    )
    own = {shard.key for shard in near.partition.shard_sets[1].shards}
    for key in near.store.list(""):
        if key in own or not key.startswith("partition/shards"):  # the other cluster is not there
            far.store.publish(key, near.store.get_bytes(key))
    save_config(far.store, far.config)

    assignment = far.assignment(number=1)
    task = expert_task(far.config, assignment.spec, far.partition)

    s3.asked.clear()
    cache = open_cache(far.config.cache, assignment.spec.run_uri)
    ShardReader(far.store, far.partition, task.clusters, cache, seed=0).batch(0, 2000)
    read = [line.rstrip("?").partition("/run/")[2] for line in s3.asked if line.startswith("GET")]
    assert sorted(key for key in read if "partition/" in key) == sorted(own)

    s3.asked.clear()
    with started(far, assignment) as trainer:
        assert trainer.wait()[1][-1] == Ended(finished=True)
    assert not [line for line in s3.asked if "/partition/" in line]


def test_two_processes_asked_to_drain_leave_after_the_same_step(make_run):
    run = make_run(training=ENDLESS)
    with launched(run, run.assignment(), torchrun(2)) as trainer:
        trainer.wait_for(Progress)
        trainer.process.stdin.write(DRAIN.encode())
        trainer.process.stdin.flush()
        code, heard = trainer.wait()
    assert code == 0
    assert heard[-1] == Ended(finished=False)
    assert isinstance(heard[-2], Published)


@pytest.mark.parametrize("order", ["line", "signal"])
def test_trainer_asked_to_drain_leaves_a_checkpoint_to_go_on_from(make_run, order):
    run = make_run(training=ENDLESS)
    with started(run, run.assignment()) as trainer:
        trainer.wait_for(Progress)
        trainer.process.send_signal(signal.SIGINT)  # a terminal's Ctrl-C is the agent's matter
        if order == "line":
            trainer.process.stdin.write(DRAIN.encode())
            trainer.process.stdin.flush()
        else:
            trainer.process.terminate()
        code, heard = trainer.wait()
    assert code == 0
    *_, progress, published, ended = heard
    assert ended == Ended(finished=False)
    assert published.checkpoint.step == progress.step
    assert download(run.store, published.checkpoint, run.folder / "cache").files


def test_trainer_whose_agent_is_gone_exits_at_once(make_run):
    run = make_run(training=ENDLESS)
    with started(run, run.assignment()) as trainer:
        trainer.wait_for(Progress)
        trainer.process.stdin.close()
        code, heard = trainer.wait()
    assert code == ORPHANED
    assert {type(message) for message in heard} == {Progress}


def test_trainer_under_a_replaced_configuration_refuses(make_run):
    begun = make_run().assignment()
    run = make_run(training={"learning_rate": 0.1})
    with started(run, begun) as trainer:
        code, heard = trainer.wait()
    assert code == 2
    (last,) = heard
    assert "begun with other settings" in last.reason


def test_trainer_with_a_damaged_checkpoint_says_which(run):
    run.train(run.assignment(), lambda: True)
    ref = run.published()[-1]
    path = run.folder / "run" / ref.key / "state" / "model-00001-of-00001.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with started(run, run.assignment(epoch=2, checkpoint=ref)) as trainer:
        code, heard = trainer.wait()
    assert code == 1
    (last,) = heard
    assert isinstance(last, Damaged)
    assert ref.key in last.reason
    assert "Traceback" not in (run.folder / "log").read_text()


def test_trainer_with_a_fault_of_its_own_says_so_and_logs_the_traceback(run):
    with started(run, run.assignment(), BROKEN) as trainer:
        code, heard = trainer.wait()
    assert code == 1
    assert heard == [Broke("KeyError: 'no such key'")]
    log = (run.folder / "log").read_text()
    assert "Traceback" in log
    assert log.endswith("tensorboard was imported: False")  # takes a second, and nothing to show


# From some moment on no file may grow far: to a process the same as a disk that is full.
FULL_DISK = """
import resource, sys
from atoll import checkpoints
from experts.expert import expert_task
from experts.process import run_trainer

def fill():
    resource.setrlimit(resource.RLIMIT_FSIZE, (32 << 10, 32 << 10))

def upload(*args, whole=checkpoints.upload, **names):
    fill()
    return whole(*args, **names)

if sys.argv.pop(1) == "work folder":
    fill()
checkpoints.upload = upload
sys.exit(run_trainer(expert_task))
"""


@pytest.mark.parametrize("full", ["run", "work folder"])
def test_trainer_on_a_full_disk_says_so_and_publishes_nothing(run, full):
    assignment = run.assignment()
    with started(run, assignment, FULL_DISK, full) as trainer:
        code, heard = trainer.wait()
    assert code == 1
    assert isinstance(heard[-1], Broke)
    assert "no space or quota left" in heard[-1].reason
    assert ("could not be written" in heard[-1].reason) == (full == "run")
    assert not [message for message in heard if isinstance(message, Published)]
    assert not [key for key in run.store.list("checkpoints") if key.endswith("manifest.json")]
    left = run.work_dir(f"work-{assignment.lease.epoch}").iterdir()
    assert not [path for path in left if path.name.startswith("staging")]


def test_two_processes_that_diverge_end_with_one_sentence_that_trying_again_is_in_vain(make_run):
    run = make_run(training={**ENDLESS, "learning_rate": 1e30})
    with on_one_node(run, run.assignment()) as trainer:
        code, _ = trainer.wait()
    assert code != 0
    heard = run.said()  # by both
    ((reason, final),) = {(m.reason, m.final) for m in heard if isinstance(m, Broke)}
    assert final
    assert "lower training.learning_rate = 1e+30" in reason
    assert not [message for message in heard if isinstance(message, Published)]
