"""What people write on the command line, made into the request that arms a logger: thresholds, times, estimates."""

from __future__ import annotations

import re
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldlog.arming import Wish, assumed_zones, build_request
from fieldlog.clock import DeviceTime
from fieldlog.deployment import merged, require_fits, zone_of
from fieldlog.estimate import estimate, free_bytes, shortfalls
from fieldlog.local_times import moment_text, typed_time
from fieldlog.logger_info import LoggerInfo, merge
from fieldlog.recording import StreamInfo
from fieldlog.text import size_text
from fieldlog.thresholds import Threshold, parse_threshold, raw_level, value_of
from fieldlog_protocol.blocks.schema import Channel, ChannelType
from fieldlog_protocol.commands.logger import (
    ArmRequest,
    Capability,
    InfoResponse,
    SessionInfo,
    StartMode,
    State,
    StreamPeriod,
)
from fieldlog_protocol.errors import RefusedError, UsageError
from fieldlog_protocol.wire import decode_body, encode_body

DAY_S = 86_400
NOW_S = 1_900_000_000  # 2030-03-17T17:46:40Z
CLOCK = DeviceTime(NOW_S * 1_000_000, 0, 100)
NOT_SET = DeviceTime(None, None, None)
TEMPERATURE = Channel("temperature", "Cel", ChannelType.I16, exponent=-2, missing=-(2**15))
AIR = StreamInfo(0, "air", 10_000_000, (TEMPERATURE, Channel("humidity", "%", ChannelType.U8)))
SOIL = StreamInfo(3, "soil", 60_000_000, (Channel("temperature", "Cel", ChannelType.F32),))
STREAMS = (AIR, SOIL)


def info(**fields: object) -> LoggerInfo:
    said = InfoResponse(
        parts=1, uid=b"u", log=1, block=1024, boot=1, tick=0, state=0, first=0, next=0, total=1024 * 1024, caps=0x7FF
    )
    return replace(merge([said]), **fields)  # type: ignore[arg-type]


def request(wish: Wish, clock: DeviceTime = CLOCK, metadata: dict[str, str] | None = None) -> ArmRequest:
    return build_request(wish, info(), STREAMS, clock, metadata)


# thresholds


@pytest.mark.parametrize(
    ("text", "below", "expected"),
    [
        ("humidity=30", False, Threshold(0, 1, 30, False)),
        ("humidity = 30 %", True, Threshold(0, 1, 30, True)),
        ("humidity=29.2%", False, Threshold(0, 1, 30, False)),
        ("humidity=29.2%", True, Threshold(0, 1, 29, True)),
        ("air/temperature=-1.5 Cel", False, Threshold(0, 0, -150, False)),
        ("air/temperature=-1.501°C", True, Threshold(0, 0, -151, True)),
        ("air/temperature=1e-1 Cel", True, Threshold(0, 0, 10, True)),
        ("air/temperature=86 degF", False, Threshold(0, 0, 3000, False)),
        ("air/temperature=86.01 °F", False, Threshold(0, 0, 3001, False)),
        ("air/temperature=86.01 °F", True, Threshold(0, 0, 3000, True)),
        ("air/temperature=273.15 K", True, Threshold(0, 0, 0, True)),
    ],
)
def test_a_threshold_is_the_first_raw_number_beyond_it(text: str, below: bool, expected: Threshold) -> None:
    assert parse_threshold(text, STREAMS, below=below) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("humidity", "is no threshold"),
        ("humidity=wet", "is no threshold"),
        ("=5", "is no threshold"),
        ("dew=5", "no channel 'dew'"),
        ("temperature=5", "more than one channel 'temperature'"),
        ("humidity=5 Cel", "humidity cannot be compared with '5 Cel': 'Cel' does not fit: write %"),
        ("air/temperature=30 C", "'C' does not fit: write degC, degF or K"),
        ("air/temperature=30 kumquats", "'kumquats' is no unit that fits: write degC, degF or K"),
        ("soil/temperature=5", "floating-point"),
        ("humidity=256", "can never be at or above"),
        ("air/temperature=1e30 Cel", "can never be at or above"),
        ("air/temperature=1e999 degF", "can never be at or above"),
        ("air/temperature=1e999999999 Cel", "no unit that fits"),
    ],
)
def test_what_is_no_threshold(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=re.escape(said)):
        parse_threshold(text, STREAMS, below=False)


