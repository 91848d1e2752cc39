import pytest
import torch
from torch.nn import functional as F

from atoll.errors import ConfigError
from atoll.sizes import MMDiTSizes
from experts.condition import Conditioning
from experts.embeddings import patchify
from experts.mmdit_blocks import SingleBlock
from experts.networks import build_network
from experts.rotary import grid_rotations
from tests.experts.stirred import stirred

TINY = MMDiTSizes(width=16, double=2, single=2, heads=2, patch=2)
NONE, BY_CLASS, BY_TEXT = (
    Conditioning("none"),
    Conditioning("class", 3),
    Conditioning("text", 8, "encoder"),
)


def inputs(num=5, shape=(1, 8, 8)):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(num, *shape, generator=generator), torch.rand(num, generator=generator)


@pytest.mark.parametrize(
    ("conditioning", "cond"),
    [(NONE, None), (BY_CLASS, torch.tensor([0, 1, 2, 3, 0])), (BY_TEXT, torch.ones(5, 8))],
)
def test_mmdit_when_fresh_gives_zero_velocity_and_trains_every_weight(conditioning, cond):
    x, t = inputs()
    network = build_network(TINY, conditioning, (1, 8, 8), seed=0)
    assert torch.equal(network(x, t, cond), torch.zeros_like(x))
    stirred(network, seed=1)(x, t, cond).square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().amax() > 0, name


@pytest.mark.parametrize(
    ("conditioning", "cond", "other"),
    [
        (BY_CLASS, torch.tensor([0, 1, 2, 3, 0]), torch.tensor([1, 1, 2, 3, 0])),
        (BY_TEXT, torch.zeros(5, 8), torch.eye(5, 8) * torch.eye(5)[:, :1]),
    ],
)
def test_mmdit_with_another_condition_in_one_row_changes_that_row_alone(conditioning, cond, other):
    x, t = inputs()
    network = stirred(build_network(TINY, conditioning, (1, 8, 8), seed=0), seed=1)
    differs = (network(x, t, cond) - network(x, t, other)).abs().flatten(1).amax(1)
    assert differs[0] > 1e-4
    assert differs[1:].max() < 1e-6


def test_mmdit_told_a_sequence_of_embeddings_listens_to_each():
    x, t = inputs()
    network = stirred(build_network(TINY, BY_TEXT, (1, 8, 8), seed=0), seed=1)
    once = torch.randn(5, 1, 8)
    assert torch.allclose(network(x, t, once), network(x, t, once[:, 0]))
    several = torch.randn(5, 3, 8)
    swapped = torch.cat([several[:, :2], -several[:, 2:]], dim=1)
    assert (network(x, t, several) - network(x, t, swapped)).abs().amax() > 1e-4


def test_mmdit_is_told_the_mean_of_a_captions_own_tokens_besides():
    captions = stirred(build_network(TINY, BY_TEXT, (1, 8, 8), seed=0), seed=1).y_embedder
    cond = torch.randn(2, 4, 8, generator=torch.Generator().manual_seed(0))
    cond[0, 1:], cond[1] = 0, 0
    pooled = captions(cond, 2).pooled
    assert torch.allclose(pooled[0], captions.pooled(cond[0, 0]))
    assert torch.allclose(pooled[1], captions.pooled(torch.zeros(8)))


def test_mmdit_on_images_that_are_not_square_tells_patches_apart():
    network = stirred(build_network(TINY, NONE, (3, 4, 8), seed=0), seed=1)
    x, t = torch.zeros(1, 3, 4, 8), torch.tensor([0.5])
    x[..., :2, :2] = 1.0  # rotations alone tell nothing where all tokens are equal
    out = network(x, t, None)
    assert out.shape == x.shape
    assert torch.pdist(patchify(out, 2)[0]).min() > 1e-5


def test_single_block_is_attention_and_mlp_of_the_same_tokens_by_hand():
    block = stirred(SingleBlock(8, 2), seed=1)
    x, c, places = torch.randn(1, 7, 8), torch.randn(1, 8), grid_rotations(2, 3, 4)
    shift, scale, gate = block.adaLN_modulation(c).chunk(3, dim=1)
    seen = F.layer_norm(x[0], (8,), eps=1e-6) * (1 + scale) + shift
    query, key, value = block.attn.qkv(seen).reshape(7, 3, 2, 4).permute(1, 2, 0, 3)
    query, key = (
        each * (each.square().mean(2, keepdim=True) + 1e-6).rsqrt() * norm.weight
        for each, norm in ((query, block.attn.q_norm), (key, block.attn.k_norm))
    )
    turns = torch.view_as_complex(places.transpose(1, 2).contiguous())
    turns = torch.cat([torch.ones(1, 2), turns])  # the text's token lies at 0

    def turned(each):
        pairs = torch.complex(*each.chunk(2, dim=2)) * turns
        return torch.cat([pairs.real, pairs.imag], dim=2)

    weights = (turned(query) @ turned(key).transpose(1, 2) / 2).softmax(2)
    mixed = (weights @ value).transpose(0, 1).reshape(7, 8) @ block.attn.proj.weight.T
    expected = x + gate * (mixed + block.mlp(seen))
    assert torch.allclose(block(x, c, places), expected, atol=1e-5)


def test_mmdit_in_bf16_is_close_to_itself_in_fp32():
    x, t = inputs()
    network = stirred(build_network(TINY, BY_CLASS, (1, 8, 8), seed=0), seed=1)
    cond = torch.tensor([0, 1, 2, 3, 0])
    with torch.autocast("cpu", torch.bfloat16):
        rough = network(x, t, cond)
    assert torch.allclose(rough.float(), network(x, t, cond), atol=0.05)


def test_build_network_with_equal_seeds_is_equal():
    first, second, other = (build_network(TINY, BY_CLASS, (1, 8, 8), seed) for seed in (3, 3, 4))
    for key, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[key])
    assert not torch.equal(first.blocks[0].text.mlp.fc1.weight, other.blocks[0].text.mlp.fc1.weight)


def test_build_network_with_a_patch_that_does_not_divide_refuses():
    with pytest.raises(ConfigError, match="patch = 2 does not divide images of 8x7"):
        build_network(TINY, BY_CLASS, (1, 7, 8), seed=0)
