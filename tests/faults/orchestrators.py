"""What befalls the orchestrator."""

from __future__ import annotations

import time
from collections.abc import Iterator

from tests.faults.points import COMMIT, INSERT, MANIFEST, SAVE, Point, served
from tests.faults.scene import LONG, Scene, Story, freeze, struck, thaw

GRANT, COMMITTED = "lease-granted", "checkpoint-committed"


def is_no_matter(scene: Scene) -> None:
    """Every job took one lease, and nobody was declared lost."""
    assert scene.epochs() == [1, 1]
    assert not scene.reasons("island-lost")
    assert not scene.reasons("attempt-failed")


def killed(*points: Point) -> Story:
    def is_started_again(scene: Scene) -> None:
        """Each time no island was any the worse for it."""
        assert "starting it again" in scene.told
        served = [
            why for why in scene.reasons("orchestrator-serves") if "orchestrator serves" in why
        ]
        assert len(served) == 1 + len(points)
        is_no_matter(scene)

    return struck(*points, shows=is_started_again)


killed_while_it_is_asked = killed(
    Point("orchestrator", SAVE, "after", about=GRANT),
    Point("orchestrator", served("Heartbeat"), nth=3),
)
killed_in_an_upload_and_before_its_commit = killed(
    Point("trainer", MANIFEST, victim="orchestrator"),
    Point("agent", COMMIT, victim="orchestrator"),
)
killed_about_a_transaction = killed(
    Point("orchestrator", SAVE, nth=3, about=COMMITTED),
    Point("orchestrator", INSERT, nth=3, about=COMMITTED),
    Point("orchestrator", SAVE, "after", nth=3, about=COMMITTED),
)


def frozen_past_all_leases(scene: Scene) -> Iterator[None]:
    scene.run.steps, scene.run.overrides = LONG, ["island.lease_s=2"]
    yield
    scene.at_work("expert-0", "expert-1")
    orchestrator = scene.run.orchestrator()
    freeze(orchestrator)
    time.sleep(5)
    thaw(orchestrator)
    yield
    assert any("was away for" in reason for reason in scene.reasons("orchestrator-serves"))
    is_no_matter(scene)
    assert scene.run.orchestrator() == orchestrator
