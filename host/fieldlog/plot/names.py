"""How the names of a panel's lines are set above it: as many side by side as fit, as many as can be told apart."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from fieldlog.plot.style import COLOURS, DASHES, clean

_MAX_NAMES = len(COLOURS) * len(DASHES)
_MAX_COLUMNS = 6
_EM_IN = 9 / 72
_FRAME_EM = 3.8
"""Of one name: its line, and the space around both."""
_ROW_EM = 1.6


@dataclass(frozen=True, slots=True)
class Names:
    """`shown` names in `n_columns`; the others are only counted, in `rest`."""

    shown: tuple[str, ...]
    rest: str
    n_columns: int

    @property
    def height_in(self) -> float:
        n_entries = len(self.shown) + bool(self.rest)
        return -(-n_entries // self.n_columns) * _ROW_EM * _EM_IN


def arrange(names: Sequence[str], width_in: float) -> Names:
    """The names of a panel of `width_in`; one that is wider than all of it is cut."""
    room_em = width_in / _EM_IN
    shown = tuple(_cut(clean(name), room_em - _FRAME_EM) for name in names[:_MAX_NAMES])
    hidden = len(names) - len(shown)
    rest = f"and {hidden} more" if hidden else ""
    column_em = max(map(_width_em, (*shown, rest))) + _FRAME_EM
    fitting = min(int(room_em / column_em), _MAX_COLUMNS, len(shown) + bool(rest))
    return Names(shown, rest, max(fitting, 1))


def _cut(name: str, room_em: float) -> str:
    widths_em = list(accumulate(map(_character_em, name)))
    if not widths_em or widths_em[-1] <= room_em:
        return name
    return name[: bisect_right(widths_em, room_em - _character_em("…"))] + "…"


def _width_em(text: str) -> float:
    return sum(map(_character_em, text))


def _character_em(character: str) -> float:
    """At least what the house font takes, also for the boxes that it draws for scripts it lacks."""
    if not character.isascii():
        return 1.2
    if character in "mwMW@%":
        return 1.05
    return 0.85 if character.isupper() or character in "+-=<>~^#" else 0.65
