"""What numbers mean and what happened: channel arithmetic, SCHEMA parts, EVENT payloads."""

from __future__ import annotations

import random
from decimal import Decimal

import cbor2
import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blocks_data import ACCELERATION, ENVIRONMENT, stream_of
from fieldlog_protocol.blocks import events
from fieldlog_protocol.blocks.block import BLOCK_SIZES, capacity
from fieldlog_protocol.blocks.events import Event, TimedEvent, decode_events, encode_events
from fieldlog_protocol.blocks.schema import (
    Channel,
    ChannelType,
    Schema,
    Stream,
    merge_schema,
    parse_schema_part,
    schema_blocks,
)
from fieldlog_protocol.errors import BlockError, UsageError

SCHEMA = Schema(b"\x01\x02", 0xDEADBEEF, "1.2.3", "demo", 4, (ENVIRONMENT, ACCELERATION))
SMALL = Schema(b"\x01", 2, "1.0", "p", 3, (Stream(1, "s", 1000, (Channel("t", "Cel", ChannelType.I16, exponent=-2),)),))
GOLDEN_PART = (
    "a8 616b 00 616e 01 6175 4101 616c 02 6166 63312e30 6164 6170 6179 03 6172 81 a3 6161 00 617a 01"
    "6173 a4 6169 01 616e 6173 6170 1903e8 6163 81 a4 616e 6174 6175 6343656c 6174 01 6165 21"
)
EVENTS: list[tuple[TimedEvent, str]] = [
    (TimedEvent(1, events.Boot("power-on", "1.0")), "01 00 a2 6172 68706f7765722d6f6e 6166 63312e30"),
    (
        TimedEvent(2, events.ClockSync(300, -5, 6, "host")),
        "02 01 a4 616b 19012c 6175 24 6165 06 6173 64686f7374",
    ),
    (TimedEvent(3, events.Mark("here")), "03 02 a1 6174 6468657265"),
    (TimedEvent(4, events.ConfigChange("k")), "04 03 a1 616b 616b"),
    (TimedEvent(5, events.Battery(3700)), "05 04 a1 616d 190e74"),
    (TimedEvent(6, events.SessionStart(7, "lab")), "06 05 a2 6169 07 616c 636c6162"),
    (TimedEvent(7, events.SessionStop(7, "full")), "07 06 a2 6169 07 6172 6466756c6c"),
    (TimedEvent(8, events.Metadata(0, 2, b"\xa1")), "08 07 a3 6169 00 616e 02 6164 41a1"),
    (TimedEvent(8, events.UnknownEvent(99, {"x": [1, None]})), "08 18 63 a1 6178 82 01 f6"),
]


@given(
    raw=st.lists(st.integers(-(2**31), 2**31 - 1), min_size=1, max_size=50),
    multiplier=st.integers(-5000, 5000).filter(bool),
    exponent=st.integers(-12, 6),
    offset=st.integers(-(10**6), 10**6),
)
def test_values_are_the_nearest_floats_of_the_exact_decimals(
    raw: list[int], multiplier: int, exponent: int, offset: int
) -> None:
    channel = Channel("c", "1", ChannelType.I32, multiplier=multiplier, exponent=exponent, offset=offset)
    exact = [Decimal(value * multiplier + offset).scaleb(exponent) for value in raw]
    assert channel.values(raw).tolist() == [float(value) for value in exact]


@given(raw=st.integers(-(2**63), 2**63 - 1), exponent=st.integers(-30, 30), multiplier=st.integers(1, 2**62))
def test_values_beyond_float_integers_are_rounded_once(raw: int, exponent: int, multiplier: int) -> None:
    channel = Channel("c", "1", ChannelType.I64, multiplier=multiplier, exponent=exponent)
    assert channel.value(raw) == float(f"{raw * multiplier}e{exponent}")


