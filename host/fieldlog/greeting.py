"""The first words on a link: whether anybody is there, in which version of SMP they speak, and which buffers they have.

Rule: nothing is asked that changes anything. Most devices answer the first question; the others are told apart here, so
that nobody else has to know of them.
"""

from __future__ import annotations

from contextlib import suppress
from typing import NamedTuple, Protocol, TypeVar

from fieldlog.link_options import FIRST_TRIES
from fieldlog_protocol.commands import Command, Empty, Message, image, os
from fieldlog_protocol.error_texts import Rc
from fieldlog_protocol.errors import ProtocolError, RefusedError, RequestTimeout

Req = TypeVar("Req", bound=Message)
Rsp = TypeVar("Rsp", bound=Message)

ALL_OLD_ONES_KNOW = {image.STATE_READ.key, image.UPLOAD.key, os.RESET.key}
"""Commands of MCUboot's recovery before 1.9, which never answers others, or says yes to them."""
_V1, _V2 = 0, 1
"""SMP v1 and v2, by the numbers in the header."""


class Link(Protocol):
    """What a greeting needs of a client."""

    @property
    def ordered(self) -> bool: ...

    def speak(self, version: int) -> None:
        """Go on in this version of SMP; what was asked before is forgotten."""

    def silence(self) -> RequestTimeout:
        """The error of a device that has answered nothing."""
        ...

    async def request(self, command: Command[Req, Rsp], message: Req, *, tries: int | None = None) -> Rsp: ...


class Greeted(NamedTuple):
    """`params` is None where the device does not tell. `terse`: an old boot loader, to be asked for nothing but
    `ALL_OLD_ONES_KNOW`."""

    params: os.ParamsResponse | None
    terse: bool = False


async def greet(link: Link) -> Greeted:
    """Raises RequestTimeout where nobody answers."""
    link.speak(_V2)
    try:
        return await _greeted(link)
    except RefusedError:
        return Greeted(None)


async def _greeted(link: Link) -> Greeted:
    try:
        return Greeted(await _params(link))
    except RefusedError as error:
        if error.group is not None or error.code not in (Rc.TOO_OLD, Rc.TOO_NEW):
            raise
    except RequestTimeout:
        if not await _lists_in_v1(link):
            raise
        return await _late_or_old(link)
    link.speak(_V1)
    return Greeted(await _params(link))


async def _params(link: Link) -> os.ParamsResponse:
    try:
        return await link.request(os.PARAMS, Empty(), tries=FIRST_TRIES)
    except RequestTimeout as error:
        raise link.silence() from error


async def _lists_in_v1(link: Link) -> bool:
    """Whether somebody is there after all: MCUboot before 2.0 drops other headers than those of v1, and some versions of it
    answer little more than the list of images."""
    link.speak(_V1)
    try:
        await link.request(image.STATE_READ, Empty(), tries=1)
    except (RefusedError, ProtocolError):
        return True
    except RequestTimeout:
        return False
    return True


async def _late_or_old(link: Link) -> Greeted:
    """A device that was just starting while it was asked, or that knows v1 alone. On a network, where messages are lost, it
    is asked as often as at first: what it is taken for stays until the link is opened anew."""
    for version in (_V2, _V1):
        link.speak(version)
        with suppress(RequestTimeout):
            return Greeted(await link.request(os.PARAMS, Empty(), tries=1 if link.ordered else FIRST_TRIES))
    return Greeted(None, terse=True)
