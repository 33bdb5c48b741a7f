"""Which syncs of a boot are believed when they cannot all be true."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from fieldlog.clock_sync import TICK_HZ, Sync
from fieldlog.clock_votes import judge, longest_agreement

EPOCH_US = 1_700_000_000_000_000
HOUR_S = 3600
CRYSTAL_PPM = 500
CRYSTAL = (500, 70, 100)


def at(second: int, off_s: float = 0, error_us: int = 1_000) -> Sync:
    return Sync(1, second * TICK_HZ, EPOCH_US + round((second + off_s) * 1e6), error_us)


def test_syncs_that_agree_are_all_accepted() -> None:
    syncs = [at(0), at(10), at(86_400, 8.64)]
    assert judge(syncs, *CRYSTAL) == judge(syncs, 101, 101, 101)
    verdict = judge(syncs, *CRYSTAL)
    assert (list(verdict.accepted), verdict.rejected, verdict.undecided) == (syncs, (), False)


def test_a_wrong_clock_does_not_win_by_being_asked_often() -> None:
    wrong = [at(200_000 + second, -HOUR_S) for second in range(0, HOUR_S, 60)]
    right = [at(0), at(100_000), at(300_000)]
    verdict = judge(sorted([*wrong, *right], key=lambda sync: sync.tick), *CRYSTAL)
    assert list(verdict.accepted) == right
    assert not verdict.undecided


def test_one_against_one_is_undecided_and_a_third_decides() -> None:
    first, second = at(0), at(100_000, 7)
    assert not judge([first, second], *CRYSTAL).rejected  # within 500 ppm
    second = at(100_000, 70)
    assert judge([first, second], *CRYSTAL).undecided
    assert judge([first, second], *CRYSTAL).accepted == (first,), "who was first stays"
    third = at(200_000, 70)
    verdict = judge([first, second, third], *CRYSTAL)
    assert (list(verdict.accepted), list(verdict.rejected), verdict.undecided) == ([second, third], [first], False)


def test_with_as_many_votes_on_either_side_nobody_changes_sides() -> None:
    one, other = [at(n * 100_000) for n in range(4)], [at(n * 100_000, 600) for n in range(4)]
    assert judge([one[0], other[1], other[2], one[3]], *CRYSTAL).accepted == (other[1], other[2])
    assert judge([one[0], other[1], one[2], other[3]], *CRYSTAL).accepted == (one[0], one[2])


def test_who_repeats_an_opinion_more_exactly_has_not_come_to_it_later() -> None:
    first, wrong, again = at(0), at(10, HOUR_S), at(20, error_us=500)
    for syncs in ([first, wrong], [first, wrong, again]):
        verdict = judge(syncs, *CRYSTAL)
        assert verdict.undecided
        assert wrong in verdict.rejected
        assert first in verdict.accepted


def test_of_three_that_bend_the_one_is_left_out_without_which_the_rate_is_a_likely_one() -> None:
    wrong, right = at(0, 40), [at(100_000), at(200_000)]
    assert judge([wrong, *right], 500, 70, 500).undecided
    verdict = judge([wrong, *right], *CRYSTAL)
    assert (list(verdict.accepted), list(verdict.rejected), verdict.undecided) == (right, [wrong], False)


def test_of_two_chains_that_share_their_end_neither_has_the_majority() -> None:
    """The last sync is so late that it agrees with either of those that rule each other out."""
    syncs = [at(0), at(100_000, 90), at(1_000_000, 45)]
    verdict = judge(syncs, *CRYSTAL)
    assert verdict.undecided
    assert list(verdict.accepted) == [syncs[0], syncs[2]], "who was first stays"


def test_all_that_is_as_good_is_told_however_often_each_was_asked() -> None:
    """An hour ahead at the first of six pulls of an RC clock; without the second the others are as straight."""
    days = {0.0: 0, 1.006: -4130, 2.012: -4620, 3.019: -5240, 4.026: -5874, 5.034: -6565}
    pulls = [[at(round(day * DAY_S) + twice, off_s) for twice in (0, 1)] for day, off_s in days.items()]
    verdict = judge([sync for pull in pulls for sync in pull], *RC)
    without_second, without_first = (
        tuple(sync for pull in pulls if pull is not wrong for sync in pull) for wrong in (pulls[1], pulls[0])
    )
    assert verdict.accepted == without_second, "who was first stays"
    assert verdict.others == (without_first,)


def test_of_three_opinions_between_two_that_fit_all_each_is_told() -> None:
    between = [at(100_000 + n, off_s) for n, off_s in enumerate((90, 0, -90))]
    verdict = judge([at(-900_000), *between, at(1_100_000)], *CRYSTAL)
    told = {sync for way in (verdict.accepted, *verdict.others) for sync in way}
    assert told >= set(between)


def test_of_three_parties_of_two_each_is_told() -> None:
    syncs = [at(n * 100_000 + party, 600 * party) for n in range(2) for party in (0, 1, 2)]
    verdict = judge(syncs, *CRYSTAL)
    assert {verdict.accepted, *verdict.others} == {tuple(syncs[party::3]) for party in range(3)}


def test_a_doubt_at_the_end_is_told_although_another_computer_was_wrong_too() -> None:
    """An hour ahead at the sixth pull and behind at the last: all but the last but one are as straight as the true ones."""
    off_s = [0, -2493, -4991, -7462, -9882, -8704, -14708, -17166, -19653, -22159, -24668, -27118, -33154]
    syncs = [at(round(day * DAY_S - off), off) for day, off in enumerate(off_s)]
    verdict = judge(syncs, *RC)
    true = tuple(syncs[:5] + syncs[6:12])
    assert {verdict.accepted, *verdict.others} >= {true, (*true[:-1], syncs[12])}


def test_errors_are_allowed_for() -> None:
    assert not judge([at(0), at(10, 0.5, 600_000)], *CRYSTAL).rejected
    assert judge([at(0), at(10, 0.5, 400_000)], *CRYSTAL).rejected


def test_time_that_goes_back_is_no_chain_however_large_the_errors() -> None:
    backwards = [at(10), replace(at(20), utc_us=at(5).utc_us, error_us=10**12)]
    assert len(judge(backwards, *CRYSTAL).accepted) == 1


@pytest.mark.parametrize("case", ["agree", "two opinions", "bent", "nonsense"])
def test_ten_thousand_syncs_of_one_boot_take_no_noticeable_time(case: str) -> None:
    off_s = {
        "agree": (0,),
        "two opinions": (0, HOUR_S),
        "bent": (0, 0, 1.7, 0, -1.7),
        "nonsense": tuple(n * n % 10_007 * 1e3 for n in range(9_973)),
    }
    syncs = [at(n * HOUR_S, off_s[case][n % len(off_s[case])]) for n in range(10_000)]
    began = time.process_time()
    judge(syncs, *CRYSTAL)
    assert time.process_time() - began < 5


def test_the_longest_chain_is_found_whatever_lies_between() -> None:
    chain = [at(n * 1000) for n in range(20)]
    noise = [at(n * 1000 + 500, off_s) for n, off_s in enumerate((-90_000, 40, 7000, -50, 600) * 3)]
    assert longest_agreement(sorted([*chain, *noise], key=lambda sync: sync.tick), CRYSTAL_PPM) == chain
    assert longest_agreement([], CRYSTAL_PPM) == []


RC = (50_000, 20_000, 50_000)
DAY_S = 86_400


def rc_at(day: float, off_s: float = 0) -> Sync:
    """A clock that runs 3 % fast, give or take what nights and days do."""
    return at(round(day * DAY_S * 1.03), off_s - 0.03 * day * DAY_S + 60 * (day % 2))


@pytest.mark.parametrize("wrong", [1, 2, 5, 8])
def test_an_hour_is_noticed_where_the_limit_of_an_rc_clock_would_allow_it(wrong: int) -> None:
    syncs = [rc_at(day, HOUR_S * (day == wrong)) for day in range(10)]
    verdict = judge(syncs, *RC)
    assert list(verdict.rejected) == [syncs[wrong]]
    assert not verdict.undecided


@pytest.mark.parametrize("wrong", [0, 9])
def test_at_an_end_it_is_noticed_too_if_only_as_a_doubt(wrong: int) -> None:
    verdict = judge([rc_at(day, HOUR_S * (day == wrong)) for day in range(10)], *RC)
    assert len(verdict.rejected) == 1
    assert verdict.undecided or verdict.rejected[0].tick == rc_at(wrong).tick


def test_of_three_that_bend_nobody_knows_which_is_wrong() -> None:
    verdict = judge([at(0), at(DAY_S, HOUR_S), at(2 * DAY_S)], *RC)
    assert verdict.undecided
    assert len(verdict.accepted) == 2


def test_a_change_of_rate_that_temperature_can_make_is_no_contradiction() -> None:
    seconds_a_day = 70e-6 * DAY_S
    moved = [at(day * DAY_S, max(0, day - 3) * seconds_a_day) for day in range(7)]
    assert not judge(moved, *CRYSTAL).rejected
    bent = [at(day * DAY_S, max(0, day - 3) * 2 * seconds_a_day) for day in range(7)]
    assert judge(bent, *CRYSTAL).rejected