def test_every_two_decimal_text_is_met_exactly() -> None:
    channel = Channel("temperature", "degF", ChannelType.I16, exponent=-2, missing=-32768)
    raw = np.arange(-32768, 32768)
    texts = [f"{Decimal(int(value)).scaleb(-2)}" for value in raw[1:]]
    values = channel.values(raw)
    assert np.isnan(values[0])
    assert values[1:].tolist() == [float(text) for text in texts]
    assert channel.value(3902) == 39.02
    assert channel.value(-32768) is None
    assert (channel.scale, channel.decimals) == (Decimal("0.01"), 2)


def test_float_channels_pass_through() -> None:
    channel = Channel("f", "V", ChannelType.F32, multiplier=2, offset=1, exponent=1)
    assert channel.values(np.array([1.5, -1], np.float32)).tolist() == [40, -10]
    assert channel.value(float("nan")) is None
    assert channel.values(np.empty(0, np.float32)).tolist() == []


@pytest.mark.parametrize(
    "make",
    [
        lambda: Channel("c", "1", ChannelType.I8, missing=128),
        lambda: Channel("c", "1", ChannelType.F32, missing=0),
        lambda: Channel("c", "1", ChannelType.I8, multiplier=0),
        lambda: Channel("c", "1", ChannelType.I8, exponent=31),
        lambda: Stream(256, "s", 1, (Channel("c", "1", ChannelType.I8),)),
        lambda: Stream(1, "s", 0, (Channel("c", "1", ChannelType.I8),)),
        lambda: Stream(1, "s", 1, ()),
        lambda: stream_of([ChannelType.I8] * 256),
        lambda: Schema(b"", 0, "", "", 0, (ENVIRONMENT, ENVIRONMENT)),
        lambda: stream_of([ChannelType.I8] * 255, timed=True),
    ],
)
def test_descriptions_that_make_no_sense_are_refused(make: object) -> None:
    with pytest.raises(UsageError):
        make()  # type: ignore[operator]


def test_golden_schema_part_both_ways() -> None:
    ((stream_id, payload),) = schema_blocks(SMALL, 1024)
    assert stream_id == 1
    assert payload.hex() == bytes.fromhex(GOLDEN_PART).hex()
    assert merge_schema([parse_schema_part(bytes.fromhex(GOLDEN_PART))]) == SMALL


def wide(channels: int, name: str = "a channel with a long name indeed") -> Schema:
    columns = tuple(
        Channel(f"{name} {index}", "ug/m3", ChannelType.ENUM, missing=255, minimum=0.5, choices=("off", "on"))
        for index in range(channels)
    )
    return Schema(b"u" * 12, 1, "1.0.0+build", "wide", 9, (ENVIRONMENT, Stream(5, "wide", 1_000_000, columns)))


@pytest.mark.parametrize("size", BLOCK_SIZES)
@pytest.mark.parametrize("channels", [1, 2, 40, 255])
def test_schemas_of_any_width_are_cut_into_blocks_and_merged(size: int, channels: int) -> None:
    schema = wide(channels)
    payloads = [payload for _, payload in schema_blocks(schema, size)]
    assert max(map(len, payloads)) <= capacity(size)
    parts = [parse_schema_part(payload) for payload in payloads]
    assert [(part.part, part.parts) for part in parts] == [(n, len(parts)) for n in range(len(parts))]
    random.Random(1).shuffle(parts)
    assert merge_schema(parts * 2) == schema


def test_a_schema_that_fits_one_block_is_one_block() -> None:
    ((stream_id, payload),) = schema_blocks(SCHEMA, 1024)
    part = parse_schema_part(payload)
    assert (stream_id, part.part, part.parts, part.stream, part.first) == (1, 0, 1, ENVIRONMENT, 0)
    assert merge_schema([part]) == SCHEMA
    assert len(schema_blocks(SCHEMA, 256)) == 2


def test_a_stream_with_a_missing_part_is_left_out() -> None:
    parts = [parse_schema_part(payload) for _, payload in schema_blocks(wide(40), 512)]
    assert len(parts) > 4
    for lost in range(1, len(parts)):
        merged = merge_schema(parts[:lost] + parts[lost + 1 :])
        assert merged.streams == (ENVIRONMENT,)
        assert (merged.stream(1), merged.stream(5)) == (ENVIRONMENT, None)
    with pytest.raises(BlockError, match="missing"):
        merge_schema(parts[2:])
    with pytest.raises(BlockError, match="missing"):
        merge_schema([])


