"""Exchange with the real network of diffusers, whose weights are random."""

import copy
import json
from dataclasses import asdict, replace

import pytest
import torch
from diffusers import DiTTransformer2DModel

from atoll.errors import BadInput
from atoll.sizes import Sizes
from experts.condition import Conditioning
from experts.dialect import DIFFUSERS, OURS, SIT
from experts.exchange.exporting import write_diffusers
from experts.exchange.field import expert_of
from experts.exchange.importing import imported
from experts.exchange.model import Model
from experts.networks import build_network
from tests.experts.exchange import reference

FILE = "diffusion_pytorch_model.safetensors"
BY_CLASS = Conditioning("class", reference.CLASSES)
SIZES = Sizes(reference.WIDTH, reference.DEPTH, reference.HEADS, reference.PATCH)


def theirs(outputs=4, tied=True):
    """A DiT of diffusers, off its special start; its blocks embed times and classes alike."""
    torch.manual_seed(0)
    network = DiTTransformer2DModel(
        num_attention_heads=reference.HEADS,
        attention_head_dim=reference.WIDTH // reference.HEADS,
        in_channels=reference.CHANNELS,
        out_channels=outputs,
        num_layers=reference.DEPTH,
        sample_size=reference.SIDE,
        patch_size=reference.PATCH,
        num_embeds_ada_norm=reference.CLASSES,
    )
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    if tied:
        first = network.transformer_blocks[0].norm1.emb.state_dict()
        for block in network.transformer_blocks:
            block.norm1.emb.load_state_dict(first)
    return network.eval()


def as_facebook_has_it(network):
    """What the card of an exported expert tells people to do."""
    for block in network.transformer_blocks:
        block.norm1.emb.time_proj.downscale_freq_shift = 0
    return network


def asked(network, x, t, labels):
    with torch.no_grad():
        return network(x, timestep=1000 * t, class_labels=labels).sample


@pytest.mark.parametrize("outputs", [4, 8])
def test_network_of_diffusers_imported_gives_the_same(tmp_path, outputs):
    network, given = theirs(outputs), reference.examples()
    network.save_pretrained(tmp_path / "transformer")
    model = imported(tmp_path, "flow", None, None)  # the folder of a pipeline will do
    assert model.about["dialect"] == DIFFUSERS.told
    found = expert_of(model).field(*given)
    assert torch.allclose(found, asked(network, *given)[:, :4], atol=1e-5)


def test_weights_that_facebook_trained_give_what_they_give_there(tmp_path):
    network, given = theirs(), reference.examples()
    network.save_pretrained(tmp_path)
    ours = expert_of(imported(tmp_path, "flow", None, "facebook")).field(*given)
    converted = as_facebook_has_it(copy.deepcopy(network))
    for block in converted.transformer_blocks:
        block.norm3.eps = OURS.mlp_eps
    assert torch.allclose(ours, asked(converted, *given), atol=1e-5)
    assert not torch.allclose(ours, asked(network, *given), atol=1e-3)  # the trap


def expert(dialect=OURS, conditioning=BY_CLASS, shape=(4, 8, 8), objective="velocity", sizes=SIZES):
    network = build_network(sizes, conditioning, shape, 0, dialect)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    about = {
        "sizes": asdict(sizes),
        "shape": list(shape),
        "conditioning": asdict(conditioning),
        "dialect": dialect.told,
        "objective": objective,
        "class_names": ["a", "b", "c"],
        "made": {"job": "expert-0"},
    }
    return network.eval(), Model(about, network.state_dict())


@pytest.mark.parametrize("dialect", [OURS, DIFFUSERS])
def test_expert_exported_gives_the_same_in_diffusers_and_comes_back_whole(tmp_path, dialect):
    network, model = expert(dialect)
    write_diffusers(tmp_path / "out", model)
    there = DiTTransformer2DModel.from_pretrained(tmp_path / "out").eval()
    card = (tmp_path / "out" / "README.md").read_text()
    assert ("downscale_freq_shift = 0" in card) == (dialect == OURS)
    if dialect == OURS:
        as_facebook_has_it(there)
    given = reference.examples()
    assert torch.allclose(asked(there, *given), network(*given), atol=1e-5)
    again = imported(tmp_path / "out", None, None, None)
    assert again.about == model.about
    assert again.weights.keys() == model.weights.keys()
    assert all(torch.equal(again.weights[name], model.weights[name]) for name in model.weights)


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ({"dialect": SIT}, "as SiT does"),
        ({"conditioning": Conditioning("none")}, "conditioned on none"),
        ({"shape": (4, 8, 4)}, "8 x 4"),
        ({"objective": "epsilon"}, "tells the noise"),
        ({"sizes": replace(SIZES, frames=2)}, "paints videos"),
    ],
)
def test_expert_that_diffusers_cannot_be_is_refused_and_nothing_is_written(tmp_path, given, names):
    _, model = expert(**given)
    with pytest.raises(BadInput, match=names):
        write_diffusers(tmp_path / "out", model)
    assert not (tmp_path / "out").exists()


def test_network_trained_in_diffusers_with_an_embedding_in_each_block_is_refused(tmp_path):
    theirs(tied=False).save_pretrained(tmp_path)
    with pytest.raises(BadInput, match="block 1 embeds times and classes otherwise"):
        imported(tmp_path, "flow", None, None)


@pytest.mark.parametrize(
    ("key", "value", "names"),
    [
        ("_class_name", "UNet2DModel", "holds a UNet2DModel"),
        ("norm_type", "ada_norm_single", "norm_type = 'ada_norm_single'"),
        ("num_layers", 3, "there is no 'transformer_blocks.2"),
        ("patch_size", 4, "patches of 2"),
    ],
)
def test_folder_of_another_network_is_refused_by_what_differs(tmp_path, key, value, names):
    theirs().save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, key: value}))
    with pytest.raises(BadInput, match=names):
        imported(tmp_path, "flow", None, None)


def test_empty_folder_beside_a_network_does_not_hide_it(tmp_path):
    theirs().save_pretrained(tmp_path)
    (tmp_path / "transformer").mkdir()
    assert imported(tmp_path, "flow", None, None).about["dialect"] == DIFFUSERS.told


def test_folder_without_safetensors_is_refused_by_the_files_name(tmp_path):
    theirs().save_pretrained(tmp_path)
    (tmp_path / FILE).rename(tmp_path / "diffusion_pytorch_model.bin")
    with pytest.raises(BadInput, match=FILE):
        imported(tmp_path, "flow", None, None)
