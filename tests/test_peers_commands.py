"""Other people's clients ask the simulated device what it is and does: groups os, settings, stat, shell, enum, basic."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from peers import Peer
from peers_suite import SETUPS, Case, proves

STOCK_GROUPS = {0, 1, 2, 3, 8, 9, 10, 63}
LOGGER_GROUP = 0x464C
SETTING = {True: "device/name", False: "app/label"}
DEFAULT = {True: b"", False: b"stock"}


@pytest.fixture
def case(request: pytest.FixtureRequest) -> Case:
    """What `peer` was made from."""
    found = request.node.callspec.params["peer"]
    assert isinstance(found, Case)
    return found


@proves("echo", on=SETUPS)
def test_a_device_echoes(peer: Peer) -> None:
    assert peer.echo("x" * 200) == "x" * 200


@proves("parameters", on=SETUPS)
def test_parameters_are_those_of_the_device(peer: Peer, case: Case) -> None:
    assert peer.parameters() == (SETUPS[case.setup].buf_size, 4)


@proves("datetime")
def test_the_clock_runs_on_from_what_it_is_set_to(peer: Peer) -> None:
    value = datetime(2031, 12, 31, 23, 59, 58)  # noqa: DTZ001 - SMP's text knows no zone
    peer.set_datetime(value)
    assert timedelta(0) <= peer.read_datetime() - value < timedelta(seconds=60)


@proves("task statistics")
def test_tasks_have_names(peer: Peer) -> None:
    assert {"main", "idle"} <= peer.tasks()


@proves("memory pools")
def test_the_pool_of_messages_is_the_advertised_one(peer: Peer, case: Case) -> None:
    assert (SETUPS[case.setup].buf_size, 4) in peer.pools().values()


@proves("os info")
def test_os_info_grows_with_what_is_asked(peer: Peer) -> None:
    kernel = peer.os_info("s")
    everything = peer.os_info("a").split()
    assert kernel == everything[0]
    assert len(everything) >= 9


@proves("boot loader info")
def test_the_boot_loader_is_mcuboot(peer: Peer) -> None:
    assert peer.boot_loader() == "MCUboot"


@proves(
    "settings read", "settings write", "settings load", "settings save", "settings delete", "settings commit", on=SETUPS
)
def test_a_setting_is_written_forgotten_saved_and_deleted(peer: Peer, case: Case) -> None:
    key, default = SETTING[case.has_logger], DEFAULT[case.has_logger]
    peer.delete_setting(key)
    assert peer.read_setting(key) == default
    peer.write_setting(key, b"unsaved")
    peer.commit_settings()
    assert peer.read_setting(key) == b"unsaved"
    peer.load_settings()
    assert peer.read_setting(key) == default
    peer.write_setting(key, b"north ridge")
    peer.save_settings()
    peer.write_setting(key, b"unsaved")
    peer.load_settings()
    assert peer.read_setting(key) == b"north ridge"
    peer.delete_setting(key)
    assert peer.read_setting(key) == default


@proves("settings read", "settings write", "settings save", "reset")
def test_only_a_saved_setting_outlives_a_reset(peer: Peer, case: Case) -> None:
    key = SETTING[case.has_logger]
    peer.write_setting(key, b"kept")
    peer.save_settings()
    peer.write_setting(key, b"lost")
    peer.reset()
    assert peer.read_setting(key) == b"kept"


@proves("erase storage", "settings read", "settings write", "settings save", "reset")
def test_erased_storage_leaves_defaults_after_a_reset(peer: Peer, case: Case) -> None:
    key = SETTING[case.has_logger]
    peer.write_setting(key, b"kept")
    peer.save_settings()
    peer.erase_storage()
    peer.reset()
    assert peer.read_setting(key) == DEFAULT[case.has_logger]


@proves("reset", "statistics data")
def test_a_reset_starts_the_counters_anew(peer: Peer) -> None:
    for _ in range(5):
        peer.statistics("smp")
    before = peer.statistics("smp")["requests"]
    peer.reset()
    assert peer.statistics("smp")["requests"] < before


@proves("statistics list", on=SETUPS)
def test_statistics_groups_have_names(peer: Peer, case: Case) -> None:
    assert set(peer.statistics_groups()) == {"smp", "flash"} | ({"log"} if case.has_logger else set())


@proves("statistics data")
def test_counters_count(peer: Peer) -> None:
    first = peer.statistics("smp")["requests"]
    assert peer.statistics("smp")["requests"] > first


@proves("shell")
def test_the_shell_answers(peer: Peer) -> None:
    assert peer.shell("echo", "one", "two").strip() == "one two"


@proves("group list", on=SETUPS)
def test_groups_are_listed(peer: Peer, case: Case) -> None:
    assert set(peer.group_ids()) == STOCK_GROUPS | ({LOGGER_GROUP} if case.has_logger else set())


@proves("group count", "group by index", "group list")
def test_groups_are_counted_and_told_one_by_one(peer: Peer) -> None:
    groups = peer.group_ids()
    assert peer.group_count() == len(groups)
    assert [peer.group_at(index) for index in range(len(groups))] == groups


@proves("group details", on=SETUPS)
def test_groups_have_names(peer: Peer) -> None:
    names = peer.group_names(0, 8)
    assert names.keys() == {0, 8}
    assert all(names.values())