@pytest.mark.parametrize(
    ("own", "typed"),
    [
        ("g", "g"),
        ("[g]", "g"),
        ("[g]", "[g]"),
        ("degC", "degC"),
        ("degC", "Cel"),
        ("Cel", "℃"),
        ("ppm", "[ppm]"),
        ("[ppm]", "ppm"),
        ("m/s2", "m.s-2"),
        ("m/s2", "m/s²"),
        ("m/s²", "m/s²"),
        ("m/s²", "m/s2"),
        ("m³", "m³"),
        ("uT", "µT"),
        ("counts", "counts"),
        ("{count}", ""),
    ],
)
def test_a_threshold_in_the_unit_of_its_channel_however_it_is_spelt(own: str, typed: str) -> None:
    stream = StreamInfo(2, "shock", 10_000, (Channel("x", own, ChannelType.I16, exponent=-2),))
    assert parse_threshold(f"x=1.5 {typed}", [stream], below=False) == Threshold(2, 0, 150, False)


@pytest.mark.parametrize(("own", "typed", "level"), [("Cel", "K", -27_165), ("A", "mA", 1), ("m/s2", "[g]", 1471)])
def test_a_threshold_in_another_unit_of_the_same_quantity_is_converted(own: str, typed: str, level: int) -> None:
    stream = StreamInfo(2, "shock", 10_000, (Channel("x", own, ChannelType.I32, exponent=-2),))
    assert parse_threshold(f"x=1.5 {typed}", [stream], below=False) == Threshold(2, 0, level, False)


@pytest.mark.parametrize(
    ("own", "typed", "said"),
    [
        ("g", "[g]", "'[g]' does not fit: write g"),
        ("", "V", "it has no unit, so 'V' does not fit: write the number alone"),
        ("{count}", "V", "write the number alone"),
        ("counts", "V", "'V' does not fit: write counts"),
        ("m[g]", "g", "'g' does not fit: write m[g]"),
    ],
)
def test_a_threshold_in_a_unit_of_something_else_is_refused(own: str, typed: str, said: str) -> None:
    stream = StreamInfo(2, "shock", 10_000, (Channel("x", own, ChannelType.I16, exponent=-2),))
    with pytest.raises(UsageError, match=re.escape(said)):
        parse_threshold(f"x=1.5 {typed}", [stream], below=False)


CHANNELS = st.builds(
    Channel,
    st.just("x"),
    st.just("u"),
    st.sampled_from([ChannelType.I8, ChannelType.I16, ChannelType.U8]),
    multiplier=st.integers(-50, 50).filter(bool),
    exponent=st.integers(-4, 3),
    offset=st.integers(-1000, 1000),
)


@given(CHANNELS, st.decimals(-10_000, 10_000, places=3), st.booleans())
def test_the_level_parts_all_raw_numbers_as_the_value_parts_the_readings(
    channel: Channel, value: Decimal, below: bool
) -> None:
    numbers = range(channel.type.minimum, channel.type.maximum + 1)
    exact = [(Decimal(raw) * channel.multiplier + channel.offset).scaleb(channel.exponent) for raw in numbers]
    wanted = [reading <= value if below else reading >= value for reading in exact]
    try:
        level, raw_below = raw_level(channel, value, below=below)
    except UsageError:
        assert not any(wanted)
        return
    assert [raw <= level if raw_below else raw >= level for raw in numbers] == wanted


@pytest.mark.parametrize(
    ("kind", "value", "below", "expected"),
    [
        (ChannelType.U32, "4000000001", False, (4_000_000_001, False)),
        (ChannelType.U32, "1e12", True, (2**32 - 1, True)),
        (ChannelType.I64, "9223372036854775807", False, (2**63 - 1, False)),
        (ChannelType.I64, "-9223372036854775808", True, (-(2**63), True)),
        (ChannelType.I64, "4611686018427387904.5", False, (2**62 + 1, False)),
    ],
)
def test_levels_of_wide_channels_are_exact(
    kind: ChannelType, value: str, below: bool, expected: tuple[int, bool]
) -> None:
    channel = Channel("count", "", kind)
    level, raw_below = raw_level(channel, Decimal(value), below=below)
    assert (level, raw_below) == expected
    request = ArmRequest(id=0, level=level)
    assert decode_body(encode_body(request), ArmRequest) == request
    with pytest.raises(UsageError, match="can never be at or above"):
        raw_level(channel, Decimal(kind.maximum + 1), below=False)


