"""bumble's HCI host without what it does in a deprecated way itself: tests that forbid warnings would stop a pairing."""

from __future__ import annotations

from typing import Any

from bumble.hci import HCI_AsyncCommand
from bumble.host import Host
from bumble.utils import AsyncRunner


class BleHost(Host):
    """As bumble's."""

    def send_command_sync(self, command: HCI_AsyncCommand) -> None:
        runner: Any = AsyncRunner
        runner.spawn(self.send_async_command(command))
