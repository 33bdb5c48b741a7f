"""Group settings: values in RAM, stored by save, taken back by load (docs/smp.md#commands, #seen-on-zephyr)."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from fieldlog_protocol.commands import Empty, Group, settings
from fieldlog_sim.device import Device
from fieldlog_sim.dispatch import Dispatcher, Refusal
from fieldlog_sim.handlers.admission import admit
from fieldlog_sim.settings_model import BadValue, NoSuchKey, ReadOnly

KEY_LIMIT = 64
VALUE_LIMIT = 256


def register(dispatcher: Dispatcher, device: Device) -> None:
    """Serve the group."""
    handlers = _Settings(device)
    dispatcher.on(settings.READ, handlers.read)
    dispatcher.on(settings.WRITE, handlers.write)
    dispatcher.on(settings.DELETE, handlers.delete)
    dispatcher.on(settings.COMMIT, handlers.commit)
    dispatcher.on(settings.LOAD, handlers.load)
    dispatcher.on(settings.SAVE, handlers.save)


def _check_key(name: str) -> str:
    if len(name.encode()) > KEY_LIMIT:
        raise Refusal(settings.KEY_TOO_LONG, Group.SETTINGS)
    return name


class _Settings:
    def __init__(self, device: Device) -> None:
        self._device = device

    def read(self, request: settings.SettingReadRequest) -> settings.SettingReadResponse:
        try:
            value = self._device.settings.read(_check_key(request.name))
        except NoSuchKey:
            raise Refusal(settings.KEY_NOT_FOUND, Group.SETTINGS) from None
        limit = VALUE_LIMIT if request.max_size is None else request.max_size
        if limit > VALUE_LIMIT:
            return settings.SettingReadResponse(val=value[:VALUE_LIMIT], max_size=VALUE_LIMIT)
        return settings.SettingReadResponse(val=value[:limit])

    def write(self, request: settings.SettingWriteRequest) -> Empty:
        with self._refusals(settings.ROOT_KEY_NOT_FOUND, settings.WRITE_NOT_SUPPORTED):
            admit(self._device, request.t)
            self._device.settings.write(_check_key(request.name), request.val)
        return Empty()

    def delete(self, request: settings.SettingDeleteRequest) -> Empty:
        with self._refusals(settings.KEY_NOT_FOUND, settings.DELETE_NOT_SUPPORTED):
            admit(self._device, None)
            self._device.settings.delete(_check_key(request.name))
        return Empty()

    @staticmethod
    @contextmanager
    def _refusals(unknown: int, read_only: int) -> Generator[None]:
        try:
            yield
        except (NoSuchKey, BadValue):
            raise Refusal(unknown, Group.SETTINGS) from None
        except ReadOnly:
            raise Refusal(read_only, Group.SETTINGS) from None

    def commit(self, _: Empty) -> Empty:
        self._device.transactions.commit(self._device.now_us())
        return Empty()

    def load(self, _: Empty) -> Empty:
        self._device.settings.load()
        return Empty()

    def save(self, request: settings.SettingSaveRequest) -> Empty:
        try:
            self._device.settings.save(request.name or "")
        except NoSuchKey:
            raise Refusal(settings.KEY_NOT_FOUND, Group.SETTINGS) from None
        return Empty()
