"""`fieldlog devices`."""

from __future__ import annotations

from dataclasses import asdict

import click

from fieldlog.cli.common import output_options
from fieldlog.cli.output import Output


@click.command()
@output_options
def devices(output: Output) -> None:
    """List the serial ports that are present.

    The URL of a USB port names the device itself, whatever its port is called today.
    """
    from fieldlog.transports import serial_ports

    ports = serial_ports()
    entries = [asdict(port) | {"url": f"usb:{port.usb}" if port.usb else port.path} for port in ports]

    def show() -> None:
        if ports:
            rows = [(port.path, f"usb:{port.usb}" if port.usb else "", port.description) for port in ports]
            output.table(["port", "url", "description"], rows)
        else:
            output.note("no serial port is present: plug a device in, or use udp:HOST or sim:")

    output.result({"devices": entries}, show)
