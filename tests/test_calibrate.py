"""Calibrations: found from points, kept by the device, written into its log, applied to what is read, never to raw numbers."""

from __future__ import annotations

import csv
import json
import math
import time
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_bench import Bench, PowerLost
from fieldlog.archive.columns import Columns, Kind
from fieldlog.calibration import Fit, Point, compose, evaluate, fit
from fieldlog.cli.main import invoke
from fieldlog.export.texts import value_texts
from fieldlog.thresholds import raw_level
from fieldlog_protocol.blocks import cbor
from fieldlog_protocol.blocks.block import Kind as BlockKind
from fieldlog_protocol.blocks.schema import (
    Channel,
    ChannelType,
    Schema,
    Stream,
    merge_schema,
    parse_schema_part,
    schema_blocks,
)
from fieldlog_protocol.commands import logger
from fieldlog_protocol.commands.logger import StreamPeriod
from fieldlog_protocol.errors import UsageError
from simulator import simulator
from smp_peer import Handler, udp_peer

HUNDREDTHS = Channel("t", "Cel", ChannelType.I16, exponent=-2, missing=-32768)
COEFFICIENTS = st.floats(-3, 3, allow_nan=False).map(lambda number: round(number, 6))


def calibrated(channel: Channel, *coefficients: float) -> Channel:
    return msgspec.structs.replace(channel, calibration=coefficients)


# values


def test_a_calibration_is_a_polynomial_of_the_value_and_leaves_missing_ones_missing() -> None:
    channel = calibrated(HUNDREDTHS, 0.5, 2.0, 0.25)
    assert channel.values([400, -200, -32768]).tolist()[:2] == [0.5 + 8 + 4, 0.5 - 4 + 1]
    assert channel.value(-32768) is None
    assert calibrated(HUNDREDTHS, 0.0, 1.0).values([3902]).tolist() == [39.02], "the same to the last bit"


def test_what_overflows_is_infinite_and_no_warning() -> None:
    assert math.isinf(calibrated(HUNDREDTHS, *[1e308] * 8).values([30000])[0])


@pytest.mark.parametrize(
    ("channel", "coefficients"),
    [
        (HUNDREDTHS, (1.0,) * 9),
        (HUNDREDTHS, (math.nan, 1.0)),
        (Channel("on", "", ChannelType.BOOL), (0.0, 1.0)),
        (Channel("mode", "", ChannelType.ENUM, choices=("a", "b")), (0.0, 1.0)),
    ],
)
def test_what_is_no_calibration_is_refused(channel: Channel, coefficients: tuple[float, ...]) -> None:
    with pytest.raises(UsageError):
        calibrated(channel, *coefficients)


def test_it_is_in_the_logs_description() -> None:
    stream = Stream(1, "climate", 1_000_000, (calibrated(HUNDREDTHS, 0.12, 1.0004), HUNDREDTHS))
    schema = Schema(b"\1" * 8, 7, "1.0", "p", 3, (stream,))
    payloads = [payload for _, payload in schema_blocks(schema, 256)]
    assert merge_schema(map(parse_schema_part, payloads)) == schema
    plain = cbor.dumps(HUNDREDTHS)
    assert cbor.loads(plain, Channel).calibration == (), "descriptions of before are read as they were"


def test_a_calibrated_whole_number_is_a_fraction_in_tables() -> None:
    counts = Channel("n", "1", ChannelType.U16)
    plain, scaled = (Stream(1, "s", 1000, (channel,)) for channel in (counts, calibrated(counts, 0.0, 0.5)))
    assert Columns([plain]).all[0].kind is Kind.INT32
    assert Columns([plain, scaled]).all[0].kind is Kind.FLOAT
    assert len(Columns([plain, scaled]).all) == 1, "before and after are one column"


def test_texts_have_the_digits_that_mean_something() -> None:
    channel = calibrated(HUNDREDTHS, -0.12, 1.0004)
    assert value_texts(channel, np.array([2104, -32768], np.int16)) == ["20.928416", ""]
    thermistor = calibrated(Channel("r", "Cel", ChannelType.F32), 0.1, 1.0)
    assert value_texts(thermistor, np.array([0.2, np.nan], np.float32)) == ["0.3", ""]


