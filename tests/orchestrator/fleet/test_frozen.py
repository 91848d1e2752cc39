from __future__ import annotations

import dataclasses

import pytest

from atoll.types import JobState
from orchestrator.fleet import frozen
from orchestrator.fleet.state import Island, Job


def test_replaced_value_equals_that_of_the_standard_library(spec):
    job = Job(spec(), epoch=3, reason="granted")
    changes = {"state": JobState.LEASED, "epoch": 4, "island": "island-1"}
    copy = frozen.replace(job, **changes)
    assert copy == dataclasses.replace(job, **changes)
    assert (job.epoch, job.state) == (3, JobState.WAITING)
    with pytest.raises(dataclasses.FrozenInstanceError):
        copy.epoch = 5


def test_replaced_value_without_such_a_field_names_it():
    with pytest.raises(TypeError, match="unexpected keyword argument 'age'"):
        frozen.replace(Island("island-1", 0.0), name="island-2", age=2)
