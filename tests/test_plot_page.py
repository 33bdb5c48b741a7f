"""The page to zoom in: small, whole in one file, text from devices stays text, and every spike is where it lies."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from browser import CHROMIUM, Page, browser
from fieldlog.plot import Event, Limit, Overview, Trace, page_columns, save_page
from fieldlog.plot.lines import lines_of
from fieldlog.plot.reduce import Grid
from fieldlog_protocol.errors import UsageError

NEW_YEAR_US = 1_356_998_400_000_000
HOUR_US = 3_600_000_000
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>&'\"\u2028"
needs_browser = pytest.mark.skipif(
    CHROMIUM is None, reason="Chromium is not installed: tools/install-chromium installs it"
)


def trace(values: Any, *, name: str = "T", unit: str = "Cel", step_us: int = HOUR_US) -> Trace:
    column = np.asarray(values, dtype=np.float64)
    return Trace(name, unit, NEW_YEAR_US + np.arange(len(column), dtype=np.int64) * step_us, column)


def told(path: Path) -> dict[str, Any]:
    text = path.read_text(encoding="utf-8")
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text)
    return dict(json.loads(data))


def test_text_from_devices_is_no_markup(tmp_path: Path) -> None:
    path = save_page(
        [trace([1, 2], name=HOSTILE, unit=HOSTILE)],
        tmp_path / "page.html",
        title=HOSTILE,
        events=[Event(NEW_YEAR_US, "mark", HOSTILE)],
    )
    text = path.read_text(encoding="utf-8")
    assert text.count("<script") == 2
    assert "<img" not in text
    assert "http" not in re.sub(r"http-equiv", "", text)
    assert "<script>alert(1)</script>" in told(path)["panels"][0]["lines"][0]["name"]


def test_nothing_to_draw_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing to plot"):
        save_page([trace([float("nan")])], tmp_path / "page.html")
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten million readings in three channels of which one has a spike of a single reading."""
    n, batch = 10_000_000, 1 << 18
    times = NEW_YEAR_US + np.arange(n, dtype=np.int64) * 1_000_000
    overview = Overview(Grid(int(times[0]), int(times[-1]), page_columns(3)), [Limit("a", 50.0)])
    wave = np.sin(np.arange(batch) / 1000)
    for begin in range(0, n, batch):
        part = times[begin : begin + batch]
        spiked = wave[: len(part)].copy()
        if begin <= 7_654_321 < begin + batch:
            spiked[7_654_321 - begin] = 100.0
        columns = [spiked, wave[: len(part)] * 3, wave[: len(part)] - 9]

        class Some:
            label = ""
            utc_us, starts = part, np.zeros(len(part), np.bool_)
            channels = tuple(Trace(name, "Cel", part[:0], wave[:0]) for name in "abc")

        some = Some()
        some.columns = columns  # type: ignore[attr-defined]
        overview.add(overview.reduce(some))  # type: ignore[arg-type]
    return save_page(overview.lines(), tmp_path_factory.mktemp("page") / "large.html", title="large")


def test_ten_million_readings_stay_below_five_megabytes(large: Path) -> None:
    assert 1_000_000 < large.stat().st_size < 5_000_000


def stored(path: Path, row: int = 0) -> list[float]:
    """The values of the first line as the page's program reckons them."""
    data = told(path)
    line = data["panels"][0]["lines"][0]

    def numbers(place: int, dtype: str) -> Any:
        return np.frombuffer(base64.b64decode(data["arrays"][place]), dtype).astype(np.float64)

    values = numbers(line["values"][row], "<u2" if line["small"] else "<f4")
    bases, steps = (numbers(place, "<f8") for place in line["scale"])
    block = np.arange(len(values)) >> 8
    return list(bases[block] + values * steps[block])


@pytest.mark.parametrize(
    ("first", "step", "error"), [(9.0e12, 250.0, 0.01), (13.404954, 1e-6, 1e-10), (-1e-6, 1e-9, 1e-13), (5.0, 0.0, 0.0)]
)
def test_numbers_are_as_fine_as_the_readings(tmp_path: Path, first: float, step: float, error: float) -> None:
    values = first + step * np.arange(20_000)
    path = save_page([trace(values)], tmp_path / "page.html")
    assert np.abs(np.array(stored(path)) - values).max() <= error


