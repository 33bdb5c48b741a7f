"""The air between simulated radios: bumble's local link, with what a real one has and it lacks.

Rule of this module: it knows radios, and neither GATT nor SMP. A radio that is out of range neither hears nor is heard.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from bumble import hci, ll
from bumble.controller import Connection, Controller
from bumble.core import PhysicalTransport
from bumble.link import LocalLink

from fieldlog_sim.links.ble.pace import Pace


class Air(LocalLink):
    """`pace`: of all connections until their parameters are updated; None: as fast as it goes."""

    def __init__(self, pace: Pace | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.pace = pace
        self.out_of_range: set[Controller] = set()

    def other_end(self, controller: Controller, connection: Connection) -> tuple[Controller, Connection] | None:
        """Who is connected to `controller` by this connection, and the connection as it has it."""
        for other in self.controllers - {controller}:
            found = other.le_connections.get(connection.self_address)
            if found is not None and found.self_address == connection.peer_address:
                return other, found
        return None

    def hears(self, one: Controller, other: Controller) -> bool:
        """Whether they are in range of each other."""
        return one not in self.out_of_range and other not in self.out_of_range

    def scan_response(self, address: hci.Address) -> bytes:
        """What the advertiser at `address` answers to an active scan."""
        for controller in self.controllers:
            advertiser = controller.le_legacy_advertiser
            if advertiser.enabled and advertiser.address == address:
                return bytes(advertiser.scan_response_data)
        return b""

    def send_acl_data(
        self,
        sender_controller: Controller,
        destination_address: hci.Address,
        transport: PhysicalTransport,
        data: bytes,
    ) -> None:
        """From the address of the connection: the sender's random address need not be it."""
        connection = sender_controller.le_connections.get(destination_address)
        if transport != PhysicalTransport.LE or connection is None:
            return
        found = self.other_end(sender_controller, connection)
        if found is not None:
            asyncio.get_running_loop().call_soon(found[0].on_link_acl_data, connection.self_address, transport, data)

    def send_advertising_pdu(self, sender_controller: Controller, packet: ll.AdvertisingPdu) -> None:
        for other in self._in_range(sender_controller):
            asyncio.get_running_loop().call_soon(other.on_ll_advertising_pdu, packet)

    def send_ll_control_pdu(
        self, sender_address: hci.Address, receiver_address: hci.Address, packet: ll.ControlPdu
    ) -> None:
        """To the other end if it is there and in range; who is not notices by its supervision timeout."""
        for controller in tuple(self.controllers):
            connection = controller.le_connections.get(sender_address)
            if connection is None or connection.self_address != receiver_address:
                continue
            sender = self.other_end(controller, connection)
            if controller in self.out_of_range or (sender is not None and sender[0] in self.out_of_range):
                return
            asyncio.get_running_loop().call_soon(self._deliver, controller, sender_address, packet)

    @staticmethod
    def _deliver(controller: Controller, sender_address: hci.Address, packet: ll.ControlPdu) -> None:
        if sender_address in controller.le_connections:
            controller.on_ll_control_pdu(sender_address, packet)

    def _in_range(self, sender: Controller) -> Iterator[Controller]:
        return (other for other in tuple(self.controllers) if other is not sender and self.hears(sender, other))
