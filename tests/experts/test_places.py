"""A network on images of another shape is the network that is built for that shape."""

import functools

import pytest
import torch

from atoll.routing import Routing
from atoll.sizes import MMDiTSizes, Sizes
from experts.alignment import parted
from experts.condition import Conditioning
from experts.devices import arithmetic
from experts.dialect import DIFFUSERS
from experts.embeddings import sincos_positions
from experts.networks import build_network
from experts.rotary import grid_rotations
from experts.routing import draw_kept
from router.network import build_router
from tests.experts.stirred import stirred

CPU = torch.device("cpu")
OWN, OTHERS = (2, 8, 8), [(2, 4, 12), (2, 16, 4), (2, 4, 16)]  # the last two have as many tokens
BY_CLASS, BY_WORD = Conditioning("class", 3), Conditioning("text", 6, "encoder", 3)
DIT, JOINT = Sizes(16, 3, 2, 2), MMDiTSizes(width=16, double=1, single=2, heads=2, patch=2)
LISTENING = Sizes(16, 3, 2, 2, cross_attention=True, modulation="single")
BUILD = {
    "DiT": functools.partial(build_network, DIT, BY_CLASS),
    "DiT of another dialect": functools.partial(build_network, DIT, BY_CLASS, dialect=DIFFUSERS),
    "listening DiT": functools.partial(build_network, LISTENING, BY_WORD),
    "MMDiT": functools.partial(build_network, JOINT, BY_CLASS),
    "MMDiT told words": functools.partial(build_network, JOINT, BY_WORD),
    "router": lambda shape, seed: build_router(DIT, BY_CLASS, shape, 5, seed),
}


def pair_of(build, shape):
    """A network, and one built for another shape with the same weights."""
    network, other = stirred(build(OWN, seed=0), 0.2, seed=1), build(shape, seed=1)
    weights = {key: each for key, each in network.state_dict().items() if key != "pos_embed"}
    missing = other.load_state_dict(weights, strict=False)
    assert (missing.missing_keys, missing.unexpected_keys) == (["pos_embed"], [])
    return network, other


def asked(network, shape, num=3):
    generator = torch.Generator().manual_seed(2)
    x_t, t = torch.randn(num, *shape, generator=generator), torch.rand(num, generator=generator)
    if network.conditioning.kind == "class":
        return x_t, t, torch.arange(num)
    return x_t, t, torch.randn(num, 3, 6, generator=generator)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("shape", OTHERS)
@pytest.mark.parametrize("kind", BUILD)
def test_network_on_another_shape_answers_and_learns_as_one_built_for_it_to_the_bit(
    kind, shape, precision
):
    network, other = pair_of(BUILD[kind], shape)
    given = asked(network, shape)
    with arithmetic(precision, CPU):
        answers = [each(*given) for each in (network, other)]
    assert torch.equal(*answers)
    for answer in answers:
        answer.float().square().sum().backward()
    for (name, one), same in zip(network.named_parameters(), other.parameters(), strict=True):
        assert torch.equal(one.grad, same.grad), name
        assert one.grad.isfinite().all()
    assert network.x_embedder.proj.weight.grad.any()


@pytest.mark.parametrize("kind", BUILD)
def test_network_on_its_own_shape_has_the_positions_that_came_with_its_weights(kind):
    network = stirred(BUILD[kind](OWN, seed=0), 0.2, seed=1)
    own, other = (asked(network, shape) for shape in (OWN, OTHERS[0]))
    before = [network(*given) for given in (own, other)]
    network.pos_embed.mul_(0.5)
    assert not torch.allclose(network(*own), before[0])
    assert torch.equal(network(*other), before[1])


@pytest.mark.parametrize("shape", OTHERS)
def test_route_that_nobody_takes_is_no_route_on_another_shape(shape):
    build = functools.partial(build_network, DIT, BY_CLASS, routing=Routing(0.5, 1, 1))
    network, other = pair_of(build, shape)
    given, num = asked(network, shape), shape[1] * shape[2] // 4
    assert torch.equal(network(*given, torch.arange(num).expand(3, -1)), network(*given))
    kept = draw_kept(Routing(0.5, 1, 1), 3, num, torch.Generator().manual_seed(0))
    assert torch.equal(network(*given, kept), other(*given, kept))


@pytest.mark.parametrize("sizes", [DIT, JOINT])
@pytest.mark.parametrize("shape", OTHERS)
def test_aligned_network_on_another_shape_tells_the_velocity_of_a_plain_one(sizes, shape):
    build = functools.partial(build_network, sizes, BY_CLASS, aligned=(5, 1))
    network, other = pair_of(build, shape)
    given = asked(network, shape)
    answer = network(*given)
    assert torch.equal(answer, other(*given))
    velocity, said = parted(answer, shape)
    torch.testing.assert_close(velocity, network.eval()(*given), rtol=0, atol=1e-6)
    assert said.shape == (3, 5)


@pytest.mark.parametrize("make", [sincos_positions, grid_rotations])
def test_positions_first_asked_for_where_images_are_drawn_can_be_learnt_from(make):
    sizes = DIT if make is sincos_positions else JOINT
    network = stirred(build_network(sizes, BY_CLASS, OWN, seed=0), 0.2, seed=1)
    given = asked(network, (2, 4, 20))  # that no other test asks for
    with torch.inference_mode():
        drawn = network(*given)
    learnt = network(*given)
    assert torch.equal(learnt, drawn)
    learnt.sum().backward()
    assert network.x_embedder.proj.weight.grad.any()
