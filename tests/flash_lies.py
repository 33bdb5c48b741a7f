"""A simulated device whose answers are changed on their way out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cbor2

from fieldlog_protocol.commands import Command
from fieldlog_protocol.wire import Packet, decode_map, encode_error
from flash_bench import FlashBench

Answer = dict[str, Any] | bytes | None
Lie = Callable[[dict[str, Any], Callable[[], dict[str, Any]]], Answer]
"""From the request, and what asks the device itself, to the answer: a map, raw bytes, or None for silence."""


class Refusal(Exception):
    """Raised by a lie: the device refuses."""

    def __init__(self, code: int, group: int | None = None) -> None:
        super().__init__(code, group)
        self.code = code
        self.group = group


def lying(bench: FlashBench, command: Command[Any, Any], lie: Lie) -> FlashBench:
    """From now on the device answers `command` so."""
    honest = bench.device.handle

    def handle(packet: Packet, arrived: float, now: float) -> bytes | None:
        if (int(packet.op), packet.group, packet.id) != command.key:
            return honest(packet, arrived, now)
        try:
            answer = lie(decode_map(packet.payload), lambda: cbor2.loads(honest(packet, arrived, now) or b"\xa0"))
        except Refusal as refusal:
            return encode_error(packet.version, refusal.code, refusal.group)
        return cbor2.dumps(answer) if isinstance(answer, dict) else answer

    bench.device.handle = handle  # type: ignore[method-assign]
    return bench


def refuse(code: int, group: int | None = None) -> Answer:
    raise Refusal(code, group)


def runs_new(bench: FlashBench) -> bool:
    """Whether 2.0.0 runs."""
    return str(bench.device.boot_report.version) == "2.0.0"


def lying_when_new(command: Command[Any, Any], answer: Callable[[], Answer]) -> FlashBench:
    """A device that answers so under the new firmware, and as it should under the former one."""
    bench = FlashBench()
    return lying(bench, command, lambda _, asked: answer() if runs_new(bench) else asked())
