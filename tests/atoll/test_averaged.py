import re

import pytest

from atoll import stages
from atoll.averaged import as_sampled, stage_of
from atoll.blobs import open_store
from atoll.config import Config
from atoll.errors import BadInput, StageMissing
from atoll.types import CheckpointRef

TRAINED = {name: CheckpointRef(name, "d", 30, 1) for name in ("expert-0", "monolith", "router")}


@pytest.fixture
def store(tmp_path):
    return open_store(str(tmp_path))


def config(length=None):
    training, sampling = {"ema_profile": "power"}, {"ema_length": length}
    return Config.model_validate({"training": training, "sampling": sampling})


def made(step=30):
    tree = {"key": "averages/x", "digest": "a", "step": step, "epoch": 1}
    return {"expert-0": tree, "monolith": tree}


@pytest.mark.parametrize("length", [None, 0.05])
def test_checkpoints_of_no_length_or_of_the_first_tracked_are_those_trained(store, length):
    assert as_sampled(store, config(length), TRAINED, "sample") == TRAINED


def test_first_length_that_the_run_has_not_tracked_is_refused(store):
    stages.finish(store, "train", {"training": {"ema_lengths": [0.1, 0.05]}}, {})
    words = r"made with training\.ema_lengths = \[0\.1, 0\.05\], and the configuration now says"
    with pytest.raises(BadInput, match=words):
        as_sampled(store, config(0.05), TRAINED, "sample")


def test_checkpoints_of_a_length_are_the_averages_and_the_router_as_it_is(store):
    stages.finish(store, stage_of(0.13), {}, made())
    averages = CheckpointRef("averages/x", "a", 30, 1)
    expected = {"expert-0": averages, "monolith": averages, "router": TRAINED["router"]}
    assert as_sampled(store, config(0.13), TRAINED, "sample") == expected


@pytest.mark.parametrize("before", [{}, made(step=20)])
def test_averages_that_are_missing_or_of_earlier_steps_name_the_command(store, before):
    stages.finish(store, stage_of(0.13), {}, before)
    words = "no average of that length for expert-0 at step 30; run `atoll average --length 0.13`"
    with pytest.raises(StageMissing, match=re.escape(words)):
        as_sampled(store, config(0.13), TRAINED, "sample")
