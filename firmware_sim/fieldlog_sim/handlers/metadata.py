"""The deployment's metadata, of group FL, in pages."""

from __future__ import annotations

from fieldlog_protocol.commands import logger
from fieldlog_protocol.commands.logger import LoggerError
from fieldlog_sim.device import Device
from fieldlog_sim.dispatch import Limits
from fieldlog_sim.handlers.admission import admit
from fieldlog_sim.logger import Logger
from fieldlog_sim.plan import refuse
from fieldlog_sim.settings_transaction import Staged


class MetadataPages:
    """Written page by page; stored, or staged, when the last page has come."""

    def __init__(self, device: Device, recorder: Logger, limits: Limits) -> None:
        self._device = device
        self._logger = recorder
        self._limits = limits
        self._incoming = b""

    def read(self, request: logger.MetadataRequest) -> logger.MetadataResponse:
        trial = self._device.transactions.trial
        new = trial.metadata if trial else None
        stored, offset = self._logger.metadata if new is None else new, request.o or 0
        if offset > len(stored):
            raise refuse(LoggerError.OUT_OF_RANGE)
        head = logger.MetadataResponse(o=offset, len=len(stored), d=b"")
        page = stored[offset : offset + self._limits.room_for_blob(head)]
        return logger.MetadataResponse(o=offset, len=len(stored), d=page)

    def write(self, request: logger.MetadataWriteRequest) -> logger.MetadataWriteResponse:
        admit(self._device, request.t)
        if request.o == 0:
            self._incoming = b""
        if request.o != len(self._incoming) or request.o + len(request.d) > request.len:
            if request.o + len(request.d) == len(self._incoming):  # a repetition of the last page
                return logger.MetadataWriteResponse(o=len(self._incoming))
            raise refuse(LoggerError.OFFSET)
        self._incoming += request.d
        if len(self._incoming) == request.len:
            self._take()
        return logger.MetadataWriteResponse(o=len(self._incoming))

    def _take(self) -> None:
        if (staging := self._device.transactions.staging) is not None:
            staging.metadata = self._incoming
        else:
            self._logger.keep(Staged(metadata=self._incoming), {})