@given(
    st.sampled_from([ChannelType.I8, ChannelType.U8]),
    st.integers(-3, 3).filter(bool),
    st.lists(COEFFICIENTS, min_size=1, max_size=3),
    st.decimals(-500, 500, places=2),
    st.booleans(),
)
def test_a_threshold_of_a_calibrated_channel_parts_its_readings(
    kind: ChannelType, multiplier: int, tail: Sequence[float], value: Decimal, below: bool
) -> None:
    channel = calibrated(Channel("x", "u", kind, multiplier=multiplier, exponent=-1), 1.5, *tail)
    numbers = range(kind.minimum, kind.maximum + 1)
    readings = [channel.value(raw) or 0.0 for raw in numbers]
    wanted = [reading <= float(value) if below else reading >= float(value) for reading in readings]
    try:
        level, raw_below = raw_level(channel, value, below=below)
    except UsageError as error:
        if "can never be" in str(error):
            assert not any(wanted)
            return
        between = np.linspace(*sorted(multiplier * raw / 10 for raw in (kind.minimum, kind.maximum)), 20_001)
        steps = np.diff([evaluate(channel.calibration, x) for x in between.tolist()])
        assert min(steps) * max(steps) <= 1e-6 * max(abs(steps)) ** 2
        return
    assert [raw <= level if raw_below else raw >= level for raw in numbers] == wanted


# points


def test_one_point_is_an_offset_two_are_a_line() -> None:
    assert fit([Point(20.5, 20.25)]) == Fit((-0.25, 1.0), (0.0,))
    assert fit([Point(20.31, 20.05)]).coefficients == (-0.26, 1.0)
    assert fit([Point(0.0, 0.5), Point(100.0, 98.5)]).coefficients == pytest.approx((0.5, 0.98))


def test_three_points_are_a_line_of_least_squares() -> None:
    found = fit([Point(0, 0), Point(1, 1.3), Point(2, 2)])
    slope, constant = np.polyfit([0, 1, 2], [0, 1.3, 2], 1)
    assert found.coefficients == pytest.approx((constant, slope))
    assert found.residuals == pytest.approx((0.1, -0.2, 0.1))
    assert found.rms == pytest.approx(math.sqrt(0.02))
    assert fit([Point(0, 0.1), Point(1, 1.2), Point(2, 2.3)], 0).coefficients == pytest.approx((0.2, 1.0))


@given(st.lists(COEFFICIENTS, min_size=2, max_size=5), st.integers(0, 3), st.floats(-50, 50), st.floats(1, 30))
def test_a_polynomial_is_found_again(polynomial: Sequence[float], more: int, start: float, step: float) -> None:
    degree = len(polynomial) - 1
    measured = [start + step * number for number in range(degree + 1 + more)]
    points = [Point(value, evaluate(polynomial, value)) for value in measured]
    found = fit(points, degree)
    scale = max(1.0, *(abs(point.reference) for point in points))
    powers = max(1.0, *(abs(value) ** degree for value in measured))
    for value, residual in zip(measured, found.residuals, strict=True):
        assert abs(residual) <= 1e-9 * (scale + 3 * powers)
        assert residual == evaluate(found.coefficients, value) - evaluate(polynomial, value)


