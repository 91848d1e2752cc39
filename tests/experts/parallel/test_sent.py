"""What a plan foretells is what is sent."""

import pytest

from atoll.parallel_section import Layout
from orchestrator.planning.networks import Told, expert
from orchestrator.planning.traffic import sent_bytes
from tests.experts.parallel import counting, scenes

NETWORK = expert(scenes.SIZES, Told("class", 3), scenes.SHAPE)
JOINT = expert(scenes.JOINT, Told("class", 3), scenes.SHAPE)
LISTENING = expert(scenes.LISTENING, Told("text", 6, 3), scenes.SHAPE)


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


def test_bytes_of_image_and_text_in_bf16_are_as_a_plan_foretells(pair):
    layout = Layout(sequence=2)
    expected = sent_bytes(JOINT, layout, scenes.ROWS, 1, "bf16")
    expected -= sent_bytes(JOINT, Layout(data=2), scenes.ROWS, 1, "bf16")
    # 17 tokens do not come out even: one process has more to give.
    assert sum(pair.call(counting.sent_jointly, "sequence=2", 2)) / 2 == pytest.approx(
        expected, rel=0.05
    )


@pytest.mark.parametrize("way", ["shard", "sequence", "tensor"])
def test_bytes_of_image_looking_at_words_are_as_a_plan_foretells(pair, way):
    layout = Layout(**{way: 2})
    rows = scenes.ROWS // layout.rows
    expected = sent_bytes(LISTENING, layout, rows, 1, "fp32")
    if way == "sequence":
        expected -= sent_bytes(LISTENING, Layout(data=2), rows, 1, "fp32")
    found = pair.call(counting.sent_listening, f"{way}=2", 2)
    assert found[0] == pytest.approx(expected, rel=0.03)
