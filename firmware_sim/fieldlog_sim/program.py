"""The simulator as a program: devices, their links and the loop that runs them until somebody says stop."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import sys
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from fieldlog_protocol.commands.logger import LABEL_MAX, StreamPeriod
from fieldlog_protocol.errors import FieldlogError, UsageError
from fieldlog_protocol.framing import Framing
from fieldlog_sim.device import Device, DeviceConfig
from fieldlog_sim.handlers import register_all
from fieldlog_sim.history import SteppedTime, record_history
from fieldlog_sim.links.link_path import LinkPath
from fieldlog_sim.links.port import Link
from fieldlog_sim.links.pty import PtyLink
from fieldlog_sim.links.udp import UdpLink
from fieldlog_sim.options import Options
from fieldlog_sim.port import Buffers, SmpPort, console_framing, datagram_framing, raw_framing
from fieldlog_sim.sensors import Sensor, default_sensors
from fieldlog_sim.sim_time import SimTime

if TYPE_CHECKING:
    from fieldlog_sim.links.ble.site import Site
    from fieldlog_sim.replay import Replay

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_GOODBYE_S = 1.0


@runtime_checkable
class _Wireless(Protocol):
    """A link with an address of its own, and whose users may need what the device shows them."""

    @property
    def bluetooth_address(self) -> str: ...

    @property
    def passkey(self) -> int | None: ...


def run(options: Options) -> None:
    """Build the devices, print a line for each link, serve until told to stop, and put everything away."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what was claimed is let go
    replay = _load(options)
    paths = _link_paths(options)
    devices: list[Device] = []
    try:
        for path in paths:
            path.claim()
        devices += _build_devices(options, replay)
        asyncio.run(_serve(options, devices, paths))
    finally:
        for device in devices:
            device.flash.close()
        for path in paths:
            path.release()


def _link_paths(options: Options) -> list[LinkPath]:
    """Of each device, if they have any."""
    if options.pty is not None and not hasattr(os, "openpty"):
        raise UsageError("this system has no pseudo-terminals: use --udp 127.0.0.1:1337")
    if not options.pty:
        return []
    if options.count == 1:
        return [LinkPath(Path(options.pty))]
    return [LinkPath(Path(f"{options.pty}{index}")) for index in range(options.count)]


def _build_devices(options: Options, replay: Replay | None) -> list[Device]:
    try:
        if options.state is not None:
            _claim(options.state)
        devices = [_build_device(options, index, replay) for index in range(options.count)]
    except OSError as error:
        if isinstance(error, FieldlogError) or options.state is None:
            raise
        raise FieldlogError(
            f"no flash images can be kept in {options.state}: {error.strerror}. Nothing was started; name another "
            "directory, or leave --state out to keep nothing."
        ) from error
    for device in devices:
        device.flash.cut_after = options.power_cut_after
        device.hurried = True
    return devices


def _load(options: Options) -> Replay | None:
    if options.replay is None:
        return None
    from fieldlog_sim.replay import load_replay

    if not options.profile.has_logger:
        raise UsageError(f"the profile {options.profile.name} has no logger that could replay a file")
    replay = load_replay(options.replay, period_us=options.replay_period_us, units=options.replay_units)
    for line in replay.report:
        print(f"note: {line}", file=sys.stderr)
    return replay


def _build_device(options: Options, index: int, replay: Replay | None) -> Device:
    config = DeviceConfig(
        profile=options.profile,
        buffers=options.buffers,
        seed=options.seed or 0,
        index=index,
        clock_ppm=options.clock_ppm,
        battery_mah=options.battery_mah,
        rc_clock=options.rc_clock,
        log_id=secrets.randbits(32) if options.seed is None else 0,
        state=_state_file(options.state, index),
        boot=options.boot,
    )
    sensors: tuple[Sensor, ...] = replay.sensors if replay else default_sensors(options.seed or 0, index)
    fresh = config.state is None or not config.state.exists()
    if not fresh or not (replay or options.history_us) or not options.profile.has_logger:
        return Device(config, _present(options), sensors, register_all)
    aside = None if config.state is None else config.state.with_suffix(".new")
    if aside is not None:
        aside.unlink(missing_ok=True)
    device = _device_with_a_past(options, replace(config, state=aside), sensors, replay)
    if replay:
        replay.continue_at(_now_us())
    if aside is not None and config.state is not None:  # all of its past or none: whoever is stopped begins anew
        device.flash.close()
        aside.replace(config.state)
        return Device(config, _present(options), sensors, register_all)
    device.time = _present(options)
    device.power_on("power on", recovery=options.boot.recovery)
    return device


def _device_with_a_past(
    options: Options, config: DeviceConfig, sensors: tuple[Sensor, ...], replay: Replay | None
) -> Device:
    now_us = _now_us()
    past = SteppedTime(replay.start_us if replay else now_us - options.history_us)
    config = replace(config, boot=replace(config.boot, recovery=False))
    device = Device(config, past, sensors, register_all)
    if replay is not None and options.replay is not None:
        record_history(device, past, replay.end_us, options.replay.stem[:LABEL_MAX])
    else:  # the motion sensor would fill any log within days
        record_history(device, past, now_us, "history", (StreamPeriod(s=sensors[0].stream.id),))
    return device


