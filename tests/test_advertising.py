"""What a logger says over BLE before anybody connects: golden bytes both ways, and what strangers send."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldlog_protocol.advertising import (
    COMPANY,
    LoggerAdvertisement,
    advertising_data,
    decode_manufacturer_data,
    encode_manufacturer_data,
    logger_in,
    product_number,
    scan_response,
)
from fieldlog_protocol.commands.logger import State
from fieldlog_protocol.errors import ProtocolError, UsageError

# little endian: "FL", version, product, state and clock (8), battery, fill, newest
GOLDEN = [
    (LoggerAdvertisement(0x1234, State.LOGGING, True, 87, 3, 0x01020304), "464c 01 3412 0a 57 03 04030201"),
    (LoggerAdvertisement(0, State.IDLE, False, None, None, None), "464c 01 0000 00 ff ff ffffffff"),
    (LoggerAdvertisement(0xFFFF, State.FAULT, False, 0, 100, 0), "464c 01 ffff 04 00 64 00000000"),
    (LoggerAdvertisement(1, 7, True, 100, 0, 0xFFFF_FFFE), "464c 01 0100 0f 64 00 feffffff"),
]
percent = st.none() | st.integers(0, 100)
loggers = st.builds(
    LoggerAdvertisement,
    product=st.integers(0, 0xFFFF),
    state=st.sampled_from(list(State)) | st.integers(5, 7),
    clock_set=st.booleans(),
    battery_percent=percent,
    fill_percent=percent,
    newest_seq=st.none() | st.integers(0, 0xFFFF_FFFE),
)


@pytest.mark.parametrize(("logger", "text"), GOLDEN)
def test_golden_bytes_both_ways(logger: LoggerAdvertisement, text: str) -> None:
    data = bytes.fromhex(text)
    assert encode_manufacturer_data(logger) == data
    assert decode_manufacturer_data(data) == logger


@given(logger=loggers, behind=st.binary(max_size=4))
def test_round_trip_with_what_later_versions_append(logger: LoggerAdvertisement, behind: bytes) -> None:
    assert decode_manufacturer_data(encode_manufacturer_data(logger) + behind) == logger


def test_bits_and_versions_to_come_are_no_errors() -> None:
    found = decode_manufacturer_data(bytes.fromhex("464c 02 3412 fa 57 03 04030201"))
    assert (found.state, found.clock_set, found.newest_seq) == (State.LOGGING, True, 0x01020304)


@pytest.mark.parametrize(
    "text", ["", "46", "464c", "464c 01 3412 0a 57 03 040302", "4c46 01 3412 0a 57 03 04030201", "00" * 12]
)
def test_what_is_not_a_loggers_is_none(text: str) -> None:
    with pytest.raises(ProtocolError):
        decode_manufacturer_data(bytes.fromhex(text))
    assert logger_in({COMPANY: bytes.fromhex(text)}) is None


@given(data=st.binary(max_size=40))
def test_whatever_arrives_is_a_logger_or_a_protocol_error(data: bytes) -> None:
    found = logger_in({COMPANY: data, 0x004C: data})
    assert (found is not None) == (len(data) >= 12 and data[:2] == b"FL" and data[2] > 0)
    if found is not None:
        assert found.battery_percent is None or 0 <= found.battery_percent <= 100


def test_other_companies_are_not_asked() -> None:
    assert logger_in({0x004C: bytes.fromhex(GOLDEN[0][1])}) is None


@pytest.mark.parametrize(
    "logger",
    [
        LoggerAdvertisement(0, 8, False, None, None, None),
        LoggerAdvertisement(0, -1, False, None, None, None),
        LoggerAdvertisement(0x1_0000, State.IDLE, False, None, None, None),
        LoggerAdvertisement(0, State.IDLE, False, 101, None, None),
        LoggerAdvertisement(0, State.IDLE, False, None, -1, None),
        LoggerAdvertisement(0, State.IDLE, False, None, None, 0xFFFF_FFFF),
    ],
)
def test_what_does_not_fit_is_not_advertised(logger: LoggerAdvertisement) -> None:
    with pytest.raises(UsageError):
        encode_manufacturer_data(logger)


def test_the_advertisement_is_flags_and_the_smp_service() -> None:
    assert advertising_data() == bytes.fromhex("020106 1107 84aa6074528a8b86d34cb71d1ddc538d")


def test_the_scan_response_is_status_and_name() -> None:
    logger, text = GOLDEN[0]
    assert scan_response(logger, "hut") == bytes.fromhex(f"0f ff ffff {text} 04 09 687574")
    assert scan_response(None, "hut") == bytes.fromhex("0409687574")


@given(name=st.text(max_size=40), logger=st.none() | loggers)
def test_a_name_is_shortened_to_what_fits_and_stays_text(name: str, logger: LoggerAdvertisement | None) -> None:
    data = scan_response(logger, name)
    assert len(data) <= 31
    at = 0 if logger is None else 16
    shown = data[at + 2 :].decode()
    assert data[at] == len(data) - at - 1
    assert name.startswith(shown)
    assert data[at + 1] == (9 if shown == name else 8)
    assert shown == name or len(data) > 31 - 4  # no more is cut off than must be


def test_a_product_has_a_number() -> None:
    assert product_number("123456789") == 0x31C3
