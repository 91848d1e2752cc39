import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from atoll.config_file import read_config
from atoll.errors import ConfigError
from atoll.fit import refuse_patches
from atoll.networks import expert_flops, expert_parameters
from atoll.parallel_fit import refuse_tokens
from atoll.parallel_section import ParallelSection
from atoll.sizes import Sizes, sizes_from
from experts.condition import Conditioning
from experts.networks import build_network
from tests.experts.stirred import stirred

SHAPE = (1, 12, 4)  # three frames of 4 x 4, one below the other
SIZES = Sizes(width=16, depth=2, heads=2, patch=2, frames=3)
TOLD = Conditioning("class", 3)


@pytest.fixture
def network():
    return stirred(build_network(SIZES, TOLD, SHAPE, seed=0))


def reached(network, num_blocks):
    """Which tokens, (frames, places), the first place of the first frame is told of."""
    network.blocks = network.blocks[-num_blocks:]
    tokens = torch.randn(1, 12, 16, requires_grad=True)
    out, _ = network.advance(tokens, torch.randn(1, 16))
    (gradient,) = torch.autograd.grad(out[0, 0].sum(), tokens)
    return gradient[0].abs().sum(1).gt(0).reshape(3, 4).tolist()


def test_blocks_look_over_space_and_over_time_in_turn(network):
    over_time = [[True, False, False, False]] * 3
    assert [block.over_time for block in network.blocks] == [False, True]
    assert reached(network, 2) == [[True] * 4] * 3
    assert reached(network, 1) == over_time


def test_positions_tell_frames_and_places_apart(network):
    assert len(torch.unique(network.pos_embed[0], dim=0)) == 12


def test_parameters_and_operations_are_those_counted(network):
    num = sum(parameter.numel() for parameter in network.parameters())
    assert num == expert_parameters(SIZES, TOLD, SHAPE)
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        network(torch.randn(1, *SHAPE), torch.rand(1), torch.zeros(1, dtype=torch.int64))
    assert counter.get_total_flops() == expert_flops(SIZES, TOLD, SHAPE)


def test_sizes_of_a_video_come_back_from_what_a_checkpoint_tells():
    told = {"width": 16, "depth": 2, "heads": 2, "patch": 2}
    assert sizes_from({**told, "frames": 3}) == SIZES
    assert sizes_from(told).frames == 1


@pytest.mark.parametrize(
    ("pairs", "words"),
    [
        (["expert.frames=2", "expert.preset=MMDiT-T"], "frames = 2 wants a DiT"),
        (["expert.frames=2", "expert.depth=1"], "raise depth"),
        (
            ["expert.frames=2", "data.buckets=['8x8', '12x4']"],
            r"expert\.frames = 2 stand one below the other, and data\.buckets would cut",
        ),
    ],
)
def test_frames_that_a_network_cannot_have_are_refused(pairs, words):
    with pytest.raises(ConfigError, match=words):
        read_config(None, pairs)


def test_frames_that_do_not_come_out_even_are_refused():
    config = read_config(None, ["expert.frames=3"])
    with pytest.raises(ConfigError, match=r"expert\.frames = 3 does not cut images of 8 pixels"):
        refuse_patches(config, 8, 8)
    with pytest.raises(ConfigError, match=r"sequence = 2 does not divide both expert\.frames = 3"):
        refuse_tokens(ParallelSection(sequence=2), 12, 3)
