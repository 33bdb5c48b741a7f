"""Settings on flash: what was put is there after any restart, and a power cut never mixes two sets."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random

import pytest

from fieldlog_protocol.errors import UsageError
from fieldlog_sim.nor_flash import KIB, NorFlash, Partition, PowerCut
from fieldlog_sim.settings_store import MAX_KEY, MAX_VALUE, Section, SettingsStore
from fieldlog_sim.store_errors import StoreFull

SECTOR = 4096
Changes = Mapping[str, bytes | None]


def partition(sectors: int = 2, seed: int = 0) -> Partition:
    return Partition(NorFlash(64 * KIB, seed=seed), SECTOR, sectors * SECTOR)


def test_a_fresh_partition_is_an_empty_store() -> None:
    part = partition()
    store = SettingsStore(part)
    assert store.items() == {}
    assert store.get("period") is None
    assert part.flash.operations == 0


def test_what_was_put_is_there_after_a_restart() -> None:
    part = partition()
    store = SettingsStore(part)
    store.put("link/baud", b"\x00\xc2\x01\x00")
    store.put("name", "Mühle".encode())
    store.put("empty", b"")
    store.put("name", b"barn")
    store.delete("link/baud")
    for seen in (store, SettingsStore(part)):
        assert seen.items() == {"empty": b"", "name": b"barn"}
        assert seen.get("link/baud") is None


def test_many_changes_are_one_record() -> None:
    part = partition()
    SettingsStore(part).put_many({"a": b"1", "b": b"2", "c": b"3"})
    SettingsStore(part).put_many({"a": None, "b": b"two", "d": b"4"})
    assert SettingsStore(part).items() == {"b": b"two", "c": b"3", "d": b"4"}


def test_what_changes_nothing_writes_nothing() -> None:
    part = partition()
    store = SettingsStore(part)
    store.put_many({"a": b"1", "b": b"2"})
    operations = part.flash.operations
    store.put_many({"a": b"1", "b": b"2", "never there": None})
    store.put_many({})
    assert part.flash.operations == operations


def test_a_section_sees_and_clears_its_own_keys_alone() -> None:
    part = partition()
    store = SettingsStore(part)
    store.put_many({"set/a": b"1", "a": b"of others"})
    section = Section(store, "set/")
    section.put_many({"b": b"2"})
    assert (section.get("a"), section.get("b"), section.get("set/a")) == (b"1", b"2", None)
    section.clear()
    assert store.items() == SettingsStore(part).items() == {"a": b"of others"}


@pytest.mark.parametrize("key", ["", "k" * (MAX_KEY + 1), "ü" * (MAX_KEY // 2 + 1)])
def test_keys_have_a_limit_in_bytes(key: str) -> None:
    with pytest.raises(UsageError):
        SettingsStore(partition()).put(key, b"")


def test_values_have_a_limit_and_the_rest_of_the_set_is_not_written() -> None:
    part = partition()
    store = SettingsStore(part)
    store.put("k" * MAX_KEY, bytes(MAX_VALUE))
    with pytest.raises(UsageError):
        store.put_many({"a": b"1", "b": bytes(MAX_VALUE + 1)})
    assert list(SettingsStore(part).items()) == ["k" * MAX_KEY]


def fill(store: SettingsStore) -> None:
    for number in range(100):
        store.put(f"key{number}", bytes(400))


def test_a_full_store_says_so_and_keeps_what_it_holds() -> None:
    part = partition()
    store = SettingsStore(part)
    with pytest.raises(StoreFull, match="Nothing was changed"):
        fill(store)
    held = store.items()
    assert 8 <= len(held) <= 10
    assert SettingsStore(part).items() == held
    store.delete("key0")
    store.put("other", bytes(300))
    assert SettingsStore(part).get("other") == bytes(300)


def test_a_store_lives_through_thousands_of_writes_and_wears_evenly() -> None:
    part = partition(sectors=8)
    store = SettingsStore(part)
    for number in range(5000):
        store.put(f"key{number % 10}", number.to_bytes(4, "little") * 20)
    assert SettingsStore(part).items() == store.items()
    assert store.get("key9") == (4999).to_bytes(4, "little") * 20
    wear = part.flash.wear[1:9]
    assert max(wear) - min(wear) <= 1
    assert max(wear) < 25


def test_one_sector_is_not_enough() -> None:
    with pytest.raises(UsageError):
        SettingsStore(partition(sectors=1))


@pytest.mark.parametrize("seed", range(4))
def test_the_store_is_a_dictionary_that_survives(seed: int) -> None:
    random = Random(seed)
    part = partition(sectors=2 + seed)
    model: dict[str, bytes] = {}
    store = SettingsStore(part)
    for _ in range(400):
        changes = random_changes(random)
        store.put_many(changes)
        apply(model, changes)
        if random.random() < 0.2:
            store = SettingsStore(part)
        assert store.items() == dict(sorted(model.items()))


def random_changes(random: Random) -> dict[str, bytes | None]:
    keys = random.sample([f"group/key{number}" for number in range(12)], random.randint(1, 6))
    return {key: None if random.random() < 0.2 else random.randbytes(random.choice((0, 1, 4, 60, 200))) for key in keys}


def apply(model: dict[str, bytes], changes: Changes) -> None:
    for key, value in changes.items():
        if value is None:
            model.pop(key, None)
        else:
            model[key] = value


def cut_everywhere(steps: int, seed: int, every: int = 1, extra_cuts: int = 0) -> int:
    """Cut a sequence of transactions at each operation: the set is the one before or after, and the store goes on."""
    script = [random_changes(Random(f"{seed}-{step}")) for step in range(steps)]
    sets: list[dict[str, bytes]] = [{}]
    for changes in script:
        sets.append(dict(sets[-1]))
        apply(sets[-1], changes)
    part = partition()
    for changes in script:
        SettingsStore(part).put_many(changes)
    cuts = range(1, part.flash.operations + 1, every)
    for cut in cuts:
        run_cut(script, sets, cut, extra_cuts, f"seed {seed}, cut at operation {cut}")
    return len(cuts)


def run_cut(
    script: list[dict[str, bytes | None]], sets: list[dict[str, bytes]], cut: int, extra_cuts: int, context: str
) -> None:
    part = partition(seed=cut)
    random = Random(cut)
    part.flash.cut_after = cut
    done = 0
    while done < len(script):
        try:
            SettingsStore(part).put_many(script[done])
        except PowerCut:
            part.flash.power_on()
            held = SettingsStore(part).items()
            held.pop("other", None)
            assert held in (sets[done], sets[done + 1]), context
            SettingsStore(part).put("other", random.randbytes(20))
            if extra_cuts:
                part.flash.cut_after = random.randint(1, 20)
                extra_cuts -= 1
        else:
            done += 1
    part.flash.power_on()
    assert {**SettingsStore(part).items(), "other": b""} == {**sets[-1], "other": b""}, context


def test_a_power_cut_leaves_the_former_set_or_the_new_one() -> None:
    assert cut_everywhere(steps=30, seed=1) > 40


def count(request: pytest.FixtureRequest, sentence: str) -> None:
    """Into the report of the run, also through xdist."""
    request.node.user_properties.append(("counted", sentence))


@pytest.mark.faults
@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("extra_cuts", [0, 5])
def test_power_is_cut_at_every_operation(seed: int, extra_cuts: int, request: pytest.FixtureRequest) -> None:
    cuts = cut_everywhere(steps=60, seed=seed, extra_cuts=extra_cuts)
    count(request, f"settings, seed {seed}: power cut at {cuts} operations, {extra_cuts} more in each recovery")
