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


def at(second: int, off_s: float = 0, error_us: int = 1_000) -> Sync:
    return Sync(1, second * TICK_HZ, EPOCH_US + round((second + off_s) * 1e6), error_us)


def test_syncs_that_agree_are_all_accepted() -> None:
    syncs = [at(0), at(10), at(86_400, 8.64)]
    assert judge(syncs, CRYSTAL_PPM) == judge(syncs, 100)
    verdict = judge(syncs, CRYSTAL_PPM)
    assert (list(verdict.accepted), verdict.rejected, verdict.undecided) == (syncs, (), False)


def test_a_wrong_clock_does_not_win_by_being_asked_often() -> None:
    wrong = [at(200_000 + second, -HOUR_S) for second in range(0, HOUR_S, 60)]
    right = [at(0), at(100_000), at(300_000)]
    verdict = judge(sorted([*wrong, *right], key=lambda sync: sync.tick), CRYSTAL_PPM)
    assert list(verdict.accepted) == right
    assert not verdict.undecided


def test_one_against_one_is_undecided_and_a_third_decides() -> None:
    first, second = at(0), at(100_000, 7)
    assert not judge([first, second], CRYSTAL_PPM).rejected  # within 500 ppm
    second = at(100_000, 70)
    assert judge([first, second], CRYSTAL_PPM).undecided
    third = at(200_000, 70)
    verdict = judge([first, second, third], CRYSTAL_PPM)
    assert (list(verdict.accepted), list(verdict.rejected), verdict.undecided) == ([second, third], [first], False)


def test_errors_are_allowed_for() -> None:
    assert not judge([at(0), at(10, 0.5, 600_000)], CRYSTAL_PPM).rejected
    assert judge([at(0), at(10, 0.5, 400_000)], CRYSTAL_PPM).rejected


def test_time_that_goes_back_is_no_chain_however_large_the_errors() -> None:
    backwards = [at(10), replace(at(20), utc_us=at(5).utc_us, error_us=10**12)]
    assert len(judge(backwards, CRYSTAL_PPM).accepted) == 1


@pytest.mark.parametrize("off_s", [lambda i: 0, lambda i: HOUR_S * (i % 2), lambda i: i * i % 10_007 * 1e3])
def test_ten_thousand_syncs_of_one_boot_take_no_noticeable_time(off_s: object) -> None:
    assert callable(off_s)
    syncs = [at(i * HOUR_S, off_s(i)) for i in range(10_000)]
    began = time.process_time()
    judge(syncs, CRYSTAL_PPM)
    assert time.process_time() - began < 5


def test_the_longest_chain_is_found_whatever_lies_between() -> None:
    chain = [at(n * 1000) for n in range(20)]
    noise = [at(n * 1000 + 500, off_s) for n, off_s in enumerate((-90_000, 40, 7000, -50, 600) * 3)]
    assert longest_agreement(sorted([*chain, *noise], key=lambda sync: sync.tick), CRYSTAL_PPM) == chain
    assert longest_agreement([], CRYSTAL_PPM) == []
