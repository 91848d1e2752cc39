"""Costs are counted as torch counts them."""

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from atoll.sizes import Sizes
from experts.condition import Conditioning
from router.cost import router_flops
from router.network import build_router


@pytest.mark.parametrize(
    "conditioning", [Conditioning("none"), Conditioning("class", 3), Conditioning("text", 8, "e")]
)
def test_router_flops_equal_what_torch_counts(conditioning):
    sizes, shape = Sizes(width=16, depth=2, heads=2, patch=2), (3, 4, 8)
    network = build_router(sizes, conditioning, shape, num_experts=5, seed=0)

    with FlopCounterMode(display=False) as counted, sdpa_kernel(SDPBackend.MATH):
        network(torch.zeros(1, *shape), torch.zeros(1), conditioning.null(1, torch.device("cpu")))

    assert counted.get_total_flops() == router_flops(sizes, conditioning, shape, 5)
