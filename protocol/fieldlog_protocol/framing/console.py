"""SMP over console: base64 lines that can share a UART with text (docs/smp.md#links).

A message M travels as `L || M || C`, L being len(M) + 2 and C the CRC-16/XMODEM of M, base64-coded as one piece and cut
into lines: `06 09` begins a message, `04 14` goes on with it. Two liberties are taken on receipt: a marker is
recognised behind text on the same line, because shells print a prompt without a line end, and lines may be longer than
127 bytes where `max_line` allows.
"""

from __future__ import annotations

import binascii

from fieldlog_protocol.errors import UsageError

START = b"\x06\x09"
CONTINUE = b"\x04\x14"
LINE_LIMIT = 127
_BASE64_PER_LINE = (LINE_LIMIT - 3) // 4 * 4
_TEXT_LIMIT = 64 * 1024
_MAX_MESSAGE = 0xFFFF - 2


class ConsoleFraming:
    """Encoder and incremental decoder for one direction each.

    `max_message`: longest message accepted. `max_line`: longest line accepted, markers and line end included.
    """

    in_flight_limit: int | None = None
    checked = True
    ordered = True
    joinable = True

    def __init__(self, max_message: int = _MAX_MESSAGE, max_line: int = 1024) -> None:
        self.dropped = 0
        self._max_message = max_message
        self._max_line = max_line
        self._line = bytearray()
        self._skipping = False
        self._frame: bytearray | None = None
        self._whole = 0  # how long the frame will be, 0 while that is not known
        self._text = bytearray()

    def encode(self, message: bytes) -> bytes:
        if len(message) > _MAX_MESSAGE:
            raise UsageError(
                f"a message of {len(message)} bytes does not fit a console frame of at most {_MAX_MESSAGE}"
            )
        framed = (len(message) + 2).to_bytes(2, "big") + message + binascii.crc_hqx(message, 0).to_bytes(2, "big")
        encoded = binascii.b2a_base64(framed, newline=False)
        lines = [encoded[at : at + _BASE64_PER_LINE] for at in range(0, len(encoded), _BASE64_PER_LINE)]
        return START + (b"\n" + CONTINUE).join(lines) + b"\n"

    def feed(self, data: bytes, now: float) -> list[bytes]:  # noqa: ARG002 - lines delimit themselves
        messages: list[bytes] = []
        *complete, rest = data.split(b"\n")
        for piece in complete:
            message = None if self._skipping else self._end_line(bytes(self._line) + piece if self._line else piece)
            self._skipping = False
            if self._line:
                self._line.clear()
            if message is not None:
                messages.append(message)
        if not self._skipping:
            self._line += rest
            self._bound_line()
        return messages

    @property
    def partial(self) -> int:
        return len(self._frame or b"")

    def take_text(self) -> bytes:
        text = bytes(self._text)
        self._text.clear()
        return text

    def _bound_line(self) -> None:
        """Text may run on without a line end; only the part that may still become a frame is held back."""
        if len(self._line) <= self._max_line:
            return
        at = _marker(self._line)
        if at < 0:
            keep = len(self._line) - self._max_line // 2
            self._add_text(self._line[:keep])
            del self._line[:keep]
            return
        if at:
            self._add_text(self._line[:at] + b"\n")
            del self._line[:at]
        if len(self._line) > self._max_line:
            self._drop()
            self._line.clear()
            self._skipping = True

    def _end_line(self, line: bytes) -> bytes | None:
        marker = line[:2]
        at = 0
        if marker not in (CONTINUE, START):  # unlike nearly every line of a transfer
            at = _marker(line)
            if at < 0:
                self._add_text(line + b"\n")
                return None
            self._add_text(line[:at] + b"\n")
            marker = line[at : at + 2]
        if len(line) - at + 1 > self._max_line:
            self._drop()
            return None
        if marker == START:
            if self._frame is not None:
                self.dropped += 1
            self._frame, self._whole = bytearray(), 0
        return self._append(line[at + 2 :].removesuffix(b"\r"))

    def _append(self, encoded: bytes) -> bytes | None:
        if self._frame is None:
            return None
        try:
            self._frame += binascii.a2b_base64(encoded, strict_mode=bool(encoded))
        except binascii.Error:
            self._drop()
            return None
        arrived = len(self._frame)
        if not self._whole and arrived >= 2:
            self._whole = 2 + int.from_bytes(self._frame[:2], "big")
            if not 4 <= self._whole <= self._max_message + 4:
                self._drop()
                return None
        if arrived > self._whole > 0:
            self._drop()
            return None
        return self._finish() if arrived == self._whole > 0 else None

    def _finish(self) -> bytes | None:
        assert self._frame is not None
        body = bytes(self._frame[2:])
        if binascii.crc_hqx(body, 0) != 0:
            self._drop()
            return None
        self._frame = None
        return body[:-2]

    def _drop(self) -> None:
        self.dropped += 1
        self._frame = None

    def _add_text(self, text: bytes | bytearray) -> None:
        self._text += text
        del self._text[:-_TEXT_LIMIT]


def _marker(line: bytes | bytearray) -> int:
    """Position of the first frame marker in a line, or -1."""
    found = [at for at in (line.find(START), line.find(CONTINUE)) if at >= 0]
    return min(found, default=-1)
