"""The client against small SMP devices on real ptys and sockets: what it asks, and what it says when things go wrong."""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from contextlib import suppress

import pytest

import fieldlog
from fieldlog.logger_info import NoLogger
from fieldlog_protocol.commands import Empty, fs, image, logger, os, shell, stat
from fieldlog_protocol.errors import (
    DeviceNotFound,
    LinkError,
    ProtocolError,
    RefusedError,
    RequestTimeout,
)
from fieldlog_protocol.framing import ConsoleFraming, DatagramFraming
from fieldlog_protocol.wire import Packet
from smp_peer import ECHO, PARAMS, Handler, Peer, Refuse, pty_peer, udp_peer

CONSOLE_TEXT = b"[00:00:01.000] <inf> booted\r\nuart:~$ "
ASKED_AGAIN_S = 2.1
"""Patience with one that is silent at first: a seventh of it has to do for an answer, on a busy machine too."""
SILENT: dict[tuple[int, int, int], Handler] = {PARAMS: lambda _: None, image.STATE_READ.key: lambda _: None}


@pytest.mark.parametrize("raw", [False, True])
async def test_a_device_on_a_pty_answers(raw: bool) -> None:
    with pty_peer(raw=raw) as peer:
        async with fieldlog.connect(f"{peer.path}?framing={'raw' if raw else 'console'}") as device:
            assert await device.echo("grüße") == "grüße"
            assert device.client.window == (1 if raw else 3)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_a_device_on_udp_answers(host: str) -> None:
    with udp_peer(host=host) as peer:
        async with fieldlog.connect(peer.url) as device:
            assert await device.echo("hi") == "hi"
            assert device.name == peer.url


async def test_the_first_request_learns_the_buffers() -> None:
    with pty_peer({PARAMS: lambda _: {"buf_size": 2048, "buf_count": 8}}) as peer:
        async with fieldlog.connect(peer.path) as device:
            client = device.client
            assert (client.window, client.max_reply, client.max_request) == (7, 2048, 2044)
        assert peer.peer.log == [(PARAMS, {})]


async def test_without_params_one_line_and_one_request_at_a_time() -> None:
    with pty_peer({PARAMS: lambda _: Refuse(8)}) as peer:
        async with fieldlog.connect(peer.path) as device:
            assert (device.client.window, device.client.max_request, device.client.params) == (1, 89, None)


async def test_the_user_knows_better() -> None:
    with pty_peer() as peer:
        async with fieldlog.connect(f"{peer.path}?window=2&buffer=1024") as device:
            assert (device.client.window, device.client.max_reply) == (2, 1024)


LOOPBACK_MTU = 65535 if sys.platform == "linux" else 1500


async def test_udp_messages_never_exceed_a_datagram() -> None:
    with udp_peer({PARAMS: lambda _: {"buf_size": 100_000, "buf_count": 4}}) as peer:
        async with fieldlog.connect(peer.url) as device:
            assert device.client.max_request == device.client.max_reply == LOOPBACK_MTU - 28


async def test_many_requests_are_under_way_at_once_and_matched() -> None:
    with pty_peer() as peer:
        async with fieldlog.connect(peer.path) as device:
            texts = [f"message {n}" for n in range(300)]
            assert await asyncio.gather(*map(device.echo, texts)) == texts


async def test_a_refusal_names_command_and_reason() -> None:
    with pty_peer({stat.DATA.key: lambda _: Refuse(2, 2)}) as peer:
        async with fieldlog.connect(peer.path) as device:
            with pytest.raises(RefusedError, match=r"refused 'stat data'.*no statistics group") as caught:
                await device.stats("nope")
            assert (caught.value.group, caught.value.code) == (2, 2)
            assert await device.echo("still there") == "still there"


async def test_success_may_carry_rc_0() -> None:
    with pty_peer({os.RESET.key: lambda _: {"rc": 0}}) as peer:
        async with fieldlog.connect(peer.path) as device:
            await device.reset()


async def test_a_server_that_only_knows_v1_is_understood() -> None:
    with pty_peer({PARAMS: lambda _: {"buf_size": 384, "buf_count": 4, "rc": 0}}) as peer:
        peer.peer.version = 0
        async with fieldlog.connect(peer.path) as device:
            assert device.client.window == 3


