"""What a logger tells in pages: every page fits the buffer, and all of them together are the whole.

The FL group is made for buffers of 384 bytes or more. With less a device may have to say that an answer does not fit;
it never leaves a host asking for the next page for ever.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from device_bench import Bench, refused
from fieldlog_protocol.blocks.schema import Channel, ChannelType, Stream
from fieldlog_protocol.commands import Empty, Group, logger, settings
from fieldlog_protocol.commands.logger import LoggerError, SettingInfo, SettingType, TransactionStep
from fieldlog_protocol.error_texts import Rc
from fieldlog_sim.port import Buffers
from fieldlog_sim.sensors import Synthetic

SMALL = [Buffers(96, 2), Buffers(128, 3)]
MADE_FOR = [Buffers(384, 4), Buffers(2048, 4)]


class Wide(Synthetic):
    """Many channels, each with as much to say as a channel may have."""

    period_range_us = (1_000, 2**60)

    def __init__(self, stream_id: int, channels: int) -> None:
        self.stream = Stream(
            id=stream_id,
            name=f"{stream_id} ".ljust(32, "w"),
            period_us=2**40,
            channels=tuple(
                Channel(
                    name=f"{number} ".ljust(32, "n"),
                    unit="u" * 32,
                    type=ChannelType.I32,
                    multiplier=123_456_789,
                    exponent=-12,
                    offset=-1_000_000_000,
                    missing=-(2**31),
                    minimum=-1.25e-3,
                    maximum=7.5e6,
                )
                for number in range(channels)
            ),
        )


MANY = tuple(f"choice {number} ".ljust(32, "c") for number in range(300))
WIDE_SETTINGS = (
    SettingInfo(k="wide/choice", t=SettingType.CHOICE, nc=len(MANY), ch=MANY, d=b"\0", x="x" * 120),
    SettingInfo(
        k="wide/".ljust(64, "k"), t=SettingType.TEXT, u="u" * 32, lo=0, hi=120, step=1, d=b"", f=7, x="x" * 120
    ),
    SettingInfo(k="wide/17", t=SettingType.CHOICE, nc=17, ch=tuple("abcdefghijklmnopq"), d=b"\0"),
    SettingInfo(k="wide/16", t=SettingType.CHOICE, nc=16, ch=tuple("abcdefghijklmnop"), d=b"\0"),
)


def channels_of(bench: Bench, position: int) -> Iterator[logger.ChannelInfo]:
    first = 0
    while True:
        page = bench.ask(logger.STREAMS, logger.StreamsRequest(i=position, c=first))
        assert (page.i, page.c) == (position, first)
        assert page.ch, "an empty page would be asked for again and again"
        yield from page.ch
        first += len(page.ch)
        if first >= page.nc:
            return


def settings_of(bench: Bench) -> Iterator[SettingInfo]:
    """The whole table: what goes on in the next page is put together."""
    position = 0
    while True:
        page = bench.ask(logger.SCHEMA, logger.SchemaRequest(i=position))
        assert page.i == position
        assert page.s
        for info in page.s:
            assert len(info.ch or ()) <= logger.CHOICES_PER_PAGE
            if len(info.ch or ()) < (info.nc or 0):
                assert info is page.s[-1], "nothing follows what is not complete"
        yield from page.s[:-1]
        yield _complete(bench, position + len(page.s) - 1, page.s[-1])
        position += len(page.s)
        if position >= page.n:
            return


def _complete(bench: Bench, position: int, info: SettingInfo) -> SettingInfo:
    choices = info.ch or ()
    while len(choices) < (info.nc or 0):
        page = bench.ask(logger.SCHEMA, logger.SchemaRequest(i=position, c=len(choices)))
        (going_on,) = page.s
        assert (going_on.k, going_on.t) == (info.k, info.t)
        assert going_on.ch
        choices += going_on.ch
    fields = {name: getattr(info, name) for name in info.__struct_fields__}
    return SettingInfo(**(fields | {"ch": choices or None}))


@pytest.mark.parametrize("buffers", MADE_FOR, ids=str)
def test_streams_and_channels_are_told_whole(buffers: Buffers) -> None:
    sensors = (Wide(3, 1), Wide(200, 60))
    bench = Bench(sensors=sensors, buffers=buffers)
    first = bench.ask(logger.STREAMS, logger.StreamsRequest())
    assert (first.n, first.id, first.us, first.min, first.max) == (2, 3, 2**40, 1000, 2**60)
    for position, sensor in enumerate(sensors):
        found = list(channels_of(bench, position))
        assert [(c.n, c.u, c.t, c.mul, c.exp, c.off, c.miss, c.lo, c.hi) for c in found] == [
            (c.name, c.unit, c.type, c.multiplier, c.exponent, c.offset, c.missing, c.minimum, c.maximum)
            for c in sensor.stream.channels
        ]
    assert bench.fl_refusal(logger.STREAMS, logger.StreamsRequest(i=2)) == LoggerError.NO_SUCH_STREAM
    assert bench.fl_refusal(logger.STREAMS, logger.StreamsRequest(i=1, c=60)) == LoggerError.NO_SUCH_CHANNEL


@pytest.mark.parametrize("buffers", MADE_FOR, ids=str)
def test_the_settings_schema_is_told_whole(buffers: Buffers) -> None:
    bench = Bench(settings=WIDE_SETTINGS, buffers=buffers)
    assert tuple(settings_of(bench)) == bench.device.settings.table
    total = len(bench.device.settings.table)
    assert bench.ask(logger.SCHEMA, logger.SchemaRequest(i=total)) == logger.SchemaResponse(n=total, i=total, s=())
    assert bench.fl_refusal(logger.SCHEMA, logger.SchemaRequest(i=total + 1)) == LoggerError.OUT_OF_RANGE


@pytest.mark.parametrize("buffers", [*SMALL, *MADE_FOR], ids=str)
def test_sessions_are_told_whole(buffers: Buffers) -> None:
    bench = Bench(buffers=buffers)
    for number in range(9):
        bench.arm(label=f"{number}", wrap=True)
        bench.stop()
    assert [session.label for session in bench.sessions()] == [str(number) for number in range(9)]


@pytest.mark.parametrize("buffers", MADE_FOR, ids=str)
def test_info_fits_with_the_longest_names(buffers: Buffers) -> None:
    bench = Bench(buffers=buffers)
    bench.ask(settings.WRITE, settings.SettingWriteRequest(name="device/name", val="é".encode() * 16))
    bench.arm()
    bench.wait(3600)
    info = bench.info()
    said = {name for name in info.__struct_fields__ if getattr(info, name) is not None}
    assert set(info.__struct_fields__) - said == {"left", "rua", "ppm"}, "it has begun, and its clock is a crystal"
    assert (info.name, info.serial, info.block) == ("é" * 16, bench.device.identity.serial, 1024)
    assert bench.fl_refusal(logger.INFO, logger.InfoRequest(p=info.parts)) == LoggerError.OUT_OF_RANGE


@pytest.mark.parametrize("buffers", SMALL, ids=str)
def test_on_smaller_buffers_paging_goes_on_or_is_refused(buffers: Buffers) -> None:
    """`Bench.ask` holds every reply against the buffer; here it is that no empty page keeps a host asking."""
    bench = Bench(buffers=buffers, settings=WIDE_SETTINGS)
    bench.ask(logger.SELF_TEST_START, Empty())
    for ask in (
        lambda: list(channels_of(bench, 0)),
        lambda: list(settings_of(bench)),
        bench.sessions,
        bench.info,
        lambda: bench.ask(logger.SELF_TEST_RESULT, logger.SelfTestRequest()).r[0],
    ):
        assert refused(ask) in (None, (None, Rc.MESSAGE_SIZE))


@pytest.mark.parametrize("buffers", [*SMALL, *MADE_FOR], ids=str)
@pytest.mark.parametrize("length", [0, 1, 50, 512])
def test_metadata_travels_in_pages(buffers: Buffers, length: int) -> None:
    bench = Bench(buffers=buffers)
    assert bench.ask(logger.METADATA_READ, logger.MetadataRequest()) == logger.MetadataResponse(o=0, len=0, d=b"")
    metadata = bytes(number % 251 for number in range(length))
    write_metadata(bench, metadata)
    assert read_metadata(bench) == metadata
    bench.power_cycle()
    assert read_metadata(bench) == metadata
    assert bench.fl_refusal(logger.METADATA_READ, logger.MetadataRequest(o=length + 1)) == LoggerError.OUT_OF_RANGE


def write_metadata(bench: Bench, metadata: bytes) -> None:
    room = bench.buf_size - 40
    for offset in range(0, max(1, len(metadata)), room):
        page = metadata[offset : offset + room]
        request = logger.MetadataWriteRequest(o=offset, len=len(metadata), d=page)
        assert bench.ask(logger.METADATA_WRITE, request).o == offset + len(page)
        assert bench.ask(logger.METADATA_WRITE, request).o == offset + len(page), "a repetition is answered alike"


def read_metadata(bench: Bench) -> bytes:
    found = b""
    while True:
        page = bench.ask(logger.METADATA_READ, logger.MetadataRequest(o=len(found) or None))
        assert page.o == len(found)
        found += page.d
        if len(found) >= page.len:
            return found
        assert page.d


def test_metadata_is_replaced_only_when_the_last_page_has_come() -> None:
    bench = Bench()
    write_metadata(bench, b"former")
    bench.ask(logger.METADATA_WRITE, logger.MetadataWriteRequest(o=0, len=20, d=b"x" * 10))
    assert read_metadata(bench) == b"former"
    gap = logger.MetadataWriteRequest(o=11, len=20, d=b"y" * 9)
    assert bench.fl_refusal(logger.METADATA_WRITE, gap) == LoggerError.OFFSET
    bench.power_cycle()
    rest = logger.MetadataWriteRequest(o=10, len=20, d=b"y" * 10)
    assert bench.fl_refusal(logger.METADATA_WRITE, rest) == LoggerError.OFFSET, "the first page was in RAM"
    assert read_metadata(bench) == b"former"
    too_long = logger.MetadataWriteRequest(o=0, len=3, d=b"abcd")
    assert bench.fl_refusal(logger.METADATA_WRITE, too_long) == LoggerError.OFFSET
    assert bench.refusal(logger.METADATA_WRITE, logger.MetadataWriteRequest(o=0, len=513, d=b"")) == (None, Rc.INVALID)


def test_what_finds_no_place_on_flash_is_refused_and_leaves_all_as_it_was() -> None:
    bench = Bench(sensors=(Wide(1, 200), Wide(2, 200)))

    def calibrate(stream: int, channel: int, within: int | None = None) -> tuple[int | None, int] | None:
        request = logger.CalibrateRequest(id=channel, s=stream, c=channel, cal=(1.5,) * 8, t=within)
        return refused(lambda: bench.ask(logger.CALIBRATE, request))

    transaction = 1
    bench.ask(logger.TRANSACTION, logger.TransactionRequest(step=TransactionStep.BEGIN, id=transaction, secs=60))
    at_once = [(1, channel) for channel in range(200)] + [(2, channel) for channel in range(100)]
    outcomes = [calibrate(*place, transaction) for place in at_once]
    bench.ask(settings.COMMIT, Empty())
    bench.ask(logger.TRANSACTION, logger.TransactionRequest(step=TransactionStep.CONFIRM, id=transaction))
    outcomes += [calibrate(2, channel) for channel in range(100, 200)]
    assert set(outcomes) == {None, (Group.LOGGER, LoggerError.FLASH)}
    bench.power_cycle()
    calibrated = [bool(channel.cal) for position in (0, 1) for channel in channels_of(bench, position)]
    assert calibrated == [outcome is None for outcome in outcomes]
