"""What befalls a trainer."""

from __future__ import annotations

import time
from collections.abc import Iterator

from tests.faults.points import COPY, STEP, Point
from tests.faults.scene import LONG, Scene, freeze, struck, thaw


def killed(scene: Scene) -> Iterator[None]:
    scene.run.steps = LONG
    yield
    scene.at_work("expert-0")
    scene.run.trainer_of("expert-0").kill()
    yield
    restarted_after(scene, "killed by signal 9 (SIGKILL)")


def frozen_for_a_while(scene: Scene) -> Iterator[None]:
    scene.run.steps, scene.run.overrides = LONG, ["island.lease_s=2"]
    yield
    scene.at_work("expert-0")
    trainer = scene.run.trainer_of("expert-0")
    freeze(trainer)
    time.sleep(3)  # its agent keeps the lease: a trainer may be silent for longer
    thaw(trainer)
    yield
    assert scene.epochs() == [1, 1]


def frozen_for_good(scene: Scene) -> Iterator[None]:
    scene.run.steps, scene.run.overrides = LONG, ["island.stuck_s=6"]
    yield
    scene.at_work("expert-0")
    frozen = scene.run.trainer_of("expert-0")
    freeze(frozen)
    yield
    stuck(scene)
    assert not frozen.is_running()


def holds_the_gil(scene: Scene) -> Iterator[None]:
    scene.run.overrides = ["island.stuck_s=6"]
    return (
        yield from struck(Point("trainer", STEP, nth=25, blow="hold the GIL"), shows=stuck)(scene)
    )


segfault = struck(
    Point("trainer", STEP, nth=25, blow="SIGSEGV"),
    shows=lambda scene: restarted_after(scene, "killed by signal 11 (SIGSEGV)"),
)
killed_halfway_through_a_blob = struck(
    Point("trainer", COPY, "halfway"),
    shows=lambda scene: restarted_after(scene, "killed by signal 9 (SIGKILL)"),
)


def restarted_after(scene: Scene, cause: str) -> None:
    """Its island mended it by itself, and the orchestrator only heard of it."""
    (restarted,) = scene.reasons("trainer-restarted")
    assert restarted.startswith(cause)
    assert not scene.reasons("attempt-failed")
    assert scene.epochs() == [1, 1]


def failed_by(scene: Scene, cause: str) -> None:
    """One try failed, and the other job went on."""
    (failed,) = scene.reasons("attempt-failed")
    assert cause in failed
    assert scene.epochs() == [1, 2]


def stuck(scene: Scene) -> None:
    """It was told apart from an agent that is dead."""
    (warned,) = scene.reasons("trainer-stuck")
    assert "its trainer is killed" in warned
    failed_by(scene, "stood still at step")
    assert not scene.reasons("island-lost")
    # With all done, islands that were dismissed are gone too.
    assert not any("killed by signal" in reason for reason in scene.reasons("island-gone"))
