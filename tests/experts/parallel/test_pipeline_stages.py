"""A network cut into stages, and whole again."""

import pytest
import torch

from atoll.sizes import Sizes
from experts.condition import Conditioning
from experts.dit import build_dit
from experts.parallel.pipeline_stages import Stages, shares


@pytest.mark.parametrize(
    ("num_blocks", "num_stages", "expected"),
    [(4, 2, [2, 2]), (3, 2, [2, 1]), (4, 3, [1, 2, 1]), (6, 4, [1, 2, 2, 1]), (3, 3, [1, 1, 1])],
)
def test_blocks_are_shared_as_evenly_as_can_be(num_blocks, num_stages, expected):
    assert shares(num_blocks, num_stages) == expected


@pytest.mark.parametrize("kind", [Conditioning("none"), Conditioning("class", 3)])
def test_stages_have_every_weight_once_and_do_what_the_network_does(kind):
    network = build_dit(Sizes(16, 3, 2, 2), kind, (1, 4, 4), seed=0)
    torch.nn.init.normal_(network.final_layer.linear.weight)
    stages = Stages(network, 3)
    parts = [stages.part(network, number) for number in range(3)]
    owned = [(name, number) for number in range(3) for name, _ in parts[number].named_parameters()]
    assert sorted(name for name, _ in owned) == sorted(dict(network.named_parameters()))
    assert all(stages.number(name) == number for name, number in owned)

    inputs = [torch.randn(2, 1, 4, 4), torch.rand(2)]
    inputs += [torch.tensor([0, 3])] if kind.kind == "class" else []
    given = inputs
    for number, part in enumerate(parts):
        stages.play(part, number, "fp32")
        given = part(*given)
    expected = network(*inputs) if len(inputs) == 3 else network(*inputs, None)
    torch.testing.assert_close(given, expected)
    assert stages.passed(*inputs)[1].shape == expected.shape
