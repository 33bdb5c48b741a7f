"""Group 0x464C, "FL": what only a logger has (docs/fl-group.md).

Every write is safe to repeat: those that act once carry a request id, and a device that sees the id of its last such
request again answers as it did then. Bulk replies name the position that they answer. Keys are one letter where data is
bulk. All of it fits a 384-byte buffer; what could be longer is paged.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag
from typing import Annotated

from fieldlog_protocol.commands.base import (
    Command,
    Empty,
    ErrorTexts,
    Group,
    Message,
    Op,
    about,
    blob,
    i32,
    i64,
    number,
    string,
    u8,
    u16,
    u32,
    u63,
)

PROTOCOL_VERSION = 1
LABEL_MAX = 32
METADATA_MAX = 512
SETTING_TEXT_MAX = 120
CHOICES_PER_PAGE = 16
TRIAL_S = 60
"""Time limit of a settings transaction that names none."""

ERRORS: ErrorTexts = {
    2: "a field of the request is out of range",
    3: "a session is armed or being recorded; stop it first",
    4: "no session is armed or being recorded",
    5: "the erase token does not fit: readings have arrived since it was given",
    6: "there is no such stream",
    7: "there is no such channel",
    8: "the stream cannot be sampled at this period",
    9: "the log is full",
    10: "the log's flash could not be written",
    11: "the anchor belongs to another boot",
    12: "another settings transaction is open, or has its values on trial",
    13: "no such settings transaction is open",
    14: "this device cannot do that",
    15: "the position lies beyond the end of the log",
    16: "the offset is not the one expected",
    17: "the device's clock is not set",
}


class LoggerError(IntEnum):
    """Codes of the FL group."""

    OUT_OF_RANGE = 2
    RECORDING = 3
    NOT_RECORDING = 4
    BAD_TOKEN = 5
    NO_SUCH_STREAM = 6
    NO_SUCH_CHANNEL = 7
    PERIOD_NOT_ALLOWED = 8
    LOG_FULL = 9
    FLASH = 10
    OTHER_BOOT = 11
    TRANSACTION_OPEN = 12
    NO_TRANSACTION = 13
    NOT_SUPPORTED = 14
    BEYOND_END = 15
    OFFSET = 16
    CLOCK_NOT_SET = 17


class State(IntEnum):
    """What the logger is doing."""

    IDLE = 0
    ARMED = 1
    LOGGING = 2
    FULL = 3
    FAULT = 4


class Capability(IntFlag):
    """What a logger can do beyond the least."""

    START_AT = 1
    START_AFTER = 2
    START_THRESHOLD = 4
    START_BUTTON = 8
    WRAP = 16
    LATEST = 32
    CALIBRATE = 64
    SELF_TEST = 128
    IDENTIFY = 256
    TRANSACTION = 512
    METADATA = 1024
    BACK_TO_BACK = 2048
    """On raw serial, requests that bear a check value (`fieldlog_protocol.seal`) may follow each other at once."""


class StartMode(IntEnum):
    """When an armed session begins."""

    NOW = 0
    AT = 1
    AFTER = 2
    THRESHOLD = 3
    BUTTON = 4


class StopReason(IntEnum):
    """Why a session ended."""

    RUNNING = 0
    COMMAND = 1
    TIME = 2
    FRAMES = 3
    FULL = 4
    BATTERY = 5
    FAULT = 6
    ERASED = 7


class SettingType(IntEnum):
    """How the bytes of a setting are to be read; numbers are little endian."""

    BOOL = 0
    I32 = 1
    U32 = 2
    I64 = 3
    F32 = 4
    TEXT = 5
    BYTES = 6
    CHOICE = 7


class SettingFlag(IntFlag):
    """What a change of a setting entails."""

    NEEDS_RESTART = 1
    AFFECTS_LINK = 2
    READ_ONLY = 4


class ClockSource(IntEnum):
    """Who says what time it is."""

    HOST = 0
    GNSS = 1
    RTC = 2
    RADIO = 3


class StreamPeriod(Message, frozen=True, kw_only=True):
    """A stream to record and how often."""

    s: Annotated[int, u8("id of the stream")]
    us: Annotated[int, u63("sampling period; left out: as it is", "us")] | None = None


class ArmRequest(Message, frozen=True, kw_only=True):
    """Begin a session, now or later.

    A threshold is looked for in the readings of the period chosen, and the frame that passes it is the first recorded.
    Whatever ends the session first, ends it; the frame of the time `until` is not in it any more.
    """

    id: Annotated[int, u32("request id; repeated with the same id it acts once")]
    label: Annotated[str, string("label of the session", max_length=LABEL_MAX)] | None = None
    start: Annotated[int, u8("when: see StartMode; left out: now")] | None = None
    at: Annotated[int, u63("UTC to start at, or seconds to wait", "s")] | None = None
    s: Annotated[int, u8("id of the stream whose channel triggers; left out: the first recorded")] | None = None
    ch: Annotated[int, u8("position of the channel that triggers; left out: 0")] | None = None
    level: Annotated[int, i64("raw value that triggers")] | None = None
    below: Annotated[bool, about("true: trigger at the level or below it; else at it or above")] | None = None
    until: Annotated[int, u63("UTC to stop at", "s")] | None = None
    secs: Annotated[int, u63("stop after this time of recording; without power none passes", "s")] | None = None
    frames: Annotated[int, u63("stop after this many frames, those of all streams together")] | None = None
    wrap: Annotated[bool, about("true: overwrite the oldest; false: stop when full; left out: false")] | None = None
    streams: Annotated[tuple[StreamPeriod, ...], about("streams to record; left out: all")] | None = None


class InfoRequest(Message, frozen=True, kw_only=True):
    """Which part: 0 who the device is, 1 what it is doing, 2 what it was told to record and what its battery gives."""

    p: Annotated[int, u8("part; left out: 0")] | None = None


class InfoResponse(Message, frozen=True, kw_only=True):
    """One part of the device's description; the fields of the other parts are left out."""

    parts: Annotated[int, u8("number of parts")]
    v: Annotated[int, u16("version of the FL protocol")] | None = None
    schema: Annotated[bytes, blob("hash of what streams and settings there are", max_length=32)] | None = None
    uid: Annotated[bytes, blob("fixed hardware id", max_length=16)] | None = None
    log: Annotated[int, u32("id drawn when the log store was formatted")] | None = None
    serial: Annotated[str, string("serial number: a label only", max_length=LABEL_MAX)] | None = None
    name: Annotated[str, string("name given by its owner", max_length=LABEL_MAX)] | None = None
    product: Annotated[str, string("product id", max_length=LABEL_MAX)] | None = None
    hw: Annotated[str, string("hardware id and revision", max_length=LABEL_MAX)] | None = None
    fw: Annotated[str, string("firmware version", max_length=LABEL_MAX)] | None = None
    caps: Annotated[int, u32("capability bits")] | None = None
    block: Annotated[int, u16("size of a log block on flash", "By")] | None = None
    ppm: Annotated[int, u32("how far off the tick's rate may be; left out: a crystal", "[ppm]")] | None = None
    boot: Annotated[int, u16("boot counter")] | None = None
    tick: Annotated[int, u63("ticks since boot", "{tick}")] | None = None
    state: Annotated[int, u8("idle 0, armed 1, logging 2, full 3, fault 4")] | None = None
    first: Annotated[int, u32("first seq held")] | None = None
    open: Annotated[tuple[Annotated[int, u32("seq")], ...], about("seqs of blocks that are open")] | None = None
    next: Annotated[int, u32("seq that the next block will get")] | None = None
    used: Annotated[int, u63("bytes of the log in use", "By")] | None = None
    total: Annotated[int, u63("bytes of the log in all", "By")] | None = None
    released: Annotated[int, u32("blocks before this seq may be overwritten in full mode")] | None = None
    wrap: Annotated[bool, about("true: the ring overwrites the oldest; false: it stops when full")] | None = None
    session: Annotated[int, u16("session armed or being recorded, else the last recorded; 0: none yet")] | None = None
    mv: Annotated[int, u16("battery voltage", "mV")] | None = None
    reset: Annotated[str, string("why it last restarted", max_length=LABEL_MAX)] | None = None
    utc: Annotated[int, u63("UTC that the device believes now, 0: not set", "s")] | None = None
    set: Annotated[int, u63("UTC at which its clock was last set, 0: never", "s")] | None = None
    token: Annotated[int, u32("token for erase, bound to next")] | None = None
    plan: (
        Annotated[
            ArmRequest, about("how the session armed or recorded was asked for, with its streams as far as they fit")
        ]
        | None
    ) = None
    left: Annotated[int, u63("time until the session begins, left out: not known", "s")] | None = None
    pct: Annotated[int, u8("charge left in the battery", "%")] | None = None
    mah: Annotated[int, u32("charge left in the battery", "mA.h")] | None = None
    ua: Annotated[int, u32("mean current drawn in the present state", "uA")] | None = None
    rua: Annotated[int, u32("mean current that the session armed will draw when it is recorded", "uA")] | None = None


