import pytest
import torch

from atoll.errors import ConfigError
from atoll.sizes import Sizes
from experts.condition import Conditioning
from experts.dit import build_dit
from experts.embeddings import patchify, sincos_positions, timestep_waves, unpatchify
from tests.experts.stirred import stirred

TINY = Sizes(width=16, depth=2, heads=2, patch=2)
BY_CLASS = Conditioning("class", 3)

# What facebookresearch/DiT's state dict holds, for D = 16, depth 1, patch 2, C = 4, 3 classes.
FACEBOOK_SHAPES = {
    "pos_embed": (1, 16, 16),
    "x_embedder.proj.weight": (16, 4, 2, 2),
    "x_embedder.proj.bias": (16,),
    "t_embedder.mlp.0.weight": (16, 256),
    "t_embedder.mlp.0.bias": (16,),
    "t_embedder.mlp.2.weight": (16, 16),
    "t_embedder.mlp.2.bias": (16,),
    "y_embedder.embedding_table.weight": (4, 16),
    "blocks.0.attn.qkv.weight": (48, 16),
    "blocks.0.attn.qkv.bias": (48,),
    "blocks.0.attn.proj.weight": (16, 16),
    "blocks.0.attn.proj.bias": (16,),
    "blocks.0.mlp.fc1.weight": (64, 16),
    "blocks.0.mlp.fc1.bias": (64,),
    "blocks.0.mlp.fc2.weight": (16, 64),
    "blocks.0.mlp.fc2.bias": (16,),
    "blocks.0.adaLN_modulation.1.weight": (96, 16),
    "blocks.0.adaLN_modulation.1.bias": (96,),
    "final_layer.linear.weight": (16, 16),
    "final_layer.linear.bias": (16,),
    "final_layer.adaLN_modulation.1.weight": (32, 16),
    "final_layer.adaLN_modulation.1.bias": (32,),
}


def inputs(num=5, shape=(1, 8, 8)):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(num, *shape, generator=generator), torch.rand(num, generator=generator)


def test_dit_state_dict_has_the_names_and_shapes_of_facebooks():
    network = build_dit(Sizes(16, 1, 2, 2), BY_CLASS, (4, 8, 8), seed=0)
    assert {key: tuple(value.shape) for key, value in network.state_dict().items()} == (
        FACEBOOK_SHAPES
    )


def test_dit_when_fresh_gives_zero_velocity():
    x, t = inputs()
    network = build_dit(TINY, BY_CLASS, (1, 8, 8), seed=0)
    assert torch.equal(network(x, t, torch.zeros(5, dtype=torch.int64)), torch.zeros_like(x))


@pytest.mark.parametrize(
    ("conditioning", "cond", "other"),
    [
        (BY_CLASS, torch.tensor([0, 1, 2, 3, 0]), torch.tensor([1, 1, 2, 3, 0])),
        (
            Conditioning("text", 8, "encoder"),
            torch.zeros(5, 8),
            torch.eye(5, 8) * torch.tensor([[1.0], [0], [0], [0], [0]]),
        ),
    ],
)
def test_dit_with_another_condition_in_one_row_changes_that_row_alone(conditioning, cond, other):
    x, t = inputs()
    network = stirred(build_dit(TINY, conditioning, (1, 8, 8), seed=0), seed=1)
    differs = (network(x, t, cond) - network(x, t, other)).abs().flatten(1).amax(1)
    assert differs[0] > 1e-4
    assert differs[1:].max() < 1e-6


def test_dit_told_by_tokens_hears_the_mean_of_a_captions_own():
    x, t = inputs(2)
    network = stirred(
        build_dit(TINY, Conditioning("text", 8, "encoder", 4), (1, 8, 8), seed=0), seed=1
    )
    tokens = torch.zeros(2, 4, 8)
    tokens[0, :3] = torch.randn(3, 8)
    whole = torch.stack([tokens[0, :3].mean(0), torch.zeros(8)])
    assert torch.allclose(network(x, t, tokens), network(x, t, whole), atol=1e-6)


def test_dit_on_images_that_are_not_square_keeps_their_shape():
    x, t = inputs(2, (3, 4, 8))
    network = stirred(build_dit(TINY, Conditioning("none"), (3, 4, 8), seed=0), seed=1)
    assert network(x, t, None).shape == x.shape


def test_dit_with_positions_tells_patches_apart():
    network = stirred(build_dit(TINY, Conditioning("none"), (1, 4, 8), seed=0), seed=1)
    out = network(torch.zeros(1, 1, 4, 8), torch.tensor([0.5]), None)
    patches = patchify(out, 2)[0]
    assert torch.pdist(patches).min() > 1e-4


def test_build_dit_with_equal_seeds_is_equal_and_leaves_the_global_generator():
    before = torch.random.get_rng_state()
    first, second, other = (build_dit(TINY, BY_CLASS, (1, 8, 8), seed) for seed in (3, 3, 4))
    assert torch.equal(before, torch.random.get_rng_state())
    for key, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[key])
    assert not torch.equal(first.t_embedder.mlp[0].weight, other.t_embedder.mlp[0].weight)


def test_build_dit_with_a_patch_that_does_not_divide_refuses():
    with pytest.raises(ConfigError, match="patch = 2 does not divide images of 8x7"):
        build_dit(TINY, BY_CLASS, (1, 7, 8), seed=0)


def test_unpatchify_undoes_patchify():
    x, _ = inputs(3, (3, 4, 6))
    tokens = patchify(x, 2).reshape(3, 6, 3, 4).transpose(2, 3)  # DiT's output puts channels last
    assert torch.equal(unpatchify(tokens, (3, 4, 6), 2), x)


def test_patch_embed_equals_its_convolution():
    x, _ = inputs(3, (3, 4, 6))
    embed = build_dit(TINY, BY_CLASS, (3, 4, 6), seed=0).x_embedder
    assert torch.allclose(embed(x), embed.proj(x).flatten(2).transpose(1, 2), atol=1e-6)


def test_sincos_positions_hold_column_then_row():
    grid = sincos_positions(2, 3, 8).reshape(2, 3, 8)
    angle = torch.tensor([1.0, 0.01])
    assert torch.allclose(grid[1, 2, :2], torch.sin(2 * angle))
    assert torch.allclose(grid[1, 2, 2:4], torch.cos(2 * angle))
    assert torch.allclose(grid[1, 2, 4:6], torch.sin(angle))
    assert torch.allclose(grid[1, 2, 6:], torch.cos(angle))


def test_timestep_waves_scale_time_by_a_thousand_and_divide_by_128():
    waves = timestep_waves(torch.tensor([0.25]))[0].double()
    angle = 250 * 10_000 ** (-torch.arange(128, dtype=torch.float64) / 128)
    assert torch.allclose(waves, torch.cat([angle.cos(), angle.sin()]), atol=1e-4)
