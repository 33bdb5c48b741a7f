"""Which client is held against which simulated device over which link, and the table of what came of it.

A test says what it proves (`proves`), gets a connected client for each that offers it, and leaves a row for the table in
its report, from where it survives the way between pytest-xdist's processes.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass

import pytest

from peers import CAPABILITIES, Peer, Place, offers
from peers_smpclient import SmpclientPeer
from peers_smpmgr import Shell, SmpmgrPeer
from peers_toolkit import ToolkitPeer
from simulator import Simulator, simulator

CLIENTS: dict[str, type[Peer]] = {"smpclient": SmpclientPeer, "smpmgr": SmpmgrPeer, "mcumgr-toolkit": ToolkitPeer}
LINKS = {"smpclient": ("pty", "raw", "udp", "ble"), "smpmgr": ("pty", "udp"), "mcumgr-toolkit": ("pty", "raw", "udp")}
LIBRARIES = ("smpclient", "mcumgr-toolkit")

# What independent clients must be able to do with the simulated device, all of it over pty and over UDP.
REQUIRED = (
    "echo",
    "parameters",
    "datetime",
    "image list",
    "image upload",
    "image test",
    "image confirm",
    "reset",
    "file upload",
    "file download",
    "file status",
    "file hash",
    "settings read",
    "settings write",
    "settings save",
    "statistics list",
    "statistics data",
    "shell",
    "group list",
)


@dataclass(frozen=True, slots=True)
class Setup:
    """A simulated device: how it is started and the links it has."""

    arguments: tuple[str, ...]
    links: tuple[str, ...] = ("pty", "udp")
    buf_size: int = 384
    logger: bool = True


SETUPS = {
    "logger": Setup(("--buffers", "384x4")),
    "logger-2048": Setup(("--buffers", "2048x4"), buf_size=2048),
    "smp-server": Setup(("--profile", "smp-server", "--buffers", "384x4"), logger=False),
    "raw": Setup(("--framing", "raw", "--buffers", "384x4"), links=("raw",)),
    "ble": Setup(("--buffers", "384x4"), links=("ble",)),
    "ble-2048": Setup(("--buffers", "2048x4", "--ble-security", "encrypted"), links=("ble",), buf_size=2048),
}
ONE_OF_EACH_LINK = ("logger", "raw", "ble")
TRANSFERS = ("logger", "logger-2048", "raw", "ble", "ble-2048")


@dataclass(frozen=True, slots=True)
class Case:
    """One client against one device over one link, and the capabilities that the test proves by it."""

    client: str
    link: str
    setup: str
    capabilities: tuple[str, ...]

    @property
    def has_logger(self) -> bool:
        return SETUPS[self.setup].logger


PROVED: set[tuple[str, str, str]] = set()


def proves(*capabilities: str, on: Iterable[str] = ONE_OF_EACH_LINK) -> pytest.MarkDecorator:
    """Give a test, as `peer`, each client that offers all of these, over each link of these set-ups."""
    cases = [
        Case(name, link, setup, capabilities)
        for setup in on
        for link in SETUPS[setup].links
        for name, client in CLIENTS.items()
        if link in LINKS[name] and all(offers(client, capability) for capability in capabilities)
    ]
    PROVED.update((case.client, case.link, capability) for case in cases for capability in capabilities)
    ids = [f"{case.client}-{case.link}-{case.setup}" for case in cases]
    return pytest.mark.parametrize("peer", cases, ids=ids, indirect=True)


def _loopback(number: int) -> str:
    """An address of this process alone, because smpclient and smpmgr know no port but SMP's own."""
    if sys.platform == "darwin":
        return "127.0.0.1"  # the only one there
    high, low = divmod(os.getpid() % 0x10000, 0x100)
    return f"127.{high}.{low}.{number + 2}"


class Fleet:
    """Simulators and smpmgr's shell, each started when first needed and all stopped together."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._running: dict[str, Simulator] = {}
        self._shell: Shell | None = None

    def connect(self, case: Case) -> AbstractContextManager[Peer]:
        """The client of a case, connected to its device."""
        place = self._place(case.setup, case.link)
        if case.client == "smpclient":
            return SmpclientPeer.connect(place)
        if case.client == "mcumgr-toolkit":
            return ToolkitPeer.connect(place)
        return nullcontext(SmpmgrPeer(place, self._smpmgr()))

    def _place(self, name: str, link: str) -> Place:
        setup, address = SETUPS[name], _loopback(list(SETUPS).index(name))
        if name not in self._running:
            udp = ("--udp", f"{address}:1337") if "udp" in setup.links else ()
            serial = ("--ble", "0") if "ble" in setup.links else ("--pty",)
            started = simulator(*serial, *udp, *setup.arguments, links=len(setup.links))
            self._running[name] = self._stack.enter_context(started)
        running = self._running[name]
        if link == "ble":
            return Place(link, str(running.ready[0]["address"]), setup.buf_size, at=running.url.partition("&at=")[2])
        return Place(link, address if link == "udp" else running.port, setup.buf_size)

    def _smpmgr(self) -> Shell:
        if self._shell is None or not self._shell.alive:
            self._shell = Shell()
            self._stack.callback(self._shell.close)
        return self._shell


def table(results: dict[tuple[str, str, str], bool]) -> list[str]:
    """Lines of the table client x link x capability; `results` tells which ones passed everywhere."""
    columns = [(client, link) for client in CLIENTS for link in LINKS[client]]
    lines = [_line("", [client for client, _ in columns]), _line("(-: not offered)", [link for _, link in columns])]
    lines += [_line(each, [_cell(results, client, link, each) for client, link in columns]) for each in CAPABILITIES]
    return [*lines, *(_together(results, link) for link in ("pty", "udp"))]


def _line(head: str, cells: list[str]) -> str:
    return f"{head:16}" + "".join(f"{cell:>15}" for cell in cells)


def _cell(results: dict[tuple[str, str, str], bool], client: str, link: str, capability: str) -> str:
    if not offers(CLIENTS[client], capability):
        return "-"
    passed = results.get((client, link, capability))
    return "not run" if passed is None else "done" if passed else "FAILED"


def _together(results: dict[tuple[str, str, str], bool], link: str) -> str:
    missing = [each for each in REQUIRED if not any(results.get((library, link, each)) for library in LIBRARIES)]
    verdict = f"all but {', '.join(missing)}" if missing else "all"
    return f"{' and '.join(LIBRARIES)} together over {link}: {verdict} of {len(REQUIRED)} required"
