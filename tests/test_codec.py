"""Blocks ⇄ bytes: lossless for every bit pattern, small for steps and constants, and wary of damage."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from random import Random
from typing import Any

import numpy as np
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from streamvis.codec import (
    MAX_BLOCK_POINTS,
    Codec,
    EncodedBlock,
    checksum,
    decode,
    decode_each,
    decode_joined,
    encode,
    validate,
)
from streamvis.columns import DTYPES, Array, Block, join
from streamvis.errors import MalformedError
from tests.strategies import bits, blocks, neighbours


def _block(**columns: Array) -> Block:
    return Block(7, 3, {name: np.atleast_2d(values) for name, values in sorted(columns.items())})


@given(blocks(), st.booleans())
def test_decoding_gives_back_every_bit(block: Block, dense: bool) -> None:
    """Any dtype, shape, NaN payload, infinity and -0.0 survives."""
    back = decode(encode(block, dense=dense), tuple(block.columns))
    assert (back.topic, back.index, back.shape) == (block.topic, block.index, block.shape)
    assert {name: bits(values) for name, values in back.columns.items()} == {
        name: bits(values) for name, values in block.columns.items()
    }


@given(neighbours(), st.booleans(), st.integers(1, 4))
def test_joining_what_is_encoded_gives_back_every_bit(blocks: list[Block], dense: bool, times: int) -> None:
    """Decoded together or one by one and joined: the same points, whatever codecs and lengths meet."""
    names = tuple(blocks[0].columns)
    encoded = [encode(block, dense=dense and place % 2 == 0) for place, block in enumerate(blocks * times)]
    found, expected = decode_joined(encoded, names), join(blocks * times)
    assert (found.topic, found.index, found.shape) == (expected.topic, expected.index, expected.shape)
    for name, values in expected.columns.items():
        assert bits(np.broadcast_to(found.columns[name], found.shape)) == bits(np.broadcast_to(values, found.shape))


def _all_bits(blocks: Sequence[Block]) -> list[Any]:
    return [
        (block.topic, block.index, {name: bits(values) for name, values in block.columns.items()}) for block in blocks
    ]


def _by_topic(blocks: Iterable[Block]) -> list[Block]:
    return sorted(blocks, key=lambda block: block.topic)


@given(st.lists(st.tuples(blocks(), st.booleans(), st.integers(1, 4)), max_size=6), st.randoms())
def test_decoding_many_blocks_gives_each_as_if_alone(drawn: list[tuple[Block, bool, int]], random: Random) -> None:
    """Each topic's in their order, those that are coded alike together or not."""
    pieces = [
        (encode(replace(block, topic=(block.topic + copy) % 5), dense=dense), tuple(block.columns))
        for block, dense, times in drawn
        for copy in range(times)
    ]
    random.shuffle(pieces)
    names = {id(encoded): columns for encoded, columns in pieces}
    found = decode_each([encoded for encoded, _ in pieces], lambda encoded: names[id(encoded)])
    assert len(found) == len(pieces)
    assert _all_bits(_by_topic(found)) == _all_bits(_by_topic(decode(encoded, columns) for encoded, columns in pieces))
    assert not any(values.flags.writeable for block in found for values in block.columns.values())


@pytest.mark.parametrize(
    "read", [decode_joined, lambda blocks, names: decode_each(blocks, lambda _: names)], ids=["joined", "each"]
)
def test_blocks_that_are_read_together_are_checked_one_by_one(
    read: Callable[[list[EncodedBlock], tuple[str, ...]], object],
) -> None:
    """Each block's CRC, shape and length, also where blocks look alike."""
    good = [encode(_block(x=np.arange(5.0) ** 2 + start, y=np.arange(5))) for start in range(4)]
    short = good[2]._replace(payload=good[2].payload[:-1])
    no_header = [block._replace(columns=block.columns[:-1]) for block in good]
    for bad in (good[2]._replace(crc=0), good[2]._replace(payload=good[1].payload), short):
        for several in ([*good[:2], bad, good[3]], [bad, *good[:2]], no_header):
            with pytest.raises(MalformedError):
                read(several, ("x", "y"))
    with pytest.raises(MalformedError, match="has 2 columns; the topic has 1"):
        read(good, ("x",))


