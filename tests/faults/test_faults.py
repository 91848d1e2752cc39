"""Every fault by its name: a run that meets one ends as if nothing had happened."""

from __future__ import annotations

from contextlib import closing

import pytest

from tests.faults import agents, clocks, disks, networks, orchestrators, trainers
from tests.faults.checks import assert_nothing_was_lost

pytestmark = pytest.mark.timeout(600)

FAULTS = {
    "trainer SIGKILL": trainers.killed,
    "trainer SIGSTOP, then SIGCONT": trainers.frozen_for_a_while,
    "trainer SIGSTOP for good": trainers.frozen_for_good,
    "trainer segfault": trainers.segfault,
    "trainer holds the GIL": trainers.holds_the_gil,
    "trainer SIGKILL halfway through a blob": trainers.killed_halfway_through_a_blob,
    "agent SIGKILL during acquire, then during heartbeat": agents.killed_while_it_asks,
    "agent SIGKILL during upload, then halfway through a blob": agents.killed_in_uploads,
    "agent SIGKILL between upload and commit, then during commit": agents.killed_about_a_commit,
    "agent SIGSTOP past its lease, then SIGCONT": agents.frozen_past_its_lease,
    "orchestrator SIGKILL during acquire, then during heartbeat": (
        orchestrators.killed_while_it_is_asked
    ),
    "orchestrator SIGKILL during upload, then between upload and commit": (
        orchestrators.killed_in_an_upload_and_before_its_commit
    ),
    "orchestrator SIGKILL before, in and after a commit's transaction": (
        orchestrators.killed_about_a_transaction
    ),
    "orchestrator SIGSTOP past all leases, then SIGCONT": orchestrators.frozen_past_all_leases,
    "connections cut every second": networks.cut_every_second,
    "200 ms of delay": networks.delayed,
    "calls duplicated": networks.duplicated,
    "calls reordered": networks.reordered,
    "calls replayed": networks.replayed,
    "disk of the store full": disks.store_full,
    "disk of the database full": disks.database_full,
    "disk of everything full": disks.everything_full,
    "torn files under the next epoch": disks.torn_files_under_the_next_epoch,
    "clocks jump by hours": clocks.jump,
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_run_that_meets_a_fault_ends_as_if_nothing_had_happened(fault, scene, undisturbed):
    run = scene.run
    with closing(fault(scene)) as story:
        next(story)
        launcher = run.launch()
        next(story)
        scene.told = run.finish(launcher)
        assert launcher.returncode == 0, scene.told
        assert_nothing_was_lost(run, undisturbed(run), scene.folder / "cache")
        next(story, None)
