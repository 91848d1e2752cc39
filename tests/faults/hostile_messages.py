"""Makes messages to every call that nobody would send."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from atoll.identity import Identity, Kind
from atoll.wire.v1 import control_pb2, identity_pb2

FILES = (control_pb2.DESCRIPTOR, identity_pb2.DESCRIPTOR)
METHODS = [
    method
    for file in FILES
    for service in file.services_by_name.values()
    for method in service.methods
]
# A new name is a new job or island, of which there may be as many as an operator likes.
NAMING = {"Submit", "Acquire"}
TEXTS = ["", "expert-0", "island-1", "\x00", "../../etc/passwd", "é" * 300, "x" * 2000]
HUGE = "x" * 100_000
NUMBERS = [0, 1, 2, 99, 2**31 - 1, 2**32 - 1, 2**63, 2**64 - 1]
REALS = [0.0, -1.0, 1e308, float("nan"), float("inf"), float("-inf")]


def method_of(name: str) -> MethodDescriptor:
    return next(method for method in METHODS if method.name == name)


def path_of(method: MethodDescriptor) -> str:
    return f"/{method.containing_service.full_name}/{method.name}"


@dataclass
class Generator:
    """Makes messages that nobody would send."""

    rng: random.Random = field(default_factory=lambda: random.Random(0))

    def message(self, method: MethodDescriptor, who: Identity) -> Message:
        made = self.filled(GetMessageClass(method.input_type)())
        # Who does not speak for itself gets no further than that.
        if who.kind is not Kind.OPERATOR and self.rng.random() < 0.7:
            named = made.lease if "lease" in made.DESCRIPTOR.fields_by_name else made
            if "island" in named.DESCRIPTOR.fields_by_name:
                named.island = who.name
        return made

    def filled(self, message: Message, depth: int = 0) -> Message:
        """Fields of the right kind with values of the wrong sort."""
        for each in message.DESCRIPTOR.fields:
            if self.rng.random() < 0.3:
                continue
            values = [self.value(each, depth) for _ in range(self.rng.randint(1, 3))]
            if each.message_type is not None:
                places = getattr(message, each.name)
                for value in values if each.is_repeated else values[:1]:
                    (places.add() if each.is_repeated else places).MergeFrom(value)
            elif each.is_repeated:
                getattr(message, each.name).extend(values)
            else:
                setattr(message, each.name, values[0])
        return message

    def value(self, each: FieldDescriptor, depth: int):
        if each.message_type is not None:
            made = GetMessageClass(each.message_type)()
            return self.filled(made, depth + 1) if depth < 4 else made
        if each.enum_type is not None:
            return self.rng.choice([0, 1, 2, 99])
        if each.type == FieldDescriptor.TYPE_STRING:
            return HUGE if self.rng.random() < 0.003 else self.rng.choice(TEXTS)
        choices = {
            FieldDescriptor.TYPE_BYTES: [b"", b"\x30" * 5000, self.rng.randbytes(100)],
            FieldDescriptor.TYPE_BOOL: [True, False],
            FieldDescriptor.TYPE_DOUBLE: REALS,
            FieldDescriptor.TYPE_UINT32: [number for number in NUMBERS if number < 2**32],
        }
        return self.rng.choice(choices.get(each.type, NUMBERS))

    def mutated(self, data: bytes, method: MethodDescriptor) -> bytes:
        """The same bytes, or with something wrong."""
        match self.rng.randrange(8):
            case 0:
                return data[: self.rng.randint(0, len(data))]
            case 1:
                return data + self.rng.randbytes(self.rng.randint(1, 40))
            case 2:
                return self.rng.randbytes(self.rng.randint(0, 200))
            case 3 if data and method.name not in NAMING:
                broken = bytearray(data)
                for _ in range(self.rng.randint(1, 4)):
                    broken[self.rng.randrange(len(broken))] ^= 1 << self.rng.randrange(8)
                return bytes(broken)
            case 4 if self.rng.random() < 0.003:
                return data + bytes(5 << 20)
        return data