async def test_a_server_that_finds_v2_too_new_is_asked_in_v1() -> None:
    answers = iter([Refuse(13), {"buf_size": 512, "buf_count": 2}])
    with pty_peer({PARAMS: lambda _: next(answers)}) as peer:
        async with fieldlog.connect(peer.path) as device:
            assert device.client.max_reply == 512


async def test_out_of_memory_narrows_the_window_and_asks_again() -> None:
    answers = iter([Refuse(2), Refuse(2)])
    with pty_peer({ECHO: lambda body: next(answers, {"r": body["d"]})}) as peer:
        async with fieldlog.connect(peer.path) as device:
            assert await device.echo("again") == "again"
            assert device.client.window == 1


async def test_out_of_memory_for_ever_is_a_refusal() -> None:
    with pty_peer({ECHO: lambda _: Refuse(2)}) as peer:
        async with fieldlog.connect(peer.path) as device:
            with pytest.raises(RefusedError, match="no buffer or memory"):
                await device.echo("x")
            assert len(peer.peer.log) < 12


async def test_what_must_not_be_repeated_is_sent_once() -> None:
    with pty_peer({shell.EXECUTE.key: lambda _: None}) as peer:
        async with fieldlog.connect(f"{peer.path}?timeout=0.4") as device:
            with pytest.raises(RequestTimeout, match="Whether the device carried it out is not known"):
                await device.client.request(shell.EXECUTE, shell.ShellRequest(argv=("reboot",)), service_s=0.1)
        assert len(peer.peer.asked(shell.EXECUTE)) == 1


async def test_what_may_be_repeated_is() -> None:
    answers = iter([None, None])
    with pty_peer({ECHO: lambda body: next(answers, {"r": body["d"]})}) as peer:
        async with fieldlog.connect(f"{peer.path}?timeout=0.4") as device:
            assert await device.echo("third time") == "third time"
            assert device.client.counters.repeated == 2


async def test_a_limit_in_all_counts_from_outside() -> None:
    with pty_peer({ECHO: lambda _: None}) as peer:
        async with fieldlog.connect(peer.path) as device:
            start = time.monotonic()
            with pytest.raises(RequestTimeout, match=r"within 0\.2 s"):
                await device.client.request(os.ECHO, os.EchoRequest(d="x"), timeout_s=0.2)
            assert time.monotonic() - start < 2


async def test_an_answer_that_makes_no_sense_is_told_to_who_asked() -> None:
    with pty_peer({ECHO: lambda _: b"\xff\xff"}) as peer:
        async with fieldlog.connect(peer.path) as device:
            with pytest.raises(ProtocolError, match=r"answer of .* to 'os echo' makes no sense"):
                await device.echo("x")
            assert await device.params() is not None


async def test_a_cancelled_request_leaves_room_for_the_next() -> None:
    with pty_peer({fs.STATUS.key: lambda _: None, PARAMS: lambda _: {"buf_size": 384, "buf_count": 2}}) as peer:
        async with fieldlog.connect(peer.path) as device:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await device.request(fs.STATUS, fs.FileStatusRequest(name="x"))
            assert device.client.window == 1
            async with asyncio.timeout(1):
                assert await device.echo("next") == "next"


async def test_unplugging_fails_everything_under_way_at_once() -> None:
    with pty_peer({ECHO: lambda _: None}) as peer:
        async with fieldlog.connect(peer.path) as device:
            waiting = [asyncio.ensure_future(device.echo(str(n))) for n in range(10)]
            await _asked(peer.peer, ECHO)
            start = time.monotonic()
            peer.unplug()
            results = await asyncio.gather(*waiting, return_exceptions=True)
            assert all(isinstance(result, LinkError) and "was lost" in str(result) for result in results)
            with pytest.raises(LinkError, match="was lost"):
                await device.echo("later")
            assert time.monotonic() - start < 2


