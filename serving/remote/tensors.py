"""Tensors on the wire: raw bytes with their type and shape, never a pickle."""

from __future__ import annotations

import math
import sys

import torch
from torch import Tensor

from atoll.errors import BadInput
from atoll.wire.v1 import experts_pb2 as wire

MAX_MESSAGE_BYTES = 64 << 20  # of a request or an answer, with all its tensors

_TYPES = {
    wire.DATA_TYPE_FLOAT32: torch.float32,
    wire.DATA_TYPE_BFLOAT16: torch.bfloat16,
    wire.DATA_TYPE_FLOAT16: torch.float16,
    wire.DATA_TYPE_INT64: torch.int64,
}
_NAMES = {dtype: number for number, dtype in _TYPES.items()}
FLOATS = (torch.float32, torch.bfloat16, torch.float16)
_MOST_DIMS = 8

assert sys.byteorder == "little", "tensors travel as they lie in memory"


def type_of(dtype: torch.dtype) -> int:
    """Its number on the wire."""
    return int(_NAMES[dtype])


def encoded(tensor: Tensor, dtype: torch.dtype | None = None) -> wire.Tensor:
    """A tensor for the wire.

    Args:
        tensor: of any device.
        dtype: one of float32, bfloat16, float16 and int64; None for its own.
    """
    plain = tensor.detach().to("cpu", dtype or tensor.dtype).contiguous()
    data = plain.reshape(-1).view(torch.uint8).numpy().tobytes()
    return wire.Tensor(type=_NAMES[plain.dtype], shape=plain.shape, data=data)


def decoded(message: wire.Tensor, name: str, dtypes: tuple[torch.dtype, ...] = FLOATS) -> Tensor:
    """A tensor from the wire, in memory of its own.

    Args:
        message: what came; anybody may have sent it.
        name: of the field, for what is said of it.
        dtypes: that it may have.

    Raises:
        BadInput: type, shape and bytes do not go together.
    """
    dtype = _TYPES.get(message.type)
    if dtype not in dtypes:
        allowed = ", ".join(str(each).removeprefix("torch.") for each in dtypes)
        raise BadInput(f"{name} is of type {message.type}; send one of {allowed}")
    if len(message.shape) > _MOST_DIMS:
        raise BadInput(f"{name} has {len(message.shape)} dimensions, which are too many")
    due = math.prod(message.shape) * dtype.itemsize
    if len(message.data) != due:
        raise BadInput(
            f"{name} of shape {tuple(message.shape)} has {len(message.data)} bytes, and {due} are "
            "due"
        )
    if not due:
        return torch.empty(tuple(message.shape), dtype=dtype)
    return torch.frombuffer(bytearray(message.data), dtype=dtype).reshape(tuple(message.shape))
