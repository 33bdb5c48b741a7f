"""Who is at the end of a link, found by a few questions: without a link, and without waiting."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import pytest

from fieldlog.greeting import Greeted, greet
from fieldlog_protocol.commands import Command, image, os
from fieldlog_protocol.error_texts import Rc
from fieldlog_protocol.errors import ProtocolError, RefusedError, RequestTimeout

V1, V2 = 0, 1
PARAMS = os.ParamsResponse(buf_size=384, buf_count=4)
PROBED = [(V2, os.PARAMS.name)] * 3
LISTED = (V1, image.STATE_READ.name)


@dataclass
class Somebody:
    """Answers what it `knows` in the `versions` that it takes, but for the questions that are `lost`, by their number from
    1 on. `said` are these, with the version in which each was asked."""

    versions: Collection[int] = (V1, V2)
    knows: Collection[str] = (os.PARAMS.name, image.STATE_READ.name)
    lost: Collection[int] = ()
    ordered: bool = True
    refusals: dict[tuple[int, str], RefusedError | ProtocolError] = field(default_factory=dict)
    said: list[tuple[int, str]] = field(default_factory=list)
    version: int = -1

    def speak(self, version: int) -> None:
        self.version = version

    def silence(self) -> RequestTimeout:
        return RequestTimeout("nobody answered")

    async def request(self, command: Command[Any, Any], message: object, *, tries: int | None = None) -> Any:
        del message
        for _ in range(tries or 1):
            self.said.append((self.version, command.name))
            if self.version in self.versions and command.name in self.knows and len(self.said) not in self.lost:
                if error := self.refusals.get(self.said[-1]):
                    raise error
                return PARAMS if command is os.PARAMS else image.ImageStateResponse(images=())
        raise RequestTimeout("not in time")


async def test_most_devices_are_asked_one_question() -> None:
    device = Somebody()
    assert await greet(device) == Greeted(PARAMS)
    assert device.said == [(V2, os.PARAMS.name)]


@pytest.mark.parametrize("code", [Rc.NOT_SUPPORTED, Rc.UNKNOWN])
async def test_one_that_does_not_tell_its_buffers_is_there_all_the_same(code: Rc) -> None:
    device = Somebody(refusals={(V2, os.PARAMS.name): RefusedError(code, None, "no")})
    assert await greet(device) == Greeted(None)
    assert device.version == V2


@pytest.mark.parametrize("code", [Rc.TOO_OLD, Rc.TOO_NEW])
async def test_one_that_refuses_the_version_is_asked_in_the_other(code: Rc) -> None:
    device = Somebody(refusals={(V2, os.PARAMS.name): RefusedError(code, None, "no")})
    assert await greet(device) == Greeted(PARAMS)
    assert device.version == V1


async def test_nobody_is_told_by_what_the_link_says_of_it() -> None:
    nobody = Somebody(knows=())
    with pytest.raises(RequestTimeout, match="nobody answered"):
        await greet(nobody)
    assert nobody.said == [*PROBED, LISTED]


@pytest.mark.parametrize("ordered", [True, False], ids=["serial", "network"])
async def test_one_that_was_just_starting_is_spoken_to_as_usual(ordered: bool) -> None:
    device = Somebody(lost={1, 2, 3}, ordered=ordered)
    assert await greet(device) == Greeted(PARAMS)
    assert device.version == V2


@pytest.mark.parametrize("ordered", [True, False], ids=["serial", "network"])
async def test_an_old_one_is_spoken_to_in_v1(ordered: bool) -> None:
    device = Somebody(versions=[V1], ordered=ordered)
    assert await greet(device) == Greeted(PARAMS)
    assert device.version == V1


@pytest.mark.parametrize("error", [None, RefusedError(Rc.UNKNOWN, None, "no"), ProtocolError("no sense")])
async def test_an_old_one_that_tells_nothing_is_asked_for_little(error: RefusedError | ProtocolError | None) -> None:
    device = Somebody(versions=[V1], knows=[image.STATE_READ.name], refusals={} if error is None else {LISTED: error})
    assert await greet(device) == Greeted(None, terse=True)
    assert device.version == V1


async def test_a_network_that_loses_messages_makes_nobody_old() -> None:
    device = Somebody(lost={1, 2, 3, 5, 6}, ordered=False)
    assert await greet(device) == Greeted(PARAMS)
    assert device.version == V2