async def test_replies_that_nobody_waits_for_any_more_are_not_complained_of(caplog: pytest.LogCaptureFixture) -> None:
    with pty_peer({ECHO: lambda _: None}) as peer:
        async with fieldlog.connect(peer.path) as device:
            replies = [device.client.start(os.ECHO, os.EchoRequest(d=str(n))) for n in range(5)]
            peer.unplug()
            with suppress(LinkError):
                await replies[0]
            replies.clear()
            gc.collect()
    assert not caplog.records


async def test_a_link_can_be_opened_again() -> None:
    with pty_peer() as peer:
        async with fieldlog.connect(peer.path) as device:
            await device.reopen()
            assert await device.echo("again") == "again"


async def test_closing_fails_what_waits() -> None:
    with pty_peer({ECHO: lambda _: None}) as peer:
        async with fieldlog.connect(peer.path) as device:
            waiting = asyncio.ensure_future(device.echo("x"))
            await asyncio.sleep(0)
        with pytest.raises(LinkError, match="was closed"):
            await waiting


async def test_console_text_is_kept_in_order_and_taken_once() -> None:
    with pty_peer() as peer:
        peer.peer.prefix = CONSOLE_TEXT
        async with fieldlog.connect(peer.path) as device:
            await device.echo("x")
            assert device.client.take_text() == (CONSOLE_TEXT.decode() + "\n") * 2
            assert device.client.take_text() == ""


async def test_a_device_that_was_just_starting_is_found_and_spoken_to_as_usual() -> None:
    deaf = iter([True] * 3)
    with pty_peer() as peer:
        peer.peer.lose = lambda: next(deaf, False)
        async with fieldlog.connect(f"{peer.path}?timeout={ASKED_AGAIN_S}") as device:
            assert (device.client.params, device.client.terse) == (os.ParamsResponse(buf_size=384, buf_count=4), False)
            peer.peer.on(stat.LIST, lambda _: Refuse(3, 63))
            with pytest.raises(RefusedError) as refused:
                await device.stat_names()
            assert refused.value.group is not None, "v1 has no place for it"


class _OldBootLoader(Peer):
    """MCUboot before 2.0, which drops what is not of v1; before 1.9 it is silent to what it does not know, too."""

    def _answers(self, packet: Packet) -> list[bytes | None]:
        return [] if packet.version else super()._answers(packet)


@pytest.mark.parametrize("silent", [False, True])
async def test_an_old_boot_loader_is_asked_in_v1_when_it_stays_silent(silent: bool) -> None:
    handlers: dict[tuple[int, int, int], Handler] = {
        image.STATE_READ.key: lambda _: {"images": [{"slot": 0, "version": "1.0.0"}]},
        PARAMS: lambda _: None if silent else Refuse(8),
    }
    with pty_peer() as peer:
        peer.peer = _OldBootLoader(handlers, ConsoleFraming())
        async with fieldlog.connect(f"{peer.path}?timeout={ASKED_AGAIN_S}") as device:
            assert [slot.version for slot in await device.images()] == ["1.0.0"]
            before = len(peer.peer.log)
            with pytest.raises(RefusedError) as refused:
                await device.stat_names()
            assert (refused.value.code, refused.value.group) == (8, None)
            assert len(peer.peer.log) - before == (0 if silent else 1)


async def test_an_old_server_on_a_network_is_asked_in_v1_too() -> None:
    with udp_peer() as peer:
        peer.peer = _OldBootLoader({}, DatagramFraming())
        async with fieldlog.connect(f"{peer.url}?timeout={ASKED_AGAIN_S}") as device:
            assert (device.client.params is not None, device.client.terse) == (True, False)
            assert await device.echo("there") == "there"


# nobody answers


async def test_a_silent_device_is_given_up_in_time_with_advice() -> None:
    with pty_peer(SILENT) as peer:
        start = time.monotonic()
        with pytest.raises(RequestTimeout, match="nothing at all was received") as caught:
            async with fieldlog.connect(f"{peer.path}?timeout=0.7"):
                pass
        assert 0.6 < time.monotonic() - start < 3
        assert peer.path in str(caught.value)


