"""Applying a plan while the link or the power is cut, at every message and every flash operation of it.

Whatever happens, the device holds all the former values or all the new ones, at once, after its time limit and after a
restart; what the user was told is true; and applying again completes.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import pytest

from config_bench import FAST, FORMER, NEW, Cut, CutTransport, applied, bench_with_former, file_of, held, outcome
from device_bench import Bench
from fieldlog_protocol.errors import FieldlogError
from virtual_link import run

LIMIT_S = 60
AWAY_S = (None, 3.0, 90.0)


@dataclass(frozen=True)
class Case:
    """A cut of the link, of the power at the flash operation of this number from the beginning of the apply, or both."""

    cut: Cut
    power: int | None = None
    recording: bool = False
    seed: int = 0


def run_case(case: Case) -> bool:
    """Whether the cut came to pass; everything that must hold is asserted."""
    bench = bench_with_former(seed=case.seed)
    if case.recording:
        bench.arm(label="campaign")
        bench.wait(3)
    boot = bench.device.boot_id
    bench.device.flash.cut_after = case.power
    transport = CutTransport(bench, FAST, cut=case.cut)
    error = outcome(bench, transport)
    was_cut = bench.device.boot_id > boot or transport.cut != case.cut
    bench.device.flash.cut_after = None
    check_truth(bench, error, case)
    run(bench, applied(bench, file_of(1)))
    bench.power_cycle()
    assert held(bench) == NEW, f"applied again: {case}"
    return was_cut


def check_truth(bench: Bench, error: FieldlogError | None, case: Case) -> None:
    after = held(bench)
    assert after in (FORMER, NEW), f"a mixture: {case}"
    bench.wait(LIMIT_S + 1)
    settled = held(bench)
    bench.power_cycle()
    assert held(bench) == settled, f"other values after a restart: {case}"
    assert settled in (FORMER, NEW), f"a mixture after the time limit: {case}"
    assert settled == NEW if error is None else after == settled, f"{error}: {case}"
    if error is not None and "is not known" not in str(error):
        assert settled == FORMER, f"{error}: {case}"
        assert "former values" in str(error) or "settings transaction" not in str(error), f"{error}: {case}"


@functools.cache
def messages() -> tuple[int, int]:
    """Of an apply that nothing disturbs: requests and answers."""
    bench = bench_with_former()
    transport = CutTransport(bench, FAST)
    assert outcome(bench, transport) is None
    return transport.requests, transport.replies


def link_cuts() -> Iterator[Case]:
    requests, replies = messages()
    for away_s in AWAY_S:
        yield from (Case(Cut(request=number, away_s=away_s)) for number in range(requests))
        yield from (Case(Cut(reply=number, away_s=away_s)) for number in range(replies))


def restarts() -> Iterator[Case]:
    requests, _ = messages()
    for lost in (False, True):
        yield from (Case(Cut(restart=number, and_lost=lost)) for number in range(requests))


def power_cuts(*, recording: bool, seed: int = 0) -> int:
    """At every operation that there is; how many there were."""
    number = 1
    while run_case(Case(Cut(), power=number, recording=recording, seed=seed)):
        number += 1
    return number - 1


def both(seed: int) -> Case:
    """Link and power at random moments of one apply."""
    rng = random.Random(seed)
    requests, replies = messages()
    cut = rng.choice([Cut(request=rng.randrange(requests)), Cut(reply=rng.randrange(replies))])
    cut.away_s = rng.choice(AWAY_S)
    return Case(cut, power=rng.randrange(1, 12), recording=rng.random() < 0.5, seed=seed)


def run_all(cases: Iterable[Case]) -> int:
    return sum(map(run_case, cases))


def test_cuts_leave_all_or_nothing() -> None:
    cases = random.Random(5).sample(list(link_cuts()), 8) + random.Random(6).sample(list(restarts()), 10)
    assert run_all(cases) == len(cases)
    assert power_cuts(recording=False) >= 2
    for seed in range(2):
        run_case(both(seed))


@pytest.mark.faults
@pytest.mark.timeout(900)
def test_link_cuts_at_every_message_leave_all_or_nothing(request: pytest.FixtureRequest) -> None:
    cuts = run_all(link_cuts())
    request.node.user_properties.append(
        ("counted", f"link cut at {cuts} messages of applied configurations, no mixture")
    )


@pytest.mark.faults
@pytest.mark.timeout(900)
def test_restarts_at_every_message_leave_all_or_nothing(request: pytest.FixtureRequest) -> None:
    cuts = run_all(restarts())
    request.node.user_properties.append(
        ("counted", f"power cut at {cuts} messages of applied configurations, no mixture")
    )


@pytest.mark.faults
@pytest.mark.timeout(900)
def test_power_cuts_at_every_operation_leave_all_or_nothing(request: pytest.FixtureRequest) -> None:
    cuts = sum(power_cuts(recording=recording, seed=seed) for seed in range(5) for recording in (False, True))
    request.node.user_properties.append(
        ("counted", f"power cut at {cuts} flash operations of applied configurations, no mixture")
    )


@pytest.mark.faults
@pytest.mark.timeout(900)
def test_cuts_of_link_and_power_leave_all_or_nothing(request: pytest.FixtureRequest) -> None:
    count = 400
    for seed in range(count):
        run_case(both(seed))
    request.node.user_properties.append(
        ("counted", f"link and power cut in {count} applied configurations, no mixture")
    )