def test_numbers_of_large_pages_are_as_fine_as_what_is_seen(tmp_path: Path) -> None:
    """Two bytes for each value, and yet a counter rises in each step by as much as it counted."""
    values = 9.0e12 + 250.0 * np.arange(400_000)
    lines = lines_of([trace(values, step_us=1000), trace(values + 1, step_us=1000)], page_columns(2))
    path = save_page(lines, tmp_path / "page.html")
    assert told(path)["panels"][0]["lines"][0]["small"]
    found, true = np.array(stored(path)), lines[0].columns.mean
    assert np.abs(found - true).max() < 0.01 * np.diff(true).min()


@pytest.fixture
def page() -> Iterator[Page]:
    with browser() as opened:
        yield opened


def view(page: Page) -> tuple[float, float]:
    begin, end = page.evaluate("[Number(plot.dataset.begin), Number(plot.dataset.end)]")
    return begin, end


def read_out(page: Page) -> str:
    return str(page.evaluate("document.getElementById('read').textContent"))


def x_of(page: Page, moment_ms: float) -> float:
    begin, end = view(page)
    left = float(page.evaluate("plot.dataset.left"))
    width = page.evaluate("plot.clientWidth") - left - 14
    return float(left + (moment_ms - begin) / (end - begin) * width)


def assert_quiet(page: Page, path: Path) -> None:
    assert page.complaints == []
    assert page.requests == [path.as_uri()]


@needs_browser
def test_a_spike_is_found_by_zooming_in_on_it(page: Page, large: Path) -> None:
    page.open(large)
    spike_ms = NEW_YEAR_US / 1000 + 7_654_321_000
    for _ in range(8):
        x = x_of(page, spike_ms)
        page.mouse("mouseWheel", x, 300, deltaX=0, deltaY=-500)
    begin, end = view(page)
    assert end - begin < 10_000_000_000 * 0.01
    assert begin < spike_ms < end
    page.mouse("mouseMoved", x_of(page, spike_ms), 300)
    assert "to 100.0" in read_out(page)
    assert_quiet(page, large)


@needs_browser
def test_zooming_moving_and_back(page: Page, tmp_path: Path) -> None:
    path = save_page(
        [trace(np.arange(1000) / 10, name="air"), trace(np.arange(1000) % 7, name=HOSTILE, unit="%")],
        tmp_path / "page.html",
        title=HOSTILE,
        tz="America/New_York",
        events=[Event(NEW_YEAR_US + 500 * HOUR_US, "mark", HOSTILE)],
        limits=[Limit("air", 60.0)],
    )
    page.open(path)
    whole = view(page)
    assert whole == (NEW_YEAR_US / 1000, NEW_YEAR_US / 1000 + 999 * 3_600_000)
    middle = NEW_YEAR_US / 1000 + 500 * 3_600_000
    page.mouse("mouseMoved", x_of(page, middle), 200)
    assert "air: 50.0" in read_out(page)
    assert re.match(r"2013-01-21 1[45]:", read_out(page))
    assert "UTC-05:00" in read_out(page)
    assert "alert(1)" in read_out(page)

    page.mouse("mouseWheel", x_of(page, middle), 200, deltaX=0, deltaY=-1000)
    near = view(page)
    assert near[1] - near[0] < 0.3 * (whole[1] - whole[0])
    assert abs(x_of(page, middle) - 600) < 60  # what is under the pointer stays there

    page.mouse("mousePressed", 600, 200, button="left", clickCount=1)
    page.mouse("mouseMoved", 700, 200, button="left", buttons=1)
    page.mouse("mouseReleased", 700, 200, button="left", clickCount=1)
    moved = view(page)
    assert moved[0] < near[0]
    assert moved[1] - moved[0] == pytest.approx(near[1] - near[0])

    page.evaluate("plot.dispatchEvent(new KeyboardEvent('keydown', {key: '0'}))")
    page.drawn()
    assert view(page) == whole
    assert page.picture().startswith(b"\x89PNG")
    assert page.evaluate("document.querySelectorAll('img').length") == 0
    assert_quiet(page, path)


