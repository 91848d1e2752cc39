"""The count of an MMDiT, held against one built of torch layers, and against FLUX.1's size."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention
from torch.utils.flop_counter import FlopCounterMode

from atoll.sizes import TIME_DIMS
from orchestrator.planning.mmdit import MMDiT

SMALL = MMDiT(16, 2, 3, 2, 12, 6, 5, text_dims=20, pooled_dims=10, num_times=2)


class Stream(nn.Module):
    def __init__(self, width, head):
        super().__init__()
        self.mod, self.qkv = nn.Linear(width, 6 * width), nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.norms = nn.ModuleList([nn.RMSNorm(head), nn.RMSNorm(head)])


class Single(nn.Module):
    def __init__(self, width, head):
        super().__init__()
        self.mod = nn.Linear(width, 3 * width)
        self.into, self.out = nn.Linear(width, 7 * width), nn.Linear(5 * width, width)
        self.norms = nn.ModuleList([nn.RMSNorm(head), nn.RMSNorm(head)])


class Network(nn.Module):
    """The matrix products of one, in their order; what costs none is left out."""

    def __init__(self, of):
        super().__init__()
        width, head = of.width, of.width // of.heads
        self.of, self.image = of, nn.Linear(of.num_pixels, width)
        self.text = nn.Linear(of.text_dims, width)
        ins = [TIME_DIMS] * of.num_times + [of.pooled_dims]
        self.vectors = nn.ModuleList(
            nn.Sequential(nn.Linear(size, width), nn.Linear(width, width)) for size in ins
        )
        self.doubles = nn.ModuleList(
            nn.ModuleList([Stream(width, head), Stream(width, head)]) for _ in range(of.num_double)
        )
        self.singles = nn.ModuleList(Single(width, head) for _ in range(of.num_single))
        self.mod, self.last = nn.Linear(width, 2 * width), nn.Linear(width, of.num_pixels)

    def attend(self, qkv):
        parts = qkv.reshape(1, len(qkv), 3, self.of.heads, -1).permute(2, 0, 3, 1, 4)
        return scaled_dot_product_attention(*parts)[0].transpose(0, 1).reshape(len(qkv), -1)

    def forward(self):
        of = self.of
        image = self.image(torch.zeros(of.image_tokens, of.num_pixels))
        text = self.text(torch.zeros(of.text_tokens, of.text_dims))
        vector = sum(net(torch.zeros(1, net[0].in_features)) for net in self.vectors)
        for double in self.doubles:
            written, painted = double
            mixed = self.attend(torch.cat([written.qkv(text), painted.qkv(image)]))
            text, image = mixed.split([of.text_tokens, of.image_tokens])
            text = written.down(written.up(written.proj(text)))
            image = painted.down(painted.up(painted.proj(image)))
            written.mod(vector), painted.mod(vector)
        both = torch.cat([text, image])
        for single in self.singles:
            single.mod(vector)
            qkv, wide = single.into(both).split([3 * of.width, 4 * of.width], dim=1)
            both = single.out(torch.cat([self.attend(qkv), wide], dim=1))
        self.mod(vector)
        return self.last(both[of.text_tokens :])


def test_mmdit_has_the_parameters_of_its_layers():
    network = Network(SMALL)
    counted = sum(parameter.numel() for parameter in network.parameters())
    assert counted == SMALL.network.parameters
    block = sum(parameter.numel() for parameter in network.doubles[0].parameters())
    assert block == SMALL.network.block_parameters


def test_mmdit_flops_equal_what_torch_counts():
    with FlopCounterMode(display=False) as counted, sdpa_kernel(SDPBackend.MATH):
        Network(SMALL)()
    assert counted.get_total_flops() == SMALL.network.forward_flops


def test_mmdit_of_the_sizes_of_flux_has_its_twelve_billion_parameters():
    flux = MMDiT(3072, 24, 19, 38, 64, 4096, 512, num_times=2)
    assert flux.network.parameters == pytest.approx(11.9e9, rel=1e-3)
