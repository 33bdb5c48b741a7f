"""Simulated devices over BLE: real GATT peripherals, on a virtual radio between processes or on real hardware.

    air, radio, lane, pace      the virtual radio, bumble's with what it lacks; hci_server lets other processes have one
    gatt, security, presence    what the peripheral offers, to whom, and how it shows itself
    link, adapter, outbox       the device's end: a `Link` as others are
    central, backend_*          the other end: a backend for bleak, named `virtual`

Rule of this package: it alone knows bumble, which comes with the extra `sim`; it is imported where BLE is asked for. Nothing
here knows SMP: bytes go to and from a port.
"""
