"""A small SMP device for tests of the host: a dict of handlers behind a session, on a real pty or a UDP socket.

A handler takes the decoded request and answers a map, `Refuse`, raw bytes for the payload, or None for silence; several
answers in a list where one request brings several replies.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import threading
import time
import tty
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import cbor2

from fieldlog_protocol.commands import Command
from fieldlog_protocol.framing import ConsoleFraming, DatagramFraming, Framing, RawFraming
from fieldlog_protocol.session import Session
from fieldlog_protocol.session_events import Requested
from fieldlog_protocol.wire import Packet, decode_map, encode_error

READ, WRITE = 0, 2
PARAMS = (READ, 0, 6)
ECHO = (WRITE, 0, 0)


@dataclass(frozen=True)
class Refuse:
    code: int
    group: int | None = None
    details: dict[str, object] = field(default_factory=dict)


Answer = dict[str, Any] | Refuse | bytes | None
Handler = Callable[[dict[str, Any]], Answer | list[Answer]]


class Peer:
    """Answers requests by a table; `log` keeps what was asked, in order."""

    def __init__(self, handlers: dict[tuple[int, int, int], Handler], framing: Framing) -> None:
        self.handlers: dict[tuple[int, int, int], Handler] = {
            PARAMS: lambda _: {"buf_size": 384, "buf_count": 4},
            ECHO: lambda body: {"r": body["d"]},
            **handlers,
        }
        self.log: list[tuple[tuple[int, int, int], dict[str, Any]]] = []
        self.asked_something = threading.Event()
        self.version: int | None = None
        self.prefix = b""
        self.lose: Callable[[], bool] = lambda: False
        self._framing = framing
        self._session = Session(framing)

    def on(self, command: Command[Any, Any], handler: Handler) -> None:
        self.handlers[command.key] = handler

    def take(self, data: bytes) -> list[bytes]:
        """The frames that answer what arrived."""
        frames: list[bytes] = []
        self._session.receive(data, time.monotonic())
        for event in self._session.events():
            if isinstance(event, Requested):
                if self.lose():
                    continue
                for payload in self._answers(event.packet):
                    if payload is not None and not self.lose():
                        self._session.reply(self._versioned(event.packet), payload)
                        frames += [self.prefix + frame for frame in self._session.outgoing()]
        return frames

    def asked(self, command: Command[Any, Any]) -> list[dict[str, Any]]:
        return [body for key, body in self.log if key == command.key]

    def _versioned(self, packet: Packet) -> Packet:
        if self.version is None:
            return packet
        return Packet(packet.op, self.version, packet.group, packet.id, packet.sequence, packet.payload)

    def _answers(self, packet: Packet) -> list[bytes | None]:
        key = (int(packet.op), packet.group, packet.id)
        body = decode_map(packet.payload)
        self.log.append((key, body))
        self.asked_something.set()
        handler = self.handlers.get(key)
        found = Refuse(8) if handler is None else handler(body)
        return [self._payload(packet, answer) for answer in (found if isinstance(found, list) else [found])]

    def _payload(self, packet: Packet, answer: Answer) -> bytes | None:
        if isinstance(answer, Refuse):
            return encode_error(packet.version, answer.code, answer.group, answer.details)
        if answer is None or isinstance(answer, bytes):
            return answer
        return cbor2.dumps(answer)


class PtyPeer:
    """A peer on a real pseudo-terminal; `path` is the port for the host."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.master, self._slave = os.openpty()
        tty.setraw(self._slave)
        self.path = os.ttyname(self._slave)
        self._wake_r, self._wake_w = os.pipe()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def say(self, data: bytes) -> None:
        os.write(self.master, data)

    def unplug(self) -> None:
        """Close the master: the host's port hangs up."""
        self.stop()

    def stop(self) -> None:
        if self._wake_w < 0:
            return
        os.close(self._wake_w)
        self._wake_w = -1
        if threading.current_thread() is not self._thread:
            self._thread.join(5)

    def _run(self) -> None:
        while True:
            ready, _, _ = select.select([self.master, self._wake_r], [], [])
            if self._wake_r in ready:
                break
            for frame in self.peer.take(os.read(self.master, 65536)):
                self._write(frame)
            if self._wake_w < 0:
                break
        for fd in (self.master, self._slave, self._wake_r):
            os.close(fd)

    def _write(self, data: bytes) -> None:
        while data:
            data = data[os.write(self.master, data) :]


class UdpPeer:
    """A peer on a UDP socket of this machine; `address` is host:port."""

    def __init__(self, peer: Peer, host: str = "127.0.0.1") -> None:
        self.peer = peer
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        self.socket.bind((host, 0))
        port = self.socket.getsockname()[1]
        self.url = f"udp:[{host}]:{port}" if ":" in host else f"udp:{host}:{port}"
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self._address = (host, port)

    def stop(self) -> None:
        if self.socket.fileno() < 0:
            return
        with socket.socket(self.socket.family, socket.SOCK_DGRAM) as waker:
            waker.sendto(b"", self._address)
        self._thread.join(5)
        self.socket.close()

    def _run(self) -> None:
        while True:
            data, sender = self.socket.recvfrom(65536)
            if not data:
                return
            for frame in self.peer.take(data):
                self.socket.sendto(frame, sender)


@contextlib.contextmanager
def pty_peer(handlers: dict[tuple[int, int, int], Handler] | None = None, *, raw: bool = False) -> Iterator[PtyPeer]:
    peer = PtyPeer(Peer(handlers or {}, RawFraming() if raw else ConsoleFraming()))
    try:
        yield peer
    finally:
        peer.stop()


@contextlib.contextmanager
def udp_peer(handlers: dict[tuple[int, int, int], Handler] | None = None, host: str = "127.0.0.1") -> Iterator[UdpPeer]:
    peer = UdpPeer(Peer(handlers or {}, DatagramFraming()), host)
    try:
        yield peer
    finally:
        peer.stop()
