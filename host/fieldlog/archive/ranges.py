"""Arithmetic on lists of seq ranges. Pure; a list is sorted and its ranges neither touch nor overlap."""

from __future__ import annotations

from collections.abc import Iterable


def union(ranges: Iterable[range]) -> list[range]:
    """The given ranges, in any order and overlapping as they please, as one tidy list."""
    tidy: list[range] = []
    for piece in sorted((r for r in ranges if len(r)), key=lambda r: r.start):
        if tidy and piece.start <= tidy[-1].stop:
            tidy[-1] = range(tidy[-1].start, max(tidy[-1].stop, piece.stop))
        else:
            tidy.append(piece)
    return tidy


def difference(ranges: Iterable[range], without: Iterable[range]) -> list[range]:
    """What of `ranges` is not in `without`."""
    left = union(ranges)
    for hole in union(without):
        left = [
            part
            for piece in left
            for part in (
                range(piece.start, min(piece.stop, hole.start)),
                range(max(piece.start, hole.stop), piece.stop),
            )
            if len(part)
        ]
    return left