@pytest.mark.parametrize(
    ("points", "degree", "words"),
    [
        ([Point(1, 2), Point(1, 3)], None, "needs 2 points of different measured values, and here is 1"),
        ([Point(1, 2), Point(2, 3)], 2, "needs 3 points of different measured values, and here are 2"),
        ([Point(math.nan, 2)], None, "finite"),
        ([Point(n, n) for n in range(10)], 8, "of degree 7 at most"),
    ],
)
def test_points_that_do_not_suffice(points: list[Point], degree: int | None, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        fit(points, degree)


@given(st.lists(COEFFICIENTS, min_size=1, max_size=3), st.lists(COEFFICIENTS, min_size=1, max_size=4))
def test_one_calibration_on_top_of_another(outer: Sequence[float], inner: Sequence[float]) -> None:
    both = compose(outer, inner)
    for value in (-2.0, 0.0, 0.5, 3.0):
        assert evaluate(both, value) == pytest.approx(evaluate(outer, evaluate(inner, value)), rel=1e-6, abs=1e-6)


def test_too_much_of_it_is_said() -> None:
    with pytest.raises(UsageError, match="10 coefficients"):
        compose((0, 0, 0, 1), (0, 1, 0, 1))


# the device's log


def descriptions(bench: Bench) -> dict[int, tuple[float, ...]]:
    """The calibration of the first channel by schema id, of the schemas that blocks of readings name."""
    blocks = bench.blocks()
    parts = [parse_schema_part(block.payload) for block in blocks if block.header.kind == BlockKind.SCHEMA]
    used = {block.header.schema_id for block in blocks if block.header.kind == BlockKind.DATA}
    return {part.schema_id: part.stream.channels[0].calibration for part in parts if part.schema_id in used}


def calibrate(bench: Bench, *coefficients: float) -> None:
    bench.ask(logger.CALIBRATE, logger.CalibrateRequest(id=1, s=0, c=0, cal=coefficients))


def test_readings_keep_the_calibration_that_they_were_taken_under() -> None:
    bench = Bench()
    bench.arm(streams=(StreamPeriod(s=0),))
    bench.wait(60, 3)
    calibrate(bench, 0.5, 1.25)
    calibrate(bench, 0.5, 1.25)
    bench.wait(60, 3)
    bench.power_cycle()
    bench.wait(60, 3)
    calibrate(bench)
    bench.wait(60, 3)
    bench.seal()
    assert list(descriptions(bench).values()) == [(), (0.5, 1.25), ()]


def test_a_calibration_while_idle_is_in_the_next_session_only() -> None:
    bench = Bench()
    bench.arm(streams=(StreamPeriod(s=0),))
    bench.wait(60, 3)
    bench.stop()
    calibrate(bench, 1.0, 2.0)
    bench.mark("calibrated")
    bench.arm(streams=(StreamPeriod(s=0),))
    bench.wait(60, 3)
    bench.stop()
    assert list(descriptions(bench).values()) == [(), (1.0, 2.0)]


def test_a_power_cut_anywhere_leaves_the_former_calibration_or_the_new() -> None:
    """And what is recorded then says which."""
    for cut in range(1, 40):
        bench = Bench()
        bench.arm(streams=(StreamPeriod(s=0),))
        bench.wait(60, 3)
        if not cuts_power(bench, cut):
            assert cut > 2, "nothing was ever written"
            return
        kept = bench.ask(logger.STREAMS, logger.StreamsRequest()).ch[0].cal or ()
        assert kept in ((), (0.5, 1.25))
        bench.wait(60, 3)
        bench.seal()
        assert descriptions(bench)[bench.blocks()[-1].header.schema_id] == kept, f"cut at operation {cut}"
    pytest.fail("a calibration never ended")


def cuts_power(bench: Bench, operation: int) -> bool:
    """Whether power went at that flash operation of a calibration; the device runs again then."""
    bench.device.flash.cut_after = operation
    try:
        calibrate(bench, 0.5, 1.25)
    except PowerLost:
        bench.power_cycle()
        return True
    bench.device.flash.cut_after = None
    return False


# the command line


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Any:
    def work(*words: str) -> tuple[int, str, str]:
        code = invoke(words)
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return code, out, err

    return work


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_from_points_to_the_exported_value(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIELDLOG_ARCHIVE", str(tmp_path / "archive"))
    with simulator("--time-scale", "100") as running:
        monkeypatch.setenv("FIELDLOG_DEVICE", running.url)
        assert run("log", "arm", "--stream", "environment=1s")[0] == 0
        points = ("--point", "0.4=0", "--point", "100.6=100")
        code, out, _ = run("calibrate", "environment/temperature", *points, "--dry-run", "--json")
        planned = json.loads(out)
        assert (code, planned["written"], planned["former"]) == (0, False, [])
        assert "none" in run("calibrate", "temperature")[1]
        before = time.monotonic()
        code, out, _ = run("calibrate", "temperature", *points, "--json")
        done = json.loads(out)
        assert (code, done["written"], done["coefficients"]) == (0, True, planned["coefficients"])
        code, _, err = run("calibrate", "temperature", "--point", "1=2")
        assert code == 2
        assert "--uncalibrated" in err
        while time.monotonic() < before + 0.5:  # 50 s of readings
            assert run("log", "status")[0] == 0
        assert run("calibrate", "temperature", "-0.5", "1")[0] == 0
        assert run("calibrate", "temperature", "--point", "10=10.5", "--calibrated")[0] == 0
        assert json.loads(run("calibrate", "temperature", "--json")[1])["channels"][0]["coefficients"] == [0, 1]
        assert run("calibrate", "temperature", "--clear")[0] == 0
        assert run("pull")[0] == 0
    assert run("archive", "check")[0] == 0, "the Parquet files hold calibrated values too"
    assert run("export", "-o", str(tmp_path / "values.csv"))[0] == 0
    assert run("export", "--uncalibrated", "-o", str(tmp_path / "raw.csv"))[0] == 0
    constant, slope = done["coefficients"]
    column = "temperature [Cel]"
    pairs = [
        (float(one[column]), float(other[column]))
        for one, other in zip(rows(tmp_path / "values.csv"), rows(tmp_path / "raw.csv"), strict=True)
    ]
    as_before = [value == raw for value, raw in pairs]
    as_calibrated = [value == pytest.approx(constant + slope * raw, abs=1e-9) for value, raw in pairs]
    assert as_calibrated.count(True) >= 40
    assert all(
        any(ways)
        for ways in zip(as_before, as_calibrated, [v == pytest.approx(r - 0.5) for v, r in pairs], strict=True)
    )
    import fieldlog

    with fieldlog.archive.open(tmp_path / "archive") as archive:
        readings = archive.readings(channels=["temperature"])
        assert readings.to_numpy()["temperature"].tolist() == pytest.approx([value for value, _ in pairs], abs=1e-9)
        raw = [number for series in readings for number in series.raw[0].tolist()]
    assert [round(number / 100, 2) for number in raw] == [number for _, number in pairs]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("temperature", "5"), "an offset is 5 1"),
        (("temperature", "nan", "1"), "finite"),
        (("temperature", *["1"] * 9), "up to 8"),
        (("temprature", "0", "1"), "Did you mean temperature?"),
        (("temperature", "--claer"), "'--claer' is no option"),
        (("temperature", "warm"), "'warm' is no coefficient"),
        (("temperature", "0", "1", "--clear"), "give one of"),
        (("temperature", "--degree", "1"), "give --point"),
        (("temperature", "--point", "20"), "MEASURED=REFERENCE"),
        (("--clear",), "name the channel"),
    ],
)
def test_what_cannot_be_meant_changes_nothing(run: Any, words: tuple[str, ...], sentence: str, shared: str) -> None:
    code, out, err = run("calibrate", *words, "--device", shared)
    assert (code, out) == (2, "")
    assert sentence in err
    assert json.loads(run("calibrate", "--json", "--device", shared)[1])["channels"][0]["coefficients"] == []