def test_parts_of_different_schemas_do_not_mix() -> None:
    other = msgspec.structs.replace(SMALL, schema_id=5)
    with pytest.raises(UsageError, match="3 and 5"):
        merge_schema([parse_schema_part(schema_blocks(schema, 1024)[0][1]) for schema in (SMALL, other)])


def test_one_channel_that_fits_no_block_is_refused() -> None:
    with pytest.raises(UsageError, match="too long"):
        schema_blocks(wide(1, name="n" * 300), 256)


def test_unknown_keys_are_ignored() -> None:
    item = cbor2.loads(bytes.fromhex(GOLDEN_PART))
    item["new"] = {"any": 1}
    item["r"][0]["new"] = 2
    item["r"][0]["s"]["new"] = 2
    item["r"][0]["s"]["c"][0]["new"] = [3]
    assert merge_schema([parse_schema_part(cbor2.dumps(item))]) == SMALL


@pytest.mark.parametrize(("event", "text"), EVENTS)
def test_golden_events_both_ways(event: TimedEvent, text: str) -> None:
    payload = bytes.fromhex("81 83" + text)
    assert encode_events([event]).hex() == payload.hex()
    assert decode_events(payload) == [event]


def test_events_keep_their_order_and_strangers_survive() -> None:
    every = [event for event, _ in EVENTS]
    assert decode_events(encode_events(every)) == every
    stranger = cbor2.dumps([[1, 4, {"m": "many"}], [2, 4, {"m": 5, "new": 1}]])
    assert decode_events(stranger) == [
        TimedEvent(1, events.UnknownEvent(4, {"m": "many"})),
        TimedEvent(2, events.Battery(5)),
    ]


texts = st.text(max_size=20)
numbers = st.integers(-(2**63), 2**63)
any_event: st.SearchStrategy[Event] = st.one_of(
    st.builds(events.Boot, texts, texts),
    st.builds(events.ClockSync, numbers, numbers, numbers, texts),
    st.builds(events.Mark, texts),
    st.builds(events.SessionStart, numbers, texts),
    st.builds(events.UnknownEvent, st.integers(7, 1000), st.dictionaries(texts, numbers)),
)


@given(listed=st.lists(st.builds(TimedEvent, st.integers(0, 2**63), any_event), max_size=8))
def test_events_round_trip(listed: list[TimedEvent]) -> None:
    assert decode_events(encode_events(listed)) == listed


@given(data=st.binary(max_size=200))
def test_garbage_is_a_block_error_and_nothing_else(data: bytes) -> None:
    for reader in (parse_schema_part, decode_events):
        try:
            reader(data)
        except BlockError:
            continue


@given(seed=st.integers(0, 2**32))
@settings(deadline=None)
def test_spoiled_descriptions_are_refused_or_read(seed: int) -> None:
    rng = random.Random(seed)
    source = rng.choice([payload for _, payload in schema_blocks(SCHEMA, 512)])
    payload = bytearray(source)
    for _ in range(rng.randrange(1, 4)):
        payload[rng.randrange(len(payload))] = rng.randrange(256)
    for data in (bytes(payload), source[: rng.randrange(len(source))]):
        try:
            merge_schema([parse_schema_part(data)])
        except BlockError:
            continue


@pytest.mark.parametrize("data", [b"\x81" * 4000, b"\xff", b"\x9f" * 50, b"\xbf\xbf", b"\x9b" + b"\xff" * 8, b""])
def test_nesting_and_lengths_beyond_reason_are_refused(data: bytes) -> None:
    for reader in (parse_schema_part, decode_events):
        with pytest.raises(BlockError):
            reader(data)


def test_bytes_behind_the_item_are_refused() -> None:
    with pytest.raises(BlockError):
        parse_schema_part(bytes.fromhex(GOLDEN_PART) + b"\0")