class StreamsRequest(Message, frozen=True, kw_only=True):
    """Which stream, by position, from which channel on."""

    i: Annotated[int, u8("position of the stream; left out: 0")] | None = None
    c: Annotated[int, u8("first channel wanted; left out: 0")] | None = None


class ChannelInfo(Message, frozen=True, kw_only=True):
    """One channel of a stream: value = (raw * mul + off) * 10^exp, then the calibration polynomial."""

    n: Annotated[str, string("name", max_length=LABEL_MAX)]
    u: Annotated[str, string("unit (UCUM)", max_length=LABEL_MAX)]
    t: Annotated[int, u8("type of the raw values, numbered as in the log's SCHEMA block")]
    mul: Annotated[int, i32("factor; left out: 1")] | None = None
    exp: Annotated[int, number("power of ten; left out: 0", ge=-30, le=30)] | None = None
    off: Annotated[int, i32("added to raw * mul; left out: 0")] | None = None
    miss: Annotated[int, i64("raw value that stands for a missing reading")] | None = None
    lo: Annotated[float, about("lowest valid value, in the unit")] | None = None
    hi: Annotated[float, about("highest valid value, in the unit")] | None = None
    cal: Annotated[tuple[float, ...], about("calibration polynomial, constant first")] | None = None


class StreamsResponse(Message, frozen=True, kw_only=True):
    """One stream with as many of its channels as fit."""

    n: Annotated[int, u8("number of streams")]
    i: Annotated[int, u8("position of this stream")]
    id: Annotated[int, u8("id of the stream")]
    name: Annotated[str, string("name of the stream", max_length=LABEL_MAX)]
    us: Annotated[int, u63("present sampling period, 0: irregular", "us")]
    min: Annotated[int, u63("shortest period allowed", "us")] | None = None
    max: Annotated[int, u63("longest period allowed", "us")] | None = None
    nc: Annotated[int, u8("number of channels")]
    c: Annotated[int, u8("position of the first channel in this reply")]
    ch: Annotated[tuple[ChannelInfo, ...], about("channels from position c on")]


