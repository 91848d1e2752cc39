"""What a plan foretells is what is sent."""

import pytest

from atoll.parallel_section import Layout
from orchestrator.planning.networks import Told, expert
from orchestrator.planning.traffic import sent_bytes
from tests.experts.parallel import counting, scenes

NETWORK = expert(scenes.SIZES, Told("class", 3), scenes.SHAPE)


@pytest.mark.parametrize("accumulation", [1, 2])
@pytest.mark.parametrize("way", ["shard", "sequence", "tensor"])
def test_bytes_of_a_step_are_as_a_plan_foretells(pair, way, accumulation):
    layout = Layout(**{way: 2})
    rows = scenes.ROWS // layout.rows // accumulation
    expected = sent_bytes(NETWORK, layout, rows, accumulation, "fp32")
    if way == "sequence":  # DDP adds up the gradients of copies, unseen
        expected -= sent_bytes(NETWORK, Layout(data=2), rows, accumulation, "fp32")
    found = pair.call(counting.sent_in_a_step, f"{way}=2", 2, accumulation)
    assert found[0] == found[1]
    # Of what is left out, the painted pixels of all tokens are the most.
    assert found[0] == pytest.approx(expected, rel=0.03)