def test_the_value_of_a_level() -> None:
    assert value_of(TEMPERATURE, -151) == -1.51


# conditions


def test_nothing_asked_is_now_and_all() -> None:
    assert request(Wish(), NOT_SET) == ArmRequest(id=0)


def test_streams_have_their_own_periods() -> None:
    wish = Wish(streams={"soil": 1_000_000, "air": None}, period_us=5_000_000)
    assert request(wish).streams == (StreamPeriod(s=3, us=1_000_000), StreamPeriod(s=0, us=5_000_000))
    assert request(Wish(streams={"air": None})).streams == (StreamPeriod(s=0),)
    assert request(Wish(period_us=7)).streams == (StreamPeriod(s=0, us=7), StreamPeriod(s=3, us=7))


@pytest.mark.parametrize(
    ("text", "zone", "expected"),
    [
        ("2030-07-01T12:00:00+02:00", None, 1_909_130_400),
        ("2030-07-01T12:00:00+02:00", "America/New_York", 1_909_130_400),
        ("2030-07-01T12:00", "Europe/Berlin", 1_909_130_400),
        ("2030-07-01T10:00", None, 1_909_130_400),
        ("2030-07-01T10:00Z", "Europe/Berlin", 1_909_130_400),
        ("2030-07-01", None, 1_909_094_400),
    ],
)
def test_times_have_a_zone(text: str, zone: str | None, expected: int) -> None:
    found = request(Wish(at=text), metadata=None if zone is None else {"zone": zone})
    assert (found.start, found.at) == (StartMode.AT, expected)


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        (Wish(at="soon"), "--at takes a time"),
        (Wish(at="2030-03-31T02:30"), "does not exist in Europe/Berlin"),
        (Wish(at="2030-10-27T02:30"), "comes twice in Europe/Berlin"),
        (Wish(at="2200-01-01"), "1970 to 2106"),
        (Wish(at="2029-01-01"), "is over by the device's clock"),
        (Wish(until="2030-03-17T17:00Z"), "before it begins"),
        (Wish(at="2031-01-01", until="2031-01-01"), "before it begins"),
        (Wish(after_s=DAY_S, until="2030-03-18T00:00Z"), "before it begins"),
        (Wish(at="2031-01-01", after_s=60), "one condition"),
        (Wish(above="humidity=1", below="humidity=1"), "one condition"),
        (Wish(above="humidity=1", on_button=True), "one condition"),
        (Wish(streams={"sea": None}), "no stream 'sea'"),
        (Wish(streams={"soil": None}, above="humidity=1"), "no channel 'humidity' in what is to be recorded"),
    ],
)
def test_what_makes_no_sense_is_said_before_anything_is_changed(wish: Wish, said: str) -> None:
    with pytest.raises(UsageError, match=re.escape(said)):
        request(wish, metadata={"zone": "Europe/Berlin"})


@pytest.mark.parametrize("wish", [Wish(at="2031-01-01"), Wish(until="2031-01-01")])
def test_times_need_the_devices_clock(wish: Wish) -> None:
    with pytest.raises(RefusedError, match="clock sync"):
        request(wish, NOT_SET)
    assert request(Wish(after_s=60), NOT_SET).at == 60


@pytest.mark.parametrize(
    "wish", [Wish(at="2031-01-01"), Wish(after_s=1), Wish(above="humidity=1"), Wish(on_button=True)], ids=str
)
def test_a_device_that_cannot_wait_is_not_asked_to(wish: Wish) -> None:
    with pytest.raises(UsageError, match="cannot begin"):
        build_request(wish, info(capabilities=Capability(0)), STREAMS, CLOCK, None)


# metadata


