"""Binary layouts: golden bytes both ways, exact lengths, one dtype from the same list."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, fields

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldlog_protocol.errors import ProtocolError, UsageError
from fieldlog_protocol.layout import Endian, Layout


@dataclass(frozen=True, slots=True)
class Record:
    a: int
    b: int
    c: int
    d: int
    e: int
    f: bytes


FIELDS = [("a", "u8"), ("b", "u16"), ("c", "u32"), ("d", "u64"), ("e", "i32"), ("f", "bytes:3")]
RECORD = Record(1, 0x0203, 0x04050607, 0x08090A0B0C0D0E0F, -2, b"xyz")
GOLDEN: list[tuple[Endian, str]] = [
    ("big", "01 0203 04050607 08090a0b0c0d0e0f fffffffe 78797a"),
    ("little", "01 0302 07060504 0f0e0d0c0b0a0908 feffffff 78797a"),
]
records = st.builds(
    Record,
    st.integers(0, 2**8 - 1),
    st.integers(0, 2**16 - 1),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**64 - 1),
    st.integers(-(2**31), 2**31 - 1),
    st.binary(min_size=3, max_size=3),
)


@pytest.mark.parametrize(("endian", "text"), GOLDEN)
def test_golden_bytes_both_ways(endian: Endian, text: str) -> None:
    layout = Layout(Record, FIELDS, endian=endian)
    data = bytes.fromhex(text)
    assert layout.size == len(data)
    assert layout.build(RECORD) == data
    assert layout.parse(data) == RECORD


@pytest.mark.parametrize("endian", ["big", "little"])
@given(record=records)
def test_round_trip_and_dtype_agree(endian: Endian, record: Record) -> None:
    layout = Layout(Record, FIELDS, endian=endian)
    data = layout.build(record)
    assert layout.parse(data) == record
    row = np.frombuffer(data, layout.dtype)[0]
    assert [row[name].item() for name in "abcde"] == [record.a, record.b, record.c, record.d, record.e]
    assert bytes(row["f"]) == record.f


@given(data=st.binary(max_size=40).filter(lambda data: len(data) != 22))
def test_any_other_length_is_a_protocol_error(data: bytes) -> None:
    layout = Layout(Record, FIELDS, endian="big")
    with pytest.raises(ProtocolError, match="exactly 22"):
        layout.parse(data)


@pytest.mark.parametrize(
    "changed",
    [{"a": 256}, {"a": -1}, {"b": 65536}, {"c": 2**32}, {"d": -1}, {"e": 2**31}, {"f": b"four"}, {"f": b""}],
)
def test_values_out_of_range_are_usage_errors(changed: dict[str, object]) -> None:
    values = {field.name: getattr(RECORD, field.name) for field in fields(Record)}
    layout = Layout(Record, FIELDS, endian="little")
    with pytest.raises(UsageError):
        layout.build(Record(**values | changed))


def test_a_dataclass_that_does_not_fit_the_list_is_refused() -> None:
    with pytest.raises(UsageError, match="not those of its layout"):
        Layout(Record, FIELDS[1:], endian="big")
    with pytest.raises(UsageError, match="unknown field code"):
        Layout(Record, [("a", "u7"), *FIELDS[1:]], endian="big")


def test_importing_the_module_does_not_import_numpy() -> None:
    code = "import sys, fieldlog_protocol.layout; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
