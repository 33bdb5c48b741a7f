"""Nothing lost: loggers that are pulled while they record, over bad links and through power cuts, against the truth."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from campaign_life import Life, Outcome, Plan
from fieldlog_sim.faults import Faults
from virtual_link import LinkKind

CLEAN = (
    LinkKind("console", 115_200),
    LinkKind("console", 1_000_000, 0.016),
    LinkKind("raw", 115_200),
    LinkKind("datagrams", None),
)
BAD = (
    LinkKind("console", 115_200, faults=Faults(loss=0.05, corrupt=0.01, duplicate=0.02)),
    LinkKind("console", 1_000_000, faults=Faults(corrupt=0.05, delay=0.1, disconnect=0.01)),
    LinkKind("console", 115_200, deliveries=30),
    LinkKind("raw", 115_200, faults=Faults(loss=0.02)),
    LinkKind("datagrams", None, 0.005, Faults(loss=0.05, corrupt=0.01, duplicate=0.05, delay=0.3, delay_s=0.1)),
    LinkKind("datagrams", None, 0.02, Faults(loss=0.05, delay=0.2, disconnect=0.01)),
)


@pytest.fixture
def folder() -> Iterator[Path]:
    """In memory where there is such a place: thousands of commits go to it."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        yield Path(name)


def lives(plan: Plan, seeds: range, folder: Path) -> Outcome:
    """What all these lives went through."""
    total = Outcome(Counter())
    for seed in seeds:
        outcome = Life(plan, seed, folder / str(seed)).live()
        total.seen += outcome.seen
        total.readings += outcome.readings
        total.lost += outcome.lost
    return total


STEADY = Plan(CLEAN)
LOSSY = Plan(BAD)
FAILING = Plan(CLEAN, cuts=8)
SHUFFLED = Plan(
    CLEAN[:1],
    rounds=8,
    streams=8,
    pause_s=(0.01, 0.3),
    acts=("mark", "seal", "seal", "seal"),
    sealing=0.1,
    laps=(0.05, 0.1),
)
ALL = Plan(BAD + CLEAN, cuts=8, hosts=2)


def cuts(outcome: Outcome) -> int:
    return sum(number for what, number in outcome.seen.items() if what.startswith("cut while"))


def faults(outcome: Outcome) -> Counter[str]:
    return Counter({what: outcome.seen[what] for what in ("lost", "corrupted", "duplicated", "delayed")})


def test_a_ring_that_overwrites_what_was_not_read_and_a_log_that_is_full(folder: Path) -> None:
    outcome = lives(STEADY, range(1, 3), folder)
    assert outcome.lost > 10
    assert outcome.readings


def test_bad_links(folder: Path) -> None:
    outcome = lives(LOSSY, range(102, 104), folder)
    assert min(faults(outcome).values()) > 5
    assert outcome.seen["cut off"]


def test_power_cuts(folder: Path) -> None:
    outcome = lives(FAILING, range(200, 203), folder)
    assert cuts(outcome) > 10
    assert outcome.seen["power lost in a pull"] > 2


def test_all_of_it_and_two_hosts(folder: Path) -> None:
    outcome = lives(ALL, range(300, 302), folder)
    assert cuts(outcome) > 8


@pytest.mark.faults
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("part", range(4))
def test_many_bad_links(part: int, folder: Path, record_property: pytest.RecordProperty) -> None:
    outcome = lives(LOSSY, range(1000 + 60 * part, 1060 + 60 * part), folder)
    met = faults(outcome)
    assert min(met.values()) > 100
    assert min(outcome.seen["cut off"], outcome.seen["disconnected"]) > 10
    said = ", ".join(f"{number} frames {what}" for what, number in met.items())
    links = outcome.seen["cut off"] + outcome.seen["disconnected"]
    record_property(
        "counted", f"part {part}: 60 loggers pulled as they record: {said}, {links} links cut, 0 readings lost"
    )


@pytest.mark.faults
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("part", range(8))
def test_many_power_cuts(part: int, folder: Path, record_property: pytest.RecordProperty) -> None:
    outcome = lives(FAILING if part < 4 else ALL, range(2000 + 80 * part, 2080 + 80 * part), folder)
    assert cuts(outcome) > 320
    assert outcome.seen["power lost in a pull"] > 80
    record_property(
        "counted",
        f"part {part}: 80 loggers pulled as they record: {cuts(outcome)} power cuts, "
        f"{outcome.seen['power lost in a pull']} of them in a pull, 0 readings lost",
    )


def test_blocks_sealed_out_of_order_while_they_are_read(folder: Path) -> None:
    outcome = lives(SHUFFLED, range(1), folder)
    assert outcome.seen["blocks left open"] > 4


@pytest.mark.faults
@pytest.mark.timeout(1800)
def test_many_blocks_sealed_out_of_order_while_they_are_read(
    folder: Path, record_property: pytest.RecordProperty
) -> None:
    outcome = lives(SHUFFLED, range(3000, 3030), folder)
    assert outcome.seen["blocks left open"] > 200
    record_property(
        "counted",
        f"30 loggers sealed {outcome.seen['seal']} times as they are pulled: 0 blocks skipped or lost in silence",
    )
