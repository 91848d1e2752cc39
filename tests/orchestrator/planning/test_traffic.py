"""Bytes sent, by closed form; tests/experts/parallel counts what is sent indeed."""

import pytest

from atoll.parallel_section import Layout
from orchestrator.planning.networks import Network
from orchestrator.planning.traffic import sent_bytes

# Of 1000 parameters 10 blocks have 90 each.
PLAIN = Network(1000, 1, num_tokens=4, width=8, heads=2, num_blocks=10,
                block_parameters=90, outside_parameters=100)  # fmt: skip
TOKENS = 3 * 4 * 8  # features of the tokens of three images


@pytest.mark.parametrize(
    ("layout", "expected"),
    [
        (Layout(), 0),
        (Layout(data=4), 2 * 3 / 4 * 1000 * 4),
        (Layout(shard=4), 2 * 3 / 4 * 1000 * (2 * 2 + 4)),
        (
            Layout(sequence=2),
            2 * (1 / 2 * 10 * 8 * TOKENS / 2 * 2) + 2 * 1 / 2 * 1000 * 4,
        ),
        (Layout(tensor=2), 2 * (2 * 1 / 2 * 10 * 4 * TOKENS * 2)),
        (Layout(pipeline=2), 2 * 2 * TOKENS * 4),
    ],
)
def test_sent_bytes_by_closed_form(layout, expected):
    assert sent_bytes(PLAIN, layout, 3, 2, "bf16") == expected


@pytest.mark.parametrize(("stage", "sums"), [(1, 1), (2, 3)])
def test_zero_before_stage_3_adds_gradients_up_and_gathers_weights_once(stage, sums):
    found = sent_bytes(PLAIN, Layout(shard=4), 3, 3, "bf16", stage=stage)
    assert found == 3 / 4 * 1000 * 4 * (2 * sums + 1)


def test_recomputing_sends_the_way_there_again():
    once, again = (
        sent_bytes(PLAIN, Layout(tensor=2), 3, 2, "bf16", recompute=each) for each in (False, True)
    )
    assert again == 1.5 * once
