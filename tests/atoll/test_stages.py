"""Stages are done once, and never silently under other settings."""

from pathlib import Path

import pytest

from atoll import stages
from atoll.blobs import open_store
from atoll.errors import BadInput, StageMissing


def test_finished_stage_is_found_again(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    inputs = {"partition": {"num_experts": 4, "features": "pca"}, "seed": 0}
    assert stages.finished(store, "partition", inputs) is None
    stages.finish(store, "partition", inputs, {"digest": "d"})
    assert stages.finished(store, "partition", inputs) == {"digest": "d"}
    assert stages.require(store, "partition", "train") == {"digest": "d"}


def test_finished_under_other_inputs_names_the_key(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    stages.finish(store, "partition", {"partition": {"num_experts": 4}}, {})
    with pytest.raises(BadInput, match=r"partition\.num_experts = 4.* now says 8"):
        stages.finished(store, "partition", {"partition": {"num_experts": 8}})


def test_some_settings_of_a_stage_are_refused_where_it_knows_others(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    stages.finish(store, "train", {"captions": {"dims": 64, "tokens": 8}, "run": {"seed": 1}}, {})
    stages.refuse_other(store, "train", {"captions": {"dims": 64, "more": 1}, "expert": {"w": 2}})
    stages.refuse_other(store, "route", {"captions": {"dims": 65}})
    with pytest.raises(BadInput, match=r"made with captions\.dims = 64, .* now says 65; give new"):
        stages.refuse_other(store, "train", {"captions": {"dims": 65}})


def test_finished_under_other_inputs_names_a_key_of_both_before_one_of_either(
    tmp_path: Path,
) -> None:
    store = open_store(str(tmp_path))
    stages.finish(store, "train", {"a": {"of": 1}, "kind": "x", "more": 1}, {})
    with pytest.raises(BadInput, match=r"made with kind = 'x', and .* now says 'y'"):
        stages.finished(store, "train", {"b": 2, "kind": "y", "more": 2})
    with pytest.raises(BadInput, match=r"made with a\.of = 1, and .* now says None"):
        stages.finished(store, "train", {"b": 2, "kind": "x", "more": 1})


def test_require_of_missing_stage_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(StageMissing, match="run `atoll partition`"):
        stages.require(open_store(str(tmp_path)), "partition", "train")