class SchemaRequest(Message, frozen=True, kw_only=True):
    """Which settings, by position; and of the first one, from which choice on."""

    i: Annotated[int, u16("position of the first setting wanted; left out: 0")] | None = None
    c: Annotated[int, u16("first choice wanted of it; left out: 0")] | None = None


class SettingInfo(Message, frozen=True, kw_only=True):
    """One setting: how to read its bytes, what they may be and what they mean."""

    k: Annotated[str, string("key in the settings group", max_length=64)]
    t: Annotated[int, u8("type: see SettingType")]
    u: Annotated[str, string("unit (UCUM)", max_length=LABEL_MAX)] | None = None
    lo: Annotated[int | float, about("lowest value, or shortest length of text and bytes")] | None = None
    hi: Annotated[int | float, about("highest value, or greatest length of text and bytes")] | None = None
    step: Annotated[int | float, about("values are lo plus a multiple of this")] | None = None
    d: Annotated[bytes, blob("default, as the settings group carries it")] | None = None
    f: Annotated[int, u8("flags: see SettingFlag; left out: 0")] | None = None
    x: Annotated[str, string("what it is for", max_length=SETTING_TEXT_MAX)] | None = None
    nc: Annotated[int, u16("number of choices")] | None = None
    ch: (
        Annotated[tuple[str, ...], about("choices from the one asked for on; a value is a position in the list")] | None
    ) = None


class SchemaResponse(Message, frozen=True, kw_only=True):
    """As many settings as fit; a last one with fewer choices than `nc` goes on in the next page."""

    n: Annotated[int, u16("number of settings")]
    i: Annotated[int, u16("position of the first setting in this reply")]
    s: Annotated[tuple[SettingInfo, ...], about("settings from position i on")]


class SessionsRequest(Message, frozen=True, kw_only=True):
    """Sessions from an id on."""

    i: Annotated[int, u16("first session id wanted; left out: the oldest")] | None = None


