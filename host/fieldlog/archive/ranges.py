"""Arithmetic on lists of seq ranges. Pure; a list is sorted and its ranges neither touch nor overlap."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

ALL_SEQS = range(2**32)


def union(ranges: Iterable[range]) -> list[range]:
    """The given ranges, in any order and overlapping as they please, as one tidy list."""
    tidy: list[range] = []
    for piece in sorted((r for r in ranges if len(r)), key=lambda r: r.start):
        if tidy and piece.start <= tidy[-1].stop:
            tidy[-1] = range(tidy[-1].start, max(tidy[-1].stop, piece.stop))
        else:
            tidy.append(piece)
    return tidy


def overlap(ranges: list[range], within: range) -> list[range]:
    """What of the list `ranges` lies in `within`."""
    first = bisect_right(ranges, within.start, key=lambda piece: piece.stop)
    parts: list[range] = []
    for piece in ranges[first:]:
        if piece.start >= within.stop:
            break
        parts.append(range(max(piece.start, within.start), min(piece.stop, within.stop)))
    return parts


def difference(ranges: Iterable[range], without: Iterable[range]) -> list[range]:
    """What of `ranges` is not in `without`."""
    holes = union(without)
    left: list[range] = []
    for piece in union(ranges):
        start = piece.start
        for hole in overlap(holes, piece):
            if hole.start > start:
                left.append(range(start, hole.start))
            start = hole.stop
        if start < piece.stop:
            left.append(range(start, piece.stop))
    return left