@needs_browser
@pytest.mark.parametrize(
    "values", [[5.0], [1.0, float("nan"), 2.0], [0.0, 0.0], [1e-9, 2e-9], [1e12, 2e12], [float("inf"), 3.0, 1e300]]
)
def test_few_and_extreme_readings_are_drawn(page: Page, tmp_path: Path, values: list[float]) -> None:
    path = save_page([trace(values)], tmp_path / "page.html")
    page.open(path)
    page.mouse("mouseMoved", 72, 200)
    assert "T: " in read_out(page)
    assert_quiet(page, path)


@needs_browser
def test_the_axis_names_months_days_and_hours(page: Page, tmp_path: Path) -> None:
    page.open(save_page([trace(np.arange(9000) % 24)], tmp_path / "page.html", tz="America/New_York"))
    page.evaluate(
        "window.words = []; const draw = CanvasRenderingContext2D.prototype.fillText;"
        "CanvasRenderingContext2D.prototype.fillText = function (text, ...rest) { words.push(text); return draw.call(this, text, ...rest); };"
        "dispatchEvent(new Event('resize'))"
    )
    page.drawn()
    assert "2013-07-01" in page.evaluate("words")
    assert "America/New_York, UTC-05:00 / UTC-04:00" in page.evaluate("words")
    for _ in range(4):
        page.mouse("mouseWheel", x_of(page, NEW_YEAR_US / 1000 + 181 * 86_400_000), 300, deltaX=0, deltaY=-900)
    assert "07-01 00:00" in page.evaluate("words")


@needs_browser
def test_the_table_and_the_moving_mean_are_on_the_page(page: Page, tmp_path: Path) -> None:
    readings = trace(np.arange(480) % 24, name=HOSTILE)
    path = save_page([readings], tmp_path / "page.html", stats=True, rolling="1d", limits=[Limit(HOSTILE, 20.0)])
    page.open(path)
    cells = page.evaluate(
        "[...document.querySelectorAll('#stats tr')].map((row) => [...row.cells].map((c) => c.textContent))"
    )
    assert cells[0][1:4] == ["readings", "missing", "lowest"]
    assert cells[1][1:6] == ["480", "0", "0", "11.5", "23"]
    assert "2 d 11:00:00" in cells[2][-1]
    page.mouse("mouseMoved", x_of(page, NEW_YEAR_US / 1000 + 240 * 3_600_000), 200)
    assert ", mean over 1 d: 11.5" in read_out(page)
    assert_quiet(page, path)


@needs_browser
def test_names_without_room_are_counted(page: Page, tmp_path: Path) -> None:
    path = save_page([trace([1, 2, 3], name=f"channel {number}") for number in range(60)], tmp_path / "page.html")
    page.open(path)
    page.evaluate(
        "window.words = []; const draw = CanvasRenderingContext2D.prototype.fillText;"
        "CanvasRenderingContext2D.prototype.fillText = function (text, ...rest) { words.push(text); return draw.call(this, text, ...rest); };"
        "dispatchEvent(new Event('resize'))"
    )
    page.drawn()
    words = page.evaluate("words")
    shown = len({word for word in words if word.startswith("channel ")})
    assert 0 < shown < 60
    assert f"and {60 - shown} more" in words


DOOR = Trace("door", "", NEW_YEAR_US + np.array([0, 60, 3600], np.int64) * 1_000_000, np.array([0.0, 1, 0]), held=True)


def test_what_holds_is_told_to_the_page(tmp_path: Path) -> None:
    path = save_page([DOOR, replace(DOOR, states=("shut", "open\x1b")), trace([1.5, 2.5])], tmp_path / "page.html")
    panels = told(path)["panels"]
    assert [[line["held"] for line in panel["lines"]] for panel in panels] == [[True], [True], [False]]
    assert [panel["states"] for panel in panels] == [None, ["shut", "open "], None]