class SessionInfo(Message, frozen=True, kw_only=True):
    """One recording session."""

    id: Annotated[int, u16("id")]
    label: Annotated[str, string("label", max_length=LABEL_MAX)]
    boot: Annotated[int, u16("boot in which it began")]
    start: Annotated[int, u63("tick at which it began", "{tick}")]
    eboot: Annotated[int, u16("boot in which it ended; left out: it has not")] | None = None
    stop: Annotated[int, u63("tick at which it ended", "{tick}")] | None = None
    first: Annotated[int, u32("seq of its first block")]
    last: Annotated[int, u32("seq of its last block so far")] | None = None
    frames: Annotated[int, u63("frames recorded so far")]
    why: Annotated[int, u8("why it ended: see StopReason; 0: it has not")]


class SessionsResponse(Message, frozen=True, kw_only=True):
    """As many sessions as fit, in order of id."""

    n: Annotated[int, u16("number of sessions that the device remembers")]
    s: Annotated[tuple[SessionInfo, ...], about("sessions in order of id")]
    more: Annotated[bool, about("true: there are sessions with higher ids")] | None = None


class BlocksRequest(Message, frozen=True, kw_only=True):
    """A stretch of the log: the sealed blocks from seq on, laid end to end without padding.

    Where only one request may be under way, `m` lets the device go on by itself: with the n bytes behind, as if they had
    been asked for, so many times. A device that does not know it answers once.
    """

    q: Annotated[int, u32("seq of the block that the offset counts from")]
    o: Annotated[int, u32("offset; beyond that block's end it counts on into the following ones", "By")]
    n: Annotated[int, u16("bytes wanted", "By")]
    m: Annotated[int, u8("replies wanted beyond the first, each for the n bytes that follow")] | None = None


class BlocksResponse(Message, frozen=True, kw_only=True):
    """The bytes at the position asked for: exactly n of them unless the log ends.

    That ends what follows too, and so does a first seq beyond that of the request. Whatever follows bears the same
    sequence number; it may be refused like what was asked for, and is the last then.
    """

    q: Annotated[int, u32("seq of the request")]
    o: Annotated[int, u32("offset of the request", "By")]
    f: Annotated[int, u32("first seq that the log holds")]
    d: Annotated[bytes, blob("the bytes; fewer than asked for only where the sealed log ends")]
    m: Annotated[int, u8("replies that follow by themselves; left out behind the last")] | None = None


class ArmResponse(Message, frozen=True, kw_only=True):
    """The session that was begun."""

    session: Annotated[int, u16("id of the session")]
    state: Annotated[int, u8("what the logger does now: see State")]


class StopRequest(Message, frozen=True, kw_only=True):
    """End the session and seal its blocks."""

    id: Annotated[int, u32("request id; repeated with the same id it acts once")]


class StopResponse(Message, frozen=True, kw_only=True):
    """The session that was ended."""

    session: Annotated[int, u16("id of the session")]
    next: Annotated[int, u32("seq that the next block will get")]


class ReleaseRequest(Message, frozen=True, kw_only=True):
    """Everything before seq may be overwritten; never implied by reading."""

    q: Annotated[int, u32("first seq to keep")]


class EraseRequest(Message, frozen=True, kw_only=True):
    """Erase the log: only with the token that info gave, so that nothing unseen is lost."""

    id: Annotated[int, u32("request id; repeated with the same id it acts once")]
    token: Annotated[int, u32("the token of info")]


class EraseResponse(Message, frozen=True, kw_only=True):
    """Where the log goes on."""

    next: Annotated[int, u32("seq that the next block will get; erasing does not reset it")]


class ClockResponse(Message, frozen=True, kw_only=True):
    """A probe of the device's tick counter."""

    boot: Annotated[int, u16("boot counter: ticks of other boots cannot be compared")]
    rx: Annotated[int, u63("tick at which the request had arrived", "{tick}")]
    tx: Annotated[int, u63("tick at which the reply was handed on", "{tick}")]
    utc: Annotated[int, u63("UTC that the device believes, left out: not set", "us")] | None = None


class ClockAnchor(Message, frozen=True, kw_only=True):
    """What time it was at a tick: kept in the log, so that another host can correct times later."""

    boot: Annotated[int, u16("boot counter that the tick belongs to")]
    tick: Annotated[int, u63("tick", "{tick}")]
    utc: Annotated[int, u63("UTC at that tick", "us")]
    err: Annotated[int, u32("half width of the uncertainty", "us")]
    src: Annotated[int, u8("who says so: see ClockSource")]