def test_metadata_is_added_to_what_is_there() -> None:
    assert merged({"site": "roof", "zone": "UTC"}, {"site": "", "operator": "Ö"}) == {"zone": "UTC", "operator": "Ö"}
    assert merged(None, {"site": "roof"}) == {"site": "roof"}
    require_fits({"a": "x" * 500})
    with pytest.raises(UsageError, match="keeps 512"):
        require_fits({"a": "x" * 510})
    with pytest.raises(UsageError, match="no time zone"):
        zone_of("../../etc/passwd")


# estimates


def running(frames: int, first: int, last: int) -> SessionInfo:
    return SessionInfo(id=1, label="", boot=1, start=0, first=first, last=last, frames=frames, why=0)


def test_the_rate_is_measured_as_soon_as_there_is_enough() -> None:
    frames_per_s = 1 / 10 + 1 / 60
    told = info(next_seq=100, used_bytes=100 * 1024, battery_mah=1000, current_ua=500)
    guess = estimate(told, STREAMS)
    assert not guess.measured
    assert guess.bytes_per_s == pytest.approx((3 / 10 + 4 / 60) / 3)
    assert guess.battery_s == 2000 * 3600
    assert not estimate(told, STREAMS, running(1000, 90, 95)).measured
    known = estimate(told, STREAMS, running(5000, 50, 99))
    assert known.measured
    rate = 50 * 1024 / 5000 * frames_per_s
    assert known.bytes_per_s == pytest.approx(rate)
    assert known.memory_s == pytest.approx((1024 - 100) * 1024 / rate)


def test_without_a_rate_or_a_battery_nothing_is_estimated() -> None:
    found = estimate(info(), [replace(AIR, period_us=0)], running(5000, 50, 99))
    assert (found.bytes_per_s, found.memory_s, found.battery_s) == (None, None, None)


@pytest.mark.parametrize(
    ("fields", "blocks"),
    [
        ({}, 1024),
        ({"next_seq": 24, "used_bytes": 24 * 1024}, 1000),
        ({"next_seq": 24, "used_bytes": 24 * 1024, "released_seq": 20}, 1020),
        ({"first_seq": 500, "next_seq": 1524, "used_bytes": 1024 * 1024}, 0),
        ({"first_seq": 500, "next_seq": 1524, "used_bytes": 1024 * 1024, "released_seq": 600}, 100),
        ({"first_seq": 500, "next_seq": 1524, "used_bytes": 1000 * 1024, "wrap": True}, 24),
    ],
)
def test_what_is_released_is_free(fields: dict[str, object], blocks: int) -> None:
    assert free_bytes(info(**fields)) == blocks * 1024


RAW_PER_S = 3 / 10 + 4 / 60


def told_of(plan: ArmRequest, state: State = State.LOGGING, **fields: object) -> LoggerInfo:
    """A logger whose battery lasts 5 days at 1000 uA, with a log that holds 30 days of both streams, as one guesses."""
    size = round(30 * DAY_S * RAW_PER_S / 3)
    said: dict[str, object] = {"plan": plan, "state": state, "utc_s": NOW_S, "total_bytes": size}
    return info(**(said | {"battery_mah": 5 * 24, "current_ua": 1000} | fields))


