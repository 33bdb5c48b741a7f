"""Which clock syncs can be true together, and which computer's clock must have been wrong. No I/O here.

One oscillator within its limit passes through all true syncs of a boot, errors allowed for, and its rate from one to
the next changes by no more than temperature can do. Where some contradict each other, each counts as one vote an hour,
so that a wrong clock does not win by being asked often. Of as many votes those count that had reached their number
first: what was shown stays, until a majority decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from fieldlog.clock_oscillator import Oscillator
from fieldlog.clock_sync import TICK_HZ, US_PER_TICK, Sync, one_per_tick

VOTE_TICKS = 3600 * TICK_HZ
_REACH = 4  # votes on either side of one that is under suspicion
_MOST_COMPARED = 10_000  # each is held against each: a second's work. Only a device that writes nonsense has more


@dataclass(frozen=True, slots=True)
class Verdict:
    """`accepted` and `rejected` in tick order. `others`: what can be believed instead of `accepted`, with as good reason."""

    accepted: tuple[Sync, ...]
    rejected: tuple[Sync, ...] = ()
    others: tuple[tuple[Sync, ...], ...] = ()

    @property
    def undecided(self) -> bool:
        return bool(self.others)

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
    since = {best: opinion[0].tick for best, opinion in by_best.items()}
    ways = _ways(votes, limit_ppm, change_ppm, tolerance_ppm)
    chosen, *others = sorted(
        ways, key=lambda way: (-len(way), _count_strains(way, tolerance_ppm), _reached(way, since))
    )
    accepted = _members(chosen, by_best, limit_ppm)
    left = by_best.keys() - set(chosen)
    rejected = sorted((sync for best in left for sync in by_best[best]), key=_order)
    instead = dict.fromkeys(_members(other, by_best, limit_ppm) for other in others)
    return Verdict(accepted, tuple(rejected), tuple(other for other in instead if other != accepted))


def _reached(votes: Iterable[Sync], since: Mapping[Sync, int]) -> int:
    """The tick by which all of these had been voiced, though what stands for one of them may have come later."""
    return max(since[vote] for vote in votes)


def _members(votes: Iterable[Sync], by_best: Mapping[Sync, Sequence[Sync]], limit_ppm: float) -> tuple[Sync, ...]:
    """The syncs behind votes, as far as they agree."""
    members = sorted((sync for best in votes for sync in by_best[best]), key=_order)
    return tuple(members if _is_chain(members, limit_ppm) else longest_agreement(members, limit_ppm))


def _ways(votes: Sequence[Sync], limit_ppm: float, change_ppm: float, tolerance_ppm: float) -> list[list[Sync]]:
    """The best of what can be believed first, then all that is as good: nobody knows which of them is true."""

    def merit(way: Sequence[Sync]) -> tuple[int, int]:
        return len(way), -_count_strains(way, tolerance_ppm)

    def straight(chain: Sequence[Sync]) -> list[list[Sync]]:
        return _straightened(chain, change_ppm, tolerance_ppm)

    first, last = _longest_agreements(votes, limit_ppm)
    found = [straight(chain) for chain in ([first] if first == last else [first, last])]
    best = max(merit(way) for ways in found for way in ways)
    as_good = [way for ways in found if best in map(merit, ways) for way in ways]
    likeliest = max(as_good, key=merit)
    covered = {vote for way in as_good for vote in way}
    for vote in [vote for vote in votes if vote not in covered][: max(1, _MOST_COMPARED // len(votes))]:
        if vote not in covered:
            chains = _beside(vote, likeliest, limit_ppm), _longest_through(vote, votes, limit_ppm)
            ways = [way for chain in chains for way in straight(chain) if vote in way and merit(way) >= best]
            covered.update(other for way in ways for other in way)
            as_good += ways
    return as_good


def _beside(vote: Sync, chain: Sequence[Sync], limit_ppm: float) -> list[Sync]:
    """A vote in the place of those of a chain that contradict it."""
    before = [other for other in chain if other.tick < vote.tick and _follows(other, vote, limit_ppm)]
    after = [other for other in chain if other.tick > vote.tick and _follows(vote, other, limit_ppm)]
    return [*before, vote, *after]


def _longest_through(vote: Sync, votes: Sequence[Sync], limit_ppm: float) -> list[Sync]:
    """The longest chain of those that agree with one vote, and that vote in it."""
    agreeing = _beside(vote, votes, limit_ppm)
    at = agreeing.index(vote)
    return [*longest_agreement(agreeing[:at], limit_ppm), vote, *longest_agreement(agreeing[at + 1 :], limit_ppm)]


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


def _straightened(votes: Sequence[Sync], change_ppm: float, tolerance_ppm: float) -> list[list[Sync]]:
    """The votes without those that bend the line; several such lists where others could have been left out instead."""
    ways = [_straightened_by(which, votes, change_ppm, tolerance_ppm) for which in (-1, 0, 1)]
    return [way for at, way in enumerate(ways) if way not in ways[:at]]


def _straightened_by(which: int, votes: Sequence[Sync], change_ppm: float, tolerance_ppm: float) -> list[Sync]:
    """`which`: of up to three votes that are under the same suspicion, the one to leave out."""
    kept, at = list(votes), 1
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
        del kept[suspects[min(which, len(suspects) - 1)]]
        at = max(1, at - 2)
    return kept


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
