"""A simulated Bluetooth controller: bumble's, mended where it does less than a real one.

Rule of this module: HCI on one side, the air on the other; nothing of GATT. Mended are scan responses, the cancelling of
a connection, reset, encryption (keys are compared, and a missing one is told), parameter updates, supervision, and the
pace of data. Verified against bumble 0.0.228, which is why its version is bounded. Commands are `Any` where its
decorators hide their fields from type checkers.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from bumble import hci, ll
from bumble.controller import Connection, Controller
from bumble.transport.common import TransportSink

from fieldlog_sim.links.ble.air import Air
from fieldlog_sim.links.ble.lane import Lane
from fieldlog_sim.links.ble.pace import INTERVAL_UNIT_S, PDU_BYTES, Pace

_RSSI_DBM = -50
_TIMEOUT_UNIT_S = 0.01
_UNPACED_INTERVAL = 24
_ACL_HEADER = 4
_LEAST_BUFFERS = 8


@dataclass(slots=True)
class _Extras:
    """What a connection has beside bumble's own."""

    lane: Lane[hci.HCI_AclDataPacket]
    interval: int
    timeout_s: float
    lost_at: asyncio.TimerHandle | None = None
    asked: ll.EncReq | None = None


class Radio(Controller):
    """One controller on an air. `rssi_dbm`: how strongly others hear it."""

    link: Air
    le_acl_data_packet_length = acl_data_packet_length = PDU_BYTES
    total_num_le_acl_data_packets = total_num_acl_data_packets = _LEAST_BUFFERS

    def __init__(self, name: str, air: Air, host: TransportSink | None = None, rssi_dbm: int = _RSSI_DBM) -> None:
        super().__init__(name, host_sink=host, link=air)  # pyright: ignore[reportUnknownMemberType] - untyped there
        self.rssi_dbm = rssi_dbm
        self._extras: dict[int, _Extras] = {}
        self._connecting: tuple[int, int] = (_UNPACED_INTERVAL, 72)
        if air.pace is not None:
            self.total_num_le_acl_data_packets = max(_LEAST_BUFFERS, air.pace.pdus + 2)

    # HCI to and from the host; bumble's own also formats every packet for a log that is off

    def on_hci_packet(self, packet: hci.HCI_Packet) -> None:
        if isinstance(packet, hci.HCI_AclDataPacket):
            self.on_hci_acl_data_packet(packet)
        else:
            super().on_hci_packet(packet)

    def send_hci_packet(self, packet: hci.HCI_Packet) -> None:
        if isinstance(packet, hci.HCI_LE_Advertising_Report_Event) and not self._complete_reports(packet):
            return
        if isinstance(packet, hci.HCI_LE_Connection_Complete_Event) and packet.status == hci.HCI_SUCCESS:
            packet.connection_interval, packet.supervision_timeout = self._parameters()
            self._begin(packet)
        if self.host is not None:
            asyncio.get_running_loop().call_soon(self.host.on_packet, bytes(packet))

    def on_hci_reset_command(self, _command: Any) -> hci.HCI_StatusReturnParameters:
        self.switch_off()
        return hci.HCI_StatusReturnParameters(hci.HCI_ErrorCode.SUCCESS)

    def switch_off(
        self, reason: int = hci.HCI_ErrorCode.REMOTE_DEVICE_TERMINATED_CONNECTION_DUE_TO_POWER_OFF_ERROR
    ) -> None:
        """End everything that was under way, and tell who is connected."""
        for connection in list(self.le_connections.values()):
            connection.send_ll_control_pdu(ll.TerminateInd(reason))
            self.on_le_disconnected(connection, reason)
        self.le_legacy_advertiser.stop()
        self.pending_le_connection = None
        self.le_scan_enable = False

    def leave(self) -> None:
        """Switch off for good."""
        self.switch_off(hci.HCI_ErrorCode.REMOTE_USER_TERMINATED_CONNECTION_ERROR)
        self.host = None
        self.link.out_of_range.discard(self)
        asyncio.get_running_loop().call_soon(self.link.controllers.discard, self)

    # scanning

    def _complete_reports(self, packet: hci.HCI_LE_Advertising_Report_Event) -> bool:
        """Strength and scan response of who advertises; False for a response that nobody asked for."""
        for report in packet.reports:
            report.rssi = self._strength(report.address)
            if report.event_type == packet.EventType.SCAN_RSP:
                if not self.le_scan_type:
                    return False
                report.data = self.link.scan_response(report.address)
        return True

    def _strength(self, address: hci.Address) -> int:
        for controller in self.link.controllers:
            if isinstance(controller, Radio) and controller.le_legacy_advertiser.address == address:
                return controller.rssi_dbm
        return _RSSI_DBM

    # connections

    def _parameters(self) -> tuple[int, int]:
        """Interval and supervision timeout of the connection that is being made, in units of HCI."""
        interval, timeout = self._connecting
        if self.link.pace is not None:
            interval = round(self.link.pace.interval_s / INTERVAL_UNIT_S)
        return interval, timeout

    def on_le_connect_ind(self, packet: ll.ConnectInd) -> None:
        self._connecting = packet.interval, packet.timeout
        super().on_le_connect_ind(packet)

    def create_le_connection(self, peer_address: hci.Address) -> None:
        pending = self.pending_le_connection
        if isinstance(pending, hci.HCI_LE_Create_Connection_Command):
            self._connecting = pending.connection_interval_max, pending.supervision_timeout
        super().create_le_connection(peer_address)
        connection = self.le_connections.get(peer_address)
        if connection is not None:
            asyncio.get_running_loop().call_soon(self._require_other_end, connection)

    def _require_other_end(self, connection: Connection) -> None:
        """Another central may have been faster: then nobody answers."""
        if self._is_present(connection) and self.link.other_end(self, connection) is None:
            self.on_le_disconnected(connection, hci.HCI_ErrorCode.CONNECTION_FAILED_TO_BE_ESTABLISHED_ERROR)

    def _begin(self, packet: hci.HCI_LE_Connection_Complete_Event) -> None:
        lane: Lane[hci.HCI_AclDataPacket] = Lane(
            self.link.pace, self._put_on_air, _air_bytes, anchor=asyncio.get_running_loop().time()
        )
        timeout_s = packet.supervision_timeout * _TIMEOUT_UNIT_S
        self._extras[packet.connection_handle] = _Extras(lane, packet.connection_interval, timeout_s)

    def on_le_disconnected(self, connection: Connection, reason: int) -> None:
        extras = self._extras.pop(connection.handle, None)
        if extras is not None:
            extras.lane.close()
            if extras.lost_at is not None:
                extras.lost_at.cancel()
        super().on_le_disconnected(connection, reason)

    def on_hci_le_create_connection_cancel_command(self, _command: Any) -> hci.HCI_StatusReturnParameters:
        pending, self.pending_le_connection = self.pending_le_connection, None
        if pending is None:
            return hci.HCI_StatusReturnParameters(hci.HCI_ErrorCode.COMMAND_DISALLOWED_ERROR)
        asyncio.get_running_loop().call_soon(self.send_hci_packet, _cancelled(pending.peer_address))
        return hci.HCI_StatusReturnParameters(hci.HCI_ErrorCode.SUCCESS)

    def _is_present(self, connection: Connection) -> bool:
        return self.le_connections.get(connection.peer_address) is connection

    # data

    def on_hci_acl_data_packet(self, packet: hci.HCI_AclDataPacket) -> None:
        extras = self._extras.get(packet.connection_handle)
        if extras is not None:
            extras.lane.put(packet)

    def _put_on_air(self, packet: hci.HCI_AclDataPacket) -> None:
        super().on_hci_acl_data_packet(packet)

    # parameter updates

    def on_hci_le_connection_update_command(self, command: hci.HCI_LE_Connection_Update_Command) -> None:
        connection = self.find_le_connection_by_handle(command.connection_handle)
        known = connection is not None
        status = hci.HCI_COMMAND_STATUS_PENDING if known else hci.HCI_ErrorCode.UNKNOWN_CONNECTION_IDENTIFIER_ERROR
        self._send_hci_command_status(status, command.op_code)
        if connection is None:
            return
        ends = [(self, connection), self.link.other_end(self, connection)]
        for radio, own in filter(None, ends):
            if isinstance(radio, Radio):
                radio.take_parameters(own, command.connection_interval_max, command.supervision_timeout)

    def take_parameters(self, connection: Connection, interval: int, timeout: int) -> None:
        """Go on with these, in units of HCI, and tell the host."""
        extras = self._extras[connection.handle]
        extras.interval, extras.timeout_s = interval, timeout * _TIMEOUT_UNIT_S
        if extras.lane.pace is not None:
            extras.lane.change(extras.lane.pace.with_interval(interval * INTERVAL_UNIT_S))
        self.send_hci_packet(
            hci.HCI_LE_Connection_Update_Complete_Event(
                status=hci.HCI_SUCCESS,
                connection_handle=connection.handle,
                connection_interval=interval,
                peripheral_latency=0,
                supervision_timeout=timeout,
            )
        )

    def pace_of(self, handle: int) -> Pace | None:
        """The present pace of a connection."""
        return self._extras[handle].lane.pace

    # range

    def go_out_of_range(self) -> None:
        """Nothing gets through until `come_back`. Connections live as long as their supervision timeout."""
        self.link.out_of_range.add(self)
        for connection in list(self.le_connections.values()):
            other = self.link.other_end(self, connection)
            for radio, own in filter(None, [(self, connection), other]):
                if isinstance(radio, Radio):
                    radio.fade(own)

    def come_back(self) -> None:
        """Connections of which both ends are still there go on."""
        self.link.out_of_range.discard(self)
        for connection in list(self.le_connections.values()):
            other = self.link.other_end(self, connection)
            if other is not None and isinstance(other[0], Radio) and self.link.hears(self, other[0]):
                self.recover(connection)
                other[0].recover(other[1])

    def fade(self, connection: Connection) -> None:
        """The other end is not heard any more."""
        extras = self._extras[connection.handle]
        extras.lane.hold()
        if extras.lost_at is None:
            loop = asyncio.get_running_loop()
            extras.lost_at = loop.call_later(extras.timeout_s, self._lose, connection)

    def recover(self, connection: Connection) -> None:
        """The other end is heard again."""
        extras = self._extras[connection.handle]
        if extras.lost_at is not None:
            extras.lost_at.cancel()
            extras.lost_at = None
        extras.lane.resume()

    def _lose(self, connection: Connection) -> None:
        if self._is_present(connection):
            self.on_le_disconnected(connection, hci.HCI_ErrorCode.CONNECTION_TIMEOUT_ERROR)

    # encryption

    def on_hci_le_enable_encryption_command(self, command: hci.HCI_LE_Enable_Encryption_Command) -> None:
        connection = self.find_le_connection_by_handle(command.connection_handle)
        if connection is None:
            unknown = hci.HCI_ErrorCode.UNKNOWN_CONNECTION_IDENTIFIER_ERROR
            self._send_hci_command_status(unknown, command.op_code)
            return
        self._send_hci_command_status(hci.HCI_COMMAND_STATUS_PENDING, command.op_code)
        connection.send_ll_control_pdu(
            ll.EncReq(rand=command.random_number, ediv=command.encrypted_diversifier, ltk=command.long_term_key)
        )

    def on_ll_control_pdu(self, sender_address: hci.Address, packet: ll.ControlPdu) -> None:
        if isinstance(packet, ll.EncReq):
            self._ask_for_key(self.le_connections[sender_address], packet)
        else:
            super().on_ll_control_pdu(sender_address, packet)

    def _ask_for_key(self, connection: Connection, request: ll.EncReq) -> None:
        self._extras[connection.handle].asked = request
        self.send_hci_packet(
            hci.HCI_LE_Long_Term_Key_Request_Event(
                connection_handle=connection.handle,
                random_number=request.rand,
                encryption_diversifier=request.ediv,
            )
        )

    def on_hci_le_long_term_key_request_reply_command(
        self, command: Any
    ) -> hci.HCI_StatusAndConnectionHandleReturnParameters:
        return self._key_answer(command.connection_handle, command.long_term_key)

    def on_hci_le_long_term_key_request_negative_reply_command(
        self, command: Any
    ) -> hci.HCI_StatusAndConnectionHandleReturnParameters:
        return self._key_answer(command.connection_handle, None)

    def _key_answer(self, handle: int, key: bytes | None) -> hci.HCI_StatusAndConnectionHandleReturnParameters:
        connection, extras = self.find_le_connection_by_handle(handle), self._extras.get(handle)
        if connection is not None and extras is not None and extras.asked is not None:
            asked, extras.asked = extras.asked, None
            self._start_encryption(connection, asked, key)
        return hci.HCI_StatusAndConnectionHandleReturnParameters(
            status=hci.HCI_ErrorCode.SUCCESS, connection_handle=handle
        )

    def _start_encryption(self, connection: Connection, asked: ll.EncReq, key: bytes | None) -> None:
        found = self.link.other_end(self, connection)
        if found is None:
            return
        central, its_end = found
        if key is None:
            central.send_hci_packet(_encryption_refused(its_end.handle))
        elif key == asked.ltk:
            self.on_le_encrypted(connection)
            central.on_le_encrypted(its_end)
        else:
            reason = hci.HCI_ErrorCode.CONNECTION_TERMINATED_DUE_TO_MIC_FAILURE_ERROR
            self.on_le_disconnected(connection, reason)
            central.on_le_disconnected(its_end, reason)


def _air_bytes(packet: hci.HCI_AclDataPacket) -> int:
    return len(packet.data)


def _encryption_refused(handle: int) -> hci.HCI_Encryption_Change_Event:
    return hci.HCI_Encryption_Change_Event(
        status=hci.HCI_ErrorCode.PIN_OR_KEY_MISSING_ERROR, connection_handle=handle, encryption_enabled=0
    )


def _cancelled(peer: hci.Address) -> hci.HCI_LE_Connection_Complete_Event:
    return hci.HCI_LE_Connection_Complete_Event(
        status=hci.HCI_ErrorCode.UNKNOWN_CONNECTION_IDENTIFIER_ERROR,
        connection_handle=0,
        role=hci.Role.CENTRAL,
        peer_address_type=peer.address_type,
        peer_address=peer,
        connection_interval=0,
        peripheral_latency=0,
        supervision_timeout=0,
        central_clock_accuracy=0,
    )
