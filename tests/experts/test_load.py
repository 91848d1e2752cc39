import pytest
import torch
from safetensors.torch import load_file

from atoll.errors import CheckpointDamaged
from atoll.sizes import MMDITS
from experts.load import load_expert

CPU = torch.device("cpu")


def test_load_expert_gives_the_averaged_network(run):
    run.train(run.assignment())
    loaded = load_expert(run.store, run.published()[-1], run.folder / "cache", CPU)
    saved = load_file(loaded.checkpoint.files["ema.safetensors"])
    state = loaded.model.state_dict()
    assert state.keys() == saved.keys()
    assert all(torch.equal(state[key], saved[key]) for key in saved)
    assert not loaded.model.training
    assert loaded.conditioning.name == loaded.checkpoint.compat["condition"] == "class:10"
    cond = torch.tensor([3, 10])
    assert loaded.model(torch.zeros(2, 1, 8, 8), torch.rand(2), cond).shape == (2, 1, 8, 8)


def test_load_expert_of_another_kind_builds_that_from_what_the_checkpoint_tells(make_run):
    own = dict.fromkeys(("width", "depth", "heads", "patch"), None)
    run = make_run(expert={**own, "preset": "MMDiT-T"}, training={"steps": 1})
    run.train(run.assignment())
    loaded = load_expert(run.store, run.published()[-1], run.folder / "cache", CPU)
    assert loaded.model.sizes == MMDITS["MMDiT-T"]
    field, cond = loaded.model, torch.tensor([3, 10])
    assert field(torch.zeros(2, 1, 8, 8), torch.rand(2), cond).shape == (2, 1, 8, 8)


def test_load_expert_with_damaged_weights_names_the_checkpoint(run):
    run.train(run.assignment())
    ref = run.published()[-1]
    path = run.folder / "run" / ref.key / "ema.safetensors"
    path.write_bytes(path.read_bytes()[:-4] + b"oops")
    with pytest.raises(CheckpointDamaged, match="expert-0"):
        load_expert(run.store, ref, run.folder / "cache", CPU)
