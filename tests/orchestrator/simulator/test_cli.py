from __future__ import annotations

import json

import pytest

from atoll.__main__ import main

WORK = ["-s", "training.steps=20000", "-s", "training.checkpoint_every_steps=500", "--step-s", "1"]


def answers(capsys, *flags: str):
    main_quietly("simulate", *WORK, "--json", *flags)
    return json.loads(capsys.readouterr().out)


def main_quietly(*arguments: str) -> None:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert not end.value.code


def test_simulate_answers_for_each_number_of_islands_and_both_kinds_of_run(capsys):
    found = answers(capsys, "-n", "2", "-n", "8")
    kinds = [(answer["nodes"], answer["kind"]) for answer in found]
    assert kinds == [(2, "islands"), (2, "in step"), (8, "islands"), (8, "in step")]
    assert all(answer["done"] and answer["progress"] == 1 for answer in found)


def test_simulate_with_the_seed_of_the_configuration_repeats_itself(capsys):
    flags = ("-n", "4", "--lifetime-h", "2")
    first = answers(capsys, *flags)
    assert answers(capsys, *flags) == first
    assert answers(capsys, *flags, "-s", "run.seed=1") != first


def test_simulate_shows_people_what_was_not_done(capsys):
    main_quietly("simulate", *WORK, "-n", "2", "--max-days", "0.1")
    told = capsys.readouterr()
    assert "in step" in told.out
    assert "not done after 0.1 days" in told.err
