"""Tensors go over the wire and come back as they were, and rubbish is refused by name."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from atoll.errors import BadInput
from atoll.wire.v1 import experts_pb2 as wire
from serving.remote.tensors import FLOATS, decoded, encoded

SHAPES = st.lists(st.integers(0, 4), max_size=4)


@given(SHAPES, st.sampled_from([*FLOATS, torch.int64]), st.integers(0, 99))
def test_tensor_comes_back_to_the_bit(shape, dtype, seed):
    whole = torch.randint(-(2**15), 2**15, shape, generator=torch.Generator().manual_seed(seed))
    there = encoded((whole / 7).to(dtype))
    back = decoded(wire.Tensor.FromString(there.SerializeToString()), "x", (dtype,))
    assert back.dtype == dtype
    assert torch.equal(back, (whole / 7).to(dtype))


def test_view_of_a_larger_tensor_is_sent_as_it_reads():
    whole = torch.arange(24.0).reshape(2, 3, 4)
    assert torch.equal(
        decoded(encoded(whole.permute(2, 0, 1)[1:]), "x"), whole.permute(2, 0, 1)[1:]
    )


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (wire.Tensor(shape=[1], data=b"1234"), "x is of type 0; send one of float32"),
        (wire.Tensor(type=wire.DATA_TYPE_INT64, shape=[1], data=b"8" * 8), "x is of type 4"),
        (wire.Tensor(type=1, shape=[2, 3], data=b"1234"), "has 4 bytes, and 24 are due"),
        (wire.Tensor(type=1, shape=[2**40, 2**40], data=b"1234"), "has 4 bytes, and"),
        (wire.Tensor(type=1, shape=[1] * 9, data=b"1234"), "x has 9 dimensions"),
        (wire.Tensor(type=77, shape=[1], data=b"1234"), "x is of type 77"),
    ],
)
def test_what_does_not_go_together_is_refused_by_name(message, said):
    with pytest.raises(BadInput, match="x") as told:
        decoded(message, "x")
    assert said in str(told.value)
