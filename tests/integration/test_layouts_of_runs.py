"""The digits on islands that are laid out in different ways, in one run."""

from __future__ import annotations

import pytest
from torch.testing import assert_close

from tests.integration.test_digits_run import compared, losses

pytestmark = pytest.mark.timeout(900)  # a trainer starts within seconds, or within a minute

NETWORK = [
    "partition.num_experts=3",
    "expert.depth=2",
    "training.batch_size=24",
    "training.accumulation=2",
    "evaluation.monolith=false",
]
LAYOUTS = ["{ pipeline = 2 }", "{ sequence = 2 }", "{ shard = 2 }"]


def test_digits_on_islands_of_every_layout_survive_a_rank_and_learn_what_one_process_does(
    make_digits, until
):
    alone = make_digits("alone", steps=400)
    alone.overrides = [*NETWORK, "island.count=1"]
    for stage in ("partition", "train"):
        command = alone.launch(stage)
        told = alone.finish(command)
        assert command.returncode == 0, told
    mixed = make_digits("mixed", steps=400)
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

    until(hurt)
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
    alone.wait_for_its_end()
