"""The count of an MMDiT, held against the network itself, torch's own count, and FLUX.1's size."""

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from atoll.mmdit import double_parameters, mmdit_flops, mmdit_parameters
from atoll.sizes import MMDITS, MMDiTSizes
from experts.condition import Conditioning
from experts.mmdit import MMDiT

SMALL = MMDiTSizes(width=16, double=3, single=2, heads=2, patch=2)
TEXT = Conditioning("text", 20, "e")
CONDITIONS = [Conditioning("none"), Conditioning("class", 7), TEXT]
LATENTS = (16, 64, 64)


def on_meta(sizes, conditioning, shape):
    with torch.device("meta"):
        return MMDiT(sizes, conditioning, shape)


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize("conditioning", CONDITIONS)
def test_mmdit_parameters_are_those_of_the_network(conditioning):
    network = on_meta(SMALL, conditioning, (3, 4, 8))
    assert count(network) == mmdit_parameters(SMALL, conditioning, (3, 4, 8))
    assert count(network.blocks[0]) == double_parameters(SMALL)


@pytest.mark.parametrize("conditioning", [*CONDITIONS, Conditioning("text", 20, "e", tokens=5)])
def test_mmdit_flops_equal_what_torch_counts(conditioning):
    network, shape = MMDiT(SMALL, conditioning, (3, 4, 8)), (3, 4, 8)
    cond = conditioning.null(1, torch.device("cpu"))
    with FlopCounterMode(display=False) as counted, sdpa_kernel(SDPBackend.MATH):
        network(torch.zeros(1, *shape), torch.zeros(1), cond)
    assert counted.get_total_flops() == mmdit_flops(SMALL, conditioning, shape)


def test_mmdit_of_the_sizes_of_flux_has_its_parameters_to_the_last():
    flux = MMDiTSizes(width=3072, double=19, single=38, heads=24, patch=2)
    captions = Conditioning("text", 4096, "t5")
    found = count(on_meta(flux, captions, LATENTS))
    assert found == mmdit_parameters(flux, captions, LATENTS)
    # FLUX.1 takes the caption as a whole from another encoder, of 768 features.
    schnell = found - (4096 - 768) * 3072
    assert schnell == 11_891_178_560
    # Its guidance-distilled sibling embeds one more number, as a time is.
    assert schnell + (256 + 1) * 3072 + (3072 + 1) * 3072 == 11_901_408_320


def test_mmdit_3b_has_about_three_billion_parameters():
    captions = Conditioning("text", 4096, "t5")
    found = count(on_meta(MMDITS["MMDiT-3B"], captions, LATENTS))
    assert found == mmdit_parameters(MMDITS["MMDiT-3B"], captions, LATENTS)
    assert found == pytest.approx(3e9, rel=0.02)
