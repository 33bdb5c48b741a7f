"""Passkeys on Linux: BlueZ asks an agent for them, over D-Bus, and bleak brings none.

While this one is registered it is the default one. When its connection ends, BlueZ goes back to the one before.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Annotated

from dbus_fast import BusType, DBusError, Message, MessageType
from dbus_fast.aio import MessageBus
from dbus_fast.annotations import DBusObjectPath, DBusSignature, DBusStr, DBusUInt32
from dbus_fast.service import ServiceInterface, dbus_method

_PATH = "/org/fieldlog/agent"
_CAPABILITY = "KeyboardOnly"
"""A device that shows a passkey wants it typed then, and one that cannot show any is paired without."""

_Nothing = Annotated[None, DBusSignature("")]
Answer = Callable[[], Awaitable[int | None]]


class _Agent(ServiceInterface):
    """What BlueZ calls (org.bluez.Agent1)."""

    def __init__(self, answer: Answer) -> None:
        super().__init__("org.bluez.Agent1")
        self._answer = answer

    @dbus_method("RequestPasskey")
    async def request_passkey(self, _device: DBusObjectPath) -> DBusUInt32:
        passkey = await self._answer()
        if passkey is None:
            raise DBusError("org.bluez.Error.Rejected", "nobody knows the passkey")
        return passkey

    @dbus_method("RequestAuthorization")
    def request_authorization(self, _device: DBusObjectPath) -> _Nothing:
        """Pairing without a passkey, which fieldlog itself has begun."""

    @dbus_method("AuthorizeService")
    def authorize_service(self, _device: DBusObjectPath, _uuid: DBusStr) -> _Nothing:
        raise DBusError("org.bluez.Error.Rejected", "fieldlog offers no services")

    @dbus_method("Cancel")
    def cancel(self) -> _Nothing:
        """BlueZ waits for the answer no more."""

    @dbus_method("Release")
    def release(self) -> _Nothing:
        """BlueZ has forgotten the agent."""


@asynccontextmanager
async def answering(answer: Answer) -> AsyncGenerator[None]:
    """Answer BlueZ's questions for passkeys during the block; where it cannot be reached, whoever else does."""
    bus: MessageBus | None = None
    with suppress(OSError, EOFError, DBusError):
        bus = await MessageBus(bus_type=BusType.SYSTEM).connect()
        bus.export(_PATH, _Agent(answer))
        if await _call(bus, "RegisterAgent", "os", [_PATH, _CAPABILITY]):
            await _call(bus, "RequestDefaultAgent", "o", [_PATH])
    try:
        yield
    finally:
        if bus is not None:
            bus.disconnect()


async def _call(bus: MessageBus, member: str, signature: str, body: list[str]) -> bool:
    """Whether BlueZ did it."""
    request = Message("org.bluez", "/org/bluez", "org.bluez.AgentManager1", member, signature=signature, body=[*body])
    reply = await bus.call(request)
    return reply.message_type is MessageType.METHOD_RETURN