@pytest.mark.parametrize(
    ("values", "codec", "size"),
    [
        (np.arange(1000), Codec.RUN, 16),
        (np.arange(1000, dtype=np.int32)[::-1], Codec.RUN, 8),
        (np.arange(1000) * 0.5, Codec.RUN, 16),
        (np.full(1000, 0.1), Codec.CONSTANT, 8),
        (np.full(1000, np.nan), Codec.CONSTANT, 8),
        (np.array([2**63 - 1, -(2**63), -(2**63) + 1]), Codec.RUN, 16),
        (np.array([0.0, -0.0, 0.0]), Codec.RAW, 24),
        (np.array([True, False, True]), Codec.RAW, 3),
        (np.array([0.0, 0.1, 0.3]), Codec.RAW, 24),
        (np.array([0.0, np.inf, np.inf]), Codec.RAW, 24),
    ],
)
def test_the_cheapest_exact_codec_is_chosen(values: Array, codec: Codec, size: int) -> None:
    """Steps and constants take a few bytes whatever their length; what no codec gives back exactly stays raw."""
    encoded = encode(_block(x=values))
    assert (encoded.columns[1], len(encoded.payload)) == (codec, size)
    assert bits(decode(encoded, ("x",)).columns["x"]) == bits(np.atleast_2d(values))


RNG = np.random.default_rng(1)
CURVE = (np.exp(-np.arange(1000) / 300) + 0.3 + RNG.normal(scale=0.02, size=1000)).astype(np.float32)
LOSSES = np.random.default_rng(0).exponential(size=1000)
# Payloads in bits that float32 has not, and has.
WIDE_NAN, NARROW_NAN = (
    np.array([0x3FB999999999999A & ~0x1FFFFFFF, 0x40C81CD6E0000000, 0x7FF8000000000000 | payload], "<u8").view("<f8")
    for payload in (1, 1 << 29)
)


@pytest.mark.parametrize(
    ("values", "codec", "least", "most"),
    [
        (LOSSES.astype(np.float32).astype(np.float64), Codec.SHUFFLED, 3000, 3600),
        (LOSSES, Codec.SHUFFLED, 6000, 7200),
        (np.array([0.1, 1.7, -0.0, np.inf, np.nan], np.float32).astype(np.float64), Codec.NARROW, 20, 20),
        (np.array([0.1, 1e300, 1.7]), Codec.RAW, 24, 24),
        (WIDE_NAN, Codec.RAW, 24, 24),
        (NARROW_NAN, Codec.NARROW, 12, 12),
        (np.array([0, 1, -128, 127]), Codec.NARROW, 4, 4),
        (np.array([0, 1, -129, 127]), Codec.NARROW, 8, 8),
        (np.array([0, 1, 2**15, 127]), Codec.NARROW, 16, 16),
        (np.array([0, 1, 2**31]), Codec.RAW, 24, 24),
        (np.array([0, -(2**63), 2**63 - 1]), Codec.RAW, 24, 24),
        (np.array([0, 3, 127], np.int32), Codec.NARROW, 3, 3),
        (np.array([0, 3, 2**15], np.int32), Codec.RAW, 12, 12),
        (np.arange(1000) % 7 == 0, Codec.SHUFFLED, 10, 100),
        (CURVE, Codec.DELTA, 2600, 2900),
        (CURVE.astype(np.float64), Codec.DELTA, 2600, 2900),
        (1.7e9 + RNG.exponential(0.1, 1000).cumsum(), Codec.DELTA, 2000, 3000),
        (RNG.integers(1, 4, 1000).cumsum(), Codec.DELTA, 250, 350),
        (np.arange(1000), Codec.RUN, 16, 16),
        (np.zeros(0), Codec.RAW, 0, 0),
    ],
)
def test_dense_columns_are_narrowed_and_compressed(values: Array, codec: Codec, least: int, most: int) -> None:
    """The narrowest exact dtype is taken, and it or its differences compressed where that saves a tenth."""
    encoded = encode(_block(x=values), dense=True)
    assert encoded.columns[1] == codec
    assert least <= len(encoded.payload) <= most
    assert bits(decode(encoded, ("x",)).columns["x"]) == bits(np.atleast_2d(values))


