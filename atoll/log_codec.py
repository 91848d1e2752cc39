"""Between logs as the house has them and the wire's messages, see :mod:`atoll.codec`."""

from __future__ import annotations

from atoll import log_types
from atoll.codec import count, required
from atoll.errors import Refused
from atoll.wire.v1 import control_pb2 as wire

MOST_BYTES = 64 << 10  # of one piece


def encode_piece(piece: log_types.LogPiece) -> wire.SendLogRequest:
    """See :class:`atoll.log_types.LogPiece`."""
    at = piece.begin
    island, _, node = at.island.partition("/")
    return wire.SendLogRequest(
        island=island, node=node, job=piece.job, epoch=at.epoch, offset=at.offset, text=piece.text
    )


def decode_piece(message: wire.SendLogRequest) -> log_types.LogPiece:
    """See :class:`atoll.log_types.LogPiece`. Raises: Refused."""
    if len(message.text) > MOST_BYTES:
        raise Refused(f"the message's text has more than {MOST_BYTES} bytes")
    island = required(message.island, "island")
    begin = log_types.LogPlace(
        f"{island}/{required(message.node, 'node')}" if message.node else island,
        count(message.epoch, "epoch"),
        count(message.offset, "offset"),
    )
    job = required(message.job, "job") if message.job else ""
    return log_types.LogPiece(begin, job, message.text)


def encode_place(place: log_types.LogPlace) -> wire.LogPlace:
    """See :class:`atoll.log_types.LogPlace`."""
    return wire.LogPlace(island=place.island, epoch=place.epoch, offset=place.offset)


def decode_place(message: wire.LogPlace) -> log_types.LogPlace:
    """See :class:`atoll.log_types.LogPlace`."""
    return log_types.LogPlace(message.island, message.epoch, message.offset)


def encode_lines(said: log_types.LogLines) -> wire.WatchLogResponse:
    """See :class:`atoll.log_types.LogLines`."""
    end = encode_place(said.end) if said.end else None
    return wire.WatchLogResponse(lines=said.lines, end=end, note=said.note)


def decode_lines(message: wire.WatchLogResponse) -> log_types.LogLines:
    """See :class:`atoll.log_types.LogLines`."""
    end = decode_place(message.end) if message.HasField("end") else None
    return log_types.LogLines(tuple(message.lines), end, message.note)
