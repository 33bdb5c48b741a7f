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
    from fieldlog.transports.ports import port_url

    ports = serial_ports()
    urls = [port_url(port, ports) for port in ports]
    entries = [asdict(port) | {"url": url} for port, url in zip(ports, urls, strict=True)]

    def show() -> None:
        if ports:
            rows = [
                (port.path, url if port.usb else "", port.description) for port, url in zip(ports, urls, strict=True)
            ]
            output.table(["port", "url", "description"], rows)
        else:
            output.note("no serial port is present: plug a device in, or use udp:HOST or sim:")

    output.result({"devices": entries}, show)
