"""How long an agent waits for a sign of life."""

from __future__ import annotations

from pathlib import Path

from atoll.beats import Beat, Collective, Phase, read_beats, write_beat
from cluster.watch import Watch
from tests.fakes import ManualClock

INSIDE = (Collective("gloo:all_reduce", "gloo 0", 3),)


def beat(work_dir: Path, rank: int, step: int = 1, inside: tuple[Collective, ...] = ()) -> None:
    entered = {each.group: each.number for each in inside}
    write_beat(work_dir, Beat(rank, 2, step, Phase.STEP, entered, inside, "here.py:1"))


def looks(watch: Watch, clock: ManualClock, seconds: float) -> set[str]:
    """What an agent hears that looks all the time."""
    heard = set()
    for _ in range(int(seconds * 2)):
        clock.now += 0.5
        heard.add(watch.look())
    return heard


def test_beat_round_trips(tmp_path: Path) -> None:
    beat(tmp_path, 1, inside=INSIDE)
    ((read, _),) = read_beats(tmp_path)
    assert read == Beat(1, 2, 1, Phase.STEP, {"gloo 0": 3}, INSIDE, "here.py:1")


def test_watch_of_a_trainer_that_has_not_begun_says_nothing(tmp_path: Path) -> None:
    clock = ManualClock()
    assert looks(Watch(tmp_path, 10.0, clock), clock, 100) == {""}


def test_watch_names_the_rank_whose_beats_end(tmp_path: Path) -> None:
    clock = ManualClock()
    watch = Watch(tmp_path, 10.0, clock)
    beat(tmp_path, 1)
    for _ in range(20):
        beat(tmp_path, 0)
        assert looks(watch, clock, 1) <= {"", "rank 1 of 2 gave no sign of life for 10 s"}
    clock.now += 1
    assert watch.look() == "rank 1 of 2 gave no sign of life for 10 s"


def test_watch_of_an_agent_that_was_frozen_itself_waits_on(tmp_path: Path) -> None:
    clock = ManualClock()
    watch = Watch(tmp_path, 10.0, clock)
    beat(tmp_path, 0)
    watch.look()
    clock.now += 1000
    assert watch.look() == ""
    beat(tmp_path, 0)
    assert looks(watch, clock, 5) == {""}


def test_watch_of_ranks_that_step_says_nothing_and_then_names_the_late_one(tmp_path: Path) -> None:
    clock = ManualClock()
    watch = Watch(tmp_path, 10.0, clock)
    for step in range(30):
        beat(tmp_path, 0, step, INSIDE)
        beat(tmp_path, 1, step)
        assert looks(watch, clock, 1) == {""}
    for _ in range(12):
        beat(tmp_path, 0, 30, INSIDE)
        beat(tmp_path, 1, 30)
        said = looks(watch, clock, 1)
    (words,) = said - {""}
    assert words.startswith("rank 1 of 2 did not come to gloo:all_reduce for 10 s after step 30")


def test_beat_on_a_full_disk_still_shows_life(tmp_path: Path, monkeypatch) -> None:
    beat(tmp_path, 0)
    ((_, before),) = read_beats(tmp_path)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    beat(tmp_path, 0)
    ((_, after),) = read_beats(tmp_path)
    assert after > before