class LatestRequest(Message, frozen=True, kw_only=True):
    """The frames of a stream that are newer than a cursor."""

    s: Annotated[int, u8("id of the stream")]
    c: Annotated[int, u63("cursor of the last reply; left out: only the newest frame")] | None = None


class LatestResponse(Message, frozen=True, kw_only=True):
    """Frames, oldest first: each a u64 tick and the channels as in RAW encoding, little endian."""

    s: Annotated[int, u8("id of the stream")]
    c: Annotated[int, u63("cursor for the next request")]
    n: Annotated[int, u16("number of frames in d")]
    lost: Annotated[int, u63("frames that were gone before they could be read")] | None = None
    d: Annotated[bytes, blob("the frames")]


class MarkRequest(Message, frozen=True, kw_only=True):
    """A remark in the log."""

    id: Annotated[int, u32("request id; repeated with the same id it acts once")]
    text: Annotated[str, string("the remark", max_length=SETTING_TEXT_MAX)]


class MarkResponse(Message, frozen=True, kw_only=True):
    """When it was noted."""

    tick: Annotated[int, u63("tick of the mark", "{tick}")]


class CalibrateRequest(Message, frozen=True, kw_only=True):
    """A calibration polynomial for a channel; it is applied by whoever reads the values, the raw ones stay. While a
    settings transaction is open it is part of that."""

    id: Annotated[int, u32("request id; repeated with the same id it acts once")]
    s: Annotated[int, u8("id of the stream")]
    c: Annotated[int, u8("position of the channel")]
    cal: Annotated[tuple[float, ...], about("coefficients, constant first; empty: none")]
    t: (
        Annotated[int, u32("id of the settings transaction that it belongs to; refused when that is not open")] | None
    ) = None


class TestResult(Message, frozen=True, kw_only=True):
    """One thing that was tested."""

    n: Annotated[str, string("what was tested", max_length=LABEL_MAX)]
    ok: Annotated[bool, about("whether it passed")]
    x: Annotated[str, string("what was measured", max_length=LABEL_MAX)] | None = None


class SelfTestResponse(Message, frozen=True, kw_only=True):
    """Results of the last self test, as many as fit."""

    run: Annotated[bool, about("true while the test is still running")]
    n: Annotated[int, u8("number of results")]
    i: Annotated[int, u8("position of the first result in this reply")]
    r: Annotated[tuple[TestResult, ...], about("results from position i on")]


class SelfTestRequest(Message, frozen=True, kw_only=True):
    """Which results."""

    i: Annotated[int, u8("position of the first result wanted; left out: 0")] | None = None


class IdentifyRequest(Message, frozen=True, kw_only=True):
    """Blink, so that a person finds the device."""

    s: Annotated[int, u8("how long; left out: 5", "s")] | None = None


class SealResponse(Message, frozen=True, kw_only=True):
    """Where the log goes on."""

    next: Annotated[int, u32("seq that the next block will get")]


class TransactionStep(IntEnum):
    """Steps of a settings transaction."""

    BEGIN = 0
    CONFIRM = 1
    ABORT = 2


class TransactionRequest(Message, frozen=True, kw_only=True):
    """Begin: writes of settings, calibrations and metadata are staged until commit (3/2), which puts them on trial:
    they are read, and settings act. Confirm: all are stored, in one record. Abort, a reset or the time limit: the former
    ones are back. While values are on trial nothing else is written. A refusal because one is open has `left`: seconds
    until that ends by itself. The id of the last one confirmed is known across restarts."""

    step: Annotated[int, u8("begin 0, confirm 1, abort 2")]
    id: Annotated[int, u32("id of the transaction; repeated steps with the same id answer the same")]
    secs: (
        Annotated[
            int,
            u16(
                "with begin: how long values are on trial until they are confirmed, and how long no write may come "
                "before; left out: 60",
                "s",
            ),
        ]
        | None
    ) = None


class MetadataRequest(Message, frozen=True, kw_only=True):
    """A page of the deployment's metadata."""

    o: Annotated[int, u16("offset; left out: 0", "By")] | None = None


class MetadataResponse(Message, frozen=True, kw_only=True):
    """A page of the deployment's metadata."""

    o: Annotated[int, u16("offset", "By")]
    len: Annotated[int, u16("size of the whole", "By")]
    d: Annotated[bytes, blob("the page")]


