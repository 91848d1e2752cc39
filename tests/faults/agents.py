"""What befalls an agent."""

from __future__ import annotations

from collections.abc import Iterator

from tests.faults.points import COMMIT, COPY, MANIFEST, Point, served
from tests.faults.scene import LONG, Scene, Story, freeze, struck, thaw


def killed(*points: Point) -> Story:
    def are_replaced(scene: Scene) -> None:
        """Each time one job took another lease; the other island went on."""
        gone = [why for why in scene.reasons("island-gone") if "killed by signal 9" in why]
        assert len(gone) == len(points)
        assert sum(scene.epochs()) == 2 + len(points)
        assert not scene.reasons("attempt-failed")

    return struck(*points, shows=are_replaced)


killed_while_it_asks = killed(
    Point("orchestrator", served("Acquire"), victim="agent"),
    Point("orchestrator", served("Heartbeat"), nth=3, victim="agent"),
)
killed_in_uploads = killed(
    Point("trainer", MANIFEST, victim="agent"),
    Point("trainer", COPY, "halfway", victim="agent"),
)
killed_about_a_commit = killed(
    Point("agent", COMMIT), Point("orchestrator", served("Commit"), victim="agent")
)


def frozen_past_its_lease(scene: Scene) -> Iterator[None]:
    run = scene.run
    run.steps, run.overrides = LONG, ["island.count=1", "island.lease_s=2"]
    yield
    scene.at_work("expert-0")
    island = run.jobs()["expert-0"].island
    frozen = run.agent(island)
    freeze(frozen)
    scene.until(lambda: run.jobs()["expert-0"].epoch == 2 and run.committed("expert-0") >= 50)
    thaw(frozen)
    scene.until(lambda: not frozen.is_running())
    yield
    log = run.agent_log(island)
    assert f"the lease of {island} on expert-0 (epoch 1) has passed to island-2" in log
    assert "stopping, nothing of that epoch is published any more" in log
    assert f"{island} is gone: exited with code 4" in scene.reasons("island-gone")
    assert scene.reasons("island-lost") == [f"{island} was silent for 2 s"]
