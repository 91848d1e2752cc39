import argparse
import os
import pickle

import pytest
import torch

from atoll.__main__ import main
from atoll.errors import BadInput
from experts.converted import Converted
from experts.dialect import SIT
from experts.exchange.field import expert_of
from experts.exchange.importing import imported
from experts.exchange.model import read_model
from tests.experts.exchange import reference


@pytest.fixture
def saved(tmp_path):
    """Saves what a checkpoint of facebook's program may hold; returns its file."""

    def save(tree):
        torch.save(tree, tmp_path / "dit.pt")
        return tmp_path / "dit.pt"

    return save


def test_dit_imported_gives_the_first_half_of_what_it_gave(saved):
    weights, (x, t, labels) = reference.random_weights(), reference.examples()
    model = imported(saved(weights), "ddpm", reference.HEADS, None)
    field = expert_of(model).field
    assert isinstance(field, Converted)
    expected = reference.answer(weights, x, 1000 * t, labels)[:, : reference.CHANNELS]
    assert torch.allclose(field.network(x, t, labels).double(), expected, atol=1e-4, rtol=1e-5)
    assert model.about["shape"] == [4, 8, 8]
    assert model.about["class_names"] == ["0", "1", "2"]


def test_sit_imported_gives_minus_what_it_gave_at_the_time_from_the_other_end(saved):
    weights, (x, t, labels) = reference.random_weights(), reference.examples()
    model = imported(saved(weights), "sit", reference.HEADS, None)
    expected = -reference.answer(weights, x, 1 - t, labels)[:, : reference.CHANNELS]
    found = expert_of(model).field(x, t, labels)
    assert torch.allclose(found.double(), expected, atol=1e-4, rtol=1e-5)


def test_network_without_a_learned_sigma_is_imported_whole(saved):
    weights, (x, t, labels) = reference.random_weights(reference.CHANNELS), reference.examples()
    found = expert_of(imported(saved(weights), "flow", reference.HEADS, None)).field(x, t, labels)
    expected = reference.answer(weights, x, 1000 * t, labels)
    assert torch.allclose(found.double(), expected, atol=1e-4, rtol=1e-5)


def test_training_checkpoint_with_flags_gives_its_averaged_weights(saved):
    weights = reference.random_weights()
    model = {f"module.{name}": 0 * part for name, part in weights.items()}
    flags = argparse.Namespace(lr=1e-4)
    file = saved({"model": model, "ema": weights, "opt": {"state": {}}, "args": flags})
    found = imported(file, "sit", reference.HEADS, None).weights
    assert torch.equal(found["blocks.1.mlp.fc1.bias"], weights["blocks.1.mlp.fc1.bias"])


class Trap:
    """Runs a command where it is unpickled without care."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("protocol", ["torch", "pickle"])
def test_file_that_would_run_something_is_refused_and_runs_nothing(tmp_path, protocol):
    trap, file = tmp_path / "sprung", tmp_path / "dit.pt"
    tree = {**reference.random_weights(), "more": Trap(trap)}
    if protocol == "torch":
        torch.save(tree, file)
    else:
        file.write_bytes(pickle.dumps(Trap(trap)))
    with pytest.raises(BadInput, match="more than tensors"):
        imported(file, "ddpm", None, None)
    assert not trap.exists()


def without(name):
    return {key: part for key, part in reference.random_weights().items() if key != name}


@pytest.mark.parametrize(
    ("tree", "objective", "heads", "names"),
    [
        (reference.random_weights(), None, 2, "--objective"),
        (reference.random_weights(), "sit", None, "give --heads"),
        (reference.random_weights(), "sit", 3, "give --heads"),
        (reference.random_weights(12), "sit", 2, "48 numbers for a patch"),
        (without("pos_embed"), "sit", 2, "has no 'pos_embed'"),
        (without("blocks.1.attn.proj.bias"), "sit", 2, "blocks.1.attn.proj.bias"),
        ([1, 2], "sit", 2, "no state dict"),
    ],
)
def test_what_cannot_be_imported_is_refused_by_name(saved, tree, objective, heads, names):
    with pytest.raises(BadInput, match=names):
        imported(saved(tree), objective, heads, None)


def test_import_command_writes_a_folder_that_tells_all_of_itself(saved, tmp_path, capsys):
    file, out = saved(reference.random_weights()), tmp_path / "sit"
    with pytest.raises(SystemExit) as end:
        main(["import", str(file), "-o", str(out), "--objective", "sit", "--heads", "2"])
    assert not end.value.code
    model = read_model(out)
    assert model.about["dialect"] == SIT.told
    card = (out / "README.md").read_text()
    for part in (
        "DiT of width 16, depth 2",
        "dit.pt",
        "sit",
        "one of 3 classes, 0 to 2; 3 for none",
        "chooses one",
    ):
        assert part in card
    with pytest.raises(SystemExit) as end:
        main(["import", str(file), "-o", str(out), "--objective", "sit", "--heads", "2"])
    assert end.value.code == 2
    assert "is not empty" in capsys.readouterr().err
