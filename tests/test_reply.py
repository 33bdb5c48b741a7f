"""A reply's `then`: what is asked for next does not wait for the task that awaits the reply."""

from __future__ import annotations

import fieldlog
from fieldlog.client import Reply
from fieldlog_protocol.commands import Empty, fs, os
from smp_peer import Refuse, pty_peer


async def test_what_is_asked_for_next_leaves_without_a_turn_of_the_task_that_waits() -> None:
    with pty_peer(raw=True) as peer:
        async with fieldlog.connect(f"{peer.path}?framing=raw") as device:
            asked: list[Reply[os.ParamsResponse]] = []

            def ask_on() -> None:
                reply = device.client.start(os.PARAMS, Empty())
                if len(asked) < 4:
                    reply.then = ask_on
                asked.append(reply)

            ask_on()
            first = asked[0]
            await first
            assert len(asked) >= 2
            while not asked[-1].done() or len(asked) < 5:
                await asked[-1]
            assert len(asked) == 5


async def test_a_refusal_is_an_answer_too() -> None:
    with pty_peer({fs.STATUS.key: lambda _: Refuse(8)}) as peer:
        async with fieldlog.connect(peer.path) as device:
            answered: list[bool] = []
            reply = device.client.start(fs.STATUS, fs.FileStatusRequest(name="x"))
            reply.then = lambda: answered.append(reply.done())
            await device.echo("behind it")
            assert answered == [True]
            assert reply.exception() is not None


async def test_nothing_follows_what_was_taken_back() -> None:
    with pty_peer() as peer:
        async with fieldlog.connect(peer.path) as device:
            answered: list[bool] = []
            reply = device.client.start(os.PARAMS, Empty())
            reply.then = lambda: answered.append(True)
            reply.cancel()
            assert await device.echo("behind it") == "behind it"
            assert answered == []
