"""`fieldlog devices`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from fieldlog.cli.common import output_options, run
from fieldlog.cli.many import radio_options
from fieldlog.cli.output import Output
from fieldlog.text import count
from fieldlog_protocol.errors import UsageError

if TYPE_CHECKING:
    from fieldlog.scanning import Advertised
    from fieldlog_protocol.advertising import LoggerAdvertisement


@click.command()
@output_options
@click.option("--ble", is_flag=True, help="Listen for BLE devices instead, and tell how each is.")
@click.option(
    "--seconds",
    type=click.FloatRange(0.1, 600),
    metavar="S",
    default=5.0,
    show_default=True,
    help="How long to listen.",
)
@click.option("--every", is_flag=True, help="Also BLE devices that do not speak SMP.")
@click.option("--radio", metavar="OPTIONS", help="Listen with another radio: what a device URL has behind its ?.")
def devices(output: Output, *, ble: bool, seconds: float, every: bool, radio: str | None) -> None:
    """List the serial ports that are present, or with --ble the BLE devices that are heard.

    The URL of a USB port names the device itself, whatever its port is called today. Of a fieldlog logger --ble tells
    battery, state and how full its log is, without connecting; what needs attention comes first.
    """
    if ble:
        _ble(output, seconds, radio, every=every)
    elif every or radio is not None:
        raise UsageError("--every and --radio are about BLE devices: add --ble")
    else:
        _serial(output)


def _serial(output: Output) -> None:
    from fieldlog.transports import serial_ports

    ports = serial_ports()
    entries = [asdict(port) | {"url": f"usb:{port.usb}" if port.usb else port.path} for port in ports]

    def show() -> None:
        if ports:
            rows = [(port.path, f"usb:{port.usb}" if port.usb else "", port.description) for port in ports]
            output.table(["port", "url", "description"], rows)
        else:
            output.note("no serial port is present: plug a device in, or use udp:HOST, ble:NAME or sim:")

    output.result({"devices": entries}, show)


def _ble(output: Output, seconds: float, radio: str | None, *, every: bool) -> None:
    from fieldlog.scanning import scan

    heard = run(scan(*radio_options(radio), seconds))
    found = [one for one in heard if one.smp or every]
    output.result({"devices": [_json(one) for one in found]}, lambda: _show(output, found, len(heard), seconds))


def _show(output: Output, found: Sequence[Advertised], heard: int, seconds: float) -> None:
    if found:
        columns = ["name", "address", "rssi>", "battery>", "state", "log>", "clock", "newest>", "attention"]
        output.table(columns, map(_row, found))
        return
    others = f" ({count(heard, 'other BLE device')} heard; --every lists them)" if heard else ""
    output.note(
        f"no SMP device was heard within {seconds:g} s{others}. Check that it has power and is near; one that is connected "
        "already is not heard"
    )


def _row(one: Advertised) -> tuple[object, ...]:
    said = one.logger
    before = (one.name, one.address, f"{one.rssi} dBm")
    if said is None:
        return *before, None, None if one.smp else "no SMP", None, None, None, None
    clock = "set" if said.clock_set else "not set"
    shown = (_percent(said.battery_percent), _state(said), _percent(said.fill_percent), clock, said.newest_seq)
    return *before, *shown, ", ".join(one.attention)


def _json(one: Advertised) -> dict[str, object]:
    said = one.logger
    logger = said and {
        "product": said.product,
        "state": _state(said),
        "clock_set": said.clock_set,
        "battery_percent": said.battery_percent,
        "fill_percent": said.fill_percent,
        "newest_seq": said.newest_seq,
    }
    return {
        "url": one.url,
        "name": one.name,
        "address": one.address,
        "rssi_dbm": one.rssi,
        "smp": one.smp,
        "logger": logger,
        "attention": list(one.attention),
    }


def _percent(value: int | None) -> str | None:
    return None if value is None else f"{value} %"


def _state(said: LoggerAdvertisement) -> str:
    from fieldlog_protocol.commands.logger import State

    return said.state.name.lower() if isinstance(said.state, State) else f"state {said.state}"