@pytest.mark.parametrize(
    ("babble", "says"),
    [
        (b"\xf8\x00\xc3\xfe\xe0\x80\x9c\xff" * 4, r"makes no sense.*baud="),
        (CONSOLE_TEXT, r"text: '.*booted.*CONFIG_MCUMGR"),
        (b"\x06\x09AAAAAAAAAAAA\n", r"damaged.*baud="),
    ],
)
async def test_what_comes_instead_of_an_answer_tells_what_is_wrong(babble: bytes, says: str) -> None:
    with pty_peer() as peer:
        peer.peer.handlers[PARAMS] = lambda _: peer.say(babble)
        peer.peer.on(image.STATE_READ, lambda _: None)
        with pytest.raises(RequestTimeout, match=says) as caught:
            async with fieldlog.connect(f"{peer.path}?timeout=0.5"):
                pass
        assert str(caught.value).isprintable()


async def test_nobody_at_an_address_is_told_at_once() -> None:
    with udp_peer() as peer:
        url = peer.url
    start = time.monotonic()
    with pytest.raises(LinkError, match="nobody listens"):
        async with fieldlog.connect(url):
            pass
    assert time.monotonic() - start < 2


async def test_a_missing_port_is_told() -> None:
    with pytest.raises(DeviceNotFound, match="no serial port"):
        async with fieldlog.connect("/dev/ttyNONE9"):
            pass


# the logger group


async def test_a_stock_device_has_no_logger_and_says_what_works() -> None:
    with pty_peer() as peer:
        async with fieldlog.connect(peer.path) as device:
            assert not await device.has_logger()
            with pytest.raises(NoLogger, match=r"no fieldlog logger group.*fs, config"):
                await device.logger_info()
        assert len(peer.peer.asked(logger.INFO)) == 1


async def test_the_parts_of_a_loggers_description_are_merged() -> None:
    parts = [
        {"parts": 2, "v": 1, "uid": b"\x01\x02", "log": 7, "serial": "A1", "block": 512, "caps": 0x8040},
        {"parts": 2, "boot": 3, "tick": 99, "state": 9, "first": 1, "next": 5, "open": [4], "used": 10, "total": 20},
    ]
    with pty_peer({logger.INFO.key: lambda body: parts[body.get("p", 0)]}) as peer:
        async with fieldlog.connect(peer.path) as device:
            info = await device.logger_info()
    assert (info.uid, info.log_id, info.serial, info.boot_id, info.open_seqs) == (b"\x01\x02", 7, "A1", 3, (4,))
    assert info.state == 9  # a newer device's state is kept
    assert (info.utc_s, info.battery_mv) == (None, None)


async def test_a_logger_without_an_identity_breaks_the_rules() -> None:
    with pty_peer({logger.INFO.key: lambda _: {"parts": 1, "log": 7}}) as peer:
        async with fieldlog.connect(peer.path) as device:
            with pytest.raises(ProtocolError, match="'uid'"):
                await device.logger_info()


async def test_any_command_of_the_table_can_be_asked() -> None:
    with pty_peer() as peer:
        async with fieldlog.connect(peer.path) as device:
            assert (await device.request(os.PARAMS, Empty())).buf_size == 384


async def _asked(peer: Peer, key: tuple[int, int, int]) -> None:
    """Wait until the device has got such a request."""
    async with asyncio.timeout(5):
        while key not in [asked for asked, _ in peer.log]:
            await asyncio.to_thread(peer.asked_something.wait, 1)
            peer.asked_something.clear()


@pytest.mark.parametrize(("raw", "asked"), [(True, 3), (False, 1)], ids=["raw", "console"])
async def test_a_line_without_a_check_value_may_garble_one_answer_or_request(raw: bool, asked: int) -> None:
    """Raw framing has none: an answer that is no CBOR, and a request that arrived malformed, are asked for again."""
    answers = iter([b"\xff\xff", Refuse(3), {"r": "hi"}])
    with pty_peer({ECHO: lambda _: next(answers)}, raw=raw) as port:
        async with fieldlog.connect(f"serial:{port.path}" + ("?framing=raw" if raw else "")) as device:
            if raw:
                assert await device.echo("hi") == "hi"
            else:
                with pytest.raises(ProtocolError):
                    await device.echo("hi")
            assert len(port.peer.asked(os.ECHO)) == asked
