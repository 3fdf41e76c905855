"""Requests that no peer of ours would send: bytes, messages and streams that are wrong in every way we know. Pure.

Everything is made from a seed and the request's number, so that any request can be made again.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import inf, nan
from typing import Any, TypeAlias

import numpy as np
import zstandard
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from streamvis import wire
from streamvis.codec import Codec, EncodedBlock, checksum, encode
from streamvis.columns import Array, Block
from streamvis.records import Batch, Config, Declaration, Status, pack_cursor
from streamvis.v1 import health_pb2, reflection_pb2
from streamvis.v1 import streamvis_pb2 as pb

KEPT = "kept"
"""The scope that must stay as it is. Only queries name it: the bytes of one method may go to another, which deletes."""

TIMELINE = 7
"""That of the store which is attacked, for cursors that it has given."""

WRITE, SUBSCRIBE = "/streamvis.v1.Streamvis/Write", "/streamvis.v1.Streamvis/Subscribe"
WATCH = "/grpc.health.v1.Health/Watch"
SENTINEL = 4_000_000_007
"""The id of a sound interest behind the others of a stream: what was not refused has to answer it."""

MORE_THAN_FITS = 17 << 20

_Chance: TypeAlias = random.Random


@dataclass(frozen=True, slots=True)
class Request:
    """Messages for one method. `ending`: read to the end, or break off after the first answer, or read nothing."""

    method: str
    messages: tuple[bytes, ...]
    ending: str = "read"

    def __str__(self) -> str:
        shown = [f"{len(message)} bytes {message[:300].hex()}" for message in self.messages[:8]]
        return f"{self.method}, {self.ending}, {len(self.messages)} messages: {'; '.join(shown)}"


@dataclass(frozen=True, slots=True)
class Garbage:
    """Bytes for the bare port."""

    data: bytes
    reset: bool

    def __str__(self) -> str:
        return f"{len(self.data)} bytes for the port{', reset' * self.reset}: {self.data[:300].hex()}"


def attack(seed: int, number: int) -> Request | Garbage:
    """The request of that number."""
    chance = random.Random(f"{seed} {number}")
    if chance.random() < 0.03:
        return _garbage(chance)
    method = chance.choice(METHODS)
    messages = _BASES[method](chance, number)
    kind = chance.random()
    if kind < 0.35:
        messages = _spoilt_one(chance, messages, lambda message: _mutated(chance, message.SerializeToString()))
    elif kind < 0.75:
        messages = _spoilt_one(chance, messages, lambda message: _spoilt(chance, message).SerializeToString())
    elif kind < 0.85:
        return Request(chance.choice(METHODS), _bytes_of(messages), _ending(chance))
    elif kind < 0.92:
        messages = [*messages, *[chance.choice(messages)] * chance.choice((1, 5, 200))]
    else:
        method = chance.choice((*METHODS, method + "s", "/", "/streamvis.v1.Streamvis/", "/../x"))
        return Request(method, (_noise(chance),), _ending(chance))
    return Request(method, _bytes_of(messages), _ending(chance))


def _bytes_of(messages: Sequence[Message | bytes]) -> tuple[bytes, ...]:
    return tuple(one if isinstance(one, bytes) else one.SerializeToString() for one in messages)


def _ending(chance: _Chance) -> str:
    return chance.choices(("read", "break off", "ignore"), (80, 15, 5))[0]


def _spoilt_one(
    chance: _Chance, messages: Sequence[Message], spoil: Callable[[Message], bytes]
) -> list[Message | bytes]:
    place = chance.randrange(len(messages))
    return [*messages[:place], spoil(messages[place]), *messages[place + 1 :]]


# ---- wrong bytes


def _noise(chance: _Chance) -> bytes:
    size = chance.choices((0, 1, 20, 1000, MORE_THAN_FITS), (10, 10, 50, 29.9, 0.1))[0]
    return chance.randbytes(size) if size < MORE_THAN_FITS else bytes(size)


def _mutated(chance: _Chance, data: bytes) -> bytes:
    for _ in range(chance.choice((1, 1, 1, 2, 5, 20))):
        data = chance.choice(_MUTATIONS)(chance, data)
    return data


def _flip(chance: _Chance, data: bytes) -> bytes:
    at = chance.randrange(len(data) or 1)
    return data[:at] + bytes(byte ^ 1 << chance.randrange(8) for byte in data[at : at + 1]) + data[at + 1 :]


def _cut(chance: _Chance, data: bytes) -> bytes:
    return data[: chance.randrange(len(data) or 1)]


def _drop(chance: _Chance, data: bytes) -> bytes:
    start = chance.randrange(len(data) or 1)
    return data[:start] + data[start + chance.choice((1, 2, 8, 100)) :]


def _repeat(chance: _Chance, data: bytes) -> bytes:
    start = chance.randrange(len(data) or 1)
    piece = data[start : start + chance.choice((1, 8, 100))]
    return data[:start] + piece * chance.choice((2, 3, 100)) + data[start:]


def _insert(chance: _Chance, data: bytes) -> bytes:
    at = chance.randrange(len(data) + 1)
    return data[:at] + chance.choice((*_EVIL_BYTES, chance.randbytes(8))) + data[at:]


def _overwrite(chance: _Chance, data: bytes) -> bytes:
    at, piece = chance.randrange(len(data) or 1), chance.choice((*_EVIL_BYTES, chance.randbytes(8)))
    return data[:at] + piece + data[at + len(piece) :]


_MUTATIONS = (_flip, _flip, _cut, _drop, _repeat, _insert, _overwrite)
_EVIL_BYTES = (
    b"\0",
    b"\xff",
    b"\x7f",
    b"\x80",
    b"\xff" * 9 + b"\x01",  # the largest varint
    b"\xff" * 12,  # a varint without end
    b"\x7a\xff\xff\xff\xff\x07",  # field 15 of 2 GiB
    b"\x0b" * 200,  # groups in groups
    b"\xed\xa0\x80",  # half of a surrogate pair
    b"\xc0\x80",  # NUL in two bytes
    b"\xf4\x90\x80\x80",  # beyond Unicode
)

# ---- wrong messages


def _spoilt(chance: _Chance, message: Message) -> Message:
    """The message with some of its fields, or of those of the messages in it, made wrong."""
    for _ in range(chance.choice((1, 1, 1, 2, 4)) if message.DESCRIPTOR.fields else 0):
        _spoil_field(chance, *chance.choice(list(_fields(message))))
    if isinstance(message, pb.Batch) and chance.random() < 0.7:
        for block in message.blocks:
            kind = chance.randrange(4)
            if kind == 0:
                _forge(chance, block)
            elif kind == 1:
                block.payload = _flip(chance, block.payload)
            block.crc = checksum(block.index, block.k, block.n, block.columns, block.payload)
    return message


def _fields(message: Message) -> Iterator[tuple[Message, FieldDescriptor]]:
    for field in message.DESCRIPTOR.fields:
        yield message, field
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            value = getattr(message, field.name)
            for inner in value if _repeated(value) else [value] * message.HasField(field.name):
                yield from _fields(inner)


def _repeated(value: object) -> bool:
    return hasattr(value, "extend")  # the one sign that every version of protobuf gives


def _spoil_field(chance: _Chance, message: Message, field: FieldDescriptor) -> None:
    values = getattr(message, field.name)
    repeated = _repeated(values)
    if field.type == FieldDescriptor.TYPE_MESSAGE:
        if repeated and len(values) and chance.random() < 0.6:
            copies = [type(one).FromString(one.SerializeToString()) for one in values]
            values.extend(chance.choice(copies) for _ in range(chance.choice((1, 2, 50))))
        elif repeated:
            values.add()
        elif message.HasField(field.name) and chance.random() < 0.5:
            message.ClearField(field.name)
        else:
            values.SetInParent()
    elif repeated:
        action = chance.randrange(3)
        if action == 0:
            message.ClearField(field.name)
        else:
            values.extend(_evil(chance, field) for _ in range(chance.choice((1, 2, 2000) if action == 1 else (1,))))
    elif chance.random() < 0.1:
        message.ClearField(field.name)
    else:
        setattr(message, field.name, _evil(chance, field))


def _evil(chance: _Chance, field: FieldDescriptor) -> Any:
    kind = field.cpp_type
    if kind == FieldDescriptor.CPPTYPE_STRING:
        if field.type == FieldDescriptor.TYPE_BYTES:
            return chance.choice((*_EVIL_BYTES, *_EVIL_JSON, *_cursors(chance), chance.randbytes(24)))
        return chance.choice(_EVIL_PATTERNS if "filter" in field.name else _EVIL_TEXTS)
    if kind == FieldDescriptor.CPPTYPE_BOOL:
        return chance.random() < 0.5
    if kind in (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT):
        return chance.choice((nan, inf, -inf, -0.0, 1e308, -1e308, 5e-324, -1.0, 2.0**53 + 1))
    bits = 64 if kind in (FieldDescriptor.CPPTYPE_UINT64, FieldDescriptor.CPPTYPE_INT64) else 32
    signed = kind in (FieldDescriptor.CPPTYPE_INT64, FieldDescriptor.CPPTYPE_INT32)
    least, most = (-1 << bits - 1, (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    number = chance.choice((0, 1, 2, 3, 255, 1 << 24, (1 << 24) + 1, 1 << 31, (1 << 31) - 1, 1 << 32, least, most))
    return max(least, min(most, number))


def _cursors(chance: _Chance) -> Iterator[bytes]:
    yield pack_cursor({TIMELINE: chance.choice((1, 2, 1 << 40, (1 << 64) - 1))})
    yield pack_cursor({chance.randrange(1 << 32): 1})
    yield _LONG_CURSOR


_LONG_CURSOR = pack_cursor(dict.fromkeys(range(1000), 1))  # TIMELINE is one of them
_EVIL_TEXTS = (
    "",
    "\0",
    "a\0b",
    "x" * 4097,
    "x" * 10_000,
    "\N{GRINNING FACE}" * 1025,
    "\n" * 50,
    "\x1b[2J",
    "\N{RIGHT-TO-LEFT OVERRIDE}abc",
    "../../../etc/passwd",
    "'); DROP TABLE block; --",
    "%s %n {0} {x}",
    "{" * 2000,
    "finished",
)
_EVIL_PATTERNS = (
    *_EVIL_TEXTS,
    "(",
    "[",
    "*",
    "!",
    "!(",
    "(?=x)",
    r"\1",
    r"\C",
    "a{1001}",
    "(((a{100}){100}){100})",
    "(x+x+)+y",
    "(?i)" + "a" * 9000,
    ".*" * 3000,
    "(" * 2000 + ")" * 2000,
    "[[:word:]",
    r"\p{Nonsense}",
)
_EVIL_JSON = (
    b"",
    b"{",
    b"[]",
    b"null",
    b'"text"',
    b'{"a":' * 2000 + b"1" + b"}" * 2000,
    b"[" * 100_000,
    b'{"a":"\\ud800"}',
    b'{"a":1e999,"b":NaN,"c":-Infinity}',
    b'{"a":' + b"9" * 5000 + b"}",
    b'{"\\u0000":"\\u0000","":{}}',
    b'{"a":1,"a":{"a":2}}',
    b'{"a":"' + b"x" * 3_000_000 + b'"}',
    b"\xef\xbb\xbf{}",
    b"\xff\xfe{\0}\0",
)

# ---- wrong blocks


def _forge(chance: _Chance, block: pb.Block) -> None:
    """Columns of any kind, some of whose numbers fit together."""
    if chance.random() < 0.5:
        block.k = chance.choice((0, 1, 1, 1, 2, 1 << 7, 1 << 16, 1 << 24, (1 << 32) - 1))
        block.n = chance.choice((0, 1, 2, 50, 1 << 14, 1 << 24, (1 << 32) - 1))
    count = len(block.columns) // 8 if chance.random() < 0.9 else chance.choice((0, 1, 3, 1024, 2000))
    columns, payload = [], []
    for _ in range(count):
        dtype, codec, axes = chance.randrange(6), chance.randrange(len(Codec) + 1), chance.choice((0, 1, 2, 3, 255))
        size = (block.k if axes & 1 else 1) * (block.n if axes & 2 else 1)
        data = _data(chance, codec, size, (4, 8, 4, 8, 1, 1)[dtype])[: _MOST_FORGED // count]
        length = len(data) if chance.random() < 0.9 else chance.choice((0, 1, 1 << 31, (1 << 32) - 1))
        columns.append(bytes([dtype, codec, axes, chance.choice((0, 0, 9))]) + length.to_bytes(4, "little"))
        payload.append(data)
    block.columns, block.payload = b"".join(columns), b"".join(payload)


_MOST_FORGED = 1 << 17


def _data(chance: _Chance, codec: int, size: int, width: int) -> bytes:
    """About what a column of so many values would have."""
    match codec:
        case Codec.CONSTANT:
            return chance.randbytes(width)
        case Codec.RUN:
            return chance.randbytes(2 * width)
        case Codec.NARROW:
            return bytes(min(size * chance.choice((1, 2, width)), _MOST_FORGED))
        case Codec.SHUFFLED | Codec.DELTA:
            head = chance.choice((width, width, 1, 2, 4, 0, 255))
            return bytes([head]) + chance.choice((_bomb(size * width), _bomb(1 << 20), _UNSIZED, chance.randbytes(9)))
        case _:
            return bytes(min(size * width, _MOST_FORGED))


@lru_cache
def _bomb(size: int) -> bytes:
    """A frame that unfolds to so many bytes, or to as many as we have time for."""
    return zstandard.compress(bytes(min(size, 1 << 24)))


_UNSIZED = zstandard.ZstdCompressor(write_content_size=False).compress(bytes(1 << 12))


def _block(chance: _Chance, handle: int) -> EncodedBlock:
    n, k = chance.choice((1, 1, 5, 300, 3000)), chance.choice((1, 1, 1, 4))
    block = _sound_block(n, k, chance.choice(_VALUES), chance.choice(_VALUES), chance.random() < 0.5)
    return block._replace(topic=handle)


@lru_cache(maxsize=4096)
def _sound_block(n: int, k: int, x: str, y: str, dense: bool) -> EncodedBlock:
    columns = {"x": _values(x, n)[None], "y": np.broadcast_to(_values(y, n), (k, n))}
    return encode(Block(0, 0, columns), dense=dense)


_VALUES = ("run", "constant", "random", "single", "small", "walk")


def _values(kind: str, n: int) -> Array:
    rng = np.random.default_rng(n)
    match kind:
        case "run":
            return np.arange(n)
        case "constant":
            return np.zeros(n)
        case "random":
            return rng.random(n)
        case "single":
            return rng.random(n, np.float32).astype(np.float64)
        case "walk":
            return rng.normal(size=n).cumsum()
        case _:
            return rng.integers(0, 9, n)


# ---- sound messages, to be spoilt


def _name(chance: _Chance) -> str:
    return f"n{chance.randrange(8)}"


def _scope(chance: _Chance) -> str:
    return f"fuzz{chance.randrange(3)}"


def _batches(chance: _Chance, number: int) -> list[Message]:
    scope, names = _scope(chance), sorted({_name(chance), _name(chance)})
    declared = tuple(
        Declaration(handle, scope, name, ("x", "y"), replace=chance.random() < 0.1)
        for handle, name in enumerate(names, 1)
    )
    config = Config(scope, {"lr": 0.1, "deep": {"a": [1, 2, {"b": True}]}})
    status = Status(scope, "running", 2.0, 1.0, 2.0, '{"points":1}')
    batches: list[Message] = []
    for at in range(1, chance.randint(2, 4)):
        blocks = tuple(_block(chance, chance.randint(1, len(names))) for _ in range(chance.randrange(4)))
        first = (declared, (config,), blocks, status) if at == 1 else ((), (), blocks)
        batches.append(wire.batch_to_pb(Batch(f"w{number}", at, *first)))
    return batches


def _query(chance: _Chance) -> pb.Query:
    query = pb.Query(exact=chance.random() < 0.3, catalog_only=chance.random() < 0.3)
    if chance.random() < 0.4:
        query.topics.add(scope=chance.choice((KEPT, _scope(chance))), name=chance.choice(("loss", _name(chance))))
    if chance.random() < 0.6:
        query.scope_filter = chance.choice((KEPT, "fuzz", "!kept", "^k.*t$"))
    if chance.random() < 0.5:
        query.name_filters.extend(chance.choices(("loss", "^n[0-3]$", "!n", ".*"), k=2))
    if chance.random() < 0.3:
        query.cursor = pack_cursor({TIMELINE: chance.choice((0, 1, 2, 5))})
    if chance.random() < 0.5:
        reduction = query.reduction
        reduction.window, reduction.stride = chance.choice(((0, 0), (1, 1), (100, 10), (7, 0), (1 << 24, 1)))
        reduction.x, reduction.max_points = chance.choice(("x", "y", "no")), chance.choice((0, 2, 50))
        if chance.random() < 0.5:
            reduction.low.real, reduction.high.integer = -1.5, 1 << 40
        if chance.random() < 0.3:
            condition = reduction.where.add(column="y")
            condition.low.integer, condition.high.real = 0, 0.5
    return query


def _interests(chance: _Chance, _: int) -> list[Message]:
    interests: list[Message] = []
    for id_ in range(1, chance.randint(2, 5)):
        query = _query(chance)
        query.ClearField("reduction")
        interests.append(pb.Interest(id=id_, add=query))
        if chance.random() < 0.2:
            interests.append(pb.Interest(id=id_, drop=True))
    return interests


def sentinel() -> bytes:
    """A sound interest, cheap to answer."""
    query = pb.Query(topics=[pb.TopicName(scope="no", name="no")], catalog_only=True)
    return pb.Interest(id=SENTINEL, add=query).SerializeToString()


def _trash(kind: Callable[..., Message]) -> Callable[[_Chance, int], list[Message]]:
    return lambda chance, _: [kind(scope=_scope(chance), names=[_name(chance)] * chance.randrange(3))]


_PREFIX = "/streamvis.v1.Streamvis/"
_BASES: dict[str, Callable[[_Chance, int], list[Message]]] = {
    WRITE: _batches,
    _PREFIX + "Fetch": lambda chance, _: [_query(chance)],
    SUBSCRIBE: _interests,
    _PREFIX + "List": lambda chance, _: [_query(chance)],
    _PREFIX + "SetConfig": lambda chance, _: [pb.Config(scope=_scope(chance), json=b'{"lr":0.1,"a":{"b":[1,null]}}')],
    _PREFIX + "Delete": _trash(pb.DeleteRequest),
    _PREFIX + "Restore": _trash(pb.RestoreRequest),
    _PREFIX + "Purge": _trash(pb.PurgeRequest),
    _PREFIX + "Usage": lambda _, __: [pb.UsageRequest(scope_filter="fuz+")],
    _PREFIX + "Sizes": lambda chance, _: [pb.SizesRequest(scope=_scope(chance), trash=chance.random() < 0.5)],
    _PREFIX + "Runs": lambda _, __: [pb.RunsRequest(scope_filter="fuz+")],
    _PREFIX + "Stats": lambda _, __: [pb.StatsRequest()],
    "/grpc.health.v1.Health/Check": lambda _, __: [health_pb2.HealthCheckRequest(service="streamvis.v1.Streamvis")],
    WATCH: lambda _, __: [health_pb2.HealthCheckRequest(service="")],
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo": lambda _, __: [
        reflection_pb2.ServerReflectionRequest(host="h", list_services="*"),
        reflection_pb2.ServerReflectionRequest(file_containing_symbol="streamvis.v1.Batch"),
    ],
}
METHODS = (*_BASES, WRITE, WRITE, WRITE, SUBSCRIBE, _PREFIX + "Fetch")
"""With those twice or more that have most to go wrong."""

# ---- wrong connections

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_SETTINGS = b"\0\0\0\x04\0\0\0\0\0"


def _garbage(chance: _Chance) -> Garbage:
    kind = chance.randrange(8)
    if kind == 0:
        data = b""
    elif kind == 1:
        data = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    elif kind == 2:
        data = bytes.fromhex("16030100c8010000c40303") + chance.randbytes(190)  # TLS says hello
    elif kind == 3:
        data = chance.randbytes(chance.choice((1, 50, 100_000)))
    elif kind == 4:
        data = _PREFACE[: chance.randrange(len(_PREFACE))]
    elif kind == 5:
        data = _PREFACE + _SETTINGS + chance.randbytes(chance.choice((9, 500, 70_000)))
    else:
        frames = (_frame_of(chance) for _ in range(chance.choice((1, 5, 300))))
        data = _PREFACE + _SETTINGS + b"".join(frames)
    return Garbage(data, reset=chance.random() < 0.3)


def _frame_of(chance: _Chance) -> bytes:
    """An HTTP/2 frame of any type, flags and stream; now and then with a length that is not its own."""
    body = chance.randbytes(chance.choice((0, 4, 8, 40)))
    length = len(body) if chance.random() < 0.9 else chance.choice((0, 1 << 14, (1 << 24) - 1))
    head = length.to_bytes(3, "big") + bytes([chance.randrange(11), chance.randrange(256)])
    return head + chance.choice((0, 0, 1, 3, 1 << 31)).to_bytes(4, "big") + body