@pytest.mark.parametrize(
    ("plan", "state", "fields", "said"),
    [
        (ArmRequest(id=1), State.LOGGING, {}, []),
        (
            ArmRequest(id=1, secs=40 * DAY_S),
            State.LOGGING,
            {"current_ua": 1},
            ["the log will be full after about 30 days"],
        ),
        (ArmRequest(id=1, secs=29 * DAY_S), State.LOGGING, {"current_ua": 1}, []),
        (ArmRequest(id=1, secs=40 * DAY_S, wrap=True), State.LOGGING, {"current_ua": 1}, []),
        (
            ArmRequest(id=1, frames=400_000),
            State.LOGGING,
            {"current_ua": 1},
            ["the log will be full after about 30 days"],
        ),
        (ArmRequest(id=1, frames=4000), State.LOGGING, {}, []),
        (
            ArmRequest(id=1, secs=9 * DAY_S),
            State.LOGGING,
            {},
            ["the battery will last about 5 days of the 9 days asked"],
        ),
        (
            ArmRequest(id=1, until=NOW_S + 9 * DAY_S),
            State.LOGGING,
            {},
            ["the battery will last about 5 days of the 9 days"],
        ),
        (ArmRequest(id=1, secs=4 * DAY_S, until=NOW_S + 9 * DAY_S), State.LOGGING, {}, []),
        # one that begins in two days
        (
            ArmRequest(id=1, secs=4 * DAY_S),
            State.ARMED,
            {"starts_in_s": 2 * DAY_S},
            ["the battery will last about 3 days"],
        ),
        (ArmRequest(id=1, until=NOW_S + 4 * DAY_S), State.ARMED, {"starts_in_s": 2 * DAY_S}, []),
        (ArmRequest(id=1, secs=DAY_S), State.ARMED, {"starts_in_s": 6 * DAY_S}, ["the battery will be flat before it"]),
        (ArmRequest(id=1, secs=9 * DAY_S), State.ARMED, {"starts_in_s": None}, []),
    ],
)
def test_what_ends_before_the_session_is_said(
    plan: ArmRequest, state: State, fields: dict[str, object], said: list[str]
) -> None:
    found = shortfalls(estimate(told_of(plan, state, **fields), STREAMS), wrap=bool(plan.wrap))
    assert len(found) == len(said), found
    assert all(sentence.startswith(begin) for sentence, begin in zip(found, said, strict=True)), found


def test_the_memory_of_a_session_that_begins_later_is_reckoned_from_then() -> None:
    later = estimate(told_of(ArmRequest(id=1), State.ARMED, starts_in_s=10 * DAY_S), STREAMS)
    assert later.memory_s == pytest.approx(30 * DAY_S, rel=1e-3)
    assert later.full_s == pytest.approx(40 * DAY_S, rel=1e-3)
    short = estimate(told_of(ArmRequest(id=1, secs=29 * DAY_S), State.ARMED, starts_in_s=10 * DAY_S), STREAMS)
    assert (short.memory_is_enough, short.full_s) == (True, None)
    unknown = estimate(told_of(ArmRequest(id=1), State.ARMED), STREAMS)
    assert (unknown.memory_is_enough, unknown.full_s) == (False, None)


def test_the_time_recorded_so_far_counts() -> None:
    """Of 31 days asked for two are in the log already: 30 are more than enough for the rest."""
    plan = ArmRequest(id=1, secs=31 * DAY_S)
    frames = round(2 * DAY_S * (1 / 10 + 1 / 60))
    assert not estimate(told_of(plan), STREAMS).memory_is_enough
    assert estimate(told_of(plan), STREAMS, running(frames, 0, 3)).memory_is_enough


@pytest.mark.parametrize(
    ("fields", "days"),
    [
        ({"starts_in_s": 2 * DAY_S, "recording_ua": 3000}, 3),
        ({"starts_in_s": 6 * DAY_S, "recording_ua": 3000}, 5),
        ({"starts_in_s": None, "recording_ua": 3000}, 5),
        ({"starts_in_s": 2 * DAY_S, "recording_ua": None}, 5),
    ],
)
def test_the_battery_of_one_that_waits_feeds_first_the_waiting_and_then_the_recording(
    fields: dict[str, object], days: float
) -> None:
    assert estimate(told_of(ArmRequest(id=1), State.ARMED, **fields), STREAMS).battery_s == pytest.approx(days * DAY_S)


# what people write and read


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("01.03.2027", ": the year comes first, 2027-03-01"),
        ("1. 3. 2027 06:00", ": the year comes first, 2027-03-01"),
        ("31.02.2027", ""),
        ("03/01/2027", ""),
        ("1.3.27", ""),
        ("soon", ""),
    ],
)
def test_a_day_that_is_written_the_other_way_round_is_told_the_right_way(text: str, hint: str) -> None:
    said = f"--at takes a time such as 2030-07-01T12:00:00+02:00 or 2030-07-01, not {text!r}{hint}"
    with pytest.raises(UsageError, match=f"^{re.escape(said)}$"):
        typed_time(text, "--at", None)