@given(hnp.arrays("<f4", st.integers(3, 300)), st.integers(1, 3))
def test_what_was_born_narrow_comes_back(values: Array, rows: int) -> None:
    """float32 in float64, small integers in large ones: dense columns of such values are exact and no longer."""
    with np.errstate(all="ignore"):
        wide = {
            "f": values.astype("<f8"),
            "i": values.astype("<i2").astype("<i8"),
            "j": values.astype("<i1").astype("<i4"),
        }
    block = Block(1, 0, {name: np.broadcast_to(column, (rows, len(column))) for name, column in wide.items()})
    encoded = encode(block, dense=True)
    assert len(encoded.payload) <= max(rows * len(values) * (4 + 2 + 1), 5 * 8)
    back = decode(encoded, ("f", "i", "j"))
    assert all(bits(back.columns[name]) == bits(column) for name, column in block.columns.items())


@given(st.data())
def test_one_changed_byte_never_decodes(data: st.DataObject) -> None:
    """The CRC covers indexes, shape, header and payload."""
    encoded = encode(_block(x=np.arange(5.0) ** 2, y=np.arange(5)))
    field = data.draw(st.sampled_from(["index", "n", "columns", "payload"]))
    value = getattr(encoded, field)
    if isinstance(value, int):
        damaged = encoded._replace(**{field: value + 1})
    else:
        place = data.draw(st.integers(0, len(value) - 1))
        flipped = bytes([value[place] ^ data.draw(st.integers(1, 255))])
        damaged = encoded._replace(**{field: value[:place] + flipped + value[place + 1 :]})
    with pytest.raises(MalformedError):
        decode(damaged, ("x", "y"))


numbers = st.sampled_from([dtype for dtype in DTYPES if dtype.kind != "b"])


@given(st.integers(0, 2**64 - 1), numbers, st.integers(1, 3))
def test_what_moves_by_little_is_stored_as_differences(start: int, dtype: np.dtype[Any], rows: int) -> None:
    """Whatever the bits: also where they pass through infinities, NaN payloads, -0.0 and the ends of the integers."""
    size = 8 * dtype.itemsize
    steps = np.random.default_rng(start).integers(-1000, 1000, rows * 600).astype(f"<i{dtype.itemsize}")
    steps[0] = (start + (1 << size - 1)) % (1 << size) - (1 << size - 1)
    values = steps.cumsum(dtype=steps.dtype).view(dtype).reshape(rows, -1)
    encoded = encode(_block(x=values), dense=True)
    assert encoded.columns[1] == Codec.DELTA
    assert len(encoded.payload) < 2 * values.size + 200
    assert bits(decode(encoded, ("x",)).columns["x"]) == bits(values)


def _differences(values: Array) -> bytes:
    """Codec 5 by the words of docs/protocol.md."""
    width = values.itemsize
    numbers = [int.from_bytes(value.tobytes(), "little") for value in values]
    differences = [(one - before) % (1 << 8 * width) for before, one in zip([0, *numbers], numbers, strict=False)]
    half = 1 << 8 * width - 1
    zigzag = [2 * one if one < half else 2 * (2 * half - one) - 1 for one in differences]
    planes = zip(*(one.to_bytes(width, "little") for one in zigzag), strict=True)
    return bytes([width]) + zstandard.compress(b"".join(map(bytes, planes)))


NARROWER = {"<f8": ("<f4",), "<i8": ("<i1", "<i2", "<i4"), "<i4": ("<i1", "<i2")}


@given(st.data(), numbers)
def test_differences_are_what_the_protocol_says(data: st.DataObject, dtype: np.dtype[Any]) -> None:
    """Any values, narrowed ones too, that were written by another hand."""
    stored = np.dtype(data.draw(st.sampled_from([dtype, *NARROWER.get(dtype.str, ())])))
    drawn = data.draw(hnp.arrays(f"<u{stored.itemsize}", st.integers(1, 8)))
    values = np.tile(drawn.view(stored), 64)
    payload = _differences(values)
    header = bytes([DTYPES.index(dtype), Codec.DELTA, 2, 0]) + len(payload).to_bytes(4, "little")
    found = decode(_forged(header, payload, n=values.size), ("x",)).columns["x"]
    with np.errstate(all="ignore"):
        assert bits(found) == bits(values.astype(dtype)[None])


def _forged(header: bytes, payload: bytes, *, k: int = 1, n: int = 2, index: int = 0) -> EncodedBlock:
    return EncodedBlock(1, index, k, n, header, payload, checksum(index, k, n, header, payload))