@pytest.fixture(scope="module")
def shared() -> Any:
    with simulator() as running:
        yield running.url


def test_a_device_that_keeps_another_calibration_is_found_out(run: Any) -> None:
    channel = {"n": "t", "u": "Cel", "t": 1, "cal": [7.0, 1.0]}
    stream = {"n": 1, "i": 0, "id": 1, "name": "s", "us": 1_000_000, "nc": 1, "c": 0, "ch": [channel]}
    info = {
        "parts": 1,
        "uid": bytes(8),
        "log": 1,
        "block": 1024,
        "boot": 1,
        "tick": 0,
        "state": 0,
        "first": 0,
        "next": 0,
    }
    handlers: dict[tuple[int, int, int], Handler] = {
        logger.INFO.key: lambda _: info | {"caps": 64},
        logger.STREAMS.key: lambda _: stream,
        logger.CALIBRATE.key: lambda _: {},
    }
    with udp_peer(handlers) as peer:
        code, _, err = run("calibrate", "t", "1", "2", "--device", peer.url)
        assert code == 5
        assert "was told to calibrate s/t with 1 2 and keeps 7 1" in err
        handlers[logger.INFO.key] = lambda _: info
        peer.peer.on(logger.INFO, handlers[logger.INFO.key])
        code, _, err = run("calibrate", "t", "1", "2", "--device", peer.url)
        assert code == 2
        assert "keeps no calibrations" in err


def test_a_device_without_the_logger_group_keeps_none(capsys: pytest.CaptureFixture[str]) -> None:
    with simulator("--profile", "smp-server") as stock:
        for words in ([], ["temperature", "1", "2"]):
            assert invoke(["calibrate", *words, "--device", stock.url]) == 4
            assert "keeps no calibrations" in capsys.readouterr().err
