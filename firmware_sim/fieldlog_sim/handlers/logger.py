"""Group FL: what only a logger has. A device without a logger does not register it."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec

from fieldlog_protocol.blocks.schema import Channel, Stream
from fieldlog_protocol.commands import Command, Empty, Message, logger
from fieldlog_protocol.commands.logger import Capability, LoggerError, TransactionStep
from fieldlog_protocol.error_texts import Rc
from fieldlog_protocol.wire import decode_body, encode_body
from fieldlog_sim.device import Device
from fieldlog_sim.device_clock import MAX_UTC_S
from fieldlog_sim.dispatch import Dispatcher, Limits, Refusal
from fieldlog_sim.handlers.admission import admit, transaction_refusals
from fieldlog_sim.handlers.metadata import MetadataPages
from fieldlog_sim.logger import Logger
from fieldlog_sim.plan import refuse
from fieldlog_sim.settings_transaction import Staged
from fieldlog_sim.store_errors import StoreFull

T = TypeVar("T")
Req = TypeVar("Req", bound=Message)
Rsp = TypeVar("Rsp", bound=Message)

_PARTS = 3
_WIDTHS = (23, 0xFF, 0xFFFF, 0xFFFF_FFFF)
_LAST_OFFSET = 0xFFFF_FFFF
_CLOCK_SOURCES = {int(source): source.name.lower() for source in logger.ClockSource}


def register(dispatcher: Dispatcher, device: Device) -> None:
    """Serve the group, if there is a logger."""
    recorder = device.logger
    if recorder is None:
        return

    def serve(
        command: Command[Req, Rsp],
        handler: Callable[[Req], Rsp],
        follow: Callable[[Req, Rsp], Req | None] | None = None,
    ) -> None:
        """What the device remembers has its place on flash too, and that may come to an end."""

        def answer(request: Req) -> Rsp:
            try:
                return handler(request)
            except StoreFull:
                raise refuse(LoggerError.FLASH) from None

        dispatcher.on(command, answer, follow)

    pages = _Pages(device, recorder, dispatcher.limits)
    serve(logger.INFO, pages.info)
    serve(logger.STREAMS, pages.streams)
    serve(logger.SCHEMA, pages.schema)
    serve(logger.SESSIONS, pages.sessions)
    serve(logger.BLOCKS, pages.blocks, following_blocks)
    serve(logger.LATEST, pages.latest)
    serve(logger.SELF_TEST_RESULT, pages.self_test)
    actions = _Actions(device, recorder)
    serve(logger.ARM, recorder.arm)
    serve(logger.STOP, actions.stop)
    serve(logger.RELEASE, actions.release)
    serve(logger.ERASE, recorder.erase)
    serve(logger.CLOCK_PROBE, actions.clock)
    serve(logger.CLOCK_ANCHOR, actions.anchor)
    serve(logger.MARK, actions.mark)
    serve(logger.CALIBRATE, actions.calibrate)
    serve(logger.SELF_TEST_START, actions.start_self_test)
    serve(logger.IDENTIFY, actions.identify)
    serve(logger.SEAL, actions.seal)
    serve(logger.TRANSACTION, actions.transaction)
    metadata = MetadataPages(device, recorder, dispatcher.limits)
    serve(logger.METADATA_READ, metadata.read)
    serve(logger.METADATA_WRITE, metadata.write)


def _filled(limits: Limits, items: Sequence[T], build: Callable[[Sequence[T]], Rsp]) -> Rsp:
    """The response with as many of the items as the buffer holds: at least one, or a host would ask for ever."""
    count = len(items)
    while not limits.fits(build(items[:count])):
        if count <= 1:
            raise Refusal(Rc.MESSAGE_SIZE)
        count -= 1
    return build(items[:count])


def _with_choices(settings: Sequence[logger.SettingInfo], first: int) -> list[logger.SettingInfo]:
    """Settings with a page of choices each, the first of them from choice `first` on; none follows an unfinished one."""
    shown: list[logger.SettingInfo] = []
    for info in settings:
        choices = (info.ch or ())[first:]
        page = choices[: logger.CHOICES_PER_PAGE] or None
        going_on = logger.SettingInfo(k=info.k, t=info.t, ch=page) if first else msgspec.structs.replace(info, ch=page)
        shown.append(going_on)
        if first or len(choices) > logger.CHOICES_PER_PAGE:
            break
    return shown


def _schema_page(total: int, position: int, settings: Sequence[logger.SettingInfo]) -> logger.SchemaResponse:
    return logger.SchemaResponse(n=total, i=position, s=tuple(settings))


class _Pages:
    """What is read: paged to fit the buffer."""

    def __init__(self, device: Device, recorder: Logger, limits: Limits) -> None:
        self._device = device
        self._logger = recorder
        self._limits = limits
        self._rooms: dict[tuple[int, ...], int] = {}

    def info(self, request: logger.InfoRequest) -> logger.InfoResponse:
        parts = (self._who, self._what, self._planned)
        part = request.p or 0
        if part >= len(parts):
            raise refuse(LoggerError.OUT_OF_RANGE)
        return parts[part]()

    def _who(self) -> logger.InfoResponse:
        device, identity = self._device, self._device.identity
        return logger.InfoResponse(
            parts=_PARTS,
            v=logger.PROTOCOL_VERSION,
            schema=self._logger.schema_hash(device.settings.table),
            uid=identity.uid,
            log=identity.log_id,
            serial=identity.serial,
            name=device.settings.read("device/name").decode(),
            product=device.config.profile.product,
            hw=device.config.profile.hardware,
            fw=device.firmware_version,
            caps=self._capabilities,
            block=device.block_size,
            ppm=device.clock.oscillator.tolerance_ppm,
        )

    @property
    def _capabilities(self) -> Capability:
        back_to_back = self._device.config.buffers.back_to_back
        return self._logger.capabilities | (Capability.BACK_TO_BACK if back_to_back else Capability(0))

    def _what(self) -> logger.InfoResponse:
        device, recorder, clock = self._device, self._logger, self._device.clock
        return logger.InfoResponse(
            parts=_PARTS,
            boot=device.boot_id,
            tick=clock.tick,
            state=recorder.state,
            first=recorder.first_seq,
            open=recorder.open_seqs,
            next=recorder.next_seq,
            used=recorder.bytes_used,
            total=recorder.bytes_total,
            released=recorder.released,
            wrap=recorder.wrap,
            session=recorder.session,
            mv=device.battery_mv,
            reset=device.reset_reason,
            utc=clock.believed_seconds(clock.tick),
            set=clock.last_set_s,
            token=recorder.token,
        )

    def _planned(self) -> logger.InfoResponse:
        """Of many streams the periods are left out, which are told elsewhere, and of very many all."""
        battery, now_us, plan = self._device.battery, self._device.now_us(), self._logger.plan
        recording_ua = self._logger.recording_ua
        said = logger.InfoResponse(
            parts=_PARTS,
            plan=plan,
            left=self._logger.seconds_left,
            pct=battery.percent(now_us),
            mah=round(battery.left_mah(now_us)),
            ua=round(battery.current_ua),
            rua=None if recording_ua is None else round(recording_ua),
        )
        if plan is None or self._limits.fits(said):
            return said
        streams = tuple(logger.StreamPeriod(s=item.s) for item in plan.streams or ())
        said = msgspec.structs.replace(said, plan=msgspec.structs.replace(plan, streams=streams))
        if self._limits.fits(said):
            return said
        return msgspec.structs.replace(said, plan=msgspec.structs.replace(plan, streams=None))

    def streams(self, request: logger.StreamsRequest) -> logger.StreamsResponse:
        streams = self._logger.streams
        position, first = request.i or 0, request.c or 0
        if position >= len(streams):
            raise refuse(LoggerError.NO_SUCH_STREAM)
        stream = streams[position]
        if first >= len(stream.channels):
            raise refuse(LoggerError.NO_SUCH_CHANNEL)
        channels = [
            _channel(channel, self._calibration(stream.id, first + index))
            for index, channel in enumerate(stream.channels[first:])
        ]
        return _filled(self._limits, channels, lambda some: self._stream(stream, position, first, some))

    def _calibration(self, stream: int, channel: int) -> tuple[float, ...]:
        trial = self._device.transactions.trial
        settled = self._logger.calibration(stream, channel)
        return trial.calibrations.get((stream, channel), settled) if trial else settled

    def _stream(
        self, stream: Stream, position: int, first: int, channels: Sequence[logger.ChannelInfo]
    ) -> logger.StreamsResponse:
        least, most = self._logger.period_range(stream.id)
        return logger.StreamsResponse(
            n=len(self._logger.streams),
            i=position,
            id=stream.id,
            name=stream.name,
            us=stream.period_us,
            min=least,
            max=most,
            nc=len(stream.channels),
            c=first,
            ch=tuple(channels),
        )

    def schema(self, request: logger.SchemaRequest) -> logger.SchemaResponse:
        table = self._device.settings.table
        position, choice = request.i or 0, request.c or 0
        if position > len(table):
            raise refuse(LoggerError.OUT_OF_RANGE)
        shown = _with_choices(table[position:], choice)
        if shown and not self._limits.fits(_schema_page(len(table), position, shown[:1])):
            return self._fewer_choices(len(table), position, shown[0])
        return _filled(self._limits, shown, lambda some: _schema_page(len(table), position, some))

    def _fewer_choices(self, total: int, position: int, info: logger.SettingInfo) -> logger.SchemaResponse:
        return _filled(
            self._limits,
            info.ch or (),
            lambda some: _schema_page(total, position, [msgspec.structs.replace(info, ch=tuple(some))]),
        )

    def sessions(self, request: logger.SessionsRequest) -> logger.SessionsResponse:
        sessions = self._logger.sessions
        found = sessions.from_id(request.i or 0)
        return _filled(
            self._limits,
            found,
            lambda some: logger.SessionsResponse(
                n=len(sessions), s=tuple(some), more=True if len(some) < len(found) else None
            ),
        )

    def blocks(self, request: logger.BlocksRequest) -> logger.BlocksResponse:
        first_held = self._logger.first_seq
        numbers = (request.q, request.o, first_held) if not request.m else (request.q, request.o, first_held, request.m)
        widths = tuple(map(_width, numbers))
        if widths not in self._rooms:  # all such requests leave as much room, and a long log is asked for by thousands
            head = logger.BlocksResponse(q=request.q, o=request.o, f=first_held, d=b"", m=request.m or None)
            self._rooms[widths] = self._limits.room_for_blob(head)
        if request.n > self._rooms[widths]:
            raise refuse(LoggerError.OUT_OF_RANGE)
        data = self._logger.read(request.q, request.o, request.n)
        held = first_held <= request.q  # else the host must count from another block
        goes_on = held and len(data) == request.n > 0 and request.o + request.n <= _LAST_OFFSET
        following = (request.m or None) if goes_on else None
        return logger.BlocksResponse(q=request.q, o=request.o, f=first_held, d=data, m=following)

    def latest(self, request: logger.LatestRequest) -> logger.LatestResponse:
        frames = self._logger.latest(request.s, request.c)
        count = len(frames.frames)
        while True:
            response = logger.LatestResponse(
                s=request.s,
                c=frames.cursor + count,
                n=count,
                lost=frames.lost or None,
                d=b"".join(frames.frames[:count]),
            )
            if count == 0 or self._limits.fits(response):
                return response
            count -= 1

    def self_test(self, request: logger.SelfTestRequest) -> logger.SelfTestResponse:
        results, first = self._logger.test_results, request.i or 0
        return _filled(
            self._limits,
            results[first:],
            lambda some: logger.SelfTestResponse(run=False, n=len(results), i=first, r=tuple(some)),
        )


def following_blocks(request: logger.BlocksRequest, response: logger.BlocksResponse) -> logger.BlocksRequest | None:
    """What the device goes on with by itself, as if it had been asked."""
    if response.m is None:
        return None
    return logger.BlocksRequest(q=request.q, o=request.o + request.n, n=request.n, m=response.m - 1)


def _width(number: int) -> int:
    """Which of CBOR's lengths a number takes."""
    return bisect_left(_WIDTHS, number)