class MetadataWriteRequest(Message, frozen=True, kw_only=True):
    """A page of new metadata; stored when the last page has arrived, or staged in an open settings transaction."""

    o: Annotated[int, u16("offset; 0 begins anew", "By")]
    len: Annotated[int, number("size of the whole", "By", ge=0, le=METADATA_MAX)]
    d: Annotated[bytes, blob("the page")]
    t: (
        Annotated[int, u32("id of the settings transaction that it belongs to; refused when that is not open")] | None
    ) = None


class MetadataWriteResponse(Message, frozen=True, kw_only=True):
    """How far it has come."""

    o: Annotated[int, u16("offset wanted next", "By")]


_L = Group.LOGGER
INFO = Command("logger info", Op.READ, _L, 0, InfoRequest, InfoResponse, "who the logger is and what it is doing", (2,))
STREAMS = Command(
    "logger streams", Op.READ, _L, 1, StreamsRequest, StreamsResponse, "streams and their channels", (6, 7)
)
SCHEMA = Command(
    "logger settings schema", Op.READ, _L, 2, SchemaRequest, SchemaResponse, "types and limits of the settings", (2,)
)
SESSIONS = Command("logger sessions", Op.READ, _L, 3, SessionsRequest, SessionsResponse, "recording sessions")
BLOCKS = Command("logger blocks", Op.READ, _L, 4, BlocksRequest, BlocksResponse, "bytes of the sealed log", (2, 10, 15))
ARM = Command("logger arm", Op.WRITE, _L, 5, ArmRequest, ArmResponse, "begin a session", (2, 3, 6, 7, 8, 9, 10, 14, 17))
STOP = Command("logger stop", Op.WRITE, _L, 6, StopRequest, StopResponse, "end the session", (4, 10))
RELEASE = Command("logger release", Op.WRITE, _L, 7, ReleaseRequest, Empty, "allow old blocks to be overwritten", (15,))
ERASE = Command(
    "logger erase", Op.WRITE, _L, 8, EraseRequest, EraseResponse, "erase the log", (3, 5, 10), service_s=40.0
)
CLOCK_PROBE = Command("logger clock", Op.READ, _L, 9, Empty, ClockResponse, "probe the tick counter")
CLOCK_ANCHOR = Command(
    "logger clock anchor", Op.WRITE, _L, 9, ClockAnchor, Empty, "say what time it was at a tick", (2, 10, 11)
)
LATEST = Command("logger latest", Op.READ, _L, 10, LatestRequest, LatestResponse, "frames newer than a cursor", (6,))
MARK = Command("logger mark", Op.WRITE, _L, 11, MarkRequest, MarkResponse, "note a remark in the log", (9, 10))
CALIBRATE = Command(
    "logger calibrate", Op.WRITE, _L, 12, CalibrateRequest, Empty, "calibrate a channel", (2, 6, 7, 10, 12, 13)
)
SELF_TEST_RESULT = Command(
    "logger self test", Op.READ, _L, 13, SelfTestRequest, SelfTestResponse, "results of the self test"
)
SELF_TEST_START = Command("logger start self test", Op.WRITE, _L, 13, Empty, Empty, "start the self test")
IDENTIFY = Command("logger identify", Op.WRITE, _L, 14, IdentifyRequest, Empty, "blink")
SEAL = Command("logger seal", Op.WRITE, _L, 15, Empty, SealResponse, "seal the open blocks; the session goes on", (10,))
TRANSACTION = Command(
    "logger settings transaction",
    Op.WRITE,
    _L,
    16,
    TransactionRequest,
    Empty,
    "change settings all or none",
    (2, 10, 12, 13),
)
METADATA_READ = Command(
    "logger metadata", Op.READ, _L, 17, MetadataRequest, MetadataResponse, "the deployment's metadata", (2,)
)
METADATA_WRITE = Command(
    "logger set metadata",
    Op.WRITE,
    _L,
    17,
    MetadataWriteRequest,
    MetadataWriteResponse,
    "new metadata",
    (2, 10, 12, 13, 16),
)

COMMANDS = (
    INFO,
    STREAMS,
    SCHEMA,
    SESSIONS,
    BLOCKS,
    ARM,
    STOP,
    RELEASE,
    ERASE,
    CLOCK_PROBE,
    CLOCK_ANCHOR,
    LATEST,
    MARK,
    CALIBRATE,
    SELF_TEST_RESULT,
    SELF_TEST_START,
    IDENTIFY,
    SEAL,
    TRANSACTION,
    METADATA_READ,
    METADATA_WRITE,
)