def _present(options: Options) -> SimTime:
    return SimTime(_now_us(), options.time_scale)


def _now_us() -> int:
    return time.time_ns() // 1000


def _state_file(folder: Path | None, index: int) -> Path | None:
    if folder is None:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"device{index}.flash"


def _claim(folder: Path) -> None:
    """Two processes that write the same flash would ruin it. The claim ends with this process, however that ends."""
    try:
        import fcntl
    except ImportError:  # not on Windows
        return
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(lock)
        raise FieldlogError(
            f"{folder} belongs to a simulator that is running. Nothing was changed; stop it or name another directory."
        ) from error


async def _serve(options: Options, devices: list[Device], paths: list[LinkPath]) -> None:
    links: list[Link] = []
    site = await _open_site(options)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    _stop_on_signals(loop, stop)
    if options.until_eof:
        threading.Thread(target=_wait_for_eof, args=(loop, stop), daemon=True).start()
    try:
        for index, device in enumerate(devices):
            for link in await _open_links(options, index, device, paths[index] if paths else None, site):
                links.append(link)
                _announce(options, index, device, link)
        await _run_until(stop, links)
    finally:
        for link in links:
            link.close()
        if site is not None:
            site.close()


def _stop_on_signals(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    """The first signal asks for an end; another one, should that take long, ends the process as it is."""

    def ask(_number: int, _frame: object) -> None:
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        with suppress(RuntimeError):  # the loop is gone already
            loop.call_soon_threadsafe(stop.set)

    for number in _SIGNALS:
        signal.signal(number, ask)


async def _run_until(stop: asyncio.Event, links: list[Link]) -> None:
    """Links end only by themselves when they fail: then what they raise comes out of here."""
    tasks = [asyncio.create_task(link.run()) for link in links]
    stopper = asyncio.create_task(stop.wait())
    await asyncio.wait([stopper, *tasks], return_when=asyncio.FIRST_COMPLETED)
    stopper.cancel()
    for task in tasks:
        if task.done():
            task.result()
    for link in links:
        link.close()
    _, late = await asyncio.wait(tasks, timeout=_GOODBYE_S)  # a radio ends what it has begun: it is not to be cut short
    for task in late:
        task.cancel()
    await asyncio.wait(tasks, timeout=_GOODBYE_S)


async def _open_site(options: Options) -> Site | None:
    """Where BLE links are, if there are any."""
    if options.ble is None:
        return None
    try:
        from fieldlog_sim.links.ble.site import Site
    except ModuleNotFoundError as error:
        raise UsageError("--ble needs the extra `sim`: pip install 'fieldlog[sim]'. Nothing was started") from error
    site = Site(options.ble, options.faults)
    await site.open()
    return site


async def _open_links(
    options: Options, index: int, device: Device, path: LinkPath | None, site: Site | None
) -> list[Link]:
    links: list[Link] = []
    if options.pty is not None:
        links.append(_open_pty(options, index, device, path))
    if options.udp is not None:
        host, port = options.udp
        udp = UdpLink(
            _port(options.buffers, device, datagram_framing(options.buffers)),
            latency_s=options.latency_s,
            faults=options.faults,
            name=f"udp{index}",
            wanted=lambda: device.links.udp_port,
        )
        await udp.open(host, port + index if port else 0)
        await udp.follow()
        links.append(udp)
    if site is not None:
        alone = replace(options.buffers, back_to_back=False)
        end = _port(alone, device, raw_framing(alone))
        links.append(await site.add(device, end, index, _bonds_file(options.state, index)))
    return links


def _bonds_file(folder: Path | None, index: int) -> Path | None:
    return None if folder is None else folder / f"device{index}.bonds.json"


def _open_pty(options: Options, index: int, device: Device, path: LinkPath | None) -> Link:
    framing = raw_framing(options.buffers) if options.framing == "raw" else console_framing(options.buffers)
    link = PtyLink(
        _port(options.buffers, device, framing),
        path=path,
        baud=options.baud,
        latency_s=options.latency_s,
        faults=options.faults,
        name=f"pty{index}",
        line=lambda: device.links.line,
    )
    link.open()
    return link


def _port(buffers: Buffers, device: Device, framing: Framing) -> SmpPort:
    return SmpPort(device, buffers, framing, time.monotonic())


def _announce(options: Options, index: int, device: Device, link: Link) -> None:
    """The line that says that a link is ready; raw framing is part of the URL, because the host cannot guess it."""
    raw = options.framing == "raw" and link.address.startswith("serial:")
    url = link.address + ("?framing=raw" if raw else "")
    wireless = _wireless(link) if isinstance(link, _Wireless) else {}
    if options.json:
        ready = {"url": url, "device": index, "serial": device.identity.serial, "uid": device.identity.uid.hex()}
        print(json.dumps(ready | wireless), flush=True)
    else:
        shows = f", and shows the passkey {wireless['passkey']}" if "passkey" in wireless else ""
        print(f"{device.identity.serial} ready at {url}{shows}", flush=True)


def _wireless(link: _Wireless) -> dict[str, str]:
    passkey = {} if link.passkey is None else {"passkey": f"{link.passkey:06}"}
    return {"address": link.bluetooth_address} | passkey


def _wait_for_eof(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    with suppress(RuntimeError):  # the loop is gone already
        loop.call_soon_threadsafe(stop.set)
