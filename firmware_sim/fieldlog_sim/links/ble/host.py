"""bumble's HCI host without what it does in a deprecated way itself: tests that forbid warnings would stop a pairing.

Where nobody listens to logs, Python prints warnings and errors of libraries; bumble's tell of what is raised or answered
anyway, a refused pairing for one, and would stand among a program's own words. Some of its modules log as nobody in
particular, which sets up printing for all. So its records go to handlers of `bumble` only.
"""

from __future__ import annotations

import logging
from typing import Any

from bumble.hci import HCI_AsyncCommand
from bumble.host import Host
from bumble.utils import AsyncRunner

logging.getLogger("bumble").addHandler(logging.NullHandler())
logging.getLogger("bumble").propagate = False


class BleHost(Host):
    """As bumble's."""

    def send_command_sync(self, command: HCI_AsyncCommand) -> None:
        runner: Any = AsyncRunner
        runner.spawn(self.send_async_command(command))