def _channel(channel: Channel, calibration: tuple[float, ...]) -> logger.ChannelInfo:
    return logger.ChannelInfo(
        n=channel.name,
        u=channel.unit,
        t=channel.type,
        mul=None if channel.multiplier == 1 else channel.multiplier,
        exp=channel.exponent or None,
        off=channel.offset or None,
        miss=channel.missing,
        lo=channel.minimum,
        hi=channel.maximum,
        cal=calibration or None,
    )


class _Actions:
    """What acts. Requests with an id act once: a repetition of the last one is answered as it was."""

    def __init__(self, device: Device, recorder: Logger) -> None:
        self._device = device
        self._logger = recorder
        self._answers: dict[str, tuple[int, Message]] = {}

    def _once(self, command: str, request_id: int, act: Callable[[], Rsp], response: type[Rsp]) -> Rsp:
        known = self._answers.get(command)
        if known is not None and known[0] == request_id:
            return decode_body(encode_body(known[1]), response)
        answer = act()
        self._answers[command] = request_id, answer
        return answer

    def stop(self, request: logger.StopRequest) -> logger.StopResponse:
        return self._once("stop", request.id, self._logger.stop, logger.StopResponse)

    def release(self, request: logger.ReleaseRequest) -> Empty:
        self._logger.release(request.q)
        return Empty()

    def clock(self, _: Empty) -> logger.ClockResponse:
        clock = self._device.clock
        now = clock.tick
        arrived = max(0, min(now, clock.oscillator.tick(self._device.arrived_us)))  # it may have waited for a restart
        return logger.ClockResponse(boot=self._device.boot_id, rx=arrived, tx=now, utc=clock.believed_utc_us)

    def anchor(self, request: logger.ClockAnchor) -> Empty:
        if request.boot != self._device.boot_id:
            raise refuse(LoggerError.OTHER_BOOT)
        clock, source = self._device.clock, _CLOCK_SOURCES.get(request.src)
        if source is None or request.tick > clock.tick or request.utc > MAX_UTC_S * 1_000_000:
            raise refuse(LoggerError.OUT_OF_RANGE)
        clock.set(request.tick, request.utc)
        self._logger.note_sync(request.tick, request.utc, request.err, source)
        return Empty()

    def mark(self, request: logger.MarkRequest) -> logger.MarkResponse:
        return self._once("mark", request.id, lambda: self._logger.mark(request.text), logger.MarkResponse)

    def calibrate(self, request: logger.CalibrateRequest) -> Empty:
        place, device = (request.s, request.c), self._device
        self._logger.require_calibration(*place, request.cal)
        admit(device, request.t)
        if (staging := device.transactions.staging) is not None:
            staging.calibrations[place] = request.cal
        else:
            self._logger.keep(Staged(calibrations={place: request.cal}), {})
        return Empty()

    def start_self_test(self, _: Empty) -> Empty:
        self._logger.self_test()
        return Empty()

    def identify(self, _: logger.IdentifyRequest) -> Empty:
        self._device.counters.identified += 1
        return Empty()

    def seal(self, _: Empty) -> logger.SealResponse:
        self._logger.seal()
        return logger.SealResponse(next=self._logger.next_seq)

    def transaction(self, request: logger.TransactionRequest) -> Empty:
        transactions, now_us = self._device.transactions, self._device.now_us()
        with transaction_refusals():
            if request.step == TransactionStep.BEGIN:
                limit_s = logger.TRIAL_S if request.secs is None else request.secs
                transactions.begin(request.id, limit_s * 1_000_000, now_us)
            elif request.step == TransactionStep.CONFIRM:
                self._device.confirm(request.id)
            elif request.step == TransactionStep.ABORT:
                transactions.abort(request.id)
            else:
                raise refuse(LoggerError.OUT_OF_RANGE)
        return Empty()
