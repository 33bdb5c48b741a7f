"""Which clock syncs can be true together, and which computer's clock must have been wrong. No I/O here.

One oscillator within its limit passes through all true syncs of a boot, errors allowed for, and its rate from one to
the next changes by no more than temperature can do. Where some contradict each other, each counts as one vote an hour,
so that a wrong clock does not win by being asked often. Of as many votes those count that had reached their number
first: what was shown stays, until a majority decides.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from fieldlog.clock_oscillator import Oscillator
from fieldlog.clock_sync import TICK_HZ, US_PER_TICK, Sync, one_per_tick

VOTE_TICKS = 3600 * TICK_HZ
_REACH = 4  # votes on either side of one that is under suspicion
_MOST_COMPARED = 10_000  # each is held against each: a second's work. Only a device that writes nonsense has more


@dataclass(frozen=True, slots=True)
class Verdict:
    """`accepted` and `rejected` in tick order. `undecided`: the rejected have as many votes as the accepted."""

    accepted: tuple[Sync, ...]
    rejected: tuple[Sync, ...] = ()
    undecided: bool = False

    @property
    def count(self) -> int:
        return len(self.accepted) + len(self.rejected)


def agree(first: Sync, second: Sync, limit_ppm: float) -> bool:
    """Whether one oscillator within `limit_ppm` can have passed through both, errors allowed for."""
    elapsed_us = abs(second.tick - first.tick) * US_PER_TICK
    implied_us = abs(second.utc_us - first.utc_us)
    return abs(implied_us - elapsed_us) <= elapsed_us * limit_ppm / 1e6 + first.error_us + second.error_us


def judge_boot(syncs: Iterable[Sync], oscillator: Oscillator) -> Verdict:
    """Which syncs of one boot, in any order and kept more than once, its oscillator lets be true together."""
    return judge(one_per_tick(syncs), oscillator.limit_ppm, oscillator.change_ppm, oscillator.tolerance_ppm)


def judge(syncs: Sequence[Sync], limit_ppm: float, change_ppm: float, tolerance_ppm: float) -> Verdict:
    """The syncs of one boot, in tick order, parted into those of the majority and the others.

    `limit_ppm`: what a rate may be off its nominal one; `change_ppm`: by what one measured later may differ from it;
    `tolerance_ppm`: what it hardly ever is off, to tell by whom of several to leave out.
    """
    by_best = {_best(opinion): opinion for opinion in _opinions(syncs, limit_ppm)}
    votes = sorted(by_best, key=_order)
    if _is_chain(syncs, limit_ppm) and not _count_bends(votes, change_ppm):
        return Verdict(tuple(syncs))
    straightened = [_straightened(chain, change_ppm, tolerance_ppm) for chain in _longest_agreements(votes, limit_ppm)]
    merits = [(len(chain), -_count_strains(chain, tolerance_ppm)) for chain, _ in straightened]
    chosen, undecided = straightened[merits.index(max(merits))]
    undecided |= merits[0] == merits[1] and straightened[0] != straightened[1]
    majority = frozenset(chosen)
    left = [best for best in votes if best not in majority]
    members = sorted((sync for best in chosen for sync in by_best[best]), key=_order)
    accepted = members if _is_chain(members, limit_ppm) else longest_agreement(members, limit_ppm)
    rejected = sorted((sync for best in left for sync in by_best[best]), key=_order)
    undecided |= bool(left) and len(longest_agreement(left, limit_ppm)) >= len(chosen)
    return Verdict(tuple(accepted), tuple(rejected), undecided)


def _bends(before: Sync, vote: Sync, after: Sync, change_ppm: float) -> bool:
    """Whether a vote lies farther off the line between its neighbours than a change of rate there can have taken it."""
    since, until = vote.tick - before.tick, after.tick - vote.tick
    share = since / max(since + until, 1)
    off_us = vote.utc_us - before.utc_us - share * (after.utc_us - before.utc_us)
    allowed_us = share * until * US_PER_TICK * change_ppm / 1e6
    return abs(off_us) > allowed_us + vote.error_us + max(before.error_us, after.error_us)


def _count_bends(votes: Sequence[Sync], change_ppm: float) -> int:
    return sum(_bends(*three, change_ppm) for three in zip(votes, votes[1:], votes[2:], strict=False))


def _count_strains(votes: Sequence[Sync], tolerance_ppm: float) -> int:
    return sum(not agree(*two, tolerance_ppm) for two in pairwise(votes))


def _straightened(votes: Sequence[Sync], change_ppm: float, tolerance_ppm: float) -> tuple[list[Sync], bool]:
    """The votes without those that bend the line; and whether others could have been left out instead."""
    kept, undecided, at = list(votes), False, 1
    while at < len(kept) - 1:
        before, vote, after = kept[at - 1 : at + 2]
        if not _bends(before, vote, after, change_ppm):
            at += 1
            continue
        first = max(0, at - _REACH)
        around = kept[first : at + _REACH + 1]
        left: dict[int, tuple[int, int]] = {}
        for suspect in (at - 1, at, at + 1):
            others = around[: suspect - first] + around[suspect - first + 1 :]
            left[suspect] = _count_bends(others, change_ppm), _count_strains(others, tolerance_ppm)
        suspects = [suspect for suspect, faults in left.items() if faults == min(left.values())]
        undecided |= len(suspects) > 1
        del kept[suspects[-1]]
        at = max(1, at - 2)
    return kept, undecided


def alternatives(verdict: Verdict, limit_ppm: float) -> Iterator[tuple[Sync, list[Sync]]]:
    """Each of the accepted that a rejected one stands next to, and what can be believed in its place."""
    accepted = verdict.accepted
    for sync in verdict.rejected:
        at = bisect_left(accepted, _order(sync), key=_order)
        for near in range(max(0, at - 2), min(len(accepted), at + 2)):
            others = sorted([*accepted[:near], sync, *accepted[near + 1 :]], key=_order)
            if _is_chain(others, limit_ppm):
                yield accepted[near], others


def _order(sync: Sync) -> tuple[int, int]:
    return sync.tick, sync.utc_us


def _best(opinion: Sequence[Sync]) -> Sync:
    return min(opinion, key=lambda sync: sync.error_us)


def _follows(first: Sync, second: Sync, limit_ppm: float) -> bool:
    return second.utc_us > first.utc_us and agree(first, second, limit_ppm)


def _is_chain(syncs: Sequence[Sync], limit_ppm: float) -> bool:
    return all(_follows(first, second, limit_ppm) for first, second in pairwise(syncs))


def _opinions(syncs: Sequence[Sync], limit_ppm: float) -> list[list[Sync]]:
    """Syncs within an hour that agree with its first are one opinion."""
    found: list[list[Sync]] = []
    recent: list[list[Sync]] = []
    for sync in syncs:
        recent = [opinion for opinion in recent if sync.tick - opinion[0].tick < VOTE_TICKS]
        shared = next((opinion for opinion in recent if agree(opinion[0], sync, limit_ppm)), None)
        if shared is not None:
            shared.append(sync)
        else:
            recent.append([sync])
            found.append(recent[-1])
    return found


def longest_agreement(syncs: Sequence[Sync], limit_ppm: float) -> list[Sync]:
    """The longest chain of syncs, in tick order, of which each agrees with the next; of several the one that ends first."""
    return _longest_agreements(syncs, limit_ppm)[0]


def _longest_agreements(syncs: Sequence[Sync], limit_ppm: float) -> tuple[list[Sync], list[Sync]]:
    """Of the longest chains, the earliest and the latest."""
    import numpy as np

    if len(syncs) > _MOST_COMPARED:
        syncs = sorted(sorted(syncs, key=lambda sync: sync.error_us)[:_MOST_COMPARED], key=_order)
    if not syncs:
        return [], []
    origin = syncs[0]
    tick_us = np.array([(sync.tick - origin.tick) * US_PER_TICK for sync in syncs])
    utc_us = np.array([sync.utc_us - origin.utc_us for sync in syncs], dtype=np.float64)
    error_us = np.array([sync.error_us for sync in syncs], dtype=np.float64)
    length = np.ones(len(syncs), dtype=np.int64)
    earliest, latest = np.full(len(syncs), -1), np.full(len(syncs), -1)
    for i in range(1, len(syncs)):
        elapsed, implied = tick_us[i] - tick_us[:i], utc_us[i] - utc_us[:i]
        allowed = elapsed * (limit_ppm / 1e6) + error_us[:i] + error_us[i]
        reached = np.where((implied > 0) & (np.abs(implied - elapsed) <= allowed), length[:i], 0)
        best = int(np.argmax(reached))
        if reached[best]:
            length[i], earliest[i], latest[i] = reached[best] + 1, best, i - 1 - int(np.argmax(reached[::-1]))
    first, last = int(np.argmax(length)), len(syncs) - 1 - int(np.argmax(length[::-1]))
    return _traced(syncs, first, earliest.tolist()), _traced(syncs, last, latest.tolist())


def _traced(syncs: Sequence[Sync], last: int, before: Sequence[int]) -> list[Sync]:
    chain: list[Sync] = []
    while last >= 0:
        chain.append(syncs[last])
        last = before[last]
    return chain[::-1]
