"""The digits on islands laid out in different ways, and anew as their nodes come and go."""

from __future__ import annotations

import json

import pytest
from torch.testing import assert_close

from atoll.types import JobState
from cluster import processes
from cluster.processes import ProcessId
from tests.integration.runs import DigitsRun
from tests.integration.test_digits_run import compared, losses
from tests.integration.test_gangs_of_runs import ISLAND, agent_of

pytestmark = pytest.mark.timeout(900)

TRAINS_S = 300  # a trainer starts within seconds, or within minutes
NETWORK = [
    "partition.num_experts=3",
    "expert.depth=2",
    "training.batch_size=24",
    "training.accumulation=2",
    "evaluation.monolith=false",
]
LAYOUTS = ["{ pipeline = 2 }", "{ sequence = 2 }", "{ shard = 2 }"]
STEPS = 200


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """What one process learns. Read it, change nothing."""
    made = DigitsRun(tmp_path_factory.mktemp("alone") / "digits", steps=STEPS)
    made.overrides = [*NETWORK, "island.count=1"]
    for stage in ("partition", "train"):
        command = made.launch(stage)
        told = made.finish(command)
        assert command.returncode == 0, told
    made.wait_for_its_end()
    yield made
    made.stop()


def test_digits_on_islands_of_every_layout_survive_a_rank_and_learn_what_one_process_does(
    alone, make_digits, until
):
    mixed = make_digits("mixed", steps=STEPS)
    mixed.take_partition(alone)
    mixed.overrides = [
        *NETWORK,
        "island.count=3",
        "island.processes=2",
        "island.lease_s=60",
        f"island.parallel=[{', '.join(LAYOUTS)}]",
    ]
    command = mixed.launch("train")
    jobs = [f"expert-{number}" for number in range(3)]
    unhurt = dict(enumerate(jobs))

    def hurt():
        for number, job in list(unhurt.items()):
            if mixed.committed(job) >= 10:
                mixed.ranks_of(job)[number % 2].kill()
                del unhurt[number]
        return not unhurt

    until(hurt, TRAINS_S)
    told = mixed.finish(command)
    assert command.returncode == 0, told
    restarted = {event.job for event in mixed.events() if event.kind == "trainer-restarted"}
    assert restarted == set(jobs)
    granted = {event.job: event.island for event in mixed.events() if event.kind == "lease-granted"}
    assert sorted(granted.values()) == ["island-1", "island-2", "island-3"]
    for job in jobs:
        assert_close(
            compared(mixed.checkpoint(job)), compared(alone.checkpoint(job)), rtol=0, atol=1e-4
        )
        assert losses(mixed.checkpoint(job)) == pytest.approx(
            losses(alone.checkpoint(job)), abs=1e-4
        )
    mixed.wait_for_its_end()


def node_folder(run, node):
    return run.folder() / "islands" / ISLAND / node.rpartition("-")[0]


def shards(run, node):
    """Among how many processes the trainers of a node shared the state, in the order of time."""
    logs = sorted(node_folder(run, node).glob("expert-*.log"))
    lines = (line for log in logs for line in log.read_text().splitlines())
    return [json.loads(line)["shard"] for line in lines if '"laid out"' in line]


def test_digits_on_an_island_whose_nodes_come_and_go_learn_what_one_process_does(
    alone, make_digits, until
):
    elastic = make_digits("elastic", steps=STEPS)
    elastic.take_partition(alone)
    elastic.overrides = [
        *NETWORK,
        "island.count=1",
        "island.nodes=2",
        "island.min_nodes=1",
        "island.lease_s=6",
        "island.hang_s=300",
        "island.parallel.shard=0",
    ]
    elastic.launch("train")
    until(lambda: any(job.checkpoint for job in elastic.jobs().values()), TRAINS_S)
    (job,) = (name for name, job in elastic.jobs().items() if job.island)
    leader, follower = elastic.nodes()
    lost = agent_of(elastic, follower)
    processes.kill(processes.working_in(node_folder(elastic, follower)))
    at_loss = elastic.committed(job)

    def another():
        record = json.loads((node_folder(elastic, follower) / "node.json").read_text())
        found = record["process"] and ProcessId(**record["process"]).find()
        return found if found != lost else None

    until(another)
    another().suspend()  # a machine that takes its time to start
    until(lambda: elastic.nodes() == (leader,) and elastic.committed(job) > at_loss, TRAINS_S)
    (trainer,) = agent_of(elastic, leader).children()
    trainer.suspend()  # so that it has steps left to make
    another().resume()
    until(lambda: len(elastic.nodes()) == 2)
    trainer.resume()
    until(lambda: elastic.jobs()[job].state is JobState.DONE, TRAINS_S)
    assert shards(elastic, leader) == [2, 1, 2]
    last = elastic.uri / elastic.jobs()[job].checkpoint.key
    assert losses(last) == pytest.approx(losses(alone.checkpoint(job)), rel=1e-5)
    learnt, expected = compared(last), compared(alone.checkpoint(job))
    assert learnt.keys() == expected.keys()
    for name, part in expected.items():
        assert (learnt[name] - part).norm() <= 1e-5 * part.norm(), name