def test_columns_of_many_states_keep_their_last_value(tmp_path: Path) -> None:
    states = np.asarray(np.arange(1_000_000) % 7 % 2, np.float64)
    one = Trace(
        "door", "", NEW_YEAR_US + np.arange(1_000_000, dtype=np.int64) * 1000, states, held=True, states=("0", "1")
    )
    path = save_page([one], tmp_path / "page.html")
    low, last, high = (set(np.round(stored(path, row), 3)) for row in range(3))
    assert (low, last, high) <= ({0.0, 1.0},) * 3
    assert {0.0, 1.0} == last


def inked(page: Page, *places: float) -> list[list[int]]:
    """At which heights the line's colour is, in columns of the canvas."""
    found = page.evaluate(
        f"""(() => {{
          const {{width, height}} = plot;
          const seen = plot.getContext("2d").getImageData(0, 0, width, height).data;
          return {list(map(round, places))}.map((x) => Array.from({{length: height - 60}}, (_, y) => y + 24).filter(
            (y) => seen[4 * (y * width + x) + 2] - seen[4 * (y * width + x)] > 100));
        }})()"""
    )
    return [list(heights) for heights in found]


@needs_browser
def test_events_are_drawn_and_read_out_as_steps(page: Page, tmp_path: Path) -> None:
    path = save_page([replace(DOOR, states=("shut", "open"))], tmp_path / "page.html")
    page.open(path)
    page.drawn()
    heights = inked(page, *(x_of(page, (NEW_YEAR_US + s * 1e6) / 1000) for s in (30, 600, 1800, 3000)))
    assert all(1 <= len(found) <= 4 for found in heights), heights
    assert heights[1] == heights[2] == heights[3]
    assert min(heights[0]) > max(heights[1]) + 100
    for seconds, word in ((30, "shut"), (600, "open"), (1800, "open"), (3500, "open")):
        page.mouse("mouseMoved", x_of(page, (NEW_YEAR_US + seconds * 1e6) / 1000), 300)
        assert f"door: {word}" in read_out(page)
    assert_quiet(page, path)


@needs_browser
def test_what_holds_is_seen_where_no_event_lies(page: Page, tmp_path: Path) -> None:
    path = save_page([replace(DOOR, states=("shut", "open"))], tmp_path / "page.html")
    page.open(path)
    x = x_of(page, (NEW_YEAR_US + 1800 * 1e6) / 1000)
    for _ in range(4):
        page.mouse("mouseWheel", x, 300, deltaX=0, deltaY=-500)
    begin, end = view(page)
    assert begin > (NEW_YEAR_US + 60e6) / 1000
    assert end < (NEW_YEAR_US + 3600e6) / 1000
    assert all(1 <= len(found) <= 4 for found in inked(page, 400))
    assert_quiet(page, path)


@needs_browser
def test_a_large_counter_is_read_in_full(page: Page, tmp_path: Path) -> None:
    path = save_page([trace(9.0e12 + np.arange(3000))], tmp_path / "page.html")
    page.open(path)
    moment_ms = NEW_YEAR_US / 1000 + 1234 * HOUR_US / 1000
    for _ in range(9):
        page.mouse("mouseWheel", x_of(page, moment_ms), 300, deltaX=0, deltaY=-500)
    page.mouse("mouseMoved", x_of(page, moment_ms), 300)
    assert "T: 9000000001234" in read_out(page)
    assert_quiet(page, path)


@needs_browser
def test_a_place_is_read_to_the_centimetre_where_the_track_is_looked_at_closely(page: Page, tmp_path: Path) -> None:
    longitude = 13.404954 + 1e-4 * np.arange(3000)
    path = save_page(
        [trace(longitude, name="longitude", unit="deg"), trace(longitude + 40, unit="deg")], tmp_path / "p.html"
    )
    page.open(path)
    moment_ms = NEW_YEAR_US / 1000 + 1234 * HOUR_US / 1000
    for _ in range(9):
        page.mouse("mouseWheel", x_of(page, moment_ms), 300, deltaX=0, deltaY=-500)
    page.mouse("mouseMoved", x_of(page, moment_ms), 300)
    (value,) = re.findall(r"longitude: ([\d.]+)", read_out(page))
    assert abs(float(value) - longitude[1234]) < 1e-7
    assert len(value) < 13
