"""Between gangs as the house has them and the wire's messages, see :mod:`atoll.codec`."""

from __future__ import annotations

from atoll import codec, gangs
from atoll.errors import Refused
from atoll.types import Ending, Outcome
from atoll.wire.v1 import control_pb2 as wire

_MOST_NODES = 1024
_MOST_NAME = 63
_MOST_WORDS = 2000  # a reason, and how many nodes it may name
_MOST_PORT = 65535


def encode_call(call: gangs.Call) -> wire.GatherRequest:
    """See :class:`atoll.gangs.Call`."""
    return wire.GatherRequest(
        island=call.island,
        node=call.node.name,
        address=call.node.address,
        gang=_encode_gang(call.gang),
        leaving=call.leaving,
        meeting=_encode_meeting(call.meeting) if call.meeting else None,
        trouble=_encode_trouble(call.trouble) if call.trouble else None,
    )


def decode_call(message: wire.GatherRequest) -> gangs.Call:
    """See :class:`atoll.gangs.Call`. Raises: Refused."""
    island = codec.required(message.island, "island")
    node = _decode_node(wire.GangNode(name=message.node, address=message.address))
    trouble = _decode_trouble(message.trouble) if message.HasField("trouble") else None
    if trouble and trouble.node != node.name:
        raise Refused(f"{node.name} tells of the trouble of {trouble.node}")
    return gangs.Call(
        island=island,
        node=node,
        gang=_decode_gang(message.gang),
        leaving=message.leaving,
        meeting=_decode_meeting(message.meeting) if message.HasField("meeting") else None,
        trouble=trouble,
    )


def encode_answer(answer: gangs.Answer) -> wire.GatherResponse:
    """See :class:`atoll.gangs.Answer`."""
    given = answer.assignment
    return wire.GatherResponse(
        gang=_encode_gang(answer.gang),
        assignment=codec.encode_assignment(given) if given else None,
        meeting=_encode_meeting(answer.meeting) if answer.meeting else None,
        troubles=[_encode_trouble(trouble) for trouble in answer.troubles],
        dismissed=answer.dismissed,
    )


def decode_answer(message: wire.GatherResponse) -> gangs.Answer:
    """See :class:`atoll.gangs.Answer`."""
    has_work = message.HasField("assignment")
    return gangs.Answer(
        gang=_decode_gang(message.gang),
        assignment=codec.decode_assignment(message.assignment) if has_work else None,
        meeting=_decode_meeting(message.meeting) if message.HasField("meeting") else None,
        troubles=tuple(_decode_trouble(trouble) for trouble in message.troubles),
        dismissed=message.dismissed,
    )


def decode_seat(message: wire.AcquireRequest) -> gangs.Seat | None:
    """See :class:`atoll.gangs.Seat`; None for an island of one node. Raises: Refused."""
    if not message.node:
        return None
    generation = codec.count(message.generation, "generation")
    return gangs.Seat(codec.required(message.node, "node", _MOST_NAME), generation)


def _encode_gang(gang: gangs.Gang) -> wire.Gang:
    nodes = [wire.GangNode(name=node.name, address=node.address) for node in gang.nodes]
    return wire.Gang(generation=gang.generation, nodes=nodes, others=gang.others, why=gang.why)


def _decode_gang(message: wire.Gang) -> gangs.Gang:
    if len(message.nodes) > _MOST_NODES or len(message.others) > _MOST_NODES:
        raise Refused(f"the message's gang has more than {_MOST_NODES} nodes")
    nodes = tuple(_decode_node(node) for node in message.nodes)
    if len({node.name for node in nodes}) < len(nodes):
        raise Refused("the message's gang has a node twice")
    return gangs.Gang(
        codec.count(message.generation, "generation"),
        nodes,
        tuple(codec.required(name, "node") for name in message.others),
        codec.required(message.why, "why", _MOST_WORDS) if message.why else "",
    )


def _decode_node(message: wire.GangNode) -> gangs.GangNode:
    name = codec.required(message.name, "node", _MOST_NAME)
    return gangs.GangNode(name, codec.required(message.address, "address"))


def _encode_meeting(meeting: gangs.Meeting) -> wire.Meeting:
    return wire.Meeting(generation=meeting.generation, epoch=meeting.epoch, port=meeting.port)


def _decode_meeting(message: wire.Meeting) -> gangs.Meeting:
    return gangs.Meeting(
        codec.count(message.generation, "generation"),
        codec.count(message.epoch, "epoch"),
        codec.count(message.port, "port", _MOST_PORT),
    )


def _encode_trouble(trouble: gangs.Trouble) -> wire.Trouble:
    outcome = trouble.outcome
    return wire.Trouble(
        node=trouble.node,
        epoch=trouble.epoch,
        ending=codec.encode_enum(outcome.ending),
        reason=outcome.reason,
        log=outcome.log,
    )


def _decode_trouble(message: wire.Trouble) -> gangs.Trouble:
    outcome = Outcome(codec.decode_enum(Ending, message.ending), message.reason, message.log)
    epoch = codec.count(message.epoch, "epoch")
    return gangs.Trouble(codec.required(message.node, "node", _MOST_NAME), epoch, outcome)