@pytest.mark.parametrize(
    ("text", "zone", "shown"),
    [
        ("2030-07-01T06:00", "Europe/Berlin", "2030-07-01 06:00 Europe/Berlin (04:00 UTC)"),
        ("2030-07-01T01:00:05", "Europe/Berlin", "2030-07-01 01:00:05 Europe/Berlin (2030-06-30 23:00:05 UTC)"),
        ("2030-07-01T06:00+05:30", "Europe/Berlin", "2030-07-01 06:00+05:30 (00:30 UTC)"),
        ("2030-07-01T06:00Z", "Europe/Berlin", "2030-07-01 06:00 UTC"),
        ("2030-07-01", None, "2030-07-01 00:00 UTC"),
    ],
)
def test_a_time_is_shown_as_it_was_typed_with_utc_beside(text: str, zone: str | None, shown: str) -> None:
    time = typed_time(text, "--at", None if zone is None else zone_of(zone))
    assert moment_text(int(time.timestamp()), time.tzinfo) == shown


def test_moments_that_no_calendar_holds_are_shown_all_the_same() -> None:
    for seconds in (2**32, 253_402_300_799, 2**63 - 1):
        assert moment_text(seconds, zone_of("Asia/Tokyo"))


def test_times_that_make_no_sense_are_told_as_they_were_typed() -> None:
    berlin = {"zone": "Europe/Berlin"}
    over = (
        "--at 2030-03-17 18:30 Europe/Berlin (17:30 UTC) is over by the device's clock: it is 2030-03-17 18:46:40 Euro"
    )
    with pytest.raises(UsageError, match=re.escape(over)):
        request(Wish(at="2030-03-17T18:30"), metadata=berlin)
    ends = "would end (2030-03-17 18:00 Europe/Berlin (17:00 UTC)) before it begins (now, 2030-03-17 18:46:40 Europe/Berlin"
    with pytest.raises(UsageError, match=re.escape(ends)):
        request(Wish(until="2030-03-17T18:00"), metadata=berlin)


def test_a_zone_that_nobody_gave_now_is_told() -> None:
    bare = Wish(at="2030-07-01T06:00", until="2030-07-02T06:00Z")
    (said,) = assumed_zones(bare, {"zone": "Europe/Berlin"})
    assert said.startswith(
        "--at 2030-07-01T06:00 is taken as 2030-07-01 06:00 Europe/Berlin (04:00 UTC), the zone that the"
    )
    (said,) = assumed_zones(bare, {"zone": "Mars/Olympus"})
    assert said.startswith("--at 2030-07-01T06:00 is taken as 2030-07-01 06:00 UTC, as no zone is given")
    assert assumed_zones(replace(bare, metadata={"zone": "Europe/Berlin"}), {"zone": "Europe/Berlin"}) == []
    assert assumed_zones(Wish(at="2030-07-01T06:00+02:00"), None) == []


def test_a_period_that_a_stream_does_not_take_is_refused_with_its_range() -> None:
    bounded = [replace(AIR, least_us=1_000_000, most_us=3_600_000_000), SOIL]

    def asked(**wish: object) -> ArmRequest:
        return build_request(Wish(**wish), info(), bounded, CLOCK, None)  # type: ignore[arg-type]

    said = "stream 'air' cannot be sampled every 16 ms: it takes periods from 1 s to 1 h. Nothing was changed"
    for wish in ({"streams": {"air": 16_000}}, {"period_us": 16_000}):
        with pytest.raises(UsageError, match=re.escape(said)):
            asked(**wish)
    with pytest.raises(UsageError, match="every 61 min"):
        asked(streams={"air": 61 * 60_000_000})
    assert asked(streams={"air": 1_000_000, "soil": 1}).streams == (
        StreamPeriod(s=0, us=1_000_000),
        StreamPeriod(s=3, us=1),
    )
    odd = [replace(AIR, period_us=7, least_us=1_000_000, most_us=3_600_000_000)]
    assert build_request(Wish(period_us=7), info(), odd, CLOCK, None).streams == (StreamPeriod(s=0, us=7),)


@pytest.mark.parametrize(
    ("number", "shown"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (11_534_336, "11.5 MB"), (2**40, "1099.5 GB")]
)
def test_sizes_are_told_as_one_says_them(number: int, shown: str) -> None:
    assert size_text(number) == shown
