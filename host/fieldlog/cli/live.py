"""`fieldlog live`: the newest readings, on the screen, as lines, or in a window."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Coroutine, Iterator
from contextlib import ExitStack, aclosing, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import click

from fieldlog.cli.common import Common, options, run
from fieldlog.cli.output import json_line
from fieldlog.cli.signals import die_by, ended_by, taken_over
from fieldlog.text import count
from fieldlog_protocol.durations import parse_duration_us
from fieldlog_protocol.errors import FieldlogError, UsageError

if TYPE_CHECKING:
    from fieldlog.device import Device
    from fieldlog.live import Event, Wanted
    from fieldlog.live.picture import Picture

_REST = 3
"""So many times as long as drawing took nothing is drawn."""
_AGAIN_S = 1.0
_COLUMNS = ("stream", "channel", "unit", "newest>", "lowest>", "highest>")


@click.command()
@options
@click.option(
    "--stream", "streams", multiple=True, metavar="NAME", help="Follow this stream; again for more. Else all."
)
@click.option("--channels", metavar="A,B", help="Channels, separated by commas; else all.")
@click.option("--duration", metavar="TIME", help="End after this time, such as 10s.")
@click.option("--count", "frames", type=click.IntRange(1), metavar="N", help="End after so many frames.")
@click.option(
    "--window", default="10s", show_default=True, metavar="TIME", help="The time that sparklines and --plot show."
)
@click.option("--plot", "as_plot", is_flag=True, help="Draw curves in a window instead.")
@click.option(
    "--reconnect",
    default="30s",
    show_default=True,
    metavar="TIME",
    help="How long to try to open a link again that broke; 0s: not at all.",
)
def live(
    common: Common,
    *,
    streams: tuple[str, ...],
    channels: str | None,
    duration: str | None,
    frames: int | None,
    window: str,
    as_plot: bool,
    reconnect: str,
) -> None:
    """Show the newest readings of a logger while it goes on recording. Nothing on it is sealed or changed.

    On a terminal that is a screen with a line for each channel. Elsewhere it is CSV, and with --json an object a line.
    Ctrl-C ends it.
    """
    from fieldlog.live import Wanted

    if as_plot and common.output.as_json:
        raise UsageError("--plot draws in a window and --json prints lines: leave one of them out")
    names = None if channels is None else tuple(name.strip() for name in channels.split(","))
    asked = _Asked(
        wanted=Wanted(streams or None, names),
        duration_s=None if duration is None else _positive_s(duration, "--duration"),
        frames=frames,
        window_s=_positive_s(window, "--window"),
        reconnect_s=parse_duration_us(reconnect) / 1e6,
        as_plot=as_plot,
    )
    _Work(common, asked).run()


def _positive_s(text: str, option: str) -> float:
    microseconds = parse_duration_us(text)
    if not microseconds:
        raise UsageError(f"{option} takes a time above zero, not {text}")
    return microseconds / 1e6


@dataclass(frozen=True, slots=True)
class _Asked:
    wanted: Wanted
    duration_s: float | None
    frames: int | None
    window_s: float
    reconnect_s: float
    as_plot: bool


class _Lines(Protocol):
    def show(self, event: Event) -> None: ...


class _Drawing(Protocol):
    @property
    def every_s(self) -> float:
        """How often it is drawn."""
        ...

    def draw(self, picture: Picture) -> bool:
        """Show what there is now; False: whoever looks has closed it."""
        ...


def _no_picture() -> Picture:
    from fieldlog.live.picture import Picture

    return Picture()


@dataclass(slots=True)
class _Work:
    common: Common
    asked: _Asked
    picture: Picture = field(default_factory=_no_picture)
    began_s: float = 0.0
    drawn: bool = False
    late_s: float = 0.0

    def run(self) -> None:
        """To the end, whichever it is, and a summary of it; Ctrl-C is one like any other once something was shown."""
        with taken_over(self._interrupted_late):
            self._run()

    def _run(self) -> None:
        drawing = self._window() if self.asked.as_plot else None
        try:
            why = run(self._follow(drawing))
        except FieldlogError:
            self._end("failed")
            raise
        except (KeyboardInterrupt, OSError) as end:  # the latter of a terminal that is gone
            self._interrupted(end)
        else:
            self._end(why)

    def _interrupted(self, end: BaseException) -> None:
        number = ended_by()
        if number is not None:
            with suppress(OSError):
                self._end("terminated")
                sys.stdout.flush()
            die_by(number)
        elif self.picture.info is None or isinstance(end, OSError):
            raise end
        else:
            self._end("interrupted")

    def _interrupted_late(self) -> None:
        """Ctrl-C before anything is shown, or, soon again, while the summary is."""
        now_s = time.monotonic()
        self.late_s = self.late_s or now_s
        if self.picture.info is None or now_s - self.late_s > _AGAIN_S:
            raise KeyboardInterrupt

    def _window(self) -> _Drawing:
        from fieldlog.cli.live_window import Window

        return Window(self.asked.window_s)

    async def _follow(self, drawing: _Drawing | None) -> str:
        async with self.common.connect() as device:
            with ExitStack() as stack:
                lines: _Lines | None = None
                if drawing is None:
                    drawing = self._screen(device.name, stack)
                if drawing is None:
                    lines = self._lines(device.name)
                following = self._frames(device, lines)
                if drawing is None:
                    return await following
                self.drawn = True
                return await _first_done(following, self._draw(drawing))

    def _screen(self, device: str, stack: ExitStack) -> _Drawing | None:
        from fieldlog.cli.live_screen import LiveScreen, can_draw, screen

        if self.common.output.as_json or not can_draw():
            return None
        return LiveScreen(stack.enter_context(screen()), device, self.asked.window_s)

    def _lines(self, device: str) -> _Lines:
        from fieldlog.cli.live_lines import CsvLines, JsonLines

        return JsonLines(device) if self.common.output.as_json else CsvLines(self.common.output)

    async def _frames(self, device: Device, lines: _Lines | None) -> str:
        """Take in what happens, until it is enough."""
        from fieldlog.live import Frames, follow

        scope = asyncio.timeout(None)
        try:
            async with scope, aclosing(follow(device, self.asked.wanted, reconnect_s=self.asked.reconnect_s)) as events:
                async for event in events:
                    if self.picture.info is None:
                        self._begin(scope)
                    wanted = event.first(self._left) if self._left is not None and isinstance(event, Frames) else event
                    self.picture.add(wanted)
                    if lines is not None:
                        lines.show(wanted)
                    if self._left == 0:
                        return "count"
        except TimeoutError:
            if not scope.expired():
                raise
        return "duration"

    def _begin(self, scope: asyncio.Timeout) -> None:
        self.began_s = time.monotonic()
        if self.asked.duration_s is not None:
            scope.reschedule(asyncio.get_running_loop().time() + self.asked.duration_s)

    @property
    def _left(self) -> int | None:
        return None if self.asked.frames is None else max(0, self.asked.frames - self.picture.frames)

    async def _draw(self, drawing: _Drawing) -> str:
        """At even times, as far as there is time: what is read must not wait for what is drawn."""
        loop = asyncio.get_running_loop()
        due_s = began_s = loop.time()
        while drawing.draw(self.picture):
            now_s = loop.time()
            due_s = max(due_s + drawing.every_s, now_s + _REST * (now_s - began_s))
            await asyncio.sleep(due_s - now_s)
            began_s = loop.time()
        return "closed"

    # the end

    def _end(self, why: str) -> None:
        if self.picture.info is None:
            return
        seconds = time.monotonic() - self.began_s
        picture, output = self.picture, self.common.output
        if output.as_json:
            streams = {trail.layout.stream.name: trail.total for trail in picture.trails.values()}
            counts = {"frames": picture.frames, "lost": picture.lost, "streams": streams}
            links = {"restarts": picture.restarts, "links_lost": picture.breaks}
            click.echo(json_line({"event": "end", "why": why, "seconds": round(seconds, 3), **counts, **links}))
            return
        if self.drawn:  # the screen or window is gone, and with it what was on it
            output.table(_COLUMNS, _rows(picture))
        output.note(_summary(picture, seconds))


def _rows(picture: Picture) -> Iterator[tuple[object, ...]]:
    from fieldlog.cli.live_words import unit_text, value_text

    for trail in picture.trails.values():
        for at, channel in enumerate(trail.layout.channels if trail.total else ()):
            values = [float(ends[at]) for ends in (trail.newest, trail.lowest, trail.highest)]
            yield trail.layout.stream.name, channel.name, unit_text(channel), *(value_text(channel, v) for v in values)


def _summary(picture: Picture, seconds: float) -> str:
    lost = f"{count(picture.lost, 'frame')} lost" if picture.lost else "none lost"
    parts = [f"{count(picture.frames, 'frame')} in {seconds:.1f} s, {lost}"]
    if picture.restarts:
        parts.append(f"the device restarted {count(picture.restarts, 'time')}: what was missed by that is not known")
    if picture.breaks:
        parts.append(f"the link was lost {count(picture.breaks, 'time')}")
    return "; ".join(parts)


async def _first_done(*work: Coroutine[Any, Any, str]) -> str:
    """The result of what ends first; the others are cancelled."""
    tasks = [asyncio.create_task(one) for one in work]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return next(task.result() for task in tasks if task in done)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
