"""Between logs as the house has them and the wire's messages, see :mod:`atoll.codec`."""

from __future__ import annotations

from atoll import types
from atoll.codec import count, required
from atoll.errors import Refused
from atoll.wire.v1 import control_pb2 as wire

MOST_BYTES = 64 << 10  # of one piece


def encode_piece(piece: types.LogPiece) -> wire.SendLogRequest:
    """See :class:`atoll.types.LogPiece`."""
    at = piece.begin
    return wire.SendLogRequest(
        island=at.island, job=piece.job, epoch=at.epoch, offset=at.offset, text=piece.text
    )


def decode_piece(message: wire.SendLogRequest) -> types.LogPiece:
    """See :class:`atoll.types.LogPiece`. Raises: Refused."""
    if len(message.text) > MOST_BYTES:
        raise Refused(f"the message's text has more than {MOST_BYTES} bytes")
    begin = types.LogPlace(
        required(message.island, "island"),
        count(message.epoch, "epoch"),
        count(message.offset, "offset"),
    )
    job = required(message.job, "job") if message.job else ""
    return types.LogPiece(begin, job, message.text)


def encode_place(place: types.LogPlace) -> wire.LogPlace:
    """See :class:`atoll.types.LogPlace`."""
    return wire.LogPlace(island=place.island, epoch=place.epoch, offset=place.offset)


def decode_place(message: wire.LogPlace) -> types.LogPlace:
    """See :class:`atoll.types.LogPlace`."""
    return types.LogPlace(message.island, message.epoch, message.offset)


def encode_lines(said: types.LogLines) -> wire.WatchLogResponse:
    """See :class:`atoll.types.LogLines`."""
    end = encode_place(said.end) if said.end else None
    return wire.WatchLogResponse(lines=said.lines, end=end, note=said.note)


def decode_lines(message: wire.WatchLogResponse) -> types.LogLines:
    """See :class:`atoll.types.LogLines`."""
    end = decode_place(message.end) if message.HasField("end") else None
    return types.LogLines(tuple(message.lines), end, message.note)
