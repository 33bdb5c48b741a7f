"""How long messages may be on a link: what the device's buffers, the link's own bounds and its pieces leave."""

from __future__ import annotations

from fieldlog.transports.base import Transport, piece_of

ONE_LINE = 89
"""The message that one console line of 127 bytes carries: what any device takes (docs/smp.md#buffers)."""
_CONSOLE_OVERHEAD = 4
_SMALL_DATAGRAM = 512
_LARGEST = 0xFFFF
"""No more fits the lengths that headers and frames carry, whatever a device says of its buffers."""
_MANY_PIECES = 4


def message_sizes(transport: Transport, size: int) -> tuple[int, int]:
    """The longest request and reply, for a device that takes `size` bytes; 0 if it does not say."""
    piece = piece_of(transport)
    size = min(size, _LARGEST)
    if transport.mtu is not None:
        longest = min(max(size or _SMALL_DATAGRAM, ONE_LINE), transport.mtu)
        return longest, longest
    if piece:
        # who does not tell a size may take no more than one piece (docs/smp.md#links)
        longest = max(_whole_pieces(size, piece) or piece, ONE_LINE)
        return longest, longest
    # raw framing needs no room for length and check value, but what it loses is 4 bytes in a buffer
    return max(ONE_LINE, size - _CONSOLE_OVERHEAD), max(size, ONE_LINE)


def _whole_pieces(size: int, piece: int) -> int:
    """The longest message that ends with a whole piece, where that costs little: a last one that is short takes as long."""
    return size if size < _MANY_PIECES * piece else size - size % piece
