from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from atoll.config import Config
from atoll.config_file import read_config
from atoll.errors import ConfigError
from atoll.sizes import Sizes, in_words, sizes_from
from experts.condition import Conditioning
from experts.cross_attention import CaptionTokens, CrossAttention, heard_tokens
from experts.networks import build_network
from tests.experts.stirred import stirred

SIZES = Sizes(width=16, depth=2, heads=2, patch=2, cross_attention=True)
TOLD = Conditioning("text", 6, "encoder", tokens=5)
SHAPE = (1, 8, 8)


@pytest.fixture
def network():
    return stirred(build_network(SIZES, TOLD, SHAPE, seed=0), seed=1)


def inputs(num=3):
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(num, *SHAPE, generator=generator)
    return images, torch.rand(num, generator=generator)


def captions(*lengths, room=5):
    """Of so many tokens each."""
    cond = torch.zeros(len(lengths), room, 6)
    for row, length in enumerate(lengths):
        cond[row, :length] = torch.randn(length, 6, generator=torch.Generator().manual_seed(row))
    return cond


def test_dit_with_cross_attention_begins_as_the_one_without_it():
    fresh = build_network(SIZES, TOLD, SHAPE, seed=0)
    assert not any(fresh.state_dict()["blocks.0.cross_attn.proj.weight"].flatten())
    without = build_network(replace(SIZES, cross_attention=False), TOLD, SHAPE, seed=0)
    stirred(without, seed=1)
    fresh.load_state_dict({**fresh.state_dict(), **without.state_dict()})
    x, t = inputs()
    cond = captions(5, 2, 0)
    assert without(x, t, cond).abs().amax() > 0
    assert torch.equal(fresh(x, t, cond), without(x, t, cond))


def test_dit_with_cross_attention_trains_every_weight(network):
    network(*inputs(), captions(5, 2, 3)).square().sum().backward()
    for name, parameter in network.named_parameters():
        if not name.endswith("kv_linear.bias"):  # a key's moves all scores alike
            assert parameter.grad.abs().amax() > 0, name


def test_padding_of_a_caption_changes_nothing(network):
    x, t = inputs()
    lengths = (3, 1, 0)
    found = network(x, t, captions(*lengths, room=3))
    padded = network(x, t, captions(*lengths, room=9))
    torch.testing.assert_close(padded, found, rtol=1e-5, atol=1e-6)


def test_null_text_is_finite_and_unlike_a_caption(network):
    x, t = inputs(1)
    null = network(x, t, TOLD.null(1, x.device))
    assert null.isfinite().all()
    assert (network(x, t, captions(2)) - null).abs().amax() > 1e-3


def test_dit_listens_to_each_token_and_not_to_their_order(network):
    x, t = inputs(1)
    several = captions(3)
    louder = several * torch.tensor([1, 1, -1, 1, 1]).reshape(1, 5, 1)
    assert (network(x, t, several) - network(x, t, louder)).abs().amax() > 1e-3
    turned = several[:, [2, 0, 1, 3, 4]]
    torch.testing.assert_close(network(x, t, turned), network(x, t, several))


def test_dit_with_another_caption_in_one_row_changes_that_row_alone(network):
    x, t = inputs()
    cond, other = captions(3, 2, 1), captions(3, 2, 1)
    other[0, 0] += 1
    differs = (network(x, t, cond) - network(x, t, other)).abs().flatten(1).amax(1)
    assert differs[0] > 1e-3
    assert differs[1:].max() < 1e-6


def test_cross_attention_is_softmax_over_a_captions_own_tokens_by_hand():
    layer = stirred(CrossAttention(8, 2), seed=1)
    x, words = torch.randn(1, 4, 8), torch.randn(1, 5, 8)
    words[:, 3:] = 0
    query = (x[0] @ layer.q_linear.weight.T + layer.q_linear.bias).reshape(4, 2, 4)
    pairs = words[0, :3] @ layer.kv_linear.weight.T + layer.kv_linear.bias
    key, value = pairs.reshape(3, 2, 2, 4).unbind(1)
    weights = (torch.einsum("qhd,khd->hqk", query, key) / 2).softmax(2)
    mixed = torch.einsum("hqk,khd->qhd", weights, value).reshape(4, 8)
    expected = mixed @ layer.proj.weight.T + layer.proj.bias
    heard = heard_tokens(words)
    torch.testing.assert_close(layer(x, words, heard)[0], expected)
    grouped = layer(x.reshape(1, 2, 2, 8), words, heard)
    torch.testing.assert_close(grouped.reshape(4, 8), expected)


def test_tokens_of_captions_are_two_layers_and_padding_stays_zeros():
    layer = stirred(CaptionTokens(6, 8), seed=1)
    found = layer(captions(2, room=4))
    expected = layer.fc2(F.gelu(layer.fc1(captions(2)[0, :2]), approximate="tanh"))
    torch.testing.assert_close(found[0, :2], expected)
    assert not found[0, 2:].any()


def test_video_looks_at_its_caption_in_blocks_over_space_and_time():
    sizes = replace(SIZES, frames=2)
    network = stirred(build_network(sizes, TOLD, SHAPE, seed=0), seed=1)
    for block in network.blocks:
        with torch.no_grad():
            block.cross_attn.proj.weight.zero_()
            block.cross_attn.proj.bias.fill_(1.0)
    heard = []
    for block in network.blocks:
        block.cross_attn.register_forward_hook(lambda *given: heard.append(given[2].shape))
    network(*inputs(), captions(3, 2, 1))
    assert heard == [(3, 2, 8, 16), (3, 8, 2, 16)]  # frames of places, then places of frames


def test_sizes_with_cross_attention_come_back_and_are_told_in_words():
    told = {"width": 16, "depth": 2, "heads": 2, "patch": 2, "cross_attention": True}
    assert sizes_from(told) == SIZES
    words = "DiT of width 16, depth 2, heads 2, patch 2, cross-attention, modulation single"
    assert in_words(replace(SIZES, modulation="single")) == words


@pytest.mark.parametrize(
    ("pairs", "words"),
    [
        (["expert.condition=class"], 'condition = "class"; set condition to "text"'),
        (["expert.preset=MMDiT-T"], "is no DiT: it attends to text as it is"),
        (["captions.tokens=0"], "captions.tokens = 0 leaves one vector of the whole"),
    ],
)
def test_cross_attention_without_anything_to_look_at_is_refused(pairs, words):
    text = ["data.source=folder", "data.path=x", "expert.condition=text", "captions.tokens=8"]
    settings = [*text, "expert.cross_attention=true"]
    assert isinstance(read_config(None, settings), Config)
    with pytest.raises(ConfigError, match=words):
        read_config(None, [*settings, *pairs])


class Looks(TorchDispatchMode):
    """Counts how often somebody looks for zeros."""

    num = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.num += func._schema.name == "aten::any"
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("frames", [1, 2])
def test_padding_is_looked_for_as_often_in_one_block_as_in_several(frames):
    found = []
    for depth in (2, 4):
        sizes = replace(SIZES, depth=depth, frames=frames)
        network = build_network(sizes, TOLD, SHAPE, seed=0)
        with Looks() as looks:
            network(*inputs(), captions(5, 2, 0))
        found.append(looks.num)
    assert found[0] == found[1] > 0
