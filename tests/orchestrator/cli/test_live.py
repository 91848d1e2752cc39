from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from atoll.types import CheckpointRef, JobState, Progress, Vitals
from atoll.views import FleetView, IslandView, JobView
from orchestrator.cli.live import Lines, LiveTable, Pace, rows
from orchestrator.cli.rows import job_row, vitals_in_words


@pytest.fixture
def job(spec) -> JobView:
    progress = Progress(10, 0.5, 64.0)
    return JobView(spec(), JobState.LEASED, 2, "island-1", 0, "granted to island-1", progress, None)


def view_of(*jobs: JobView) -> FleetView:
    return FleetView(jobs, (IslandView("island-1", "working", "expert-0", 0.1),), draining=False)


def test_pace_is_that_of_the_current_lease(job, clock):
    pace = Pace(clock)
    assert pace.seconds_left(job) is None
    clock.now += 7
    assert pace.seconds_left(job) is None  # still starting: that is not its pace
    clock.now += 5
    assert pace.seconds_left(replace(job, progress=Progress(20, 0.5, 64.0))) == 40
    assert pace.seconds_left(replace(job, epoch=3)) is None
    assert pace.seconds_left(replace(job, state=JobState.WAITING)) is None


def test_rows_tell_a_job_that_fetches_its_shards(job, clock):
    fetching = replace(job, progress=Progress(0, float("nan"), 0.0, 1_234_567_890))
    (row,) = rows(view_of(fetching), Pace(clock))
    assert row["state"] == "fetching, 1.2 GB"


def test_rows_tell_of_every_job_and_every_idle_island(job, clock):
    idle = IslandView("island-2", "idle", "", 0.1)
    ref = CheckpointRef("k", "d", 100, 1)
    done = replace(
        job, spec=replace(job.spec, name="expert-1"), state=JobState.DONE, checkpoint=ref
    )
    view = replace(view_of(job, done), islands=(idle, IslandView("island-9", "gone", "", 9.0)))
    first, second, third = rows(view, Pace(clock))
    assert (first["job"], first["state"], first["step"]) == ("expert-0", "training", "10 / 100")
    assert (first["loss"], first["samples/s"], first["leases"]) == (0.5, 64.0, 2)
    assert second["state"] == "done"
    assert (third["island"], third["state"]) == ("island-2", "idle")
    assert first.keys() == second.keys() == third.keys()


def test_rows_have_columns_for_what_some_trainer_knows(job, clock):
    (plain,) = rows(view_of(job), Pace(clock))
    assert {"held out", "MFU"}.isdisjoint(plain)
    progress = Progress(10, 0.5, 64.0, vitals=Vitals(tflops_per_s=400.0, mfu=0.404))
    known = replace(job, spec=replace(job.spec, name="expert-1"), progress=progress)
    first, second = rows(view_of(job, known), Pace(clock))
    assert (first["MFU"], second["MFU"]) == (None, "40.4%")
    assert "held out" not in second


def test_vitals_in_words_leave_out_what_is_not_known(job):
    assert vitals_in_words(job) == ""
    vitals = Vitals(tflops_per_s=1.25, memory_bytes=2 * 10**9, wait_share=0.004, held_out=0.25)
    told = replace(job, progress=Progress(10, 0.5, 64.0, vitals=vitals))
    assert vitals_in_words(told) == (
        "64 samples/s, 1.25 TFLOP/s a device, 2.00 GB, 0.4% of the time waiting for data, "
        "loss 0.25 on samples held out"
    )
    assert vitals_in_words(replace(told, state=JobState.PAUSED)) == ""


def test_row_of_a_window_without_steps_is_json(job):
    vitals = Vitals(tflops_per_s=1.25, memory_bytes=2 * 10**9, grad_norm=math.nan)
    row = job_row(replace(job, progress=Progress(10, math.nan, 64.0, vitals=vitals)))
    assert (row["loss"], row["grad_norm"], row["memory_bytes"]) == (None, None, 2 * 10**9)
    json.dumps(row, allow_nan=False)


def test_lines_tell_what_changed_and_sum_up_now_and_then(job, clock, capsys):
    lines = Lines(clock)
    for _ in range(3):
        lines.show(view_of(job))
    lines.show(view_of(replace(job, state=JobState.WAITING, reason="island-1 was silent")))
    clock.now += 11
    lines.show(view_of(job))
    assert capsys.readouterr().err.splitlines() == [
        "expert-0: leased, granted to island-1",
        "expert-0: waiting, island-1 was silent",
        "expert-0: leased, granted to island-1",
        "expert-0 10/100 loss 0.5",
    ]


def test_lines_say_nothing_while_nobody_works(job, clock, capsys):
    lines = Lines(clock)
    lines.show(view_of(replace(job, state=JobState.WAITING)))
    clock.now += 11
    lines.show(view_of(replace(job, state=JobState.WAITING)))
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_live_table_prints_brackets_as_they_are(job, clock, capsys):
    with LiveTable("runs/[/a]", clock) as table:
        table.show(view_of(replace(job, state=JobState.WAITING, reason="full: [/tmp]")))
    shown = capsys.readouterr().err
    assert "runs/[/a]" in shown
    assert "full: [/tmp]" in shown


def test_live_table_shows_the_jobs_and_tells_what_went_wrong(job, clock, capsys):
    with LiveTable("runs/test", clock) as table:
        table.show(view_of(job))
        table.show(view_of(replace(job, state=JobState.WAITING, reason="island-1 was silent")))
    shown = capsys.readouterr().err
    assert "runs/test" in shown
    assert "10 / 100" in shown
    assert shown.count("expert-0: island-1 was silent") == 1
    assert "granted" not in shown
