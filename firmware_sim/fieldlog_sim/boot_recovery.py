"""What is special about MCUboot's serial recovery as a server: few commands, a larger buffer, and an rc in every reply."""

from __future__ import annotations

import cbor2

from fieldlog_protocol.error_texts import Rc
from fieldlog_protocol.wire import Packet, decode_map
from fieldlog_sim.dispatch import Dispatcher, Limits
from fieldlog_sim.port import Buffers

RECOVERY_SIZE = 1024
BOOT_MODE_RECOVERY = 1  # of the os group's reset
_LINES = 4
RECOVERY_BUFFERS = Buffers(RECOVERY_SIZE, _LINES)
"""What its lines hold; it says itself that it has one buffer."""


class RecoveryDispatcher(Dispatcher):
    """Tells success by rc 0, and of a group's error no more than an rc."""

    def __init__(self) -> None:
        super().__init__(Limits(RECOVERY_SIZE, indefinite=True))

    def handle(self, packet: Packet) -> bytes:
        reply = decode_map(super().handle(packet))
        if reply.pop("err", None) is not None:
            reply["rc"] = int(Rc.UNKNOWN)
        return self._shape(cbor2.dumps({"rc": int(Rc.OK)} | reply))