@pytest.mark.parametrize(
    ("block", "message"),
    [
        (_forged(b"\x09\x00\x02\x00\x10\x00\x00\x00", bytes(16)), "unknown dtype 9"),
        (_forged(b"\x01\x09\x02\x00\x10\x00\x00\x00", bytes(16)), "unknown codec 9"),
        (_forged(b"\x04\x02\x02\x00\x02\x00\x00\x00", bytes(2)), "unknown codec 2"),
        (_forged(b"\x01\x00\x02\x00\x08\x00\x00\x00", bytes(8)), "has 8 bytes"),
        (_forged(b"\x01\x00\x02\x00\x10\x00\x00\x00", bytes(17)), "payload has 17 bytes"),
        (_forged(b"\x01\x00\x02", bytes(16)), "header has 3 bytes"),
        (_forged(b"\x00\x03\x02\x00\x04\x00\x00\x00", bytes(4)), "unknown codec 3"),
        (_forged(b"\x01\x03\x02\x00\x10\x00\x00\x00", bytes(16)), "has 16 bytes"),
        (_forged(b"\x01\x03\x02\x00\x00\x00\x00\x00", b"", n=0), "has 0 bytes"),
        (_forged(b"\x01\x04\x02\x00\x10\x00\x00\x00", bytes(16)), "has 16 bytes"),
        (_forged(b"\x01\x04\x02\x00\x01\x00\x00\x00", bytes(1)), "has 1 bytes"),
        (_forged(b"\x01\x05\x02\x00\x10\x00\x00\x00", bytes(16)), "has 16 bytes"),
        (_forged(b"\x04\x05\x02\x00\x01\x00\x00\x00", bytes(1)), "unknown codec 5"),
        (_forged(b"\x01\x05\x02\x00\x01\x00\x00\x00", bytes(1)), "has 1 bytes"),
        (_forged(b"\x01\x06\x02\x00\x10\x00\x00\x00", bytes(16)), "unknown codec 6"),
        (_forged(b"", b""), "header has 0 bytes"),
        (_forged(b"\x01\x01\x00\x00\x08\x00\x00\x00", bytes(8)), "1 x 2 points, but its columns are not as long"),
        (_forged(b"\x01\x01\x00\x00\x08\x00\x00\x00", bytes(8), n=0), "1 x 0 points, but"),
        (_forged(b"\x01\x01\x02\x00\x08\x00\x00\x00", bytes(8), k=3), "3 x 2 points, but"),
        (_forged(b"\x01\x01\x00\x00\x08\x00\x00\x00", bytes(8), k=0), "indexes 0 to -1"),
        (_forged(b"\x01\x01\x00\x00\x08\x00\x00\x00", bytes(8), index=2**31), "indexes"),
        (_forged(b"\x01\x01\x00\x00\x08\x00\x00\x00", bytes(8), n=MAX_BLOCK_POINTS + 1), "at most"),
    ],
)
def test_a_forged_block_is_refused_with_a_reason(block: EncodedBlock, message: str) -> None:
    """Numbers that do not fit together are named, and nothing large is allocated for them."""
    with pytest.raises(MalformedError, match=message):
        validate(block)


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (b"\x00" + zstandard.compress(b""), "as values of 0 bytes"),
        (b"\x03" + zstandard.compress(bytes(600)), "as values of 3 bytes"),
        (b"\x08" + zstandard.compress(bytes(1 << 20)), "does not hold 200 values"),
        (b"\x08" + zstandard.compress(bytes(1600))[:-1], "cannot be read"),
        (b"\x08garbage", "cannot be read"),
    ],
)
@pytest.mark.parametrize("codec", [Codec.SHUFFLED, Codec.DELTA])
def test_a_forged_frame_is_refused_with_a_reason(codec: Codec, payload: bytes, message: str) -> None:
    """A compressed column that says another size, or is none, is found before anything of that size is allocated."""
    header = bytes([1, codec, 2, 0]) + len(payload).to_bytes(4, "little")
    with pytest.raises(MalformedError, match=message):
        decode(_forged(header, payload, n=200), ("x",))


def test_a_block_of_other_columns_is_refused() -> None:
    """A header with more or fewer columns than the topic has cannot be read."""
    with pytest.raises(MalformedError, match="has 1 columns; the topic has 2"):
        decode(encode(_block(x=np.zeros(3))), ("x", "y"))
